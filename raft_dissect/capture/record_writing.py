"""Makes records of capture files out of the columns of packets, many at a time.

Sources: draft-ietf-opsawg-pcap, with nanoseconds; draft-ietf-opsawg-pcapng, Enhanced Packet Block.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raft_dissect.capture.interfaces.ring_scan import RingColumns

# What stands here under a name of its own is a C constant in the compiled form.
COMPILED = not __file__.endswith(".py")
_RECORD = struct.Struct("<IIII").pack
_BLOCK = struct.Struct("<IIIIIII").pack
_TRAILER = [struct.Struct(f"<{padding}xI").pack for padding in range(4)]
"""By bytes of padding before it."""
_ENHANCED_PACKET = 6
_RECORD_HEADER, _BLOCK_HEADER, _BLOCK_TRAILER = 16, 28, 4
RECORD_AROUND = _RECORD_HEADER
"""Bytes of a pcap record beside its packet."""
BLOCK_AROUND = _BLOCK_HEADER + _BLOCK_TRAILER
"""Bytes of an Enhanced Packet Block beside its packet and the padding to a multiple of 4."""
_MOST_PADDING = 3
_SECOND = 1_000_000_000


def rows_before(columns: RingColumns, row: int, end: int, around: int, room: int, until_ns: int) -> int:
    """The first of some rows that a file does not take any more; `end` if it takes all.

    A record has `around` bytes beside its packet, the file has room for `room` bytes, and ends before `until_ns`.
    """
    lengths, times = columns.captured, columns.times
    left = room
    while row < end:
        left -= lengths[row] + around + _MOST_PADDING
        if left < 0 or times[row] >= until_ns:
            break
        row += 1
    return row


def pcap_records(columns: RingColumns, row: int, end: int, data: bytes) -> bytes:
    """The records of some rows in a little-endian file with nanoseconds; `data` is the buffer of their block."""
    starts, lengths, originals, times = columns.starts, columns.captured, columns.originals, columns.times
    pieces: list[bytes] = []
    view = data
    out = bytearray(columns.size(row, end) + (end - row) * RECORD_AROUND if COMPILED else 0)
    room = out
    place = 0
    while row < end:
        start, captured, original = starts[row], lengths[row], originals[row]
        seconds = times[row] // _SECOND
        nanoseconds = times[row] - seconds * _SECOND
        if COMPILED:
            _put(room, place, seconds)
            _put(room, place + 4, nanoseconds)
            _put(room, place + 8, captured)
            _put(room, place + 12, original)
            place = _copy(room, place + _RECORD_HEADER, view, start, captured)
        else:
            pieces += _RECORD(seconds, nanoseconds, captured, original), data[start : start + captured]
        row += 1
    return bytes(out) if COMPILED else b"".join(pieces)


def enhanced_packets(columns: RingColumns, row: int, end: int, data: bytes, ids: dict[int, int]) -> tuple[bytes, int]:
    """The little-endian blocks of some rows, up to the first of an interface of which `ids` knows no number.

    Times are in nanoseconds. Gives the row behind the last one, too.
    """
    starts, lengths, originals, times = columns.starts, columns.captured, columns.originals, columns.times
    interfaces = columns.interfaces
    pieces: list[bytes] = []
    view = data
    out = bytearray(columns.size(row, end) + (end - row) * (BLOCK_AROUND + _MOST_PADDING) if COMPILED else 0)
    room = out
    place = 0
    before, number = -1, 0
    while row < end:
        interface = interfaces[row]
        if interface != before:
            if interface not in ids:
                break
            before, number = interface, ids[interface]
        start, captured, original, time_ns = starts[row], lengths[row], originals[row], times[row]
        padding = -captured & 3
        length = captured + padding + BLOCK_AROUND
        if COMPILED:
            _put(room, place, _ENHANCED_PACKET)
            _put(room, place + 4, length)
            _put(room, place + 8, number)
            _put(room, place + 12, time_ns >> 32)
            _put(room, place + 16, time_ns & 0xFFFFFFFF)
            _put(room, place + 20, captured)
            _put(room, place + 24, original)
            place = _copy(room, place + _BLOCK_HEADER, view, start, captured) + padding
            _put(room, place, length)
            place += _BLOCK_TRAILER
        else:
            head = _BLOCK(_ENHANCED_PACKET, length, number, time_ns >> 32, time_ns & 0xFFFFFFFF, captured, original)
            pieces += head, data[start : start + captured], _TRAILER[padding](length)
        row += 1
    return bytes(out[:place]) if COMPILED else b"".join(pieces), row


def _put(room: bytearray, place: int, value: int) -> None:
    """Write 32 bits."""
    room[place] = value & 0xFF
    room[place + 1] = value >> 8 & 0xFF
    room[place + 2] = value >> 16 & 0xFF
    room[place + 3] = value >> 24 & 0xFF


def _copy(room: bytearray, place: int, data: bytes, start: int, size: int) -> int:
    """Copy bytes to a place; give the one behind them."""
    room[place : place + size] = data[start : start + size]
    return place + size
