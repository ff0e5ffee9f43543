"""A cluster of Raft servers on libraft, in a network of its own, and what its servers log."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tests.cluster.build import built
from tests.cluster.network import Network
from tests.cluster.servers import Server, ServerError
from tests.cluster.waiting import TIMEOUT, wait_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from types import TracebackType

PORT = 9000
ROLES = ("voter", "standby", "spare")
Record = dict[str, Any]


class Cluster:
    """Raft servers 1, 2, 3 ..., each in a namespace of its own, as a context manager that leaves nothing behind.

    `network` is there from the beginning of the `with` block, so that a capture can begin before the first server.
    """

    def __init__(
        self,
        *,
        heartbeat_ms: int = 50,
        election_ms: int = 250,
        pre_vote: bool = False,
        threshold: int = 1024,
        trailing: int = 2048,
        snapshot_size: int = 4096,
        switched: bool = False,
        seed: int = 0,
    ) -> None:
        """`threshold` and `trailing` are entries: between snapshots, and kept behind one. The rest is `Network`'s."""
        self.network = Network(switched=switched, seed=seed)
        self.servers: dict[int, Server] = {}
        """By id; those that were killed too."""
        self._options = {
            "heartbeat": heartbeat_ms,
            "election": election_ms,
            "threshold": threshold,
            "trailing": trailing,
            "snapshot-size": snapshot_size,
        }
        self._flags = ["--pre-vote"] if pre_vote else []
        self._addresses: dict[int, str] = {}
        self._undo = ExitStack()

    def __enter__(self) -> Cluster:
        with ExitStack() as undo:
            self.folder = Path(undo.enter_context(TemporaryDirectory(prefix="raft-")))
            undo.enter_context(self.network)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    # Servers

    def start(self, servers: int = 3, **options: int) -> int:
        """Start a cluster of so many voters, wait for its leader and give its id."""
        ids = range(1, servers + 1)
        bootstrap = ",".join(f"{id_}={self.address(id_)}=voter" for id_ in ids)
        for id_ in ids:
            self.spawn(id_, bootstrap=bootstrap, **options)
        return self.wait_for_leader()

    def spawn(self, id_: int, *, port: int = PORT, bootstrap: str = "", **options: int) -> None:
        """Start a server that is in no configuration yet, unless `bootstrap` is one: it waits to be added.

        `options` are options of the program that are other than the cluster's, as `snapshot_size=100`.
        """
        folder = self.folder / str(id_)
        folder.joinpath("data").mkdir(parents=True)
        self.network.add(id_)
        self._addresses[id_] = f"{self.network.ip(id_)}:{port}"
        self.servers[id_] = Server(self._command(id_, bootstrap, options), folder)
        self._undo.callback(self.servers[id_].kill)
        self.servers[id_].start()

    def restart(self, id_: int, *, port: int | None = None, **options: int) -> None:
        """Start a server again that was killed or stopped, with its data; it may get another port."""
        server = self.servers[id_]
        if port is not None:
            self._addresses[id_] = f"{self.network.ip(id_)}:{port}"
        server.command = self._command(id_, "", options)
        server.start()

    def kill(self, id_: int) -> None:
        """End a server with SIGKILL."""
        self.servers[id_].kill()

    def stop(self, id_: int) -> None:
        """End a server with SIGTERM. Raises ServerError when it does not end as it should."""
        code = self.servers[id_].stop()
        if code != 0:
            raise ServerError(f"server {id_} ended with {code}: {self.servers[id_].said}")

    def pause(self, id_: int) -> None:
        """Stop a server with SIGSTOP: its connections stay open."""
        self.servers[id_].pause()

    def resume(self, id_: int) -> None:
        """Let a server go on that was paused."""
        self.servers[id_].resume()

    def address(self, id_: int) -> str:
        """The address of a server, as configurations have it."""
        return self._addresses.get(id_, f"{self.network.ip(id_)}:{PORT}")

    def running(self) -> list[int]:
        """The ids of the servers that can answer."""
        return [id_ for id_, server in self.servers.items() if server.running and not server.paused]

    def state(self, id_: int) -> Record:
        """What a server says of itself: `state`, `term`, `leader` (0 for none), `commit_index`, `last_applied`,
        `last_index`, `commands` and `digest` of its state machine, `servers` of its configuration ...
        """
        return self.servers[id_].do("state")

    # The leader

    def leader(self, among: Collection[int] | None = None) -> int | None:
        """The leader of the highest term, among some servers or all that can answer."""
        states = [self.state(id_) for id_ in self.running() if among is None or id_ in among]
        leaders = [(state["term"], state["id"]) for state in states if state["state"] == "leader"]
        return max(leaders)[1] if leaders else None

    def wait_for_leader(self, timeout: float = TIMEOUT, among: Collection[int] | None = None) -> int:
        """The leader, as soon as there is one. Raises TimeoutError when there is none in so many seconds."""
        return wait_for("a leader", lambda: self.leader(among), timeout)

    def wait_until_applied(self, timeout: float = TIMEOUT, among: Collection[int] | None = None) -> int:
        """Wait until some servers, or all that can answer, have applied all that the leader has; gives that index."""

        def same() -> int | None:
            leader = self.leader(among)
            if leader is None:
                return None
            index: int = self.state(leader)["last_index"]
            applied = {self.state(id_)["last_applied"] for id_ in (among or self.running())}
            return index if applied == {index} else None

        return wait_for("the same applied index everywhere", same, timeout)

    def transfer(self, id_: int) -> None:
        """Have the leader make another voter the leader. Raises ServerError when that fails."""
        self._leader_does(f"transfer {id_}")

    # Membership

    def add(self, id_: int, role: str = "voter") -> None:
        """Add a server, which is started if it was never, and give it a role."""
        if id_ not in self.servers:
            self.spawn(id_)
        self._leader_does(f"add {id_} {self.address(id_)}")
        if role != "spare":
            self.assign(id_, role)

    def assign(self, id_: int, role: str) -> None:
        """Make a server a `voter`, a `standby` or a `spare`."""
        self._leader_does(f"assign {id_} {role}")

    def remove(self, id_: int) -> None:
        """Remove a server from the configuration; its process goes on."""
        self._leader_does(f"remove {id_}")

    # Entries

    def apply(self, entries: int, size: int = 64) -> int:
        """Have the leader apply entries of so many bytes, a multiple of 8, all at once; gives the last one's index."""
        index: int = self._leader_does(f"apply {entries} {size}")["last_index"]
        return index

    def load(self, rate: float | None, size: int = 64, in_flight: int = 64) -> None:
        """From now on, whoever is the leader applies entries: so many a second, or None for as many as it can.

        `in_flight`: how many of them wait for being applied, at most.
        """
        for id_ in self.running():
            self.servers[id_].do(f"load {'max' if rate is None else rate} {size} {in_flight}")

    def load_off(self) -> None:
        """No more entries."""
        for id_ in self.running():
            self.servers[id_].do("load off")

    # The network

    def partition(self, group: Collection[int], how: str = "") -> None:
        """Part some servers from all others, as `Network.partition` does."""
        self.network.partition(group, how)

    def heal(self) -> None:
        """Undo all partitions, and all that a switch was told to do."""
        self.network.heal()

    # What the servers log

    def log(self, id_: int, *events: str) -> list[Record]:
        """What a server has logged until now, all of its runs; only these events, if some are named."""
        return [record for record in self._records(id_) if not events or record["event"] in events]

    def _records(self, id_: int) -> Iterable[Record]:
        text = (self.folder / str(id_) / "log").read_bytes()
        for line in text[: text.rfind(b"\n") + 1].splitlines():
            yield json.loads(line)

    # How it is done

    def _command(self, id_: int, bootstrap: str, options: dict[str, int]) -> list[str]:
        folder = self.folder / str(id_)
        given = {**self._options, **{name.replace("_", "-"): value for name, value in options.items()}}
        return [
            *self.network.command(id_),
            str(built("server.c", "raft", "libuv")),
            *("--id", str(id_), "--address", self.address(id_), "--directory", str(folder / "data")),
            *("--control", str(folder / "control"), "--log", str(folder / "log")),
            *(["--bootstrap", bootstrap] if bootstrap else []),
            *self._flags,
            *(text for name, value in given.items() for text in (f"--{name}", str(value))),
        ]

    def _leader_does(self, command: str) -> Record:
        return self.servers[self.wait_for_leader()].do(command)
