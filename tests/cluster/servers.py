"""The programs of a cluster: started, paused, killed, and none left behind."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.cluster.waiting import TIMEOUT, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Record = dict[str, Any]


class ServerError(Exception):
    """A server that did not start, or that did not do what it was told."""


class Program:
    """A program that is started in a namespace, and that ends when its standard input does."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        """`folder` is the program's own: it keeps `log`, and in `output` what it writes to its standard output."""
        self.command = command
        self.folder = folder
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
    def output(self) -> str:
        """What it wrote to its standard output and error, all of its runs."""
        path = self.folder / "output"
        return path.read_text() if path.exists() else ""

    def log(self) -> Iterable[Record]:
        """What it has logged until now, all of its runs."""
        data = (self.folder / "log").read_bytes()
        for line in data[: data.rfind(b"\n") + 1].splitlines():
            yield json.loads(line)

    def start(self) -> None:
        """Start it, and wait until it is ready.

        Its standard input is a pipe from this process: it ends when this process does, whatever ends that.
        Raises ServerError when it ends at once.
        """
        assert not self.running
        self.forget()
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
            )
        wait_for("the start of a server", self._started)

    def forget(self) -> None:
        """Prepare for another run: what is left of the one before does not count."""

    def ready(self) -> bool:
        """Whether it can do its work."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it with SIGKILL, and wait for that."""
        if self._process is not None:
            self._process.kill()
            self._reap(self._process)

    def stop(self, timeout: float = TIMEOUT) -> None:
        """End it with SIGTERM. Raises ServerError when it does not end as it should."""
        assert self._process is not None
        self.resume()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        code = self._process.poll()
        if code != 0:
            raise ServerError(f"a server did not end as it should: {self.condition()}")
        self._reap(self._process)

    def pause(self) -> None:
        """Stop it with SIGSTOP, so that it does nothing and answers nothing."""
        assert self._process is not None
        self.paused = True
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self.paused = False
        self._process.send_signal(signal.SIGCONT)

    def condition(self) -> str:
        """What is known of a server that something is wrong with."""
        code = None if self._process is None else self._process.poll()
        return f"{'running' if self.running else f'exit code {code}'}, it said: {self.output.strip()[-2000:]}"

    def _started(self) -> bool:
        if not self.running:
            raise ServerError(f"a server did not start: {self.condition()}")
        return self.ready()

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        self.paused = False


class Server(Program):
    """A program that takes commands through a UNIX-domain socket: lines of text, answered with lines of JSON."""

    @property
    def control(self) -> Path:
        """The socket. Namespaces of networks do not separate those that have a path."""
        return self.folder / "control"

    def forget(self) -> None:
        """A server that was killed leaves its socket behind."""
        self.control.unlink(missing_ok=True)

    def ready(self) -> bool:
        """Whether it takes commands."""
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.connect(str(self.control))
            return True
        return False

    def do(self, command: str, timeout: float = TIMEOUT) -> Record:
        """Have it do something, and give its answer. Raises ServerError when it could not."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(timeout)
                client.connect(str(self.control))
                client.sendall(f"{command}\n".encode())
                with client.makefile() as lines:
                    line = lines.readline()
        except OSError as error:
            raise ServerError(f"{command}: {error!r}; {self.condition()}") from error
        if not line:
            raise ServerError(f"{command}: no answer; {self.condition()}")
        answer: Record = json.loads(line)
        if not answer["ok"]:
            raise ServerError(f"{command}: {answer}")
        return answer
