"""Reader of the pcapng format: sections in both byte orders, several interfaces, any time resolution.

Source: draft-ietf-opsawg-pcapng; the obsolete Packet Block is in its appendix.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.capture.records import LARGEST_RECORD, RecordReader
from raft_dissect.values import Packet

if TYPE_CHECKING:
    from raft_dissect.values import CaptureProblem

MAGIC = b"\x0a\x0d\x0d\x0a"
"""Type of the Section Header Block, the same in both byte orders: the first four bytes of a file."""

_SECTION = 0x0A0D0D0A
_INTERFACE = 1
_PACKET = 2
_SIMPLE_PACKET = 3
_ENHANCED_PACKET = 6
_COUNTED_AS_FRAMES = frozenset({9, 0x00000BAD, 0x40000BAD})
"""Blocks without a packet that Wireshark numbers like packets: systemd journal entries and custom blocks."""

_BYTE_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_OPTION_END = 0
_OPTION_TSRESOL = 9
_OPTION_TSOFFSET = 14

_SMALLEST_BLOCK = 12
_BODY = 8
"""Offset of a block's body: after its type and its length."""
_TRAILER_SIZE = 4

_MOST_INTERFACES = 65536
"""Interfaces in one section, so memory stays bounded."""
_LARGEST_TIME = 2**63
"""Nanoseconds either side of the epoch: 292 years, and what every consumer can hold."""


class _Layout:
    """The fixed fields of the blocks in one byte order, each from the start of the block's body."""

    def __init__(self, order: str) -> None:
        self.block = struct.Struct(order + "II")
        self.length = struct.Struct(order + "I")
        self.section = struct.Struct(order + "4xHHq")
        self.interface = struct.Struct(order + "HHI")
        self.enhanced = struct.Struct(order + "IIIII")
        self.packet = struct.Struct(order + "HHIIII")
        self.option = struct.Struct(order + "HH")
        self.seconds = struct.Struct(order + "q")


_LAYOUTS = {order: _Layout(order) for order in "<>"}


class _Interface(NamedTuple):
    """What the packets of one interface share; a time is `ticks * multiplier // divisor + offset_ns`."""

    link_type: int
    snaplen: int
    multiplier: int
    divisor: int
    offset_ns: int


class _DamagedBlockError(Exception):
    """A block that contradicts the format or itself; the message says how."""


class PcapngReader(RecordReader):
    """Reads a pcapng file, fed in pieces."""

    def __init__(self, file: int = 0) -> None:
        super().__init__(file)
        self._needed = _SMALLEST_BLOCK
        # Any will do for the first block: the type of a section header reads alike in both.
        self._layout = _LAYOUTS["<"]
        self._in_section = False
        self._interfaces: list[_Interface] = []

    def _read_records(self, buffer: bytes, items: list[Packet | CaptureProblem]) -> int:
        position = 0
        end = len(buffer)
        self._needed = _SMALLEST_BLOCK
        try:
            while end - position >= _SMALLEST_BLOCK:
                block_type, length = self._layout.block.unpack_from(buffer, position)
                if block_type == _SECTION:
                    self._layout = _section_layout(buffer, position)
                    block_type, length = self._layout.block.unpack_from(buffer, position)
                elif not self._in_section:
                    raise _DamagedBlockError("there is no section header at the start")
                if not _SMALLEST_BLOCK <= length <= LARGEST_RECORD or length % 4:
                    raise _DamagedBlockError(_impossible_length(block_type, length))
                stop = position + length
                if stop > end:
                    self._needed = length
                    break
                if buffer[position + 4 : position + 8] != buffer[stop - 4 : stop]:
                    raise _DamagedBlockError(_lengths_differ(buffer, position, stop))
                packet = self._read_block(block_type, buffer, position + _BODY, stop - _TRAILER_SIZE)
                if packet is not None:
                    items.append(packet)
                position = stop
        except _DamagedBlockError as damage:
            items.append(self._damage(position, str(damage)))
        return position

    def _read_block(self, block_type: int, buffer: bytes, start: int, stop: int) -> Packet | None:
        """Take what the block with the body `buffer[start:stop]` says; return its packet if it has one."""
        if block_type == _ENHANCED_PACKET:
            _check_body("an Enhanced Packet Block", stop - start, 20)
            interface, high, low, captured, original = self._layout.enhanced.unpack_from(buffer, start)
            return self._packet(interface, high << 32 | low, buffer, start + 20, stop, captured, original)
        if block_type == _PACKET:
            _check_body("a Packet Block", stop - start, 20)
            interface, _drops, high, low, captured, original = self._layout.packet.unpack_from(buffer, start)
            return self._packet(interface, high << 32 | low, buffer, start + 20, stop, captured, original)
        if block_type == _SIMPLE_PACKET:
            return self._simple_packet(buffer, start, stop)
        if block_type == _SECTION:
            self._open_section(buffer, start, stop)
        elif block_type == _INTERFACE:
            self._add_interface(buffer, start, stop)
        elif block_type in _COUNTED_AS_FRAMES:
            self.frame += 1
        return None

    def _packet(
        self, number: int, ticks: int, buffer: bytes, start: int, stop: int, captured: int, original: int
    ) -> Packet:
        link_type, _snaplen, multiplier, divisor, offset_ns = self._interface(number)
        if captured > stop - start:
            raise _DamagedBlockError(
                f"the block of frame {self.frame + 1} claims {captured} captured bytes and has {stop - start}"
            )
        time_ns = ticks * multiplier // divisor + offset_ns
        if not -_LARGEST_TIME <= time_ns < _LARGEST_TIME:
            raise _DamagedBlockError(f"the time of frame {self.frame + 1} is more than 292 years from 1970")
        self.frame += 1
        data = buffer[start : start + captured]
        return Packet(data, time_ns, link_type, original, self.frame, self.file)

    def _simple_packet(self, buffer: bytes, start: int, stop: int) -> Packet:
        """Read a packet without a time; it is of the section's first interface and cut at its snaplen."""
        _check_body("a Simple Packet Block", stop - start, 4)
        interface = self._interface(0)
        (original,) = self._layout.length.unpack_from(buffer, start)
        captured = min(original, interface.snaplen or original)
        start += 4
        if captured > stop - start:
            raise _DamagedBlockError(
                f"the block of frame {self.frame + 1} should hold {captured} bytes and has {stop - start}"
            )
        self.frame += 1
        data = buffer[start : start + captured]
        return Packet(data, 0, interface.link_type, original, self.frame, self.file)

    def _interface(self, number: int) -> _Interface:
        if number >= len(self._interfaces):
            raise _DamagedBlockError(
                f"the block of frame {self.frame + 1} names interface {number}; "
                f"its section describes {len(self._interfaces)}"
            )
        return self._interfaces[number]

    def _open_section(self, buffer: bytes, start: int, stop: int) -> None:
        _check_body("a Section Header Block", stop - start, 16)
        major, minor, _length = self._layout.section.unpack_from(buffer, start)
        if major != 1:
            raise _DamagedBlockError(f"pcapng version {major}.{minor} is unknown; 1.0 is the usual one")
        self._in_section = True
        self._interfaces = []

    def _add_interface(self, buffer: bytes, start: int, stop: int) -> None:
        _check_body("an Interface Description Block", stop - start, 8)
        if len(self._interfaces) == _MOST_INTERFACES:
            raise _DamagedBlockError(f"a section describes more than {_MOST_INTERFACES} interfaces")
        link_type, _reserved, snaplen = self._layout.interface.unpack_from(buffer, start)
        options = _options(self._layout, buffer, start + 8, stop)
        multiplier, divisor = _resolution(options.get(_OPTION_TSRESOL, b"\x06"))
        offset_ns = _offset(self._layout, options.get(_OPTION_TSOFFSET, bytes(8)))
        self._interfaces.append(_Interface(link_type, snaplen, multiplier, divisor, offset_ns))


def _section_layout(buffer: bytes, position: int) -> _Layout:
    """Return the byte order that the section header at `position` says."""
    mark = buffer[position + 8 : position + 12]
    if mark not in _BYTE_ORDERS:
        raise _DamagedBlockError(f"the section header has no byte-order magic but {mark.hex(' ')}")
    return _LAYOUTS[_BYTE_ORDERS[mark]]


def _impossible_length(block_type: int, length: int) -> str:
    return (
        f"a block of type {block_type:#x} claims {length} bytes; "
        f"plausible are {_SMALLEST_BLOCK} to {LARGEST_RECORD}, in steps of 4"
    )


def _lengths_differ(buffer: bytes, position: int, stop: int) -> str:
    first, second = buffer[position + 4 : position + 8], buffer[stop - 4 : stop]
    return f"a block has the length {first.hex(' ')} at its start and {second.hex(' ')} at its end"


def _check_body(name: str, size: int, smallest: int) -> None:
    if size < smallest:
        raise _DamagedBlockError(f"{name} has a body of {size} bytes; it needs at least {smallest}")


def _options(layout: _Layout, buffer: bytes, start: int, stop: int) -> dict[int, bytes]:
    """Return a block's options by code; of a repeated one the last."""
    options: dict[int, bytes] = {}
    while stop - start >= layout.option.size:
        code, length = layout.option.unpack_from(buffer, start)
        if code == _OPTION_END:
            break
        start += layout.option.size
        if length > stop - start:
            raise _DamagedBlockError(f"option {code} of an interface is longer than its block")
        options[code] = buffer[start : start + length]
        start += (length + 3) & ~3
    return options


def _resolution(value: bytes) -> tuple[int, int]:
    """Return the nanoseconds in one tick as a fraction, from an if_tsresol option."""
    if len(value) != 1:
        raise _DamagedBlockError(f"the if_tsresol option of an interface has {len(value)} bytes, not 1")
    exponent = value[0] & 0x7F
    if value[0] & 0x80:
        return 1_000_000_000, 2**exponent
    return (10 ** (9 - exponent), 1) if exponent <= 9 else (1, 10 ** (exponent - 9))


def _offset(layout: _Layout, value: bytes) -> int:
    """Return the nanoseconds to add to every time, from an if_tsoffset option."""
    if len(value) != layout.seconds.size:
        raise _DamagedBlockError(f"the if_tsoffset option of an interface has {len(value)} bytes, not 8")
    (seconds,) = layout.seconds.unpack(value)
    return int(seconds) * 1_000_000_000
