"""Packets inside IP packets: IP in IP, GRE, VXLAN and Geneve."""

from __future__ import annotations

from raft_dissect.streams.link import ETHERTYPE_IPV4, ETHERTYPE_IPV6, Network, ethernet

_IPV4_IN_IP = 4
_UDP = 17
_IPV6_IN_IP = 41
_GRE = 47
_ETHERNET = 0x6558
"""Transparent Ethernet bridging, as GRE and Geneve call a whole Ethernet frame."""
_VXLAN_PORT = 4789
_GENEVE_PORT = 6081
_UDP_LENGTH = 8
_VXLAN_LENGTH = 8


def inside(protocol: int, data: bytes, offset: int) -> Network | str:
    """The inner network header of what an IP packet carries at `offset`, or in a few words what it is instead."""
    if protocol == _IPV4_IN_IP:
        return offset, ETHERTYPE_IPV4
    if protocol == _IPV6_IN_IP:
        return offset, ETHERTYPE_IPV6
    if protocol == _GRE:
        return _gre(data, offset)
    if protocol == _UDP:
        port = int.from_bytes(data[offset + 2 : offset + 4], "big")
        if port == _VXLAN_PORT:
            return ethernet(data, offset + _UDP_LENGTH + _VXLAN_LENGTH)
        if port == _GENEVE_PORT:
            return _geneve(data, offset + _UDP_LENGTH)
    return f"IP protocol {protocol}"


def _gre(data: bytes, offset: int) -> Network | str:
    """RFC 2784 and 2890: checksum, key and sequence number are there when their bits say so."""
    if len(data) < offset + 4:
        return "cut GRE header"
    flags = data[offset]
    length = 4 + sum(4 for bit in (0x80, 0x20, 0x10) if flags & bit)
    return _of_type(data, offset + length, int.from_bytes(data[offset + 2 : offset + 4], "big"))


def _geneve(data: bytes, offset: int) -> Network | str:
    """RFC 8926: options in units of 4 bytes, then what the protocol type says."""
    if len(data) < offset + 8:
        return "cut Geneve header"
    length = 8 + (data[offset] & 0x3F) * 4
    return _of_type(data, offset + length, int.from_bytes(data[offset + 2 : offset + 4], "big"))


def _of_type(data: bytes, offset: int, ethertype: int) -> Network | str:
    return ethernet(data, offset) if ethertype == _ETHERNET else (offset, ethertype)
