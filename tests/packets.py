"""Packets made by hand, as the RFCs say: link, IP and TCP headers, and one TCP connection cut into segments."""

from __future__ import annotations

import socket
import struct
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.values import Packet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ETHERNET, NULL, RAW, LOOP, SLL, SLL2 = 1, 0, 101, 108, 113, 276
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
"""Nanoseconds since the epoch: when captures made here begin."""


class Address(NamedTuple):
    host: str
    port: int


CLIENT = Address("10.0.0.1", 40000)
SERVER = Address("10.0.0.2", 9001)


def tcp(
    source: Address,
    destination: Address,
    sequence: int,
    acknowledgement: int,
    flags: int,
    data: bytes,
    options: bytes = b"",
) -> bytes:
    """A TCP segment (RFC 9293, section 3.1) with a checksum of 0, as segmentation offload leaves it."""
    words = (20 + len(options)) // 4
    head = struct.pack(
        ">HHIIBBHHH",
        source.port,
        destination.port,
        sequence % 2**32,
        acknowledgement % 2**32,
        words << 4,
        flags,
        65535,
        0,
        0,
    )
    return head + options + data


def ipv4(
    source: str, destination: str, payload: bytes, protocol: int = 6, options: bytes = b"", fragment: int = 0
) -> bytes:
    """An IPv4 packet (RFC 791, section 3.1)."""
    length = 20 + len(options) + len(payload)
    total = length if length < 65536 else 0
    head = struct.pack(">BBHHHBBH", 0x45 + len(options) // 4, 0, total, 0, fragment, 64, protocol, 0)
    return head + socket.inet_aton(source) + socket.inet_aton(destination) + options + payload


def ipv6(source: str, destination: str, payload: bytes, protocol: int = 6) -> bytes:
    """An IPv6 packet (RFC 8200, section 3)."""
    length = len(payload) if len(payload) < 65536 else 0
    head = struct.pack(">IHBB", 6 << 28, length, protocol, 64)
    hosts = (socket.inet_pton(socket.AF_INET6, host) for host in (source, destination))
    return head + b"".join(hosts) + payload


def ethertype_of(network: bytes) -> int:
    return 0x0800 if network[0] >> 4 == 4 else 0x86DD


def ethernet(network: bytes, tags: bytes = b"") -> bytes:
    """An Ethernet frame, with 802.1Q tags of 4 bytes each before its ethertype."""
    return bytes.fromhex("020000000002 020000000001") + tags + ethertype_of(network).to_bytes(2, "big") + network


def linux_sll(network: bytes) -> bytes:
    """A Linux cooked capture packet (LINKTYPE_LINUX_SLL)."""
    return struct.pack(">HHH8sH", 0, 1, 6, bytes(8), ethertype_of(network)) + network


def linux_sll2(network: bytes) -> bytes:
    """A Linux cooked capture packet, version 2 (LINKTYPE_LINUX_SLL2)."""
    return struct.pack(">HHIHBB8s", ethertype_of(network), 0, 2, 1, 0, 6, bytes(8)) + network


def null(network: bytes) -> bytes:
    """A BSD loopback packet: the address family in the byte order of a little-endian host (LINKTYPE_NULL)."""
    return struct.pack("<I", 2 if network[0] >> 4 == 4 else 30) + network


def loop(network: bytes) -> bytes:
    """An OpenBSD loopback packet: the address family in network byte order (LINKTYPE_LOOP)."""
    return struct.pack(">I", 2 if network[0] >> 4 == 4 else 24) + network


def raw(network: bytes) -> bytes:
    """An IP packet without a link layer (LINKTYPE_RAW)."""
    return network


LINKS: dict[int, Callable[[bytes], bytes]] = {
    ETHERNET: ethernet,
    NULL: null,
    RAW: raw,
    LOOP: loop,
    SLL: linux_sll,
    SLL2: linux_sll2,
}


def pieces(data: bytes, sizes: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Cut `data` into pieces of these sizes, over and over; each with its offset."""
    offset = 0
    for size in cycle(sizes):
        if offset >= len(data):
            return
        yield offset, data[offset : offset + size]
        offset += size


class Connection:
    """One TCP connection; its methods give packets as bytes, from the link layer on, in no order but the caller's.

    Offsets count the bytes of a stream from 0, the byte after the SYN.
    """

    def __init__(
        self,
        client: Address = CLIENT,
        server: Address = SERVER,
        *,
        client_isn: int = 1_000_000,
        server_isn: int = 2_000_000,
        link: int = ETHERNET,
    ) -> None:
        """`client_isn` and `server_isn` are the sequence numbers of the two SYNs."""
        self.client, self.server, self.link = client, server, link
        self.client_isn, self.server_isn = client_isn, server_isn

    def syn(self, data: bytes = b"") -> bytes:
        return self._packet(self.client_isn, 0, SYN, data)

    def syn_ack(self) -> bytes:
        return self._reply(self.server_isn, self.client_isn + 1, SYN | ACK, b"")

    def opening(self) -> list[bytes]:
        """The three packets of TCP's handshake."""
        return [self.syn(), self.syn_ack(), self.data(0, b"")]

    def data(self, offset: int, data: bytes, flags: int = ACK) -> bytes:
        """Bytes of the client's stream."""
        return self._packet(self.client_isn + 1 + offset, self.server_isn + 1, flags, data)

    def reply(self, offset: int, data: bytes, flags: int = ACK, received: int = 0) -> bytes:
        """Bytes of the server's stream, which acknowledge `received` bytes of the client's."""
        return self._reply(self.server_isn + 1 + offset, self.client_isn + 1 + received, flags, data)

    def ack(self, received: int) -> bytes:
        """The server acknowledges `received` bytes of the client's stream."""
        return self.reply(0, b"", received=received)

    def fin(self, offset: int) -> bytes:
        return self.data(offset, b"", FIN | ACK)

    def rst(self, offset: int) -> bytes:
        return self.data(offset, b"", RST)

    def segments(self, data: bytes, sizes: Iterable[int] = (1448,), start: int = 0) -> list[bytes]:
        """The client's bytes from offset `start` on, cut into segments of these sizes, over and over."""
        return [self.data(start + offset, piece) for offset, piece in pieces(data, sizes)]

    def whole(self, data: bytes, sizes: Iterable[int] = (1448,)) -> list[bytes]:
        """The client opens the connection, sends `data`, and closes it."""
        return [*self.opening(), *self.segments(data, sizes), self.ack(len(data)), self.fin(len(data))]

    def _packet(self, sequence: int, acknowledgement: int, flags: int, data: bytes) -> bytes:
        return self._wrap(
            self.client, self.server, tcp(self.client, self.server, sequence, acknowledgement, flags, data)
        )

    def _reply(self, sequence: int, acknowledgement: int, flags: int, data: bytes) -> bytes:
        return self._wrap(
            self.server, self.client, tcp(self.server, self.client, sequence, acknowledgement, flags, data)
        )

    def _wrap(self, source: Address, destination: Address, segment: bytes) -> bytes:
        network = ipv6 if ":" in source.host else ipv4
        return LINKS[self.link](network(source.host, destination.host, segment))


def capture(
    frames: Iterable[bytes],
    *,
    step_ns: int = MILLISECOND,
    link: int = ETHERNET,
    snaplen: int = 262144,
    start_ns: int = START,
) -> list[Packet]:
    """What a capture of these frames holds, one every `step_ns`: their first `snaplen` bytes, numbered from 1."""
    return [
        Packet(frame[:snaplen], start_ns + number * step_ns, link, len(frame), number)
        for number, frame in enumerate(frames, 1)
    ]
