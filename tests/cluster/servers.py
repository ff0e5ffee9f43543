"""Programs that run in the namespaces of a network: started, stopped, killed, and none left behind."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.cluster.waiting import TIMEOUT, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class ServerError(Exception):
    """A server that did not start, or that did not do what it was told."""


class Server:
    """A program that is controlled through a UNIX-domain socket: lines of text, answered with lines of JSON."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        """`folder` is the server's own: it keeps what the server says in it, and its control socket."""
        self.folder = folder
        self.command = command
        self.control = folder / "control"
        self.paused = False
        """Whether it was stopped by SIGSTOP."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Of the process that was started last; negative for a signal, None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def said(self) -> str:
        """What it wrote to its standard output and error."""
        path = self.folder / "output"
        return path.read_text() if path.exists() else ""

    def start(self) -> None:
        """Start it, and wait until it takes commands.

        Its standard input is a pipe from this process: it ends when this process does, whatever ends that.
        Raises ServerError when it ends at once.
        """
        assert not self.running
        self.control.unlink(missing_ok=True)
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
            )
        wait_for("the start of a server", self._listens)

    def do(self, command: str, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Have it do something, and give its answer. Raises ServerError, with the answer, when it could not."""
        answer = self.ask(command, timeout)
        if not answer["ok"]:
            raise ServerError(f"{command}: {answer}")
        return answer

    def ask(self, command: str, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Its answer to a command, whether it says `ok` or not. Raises ServerError when there is none."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(timeout)
                client.connect(str(self.control))
                client.sendall(f"{command}\n".encode())
                with client.makefile() as lines:
                    line = lines.readline()
        except OSError as error:
            raise ServerError(f"{command}: {error!r}; {self._state()}") from error
        if not line:
            raise ServerError(f"{command}: no answer; {self._state()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is running."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it with SIGKILL, and wait for that."""
        if self._process is not None:
            self.paused = False
            self._process.kill()
            self._reap(self._process)

    def stop(self, timeout: float = TIMEOUT) -> int:
        """End it with SIGTERM; gives its exit code."""
        assert self._process is not None
        self.resume()
        self._process.terminate()
        self._process.wait(timeout)
        self._reap(self._process)
        return self._process.returncode

    def pause(self) -> None:
        """Stop it with SIGSTOP, so that it does nothing and answers nothing."""
        self.paused = True
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.paused = False
        self.send(signal.SIGCONT)

    def _listens(self) -> bool:
        if not self.running:
            raise ServerError(f"a server did not start: {self._state()}")
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.connect(str(self.control))
            return True
        return False

    def _state(self) -> str:
        return f"exit code {self.exit_code}, it said: {self.said.strip()[-2000:]}"

    @staticmethod
    def _reap(process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
