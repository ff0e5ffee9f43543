"""A cluster of Raft servers on libraft."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cluster.build import built
from tests.cluster.rig import INSTALL_TIMEOUT_MS, PORT, Rig
from tests.cluster.servers import Server
from tests.cluster.waiting import TIMEOUT, wait_for

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.cluster.servers import Record


class Cluster(Rig[Server]):
    """Servers of libraft with a state machine that counts, which do what they are told; see server.c."""

    def __init__(
        self,
        *,
        heartbeat_ms: int = 50,
        election_ms: int = 250,
        pre_vote: bool = False,
        threshold: int = 1024,
        trailing: int = 2048,
        snapshot_size: int = 4096,
        install_timeout_ms: int = INSTALL_TIMEOUT_MS,
        ip_version: int = 4,
        switched: bool = False,
        seed: int = 0,
    ) -> None:
        """`threshold` and `trailing` are entries: between snapshots, and kept behind one.

        After `install_timeout_ms` a leader sends a snapshot again. `ip_version` is that of the packets, 4 or 6; the
        addresses in configurations and handshakes have version 4 either way, as libraft 0.15 knows no others. The rest
        is `Network`'s.
        """
        super().__init__(switched=switched, seed=seed)
        self._options = {
            "heartbeat": heartbeat_ms,
            "election": election_ms,
            "threshold": threshold,
            "trailing": trailing,
            "snapshot-size": snapshot_size,
            "install-timeout": install_timeout_ms,
        }
        self._flags = ["--pre-vote"] if pre_vote else []
        if ip_version == 6:
            self._flags += ["--ip6-network", "fd77::"]

    # Servers

    def start(self, servers: int = 3, **options: int) -> int:
        """Start a cluster of so many voters, wait until all of them follow the same leader, and give its id."""
        ids = range(1, servers + 1)
        bootstrap = ",".join(f"{id_}={self.address(id_)}=voter" for id_ in ids)
        for id_ in ids:
            self.spawn(id_, bootstrap=bootstrap, **options)
        return wait_for("a leader that all follow", self._leader_of_all)

    def spawn(self, id_: int, *, port: int = PORT, bootstrap: str = "", **options: int) -> None:
        """Start a server that is in no configuration yet, unless `bootstrap` is one: it waits to be added.

        `options` are options of the program that are other than the cluster's, as `snapshot_size=100`.
        """
        self._ports[id_] = port
        folder = self.folder / str(id_)
        self._start_in_namespace(id_, Server(self._command(id_, bootstrap, options), folder))

    def restart(self, id_: int, *, port: int | None = None, **options: int) -> None:
        """Start a server again that was killed or stopped, with its data; it may get another port."""
        server = self.servers[id_]
        if port is not None:
            self._ports[id_] = port
        server.command = self._command(id_, "", options)
        server.start()

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

    def _leader_of_all(self) -> int | None:
        found = {(state["term"], state["leader"]) for state in map(self.state, self.running())}
        return found.pop()[1] or None if len(found) == 1 else None

    def _leader_does(self, command: str) -> Record:
        return self.servers[self.wait_for_leader()].do(command)
