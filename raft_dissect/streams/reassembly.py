"""From the TCP segments of one direction to its byte stream, in order, with holes as values."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, NamedTuple, Protocol

from raft_dissect.streams.checksum import TcpHeader, differ, is_damaged, tcp_header, with_bytes_of

if TYPE_CHECKING:
    from raft_dissect.streams.segments import Segment
    from raft_dissect.values import Place

_SEQUENCES = 1 << 32
_HALF = 1 << 31
MAX_PENDING = 16 * 1024 * 1024
"""Bytes of one direction that are kept behind a hole; a TCP window is rarely larger."""
_CHUNK_COST = 512
"""Bytes that a waiting segment costs beside its data, so that many tiny ones are bounded too."""
UNKNOWN = -1
"""A position that is not known (yet); positions of bytes are never negative."""


class Chunk(NamedTuple):
    """Bytes of a stream that one packet brought."""

    position: int
    """Sequence number of the first byte, unwrapped to more than 32 bits."""
    data: bytes
    end: int
    """Position after the last byte on the wire; beyond the data when the snaplen cut the packet."""
    order: int
    """Counts the packets of the capture, so that the last packet of several is known."""
    place: Place


FAR = 64 * 1024 * 1024
"""Bytes by which data of one connection can be out of place; further away it belongs to another connection."""


def follows(first: int, second: int, least: int) -> bool:
    """Whether one sequence number is from `least` to FAR bytes after another."""
    return (second - first - least) % _SEQUENCES <= FAR - least


class Sink(Protocol):
    """What takes the stream: every byte of it once, in order, either as data or as part of a hole."""

    def start(self, position: int) -> None:
        """Know the position of the stream's first byte."""

    def midway(self) -> None:
        """Know that the stream's first bytes are not in the capture, and that how many is unknown."""

    def data(self, chunk: Chunk) -> None:
        """Take the next bytes."""

    def hole(self, position: int, size: int, before: Place, place: Place, cut: bool) -> None:
        """Take note of bytes that the capture does not have; `cut` if the snaplen is to blame.

        They are missing between the packets `before` and `place`.
        """


class Reassembly:
    """One direction of a TCP connection (RFC 9293).

    Positions are sequence numbers that do not wrap. Bytes behind a hole wait until the hole is filled or `skip_hole` is
    called, which the owner does when it is certain that the bytes will not come.
    """

    __slots__ = (
        "_before",
        "_headers",
        "_longest",
        "_pending",
        "_reference",
        "_sink",
        "acknowledged",
        "limit_reached",
        "next",
        "origin",
        "pending_bytes",
    )

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._reference = UNKNOWN
        self._pending: list[Chunk] = []
        self._headers: dict[int, TcpHeader] = {}  # of the packets of those that wait, by their order
        self._before: Place | None = None  # the last packet before the hole behind which bytes wait
        self._longest = 0  # bytes of the longest chunk that ever waited
        self.pending_bytes = 0
        self.origin = UNKNOWN
        """Position of the stream's first byte, known from its SYN."""
        self.next = UNKNOWN
        """Position of the next byte to deliver; unknown until the start is known or given up."""
        self.acknowledged = UNKNOWN
        """Position up to which the receiver has acknowledged, where that is beyond what was delivered."""
        self.limit_reached = False
        """Whether MAX_PENDING ever made it skip a hole."""

    def position(self, sequence: int) -> int:
        """Unwrap a sequence number: the position nearest to the last one seen."""
        if self._reference == UNKNOWN:
            self._reference = sequence + _SEQUENCES
        # In-order bytes that were passed over at once have moved only `next`.
        reference = max(self._reference, self.next)
        distance = (sequence - reference + _HALF) % _SEQUENCES - _HALF
        return reference + distance

    @property
    def is_waiting(self) -> bool:
        """Whether bytes wait behind a hole."""
        return bool(self._pending)

    @property
    def has_data(self) -> bool:
        """Whether any payload has been seen."""
        return self.next != self.origin or bool(self._pending)

    @property
    def is_overdue(self) -> bool:
        """Whether bytes wait for others that, for all one knows, the capture does not have.

        That is so when the receiver has acknowledged what is missing, and when the stream's start was not seen.
        """
        if not self._pending:
            return False
        return self.next == UNKNOWN or self.acknowledged > self.next

    @property
    def is_midway(self) -> bool:
        """Whether data was delivered although the stream's start was not seen."""
        return self.next != UNKNOWN and self.origin == UNKNOWN

    def contradicts_start(self, sequence: int) -> bool:
        """Whether a SYN with this sequence number cannot be that of this stream."""
        start = self.position(sequence) + 1
        if self.origin != UNKNOWN:
            return start != self.origin
        if self.next == UNKNOWN and self._pending:
            return not 0 <= self._pending[0].position - start < FAR
        return self.is_midway

    def is_far(self, sequence: int) -> bool:
        """Whether data with this sequence number cannot belong to this stream."""
        return self.next != UNKNOWN and not -FAR <= self.position(sequence) - self.next <= FAR

    def has(self, position: int, end: int) -> bool:
        """Whether all of these bytes were delivered or wait behind a hole."""
        position = max(position, self.next)
        first = bisect_left(self._pending, (position - self._longest,))
        for chunk in self._pending[first:]:
            if position >= end or chunk.position > position:
                break
            position = max(position, chunk.end)
        return position >= end

    def start(self, sequence: int) -> None:
        """Take a SYN with this sequence number."""
        self.origin = self.position(sequence) + 1
        self._sink.start(self.origin)
        if self.next == UNKNOWN:
            self.next = self.origin
            self._drain()

    def acknowledge(self, sequence: int) -> None:
        """Take an acknowledgement number of the receiver."""
        if self._reference != UNKNOWN:
            self.acknowledged = max(self.acknowledged, self.position(sequence))

    def receive(self, received: Chunk, segment: Segment, before: Place) -> None:
        """Take the bytes of one segment; deliver what has become contiguous.

        `before` is the last packet of this direction that brought bytes.
        """
        self._reference = max(self._reference, received.position)
        chunk = self._agreed(received, segment) if self._pending else received
        if chunk is None:
            return
        if self.next == UNKNOWN or chunk.position > self.next:
            if not self._pending:
                self._before = before
            insort(self._pending, chunk)
            if chunk is received:
                self._headers[chunk.order] = tcp_header(segment)
            self._longest = max(self._longest, len(chunk.data))
            self.pending_bytes += len(chunk.data) + _CHUNK_COST
            while self.pending_bytes > MAX_PENDING:
                self.limit_reached = True
                self.skip_hole()
        elif chunk.end > self.next:
            self._deliver(chunk)
            self._before = chunk.place
            self._drain()

    def _agreed(self, chunk: Chunk, segment: Segment) -> Chunk | None:
        """The chunk with the bytes of those that wait where it differs from them; None when it is damaged.

        One that waits is dropped when it is damaged and this one is not.
        """
        pending = self._pending
        first = bisect_left(pending, (chunk.position - self._longest,))
        last = bisect_left(pending, (chunk.position + len(chunk.data),))
        others = [other for other in pending[first:last] if differ(other, chunk)]
        damaged = bool(others) and is_damaged(tcp_header(segment), segment.data, segment.length)
        for other in others:
            other_damaged = is_damaged(self._headers.get(other.order), other.data, other.end - other.position)
            if damaged and not other_damaged:
                return None
            if damaged or not other_damaged:
                chunk = with_bytes_of(chunk, other)
            else:
                pending.remove(other)
                self._forget(other)
        return chunk

    def _forget(self, chunk: Chunk) -> None:
        """It waits no longer."""
        self.pending_bytes -= len(chunk.data) + _CHUNK_COST
        self._headers.pop(chunk.order, None)

    def skip_hole(self) -> None:
        """Give up the bytes before the first waiting ones, and deliver those."""
        if self._pending:
            self._skip_to(self._pending[0].position, self._pending[0].place)

    def give_up(self, acknowledged: int) -> None:
        """Give up the stream's start if it was not seen, and all holes up to the position that was acknowledged."""
        if self.next == UNKNOWN:
            self.skip_hole()
        while self._pending and self.next < acknowledged:
            self._skip_to(min(acknowledged, self._pending[0].position), self._pending[0].place)

    def flush(self, fin: int, place: Place, before: Place) -> None:
        """Give up all holes: nothing more will come. `fin` is the position of the FIN, if it was seen, `place` its.

        `before` is the last packet that brought bytes.
        """
        if not self._pending:
            self._before = before
        while self._pending:
            self.skip_hole()
        if self.next != UNKNOWN and 0 < fin - self.next <= FAR:
            self._skip_to(fin, place)

    def _skip_to(self, position: int, place: Place) -> None:
        if self.next == UNKNOWN:
            self._sink.midway()
        else:
            self._sink.hole(self.next, position - self.next, self._before or place, place, cut=False)
        self.next = position
        self._drain()

    def _drain(self) -> None:
        pending = self._pending
        count = 0
        while count < len(pending) and pending[count].position <= self.next:
            chunk = pending[count]
            count += 1
            self._forget(chunk)
            if chunk.end > self.next:
                self._deliver(chunk)
                self._before = chunk.place
        del pending[:count]

    def _deliver(self, chunk: Chunk) -> None:
        position, data, end, order, place = chunk
        known = position + len(data)
        if position < self.next:
            data = data[self.next - position :]
            position = min(self.next, known)
        if data:
            self._sink.data(Chunk(position, data, end, order, place))
        if end > known:
            hole = max(self.next, known)
            self._sink.hole(hole, end - hole, place, place, cut=True)
        self.next = end
