"""Goes through ordinary Enhanced Packet Blocks of a pcapng file, many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect import octets
from raft_dissect.capture import pcapng_blocks, records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.capture.pcapng import Interface
    from raft_dissect.columns import PacketColumns

# All of these are C constants in the compiled form.
COMPILED = not __file__.endswith(".py")
_ENHANCED_PACKET = pcapng_blocks.ENHANCED_PACKET
_HEAD_SIZE = 28
"""Bytes of a block before its packet."""
_AROUND = _HEAD_SIZE + pcapng_blocks.TRAILER_SIZE
"""Bytes of a block beside its packet, padding and options."""
_LARGEST = records.LARGEST_RECORD
_MOST_NS = 2**61
"""Times beyond need a closer look."""
_HIGHEST = _MOST_NS >> 32


def scan_blocks(  # noqa: C901 - calls cost more than all it does
    layout: pcapng_blocks.Layout,
    interfaces: Sequence[Interface | None],
    link_type: int,
    columns: PacketColumns,
    row: int,
    buffer: bytes,
    position: int,
) -> tuple[int, int, int]:
    """Put the packets of `buffer` from `position` on into the columns.

    Returns the row and the place after the last one, and the length of the longest block. It ends before the first
    block that is not all there, is no Enhanced Packet Block, is of another link type, has a time that is not a whole
    number of nanoseconds, or is damaged in any way.
    """
    unpack, trailer = layout.enhanced_block.unpack_from, layout.length.unpack_from
    little = layout.order == "<"
    starts, lengths, originals, times = columns.starts, columns.captured, columns.originals, columns.times
    view = buffer
    end = len(buffer)
    known = -1
    multiplier = offset_ns = most_ticks = longest = 0
    while end - position >= _AROUND:
        if not COMPILED:
            kind, length, number, high, low, captured, original = unpack(buffer, position)
        elif little:
            kind = octets.u32le(view, position)
            length = octets.u32le(view, position + 4)
            number = octets.u32le(view, position + 8)
            high = octets.u32le(view, position + 12)
            low = octets.u32le(view, position + 16)
            captured = octets.u32le(view, position + 20)
            original = octets.u32le(view, position + 24)
        else:
            kind = octets.u32be(view, position)
            length = octets.u32be(view, position + 4)
            number = octets.u32be(view, position + 8)
            high = octets.u32be(view, position + 12)
            low = octets.u32be(view, position + 16)
            captured = octets.u32be(view, position + 20)
            original = octets.u32be(view, position + 24)
        stop = position + length
        if kind != _ENHANCED_PACKET or length & 3 or not captured + _AROUND <= length <= _LARGEST or stop > end:
            break
        if COMPILED:
            again = octets.u32le(view, stop - 4) if little else octets.u32be(view, stop - 4)
        else:
            (again,) = trailer(buffer, stop - 4)
        if again != length:
            break
        if number != known:
            interface = interfaces[number] if number < len(interfaces) else None
            if interface is None or interface.link_type != link_type or interface.divisor != 1:
                break
            if not -_MOST_NS < interface.offset_ns < _MOST_NS:
                break
            known, multiplier, offset_ns = number, interface.multiplier, interface.offset_ns
            most_ticks = _MOST_NS // multiplier
        if high > _HIGHEST or (high << 32 | low) >= most_ticks:
            break
        if row == columns.room:
            columns.grow()
            starts, lengths, originals, times = columns.starts, columns.captured, columns.originals, columns.times
        starts[row] = position + _HEAD_SIZE
        lengths[row] = captured
        originals[row] = original
        times[row] = (high << 32 | low) * multiplier + offset_ns
        row += 1
        if length > longest:
            longest = length
        position = stop
    return row, position, longest
