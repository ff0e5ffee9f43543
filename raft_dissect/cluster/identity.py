"""Who speaks and who listens on a stream: server ids from handshakes, configurations and what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from raft_dissect import wire
    from raft_dissect.cluster.facts import KnownBy
    from raft_dissect.values import Endpoint, Message, Stream


class Identity(NamedTuple):
    """What is known of the server at one end of a stream."""

    id: int | None = None
    address: str | None = None
    """As the server advertises it."""
    known_by: KnownBy | None = None


_UNKNOWN = Identity()
_ANYBODY = ("127.0.0.1", "::1")
"""Where connections to any loopback address come from, unless a program asks for something else: also a forwarder's."""


class Identities:
    """Learns from handshakes, configurations and vote requests which server is where.

    A server is identified by the id in its handshake. The receiver of a stream says nothing of itself, so it is found
    by the address that the stream goes to: one that a server advertises, or one that a configuration names, or else
    the host that only one server's connections come from (addresses may be host names or lead through proxies). Between
    servers on one machine the host says nothing.
    """

    def __init__(self) -> None:
        self._by_address: dict[str, Identity] = {}
        self._by_host: dict[str, set[int]] = {}
        self._addresses: dict[int, str] = {}
        self._candidates: dict[int, int] = {}  # stream number: id in the vote requests on it
        self._cache: dict[tuple[int, bool], Identity] = {}
        self.changes = 0
        """How often something was learnt, so that other servers may be found from then on."""

    def opened(self, stream: Stream) -> None:
        """Learn from a handshake."""
        handshake = stream.handshake
        if handshake is None:
            return
        if handshake.address:
            self._learn(handshake.id, handshake.address, "handshake")
        self._add_host(stream.source.host, handshake.id)

    def message(self, message: Message) -> None:
        """Learn from what a message says about servers."""
        type_ = message.preamble.type
        if type_ == table.REQUEST_VOTE:
            candidate = message.fields.get("candidate_id")
            if message.stream.handshake is None and candidate and message.stream.number not in self._candidates:
                self._candidates[message.stream.number] = candidate
                self._cache.pop((message.stream.number, True), None)
                self.changes += 1
                self._add_host(message.stream.source.host, candidate)
        elif type_ == table.INSTALL_SNAPSHOT and message.configuration:
            self.configuration(message.configuration)

    def configuration(self, servers: Iterable[wire.Server]) -> None:
        """Learn from a configuration."""
        for server in servers:
            if server.address not in self._by_address:
                self._learn(server.id, server.address, "configuration")

    def forget(self, open_streams: Collection[int]) -> None:
        """Forget what was asked about streams that are over."""
        self._candidates = {number: id_ for number, id_ in self._candidates.items() if number in open_streams}
        self._cache = {key: identity for key, identity in self._cache.items() if key[0] in open_streams}

    def knows(self, address: str) -> bool:
        """Whether a server is known to advertise an address."""
        return address in self._by_address

    @property
    def ids(self) -> Collection[int]:
        """The ids of all servers that are known so far."""
        return self._addresses.keys()

    def sender(self, stream: Stream) -> Identity:
        """The server that sends on a stream."""
        handshake = stream.handshake
        if handshake is not None:
            return Identity(handshake.id, handshake.address or self._addresses.get(handshake.id), "handshake")
        key = (stream.number, True)
        if key not in self._cache:
            self._cache[key] = self._infer_sender(stream)
        return self._cache[key]

    def receiver(self, stream: Stream) -> Identity:
        """The server that a stream goes to."""
        key = (stream.number, False)
        if key not in self._cache:
            known = self._by_address.get(str(stream.destination))
            self._cache[key] = known or self._at_host(stream.destination, stream.source)
        return self._cache[key]

    def _infer_sender(self, stream: Stream) -> Identity:
        candidate = self._candidates.get(stream.number)
        if candidate is not None:
            return Identity(candidate, self._addresses.get(candidate), "inferred")
        if stream.source.host in _ANYBODY:
            return _UNKNOWN
        return self._at_host(stream.source, stream.destination)

    def _at_host(self, end: Endpoint, other: Endpoint) -> Identity:
        """The only server whose connections come from a host, or whose known address is on it."""
        host = end.host
        if host == other.host:
            return _UNKNOWN
        ids = self._by_host.get(host)
        if not ids:
            bracketed = f"[{host}]" if ":" in host else host
            ids = {
                identity.id
                for address, identity in self._by_address.items()
                if identity.id is not None and address.rpartition(":")[0] in (host, bracketed)
            }
        if len(ids) != 1:
            return _UNKNOWN
        (id_,) = ids
        return Identity(id_, self._addresses.get(id_), "inferred")

    def _learn(self, id_: int, address: str, known_by: KnownBy) -> None:
        identity = Identity(id_, address, known_by)
        if self._by_address.get(address) != identity:
            self._by_address[address] = identity
            self._addresses[id_] = address
            self._cache.clear()
            self.changes += 1

    def _add_host(self, host: str, id_: int) -> None:
        ids = self._by_host.setdefault(host, set())
        if id_ not in ids:
            ids.add(id_)
            self._cache.clear()
            self.changes += 1
