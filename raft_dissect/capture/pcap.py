"""Reader of the classic pcap format: microseconds and nanoseconds, both byte orders.

Source: draft-ietf-opsawg-pcap, and libpcap for the versions before 2.4.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from raft_dissect.capture.pcap_records import (
    DAY,
    FILE_HEADER_SIZE,
    HEADER_SIZE,
    MAGICS,
    RecordFormat,
    Suspicion,
    examine,
    search_rules,
)
from raft_dissect.capture.records import LARGEST_RECORD, MIN_LARGEST_RECORD, RecordReader
from raft_dissect.values import Packet

if TYPE_CHECKING:
    from raft_dissect.values import CaptureProblem

_LINK_TYPE_MASK = 0xFFFF
"""The rest of the field is the length of the frame check sequence and reserved bits."""


class PcapReader(RecordReader):
    """Reads a classic pcap file, fed in pieces."""

    def __init__(self, file: int = 0) -> None:
        super().__init__(file)
        self._needed = FILE_HEADER_SIZE
        self._records: RecordFormat | None = None
        self._link_type = 0
        self._seconds: int | None = None
        """Time of the last packet; None before the first."""

    def _read_records(self, buffer: bytes, position: int, items: list[Packet | CaptureProblem]) -> int:
        if self._records is None:
            position = self._read_header(buffer, items)
        return position if self._records is None else self._read_packets(self._records, buffer, position, items)

    def _read_header(self, buffer: bytes, items: list[Packet | CaptureProblem]) -> int:
        """Read the file header; return its size, or 0 if it is not there yet or damaged."""
        if len(buffer) < FILE_HEADER_SIZE:
            return 0
        if problem := self._take_header(buffer):
            items.append(self._stop("file_damaged", 0, problem))
            return 0
        return FILE_HEADER_SIZE

    def _take_header(self, buffer: bytes) -> str | None:
        """Take the settings from the file header; return what is wrong with it, if anything is."""
        if buffer[:4] not in MAGICS:
            return f"no pcap file header: it begins with {buffer[:4].hex(' ')}"
        order, fraction_ns = MAGICS[buffer[:4]]
        major, minor, snaplen, link_type = struct.unpack_from(order + "HH8xII", buffer, 4)
        if major != 2:
            return f"pcap version {major}.{minor} is unknown; 2.4 is the usual one"
        self._link_type = link_type & _LINK_TYPE_MASK
        largest = min(max(snaplen, MIN_LARGEST_RECORD), LARGEST_RECORD)
        # Before version 2.3 the two lengths were the other way round; of files that say 2.3, some are.
        self._records = RecordFormat(order, fraction_ns, largest, lengths_may_be_swapped=minor <= 3)
        return None

    def _read_packets(
        self, records: RecordFormat, buffer: bytes, position: int, items: list[Packet | CaptureProblem]
    ) -> int:
        end = len(buffer)
        self._needed = HEADER_SIZE
        if end - position < HEADER_SIZE:
            return position
        unpack, packet = records.struct.unpack_from, Packet._make
        fraction_ns, fractions, largest = records.fraction_ns, records.fractions, records.largest
        may_be_swapped = records.lengths_may_be_swapped
        link_type, file, frame, longest = self._link_type, self.file, self.frame, self._longest
        last: int = unpack(buffer, position)[0] if self._seconds is None else self._seconds
        while end - position >= HEADER_SIZE:
            seconds, fraction, captured, original = unpack(buffer, position)
            if may_be_swapped and captured > original:
                captured, original = original, captured
            if not (0 < original >= captured <= largest and fraction < fractions and -DAY <= seconds - last <= DAY):
                self._remember(frame, last, longest)
                if not self._accepts(records, buffer, position):
                    break
            start = position + HEADER_SIZE
            stop = start + captured
            if stop > end:
                self._needed = stop - position
                break
            frame += 1
            last = seconds
            if captured > longest:
                longest = captured
            time_ns = seconds * 1_000_000_000 + fraction * fraction_ns
            items.append(packet((buffer[start:stop], time_ns, link_type, original, frame, file)))
            position = stop
        self._remember(frame, last, longest)
        return position

    def _remember(self, frame: int, seconds: int, longest: int) -> None:
        self.frame = frame
        self._seconds = seconds if frame else None
        self._longest = longest

    def _accepts(self, records: RecordFormat, buffer: bytes, position: int) -> bool:
        """Say whether the odd record at `position` is one; if not, it is damage, or more bytes must come."""
        if self.offset + position == self._accepted:
            return True
        suspicion = examine(records, buffer, position, self._seconds, at_end=self._at_end)
        if suspicion.damage:
            detail = f"the record of frame {self.frame + 1} {suspicion.damage}"
            rules = search_rules(records, self._seconds)
            self._search_behind(position, detail, position + 1, rules, is_certain=suspicion.is_certain)
        elif suspicion.needed:
            self._needed = suspicion.needed
        return suspicion == Suspicion()
