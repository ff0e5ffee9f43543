"""The servers of a cluster as the analysis knows them, also before their ids are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from raft_dissect import wire
from raft_dissect.cluster.facts import ServerFact
from raft_dissect.cluster.identity import Identities
from raft_dissect.cluster.restarts import Restarts
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from raft_dissect.cluster.facts import KnownBy, ServerName
    from raft_dissect.cluster.identity import Identity
    from raft_dissect.values import Endpoint, Message, Place, Stream


Shape = tuple[int, int, int, bool]
"""What tells layouts apart: message type, version, header length, whether unused bytes of AppendEntries are set."""


_DIRECT: dict[KnownBy, int] = {"inferred": 0, "configuration": 1, "handshake": 2}


def shape_of(preamble: wire.Preamble, stale: bool) -> Shape:
    """The shape of a message; `stale` says whether it is an AppendEntries whose unused bytes are set."""
    length = 0 if preamble.type == table.APPEND_ENTRIES else preamble.header_length
    return (preamble.type, preamble.version, length, stale)


class Server:
    """One server, known by its id or for the time being by the host that it speaks from."""

    __slots__ = (
        "_layouts",
        "_shapes",
        "addresses",
        "first_seen",
        "handshake",
        "host",
        "id",
        "known_by",
        "last_seen",
        "merged",
        "roles",
    )

    def __init__(self, host: str) -> None:
        self.host = host
        self.id: int | None = None
        self.merged: Server | None = None
        """The server that this one turned out to be."""
        self.addresses: list[str] = []
        self.roles: list[str | int] = []
        self.handshake: str | None = None
        self.known_by: KnownBy | None = None
        self.first_seen: Place | None = None
        self.last_seen: Place | None = None
        self._shapes: set[Shape] = set()
        self._layouts: frozenset[str] = frozenset()

    @property
    def name(self) -> ServerName:
        """How facts call it."""
        server = self.resolved
        return server.host if server.id is None else server.id

    @property
    def resolved(self) -> Server:
        """The server itself, or the one that it turned out to be."""
        return self.merged.resolved if self.merged is not None else self

    def absorb(self, other: Server) -> None:
        """Take over what is known of another one that turned out to be this one."""
        other.merged = self
        self.known(other.known_by)
        for place in (other.first_seen, other.last_seen):
            if place is not None:
                self._seen_at(place)
        if other._layouts:
            self._learn_layouts(other._shapes, other._layouts)

    def known(self, known_by: KnownBy | None) -> None:
        """Take note of how its id is known; what says it most directly counts."""
        if known_by is not None and (self.known_by is None or _DIRECT[known_by] > _DIRECT[self.known_by]):
            self.known_by = known_by

    def seen(self, message: Message) -> None:
        """Take note of a message that this server sent."""
        self._seen_at(message.place)
        preamble = message.preamble
        header = message.header
        stale = preamble.type == table.APPEND_ENTRIES and any(header[-8:])
        shape = shape_of(preamble, stale)
        if shape not in self._shapes and not message.partial:
            self._learn_layouts({shape}, wire.writers(preamble, header))

    def wrote(self, shape: Shape) -> bool:
        """Whether messages of this shape tell nothing new about its releases."""
        return shape in self._shapes

    def _seen_at(self, place: Place) -> None:
        if self.first_seen is None or place < self.first_seen:
            self.first_seen = place
        if self.last_seen is None or place > self.last_seen:
            self.last_seen = place

    def _learn_layouts(self, shapes: set[Shape], layouts: frozenset[str]) -> None:
        self._shapes |= shapes
        both = self._layouts & layouts if self._layouts else layouts
        if not both and layouts:
            # No release writes both: the server was upgraded, so what it writes now counts.
            self._shapes = set(shapes)
            both = layouts
        self._layouts = both

    @property
    def labels(self) -> frozenset[str]:
        """The layouts of which one is its own; empty if it wrote nothing that tells them apart."""
        return self._layouts

    def fact(self, restarts: tuple[Place, ...] = ()) -> ServerFact:
        """What is known; `restarts` are those of its id."""
        labels = [layout for layout in table.LAYOUTS if layout.label in self._layouts]
        return ServerFact(
            self.name,
            tuple(self.addresses) or (self.host,),
            tuple(self.roles),
            self._family([layout.label for layout in labels]),
            _releases(labels),
            self.first_seen,
            self.last_seen,
            None if self.id is None else self.known_by,
            restarts,
        )

    def _family(self, labels: list[str]) -> Literal["canonical", "cowsql", "dqlite", "unknown"]:
        cowsql = {label.startswith("w-") for label in labels}
        if len(cowsql) != 1:
            return "unknown"
        if cowsql.pop():
            return "cowsql"
        return "dqlite" if self.handshake == "dqlite" else "canonical"


def _releases(layouts: Iterable[table.Layout]) -> str:
    """The releases of layouts, from the first to the last of each lineage."""
    ranges: dict[str, table.Releases] = {}
    for releases in (releases for layout in layouts for releases in layout.releases):
        known = ranges.setdefault(releases.lineage, releases)
        ranges[releases.lineage] = known._replace(last=releases.last)
    return ", ".join(map(str, ranges.values()))


class Servers:
    """Finds the server at each end of a stream, and keeps one object per server."""

    def __init__(self) -> None:
        self.identities = Identities()
        self.restarts = Restarts()
        self._by_id: dict[int, Server] = {}
        self._unknown: dict[str, Server] = {}
        self._ends: dict[tuple[int, bool], Server] = {}
        self.identified = 0
        """How often a server was identified, so that what was known of one may now be known of another."""

    def facts(self) -> tuple[ServerFact, ...]:
        """What is known of every server."""
        restarts = self.restarts.places()
        return tuple(server.fact(restarts.get(server, ())) for server in self.all())

    def forget(self, before_ns: int, open_streams: Collection[int]) -> None:
        """Forget restarts before a time, and which servers stood at the ends of streams that are over."""
        self._ends = {key: server for key, server in self._ends.items() if key[0] in open_streams}
        self.identities.forget(open_streams)
        self.restarts.forget(before_ns)

    def all(self) -> list[Server]:
        """Every server, those with an id first."""
        return [*(self._by_id[id_] for id_ in sorted(self._by_id)), *self._unknown.values()]

    def known(self, id_: int) -> Server | None:
        """The server with an id, if there is one."""
        return self._by_id.get(id_)

    def role(self, configured: wire.Server) -> None:
        """Take note of a server's role in a configuration."""
        host = configured.address.rpartition(":")[0].strip("[]")
        server = self._identified(configured.id, host, configured.address)
        server.known("configuration")
        if configured.address not in server.addresses:
            server.addresses.append(configured.address)
        if server.roles[-1:] != [configured.role_name]:
            server.roles.append(configured.role_name)

    def sender(self, stream: Stream) -> Server:
        """The server that sends on a stream."""
        known = self._ends.get((stream.number, True))
        if known is not None:
            return known
        server = self._server(
            self.identities.sender(stream), _name_of(stream.source, stream.destination, ephemeral=True)
        )
        if stream.handshake is not None:
            server.handshake = stream.handshake.kind
        return self._remember(stream, True, server)

    def spoke(self, stream: Stream) -> None:
        """A message came on a stream; its beginning may not have been captured, and it is open all the same."""
        if stream.handshake is None:
            self.restarts.speaks(stream, self.sender(stream))

    def receiver(self, stream: Stream) -> Server:
        """The server that a stream goes to."""
        known = self._ends.get((stream.number, False))
        if known is not None:
            return known
        server = self._server(
            self.identities.receiver(stream), _name_of(stream.destination, stream.source, ephemeral=False)
        )
        return self._remember(stream, False, server)

    def names(self, stream: Stream) -> tuple[ServerName, ServerName]:
        """How the servers at both ends are called, the sender first; asking changes nothing of what is known."""
        sender, receiver = self.identities.sender(stream).id, self.identities.receiver(stream).id
        source, destination = stream.source, stream.destination
        return (
            _name_of(source, destination, ephemeral=True) if sender is None else sender,
            _name_of(destination, source, ephemeral=False) if receiver is None else receiver,
        )

    def _remember(self, stream: Stream, sends: bool, server: Server) -> Server:
        if server.id is not None:
            self._ends[stream.number, sends] = server
        return server

    def _server(self, identity: Identity, host: str) -> Server:
        if identity.id is None:
            return self._unknown.setdefault(host, Server(host))
        server = self._identified(identity.id, host, identity.address or host)
        server.known(identity.known_by)
        if identity.address and identity.address not in server.addresses:
            server.addresses.append(identity.address)
        return server

    def _identified(self, id_: int, host: str, address: str) -> Server:
        """The server with an id; what was known by its host or address before is known of it."""
        server = self._by_id.get(id_)
        for name in (host, address):
            unknown = self._unknown.pop(name, None)
            self.identified += unknown is not None
            if unknown is not None and server is None:
                server = unknown
            elif unknown is not None and server is not None:
                server.absorb(unknown)
        if server is None:
            server = Server(host)
        server.id = id_
        self._by_id[id_] = server
        return server


def _name_of(end: Endpoint, other: Endpoint, ephemeral: bool) -> str:
    """What to call a server whose id is unknown; on one machine its host alone says nothing."""
    if end.host == other.host or end.host.startswith("127."):
        return f"{end} (sender)" if ephemeral else str(end)
    return end.host
