"""Reader of the pcapng format: sections in both byte orders, several interfaces, any time resolution.

Source: draft-ietf-opsawg-pcapng; the obsolete Packet Block is in its appendix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.capture.pcapng_blocks import (
    BODY,
    COUNTED_AS_FRAMES,
    ENHANCED_PACKET,
    INTERFACE,
    KNOWN_BLOCKS,
    LAYOUTS,
    MOST_INTERFACES,
    PACKET,
    SECRETS,
    SECTION,
    SIMPLE_PACKET,
    SMALLEST_BLOCK,
    TLS_KEY_LOG,
    TRAILER_SIZE,
    Layout,
    lengths_agree,
    plausible_length,
    search_rules,
    section_layout,
)
from raft_dissect.capture.pcapng_scan import scan_blocks
from raft_dissect.capture.records import LARGEST_RECORD, RecordReader
from raft_dissect.values import TlsSecrets

if TYPE_CHECKING:
    from raft_dissect.capture.records import Item

_OPTION_END = 0
_OPTION_TSRESOL = 9
_OPTION_TSOFFSET = 14

_LARGEST_TIME = 2**62
"""Nanoseconds either side of the epoch: 146 years, so that a difference of two times has 64 bits too."""


class Interface(NamedTuple):
    """What the packets of one interface share; a time is `ticks * multiplier // divisor + offset_ns`."""

    link_type: int
    snaplen: int
    multiplier: int
    divisor: int
    offset_ns: int


class _DamagedBlockError(Exception):
    """A block that contradicts the format or itself; the message says how."""


class _DamagedBodyError(_DamagedBlockError):
    """A block whose body is damaged; it is known where it ends."""


class _UnknownVersionError(_DamagedBlockError):
    """A section that is written in an unknown way."""


class PcapngReader(RecordReader):
    """Reads a pcapng file, fed in pieces."""

    def __init__(self, file: int = 0) -> None:
        super().__init__(file)
        self._needed = SMALLEST_BLOCK
        # Any will do for the first block: the type of a section header reads alike in both.
        self._layout = LAYOUTS["<"]
        self._in_section = False
        self._interfaces: list[Interface | None] = []
        """Those of the section; None is one whose description is damaged."""

    def _read_records(self, buffer: bytes, position: int, items: list[Item]) -> int:
        end = len(buffer)
        self._needed = SMALLEST_BLOCK
        try:
            while end - position >= SMALLEST_BLOCK:
                position = self._scan(buffer, position)
                if end - position < SMALLEST_BLOCK:
                    break
                block_type, length = self._layout.block.unpack_from(buffer, position)
                if block_type == SECTION:
                    self._layout = _section_layout(buffer, position)
                    block_type, length = self._layout.block.unpack_from(buffer, position)
                elif not self._in_section:
                    raise _DamagedBlockError("there is no section header at the start")
                if not plausible_length(length):
                    raise _DamagedBlockError(_impossible_length(block_type, length))
                stop = position + length
                if stop > end:
                    self._wait(position, block_type, length)
                    break
                if not lengths_agree(buffer, position, stop):
                    raise _DamagedBlockError(_lengths_differ(buffer, position, stop))
                self._read_block(block_type, buffer, position + BODY, stop - TRAILER_SIZE, items)
                if length > self._longest:
                    self._longest = length
                position = stop
        except _DamagedBlockError as damage:
            self._end_block(buffer, items)
            self._leave_block(buffer, position, damage, items)
        self._end_block(buffer, items)
        return position

    def _scan(self, buffer: bytes, position: int) -> int:
        """Take ordinary packets of the link type of those before them; return where they end."""
        before = self._rows
        self._rows, position, longest = scan_blocks(
            self._layout, self._interfaces, self._link_type, self._columns, before, buffer, position
        )
        self.frame += self._rows - before
        self._longest = max(self._longest, longest)
        return position

    def _wait(self, position: int, block_type: int, length: int) -> None:
        """Wait for the rest of the block at `position`; at the file's end look whether it is one."""
        self._needed = length
        if self._at_end and block_type not in KNOWN_BLOCKS and self.offset + position != self._accepted:
            detail = f"a block of the unknown type {block_type:#x} claims {length} bytes"
            rules = search_rules(self._layout, self._interfaces)
            self._search_behind(position, detail, position + 1, rules, is_certain=False)

    def _leave_block(self, buffer: bytes, position: int, damage: _DamagedBlockError, items: list[Item]) -> None:
        """Begin to search behind the damaged block at `position`, if what follows can be understood."""
        if not self._in_section or isinstance(damage, _UnknownVersionError):
            items.append(self._stop("file_damaged", position, str(damage)))
            return
        block_type, length = self._layout.block.unpack_from(buffer, position)
        if block_type == SECTION:
            # What follows is no more of the section before.
            self._interfaces = []
        known_end = isinstance(damage, _DamagedBodyError)
        if block_type == INTERFACE and known_end and len(self._interfaces) < MOST_INTERFACES:
            # So that the interfaces behind it keep their numbers.
            self._interfaces.append(None)
        first = position + (length if known_end else 1)
        self._search_behind(position, str(damage), first, search_rules(self._layout, self._interfaces))

    def _read_block(self, block_type: int, buffer: bytes, start: int, stop: int, items: list[Item]) -> None:
        """Take what the block with the body `buffer[start:stop]` says."""
        if block_type == ENHANCED_PACKET:
            _check_body("an Enhanced Packet Block", stop - start, 20)
            interface, high, low, captured, original = self._layout.enhanced.unpack_from(buffer, start)
            self._packet(interface, high << 32 | low, buffer, start + 20, stop, captured, original, items)
        elif block_type == PACKET:
            _check_body("a Packet Block", stop - start, 20)
            interface, _drops, high, low, captured, original = self._layout.packet.unpack_from(buffer, start)
            self._packet(interface, high << 32 | low, buffer, start + 20, stop, captured, original, items)
        elif block_type == SIMPLE_PACKET:
            self._simple_packet(buffer, start, stop, items)
        elif block_type == SECTION:
            self._open_section(buffer, start, stop)
        elif block_type == INTERFACE:
            self._add_interface(buffer, start, stop)
        elif block_type == SECRETS:
            self._take_secrets(buffer, start, stop, items)
        elif block_type in COUNTED_AS_FRAMES:
            self._end_block(buffer, items)
            self.frame += 1

    def _packet(
        self,
        number: int,
        ticks: int,
        buffer: bytes,
        start: int,
        stop: int,
        captured: int,
        original: int,
        items: list[Item],
    ) -> None:
        link_type, _snaplen, multiplier, divisor, offset_ns = self._interface(number)
        if captured > stop - start:
            raise _DamagedBodyError(
                f"the block of frame {self.frame + 1} claims {captured} captured bytes and has {stop - start}"
            )
        time_ns = ticks * multiplier // divisor + offset_ns
        if not -_LARGEST_TIME <= time_ns < _LARGEST_TIME:
            raise _DamagedBodyError(f"the time of frame {self.frame + 1} is more than 146 years from 1970")
        self._add_packet(link_type, buffer, start, captured, original, time_ns, items)

    def _simple_packet(self, buffer: bytes, start: int, stop: int, items: list[Item]) -> None:
        """Read a packet without a time; it is of the section's first interface and cut at its snaplen."""
        _check_body("a Simple Packet Block", stop - start, 4)
        interface = self._interface(0)
        (original,) = self._layout.length.unpack_from(buffer, start)
        captured = min(original, interface.snaplen or original)
        start += 4
        if captured > stop - start:
            raise _DamagedBodyError(
                f"the block of frame {self.frame + 1} should hold {captured} bytes and has {stop - start}"
            )
        self._add_packet(interface.link_type, buffer, start, captured, original, 0, items)

    def _add_packet(
        self, link_type: int, buffer: bytes, start: int, captured: int, original: int, time_ns: int, items: list[Item]
    ) -> None:
        """Put a packet into the columns; a block holds packets of one link type."""
        if link_type != self._link_type:
            self._end_block(buffer, items)
            self._link_type = link_type
        columns, row = self._columns, self._rows
        if row == columns.room:
            columns.grow()
        columns.starts[row] = start
        columns.captured[row] = captured
        columns.originals[row] = original
        columns.times[row] = time_ns
        self._rows = row + 1
        self.frame += 1

    def _take_secrets(self, buffer: bytes, start: int, stop: int, items: list[Item]) -> None:
        """Pass on a key log of TLS; secrets of other protocols are of no use."""
        if stop - start < self._layout.block.size:
            return  # nothing is lost with it
        kind, length = self._layout.block.unpack_from(buffer, start)
        start += self._layout.block.size
        if kind == TLS_KEY_LOG:
            self._end_block(buffer, items)
            items.append(TlsSecrets(buffer[start : min(start + length, stop)]))

    def _interface(self, number: int) -> Interface:
        if number >= len(self._interfaces):
            raise _DamagedBodyError(
                f"the block of frame {self.frame + 1} names interface {number}; "
                f"its section describes {len(self._interfaces)}"
            )
        interface = self._interfaces[number]
        if interface is None:
            raise _DamagedBodyError(
                f"the block of frame {self.frame + 1} names interface {number}, whose description is damaged"
            )
        return interface

    def _open_section(self, buffer: bytes, start: int, stop: int) -> None:
        _check_body("a Section Header Block", stop - start, 16)
        major, minor, _length = self._layout.section.unpack_from(buffer, start)
        if major != 1:
            raise _UnknownVersionError(f"pcapng version {major}.{minor} is unknown; 1.0 is the usual one")
        self._in_section = True
        self._interfaces = []

    def _add_interface(self, buffer: bytes, start: int, stop: int) -> None:
        _check_body("an Interface Description Block", stop - start, 8)
        if len(self._interfaces) == MOST_INTERFACES:
            raise _DamagedBodyError(f"a section describes more than {MOST_INTERFACES} interfaces")
        link_type, _reserved, snaplen = self._layout.interface.unpack_from(buffer, start)
        options = _options(self._layout, buffer, start + 8, stop)
        multiplier, divisor = _resolution(options.get(_OPTION_TSRESOL, b"\x06"))
        offset_ns = _offset(self._layout, options.get(_OPTION_TSOFFSET, bytes(8)))
        self._interfaces.append(Interface(link_type, snaplen, multiplier, divisor, offset_ns))


def _section_layout(buffer: bytes, position: int) -> Layout:
    layout = section_layout(buffer, position)
    if layout is None:
        mark = buffer[position + BODY : position + BODY + 4]
        raise _DamagedBlockError(f"the section header has no byte-order magic but {mark.hex(' ')}")
    return layout


def _impossible_length(block_type: int, length: int) -> str:
    return (
        f"a block of type {block_type:#x} claims {length} bytes; "
        f"plausible are {SMALLEST_BLOCK} to {LARGEST_RECORD}, in steps of 4"
    )


def _lengths_differ(buffer: bytes, position: int, stop: int) -> str:
    first, second = buffer[position + 4 : position + 8], buffer[stop - 4 : stop]
    return f"a block has the length {first.hex(' ')} at its start and {second.hex(' ')} at its end"


def _check_body(name: str, size: int, smallest: int) -> None:
    if size < smallest:
        raise _DamagedBodyError(f"{name} has a body of {size} bytes; it needs at least {smallest}")


def _options(layout: Layout, buffer: bytes, start: int, stop: int) -> dict[int, bytes]:
    """Return a block's options by code; of a repeated one the last."""
    options: dict[int, bytes] = {}
    while stop - start >= layout.option.size:
        code, length = layout.option.unpack_from(buffer, start)
        if code == _OPTION_END:
            break
        start += layout.option.size
        if length > stop - start:
            raise _DamagedBodyError(f"option {code} of an interface is longer than its block")
        options[code] = buffer[start : start + length]
        start += (length + 3) & ~3
    return options


def _resolution(value: bytes) -> tuple[int, int]:
    """Return the nanoseconds in one tick as a fraction, from an if_tsresol option."""
    if len(value) != 1:
        raise _DamagedBodyError(f"the if_tsresol option of an interface has {len(value)} bytes, not 1")
    exponent = value[0] & 0x7F
    if value[0] & 0x80:
        return 1_000_000_000, 2**exponent
    return (10 ** (9 - exponent), 1) if exponent <= 9 else (1, 10 ** (exponent - 9))


def _offset(layout: Layout, value: bytes) -> int:
    """Return the nanoseconds to add to every time, from an if_tsoffset option."""
    if len(value) != layout.seconds.size:
        raise _DamagedBodyError(f"the if_tsoffset option of an interface has {len(value)} bytes, not 8")
    (seconds,) = layout.seconds.unpack(value)
    return int(seconds) * 1_000_000_000
