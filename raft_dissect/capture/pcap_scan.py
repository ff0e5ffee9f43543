"""Goes through ordinary records of a classic pcap file, many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect import octets
from raft_dissect.capture import pcap_records

if TYPE_CHECKING:
    from raft_dissect.capture.pcap_records import RecordFormat
    from raft_dissect.columns import PacketColumns

# All of these are C constants in the compiled form.
COMPILED = not __file__.endswith(".py")
_HEADER_SIZE = pcap_records.HEADER_SIZE
_DAY = pcap_records.DAY
_SECOND = 1_000_000_000


def scan_records(
    records: RecordFormat, columns: PacketColumns, row: int, buffer: bytes, position: int, seconds_before: int
) -> int:
    """Put the records of `buffer` from `position` on into the columns from `row` on; return the row after the last.

    It ends before the first record that is not all there, or that is odd in any way that `RecordFormat` knows.
    `seconds_before` is the time of the record before, in seconds since the Unix epoch.
    """
    unpack = records.struct.unpack_from
    little, swapped = records.order == "<", records.lengths_may_be_swapped
    fraction_ns, fractions, largest = records.fraction_ns, records.fractions, records.largest
    starts, lengths, originals, times = columns.starts, columns.captured, columns.originals, columns.times
    view = buffer
    last = seconds_before
    position += _HEADER_SIZE
    end = len(buffer)
    while position <= end:
        if not COMPILED:
            seconds, fraction, captured, original = unpack(buffer, position - _HEADER_SIZE)
        elif little:
            seconds = octets.u32le(view, position - 16)
            fraction = octets.u32le(view, position - 12)
            captured = octets.u32le(view, position - 8)
            original = octets.u32le(view, position - 4)
        else:
            seconds = octets.u32be(view, position - 16)
            fraction = octets.u32be(view, position - 12)
            captured = octets.u32be(view, position - 8)
            original = octets.u32be(view, position - 4)
        if swapped and captured > original:
            captured, original = original, captured
        if not (0 < original >= captured <= largest and fraction < fractions and -_DAY <= seconds - last <= _DAY):
            break
        if position + captured > end:
            break
        if row == columns.room:
            columns.grow()
            starts, lengths, originals, times = columns.starts, columns.captured, columns.originals, columns.times
        starts[row] = position
        lengths[row] = captured
        originals[row] = original
        times[row] = seconds * _SECOND + fraction * fraction_ns
        row += 1
        last = seconds
        position += captured + _HEADER_SIZE
    return row
