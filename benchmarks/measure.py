"""Run readers on a capture as whole processes, and say what they took and what they found."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from readers import HERE, Found, environment, name_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from readers import Reader


class Capture(NamedTuple):
    """A capture that was made."""

    name: str
    scale: float
    path: Path
    size: int
    """Bytes."""
    packets: int
    messages: int
    """Messages that were sent."""
    captured: int
    """Messages of which every byte is in the capture."""


class Measure(NamedTuple):
    """One run of a reader."""

    cpu: float
    """Seconds of user and system time, of the process and those that it waited for."""
    peak: int
    """Most bytes of memory of one process."""
    found: Found
    finished: bool = True
    """Whether it came to its end before its time was up."""


Measures = dict[str, Measure]
"""By the name that a table calls the reader."""


def make(name: str, scale: float, directory: Path) -> Capture:
    """Make a capture.

    That is done by another process: what a child takes at most is never said to be less than what its parent took.
    """
    command = [sys.executable, str(HERE / "captures.py"), "--scale", str(scale), str(directory), name]
    made = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return Capture(name, scale, Path(made["path"]), made["size"], made["packets"], made["messages"], made["captured"])


def measure(readers: Iterable[Reader], capture: Capture, rounds: int, patience: int) -> Measures:
    """Run every reader once a round, one after the other; the round in which a reader took the least time counts.

    A reader that needs more seconds of CPU time than `patience` is stopped, and not run again.
    """
    best: Measures = {}
    for number in range(rounds):
        for reader in readers:
            if (reader.only and capture.name not in reader.only) or (reader.slow and number):
                continue
            name = name_of(reader)
            if name in best and not best[name].finished:
                continue
            print(f"{capture.name}, scale {capture.scale:g}: {name}", file=sys.stderr)
            took = _run(reader, capture.path, patience)
            best[name] = min(took, best.get(name, took), key=lambda one: one.cpu)
    return best


def _run(reader: Reader, path: Path, patience: int) -> Measure:
    with TemporaryDirectory() as name:
        directory = Path(name)
        output, complaints = directory / "output.txt", directory / "errors.txt"
        with output.open("wb") as out, complaints.open("wb") as errors:
            process = subprocess.Popen(
                reader.command(path.resolve()), stdout=out, stderr=errors, cwd=directory, env=environment(reader.ours)
            )
            resource.prlimit(process.pid, resource.RLIMIT_CPU, (patience, patience + 1))
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        cpu = usage.ru_utime + usage.ru_stime
        if process.returncode == -signal.SIGXCPU:
            return Measure(cpu, usage.ru_maxrss * 1024, Found(), finished=False)
        if process.returncode:
            raise SystemExit(f"{name_of(reader)} failed on {path.name}: {complaints.read_text()[-500:]}")
        return Measure(cpu, usage.ru_maxrss * 1024, reader.found(output))
