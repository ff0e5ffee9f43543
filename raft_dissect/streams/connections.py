"""What the engine knows of one TCP connection and of each of its two directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.streams.framing import Framer
from raft_dissect.streams.reassembly import UNKNOWN, Reassembly
from raft_dissect.values import Place

if TYPE_CHECKING:
    from raft_dissect.streams.framing import FramerOptions
    from raft_dissect.streams.segments import Segment
    from raft_dissect.values import Event, Stream

# What the fast path may do with the segments of a direction.
NOTHING = 0  # all of them need a closer look
NO_DATA = 1  # those that carry no data say nothing new
IN_ORDER = 2  # so do those that bring the next bytes, as far as their messages are ordinary
IGNORED = 3  # nobody asked for this connection


class Direction:
    """One direction of a connection: its stream, reassembly and framer."""

    __slots__ = (
        "acknowledged",
        "connection",
        "ease",
        "ended",
        "fin",
        "fin_place",
        "former",
        "framer",
        "held",
        "hosts",
        "key",
        "last_file",
        "last_frame",
        "last_ns",
        "limited",
        "passed",
        "peer",
        "ports",
        "reassembly",
        "stray",
        "stray_place",
        "stream",
        "waiting",
    )

    def __init__(self, key: bytes, stream: Stream, options: FramerOptions, events: list[Event], place: Place) -> None:
        self.key = key
        """Addresses and ports, source before destination."""
        self.hosts = int.from_bytes(key[:-4][:8], "big")
        """The addresses of IPv4 as one number, for the fast path."""
        self.ports = int.from_bytes(key[-4:], "big")
        """Source and destination port as one number, for the fast path."""
        self.stream = stream
        self.framer = Framer(stream, options, events)
        self.reassembly = Reassembly(self.framer)
        self.peer = self
        """The other direction of the connection."""
        self.connection: Connection
        self.ease = NOTHING
        """What the fast path may do with its segments."""
        self.fin = UNKNOWN
        """Position of the FIN."""
        self.fin_place = place
        self.last_ns, self.last_frame, self.last_file = place
        """The last packet with payload."""
        self.passed = False
        """Whether that packet went by on the fast path, inside a message."""
        self.ended = False
        self.limited = False
        """Whether it was said that too many bytes are held back."""
        self.held = 0
        """Bytes held back when last counted."""
        self.waiting = False
        """Whether the engine will come back to see about holes."""
        self.acknowledged = UNKNOWN
        """When it does: the position up to which holes have had their time."""
        self.stray: Segment | None = None
        """A segment that cannot belong to this connection: perhaps the first of a new one."""
        self.stray_place = place
        self.former = UNKNOWN
        """Where the connection that had the same addresses and ports before had come to, as a sequence number."""

    @property
    def last(self) -> Place:
        """The last packet with payload."""
        return Place(self.last_ns, self.last_frame, self.last_file)

    def seen(self, place: Place) -> None:
        """Take note of a packet with payload."""
        self.last_ns, self.last_frame, self.last_file = place

    def catch_up(self) -> None:
        """Tell the message that is passing of the packets that went by on the fast path."""
        if self.passed:
            self.passed = False
            if self.framer.message is not None:
                self.framer.message.place = self.last


class Connection:
    """Both directions of one TCP connection."""

    __slots__ = ("back", "closed", "first", "ignored", "reset", "there")

    def __init__(self, there: Direction, back: Direction, ignored: bool, first: Place) -> None:
        self.there = there
        """The direction that was seen first."""
        self.back = back
        there.peer, back.peer = back, there
        there.connection = back.connection = self
        self.ignored = ignored
        """Whether neither port is one that was asked for."""
        self.first = first
        self.reset: Place | None = None
        self.closed = False

    @property
    def directions(self) -> tuple[Direction, Direction]:
        """Both; the one that was seen first is the first."""
        return self.there, self.back

    @property
    def kind(self) -> str:
        """What the connection carries; `empty` when there was no payload in it."""
        found = [d.framer.kind for d in self.directions if d.reassembly.has_data]
        for kind in ("raft", "dqlite_client", "http", "upgrade", "tls", "unknown"):
            if kind in found:
                return kind
        return "empty"

    def forget(self) -> None:
        """Be closed and nothing else, so that nobody who still knows it keeps the rest in memory."""
        for direction in self.directions:
            del direction.connection, direction.peer
        del self.there, self.back

    def ease(self) -> None:
        """Say anew what the fast path may do with the segments of both directions."""
        there, back = self.there, self.back
        there.ease = back.ease = NOTHING
        if self.ignored:
            there.ease = back.ease = IGNORED
        elif not self.closed and self.reset is None and _is_calm(there) and _is_calm(back) and there.key != back.key:
            there.ease = IN_ORDER if there.framer.is_easy else NO_DATA
            back.ease = IN_ORDER if back.framer.is_easy else NO_DATA


def _is_calm(direction: Direction) -> bool:
    """Whether nothing of a direction waits for anything."""
    return (
        direction.fin == UNKNOWN
        and not direction.ended
        and not direction.waiting
        and direction.stray is None
        and not direction.reassembly.is_waiting
    )
