"""Which servers were started anew, as the ends and the beginnings of their connections prove."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.cluster.addresses import is_literal, split

if TYPE_CHECKING:
    from raft_dissect.cluster.servers import Server
    from raft_dissect.values import Endpoint, Place, Stream, StreamEnd

_MAX_ENDED = 64
"""Connections of a server that ended, and that are remembered until it opens the next one."""


class _Ended:
    """The end of a connection that a server had opened."""

    __slots__ = ("destination", "place", "receiver")

    def __init__(self, destination: Endpoint, receiver: Server, place: Place) -> None:
        self.destination = destination
        self.receiver = receiver
        self.place = place


class _Outgoing:
    """The connections that one server opened to others."""

    __slots__ = ("closed", "doubt", "open", "place", "proven")

    def __init__(self) -> None:
        self.open: set[int] = set()
        """Numbers of the streams on which it may speak still."""
        self.closed: list[_Ended] = []
        """Those that it closed itself since it opened one."""
        self.place: Place | None = None
        """When it opened one after it had closed others: a restart, if those of `doubt` had ended by then, too."""
        self.doubt: set[int] = set()
        self.proven: list[Place] = []

    def absorb(self, other: _Outgoing) -> None:
        """Take over the connections of a server that turned out to be this one."""
        self.open |= other.open
        self.closed += other.closed
        self.doubt |= other.doubt
        self.place = self.place or other.place
        self.proven += other.proven


class Restarts:
    """Finds restarts by what only the end of a process does: to close all connections that it had opened.

    A running server never closes a connection of its own accord, with two exceptions: when writing to it failed, which
    is after the other side has reset it, and when the other server is found at another address (protocol document
    section 1.1). So it was started anew when it had closed connections with FIN, all others of its own had ended as
    well, and it then opens one with a handshake. An end that is not in the capture proves nothing, and a forwarder
    proves nothing about the server behind it: it closes when the other side does.
    """

    def __init__(self) -> None:
        self._servers: dict[Server, _Outgoing] = {}

    def speaks(self, stream: Stream, sender: Server) -> None:
        """A server has an open connection, whose beginning may not have been captured."""
        self._of(sender).open.add(stream.number)

    def closed(self, stream: Stream, sender: Server, receiver: Server, place: Place, reason: StreamEnd) -> None:
        """A connection that a server had opened ended."""
        outgoing = self._of(sender)
        outgoing.open.discard(stream.number)
        if reason == "fin":
            outgoing.closed.append(_Ended(stream.destination, receiver, place))
            del outgoing.closed[:-_MAX_ENDED]
        if stream.number in outgoing.doubt:
            # A reset is told late, so that what came before it is not lost.
            outgoing.doubt.discard(stream.number)
            if outgoing.place is not None and place > outgoing.place:
                outgoing.place = None
            self._prove(outgoing)

    def opened(self, stream: Stream, sender: Server, receiver: Server, place: Place) -> bool:
        """A server opened a connection; say whether that proves that it was started anew."""
        outgoing = self._of(sender)
        ended = [end for end in outgoing.closed if end.place <= place]
        moved = len(ended) == 1 and ended[0].receiver is receiver and ended[0].destination != stream.destination
        proves = False
        if ended and not moved and _is_direct(stream):
            outgoing.place, outgoing.doubt = place, outgoing.open - {stream.number}
            proves = self._prove(outgoing)
        outgoing.closed.clear()
        outgoing.open.add(stream.number)
        return proves

    def _prove(self, outgoing: _Outgoing) -> bool:
        if outgoing.place is None or outgoing.doubt:
            return False
        outgoing.proven.append(outgoing.place)
        outgoing.place = None
        return True

    def _of(self, server: Server) -> _Outgoing:
        """Those of a server, with those of others that turned out to be this one."""
        server = server.resolved
        outgoing = self._servers.get(server)
        if outgoing is None:
            outgoing = self._servers[server] = _Outgoing()
        for other in [known for known in self._servers if known.merged is not None and known.resolved is server]:
            outgoing.absorb(self._servers.pop(other))
        return outgoing

    def forget(self, before_ns: int) -> None:
        """Forget the restarts before a time."""
        for outgoing in self._servers.values():
            outgoing.proven = [place for place in outgoing.proven if place.time_ns >= before_ns]

    def proven(self, server: int, place: Place) -> bool:
        """Whether the server with an id was started anew, and a place is in its first packets after that."""
        return any(known.resolved.id == server and place in of.proven for known, of in self._servers.items())

    def places(self) -> dict[Server, tuple[Place, ...]]:
        """By server: the first packets after each restart, in the order of time."""
        found: dict[Server, list[Place]] = {}
        for server, outgoing in self._servers.items():
            found.setdefault(server.resolved, []).extend(outgoing.proven)
        return {server: tuple(sorted(places)) for server, places in found.items()}


def _is_direct(stream: Stream) -> bool:
    """Whether a server connects from the address that it advertises, as far as that is an address and not a name."""
    host = "" if stream.handshake is None else split(stream.handshake.address)[0]
    return host == stream.source.host or not is_literal(host)
