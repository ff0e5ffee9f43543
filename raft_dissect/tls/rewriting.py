"""Packets of a TLS connection as they would be if it carried its content in clear: same headers, other bytes."""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING

from raft_dissect.streams.segments import FIN
from raft_dissect.values import Packet

if TYPE_CHECKING:
    from raft_dissect.streams.segments import Segment

_IPV4, _IPV6 = 228, 229
_IPV4_HEADER = struct.Struct(">BBHHHBBH")
_IPV6_HEADER = struct.Struct(">IHBB")
_TCP = 6
_TTL = 64
_HOSTS_OF_IPV4 = 8
_LARGEST = 0xFFFF
_MASK = 0xFFFFFFFF
_MOST_MARKS = 1024


class Positions:
    """Where in the clear text of a direction one is at a position of its ciphertext."""

    __slots__ = ("_ends", "_totals", "base", "total")

    def __init__(self, base: int) -> None:
        self.base = base
        """Position of the first byte of both."""
        self.total = 0
        """Bytes of clear text so far."""
        self._ends = [base]
        self._totals = [0]

    def add(self, end: int, size: int) -> None:
        """A record that ends at this position holds so many bytes of clear text."""
        self.total += size
        self._ends.append(end)
        self._totals.append(self.total)
        if len(self._ends) > 2 * _MOST_MARKS:
            del self._ends[:_MOST_MARKS], self._totals[:_MOST_MARKS]

    def forget(self) -> None:
        """Remember no more than where one is: the connection is over."""
        del self._ends[:-1], self._totals[:-1]

    def clear(self, position: int) -> int:
        """The position in the clear text after all records that end at or before this one.

        Of one that is older than those that are remembered it is that of the first of them.
        """
        if position < self.base:
            return position
        at = bisect_right(self._ends, position) - 1
        return self.base + self._totals[max(at, 0)]

    @property
    def next(self) -> int:
        """Position of the next byte of clear text."""
        return self.base + self.total


def rewritten(
    packet: Packet, segment: Segment, sequence: int, acknowledgement: int, payload: bytes, *, fin: bool
) -> Packet:
    """The packet with another payload and other numbers, without what is around its IP packet."""
    start = segment.tcp
    header = bytearray(segment.packet[start : start + (segment.packet[start + 12] >> 4) * 4])
    struct.pack_into(">II", header, 4, sequence & _MASK, acknowledgement & _MASK)
    header[13] = header[13] | FIN if fin else header[13] & ~FIN
    header[16:18] = b"\0\0"  # no checksum, as before the network card has put it in
    data = _around(segment, len(header) + len(payload)) + header + payload
    cut = len(packet.data) < packet.original_length
    link_type = _IPV4 if len(segment.key) - 4 == _HOSTS_OF_IPV4 else _IPV6
    return Packet(data, packet.time_ns, link_type, len(data) + cut, packet.frame, packet.file)


def _around(segment: Segment, length: int) -> bytes:
    """An IP header; its length is 0 where it has no room for it, as with packets that the network card will cut."""
    hosts = segment.key[:-4]
    if len(hosts) == _HOSTS_OF_IPV4:
        total = length + _IPV4_HEADER.size + len(hosts)
        identification = segment.identification
        return _IPV4_HEADER.pack(0x45, 0, total if total <= _LARGEST else 0, identification, 0, _TTL, _TCP, 0) + hosts
    return _IPV6_HEADER.pack(6 << 28, length if length <= _LARGEST else 0, _TCP, _TTL) + hosts
