"""The records of TLS connections in a capture: who sent how much when, and nothing of what is inside."""

from __future__ import annotations

from array import array
from collections import deque
from typing import TYPE_CHECKING

from raft_dissect.columns import PacketBlock
from raft_dissect.streams.reassembly import UNKNOWN, Chunk, Reassembly
from raft_dissect.streams.segments import ACK, SYN, Segment, decode_segment, endpoints_of, ports_of, reverse_key
from raft_dissect.tls import records
from raft_dissect.values import Packet, Place

if TYPE_CHECKING:
    from collections.abc import Collection

    from raft_dissect.beats import Item

MOST_RECORDS = 2_000_000
"""Records that are kept; each takes 32 bytes."""
MOST_CONNECTIONS = 50_000
_GRACE_NS = 1_000_000_000


class Records:
    """The application data that one side of a connection sent."""

    __slots__ = ("files", "frames", "sizes", "times")

    def __init__(self) -> None:
        self.times = array("q")
        """When each record was complete, in nanoseconds since the epoch."""
        self.sizes = array("q")
        """Bytes of each, encrypted, without the header of the record."""
        self.frames = array("q")
        self.files = array("q")

    def __len__(self) -> int:
        return len(self.times)


class _Direction:
    """One direction of a connection; takes its stream from its reassembly."""

    def __init__(self, traffic: SealedTraffic, key: bytes) -> None:
        self._traffic = traffic
        self.key = key
        self.reassembly = Reassembly(self)
        self.records = Records()
        self.peer = self
        self.connection: SealedConnection
        self.stream: records.RecordStream | None = None
        self.last = Place(0, 0)
        self.waiting = False
        self.acknowledged = UNKNOWN

    def start(self, position: int) -> None:
        """Know where the stream begins."""

    def midway(self) -> None:
        """The begin of the stream is not in the capture."""

    def data(self, chunk: Chunk) -> None:
        """Take the next bytes."""
        self.last = chunk.place
        if self.stream is None:
            if not records.is_record(chunk.data):
                self.connection.is_other = not self.connection.is_tls
                return
            self.connection.is_tls = True
            self.stream = records.RecordStream(chunk.position)
        try:
            for record in self.stream.feed(chunk.data):
                if record.kind == records.APPLICATION_DATA:
                    self._traffic.note(self, len(record.data) - records.HEADER, chunk.place)
        except records.NotTlsError:
            self.stream = None

    def hole(self, position: int, size: int, before: Place, place: Place, cut: bool) -> None:  # noqa: ARG002 - a Sink
        """Bytes are missing: the next segment that begins with a record is where it goes on."""
        self.stream = None


class SealedConnection:
    """What is known of one TLS connection."""

    def __init__(self, there: _Direction, back: _Direction, place: Place) -> None:
        there.connection = back.connection = self
        there.peer, back.peer = back, there
        self.first = place
        self.client, self._server = there, back
        self.client_known = False
        self.is_tls = False
        self.is_other = False
        """Whether its first bytes say that it is none."""

    def opened_by(self, direction: _Direction) -> None:
        """Know which side opened it."""
        self.client, self._server = direction, direction.peer
        self.client_known = True

    @property
    def from_client(self) -> Records:
        """What the side that opened it sent."""
        return self.client.records

    @property
    def from_server(self) -> Records:
        """What the other side sent."""
        return self._server.records

    @property
    def ends(self) -> tuple[str, str, int]:
        """The host that opened it, and where it goes to."""
        source, destination = endpoints_of(self.client.key)
        return source.host, destination.host, destination.port


class SealedTraffic:
    """Takes packets, and keeps sizes and times of the records of TLS in them."""

    def __init__(self, ports: Collection[int] | None = None) -> None:
        """`ports` are those that are asked for; other connections are left alone."""
        self._ports = frozenset(ports) if ports is not None else None
        self._directions: dict[bytes, _Direction] = {}
        self.connections: list[SealedConnection] = []
        """Those that carry TLS, and others."""
        self._waiting: deque[tuple[int, _Direction]] = deque()
        self._order = 0
        self._records = 0
        self.dropped = 0
        """Records that were not kept, for there were too many."""
        self.first_ns: int | None = None
        self.last_ns = 0

    def feed(self, item: Item) -> None:
        """Take packets."""
        if isinstance(item, PacketBlock):
            for packet in item:
                self._packet(packet)
        elif isinstance(item, Packet):
            self._packet(item)

    def note(self, direction: _Direction, size: int, place: Place) -> None:
        """Keep a record."""
        if self._records >= MOST_RECORDS:
            self.dropped += 1
            return
        self._records += 1
        kept = direction.records
        kept.times.append(place.time_ns)
        kept.sizes.append(size)
        kept.frames.append(place.frame)
        kept.files.append(place.file)

    def _packet(self, packet: Packet) -> None:
        self.last_ns = max(self.last_ns, packet.time_ns)
        if self.first_ns is None:
            self.first_ns = packet.time_ns
        while self._waiting and self._waiting[0][0] <= self.last_ns:
            _, direction = self._waiting.popleft()
            direction.waiting = False
            direction.reassembly.give_up(direction.acknowledged)
        segment = decode_segment(packet)
        if isinstance(segment, Segment) and (self._ports is None or not self._ports.isdisjoint(ports_of(segment.key))):
            self._segment(segment, Place(packet.time_ns, packet.frame, packet.file))

    def _segment(self, segment: Segment, place: Place) -> None:
        direction = self._directions.get(segment.key)
        if direction is None or (segment.flags & SYN and direction.reassembly.contradicts_start(segment.sequence)):
            if len(self.connections) >= MOST_CONNECTIONS:
                return
            direction = self._open(segment.key, place)
        if direction.connection.is_other:
            return
        reassembly = direction.reassembly
        if segment.flags & SYN:
            reassembly.start(segment.sequence)
            if not segment.flags & ACK:
                direction.connection.opened_by(direction)
        if segment.flags & ACK:
            direction.peer.reassembly.acknowledge(segment.acknowledgement)
        if segment.length:
            self._order += 1
            position = reassembly.position(segment.sequence)
            chunk = Chunk(position, segment.data, position + segment.length, self._order, place)
            reassembly.receive(chunk, segment, direction.last)
        for either in (direction, direction.peer):
            if not either.waiting and either.reassembly.is_overdue:
                either.waiting = True
                either.acknowledged = either.reassembly.acknowledged
                self._waiting.append((self.last_ns + _GRACE_NS, either))

    def _open(self, key: bytes, place: Place) -> _Direction:
        back_key = reverse_key(key)
        there, back = _Direction(self, key), _Direction(self, back_key)
        source, destination = ports_of(key)
        connection = SealedConnection(there, back, place)
        if source < destination:
            connection.opened_by(back)  # the lower port listens, as long as nothing else is known
            connection.client_known = False
        self.connections.append(connection)
        self._directions[back_key] = back
        self._directions[key] = there
        return there
