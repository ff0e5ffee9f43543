"""Measure `raft-dissect live` under load: what it takes, what it misses, and how late it is.

    python benchmarks/live.py [--rates] [--load] [--cluster] [--days] [--seconds N] [--rate N|max ...]
        [--ours LABEL=PYTHON]...

There are four parts, of which all are run unless some are named: the rate at which packets begin to be dropped; a
long load at one rate; a real cluster whose leader applies entries as fast as it can; and days of capture time in fast
motion. It takes root, Linux, gcc and iproute2, and the cluster what `tests/cluster` needs. What is sent is sent in
network namespaces of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from live_load import HOSTS, KINDS, Sender, load, real
from readers import HERE, environment, ours_of
from run import machine, write
from tables import table

from tests.cluster.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from live_load import Kind, Run
    from readers import Ours

_PARTS = ("rates", "load", "cluster", "days")
_MTU = 1500
_FIRST_RATE = 10_000
"""Messages a second with which the search for the rate at which drops begin begins."""
_HEARTBEATS = 40
"""Messages a second of three servers that have nothing else to say."""
_IDLE_SECONDS = 60
_HALVINGS = 2
_LATE_SECONDS = 2.0
_MEGABYTE = 1e6

Row = tuple["Ours", str, "Run"]


class _Bench:
    """One run of the benchmarks, as its options say."""

    def __init__(self, options: argparse.Namespace, forms: Sequence[Ours], directory: Path) -> None:
        self._options = options
        self._forms = forms
        self._sender = Sender(directory)
        self._kinds = [KINDS[name] for name in options.kinds]

    def rates(self) -> str:
        """Rising rates up to the one at which packets are dropped, or the analysis falls behind."""
        seconds = self._options.step
        found = [(form, kind, list(self._search(form, kind, seconds))) for form in self._forms for kind in self._kinds]
        rows = ((form, kind.name, run) for form, kind, runs in found for run in sorted(runs, key=_rate_of))
        ends = table(
            ("form", "messages", "most that was kept up with", "least that was not"),
            [(form.label, kind.name, *_between(runs)) for form, kind, runs in found],
        )
        return f"{seconds:g} seconds each.\n\n{ends}\n{_runs(rows)}"

    def load(self) -> str:
        """A long load of each kind at one rate, and a cluster that is idle."""
        seconds, rates = self._options.seconds, self._options.rate
        rows = []
        for number, form in enumerate(self._forms):
            rate = rates[min(number, len(rates) - 1)]
            idle = self._load(form, KINDS["small"], _HEARTBEATS, min(seconds, _IDLE_SECONDS))
            rows.append((form, "heartbeats", idle))
            rows += [(form, kind.name, self._load(form, kind, rate, seconds)) for kind in self._kinds]
        return f"{seconds:g} seconds each, heartbeats {_IDLE_SECONDS} at most.\n\n{_runs(rows)}"

    def cluster(self) -> str:
        """Three servers, of which the leader applies entries as fast as it can."""
        seconds = self._options.cluster_seconds
        rows = [(form, "real cluster", real(form, seconds)) for form in self._forms]
        return f"{seconds:g} seconds each.\n\n{_runs(rows)}"

    def days(self) -> str:
        """Days of capture time in a few minutes."""
        rows: list[tuple[str, ...]] = []
        for form in self._forms:
            command = [form.python, str(HERE / "live_days.py"), f"{self._options.capture_days:g}"]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(form))
            rows += [_hours(form, json.loads(line)) for line in done.stdout.splitlines()]
        return table(
            ("form", "hours of capture time", "packets", "happenings", "memory MB", "blocks", "CPU us per beat"), rows
        )

    def _search(self, form: Ours, kind: Kind, seconds: float) -> Iterator[Run]:
        rate, kept, lost = float(_FIRST_RATE), 0.0, 0.0
        while not lost:
            run = self._load(form, kind, rate, seconds)
            yield run
            if not _kept_up(run):
                lost = rate
            elif run.sent < 0.95 * rate * run.seconds:
                return  # the sender can do no more
            else:
                kept, rate = rate, rate * 2
        for _ in range(_HALVINGS):
            rate = (kept + lost) / 2
            run = self._load(form, kind, rate, seconds)
            yield run
            kept, lost = (rate, lost) if _kept_up(run) else (kept, rate)

    def _load(self, form: Ours, kind: Kind, rate: float, seconds: float) -> Run:
        with Network() as network:
            command = network.command(0)
            subprocess.run([*command, "ip", "link", "set", "lo", "mtu", str(_MTU)], check=True)
            for host in HOSTS:
                subprocess.run([*command, "ip", "address", "add", host, "dev", "lo"], check=True)
            run = load(form, self._sender, kind, rate, seconds, command)
        print(" | ".join(_row(form, kind.name, run)), flush=True)
        return run


def _kept_up(run: Run) -> bool:
    """Whether nothing was missed, nor late."""
    return not run.dropped and run.reported == run.sent and not run.late and run.drained < _LATE_SECONDS


def _rate_of(run: Run) -> float:
    return run.rate


def _between(runs: Sequence[Run]) -> tuple[str, str]:
    kept = [run.sent / run.seconds for run in runs if _kept_up(run)]
    lost = [run.sent / run.seconds for run in runs if not _kept_up(run)]
    most = f"{max(kept):,.0f}/s" if kept else "-"
    return most, f"{min(lost):,.0f}/s" if lost else "none: the sender can do no more"


def _runs(rows: Iterable[Row]) -> str:
    head = (
        "form", "messages", "messages/s", "packets/s", "MB/s", "sent", "reported", "dropped packets", "told after s",
        "behind at the end s", "of a core", "memory MB: first to last quarter", "peak MB", "load average",
    )  # fmt: skip
    return table(head, (_row(*row) for row in rows))


def _row(form: Ours, name: str, run: Run) -> tuple[str, ...]:
    first, last = (run.own(quarter) / _MEGABYTE for quarter in (0, 3))
    return (
        form.label,
        name,
        f"{run.sent / run.seconds:,.0f}",
        f"{(run.received + run.dropped) / run.seconds:,.0f}",
        f"{run.bytes / run.seconds / _MEGABYTE:,.1f}",
        f"{run.sent:,}",
        f"{run.reported:,}",
        f"{run.dropped:,}",
        f"{max(run.told):.2f}" if run.told else "-",
        f"{run.drained:.1f}",
        f"{run.share:.1%}".replace("%", " %"),
        f"{first:.1f} to {last:.1f}",
        f"{run.peak / _MEGABYTE:.0f}",
        f"{run.load:.1f}",
    )


def _hours(form: Ours, record: dict[str, Any]) -> tuple[str, ...]:
    return (
        form.label,
        f"{record['hours']:.1f}",
        f"{record['packets']:,}",
        f"{record['happened']:,}",
        f"{record['bytes'] / _MEGABYTE:.1f}",
        f"{record['blocks']:,}",
        f"{record['beat_seconds'] * 1e6:.0f}",
    )


def _rate(text: str) -> float:
    rate = 0.0 if text == "max" else float(text)
    if rate < 0 or (rate == 0 and text != "max"):
        raise argparse.ArgumentTypeError(f"no rate: {text}")
    return rate


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", action="store_true", help="rising rates, up to where drops begin")
    parser.add_argument("--load", action="store_true", help="a long load at one rate")
    parser.add_argument("--cluster", action="store_true", help="a real cluster")
    parser.add_argument("--days", action="store_true", help="days of capture time")
    parser.add_argument("--capture-days", type=float, default=2, help="how many of them; 2 by default")
    parser.add_argument("--seconds", type=float, default=300, help="of the long load; 300 by default")
    parser.add_argument("--step", type=float, default=10, help="seconds at each of the rising rates; 10 by default")
    parser.add_argument("--cluster-seconds", type=float, default=60, help="of the real cluster; 60 by default")
    parser.add_argument(
        "--rate",
        nargs="+",
        type=_rate,
        default=[0.0],
        metavar="N|max",
        help="messages a second of the long load, of each form in turn; max, the default, is what the sender can",
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=list(KINDS),
        default=["small", "mtu"],
        help="of messages: small, as large as a packet, or 16 small ones in a write; the first two by default",
    )
    parser.add_argument("--ours", action="append", default=[], metavar="LABEL=PYTHON", help="as with run.py")
    parser.add_argument("--write-docs", action="store_true", help="write the results into docs/benchmarks.md")
    return parser


def _command(options: argparse.Namespace, part: str) -> str:
    """The command that makes one part again."""
    words = ["python", "benchmarks/live.py", f"--{part}"]
    if part == "rates":
        words += ["--step", f"{options.step:g}"]
    elif part == "load":
        words += [
            "--seconds",
            f"{options.seconds:g}",
            "--rate",
            *(f"{rate:g}" if rate else "max" for rate in options.rate),
        ]
    elif part == "cluster":
        words += ["--cluster-seconds", f"{options.cluster_seconds:g}"]
    else:
        words += ["--capture-days", f"{options.capture_days:g}"]
    if part in ("rates", "load"):
        words += ["--kinds", *options.kinds]
    for argument in options.ours:
        label, _, python = argument.partition("=")
        words += ["--ours", f"{label}={'PYTHON' if os.path.isabs(python) else python}" if python else label]
    return shlex.join([*words, "--write-docs"])


def main() -> None:
    """Run everything, print the tables."""
    parser = _parser()
    options = parser.parse_args()
    try:
        forms = [ours_of(argument) for argument in options.ours or [""]]
    except ValueError as error:
        parser.error(str(error))
    chosen = [part for part in _PARTS if getattr(options, part)] or _PARTS
    with TemporaryDirectory() as temporary:
        bench = _Bench(options, forms, Path(temporary))
        parts: dict[str, Callable[[], str]] = {
            "rates": bench.rates,
            "load": bench.load,
            "cluster": bench.cluster,
            "days": bench.days,
        }
        for part in chosen:
            text = f"    {_command(options, part)}\n\n{machine(forms)}\n\n{parts[part]()}"
            print(text, flush=True)
            if options.write_docs:
                write(f"live-{part}", text)


if __name__ == "__main__":
    main()
