"""One packet socket, and the ring into which the kernel puts its packets.

Source: the kernel's Documentation/networking/packet_mmap.rst and linux/if_packet.h, for TPACKET_V3.
"""

from __future__ import annotations

import errno
import mmap
import socket
import struct
from array import array
from typing import NamedTuple

from raft_dissect.capture.errors import CaptureError, UnavailableError
from raft_dissect.capture.interfaces.kernel_filter import empty_filter
from raft_dissect.capture.interfaces.permission import not_permitted
from raft_dissect.capture.interfaces.ring_scan import RingScan
from raft_dissect.columns import PacketBlock

BLOCK_SIZE = 256 * 1024
"""Bytes of a block, which holds the longest packet; a small one, since one packet may be all that a block holds."""
FEWEST_BLOCKS = 2
BLOCK_MILLISECONDS = 100
"""The kernel gives a block that has packets and is not full after this time, twice at most."""

_SOL_PACKET = 263
_ADD_MEMBERSHIP, _DROP_MEMBERSHIP = 1, 2
_RX_RING, _STATISTICS, _VERSION, _RESERVE = 5, 6, 10, 12
_SO_ATTACH_FILTER = 26
_PROMISCUOUS = 1
_TPACKET_V3 = 2
_ALL_PROTOCOLS = 3
_OURS = 1
"""TP_STATUS_USER: the kernel has given us the block."""
_LOSING = 4
"""TP_STATUS_LOSING: it has dropped packets since it was asked last how many."""
_FRAME_SIZE = 2048
_ROOM = 32
"""Bytes that the kernel leaves before each packet: enough for a VLAN tag and for a header of LINKTYPE_LINUX_SLL2."""
_REQUEST = struct.Struct("=7I")
_BLOCK = struct.Struct("=8xIIII")
"""Status, number of packets, offset of the first one, and length."""
_STATUS = struct.Struct("=I")
_STATUS_AT = 8
_STATISTICS_FIELDS = struct.Struct("=III")
_TOO_LARGE = 1 << 32
_LARGE_BLOCK = 16 * 1024 * 1024
_HELD_PARTS = 4
"""Of how many parts of the ring one is kept back from a kernel that drops packets."""


class Counts(NamedTuple):
    """Packets that passed a filter, by what became of them."""

    taken: int
    """Those that the kernel has put into the ring so far."""
    dropped: int
    """Those for which there was no room."""


class Ring:
    """A packet socket with its ring, into which the kernel puts nothing yet: it begins with a filter, and `bind`."""

    def __init__(self, name: str, size: int, *, cooked: bool = False, all_devices: bool = False) -> None:
        """Make a ring of about `size` bytes; `cooked` is for packets without their link-layer headers.

        With `all_devices` it need not be bound. `name` is for messages. Raises UnavailableError without the permission,
        CaptureError when there is no memory.
        """
        self._name = name
        self._blocks = max(size // BLOCK_SIZE, FEWEST_BLOCKS)
        self._next = 0
        self._held = 0
        """Blocks that were taken and not given back."""
        self._losing = 0
        """Blocks to take until a kernel that dropped packets is trusted again."""
        self.passed = 0
        """Packets of the blocks that were taken."""
        self._taken = self._dropped = 0
        self._socket = _packet_socket(name, socket.SOCK_DGRAM if cooked else socket.SOCK_RAW, all_devices)
        try:
            self.attach(empty_filter())
            self._memory = self._open_ring()
            # Packets that came before the filter are forgotten with this, as the ring has forgotten them.
            self._socket.getsockopt(_SOL_PACKET, _STATISTICS, _STATISTICS_FIELDS.size)
        except BaseException:
            self._socket.close()
            raise
        self._view = memoryview(self._memory)
        # See Source.open: so that the blocks, which are copied, need no new pages.
        bytes(_LARGE_BLOCK)

    def fileno(self) -> int:
        """The number of the socket, which is readable when there is a block."""
        return self._socket.fileno()

    def scan(self, numbers: dict[int, int] | None, received: dict[int, int]) -> RingScan:
        """What goes through the packets of the ring; `numbers` and `received` are those of `RingScan`."""
        return RingScan(self._view, numbers, received)

    def bind(self, device: str) -> None:
        """Take the packets of one device; raises CaptureError."""
        try:
            self._socket.bind((device, _ALL_PROTOCOLS))
        except OSError as error:
            raise CaptureError(self._name, f"it cannot be captured on: {error.strerror}") from error

    def attach(self, program: bytes) -> None:
        """Let the kernel take what this program takes, in place of the one before."""
        code = array("B", program)
        address, size = code.buffer_info()
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", size // 8, address))

    def see_all(self, index: int) -> bool:
        """Let a device take packets that are not for this machine, as bridges need it; say whether it does."""
        request = struct.pack("iHH8x", index, _PROMISCUOUS, 0)
        try:
            self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, request)
        except OSError:
            return False
        return True

    def counts(self) -> Counts:
        """What the kernel has counted since the ring was opened."""
        fields = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, _STATISTICS_FIELDS.size)
        packets, dropped, _freezes = _STATISTICS_FIELDS.unpack(fields)
        self._taken += packets - dropped
        self._dropped += dropped
        return Counts(self._taken, self._dropped)

    def error(self) -> int:
        """The error that waits at the socket, which it forgets; 0 if there is none."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    @property
    def is_ready(self) -> bool:
        """Whether there is a block to take."""
        return self._is_ready(self._next)

    @property
    def is_pressed(self) -> bool:
        """Whether so much waits in the ring that it should be read first of all."""
        return self._is_ready((self._next + self._blocks // 4) % self._blocks)

    def take(self, scan: RingScan, file: int) -> list[PacketBlock]:
        """The packets of the next block, which is ready, in blocks of one link type each.

        They are valid until the next call. Their frames have no numbers yet.

        A block that is given back to a kernel that drops packets is filled at once, and then it drops again: there
        would be a hole behind each block. So many are given back together then.
        """
        begin = self._next * BLOCK_SIZE
        status, packets, first, length = _BLOCK.unpack_from(self._view, begin)
        scan.place, scan.left, scan.rows = begin + first, packets, 0
        runs = []
        while scan.left:
            before = scan.rows
            scan.run(begin)
            runs.append((before, scan.rows, scan.link_type))
        buffer = bytes(self._view[begin : begin + length])
        # Blocks that are filled one after the other do not say so, and what follows them does: see the whole ring.
        self._losing = self._blocks if status & _LOSING else max(self._losing - 1, 0)
        is_short = self._losing or self._is_full
        self._next = (self._next + 1) % self._blocks
        self._held += 1
        if not is_short or self._held >= self._blocks // _HELD_PARTS or not self.is_ready:
            self._give_back()
        self.passed += packets
        blocks = [
            PacketBlock(scan.columns, start, end, buffer, link, 0, file) for start, end, link in runs if end > start
        ]
        for block in blocks:
            block.losing = self._losing > 0
        return blocks

    def close(self) -> None:
        """Give the ring back; what `scan` made must be gone."""
        self._view.release()
        self._memory.close()
        self._socket.close()

    @property
    def _is_full(self) -> bool:
        """Whether the kernel has no block that it can fill."""
        return self._is_ready((self._next - self._held - 1) % self._blocks)

    def _give_back(self) -> None:
        """Let the kernel fill the blocks that were taken."""
        for number in range(self._next - self._held, self._next):
            _STATUS.pack_into(self._view, number % self._blocks * BLOCK_SIZE + _STATUS_AT, 0)
        self._held = 0

    def _is_ready(self, block: int) -> bool:
        return bool(_STATUS.unpack_from(self._view, block * BLOCK_SIZE + _STATUS_AT)[0] & _OURS)

    def _open_ring(self) -> mmap.mmap:
        size = self._blocks * BLOCK_SIZE
        if size >= _TOO_LARGE:
            raise CaptureError(self._name, f"a ring of {size >> 20} MiB is too large; it must be less than 4 GiB")
        request = _REQUEST.pack(BLOCK_SIZE, self._blocks, _FRAME_SIZE, size // _FRAME_SIZE, BLOCK_MILLISECONDS, 0, 0)
        try:
            self._socket.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
            self._socket.setsockopt(_SOL_PACKET, _RESERVE, _ROOM)
            self._socket.setsockopt(_SOL_PACKET, _RX_RING, request)
            return mmap.mmap(self._socket.fileno(), size)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                problem = f"there is no memory for a ring of {size >> 20} MiB; ask for a smaller one"
                raise CaptureError(self._name, problem) from error
            problem = f"the kernel has no ring for packets: {error.strerror}"
            raise UnavailableError(self._name, problem) from error


def _packet_socket(name: str, kind: int, all_devices: bool) -> socket.socket:
    """A socket that takes all packets at once, or with the protocol 0 none before it is bound."""
    protocol = socket.htons(_ALL_PROTOCOLS) if all_devices else 0
    try:
        return socket.socket(socket.AF_PACKET, kind | socket.SOCK_CLOEXEC, protocol)
    except PermissionError as error:
        raise not_permitted(name) from error
    except OSError as error:
        raise UnavailableError(name, f"this kernel has no packet sockets: {error.strerror}") from error
