"""What a block of a pcapng file looks like, and how blocks are found again behind damage."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from raft_dissect.capture.records import LARGEST_RECORD
from raft_dissect.capture.recovery import Rules

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC = b"\x0a\x0d\x0d\x0a"
"""Type of the Section Header Block, the same in both byte orders: the first four bytes of a file."""

SECTION = 0x0A0D0D0A
INTERFACE = 1
PACKET = 2
SIMPLE_PACKET = 3
ENHANCED_PACKET = 6
SECRETS = 10
TLS_KEY_LOG = 0x544C534B
"""What a Decryption Secrets Block holds: lines of a TLS key log."""
COUNTED_AS_FRAMES = frozenset({9, 0x00000BAD, 0x40000BAD})
"""Blocks without a packet that Wireshark numbers like packets: systemd journal entries and custom blocks."""

SMALLEST_BLOCK = 12
BODY = 8
"""Offset of a block's body: after its type and its length."""
TRAILER_SIZE = 4

KNOWN_BLOCKS = frozenset({SECTION, *range(1, 11), 0x00000BAD, 0x40000BAD})
"""Blocks that are looked for behind damage: those of the format's document."""

_BYTE_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}

# Only a prefilter: the type, and a length that is a multiple of 4, not 0, and below 32 MiB. A
# section header can follow in either byte order. The search is several times faster for patterns that do not begin
# with a zero, so in big-endian files they begin with the last byte of the type.
_TYPE = rb"[\x01-\x0a\xad]"
_LOW = b"[" + b"".join(b"\\x%02x" % low for low in range(0, 256, 4)) + b"]"
_LITTLE = _TYPE + rb"(?:[\x00\x0b]\x00[\x00\x40](?!\x00{4})" + _LOW + rb"..[\x00\x01]|\r\r\n)"
_BIG = _TYPE + rb"(?:(?<=[\x00\x40]\x00[\x00\x0b].)(?!\x00{4})[\x00\x01].." + _LOW + rb"|(?<=\n\r\r.))"
_PATTERNS = {"<": (re.compile(_LITTLE, re.DOTALL), 0), ">": (re.compile(_BIG, re.DOTALL), 3)}
"""By byte order: what matches every block that `KNOWN_BLOCKS` holds, and the bytes of the block before that."""

MOST_INTERFACES = 65536
"""Interfaces in one section, so memory stays bounded."""


class Layout:
    """The fixed fields of the blocks in one byte order, each from the start of the block's body."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.block = struct.Struct(order + "II")
        self.length = struct.Struct(order + "I")
        self.section = struct.Struct(order + "4xHHq")
        self.interface = struct.Struct(order + "HHI")
        self.enhanced = struct.Struct(order + "IIIII")
        self.enhanced_block = struct.Struct(order + "IIIIIII")
        """An Enhanced Packet Block from its type on."""
        self.packet = struct.Struct(order + "HHIIII")
        self.option = struct.Struct(order + "HH")
        self.seconds = struct.Struct(order + "q")


LAYOUTS = {order: Layout(order) for order in "<>"}


def section_layout(buffer: bytes, position: int) -> Layout | None:
    """Return the byte order that the section header at `position` says; None if it says none."""
    order = _BYTE_ORDERS.get(buffer[position + BODY : position + BODY + 4])
    return LAYOUTS[order] if order else None


def plausible_length(length: int) -> bool:
    """Say whether a block can have this many bytes."""
    return SMALLEST_BLOCK <= length <= LARGEST_RECORD and length % 4 == 0


def lengths_agree(buffer: bytes, start: int, stop: int) -> bool:
    """Say whether the block `buffer[start:stop]` has the same length at both its ends."""
    return buffer[start + 4 : start + 8] == buffer[stop - 4 : stop]


def search_rules(layout: Layout, interfaces: Sequence[object | None]) -> Rules:
    """Return how blocks are found again behind damage in a section with these interfaces; None is unreadable."""
    pattern, lead = _PATTERNS[layout.order]
    return Rules(
        pattern,
        lead,
        SMALLEST_BLOCK,
        lambda: _Chain(layout, interfaces),
        # The blocks of a capture inside a packet never run on into real ones: the packet's own trailer is between.
        lambda _buffer, _position: False,
        0,
    )


class _Chain:
    """Judges the blocks behind damage: the first must be readable, those behind it need only begin and end well."""

    def __init__(self, layout: Layout, interfaces: Sequence[object | None]) -> None:
        self._layout = layout
        self._interfaces = interfaces
        self._is_first = True

    def length(self, buffer: bytes, position: int) -> int:
        block_type, length = self._layout.block.unpack_from(buffer, position)
        if block_type == SECTION:
            layout = section_layout(buffer, position)
            if layout is None:
                return 0
            self._layout = layout
            _type, length = layout.block.unpack_from(buffer, position)
        return int(length) if block_type in KNOWN_BLOCKS and plausible_length(length) else 0

    def accept(self, buffer: bytes, position: int, length: int) -> bool:
        if not lengths_agree(buffer, position, position + length):
            return False
        is_first, self._is_first = self._is_first, False
        return not is_first or self._is_readable(buffer, position, length - SMALLEST_BLOCK)

    def _is_readable(self, buffer: bytes, position: int, size: int) -> bool:
        """Say whether the block with a body of `size` bytes holds what its type promises."""
        block_type, _length = self._layout.block.unpack_from(buffer, position)
        body = position + BODY
        if block_type == SECTION:
            return size >= 16 and bool(self._layout.section.unpack_from(buffer, body)[0] == 1)
        if block_type == INTERFACE:
            return size >= 8 and len(self._interfaces) < MOST_INTERFACES
        if block_type == SIMPLE_PACKET:
            return size >= 4 and self._knows(0)
        if block_type not in {PACKET, ENHANCED_PACKET}:
            return True
        if size < 20:
            return False
        fields = self._layout.packet if block_type == PACKET else self._layout.enhanced
        interface, *_times, captured, _original = fields.unpack_from(buffer, body)
        return captured <= size - 20 and self._knows(interface)

    def _knows(self, number: int) -> bool:
        return number < len(self._interfaces) and self._interfaces[number] is not None
