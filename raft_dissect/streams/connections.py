"""What the engine knows of one TCP connection and of each of its two directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.streams.framing import Framer
from raft_dissect.streams.reassembly import UNKNOWN, Reassembly
from raft_dissect.streams.segments import NO_STAMP
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

NEVER = 2**63 - 1
"""Nanoseconds since the Unix epoch: later than all capture times."""
_NEVER = NEVER  # a C constant in the compiled form
_PAUSE_NS = 20_000_000
"""From the beginning of one round trip that is measured to that of the next, at least: more of them cost time, and tell
little more."""


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
        "identification",
        "key",
        "last_file",
        "last_frame",
        "last_ns",
        "limited",
        "passed",
        "peer",
        "ports",
        "reassembly",
        "sent",
        "sent_end",
        "shut",
        "shut_place",
        "stamp",
        "stray",
        "stray_place",
        "stream",
        "timed",
        "timed_from",
        "timed_ns",
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
        self.identification = 0
        """Of the IPv4 packet with data that was sent last; 0 when there was none that has one."""
        self.stamp = NO_STAMP
        """In the timestamps option of the packet with data that was sent last, if it has no identification."""
        self.sent = UNKNOWN
        """Position of its data."""
        self.sent_end = UNKNOWN
        """Position after them; no further than `sent` when that packet brought the bytes before `reassembly.next`."""
        self.shut: tuple[int, int] | None = None
        """Identification and stamp of the last segment with a window of zero."""
        self.shut_place = place
        self.timed = UNKNOWN
        """Position after the segment whose acknowledgement is awaited to know the time of a round trip."""
        self.timed_ns = 0
        """When that segment was sent, or the last one before it that was timed."""
        self.timed_from = 1
        """From when on a segment may be timed: NEVER while one is, and never where the capture has no times."""

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

    def begin_timing(self, end: int, time_ns: int) -> None:
        """Await the acknowledgement of a segment that ends at this position."""
        # It may have been captured before the segment.
        if self.reassembly.acknowledged < end:
            self.timed = end
            self.timed_ns = time_ns
            self.timed_from = _NEVER

    def end_timing(self, time_ns: int) -> None:
        """Take note of the acknowledgement."""
        if time_ns >= self.timed_ns:
            self.stream.count_round_trip(time_ns - self.timed_ns)
        self.give_up_timing()

    def give_up_timing(self) -> None:
        """Do not await it any longer."""
        self.timed = UNKNOWN
        self.timed_from = self.timed_ns + _PAUSE_NS


class Connection:
    """Both directions of one TCP connection."""

    __slots__ = (
        "again",
        "answered",
        "asked",
        "attempts",
        "awaited",
        "back",
        "client",
        "closed",
        "ending",
        "first",
        "given_up",
        "ignored",
        "lingers",
        "reset",
        "there",
    )

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
        self.client: Direction | None = None
        """The side that opened it, once its SYN was seen."""
        self.asked = self.again = first
        """The first and the last SYN of the client."""
        self.attempts = 0
        """SYNs of the client, copies of the capture not counted."""
        self.answered = False
        """Whether anything shows that the client's SYN was answered."""
        self.awaited = False
        """Whether the engine will come back to see if it was answered."""
        self.given_up = False
        """Whether it was told that nothing answers."""
        self.ending = False
        """Whether a FIN or RST was seen."""
        self.lingers = False
        """Whether the engine will come back to it, to forget it."""

    @property
    def directions(self) -> tuple[Direction, Direction]:
        """Both; the one that was seen first is the first."""
        return self.there, self.back

    @property
    def is_asking(self) -> bool:
        """Whether a SYN waits for an answer."""
        return self.client is not None and not self.answered

    @property
    def is_over(self) -> bool:
        """Whether both of its streams are."""
        return self.closed or (self.there.ended and self.back.ended)

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
        self.client = None

    @property
    def _is_open(self) -> bool:
        return not self.closed and self.reset is None and not self.is_asking

    def ease(self) -> None:
        """Say anew what the fast path may do with the segments of both directions."""
        there, back = self.there, self.back
        there.ease = back.ease = NOTHING
        if self.ignored:
            there.ease = back.ease = IGNORED
        elif self._is_open and _is_calm(there) and _is_calm(back) and there.key != back.key:
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
