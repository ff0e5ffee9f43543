"""Measure raft_dissect beside other readers of captures, on the same files, as whole processes.

    python benchmarks/run.py [--tables] [--hostile] [--linear] [--scale N] [--ours LABEL=PYTHON]... [CAPTURE...]

There are three parts, of which all are run unless some are named: tables of every reader on every capture, with what
we must reach; hostile captures beside the same without what is hostile; and how our time and memory grow with the
capture. Every reader runs once a round, the readers alternating; the least CPU time (user and system) of a reader's
rounds counts. A reader that is not installed is left out and named.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import tables
from captures import CAPTURES
from hostile import KINDS
from measure import make, measure
from readers import HERE, ours_of, readers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from readers import Ours, Reader
    from tables import Measured

PAGE = HERE.parent / "docs" / "benchmarks.md"
_PARTS = ("tables", "hostile", "linear")
_WITHOUT = "cluster"
_REGULAR = [name for name in CAPTURES if name not in (*KINDS, _WITHOUT)]


class _Bench:
    """One run of the benchmarks, as its options say."""

    def __init__(self, options: argparse.Namespace, forms: Sequence[Ours], directory: Path) -> None:
        self.options = options
        self.forms = forms
        self._directory = directory
        self._readers = readers(forms)

    def tables(self) -> str:
        """Every reader on every capture, and what we must reach."""
        able = [reader for reader in self._readers if reader.installed]
        left_out = ", ".join(reader.name for reader in self._readers if not reader.installed)
        measured = self._measure(self._chosen(_REGULAR), [self.options.scale], able)
        parts = [tables.targets(measured, self.forms), *(tables.of_capture(*one) for one in measured)]
        if left_out:
            parts.append(f"Not installed, and so left out: {left_out}.\n")
        return "\n".join(parts)

    def hostile(self) -> str:
        """Hostile captures beside the same without what is hostile."""
        names = [_WITHOUT, *self._chosen(KINDS)]
        return tables.hostile(self._measure(names, [self.options.scale], self._ours))

    def linear(self) -> str:
        """How our time and memory grow with the capture."""
        names = self._chosen([name for name in _REGULAR if name != "few"])
        return tables.growth(self._measure(names, self.options.scales, self._ours))

    @property
    def _ours(self) -> list[Reader]:
        return [reader for reader in self._readers if reader.ours is not None]

    def _chosen(self, names: Iterable[str]) -> list[str]:
        chosen = self.options.captures
        return [name for name in names if not chosen or name in chosen]

    def _measure(self, names: Iterable[str], scales: Iterable[float], able: Sequence[Reader]) -> Measured:
        measured = []
        for name in names:
            for scale in scales:
                capture = make(name, scale, self._directory)
                measured.append((capture, measure(able, capture, self.options.rounds, self.options.patience)))
                if self.options.directory is None:
                    capture.path.unlink()
        return measured


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", nargs="*", metavar="CAPTURE", help=f"of {', '.join(CAPTURES)}; all by default")
    parser.add_argument("--tables", action="store_true", help="every reader on every capture")
    parser.add_argument("--hostile", action="store_true", help="our readers on hostile captures")
    parser.add_argument("--linear", action="store_true", help="our readers on captures of growing size")
    parser.add_argument("--scale", type=float, default=10, help="of the captures; 10 by default")
    parser.add_argument(
        "--scales",
        type=lambda text: sorted(float(number) for number in text.split(",")),
        default=[1, 3, 10],
        metavar="N,N",
        help="of the captures of growing size; 1,3,10 by default",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--patience",
        type=int,
        default=900,
        metavar="SECONDS",
        help="of CPU time after which a reader is stopped; 900 by default",
    )
    parser.add_argument(
        "--ours",
        action="append",
        default=[],
        metavar="LABEL=PYTHON",
        help="measure raft_dissect as it is installed for this interpreter; this checkout by default",
    )
    parser.add_argument("--directory", type=Path, help="where to make the captures; they are kept there")
    parser.add_argument("--write-docs", action="store_true", help=f"write the results into docs/{PAGE.name}")
    return parser


def _command(options: argparse.Namespace, part: str) -> str:
    """The command that makes one part again; an interpreter outside the checkout is not anybody else's."""
    words = ["python", "benchmarks/run.py", f"--{part}"]
    if part == "linear":
        words += ["--scales", ",".join(f"{scale:g}" for scale in options.scales)]
    else:
        words += ["--scale", f"{options.scale:g}"]
    words += ["--rounds", str(options.rounds), "--patience", str(options.patience)]
    for argument in options.ours:
        label, _, python = argument.partition("=")
        words += ["--ours", f"{label}={'PYTHON' if os.path.isabs(python) else python}" if python else label]
    return shlex.join([*words, "--write-docs", *options.captures])


def _first_line(*command: str) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "not installed"
    return run.stdout.partition("\n")[0]


def machine(forms: Sequence[Ours]) -> str:
    """What the numbers were measured on."""
    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        cpu = next(iter(re.findall(r"^model name\s*: (.*)$", information.read_text(), re.MULTILINE)), cpu)
    tshark = re.search(r"\d[\d.]+", _first_line("tshark", "--version"))
    pythons = ", ".join(
        f"{form.label}: {_first_line(form.python, '--version')}{', compiled' if form.compiled else ''}"
        for form in forms
    )
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}; tshark {tshark[0] if tshark else 'none'}; {pythons}."


def write(part: str, text: str) -> None:
    """Put a part of the page where its markers are."""
    begin, end = f"<!-- benchmark: {part} -->\n", "<!-- end -->"
    before, found, after = PAGE.read_text().partition(begin)
    if not found or end not in after:
        raise SystemExit(f"{PAGE} has no place for {part}")
    PAGE.write_text(before + begin + "\n" + text + "\n" + end + after.partition(end)[2])


def main() -> None:
    """Make the captures, run everything, print the tables."""
    parser = _parser()
    options = parser.parse_args()
    unknown = [name for name in options.captures if name not in CAPTURES]
    if unknown:
        parser.error(f"no such capture: {', '.join(unknown)}; there are {', '.join(CAPTURES)}")
    try:
        forms = [ours_of(argument) for argument in options.ours or [""]]
    except ValueError as error:
        parser.error(str(error))
    chosen = [part for part in _PARTS if getattr(options, part)] or _PARTS
    with TemporaryDirectory() as temporary:
        bench = _Bench(options, forms, options.directory or Path(temporary))
        parts: dict[str, Callable[[], str]] = {
            "tables": bench.tables,
            "hostile": bench.hostile,
            "linear": bench.linear,
        }
        for part in chosen:
            text = f"    {_command(options, part)}\n\n{machine(forms)}\n\n{parts[part]()}"
            print(text, flush=True)
            if options.write_docs:
                write(part, text)


if __name__ == "__main__":
    main()
