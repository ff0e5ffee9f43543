"""TCP inside labels and tunnels: what Scapy, which knows these headers too, wraps is found unwrapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from raft_dissect.streams.segments import Segment, decode_segment, endpoints_of
from raft_dissect.values import Packet
from tests.captures import packets, run, truth

if TYPE_CHECKING:
    from collections.abc import Callable

ETHERNET = 1
DATA = b"sixteen bytes..."
MAC = "02:00:00:00:00:01"
LINK = Ether(src=MAC, dst=MAC)  # both named, or Scapy would ask the network for them
INNER = {
    "ipv4": IP(src="10.1.0.1", dst="10.1.0.2") / TCP(sport=40000, dport=9001, seq=7, ack=9, flags="PA") / Raw(DATA),
    "ipv6": IPv6(src="fd01::1", dst="fd01::2") / TCP(sport=40000, dport=9001, seq=7, ack=9, flags="PA") / Raw(DATA),
}
UNDERLAY = {
    "ipv4": LINK / IP(src="192.0.2.1", dst="192.0.2.2"),
    "ipv6": LINK / IPv6(src="2001:db8::1", dst="2001:db8::2"),
}
ETHERTYPE = {"ipv4": 0x0800, "ipv6": 0x86DD}
WRAPS: dict[str, Callable[[Any, Any, str], Any]] = {
    "IP in IP": lambda outer, inner, _: outer / inner,
    "GRE": lambda outer, inner, kind: outer / GRE(proto=ETHERTYPE[kind]) / inner,
    "GRE with key, checksum and sequence": lambda outer, inner, kind: (
        outer / GRE(proto=ETHERTYPE[kind], chksum_present=1, key_present=1, seqnum_present=1, key=5) / inner
    ),
    "Ethernet in GRE": lambda outer, inner, _: outer / GRE(proto=0x6558) / LINK / Dot1Q(vlan=3) / inner,
    "VXLAN": lambda outer, inner, _: outer / UDP(dport=4789) / VXLAN(vni=42) / LINK / inner,
    "Geneve": lambda outer, inner, _: (
        outer / UDP(dport=6081) / GENEVE(proto=0x6558, options=GeneveOptions(data=b"abcd")) / LINK / inner
    ),
    "IP in Geneve": lambda outer, inner, kind: outer / UDP(dport=6081) / GENEVE(proto=ETHERTYPE[kind]) / inner,
    "GRE in VXLAN": lambda outer, inner, kind: (
        outer
        / UDP(dport=4789)
        / VXLAN()
        / LINK
        / IP(src="192.0.2.3", dst="192.0.2.4")
        / GRE(proto=ETHERTYPE[kind])
        / inner
    ),
}
LINKS: dict[str, Callable[[Any, str], Any]] = {
    "MPLS": lambda inner, _: LINK / MPLS(label=16, s=0) / MPLS(label=17, s=1) / inner,
    "MPLS in a VLAN": lambda inner, _: LINK / Dot1Q(vlan=2) / MPLS(label=17, s=1) / inner,
    "PPPoE": lambda inner, kind: (
        Ether(src=MAC, dst=MAC, type=0x8864)
        / PPPoE(sessionid=1)
        / PPP(proto={"ipv4": 0x21, "ipv6": 0x57}[kind])
        / inner
    ),
}


def decode(data: bytes) -> object:
    return decode_segment(Packet(data, 0, ETHERNET, len(data), 1))


def assert_is_inner(segment: object, kind: str) -> None:
    assert isinstance(segment, Segment), segment
    source, destination = endpoints_of(segment.key)
    inner = INNER[kind]
    assert (str(source.host), str(destination.host)) == (inner.src, inner.dst)
    assert (source.port, destination.port) == (40000, 9001)
    assert segment[1:6] == (7, 9, 0x18, DATA, len(DATA))


@pytest.mark.parametrize("kind", INNER)
@pytest.mark.parametrize("outer", UNDERLAY)
@pytest.mark.parametrize("wrap", WRAPS.values(), ids=list(WRAPS))
def test_a_tunnel_is_looked_into(wrap: Callable[[Any, Any, str], Any], outer: str, kind: str) -> None:
    assert_is_inner(decode(bytes(wrap(UNDERLAY[outer], INNER[kind], kind))), kind)


@pytest.mark.parametrize("kind", INNER)
@pytest.mark.parametrize("wrap", LINKS.values(), ids=list(LINKS))
def test_labels_and_sessions_are_stepped_over(wrap: Callable[[Any, str], Any], kind: str) -> None:
    assert_is_inner(decode(bytes(wrap(INNER[kind], kind))), kind)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=list(WRAPS))
def test_a_tunnel_that_is_cut_anywhere_says_so(wrap: Callable[[Any, Any, str], Any]) -> None:
    whole = bytes(wrap(UNDERLAY["ipv4"], INNER["ipv4"], "ipv4"))
    for size in range(len(whole) - len(DATA) - 6):
        assert isinstance(decode(whole[:size]), str)


def test_other_udp_is_no_tunnel() -> None:
    assert (
        decode(bytes(LINK / IP(src="192.0.2.3", dst="192.0.2.4") / UDP(dport=53) / Raw(bytes(40)))) == "IP protocol 17"
    )


def test_tunnels_without_end_are_given_up() -> None:
    nested = LINK / IP(src="192.0.2.3", dst="192.0.2.4")
    for _ in range(20):
        nested /= IP(src="192.0.2.3", dst="192.0.2.4")
    assert decode(bytes(nested / TCP())) == "headers nested too deeply"


def test_a_cluster_on_an_overlay_network_is_read_like_any_other() -> None:
    file = "s5-canon-0.18.1.pcap"
    overlay = bytes(UNDERLAY["ipv4"] / UDP(dport=4789) / VXLAN(vni=7))
    wrapped = [
        p._replace(data=_lengthen(overlay, len(p.data)) + p.data, original_length=len(p.data) + 50)
        for p in packets(file)
    ]
    assert run(wrapped).counts == truth("s5-canon-0.18.1")["wire"][file]["messages"]


def _lengthen(overlay: bytes, size: int) -> bytes:
    """The outer headers with an IP length that includes `size` bytes more."""
    return overlay[:16] + (len(overlay) - 14 + size).to_bytes(2, "big") + overlay[18:]
