"""A `live` that runs in the namespace of a network: its lines, when each came, and how late that may be."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from bisect import bisect_right
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.cluster.waiting import TIMEOUT, wait_for
from tests.command import COMMAND, ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tests.cluster import Network

Line = dict[str, Any]
_SAMPLE_SECONDS = 0.02
STOP_SECONDS = 60
"""How long its end may take on a busy machine; the tests of its end have bounds of their own."""


class Told(NamedTuple):
    """A line, and when it was there."""

    text: str
    came_ns: int
    """Nanoseconds since the epoch."""


class _Waited:
    """For how long a thread had work and no processor was free, as Linux counts it, by the time."""

    def __init__(self, task: Path) -> None:
        self._file = task / "schedstat"
        self._times = [0]
        self._waited = [0]

    def sample(self) -> None:
        """Ask once."""
        with suppress(OSError, ValueError):  # it has ended
            self._waited.append(int(self._file.read_text().split()[1]))
            self._times.append(time.time_ns())

    def between(self, begin_ns: int, end_ns: int) -> int:
        """Nanoseconds of waiting between two times; some more, as samples have distances."""
        begin = max(bisect_right(self._times, begin_ns) - 1, 0)
        end = min(bisect_right(self._times, end_ns), len(self._waited) - 1)
        return self._waited[end] - self._waited[begin]


class Live:
    """A `live` process; within the `with` block it captures, and at its end it is ended if it still runs.

    `allowed_ns` is the time by which a line may be late: the machine may have other things to do, so the time counts
    for which the process, or the thread that takes its lines, was ready to run and got no processor.
    """

    def __init__(
        self, network: Network, *arguments: str, host: int = 0, json_lines: bool = True, code: Path = ROOT
    ) -> None:
        """`host` is where it runs, 0 for the hub; `code` is the folder in which the package is."""
        self.told: list[Told] = []
        self.code: int | None = None
        command = [*network.command(host), *COMMAND, "live", *arguments, *(["--json"] if json_lines else [])]
        self._command = command
        self._stays_root = "root" in arguments
        self._environment = environment({"PYTHONPATH": str(code)})
        self._reader = threading.Thread(target=self._read)
        self._watcher = threading.Thread(target=self._watch)

    def __enter__(self) -> Live:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
        )
        self._waits = [_Waited(Path(f"/proc/{self.pid}"))]
        self._reader.start()
        self._watcher.start()
        wait_for("the beginning of live", self._begun, STOP_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.code is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._collect()

    @property
    def pid(self) -> int:
        """Of the process; `ip netns exec` becomes it."""
        return self._process.pid

    @property
    def status(self) -> dict[str, str]:
        """What Linux says of the process."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}

    @property
    def lines(self) -> list[Line]:
        """What it has said, of `--json`."""
        return [json.loads(told.text) for told in self.told]

    def wait_for(self, what: str, ask: Callable[[list[Line]], Any], timeout: float = TIMEOUT) -> Any:
        """Wait until its lines are as they should be."""
        return wait_for(what, lambda: ask(self.lines), timeout)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal, and wait until it has ended."""
        self._process.send_signal(number)
        self.wait()

    def pause(self) -> None:
        """Stop it, so that the kernel has to keep what comes."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def wait(self, timeout: float = STOP_SECONDS) -> None:
        """Wait until it ends by itself."""
        self._process.wait(timeout)
        self._collect()

    def allowed_ns(self, begin_ns: int, end_ns: int) -> int:
        """By how much more something may be late that it should say at one time and that was there at another."""
        return sum(wait.between(begin_ns, end_ns) for wait in self._waits)

    def _begun(self) -> bool:
        """Whether it captures: its sockets are open, and the privileges that they need were given up."""
        if self._process.poll() is not None:
            self._collect()
            raise OSError(f"live did not begin: {self.errors}")
        with suppress(OSError):
            sockets = Path(f"/proc/{self.pid}/net/packet").read_text().splitlines()[1:]
            return (
                "raft_dissect" in Path(f"/proc/{self.pid}/cmdline").read_text()
                and any(line.split()[3] == "0003" for line in sockets)
                and (self.status["NoNewPrivs"] == "1" or self._stays_root)
            )
        return False

    def _collect(self) -> None:
        self.code = self._process.wait()
        self._reader.join()
        self._watcher.join()
        assert self._process.stderr is not None
        with self._process.stderr as errors:
            self.errors = errors.read().decode()

    def _read(self) -> None:
        self._waits.append(_Waited(Path(f"/proc/self/task/{threading.get_native_id()}")))
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self.told.append(Told(line.decode().rstrip("\n"), time.time_ns()))

    def _watch(self) -> None:
        while self._process.poll() is None:
            for wait in list(self._waits):
                wait.sample()
            time.sleep(_SAMPLE_SECONDS)
