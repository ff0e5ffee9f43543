"""Programs, each of which reads what the one before it writes: started together, read from, and always ended."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from typing import IO, TYPE_CHECKING

from raft_dissect.wireshark.errors import TsharkFailedError, TsharkMissingError

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK = 1 << 16
_PATIENCE = 3
"""Seconds that a program may take to end after it was asked to, before it is killed."""
_NOISE = "Running as user"
"""How the line begins by which Wireshark's programs greet root."""


class Programs:
    """The output of the last of several programs; it is a context manager.

    Raises TsharkMissingError when one of them cannot be started.
    """

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        self._running: list[subprocess.Popen[bytes]] = []
        self._complaints: list[IO[bytes]] = []
        self._closed = False
        try:
            for command in commands:
                self._start(command)
        except OSError as error:
            self.close()
            raise TsharkMissingError(f"{command[0]} does not run: {error}") from error
        except BaseException:
            self.close()
            raise
        output = self._running[-1].stdout
        assert output is not None
        self._output = output
        self._poll = select.poll()
        self._poll.register(output, select.POLLIN)

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _start(self, command: Sequence[str]) -> None:
        before = self._running[-1].stdout if self._running else None
        # A file takes any number of complaints; a pipe that nobody reads would stop the program.
        complaints = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._complaints.append(complaints)
        self._running.append(
            subprocess.Popen(
                command, bufsize=0, stdin=before or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
            )
        )
        if before is not None:
            before.close()  # so that the program before notices when this one ends

    @property
    def closed(self) -> bool:
        """Whether they have been ended."""
        return self._closed

    @property
    def ids(self) -> list[int]:
        """Their process ids."""
        return [process.pid for process in self._running]

    def read(self, deadline: float | None = None) -> bytes:
        """What comes next, empty at the end; `deadline` is a time of `time.monotonic()`.

        Raises TimeoutError when nothing has come until then.
        """
        wait = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not self._poll.poll(wait):
            raise TimeoutError
        return os.read(self._output.fileno(), _CHUNK)

    def finish(self) -> None:
        """Wait for their end after all was read. Raises TsharkFailedError with what they complain of."""
        codes = [process.wait() for process in self._running]
        for process, code, complaints in zip(self._running, codes, self._complaints, strict=True):
            if code:
                program = os.path.basename(os.fsdecode(process.args[0]))  # type: ignore[index, arg-type] # it is a list
                raise TsharkFailedError(_reason(program, code, complaints))

    def close(self) -> None:
        """End them, if they have not ended, and close what is open."""
        self._closed = True
        for process in self._running:
            if process.stdout is not None:
                process.stdout.close()
            process.terminate()
        for process in self._running:
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for complaints in self._complaints:
            complaints.close()


def _reason(program: str, code: int, complaints: IO[bytes]) -> str:
    """Why a program failed, in one line."""
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").splitlines()
    said = [line.strip() for line in lines if line.strip() and not line.startswith(_NOISE)]
    own = [line for line in said if line.startswith(f"{program}: ")]
    return (own or said or [f"{program} ended with {code} and does not say why"])[0]
