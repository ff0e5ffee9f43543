"""What clusters have in common: servers in a network of their own, what befalls them, and what they log."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Generic, TypeVar

from tests.cluster.network import Network
from tests.cluster.servers import Program
from tests.cluster.waiting import TIMEOUT, wait_for

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import TracebackType
    from typing import Self

    from tests.cluster.servers import Record

PORT = 9000
INSTALL_TIMEOUT_MS = 2000
"""Less than libraft's 30 s, because a leader that stores a snapshot sends the one before, and waits until the follower
has the new one: so does libraft 0.15 with any server that lags while snapshots are taken."""
AnyProgram = TypeVar("AnyProgram", bound=Program)


class Rig(Generic[AnyProgram]):
    """Servers 1, 2, 3 ..., each in a namespace of its own, as a context manager that leaves nothing behind.

    `network` is there from the beginning of the `with` block, so that a capture can begin before the first server.
    """

    def __init__(self, *, switched: bool = False, seed: int = 0) -> None:
        """The arguments are those of `Network`."""
        self.network = Network(switched=switched, seed=seed)
        self.servers: dict[int, AnyProgram] = {}
        """By id; those that were killed too."""
        self._ports: dict[int, int] = {}
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self.folder = Path(undo.enter_context(TemporaryDirectory(prefix="raft-")))
            undo.enter_context(self.network)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def address(self, id_: int) -> str:
        """Where a server listens, in the form that configurations have it."""
        return f"{self.network.ip(id_)}:{self._ports.get(id_, PORT)}"

    def kill(self, id_: int) -> None:
        """End a server with SIGKILL."""
        self.servers[id_].kill()

    def stop(self, id_: int) -> None:
        """End a server with SIGTERM. Raises ServerError when it does not end as it should."""
        self.servers[id_].stop()

    def pause(self, id_: int) -> None:
        """Stop a server with SIGSTOP: its connections stay open."""
        self.servers[id_].pause()

    def resume(self, id_: int) -> None:
        """Let a server go on that was paused."""
        self.servers[id_].resume()

    def running(self) -> list[int]:
        """The ids of the servers that can answer."""
        return [id_ for id_, server in self.servers.items() if server.running and not server.paused]

    @abstractmethod
    def leader(self, among: Collection[int] | None = None) -> int | None:
        """The leader of the highest term, among some servers or all that can answer."""

    def wait_for_leader(self, timeout: float = TIMEOUT, among: Collection[int] | None = None) -> int:
        """The leader, as soon as there is one. Raises TimeoutError when there is none in so many seconds."""
        return wait_for("a leader", lambda: self.leader(among), timeout)

    def is_left_behind(self, id_: int, last: int, trailing: int) -> bool:
        """Whether a server that does not run, with entries up to `last`, can only be brought up to date by a snapshot.

        Its leader must have stored one that leaves no entry in the log that this server needs: `trailing` are left.
        And messages with such entries may be waiting for the server, until others take their place: libraft keeps the
        three newest when it cannot connect. So a heartbeat must have been given up that was sent later than that.
        """
        leader = self.wait_for_leader()
        stored = [r["t"] for r in self.log(leader, "snapshot_stored") if r["index"] - trailing > last]
        if not stored:
            return False
        sent = [r for r in self.log(leader, "send") if r["peer"] == id_ and r["t"] > stored[0]]
        heartbeats = {r["number"] for r in sent if r["type"] == "append_entries" and not r["n_entries"]}
        return any(r["number"] in heartbeats and r["status"] for r in self.log(leader, "sent") if r["t"] > stored[0])

    def partition(self, group: Collection[int], how: str = "") -> None:
        """Part some servers from all others, as `Network.partition` does."""
        self.network.partition(group, how)

    def heal(self) -> None:
        """Undo all partitions, and all that a switch was told to do."""
        self.network.heal()

    def log(self, id_: int, *events: str) -> list[Record]:
        """What a server has logged until now, all of its runs; only these events, if some are named."""
        return [record for record in self.servers[id_].log() if not events or record["event"] in events]

    def _start_in_namespace(self, id_: int, program: AnyProgram) -> None:
        """Start a server that was never started."""
        (program.folder / "data").mkdir(parents=True)
        if id_ not in self.network.hosts:
            self.network.add(id_)
        self.servers[id_] = program
        self._undo.callback(program.kill)
        program.start()
