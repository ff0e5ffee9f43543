"""From a captured packet to its TCP segment or IP fragment: headers, nothing kept between packets."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.streams.link import ETHERTYPE_IPV4, ETHERTYPE_IPV6, below_network, network_layer
from raft_dissect.streams.tunnels import inside
from raft_dissect.values import Endpoint

if TYPE_CHECKING:
    from raft_dissect.streams.link import Network
    from raft_dissect.values import Packet

_IPV6_EXTENSIONS = (0, 43, 60)
"""Hop-by-hop, routing and destination options: 8 bytes, and 8 more per unit of their length byte."""
_IPV6_FRAGMENT = 44
_IPV4_LENGTH = 4
_TCP = 6
_MAX_NESTING = 8
"""Headers before the TCP header that are stepped over: links, tunnels, labels."""
_TCP_HEAD = struct.Struct(">IIBB")

FIN, SYN, RST, ACK = 1, 2, 4, 16
NO_STAMP = -1
_STAMPED_WORDS = 8
_STAMP_OPTION = b"\x01\x01\x08\x0a"
"""Two bytes of padding, and the option's kind and length (RFC 7323, appendix A)."""


class Segment(NamedTuple):
    """One TCP segment as it was captured."""

    key: bytes
    """Addresses and ports of the direction: source and destination host, then source and destination port."""
    sequence: int
    acknowledgement: int
    flags: int
    """FIN, SYN, RST and ACK bits of the TCP header."""
    data: bytes
    """What was captured of the payload."""
    length: int
    """Bytes of payload on the wire; more than `len(data)` when the snaplen cut the packet."""
    packet: bytes
    """The packet that it is in, for those who must look at the header once more."""
    tcp: int
    """Where in the packet the TCP header begins."""
    identification: int
    """Of the IPv4 packet, which Linux counts up with each packet of a connection; 0 when there is none."""

    @property
    def window(self) -> int | None:
        """As the header says it, before any scaling; None when the snaplen cut it off."""
        field = self.packet[self.tcp + 14 : self.tcp + 16]
        return int.from_bytes(field, "big") if len(field) == 2 else None

    @property
    def stamp(self) -> int:
        """The sender's clock in the timestamps option where it stands alone, as Linux writes it; NO_STAMP otherwise."""
        option = self.packet[self.tcp + 20 : self.tcp + 28]
        alone = self.packet[self.tcp + 12] >> 4 == _STAMPED_WORDS and option[:4] == _STAMP_OPTION
        return int.from_bytes(option[4:], "big") if alone and len(option) == 8 else NO_STAMP


class Fragment(NamedTuple):
    """One fragment of an IP packet as it was captured."""

    key: bytes
    """What all fragments of a packet have in common: hosts, identification and, with IPv4, the protocol."""
    header: bytes
    """The IP header; that of IPv6 without its extension headers, and with the protocol of what is fragmented."""
    offset: int
    """Bytes of the packet's payload before this fragment."""
    more: bool
    """Whether others come after it."""
    data: bytes
    """What was captured of it."""
    length: int
    """Bytes of it on the wire."""


def reverse_key(key: bytes) -> bytes:
    """The key of the other direction."""
    host = (len(key) - 4) // 2
    return key[host : 2 * host] + key[:host] + key[-2:] + key[-4:-2]


def ports_of(key: bytes) -> tuple[int, int]:
    """Source and destination port of a direction."""
    return int.from_bytes(key[-4:-2], "big"), int.from_bytes(key[-2:], "big")


def endpoints_of(key: bytes) -> tuple[Endpoint, Endpoint]:
    """Source and destination of a direction."""
    host = (len(key) - 4) // 2
    source_port, destination_port = ports_of(key)
    return (
        Endpoint(_host_text(key[:host]), source_port),
        Endpoint(_host_text(key[host : 2 * host]), destination_port),
    )


def _host_text(host: bytes) -> str:
    """An address in its usual text form."""
    if len(host) == _IPV4_LENGTH:
        return ".".join(map(str, host))
    import socket  # here because few captures have IPv6, and start-up counts

    return socket.inet_ntop(socket.AF_INET6, host)


def decode_segment(packet: Packet) -> Segment | Fragment | str:
    """The TCP segment of a packet, or the IP fragment that it is, or in a few words why there is none to be read."""
    data, end = packet.data, packet.original_length
    found: Segment | Fragment | Network | str = network_layer(packet.link_type, data)
    for _ in range(_MAX_NESTING):
        if isinstance(found, (str, Segment, Fragment)):
            return found
        offset, ethertype = found
        if ethertype == ETHERTYPE_IPV4:
            found = _ipv4(data, offset, end)
        elif ethertype == ETHERTYPE_IPV6:
            found = _ipv6(data, offset, end)
        else:
            found = below_network(data, offset, ethertype)
    return found if isinstance(found, (str, Segment, Fragment)) else "headers nested too deeply"


def _ipv4(data: bytes, offset: int, original_length: int) -> Segment | Fragment | Network | str:
    if len(data) < offset + 20:
        return "cut IP header"
    header_length = (data[offset] & 15) * 4
    if data[offset] >> 4 != 4 or header_length < 20:
        return "broken IP header"
    if (data[offset + 6] << 8 | data[offset + 7]) & 0x3FFF:
        return _ipv4_fragment(data, offset, header_length)
    if data[offset + 9] != _TCP:
        return inside(data[offset + 9], data, offset + header_length)
    total = data[offset + 2] << 8 | data[offset + 3]
    # Segments that the network card will cut are captured with a length of 0: then all that is left belongs to them.
    end = offset + total if total else original_length
    identification = data[offset + 4] << 8 | data[offset + 5]
    return _tcp(data, offset + header_length, end, data[offset + 12 : offset + 20], identification)


def _ipv4_fragment(data: bytes, offset: int, header_length: int) -> Fragment:
    """RFC 791, section 3.1: the offset counts units of 8 bytes."""
    header = data[offset : offset + header_length]
    flags = header[6] << 8 | header[7]
    start, end = offset + header_length, offset + (header[2] << 8 | header[3])
    key = header[12:20] + header[4:6] + header[9:10]
    return Fragment(key, header, (flags & 0x1FFF) * 8, bool(flags & 0x2000), data[start:end], end - start)


def _ipv6(data: bytes, offset: int, original_length: int) -> Segment | Fragment | Network | str:
    if len(data) < offset + 40:
        return "cut IP header"
    length = data[offset + 4] << 8 | data[offset + 5]
    end = offset + 40 + length if length else original_length
    protocol = data[offset + 6]
    hosts = data[offset + 8 : offset + 40]
    outer = offset
    offset += 40
    while protocol in _IPV6_EXTENSIONS and len(data) >= offset + 2:
        protocol = data[offset]
        offset += (data[offset + 1] + 1) * 8
    if protocol == _IPV6_FRAGMENT:
        return _ipv6_fragment(data, outer, offset, end)
    if protocol != _TCP:
        return inside(protocol, data, offset)
    return _tcp(data, offset, end, hosts, 0)


def _ipv6_fragment(data: bytes, outer: int, offset: int, end: int) -> Fragment | str:
    """RFC 8200, section 4.5; a fragment that is all of its packet is one too (RFC 6946), and complete with itself."""
    start = offset + 8
    if len(data) < start:
        return "cut IP header"
    position = data[offset + 2] << 8 | data[offset + 3]
    hosts = data[outer + 8 : outer + 40]
    key = hosts + data[offset + 4 : start]
    header = data[outer : outer + 6] + data[offset : offset + 1] + data[outer + 7 : outer + 8] + hosts
    return Fragment(key, header, position & 0xFFF8, bool(position & 1), data[start:end], end - start)


def _tcp(data: bytes, offset: int, end: int, hosts: bytes, identification: int) -> Segment | str:
    """The segment at `offset`; `end` is where the IP packet ends on the wire, before any link-layer padding."""
    if len(data) < offset + 14:
        return "cut TCP header"
    sequence, acknowledgement, words, flags = _TCP_HEAD.unpack_from(data, offset + 4)
    start = offset + (words >> 4) * 4
    if start < offset + 20 or start > end:
        return "broken TCP header"
    key = hosts + data[offset : offset + 4]
    payload = data[start:end]
    return Segment(key, sequence, acknowledgement, flags, payload, end - start, data, offset, identification)
