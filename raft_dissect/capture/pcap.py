"""Reader of the classic pcap format: microseconds and nanoseconds, both byte orders.

Source: draft-ietf-opsawg-pcap, and libpcap for the versions before 2.4.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from raft_dissect.capture.records import LARGEST_RECORD, MIN_LARGEST_RECORD, RecordReader
from raft_dissect.values import Packet

if TYPE_CHECKING:
    from raft_dissect.values import CaptureProblem

MAGICS = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
"""First four bytes of a file: its byte order, and the nanoseconds in one unit of a timestamp's fraction."""

_HEADER_SIZE = 24
_RECORD_HEADER_SIZE = 16
_LINK_TYPE_MASK = 0xFFFF
"""The rest of the field is the length of the frame check sequence and reserved bits."""


class PcapReader(RecordReader):
    """Reads a classic pcap file, fed in pieces."""

    def __init__(self, file: int = 0) -> None:
        super().__init__(file)
        self._needed = _HEADER_SIZE
        self._header_read = False
        self._record = struct.Struct("<IIII")
        self._fraction_ns = 1000
        self._link_type = 0
        self._largest = MIN_LARGEST_RECORD
        self._lengths_may_be_swapped = False

    def _read_records(self, buffer: bytes, items: list[Packet | CaptureProblem]) -> int:
        position = 0
        if not self._header_read:
            if problem := self._read_header(buffer):
                items.append(self._damage(0, problem))
                return 0
            position = _HEADER_SIZE
        return self._read_packets(buffer, position, items)

    def _read_header(self, buffer: bytes) -> str | None:
        """Take the settings from the file header; return what is wrong with it, if anything is."""
        if buffer[:4] not in MAGICS:
            return f"no pcap file header: it begins with {buffer[:4].hex(' ')}"
        order, fraction_ns = MAGICS[buffer[:4]]
        major, minor, snaplen, link_type = struct.unpack_from(order + "HH8xII", buffer, 4)
        if major != 2:
            return f"pcap version {major}.{minor} is unknown; 2.4 is the usual one"
        self._record = struct.Struct(order + "IIII")
        self._fraction_ns = fraction_ns
        self._link_type = link_type & _LINK_TYPE_MASK
        self._largest = min(max(snaplen, MIN_LARGEST_RECORD), LARGEST_RECORD)
        # Before version 2.3 the two lengths were the other way round; of files that say 2.3, some are.
        self._lengths_may_be_swapped = minor <= 3
        self._header_read = True
        return None

    def _read_packets(self, buffer: bytes, position: int, items: list[Packet | CaptureProblem]) -> int:
        unpack = self._record.unpack_from
        fraction_ns, link_type, largest, file = self._fraction_ns, self._link_type, self._largest, self.file
        may_be_swapped = self._lengths_may_be_swapped
        frame = self.frame
        end = len(buffer)
        self._needed = _RECORD_HEADER_SIZE
        while end - position >= _RECORD_HEADER_SIZE:
            seconds, fraction, captured, original = unpack(buffer, position)
            if may_be_swapped and captured > original:
                captured, original = original, captured
            start = position + _RECORD_HEADER_SIZE
            stop = start + captured
            if captured > largest:
                self.frame = frame
                items.append(self._damage(position, _implausible(frame + 1, captured, largest)))
                break
            if stop > end:
                self._needed = stop - position
                break
            frame += 1
            time_ns = seconds * 1_000_000_000 + fraction * fraction_ns
            items.append(Packet(buffer[start:stop], time_ns, link_type, original, frame, file))
            position = stop
        self.frame = frame
        return position


def _implausible(frame: int, captured: int, largest: int) -> str:
    return f"the record of frame {frame} claims {captured} captured bytes; at most {largest} are plausible"
