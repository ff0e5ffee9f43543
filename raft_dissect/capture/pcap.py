"""Reader of the classic pcap format: microseconds and nanoseconds, both byte orders.

Source: draft-ietf-opsawg-pcap, and libpcap for the versions before 2.4.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from raft_dissect.capture.pcap_records import (
    FILE_HEADER_SIZE,
    HEADER_SIZE,
    MAGICS,
    Header,
    RecordFormat,
    Suspicion,
    examine,
    search_rules,
)
from raft_dissect.capture.pcap_scan import scan_records
from raft_dissect.capture.records import LARGEST_RECORD, MIN_LARGEST_RECORD, RecordReader

if TYPE_CHECKING:
    from raft_dissect.capture.records import Item

_SECOND = 1_000_000_000
_LINK_TYPE_MASK = 0xFFFF
"""The rest of the field is the length of the frame check sequence and reserved bits."""


class PcapReader(RecordReader):
    """Reads a classic pcap file, fed in pieces."""

    def __init__(self, file: int = 0) -> None:
        super().__init__(file)
        self._needed = FILE_HEADER_SIZE
        self._records: RecordFormat | None = None
        self._seconds: int | None = None
        """Time of the last packet; None before the first."""

    def _read_records(self, buffer: bytes, position: int, items: list[Item]) -> int:
        if self._records is None:
            position = self._read_header(buffer, items)
        return position if self._records is None else self._read_packets(self._records, buffer, position, items)

    def _read_header(self, buffer: bytes, items: list[Item]) -> int:
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

    def _read_packets(self, records: RecordFormat, buffer: bytes, position: int, items: list[Item]) -> int:
        end = len(buffer)
        while True:
            self._needed = HEADER_SIZE
            if end - position < HEADER_SIZE:
                break
            last = records.header(buffer, position).seconds if self._seconds is None else self._seconds
            row = scan_records(records, self._columns, self._rows, buffer, position, last)
            position = self._take_rows(row, buffer, position, items)
            if end - position < HEADER_SIZE:
                break
            header = records.header(buffer, position)
            is_odd = records.impossible(header) or records.oddities(header, self._seconds)
            if is_odd and not self._accepts(records, buffer, position):
                break
            if end - position < header.record_length:
                self._needed = header.record_length
                break
            position = self._take_row(records, header, buffer, position, items)
        return position

    def _take_rows(self, row: int, buffer: bytes, position: int, items: list[Item]) -> int:
        """Count the records in the columns up to a row as read; return where they end."""
        before, columns = self._rows, self._columns
        if row > before:
            position = columns.starts[row - 1] + columns.captured[row - 1]
            self._longest = max(self._longest, columns.longest(before, row))
            self._seconds = columns.times[row - 1] // _SECOND
            self.frame += row - before
            self._rows = row
            self._end_block(buffer, items)
        return position

    def _take_row(self, records: RecordFormat, header: Header, buffer: bytes, position: int, items: list[Item]) -> int:
        """Put one record into the columns although it is odd; return where it ends."""
        columns, row = self._columns, self._rows
        if row == columns.room:
            columns.grow()
        columns.starts[row] = position + HEADER_SIZE
        columns.captured[row] = header.captured
        columns.originals[row] = header.original
        columns.times[row] = header.seconds * _SECOND + header.fraction * records.fraction_ns
        end = self._take_rows(row + 1, buffer, position, items)
        # The fraction may be a second and more.
        self._seconds = header.seconds
        return end

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
