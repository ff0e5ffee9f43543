"""Measure raft_dissect beside other readers of captures, on the same files, as whole processes.

    python benchmarks/run.py [--scale N] [--rounds N] [--directory DIR] [CAPTURE...]

Every reader runs once per round, the readers alternating; the least CPU time (user and system) of a reader's rounds
counts. A reader that is not installed is left out and named. Scale 10 is the size that the documentation speaks of.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import captures  # noqa: E402 (it stands beside this script)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from captures import Made

_DPKT = """
import dpkt, sys
count = 0
for _, data in dpkt.pcap.Reader(open(sys.argv[1], 'rb')):
    count += isinstance(dpkt.ethernet.Ethernet(data).data.data, dpkt.tcp.TCP)
print(count)
"""
_SCAPY = """
import sys
from scapy.all import TCPSession, sniff
import raft_dissect
raft_dissect.bind(9001)
from raft_dissect.layers import RaftMessage
count = 0
def take(packet):
    global count
    layer = packet.getlayer(RaftMessage)
    while layer:
        count += 1
        layer = layer.payload.getlayer(RaftMessage)
sniff(offline=sys.argv[1], session=TCPSession, prn=take, store=False)
print(count)
"""


class Reader(NamedTuple):
    """A program that reads captures."""

    name: str
    command: Callable[[Path], list[str]]
    needs: str
    """A program, or a module if it begins with `import `."""
    counts_messages: bool = True
    small_only: bool = False
    """Whether it is too slow for more than the smallest scale."""


def _tshark(path: Path) -> list[str]:
    fields = ("frame.number", "frame.time_epoch", "craft.type", "craft.term")
    chosen = [word for field in fields for word in ("-e", field)]
    script = f"lua_script:{HERE / 'baseline.lua'}"
    return ["tshark", "-r", str(path), "-X", script, "-Y", "craft", "-T", "fields", *chosen]


def _ours(*words: str) -> Callable[[Path], list[str]]:
    return lambda path: [sys.executable, "-m", "raft_dissect", *words, str(path)]


READERS = (
    Reader("tshark with Lua", _tshark, "tshark"),
    Reader("raft_dissect, every message", lambda path: [sys.executable, str(HERE / "count.py"), str(path)], ""),
    Reader("raft_dissect report", _ours("report", "--json", "--port", "9001"), "", counts_messages=False),
    Reader("raft_dissect messages --json", _ours("messages", "--json", "--port", "9001"), ""),
    Reader("Scapy TCPSession", lambda path: [sys.executable, "-c", _SCAPY, str(path)], "import scapy", True, True),
    Reader("dpkt, packets only", lambda path: [sys.executable, "-c", _DPKT, str(path)], "import dpkt", False),
    Reader("tcpflow, streams only", lambda path: ["tcpflow", "-r", str(path), "-o", "flows"], "tcpflow", False),
    Reader("ndpiReader, recognition only", lambda path: ["ndpiReader", "-q", "-i", str(path)], "ndpiReader", False),
)
BASELINE = READERS[0].name
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE.parent)}


class Measure(NamedTuple):
    """One run of a reader."""

    cpu: float
    """Seconds of user and system time."""
    peak: int
    """Bytes."""
    messages: int | None


def _installed(reader: Reader) -> bool:
    if reader.needs.startswith("import "):
        return importlib.util.find_spec(reader.needs.removeprefix("import ")) is not None
    return not reader.needs or shutil.which(reader.needs) is not None


def _measure(reader: Reader, path: Path, directory: Path) -> Measure:
    output = directory / "output.txt"
    with output.open("wb") as out, (directory / "errors.txt").open("wb") as errors:
        process = subprocess.Popen(reader.command(path), stdout=out, stderr=errors, cwd=directory, env=_ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{reader.name} failed: {(directory / 'errors.txt').read_text()[-500:]}")
    count = _count(reader, output) if reader.counts_messages else None
    return Measure(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, count)


def _count(reader: Reader, output: Path) -> int:
    if reader.name == BASELINE:
        # Several messages of one frame stand in one line, with commas.
        return sum(line.split("\t")[2].count(",") + 1 for line in output.open())
    if "--json" in reader.command(output):
        return sum('"message"' in line for line in output.open())
    return int(output.read_text())


def _rows(made: Made, size: int, best: dict[str, Measure]) -> Iterable[str]:
    base = best.get(BASELINE)
    for name, measure in best.items():
        found = "-" if measure.messages is None else f"{measure.messages:,} of {made.captured:,}"
        ratio = "-" if base is None else f"{base.cpu / measure.cpu:.1f}"
        yield (
            f"| {name} | {measure.cpu:.2f} | {made.packets / measure.cpu:,.0f} | {size / measure.cpu / 1e6:,.0f} "
            f"| {measure.peak / 1e6:,.0f} | {found} | {ratio} |"
        )


def main() -> None:
    """Make the captures, run everything, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", nargs="*", metavar="CAPTURE", help=f"of {', '.join(captures.CAPTURES)}")
    parser.add_argument("--scale", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, help="where to make the captures; they are kept there")
    options = parser.parse_args()
    readers = [r for r in READERS if _installed(r) and (options.scale == 1 or not r.small_only)]
    print("Left out:", ", ".join(r.name for r in READERS if r not in readers) or "nothing")
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        for name in options.captures or captures.CAPTURES:
            path = directory / f"{name}-{options.scale}.pcap"
            made = captures.CAPTURES[name](path, options.scale)
            best: dict[str, Measure] = {}
            for _ in range(options.rounds):
                for reader in readers:
                    measure = _measure(reader, path, Path(temporary))
                    best[reader.name] = min(measure, best.get(reader.name, measure))
            size = path.stat().st_size
            print(f"\n### {name}: {made.packets:,} packets, {size / 1e6:,.0f} MB, {made.messages:,} messages\n")
            print("| reader | CPU s | packets/s | MB/s | peak MB | messages found | times tshark |")
            print("| --- | --- | --- | --- | --- | --- | --- |")
            print("\n".join(_rows(made, size, best)))
            if options.directory is None:
                path.unlink()


if __name__ == "__main__":
    main()
