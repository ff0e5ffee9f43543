"""Link-layer headers: from the first byte of a packet to its network header."""

from __future__ import annotations

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_IPV6 = 0x86DD
_VLAN_TAGS = (0x8100, 0x88A8, 0x9100)
_MPLS = (0x8847, 0x8848)
_PPPOE_SESSION = 0x8864
_PPP_PROTOCOLS = {0x0021: ETHERTYPE_IPV4, 0x0057: ETHERTYPE_IPV6}
_CUT = "cut link header"

LINK_TYPES: dict[int, str] = {
    0: "null",
    1: "ethernet",
    12: "raw",
    14: "raw",
    101: "raw",
    108: "loop",
    113: "linux_sll",
    228: "ipv4",
    229: "ipv6",
    276: "linux_sll2",
}
"""The LINKTYPE_ numbers that are understood; 12 and 14 are what some systems write for raw IP."""

Network = tuple[int, int]
"""Offset of a header, and the ethertype that says what it is."""


def network_layer(link_type: int, data: bytes) -> Network | str:
    """The network header of a packet, or in a few words why it cannot be found."""
    link = LINK_TYPES.get(link_type)
    if link is None:
        return f"link type {link_type}"
    if link == "ethernet":
        return ethernet(data, 0)
    if link == "linux_sll":
        return _after_tags(data, 14)
    if link == "linux_sll2":
        return (20, int.from_bytes(data[:2], "big")) if len(data) >= 20 else _CUT
    return ip_by_version(data, 4 if link in ("null", "loop") else 0)


def ethernet(data: bytes, offset: int) -> Network | str:
    """The network header behind an Ethernet header at `offset`."""
    return _after_tags(data, offset + 12)


def ip_by_version(data: bytes, offset: int) -> Network | str:
    """An IP header at `offset`; the address family of IPv6 differs between systems, its version nibble does not."""
    if len(data) <= offset:
        return _CUT
    version = data[offset] >> 4
    return offset, {4: ETHERTYPE_IPV4, 6: ETHERTYPE_IPV6}.get(version, version)


def below_network(data: bytes, offset: int, ethertype: int) -> Network | str:
    """The network header behind what an ethertype announces at `offset`: MPLS labels (RFC 3032), PPPoE (RFC 2516)."""
    if ethertype in _MPLS:
        return _after_labels(data, offset)
    if ethertype == _PPPOE_SESSION:
        protocol = int.from_bytes(data[offset + 6 : offset + 8], "big")
        inner = _PPP_PROTOCOLS.get(protocol)
        return f"PPP protocol 0x{protocol:04x}" if inner is None else (offset + 8, inner)
    return f"ethertype 0x{ethertype:04x}"


def _after_tags(data: bytes, offset: int) -> Network | str:
    """Step over 802.1Q and 802.1ad tags to the ethertype."""
    while len(data) >= offset + 2:
        ethertype = data[offset] << 8 | data[offset + 1]
        if ethertype not in _VLAN_TAGS:
            return offset + 2, ethertype
        offset += 4
    return _CUT


def _after_labels(data: bytes, offset: int) -> Network | str:
    """Step over MPLS labels; the last one has its bottom-of-stack bit set, and nothing says what follows but itself."""
    while len(data) >= offset + 4:
        bottom = data[offset + 2] & 1
        offset += 4
        if bottom:
            return ip_by_version(data, offset)
    return _CUT
