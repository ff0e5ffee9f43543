"""From packets to events: connections, their two streams, and the messages in them; the same for files and live."""

from __future__ import annotations

from collections import Counter, deque
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from raft_dissect.columns import MessageBatch
from raft_dissect.streams.connections import Connection, Direction
from raft_dissect.streams.fastpath import NEVER, FastPath
from raft_dissect.streams.fragments import Fragments
from raft_dissect.streams.framing import FramerOptions
from raft_dissect.streams.reassembly import FAR, MAX_PENDING, UNKNOWN, Chunk, follows
from raft_dissect.streams.segments import (
    ACK,
    FIN,
    RST,
    SYN,
    Fragment,
    Segment,
    decode_segment,
    endpoints_of,
    ports_of,
    reverse_key,
)
from raft_dissect.streams.transport import Transport
from raft_dissect.values import STREAM_KINDS, Arrival, Diagnostic, Place, Stream
from raft_dissect.wire import LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from raft_dissect.columns import PacketBlock
    from raft_dissect.values import Event, Packet, StreamEnd, Undecrypted

GRACE_NS = 1_000_000_000
"""Nanoseconds of capture time that a packet may come late.

A hole that the receiver has acknowledged is in the capture only if its packets were captured out of order, so it is
given up this long after the acknowledgement; a reset stream is closed this long after the reset.
"""
LOSING_GRACE_NS = 10_000_000
"""The same where packets are known to have been dropped by whoever captured.

What is missing is likely to be one of those, and to wait for it takes time in which more are dropped.
"""
LINGER_NS = 240_000_000_000
"""Nanoseconds of capture time for which a connection is known when it is over, or was asked for in vain.

Twice the time that a segment may live (RFC 9293, section 3.4.1), after which nothing of it comes any more.
"""
MAX_HELD = 32 * 1024 * 1024
"""Bytes of all streams together that are held back until what is missing comes."""
MAX_CONNECTIONS = 50_000
"""Connections that are known at a time; some 4 KiB each. A scan of ports opens many that carry nothing."""

_MOST_WAITING = 6
"""Entries of what the engine will come back to, per connection: four at most are not of closed ones."""


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
        "tls_ports",
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
        self.tls_ports: Counter[int] = Counter()
        """Those with TLS by the port that they go to."""


class Engine:
    """Takes packets in the order of the capture and gives messages and what else there is to know.

    `ports` are the TCP ports that carry Raft, at either end; None recognises Raft by its content on any port.
    `layout` is one of the wire table's, to prefer where the same bytes belong to several. With `keep_payload` every
    message carries its payload (up to 64 MiB), with `hash_payload` its SHA-256, with `digest_data` the CRC-32 of the
    data of each of its entries, or of its snapshot.
    Raises ValueError for a layout or a port that does not exist.
    """

    def __init__(
        self,
        ports: Collection[int] | None = None,
        *,
        layout: str | None = None,
        keep_payload: bool = False,
        hash_payload: bool = False,
        digest_data: bool = False,
    ) -> None:
        if layout is not None and layout not in {known.label for known in LAYOUTS}:
            raise ValueError(f"no layout is called {layout!r}; there are {', '.join(known.label for known in LAYOUTS)}")
        if ports is not None and not all(0 < port < 65536 for port in ports):
            raise ValueError(f"TCP ports are 1 to 65535, not {sorted(ports)}")
        self.statistics = Statistics()
        self._ports = frozenset(ports) if ports is not None else None
        self._options = FramerOptions(layout, keep_payload, hash_payload, digest_data)
        self._events: list[Event] = []
        self._fragments = Fragments(self.statistics.skipped, self._events)
        self._transport = Transport(self._events)
        self._fast = FastPath(layout, self._look_closer, self._framed, digest_data)
        self._directions = self._fast.directions
        self._batch = MessageBatch(layout, digest_entries=digest_data)
        self._block: PacketBlock | None = None
        self._opened = 0
        self._waiting: list[tuple[int, int, Connection, Direction | None]] = []  # a heap: when, and which came first
        self._waits = count()
        self._losing_until = 0
        self._lingering: deque[tuple[int, bytes, Connection]] = deque()  # with the key of one direction
        self._held = 0
        self._forgot = False

    def feed(self, packet: Packet) -> Sequence[Event]:
        """Take one packet; give what has become certain with it."""
        self._count_packets(1, len(packet.data), packet.time_ns)
        self._fast.now = max(self._fast.now, packet.time_ns)
        self._packet(packet)
        self.statistics.last_ns = self._fast.now
        return self._take_events()

    def feed_block(self, block: PacketBlock) -> MessageBatch:
        """Take many packets; give what has become certain with them, which is valid until more are fed."""
        batch = self._batch
        batch.begin(block.buffer, block.file)
        if len(block):
            columns = block.columns
            if block.losing:
                self._losing_until = columns.times[block.end - 1] + GRACE_NS
            self._count_packets(len(block), columns.size(block.begin, block.end), columns.times[block.begin])
            self._block = block
            self._fast.run(block, batch)
            self._block = None
            self.statistics.last_ns = self._fast.now
        return batch

    def pass_time(self, time_ns: int) -> Sequence[Event]:
        """No earlier packet than of this time will come: give what needs to be waited for no longer."""
        self._fast.now = max(self._fast.now, time_ns)
        if self._fast.now >= self._fast.due:
            self._settle()
        return self._take_events()

    def end_clear_text(self, sealed: Undecrypted) -> Sequence[Event]:
        """Know that one direction of a connection is not decrypted any more; give what follows from that."""
        direction = self._directions.get(sealed.key)
        if direction is not None and not direction.ended:
            direction.catch_up()
            direction.framer.seal(sealed.before, sealed.place, sealed.reason)
            self._count_held(direction)
            direction.connection.ease()
        return self._take_events()

    def arriving(self) -> list[Arrival]:
        """The messages of which the header is whole and the payload is still coming, with what has come of it."""
        found = []
        for direction in self._directions.values():
            message = direction.framer.arriving
            if message is not None:
                direction.catch_up()
                found.append(Arrival(message, (message.payload_length or 0) - direction.framer.remaining))
        return found

    def close(self) -> Sequence[Event]:
        """The capture is over: give what was still waiting, and close every stream."""
        self._waiting.clear()
        self._lingering.clear()
        self._fragments.close()
        for connection in self._connections():
            self._end(connection, "capture_end")
        self._directions.clear()
        return self._take_events()

    def _connections(self) -> dict[Connection, None]:
        """Every connection that is known, in the order in which they were opened."""
        return dict.fromkeys(direction.connection for direction in self._directions.values())

    def _count_packets(self, packets: int, size: int, time_ns: int) -> None:
        statistics = self.statistics
        statistics.packets += packets
        statistics.bytes += size
        if statistics.first_ns is None:
            statistics.first_ns = time_ns

    def _look_closer(self, index: int) -> None:
        """Take a packet of the block that is being gone through."""
        assert self._block is not None
        self._packet(self._block.packet(index))
        self._fill()

    def _framed(self, direction: Direction) -> None:
        """See what became of bytes that the fast path has given to a framer."""
        direction.connection.ease()
        self._count_held(direction)
        self._fill()

    def _fill(self) -> None:
        for event in self._take_events():
            self._batch.add(event)

    def _packet(self, packet: Packet) -> None:
        if len(packet.data) < packet.original_length:
            self.statistics.cut_packets += 1
        if self._fast.now >= self._fast.due:
            self._settle()
        found: Segment | Fragment | str | None = decode_segment(packet)
        if isinstance(found, Fragment):
            found = self._fragments.segment(found, packet)
        if isinstance(found, Segment):
            self._segment(found, Place(packet.time_ns, packet.frame, packet.file))
        elif found is not None:
            self.statistics.skipped[found] += 1

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
        direction = self._directions.get(segment.key)
        if direction is None or _begins_anew(direction, segment):
            direction = self._open(segment.key, direction, place)
        connection = direction.connection
        direction.catch_up()
        if segment.flags & SYN:
            direction.reassembly.start(segment.sequence)
        elif not connection.ignored and direction.reassembly.is_far(segment.sequence):
            self._stray(direction, segment, place)
            return
        if not connection.ignored and not connection.closed:
            self._take(direction, segment, place)

    def _take(self, direction: Direction, segment: Segment, place: Place) -> None:
        """Take a segment of this direction's connection."""
        flags = segment.flags
        connection = direction.connection
        if flags & SYN or connection.is_asking:
            self._transport.answers(direction, segment, place)
            if connection.is_asking:
                self._linger(connection)
                self._await_answer(connection)
        if flags & ACK:
            direction.peer.reassembly.acknowledge(segment.acknowledgement)
            self._transport.acknowledges(direction.peer, segment.acknowledgement, place.time_ns)
        self._transport.window(direction, segment, place)
        if segment.length:
            self._payload(direction, segment, place)
        if flags & (FIN | RST):
            self._transport.ends(connection, segment, place)
        if flags & FIN and direction.fin == UNKNOWN:
            direction.fin = direction.reassembly.position(segment.sequence) + segment.length
            direction.fin_place = place
        if flags & RST and connection.reset is None:
            connection.reset = place
            self._wait_for(connection, None)
        for either in connection.directions:
            self._after(either, place)
        connection.ease()

    def _await_answer(self, connection: Connection) -> None:
        """Come back when whoever asks for a connection has given up, unless that is going to be anyway."""
        if not connection.awaited and not connection.given_up:
            connection.awaited = True
            self._come_back(self._transport.given_up_ns(connection), connection, None)

    def _wait_for(self, connection: Connection, direction: Direction | None) -> None:
        """Come back after a while, to see about the holes of a direction, or to end a connection."""
        now = self._fast.now
        grace = LOSING_GRACE_NS if direction is not None and now <= self._losing_until else GRACE_NS
        self._come_back(now + grace, connection, direction)

    def _come_back(self, time_ns: int, connection: Connection, direction: Direction | None) -> None:
        if len(self._waiting) >= _MOST_WAITING * MAX_CONNECTIONS:
            self._waiting = [item for item in self._waiting if not item[2].closed]
            heapify(self._waiting)
        heappush(self._waiting, (time_ns, next(self._waits), connection, direction))
        self._set_due()

    def _linger(self, connection: Connection) -> None:
        """Come back when nothing more can come of a connection, to forget it."""
        if not connection.lingers:
            connection.lingers = True
            if len(self._lingering) >= 2 * MAX_CONNECTIONS:
                self._lingering = deque(item for item in self._lingering if self._knows(*item[1:]))
            self._lingering.append((self._fast.now + LINGER_NS, connection.there.key, connection))
            self._set_due()

    def _set_due(self) -> None:
        waiting = self._waiting[0][0] if self._waiting else NEVER
        lingering = self._lingering[0][0] if self._lingering else NEVER
        self._fast.due = min(waiting, lingering, NEVER)

    def _stray(self, direction: Direction, segment: Segment, place: Place) -> None:
        """See about a segment that cannot belong to this connection.

        A late one of the connection before is of no use, and a single one may be anybody's. Two that follow one another
        are a new connection of which the SYN was not captured.
        """
        sequence, stray, stray_place = segment.sequence, direction.stray, direction.stray_place
        if not segment.length or (direction.former != UNKNOWN and follows(direction.former, sequence, -FAR)):
            return
        if stray is None or not follows(stray.sequence, sequence, 1):
            direction.stray = segment if self._held <= MAX_HELD else None
            direction.stray_place = place
            self._count_held(direction)
            direction.connection.ease()
            return
        direction = self._open(segment.key, direction, stray_place)
        self._take(direction, stray, stray_place)
        self._take(direction, segment, place)

    def _payload(self, direction: Direction, segment: Segment, place: Place) -> None:
        self._fast.order += 1
        before = direction.last
        reassembly = direction.reassembly
        position = reassembly.position(segment.sequence) + (1 if segment.flags & SYN else 0)
        self._transport.data(direction, segment, position, place)
        direction.seen(place)
        direction.stray = None
        chunk = Chunk(position, segment.data, position + segment.length, self._fast.order, place)
        reassembly.receive(chunk, segment, before)
        self._count_held(direction)
        if self._held > MAX_HELD:
            self._relieve(place)
        if reassembly.limit_reached:
            self._limit(direction, f"more than {MAX_PENDING} bytes wait behind a gap", MAX_PENDING)

    def _relieve(self, place: Place) -> None:
        """Give up what waits where most of it does, until half of the bound is free again."""
        for direction in sorted(self._directions.values(), key=_held_by, reverse=True):
            if self._held <= MAX_HELD // 2:
                break
            direction.reassembly.flush(UNKNOWN, place, direction.last)
            direction.framer.give_up()
            direction.stray = None
            self._count_held(direction)
            direction.connection.ease()
            self._limit(direction, f"more than {MAX_HELD} bytes of all streams wait for what is missing", MAX_HELD)

    def _limit(self, direction: Direction, detail: str, size: int) -> None:
        if not direction.limited:
            direction.limited = True
            detail += ": it is given up before its time"
            self._events.append(Diagnostic("limit", direction.last, direction.stream, None, size, detail))

    def _count_held(self, direction: Direction) -> None:
        held = direction.reassembly.pending_bytes + direction.framer.buffered
        if direction.stray is not None:
            held += len(direction.stray.data)
        self._held += held - direction.held
        direction.held = held

    def _after(self, direction: Direction, place: Place) -> None:
        """See what has changed: a stream that is over, or a hole that the receiver does not have."""
        reassembly = direction.reassembly
        if direction.fin != UNKNOWN and reassembly.next == direction.fin and not direction.ended:
            direction.ended = True
            direction.framer.end(place, "fin")
            if direction.peer.ended:
                self._linger(direction.connection)
        if not direction.waiting and reassembly.is_overdue:
            direction.waiting = True
            direction.acknowledged = reassembly.acknowledged
            self._wait_for(direction.connection, direction)

    def _settle(self) -> None:
        """Give up what has had its time."""
        while self._waiting and self._waiting[0][0] <= self._fast.now:
            _, _, connection, direction = heappop(self._waiting)
            if connection.closed:
                continue
            if direction is None:
                connection.awaited = False
                self._see_about(connection)
                continue
            direction.waiting = False
            direction.reassembly.give_up(direction.acknowledged)
            self._count_held(direction)
            self._after(direction, direction.last)
            connection.ease()
        while self._lingering and self._lingering[0][0] <= self._fast.now:
            _, key, connection = self._lingering.popleft()
            if self._knows(key, connection):
                self._see_off(connection)
        self._set_due()

    def _see_about(self, connection: Connection) -> None:
        """End a connection that was reset, or tell of one that was asked for in vain."""
        now = self._fast.now
        if connection.reset is not None and connection.reset.time_ns + GRACE_NS <= now:
            self._end(connection, "rst")
            self._linger(connection)
        elif connection.is_asking and self._transport.given_up_ns(connection) <= now:
            self._transport.over(connection, now)
        elif connection.is_asking:
            self._await_answer(connection)

    def _knows(self, key: bytes, connection: Connection) -> bool:
        """Whether this is still the connection with a key."""
        direction = self._directions.get(key)
        return direction is not None and direction.connection is connection

    def _see_off(self, connection: Connection) -> None:
        """Forget a connection that is over by now, or that nobody has asked for again."""
        connection.lingers = False
        if connection.is_over or (connection.is_asking and connection.again.time_ns <= self._fast.now - LINGER_NS):
            self._drop(connection, "limit")
        elif connection.is_asking:
            self._linger(connection)

    def _drop(self, connection: Connection, reason: StreamEnd) -> None:
        self._end(connection, reason)
        for direction in connection.directions:
            self._directions.pop(direction.key, None)  # a connection to itself has one key for both directions
        connection.forget()

    def _open(self, key: bytes, old: Direction | None, place: Place) -> Direction:
        """Begin a connection; the one that had the same addresses and ports is over."""
        if old is not None:
            self._end(old.connection, "reused")
        elif len(self._directions) >= 2 * MAX_CONNECTIONS:
            self._forget(place)
        number = self._opened * 2
        self._opened += 1
        source, destination = endpoints_of(key)
        back_key = reverse_key(key)
        there = Direction(key, Stream(number, source, destination), self._options, self._events, place)
        back = Direction(back_key, Stream(number + 1, destination, source), self._options, self._events, place)
        if old is not None:
            there.former = old.reassembly.next
            back.former = old.peer.reassembly.next
            old.connection.forget()
        ignored = self._ports is not None and self._ports.isdisjoint(ports_of(key))
        Connection(there, back, ignored, place).ease()
        self._directions[back_key] = back
        self._directions[key] = there  # a connection to itself has one key for both directions
        return there

    def _forget(self, place: Place) -> None:
        """Make room: forget half of the connections, those that are over first, then those that are not Raft."""
        known = sorted(self._connections(), key=_worth)
        for connection in known[: len(known) // 2]:
            self._drop(connection, "limit")
        if not self._forgot:
            self._forgot = True
            detail = f"more than {MAX_CONNECTIONS} connections: those without data for the longest time are forgotten"
            self._events.append(Diagnostic("limit", place, None, None, None, detail))

    def _end(self, connection: Connection, reason: StreamEnd) -> None:
        if connection.closed:
            return
        connection.closed = True
        if not connection.ignored:
            self._transport.over(connection, self._fast.now)
        for direction in connection.directions:
            direction.catch_up()
            direction.reassembly.flush(direction.fin, direction.fin_place, direction.last)
            if not direction.ended:
                direction.ended = True
                self._end_stream(connection, direction, reason)
            direction.stray = None
            self._count_held(direction)
        connection.ease()
        if not connection.ignored:
            self._count_connection(connection)

    def _end_stream(self, connection: Connection, direction: Direction, reason: StreamEnd) -> None:
        if direction.fin != UNKNOWN:
            direction.framer.end(direction.fin_place, "fin")
        elif connection.reset is not None:
            direction.framer.end(connection.reset, "rst")
        else:
            direction.framer.end(direction.last, reason)

    def _count_connection(self, connection: Connection) -> None:
        kind = connection.kind
        self.statistics.streams[kind] += 1
        if kind == "tls":
            self.statistics.tls_ports[_server_port(connection)] += 1
        if self._ports is None or kind in ("raft", "dqlite_client", "empty"):
            return
        detail = f"a connection on a Raft port carries {STREAM_KINDS[kind]}"
        self._events.append(Diagnostic("not_raft", connection.first, connection.there.stream, None, None, detail))


def _server_port(connection: Connection) -> int:
    """The port that a connection goes to; where its SYN was not seen, the lower of the two."""
    there = connection.there.stream
    if connection.client is not None:
        return connection.client.stream.destination.port
    return min(there.source.port, there.destination.port)


def _held_by(direction: Direction) -> int:
    """Bytes that a direction holds back."""
    return direction.held


def _worth(connection: Connection) -> tuple[bool, bool, int]:
    """What speaks against forgetting a connection: it goes on, it is Raft, it had data lately."""
    last = max(connection.there.last.time_ns, connection.back.last.time_ns)
    return not connection.is_over, connection.kind == "raft", last


def _begins_anew(direction: Direction, segment: Segment) -> bool:
    """Whether a segment is the SYN of a new connection between the same addresses and ports."""
    if not segment.flags & SYN:
        return False
    if direction.reassembly.contradicts_start(segment.sequence):
        return True
    # The client's SYN comes before everything that the server sends.
    of_client = not segment.flags & ACK and direction.reassembly.origin == UNKNOWN
    return of_client and direction.peer.reassembly.is_midway
