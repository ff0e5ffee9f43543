"""The command line run as a user runs it: in a process of its own, into a pipe or on a terminal."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.captures import PCAPS

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = PCAPS.parent
COMMAND = [sys.executable, "-m", "raft_dissect"]


class Outcome(NamedTuple):
    """What a command printed, and its exit code."""

    out: str
    err: str
    code: int

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The output as one JSON object for each line."""
        return [json.loads(line) for line in self.lines]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    unwanted = ("NO_COLOR", "COLUMNS", "LINES", "PYTHONUNBUFFERED")
    kept = {key: value for key, value in os.environ.items() if key not in unwanted}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **(extra or {})}


def run(*arguments: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> Outcome:
    """Run a command with its output in a pipe, in the folder of the captures."""
    source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, cwd=PCAPS, env=environment(env), timeout=60, check=False, **source
    )
    return Outcome(done.stdout.decode(), done.stderr.decode(), done.returncode)


def run_on_terminal(*arguments: str, columns: int = 80, env: Mapping[str, str] | None = None) -> Outcome:
    """Run a command with its output on a terminal; what it says on standard error still goes into a pipe."""
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    extra = {"TERM": "xterm", **(env or {})}
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.PIPE,
        cwd=PCAPS,
        env=environment(extra),
    ) as process:
        os.close(terminal)
        out = _read(ours)
        assert process.stderr is not None
        err = process.stderr.read().decode()
    os.close(ours)
    return Outcome(out.decode().replace("\r\n", "\n"), err, process.returncode)


def _read(terminal: int) -> bytes:
    """All that comes from a terminal until nobody has it open any more, which Linux says with an error."""
    out = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return out
        if not data:
            return out
        out += data
