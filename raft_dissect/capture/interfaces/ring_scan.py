"""Goes through the packets of one block of a ring, many at a time.

Source: `struct tpacket3_hdr`, `struct sockaddr_ll` of linux/if_packet.h; LINKTYPE_LINUX_SLL2 of the pcap link types.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import cast

from raft_dissect import octets
from raft_dissect.columns import PacketColumns

# What stands here under a name of its own is a C constant in the compiled form.
COMPILED = not __file__.endswith(".py")
_LITTLE = sys.byteorder == "little"
_HEADER = struct.Struct("=IIIIIIHH4xIH14xiH").unpack_from
"""Offset of the next packet, seconds, nanoseconds, captured and original length, status, places of the link-layer and
of the network header, VLAN tag and its type; index and hardware type of the device."""
_ADDRESS = struct.Struct("=2sIHBB8s").unpack_from
"""From the protocol on: protocol, index of the device, hardware type, packet type, length of the address, address."""
_COOKED = struct.Struct(">2s2xIHBB8s").pack_into
_TAG_IS_THERE, _TAG_TYPE_IS_THERE = 1 << 4, 1 << 6
_TAG_TYPE = 0x8100
_ETHERNET, _LOOPBACK = 1, 772
"""ARPHRD_ETHER and ARPHRD_LOOPBACK of linux/if_arp.h."""
WITH_ETHERNET = (_ETHERNET, _LOOPBACK)
"""Hardware types of devices whose packets have Ethernet headers."""
LINK_ETHERNET, LINK_RAW, LINK_COOKED = 1, 101, 276
"""The LINKTYPE_ numbers of the packets: Ethernet, raw IP, and packets of any device."""
COOKED_SIZE = 20
"""Bytes of the header that is put before a packet without its own."""
_TAG_SIZE = 4
_PROTOCOL = 50
"""Where behind the start of a packet its protocol stands."""
_ADDRESSES = 12
"""Bytes of an Ethernet header before its tags."""
_SECOND = 1_000_000_000


class RingColumns(PacketColumns):
    """Where a ring keeps the packets of its last block, with the number of the interface of each."""

    __slots__ = ("interfaces",)

    def __init__(self) -> None:
        super().__init__()
        self.interfaces = cast("list[int]", array("q", bytes(self.room * 8)))

    def grow(self) -> None:
        """Make room for twice as many packets."""
        content = memoryview(cast("array[int]", self.interfaces)).tobytes()
        super().grow()
        self.interfaces = cast("list[int]", array("q", content + bytes(len(content))))


class RingScan:
    """Goes through the packets of blocks; `ring` is all of the ring, writable.

    `numbers` gives the interface of a device by its index; packets of other devices are left out. It is None where
    all packets are of interface 0, and get a header of LINKTYPE_LINUX_SLL2.
    """

    __slots__ = ("columns", "left", "link_type", "numbers", "place", "received", "ring", "rows")

    def __init__(self, ring: memoryview, numbers: dict[int, int] | None, received: dict[int, int]) -> None:
        self.ring = ring
        self.numbers = numbers
        self.received = received
        """Packets so far by interface."""
        self.columns = RingColumns()
        self.rows = 0
        """Rows of the columns that are filled."""
        self.place = self.left = 0
        """Where in the ring the next packet begins, and how many there are in its block."""
        self.link_type = 0
        """Of the packets of the last run."""

    def run(self, begin: int) -> None:  # noqa: C901 - calls cost more than all it does
        """Put packets of a block that begins at `begin` into the columns, as long as they have the same link type.

        Tags that the kernel has taken out of Ethernet headers are put back.
        """
        columns, row = self.columns, self.rows
        starts, lengths, originals, times = columns.starts, columns.captured, columns.originals, columns.times
        interfaces = columns.interfaces
        at, left, numbers = self.place, self.left, self.numbers
        view = self.ring
        index_before = -1
        interface, known, counted = 0, numbers is None, row
        link_type = -1
        while left:
            if COMPILED:
                size = _u32(view, at)
                seconds = _u32(view, at + 4)
                nanoseconds = _u32(view, at + 8)
                captured = _u32(view, at + 12)
                original = _u32(view, at + 16)
                status = _u32(view, at + 20)
                link = _u16(view, at + 24)
                network = _u16(view, at + 26)
                tag = _u32(view, at + 32)
                tag_type = _u16(view, at + 36)
                index = _u32(view, at + 52)
                hardware = _u16(view, at + 56)
            else:
                (
                    size, seconds, nanoseconds, captured, original, status,
                    link, network, tag, tag_type, index, hardware,
                ) = _HEADER(view, at)  # fmt: skip
            if numbers is None:
                kind = LINK_COOKED
            elif hardware in (_ETHERNET, _LOOPBACK):
                kind = LINK_ETHERNET
            else:
                kind = LINK_RAW
            if kind != link_type:
                if link_type != -1:
                    break
                link_type = kind
            start = at + link
            more = 0
            if kind == LINK_COOKED:
                more = COOKED_SIZE
                _put_cooked(view, at + _PROTOCOL, start - more)
            elif kind == LINK_RAW:
                more = link - network
            elif status & _TAG_IS_THERE:
                more = _TAG_SIZE
                _put_tag(view, start - more, tag_type if status & _TAG_TYPE_IS_THERE else _TAG_TYPE, tag)
            if index != index_before and numbers is not None:
                self._count(interface, row - counted)
                counted = row
                index_before = index
                known = index in numbers
                interface = numbers[index] if known else 0
            at += size
            left -= 1
            if not known:
                continue
            if row == columns.room:
                columns.grow()
                starts, lengths, originals, times = columns.starts, columns.captured, columns.originals, columns.times
                interfaces = columns.interfaces
            starts[row] = start - more - begin
            lengths[row] = captured + more
            originals[row] = original + more
            times[row] = seconds * _SECOND + nanoseconds
            interfaces[row] = interface
            row += 1
        self._count(interface, row - counted)
        self.place, self.left = at, left
        self.rows = row
        self.link_type = link_type

    def _count(self, interface: int, packets: int) -> None:
        if packets:
            self.received[interface] = self.received.get(interface, 0) + packets


def _u16(view: memoryview, at: int) -> int:
    """Read 16 bits as this machine writes them."""
    return view[at] | view[at + 1] << 8 if _LITTLE else octets.u16be(view, at)


def _u32(view: memoryview, at: int) -> int:
    """Read 32 bits as this machine writes them."""
    return octets.u32le(view, at) if _LITTLE else octets.u32be(view, at)


def _put_tag(view: memoryview, start: int, tag_type: int, tag: int) -> None:
    """Move the addresses of an Ethernet header to `start`, and put a tag behind them."""
    for place in range(start, start + _ADDRESSES):
        view[place] = view[place + _TAG_SIZE]
    place = start + _ADDRESSES
    view[place] = tag_type >> 8 & 0xFF
    view[place + 1] = tag_type & 0xFF
    view[place + 2] = tag >> 8 & 0xFF
    view[place + 3] = tag & 0xFF


def _put_cooked(view: memoryview, address: int, start: int) -> None:
    """Write a header of LINKTYPE_LINUX_SLL2 from the address, its protocol on, that the kernel gives with a packet."""
    if not COMPILED:
        _COOKED(view, start, *_ADDRESS(view, address))
        return
    index, hardware = _u32(view, address + 2), _u16(view, address + 6)
    view[start] = view[address]
    view[start + 1] = view[address + 1]
    view[start + 2] = view[start + 3] = 0
    view[start + 4] = index >> 24 & 0xFF
    view[start + 5] = index >> 16 & 0xFF
    view[start + 6] = index >> 8 & 0xFF
    view[start + 7] = index & 0xFF
    view[start + 8] = hardware >> 8 & 0xFF
    view[start + 9] = hardware & 0xFF
    for place in range(10):  # the packet type, the length of the address, and the address
        view[start + 10 + place] = view[address + 8 + place]
