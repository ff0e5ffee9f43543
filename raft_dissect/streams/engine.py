"""From packets to events: connections, their two streams, and the messages in them; the same for files and live."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from raft_dissect.streams.framing import Framer, FramerOptions
from raft_dissect.streams.reassembly import FAR, MAX_PENDING, Chunk, Reassembly, follows
from raft_dissect.streams.segments import (
    ACK,
    FIN,
    RST,
    SYN,
    Segment,
    decode_segment,
    endpoints_of,
    ports_of,
    reverse_key,
)
from raft_dissect.values import STREAM_KINDS, Diagnostic, Place, Stream
from raft_dissect.wire import LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from raft_dissect.values import Event, Packet, StreamEnd

GRACE_NS = 1_000_000_000
"""Nanoseconds of capture time that a packet may come late.

A hole that the receiver has acknowledged is in the capture only if its packets were captured out of order, so it is
given up this long after the acknowledgement; a reset stream is closed this long after the reset.
"""
MAX_HELD = 256 * 1024 * 1024
"""Bytes of all streams together that are held back until what is missing comes."""
MAX_CONNECTIONS = 50_000
"""Connections that are known at a time; some 4 KiB each. A scan of ports opens many that carry nothing."""


class Statistics:
    """What an engine has seen, for the reader to judge how much of the traffic was understood."""

    __slots__ = (
        "bytes",
        "cut_packets",
        "first_ns",
        "gaps",
        "last_ns",
        "malformed",
        "packets",
        "skipped",
        "streams",
        "unfinished",
    )

    def __init__(self) -> None:
        self.packets = 0
        self.bytes = 0
        """Captured bytes."""
        self.cut_packets = 0
        """Packets of which the snaplen cut the end."""
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.gaps = 0
        self.malformed = 0
        self.unfinished = 0
        self.skipped: Counter[str] = Counter()
        """Packets that are not TCP or could not be read, by reason."""
        self.streams: Counter[str] = Counter()
        """Connections with payload by what they are: raft, dqlite_client, http, tls, unknown."""


class _Direction:
    """One direction of a connection: its stream, reassembly and framer."""

    __slots__ = (
        "acknowledged",
        "ended",
        "fin",
        "fin_place",
        "former",
        "framer",
        "held",
        "last",
        "limited",
        "reassembly",
        "stray",
        "stray_place",
        "stream",
        "waiting",
    )

    def __init__(self, stream: Stream, options: FramerOptions, events: list[Event], place: Place) -> None:
        self.stream = stream
        self.framer = Framer(stream, options, events)
        self.reassembly = Reassembly(self.framer)
        self.fin: int | None = None
        """Position of the FIN."""
        self.fin_place = place
        self.last = place
        """The last packet with payload."""
        self.ended = False
        self.limited = False
        """Whether it was said that too many bytes are held back."""
        self.held = 0
        """Bytes held back when last counted."""
        self.waiting = False
        """Whether the engine will come back to see about holes."""
        self.acknowledged: int | None = None
        """When it does: the position up to which holes have had their time."""
        self.stray: Segment | None = None
        """A segment that cannot belong to this connection: perhaps the first of a new one."""
        self.stray_place = place
        self.former: int | None = None
        """Where the connection that had the same addresses and ports before had come to, as a sequence number."""


class _Connection:
    """Both directions of one TCP connection."""

    __slots__ = ("back", "closed", "first", "ignored", "key", "reset", "there")

    def __init__(self, key: bytes, there: _Direction, back: _Direction, ignored: bool, first: Place) -> None:
        self.key = key
        """Of the direction that was seen first."""
        self.there = there
        self.back = back
        self.ignored = ignored
        """Whether neither port is one that was asked for."""
        self.first = first
        self.reset: Place | None = None
        self.closed = False

    @property
    def directions(self) -> tuple[_Direction, _Direction]:
        """Both; the one that was seen first is the first."""
        return self.there, self.back

    def direction(self, key: bytes) -> _Direction:
        """The direction of a key."""
        return self.there if key == self.key else self.back

    def peer(self, direction: _Direction) -> _Direction:
        """The other direction."""
        return self.back if direction is self.there else self.there

    @property
    def kind(self) -> str:
        """What the connection carries; `empty` when there was no payload in it."""
        found = [d.framer.kind for d in self.directions if d.reassembly.has_data]
        for kind in ("raft", "dqlite_client", "http", "upgrade", "tls", "unknown"):
            if kind in found:
                return kind
        return "empty"


class Engine:
    """Takes packets in the order of the capture and gives messages and what else there is to know.

    `ports` are the TCP ports that carry Raft, at either end; None recognises Raft by its content on any port.
    `layout` is one of the wire table's, to prefer where the same bytes belong to several. With `keep_payload` every
    message carries its payload (up to 64 MiB), with `hash_payload` its SHA-256.
    Raises ValueError for a layout or a port that does not exist.
    """

    def __init__(
        self,
        ports: Collection[int] | None = None,
        *,
        layout: str | None = None,
        keep_payload: bool = False,
        hash_payload: bool = False,
    ) -> None:
        if layout is not None and layout not in {known.label for known in LAYOUTS}:
            raise ValueError(f"no layout is called {layout!r}; there are {', '.join(known.label for known in LAYOUTS)}")
        if ports is not None and not all(0 < port < 65536 for port in ports):
            raise ValueError(f"TCP ports are 1 to 65535, not {sorted(ports)}")
        self.statistics = Statistics()
        self._ports = frozenset(ports) if ports is not None else None
        self._options = FramerOptions(layout, keep_payload, hash_payload)
        self._events: list[Event] = []
        self._connections: dict[bytes, _Connection] = {}
        self._opened = 0
        self._count = 0
        self._now = 0
        self._waiting: deque[tuple[int, _Connection, _Direction | None]] = deque()
        self._held = 0
        self._forgot = False

    def feed(self, packet: Packet) -> Sequence[Event]:
        """Take one packet; give what has become certain with it."""
        statistics = self.statistics
        statistics.packets += 1
        statistics.bytes += len(packet.data)
        time_ns = packet.time_ns
        if statistics.first_ns is None:
            statistics.first_ns = statistics.last_ns = self._now = time_ns
        elif time_ns > self._now:
            statistics.last_ns = self._now = time_ns
        if len(packet.data) < packet.original_length:
            statistics.cut_packets += 1
        if self._waiting and self._waiting[0][0] <= self._now:
            self._settle()
        segment = decode_segment(packet)
        if isinstance(segment, Segment):
            self._segment(segment, Place(time_ns, packet.frame, packet.file))
        else:
            statistics.skipped[segment] += 1
        return self._take_events()

    def close(self) -> Sequence[Event]:
        """The capture is over: give what was still waiting, and close every stream."""
        self._waiting.clear()
        for connection in dict.fromkeys(self._connections.values()):
            self._end(connection, "capture_end")
        self._connections.clear()
        return self._take_events()

    def _take_events(self) -> Sequence[Event]:
        if not self._events:
            return ()
        events = self._events[:]
        self._events.clear()
        for event in events:
            if isinstance(event, Diagnostic):
                self._count_diagnostic(event)
        return events

    def _count_diagnostic(self, diagnostic: Diagnostic) -> None:
        if diagnostic.kind == "gap":
            self.statistics.gaps += 1
        elif diagnostic.kind == "malformed":
            self.statistics.malformed += 1
        elif diagnostic.kind == "unfinished":
            self.statistics.unfinished += 1

    def _segment(self, segment: Segment, place: Place) -> None:
        connection = self._connections.get(segment.key)
        if connection is None or _begins_anew(connection, segment):
            connection = self._open(segment.key, connection, place)
        direction = connection.direction(segment.key)
        if segment.flags & SYN:
            direction.reassembly.start(segment.sequence)
        elif not connection.ignored and direction.reassembly.is_far(segment.sequence):
            self._stray(connection, direction, segment, place)
            return
        if not connection.ignored and not connection.closed:
            self._take(connection, direction, segment, place)

    def _take(self, connection: _Connection, direction: _Direction, segment: Segment, place: Place) -> None:
        """Take a segment of this connection."""
        flags = segment.flags
        if flags & ACK:
            connection.peer(direction).reassembly.acknowledge(segment.acknowledgement)
        if segment.length:
            self._payload(direction, segment, place)
        if flags & FIN and direction.fin is None:
            direction.fin = direction.reassembly.position(segment.sequence) + segment.length
            direction.fin_place = place
        if flags & RST and connection.reset is None:
            connection.reset = place
            self._waiting.append((self._now + GRACE_NS, connection, None))
        for either in connection.directions:
            self._after(connection, either, place)

    def _stray(self, connection: _Connection, direction: _Direction, segment: Segment, place: Place) -> None:
        """See about a segment that cannot belong to this connection.

        A late one of the connection before is of no use, and a single one may be anybody's. Two that follow one another
        are a new connection of which the SYN was not captured.
        """
        sequence, stray, stray_place = segment.sequence, direction.stray, direction.stray_place
        if not segment.length or (direction.former is not None and follows(direction.former, sequence, -FAR)):
            return
        if stray is None or not follows(stray.sequence, sequence, 1):
            direction.stray = segment if self._held <= MAX_HELD else None
            direction.stray_place = place
            self._count_held(direction)
            return
        connection = self._open(segment.key, connection, stray_place)
        direction = connection.direction(segment.key)
        self._take(connection, direction, stray, stray_place)
        self._take(connection, direction, segment, place)

    def _payload(self, direction: _Direction, segment: Segment, place: Place) -> None:
        self._count += 1
        direction.last = place
        direction.stray = None
        reassembly = direction.reassembly
        position = reassembly.position(segment.sequence) + (1 if segment.flags & SYN else 0)
        reassembly.receive(Chunk(position, segment.data, position + segment.length, self._count, place))
        self._count_held(direction)
        if self._held > MAX_HELD:
            reassembly.flush(None, place)
            direction.framer.give_up()
            self._count_held(direction)
            self._limit(direction, f"more than {MAX_HELD} bytes of all streams wait for what is missing", MAX_HELD)
        elif reassembly.limit_reached:
            self._limit(direction, f"more than {MAX_PENDING} bytes wait behind a gap", MAX_PENDING)

    def _limit(self, direction: _Direction, detail: str, size: int) -> None:
        if not direction.limited:
            direction.limited = True
            detail += ": it is given up before its time"
            self._events.append(Diagnostic("limit", direction.last, direction.stream, None, size, detail))

    def _count_held(self, direction: _Direction) -> None:
        held = direction.reassembly.pending_bytes + direction.framer.buffered
        if direction.stray is not None:
            held += len(direction.stray.data)
        self._held += held - direction.held
        direction.held = held

    def _after(self, connection: _Connection, direction: _Direction, place: Place) -> None:
        """See what has changed: a stream that is over, or a hole that the receiver does not have."""
        reassembly = direction.reassembly
        if direction.fin is not None and reassembly.next == direction.fin and not direction.ended:
            direction.ended = True
            direction.framer.end(place, "fin")
        if not direction.waiting and reassembly.is_overdue:
            direction.waiting = True
            direction.acknowledged = reassembly.acknowledged
            self._waiting.append((self._now + GRACE_NS, connection, direction))

    def _settle(self) -> None:
        """Give up what has had its time."""
        while self._waiting and self._waiting[0][0] <= self._now:
            _, connection, direction = self._waiting.popleft()
            if connection.closed:
                continue
            if direction is None:
                self._end(connection, "rst")
                continue
            direction.waiting = False
            direction.reassembly.give_up(direction.acknowledged)
            self._count_held(direction)
            self._after(connection, direction, direction.last)

    def _open(self, key: bytes, old: _Connection | None, place: Place) -> _Connection:
        """Begin a connection; the one that had the same addresses and ports is over."""
        if old is not None:
            self._end(old, "reused")
        elif len(self._connections) >= 2 * MAX_CONNECTIONS:
            self._forget(place)
        number = self._opened * 2
        self._opened += 1
        source, destination = endpoints_of(key)
        there = _Direction(Stream(number, source, destination), self._options, self._events, place)
        back = _Direction(Stream(number + 1, destination, source), self._options, self._events, place)
        if old is not None:
            there.former = old.direction(key).reassembly.next
            back.former = old.peer(old.direction(key)).reassembly.next
        ignored = self._ports is not None and self._ports.isdisjoint(ports_of(key))
        connection = _Connection(key, there, back, ignored, place)
        self._connections[key] = self._connections[reverse_key(key)] = connection
        return connection

    def _forget(self, place: Place) -> None:
        """Make room: forget half of the connections, those that are over first, then those that are not Raft."""
        known = sorted(dict.fromkeys(self._connections.values()), key=_worth)
        for connection in known[: len(known) // 2]:
            self._end(connection, "limit")
            for key in (connection.key, reverse_key(connection.key)):
                self._connections.pop(key, None)  # a connection to itself has one key for both directions
        if not self._forgot:
            self._forgot = True
            detail = f"more than {MAX_CONNECTIONS} connections: those without data for the longest time are forgotten"
            self._events.append(Diagnostic("limit", place, None, None, None, detail))

    def _end(self, connection: _Connection, reason: StreamEnd) -> None:
        if connection.closed:
            return
        connection.closed = True
        for direction in connection.directions:
            direction.reassembly.flush(direction.fin, direction.fin_place)
            if not direction.ended:
                direction.ended = True
                self._end_stream(connection, direction, reason)
            direction.stray = None
            self._count_held(direction)
        if not connection.ignored:
            self._count_connection(connection)

    def _end_stream(self, connection: _Connection, direction: _Direction, reason: StreamEnd) -> None:
        if direction.fin is not None:
            direction.framer.end(direction.fin_place, "fin")
        elif connection.reset is not None:
            direction.framer.end(connection.reset, "rst")
        else:
            direction.framer.end(direction.last, reason)

    def _count_connection(self, connection: _Connection) -> None:
        kind = connection.kind
        self.statistics.streams[kind] += 1
        if self._ports is None or kind in ("raft", "dqlite_client", "empty"):
            return
        detail = f"a connection on a Raft port carries {STREAM_KINDS[kind]}"
        self._events.append(Diagnostic("not_raft", connection.first, connection.there.stream, None, None, detail))


def _worth(connection: _Connection) -> tuple[bool, bool, int]:
    """What speaks against forgetting a connection: it goes on, it is Raft, it had data lately."""
    over = connection.closed or (connection.there.ended and connection.back.ended)
    last = max(connection.there.last.time_ns, connection.back.last.time_ns)
    return not over, connection.kind == "raft", last


def _begins_anew(connection: _Connection, segment: Segment) -> bool:
    """Whether a segment is the SYN of a new connection between the same addresses and ports."""
    if not segment.flags & SYN:
        return False
    direction = connection.direction(segment.key)
    if direction.reassembly.contradicts_start(segment.sequence):
        return True
    # The client's SYN comes before everything that the server sends.
    of_client = not segment.flags & ACK and direction.reassembly.origin is None
    return of_client and connection.peer(direction).reassembly.is_midway
