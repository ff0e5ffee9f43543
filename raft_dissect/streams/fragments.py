"""IP fragments put together: from the fragments of a packet to the packet that its sender sent."""

from __future__ import annotations

from bisect import bisect
from typing import TYPE_CHECKING

from raft_dissect.streams.segments import Fragment, Segment, decode_segment
from raft_dissect.values import Diagnostic, Packet, Place

if TYPE_CHECKING:
    from collections import Counter

    from raft_dissect.values import Event

TIMEOUT_NS = 30_000_000_000
"""Nanoseconds of capture time after its first fragment in which a packet must be complete, as in Linux."""
MAX_HELD = 16 * 1024 * 1024
"""Bytes of fragments that are kept until their packets are complete; Linux keeps 4 MiB."""
INCOMPLETE = "IP fragment"
"""Why fragments are passed over of which others are missing."""
OVERLAPPING = "overlapping IP fragment"
"""Why fragments are passed over that contradict one another."""
BROKEN = "broken IP fragment"
"""Why a fragment is passed over that no sender makes."""
_COST = 400
"""Bytes that a fragment costs beside its data, so that many tiny ones, and many packets, are bounded too."""
_LINKTYPE_RAW = 101
_MAX_LENGTH = 65535
"""Bytes; the largest value of the length field of either version of IP."""


class _Datagram:
    """One fragmented IP packet, as far as it is there."""

    __slots__ = ("_covered", "_header", "_pieces", "_total", "begun_ns", "held", "overlapping", "packets")

    def __init__(self, begun_ns: int) -> None:
        self.begun_ns = begun_ns
        self.held = 0
        """Bytes that it takes."""
        self.packets = 0
        """Captured packets that were taken for it."""
        self.overlapping = False
        """Whether its fragments contradict one another: then it is not known what the receiver made of them."""
        self._pieces: list[tuple[int, int, bytes]] = []  # begin and end of each, and what was captured of it; in order
        self._total: int | None = None  # bytes of all pieces, known from the last one
        self._covered = 0
        self._header = b""

    @property
    def is_complete(self) -> bool:
        """Whether all fragments were on the wire."""
        return self._covered == self._total

    def add(self, fragment: Fragment) -> None:
        """Take a fragment of it; the same bytes once more change nothing."""
        if self.overlapping:
            return
        start, end = fragment.offset, fragment.offset + fragment.length
        place = bisect(self._pieces, (start,))
        touched = [p for p in self._pieces[max(place - 1, 0) : place + 1] if p[0] < end and start < p[1]]
        if not self._end_agrees(end, fragment.more) or not all(_contains(piece, fragment) for piece in touched):
            self._spoil()
        elif not touched:
            self._pieces.insert(place, (start, end, fragment.data))
            self._covered += fragment.length
            self.held += len(fragment.data) + _COST
            if not fragment.more:
                self._total = end
            if not start:
                self._header = fragment.header

    def packet(self, last: Packet) -> Packet:
        """The whole packet, without a link layer and with the number of the packet that completed it.

        Where the snaplen cut a fragment it is cut as well.
        """
        data = bytearray()
        for start, _, piece in self._pieces:
            if start == len(data):
                data += piece
        total = self._total or 0
        length = len(self._header) + total
        header = self._header[:2] + length.to_bytes(2, "big") + self._header[4:6] + bytes(2) + self._header[8:]
        if header[0] >> 4 == 6:
            header = self._header[:4] + total.to_bytes(2, "big") + self._header[6:]
        return Packet(header + data, last.time_ns, _LINKTYPE_RAW, length, last.frame, last.file)

    def _end_agrees(self, end: int, more: bool) -> bool:
        if more:
            return self._total is None or end <= self._total
        return self._total in (None, end) and (not self._pieces or self._pieces[-1][1] <= end)

    def _spoil(self) -> None:
        self.overlapping = True
        self._pieces.clear()
        self._covered = 0
        self._total = None
        self.held = _COST


def _contains(piece: tuple[int, int, bytes], fragment: Fragment) -> bool:
    """Whether a fragment is a copy of this piece or of a part of it."""
    start, end, known = piece
    if fragment.offset < start or fragment.offset + fragment.length > end:
        return False
    there = known[fragment.offset - start :][: len(fragment.data)]
    return there == fragment.data[: len(there)]


class Fragments:
    """Reassembles IP fragments (RFC 791, section 3.2; RFC 8200, section 4.5) that come in any order.

    A packet whose fragments overlap is dropped with all of them, as RFC 5722 demands of IPv6 and as Linux does with
    both versions, unless one is a mere copy. What never becomes a TCP segment is counted in `skipped`, packet by
    packet, and a bound that bites is said once in `events`.
    """

    def __init__(self, skipped: Counter[str], events: list[Event]) -> None:
        self._skipped = skipped
        self._events = events
        self._datagrams: dict[bytes, _Datagram] = {}  # the oldest first
        self._held = 0
        self._limited = False

    def segment(self, fragment: Fragment, packet: Packet) -> Segment | None:
        """Take the fragment that a packet is; the TCP segment that is complete with it, if one is."""
        found: Segment | Fragment | str = fragment
        packets = 1
        while isinstance(found, Fragment):  # a fragment may be all that another packet's fragments carry
            datagram = self._add(found, packet, packets)
            if datagram is None:
                return None
            packets = datagram.packets
            packet = datagram.packet(packet)
            found = decode_segment(packet)
        if isinstance(found, Segment):
            return found
        self._skipped[found] += packets
        return None

    def close(self) -> None:
        """The capture is over: count what never became complete."""
        while self._datagrams:
            self._drop_oldest()

    def _add(self, fragment: Fragment, packet: Packet, packets: int) -> _Datagram | None:
        """Take a fragment that came in so many packets; what is complete with it."""
        self._expire(packet.time_ns)
        if not _is_possible(fragment):
            self._skipped[BROKEN] += packets
            return None
        datagram = _Datagram(packet.time_ns)
        if fragment.offset or fragment.more:  # what is whole has nothing to do with others of its number (RFC 6946)
            datagram = self._datagrams.setdefault(fragment.key, datagram)
        held = datagram.held
        datagram.add(fragment)
        datagram.packets += packets
        self._held += datagram.held - held
        if datagram.is_complete:
            if self._datagrams.get(fragment.key) is datagram:
                del self._datagrams[fragment.key]
            self._held -= datagram.held
            return datagram
        if self._held > MAX_HELD:
            self._limit(packet)
        return None

    def _expire(self, now: int) -> None:
        while self._datagrams and next(iter(self._datagrams.values())).begun_ns < now - TIMEOUT_NS:
            self._drop_oldest()

    def _limit(self, packet: Packet) -> None:
        while self._held > MAX_HELD:
            self._drop_oldest()
        if not self._limited:
            self._limited = True
            detail = f"more than {MAX_HELD} bytes of IP fragments wait for others: the oldest are given up"
            place = Place(packet.time_ns, packet.frame, packet.file)
            self._events.append(Diagnostic("limit", place, None, None, MAX_HELD, detail))

    def _drop_oldest(self) -> None:
        datagram = self._datagrams.pop(next(iter(self._datagrams)))
        self._held -= datagram.held
        self._skipped[OVERLAPPING if datagram.overlapping else INCOMPLETE] += datagram.packets


def _is_possible(fragment: Fragment) -> bool:
    """Whether a sender can have made it: all but the last have a multiple of 8 bytes, and the whole has a length."""
    header = len(fragment.header) if fragment.header[0] >> 4 == 4 else 0
    if fragment.length <= 0 or header + fragment.offset + fragment.length > _MAX_LENGTH:
        return False
    return not (fragment.more and fragment.length % 8)
