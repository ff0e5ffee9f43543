"""A cluster of dqlite nodes, and the clients that work with it."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing, suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.cluster.build import built
from tests.cluster.dqlite_client import Client, DqliteError
from tests.cluster.rig import INSTALL_TIMEOUT_MS, PORT, Rig
from tests.cluster.servers import Program
from tests.cluster.waiting import TIMEOUT, wait_for

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

DATABASE = "test.db"


class Node(Program):
    """The program of dqlite_node.c."""

    def forget(self) -> None:
        """Only what it logs from now on says that it listens."""
        self._before = len(self._listening()) if (self.folder / "log").exists() else 0

    def ready(self) -> bool:
        """Whether it takes connections."""
        return (self.folder / "log").exists() and len(self._listening()) > self._before

    def _listening(self) -> list[int]:
        return [record["t"] for record in self.log() if record["event"] == "listening"]


class DqliteCluster(Rig[Node]):
    """Nodes of libdqlite, with their database `test.db`; see dqlite_node.c."""

    def __init__(
        self,
        *,
        latency_ms: int = 20,
        threshold: int = 1024,
        trailing: int = 8192,
        install_timeout_ms: int = INSTALL_TIMEOUT_MS,
        switched: bool = False,
        seed: int = 0,
    ) -> None:
        """`latency_ms` is what dqlite computes its timeouts from: an election after 15 times that, at least.

        `threshold` and `trailing` are entries: between snapshots, and kept behind one, which dqlite wants to be as many
        at least. After `install_timeout_ms` a leader sends a snapshot again. The rest is `Network`'s.
        """
        super().__init__(switched=switched, seed=seed)
        self._options = {
            "latency": latency_ms,
            "threshold": threshold,
            "trailing": trailing,
            "install-timeout": install_timeout_ms,
        }

    def start(self, nodes: int = 3) -> int:
        """Start a cluster of so many voters, and give the id of its leader, which is 1: it makes the cluster."""
        for id_ in range(1, nodes + 1):
            self.spawn(id_)
        leader = self.wait_for_leader()
        for id_ in range(2, nodes + 1):
            self.add(id_)
        return leader

    def spawn(self, id_: int) -> None:
        """Start a node; all but the node 1 wait to be added."""
        folder = self.folder / str(id_)
        command = [
            *self.network.command(id_),
            str(built("dqlite_node.c", "dqlite", "raft", "libuv")),
            *("--id", str(id_), "--address", self.address(id_)),
            *("--directory", str(folder / "data"), "--log", str(folder / "log")),
            *(text for name, value in self._options.items() for text in (f"--{name}", str(value))),
        ]
        self._start_in_namespace(id_, Node(command, folder))

    def restart(self, id_: int) -> None:
        """Start a node again that was killed or stopped, with its data."""
        self.servers[id_].start()

    def connect(self, id_: int, host: int | None = None) -> Client:
        """A client of a node: in the hub, or in the namespace of a host; a switch has only the latter."""
        if host is None:
            host = id_ if self.network.switch is not None else 0
        connection = self.network.socket(host, socket.AF_INET, socket.SOCK_STREAM)
        connection.settimeout(TIMEOUT)
        try:
            connection.connect((self.network.ip(id_), PORT))
            return Client(connection)
        except BaseException:
            connection.close()
            raise

    def leader(self, among: Collection[int] | None = None) -> int | None:
        """The node that takes itself for the leader, among some or all that can answer, if exactly one does."""
        leaders = [id_ for id_ in self.running() if (among is None or id_ in among) and self._leader_of(id_) == id_]
        return leaders[0] if len(leaders) == 1 else None

    def execute(self, sql: str) -> int:
        """Have the leader run a statement; gives the number of rows that it changed."""
        with self.connect(self.wait_for_leader()) as client:
            client.open(DATABASE)
            return client.execute(sql)

    def transfer(self, id_: int) -> None:
        """Have the leader make another voter the leader. Raises DqliteError when that fails."""
        with self.connect(self.wait_for_leader()) as client:
            client.transfer(id_)

    def add(self, id_: int, role: str = "voter") -> None:
        """Add a node, which is started if it was never, and give it a role."""
        if id_ not in self.servers:
            self.spawn(id_)
        with self.connect(self.wait_for_leader()) as client:
            client.add(id_, self.address(id_))
        if role != "spare":
            self.assign(id_, role)

    def assign(self, id_: int, role: str) -> None:
        """Make a node a `voter`, a `standby` or a `spare`."""
        with self.connect(self.wait_for_leader()) as client:
            client.assign(id_, role)

    def remove(self, id_: int) -> None:
        """Remove a node from the configuration; its process goes on."""
        with self.connect(self.wait_for_leader()) as client:
            client.remove(id_)

    def rows(self, id_: int, sql: str) -> list[tuple[object, ...]]:
        """What a SELECT gives on the data of one node, which need not lead: it is run on a copy, by SQLite."""
        with self.connect(id_) as client:
            files = client.dump(DATABASE)
        with TemporaryDirectory(dir=self.folder) as folder:
            for name, data in files.items():
                (self.folder / folder / name).write_bytes(data)
            return _select(self.folder / folder / DATABASE, sql)

    def wait_until_applied(self, timeout: float = TIMEOUT, among: Collection[int] | None = None) -> int:
        """Wait until some nodes, or all that can answer, have applied what any of them has now; gives that index."""
        nodes = among or self.running()
        for id_ in nodes:
            self._leader_of(id_)  # behind a node's answer, its log has all that it did before
        index = max(self._applied(id_) for id_ in nodes)
        wait_for(f"index {index} everywhere", lambda: all(self._applied(id_) >= index for id_ in nodes), timeout)
        return index

    def _applied(self, id_: int) -> int:
        """The index up to which a node has applied entries since it was started last."""
        index = 0
        for record in self.log(id_, "started", "applied"):
            index = record.get("index", 0)
        return index

    def _leader_of(self, id_: int) -> int:
        with suppress(DqliteError, OSError), self.connect(id_) as client:
            return client.leader()[0]
        return 0


def _select(database: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(sql).fetchall()
