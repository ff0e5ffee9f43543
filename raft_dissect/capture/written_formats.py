"""The formats in which packets are written: what stands in a file around its records.

Sources: draft-ietf-opsawg-pcap, with nanoseconds; draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, cast

from raft_dissect.capture.interfaces.kernel_filter import LONGEST_PACKET
from raft_dissect.capture.record_writing import BLOCK_AROUND, RECORD_AROUND, enhanced_packets, pcap_records

if TYPE_CHECKING:
    from raft_dissect.capture.interfaces.live import LiveCapture
    from raft_dissect.capture.interfaces.ring_scan import RingColumns
    from raft_dissect.columns import PacketBlock

_PCAP_HEADER = struct.Struct("<IHHiIII")
_NANOSECONDS_MAGIC = 0xA1B23C4D
_SECTION, _INTERFACE, _STATISTICS = 0x0A0D0D0A, 1, 5
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_UNKNOWN_LENGTH = -1
_END, _COMMENT = 0, 1
_OS, _APPLICATION = 3, 4
_NAME, _RESOLUTION = 2, 9
_RECEIVED, _DROPPED = 4, 5
_NANOSECONDS = b"\x09"


class Format(ABC):
    """How one file is written."""

    around: int
    """Bytes of a record beside its packet."""

    @abstractmethod
    def begin(self) -> bytes:
        """What a file begins with; what was written before belongs to another one."""

    @abstractmethod
    def records(self, block: PacketBlock, row: int, end: int) -> tuple[bytes, int]:
        """Some packets, from a row of their block's columns on, and the row behind them."""

    @abstractmethod
    def end(self, time_ns: int) -> bytes:
        """What a file ends with."""

    def takes(self, link_type: int) -> bool:  # noqa: ARG002 - it depends on the format
        """Whether packets of a link type can be in the file."""
        return True


class Pcap(Format):
    """The classic format, for one link type."""

    around = RECORD_AROUND

    def __init__(self, link_type: int) -> None:
        self._link_type = link_type

    def begin(self) -> bytes:
        """The file header."""
        return _PCAP_HEADER.pack(_NANOSECONDS_MAGIC, 2, 4, 0, 0, LONGEST_PACKET, self._link_type)

    def records(self, block: PacketBlock, row: int, end: int) -> tuple[bytes, int]:
        """Packet records."""
        return pcap_records(cast("RingColumns", block.columns), row, end, block.buffer), end

    def end(self, time_ns: int) -> bytes:  # noqa: ARG002 - of other formats
        """Nothing."""
        return b""

    def takes(self, link_type: int) -> bool:
        """Whether it is the one of the file."""
        return link_type == self._link_type


class Pcapng(Format):
    """The format with interfaces, their names and their statistics."""

    around = BLOCK_AROUND

    def __init__(self, capture: LiveCapture, application: str) -> None:
        self._capture = capture
        self._application = application
        self._interfaces = 0
        self._ids: dict[int, dict[int, int]] = {}
        """Numbers in the file by link type and by the number that packets have."""

    def begin(self) -> bytes:
        """The section header."""
        self._interfaces = 0
        self._ids.clear()
        options = _option(_OS, sys.platform.encode()) + _option(_APPLICATION, self._application.encode())
        return _block(_SECTION, struct.pack("<IHHq", _BYTE_ORDER_MAGIC, 1, 0, _UNKNOWN_LENGTH), options)

    def records(self, block: PacketBlock, row: int, end: int) -> tuple[bytes, int]:
        """Enhanced packet blocks, and before the first one of an interface its description."""
        columns = cast("RingColumns", block.columns)
        ids = self._ids.setdefault(block.link_type, {})
        description = b""
        number = columns.interfaces[row]
        if number not in ids:
            ids[number] = self._interfaces
            self._interfaces += 1
            description = self._description(self._capture.names[number], block.link_type)
        packets, behind = enhanced_packets(columns, row, end, block.buffer, ids)
        return description + packets, behind

    def end(self, time_ns: int) -> bytes:
        """The statistics of each interface that is in the file, since the capture was begun."""
        return b"".join(
            self._statistics(ids[each.number], time_ns, each.received, each.dropped)
            for ids in self._ids.values()
            for each in self._capture.interface_statistics()
            if each.number in ids
        )

    def _description(self, name: str, link_type: int) -> bytes:
        options = _option(_NAME, name.encode()) + _option(_RESOLUTION, _NANOSECONDS)
        return _block(_INTERFACE, struct.pack("<HHI", link_type, 0, LONGEST_PACKET), options)

    def _statistics(self, number: int, time_ns: int, read: int, dropped: int | None) -> bytes:
        if dropped is None:
            total = sum(each.dropped for each in self._capture.statistics())
            comment = f"{total} packets of all interfaces were dropped; it is not known of which"
            options = _option(_COMMENT, comment.encode())
        else:
            options = _option(_RECEIVED, struct.pack("<Q", read + dropped)) + _option(
                _DROPPED, struct.pack("<Q", dropped)
            )
        return _block(_STATISTICS, struct.pack("<III", number, time_ns >> 32, time_ns & 0xFFFFFFFF), options)


def _block(kind: int, body: bytes, options: bytes) -> bytes:
    body += options + _option(_END, b"")
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
