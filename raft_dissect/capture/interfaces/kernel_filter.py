"""The program by which the kernel passes TCP packets alone to a capture: classic BPF, assembled from readable steps.

It only has to leave out what is certainly of no use: fragments and what else it cannot judge are left to the stream
engine, as long as TCP may be in it.
Sources: the kernel's Documentation/networking/filter.rst and linux/filter.h; Ethernet with tags of IEEE 802.1Q, IPv4
(RFC 791), IPv6 (RFC 8200), TCP (RFC 9293).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

LONGEST_PACKET = 262144
"""Bytes that are captured of a packet: offload makes none that is longer, and Wireshark reads no more."""

MOST_PORTS = 50
"""With more of them the program takes all of TCP, since a conditional jump reaches 255 steps."""

MOST_INTERFACES = 2000
"""The kernel takes programs of up to 4096 steps."""

_INSTRUCTION = struct.Struct("=HBBI")
_FARTHEST_JUMP = 255

# Codes of linux/bpf_common.h. A is the accumulator, X the index register.
_A_IS = 0x00
_A_WORD_AT = 0x20
_A_HALF_AT = 0x28
_A_HALF_BEHIND_X = 0x48
_A_BYTE_BEHIND_X = 0x50
_A_AND = 0x54
_A_SHIFTED_LEFT = 0x64
_A_PLUS_X = 0x0C
_X_IS = 0x01
_X_IS_A = 0x07
_GO = 0x05
_IF_EQUAL = 0x15
_IF_AT_LEAST = 0x35
_IF_ANY_BIT = 0x45
_TAKE = 0x06

# Where what the kernel knows of a packet can be loaded from: linux/filter.h.
_PROTOCOL = 0xFFFFF000
_PACKET_TYPE = 0xFFFFF004
_INTERFACE = 0xFFFFF008
_HARDWARE = 0xFFFFF01C
_NETWORK_HEADER = 0xFFF00000

_OUTGOING = 4
"""PACKET_OUTGOING of linux/if_packet.h."""
_ETHERNET, _LOOPBACK = 1, 772
"""ARPHRD_ETHER and ARPHRD_LOOPBACK of linux/if_arp.h; loopback has Ethernet headers, too."""

_IPV4, _IPV6 = 0x0800, 0x86DD
_TAGS = (0x8100, 0x88A8, 0x9100)
_MOST_TAGS = 3
_ETHERTYPE, _TAG = 12, 4
"""Where an Ethernet header has its ethertype, and bytes of a tag before it."""
_TCP, _FRAGMENT = 6, 44
_EXTENSIONS = (0, 43, 51, 60)
"""Headers of IPv6 that may stand before TCP: hop-by-hop options, routing, authentication, destination options."""
_IPV6_HEADER = 40
_LEAF = 8


class Step(NamedTuple):
    """One instruction. The jumps are to labels, without one to the next step."""

    code: int
    value: int = 0
    if_true: str | None = None
    if_false: str | None = None


Line = Step | str
"""A step, or the label of the step that comes next."""

_NOTHING = Step(_TAKE, 0)
_ALL = Step(_TAKE, LONGEST_PACKET)


def device_filter(ports: Collection[int] | None = None, interfaces: Collection[int] | None = None) -> bytes:
    """The program for packets as devices have them, each with its link-layer header.

    It takes TCP over IPv4 and IPv6 in up to three VLAN tags, from or to one of `ports`, on the devices with the indexes
    `interfaces`; None takes all. Fragments and packets with extension headers of IPv6 are taken whatever their ports.
    Of the two copies of each packet on a loopback device the one that comes in is taken, as libpcap does.
    """
    return assemble(
        [
            *([] if interfaces is None else [Step(_A_WORD_AT, _INTERFACE), *_among(sorted(interfaces))]),
            "wanted",
            Step(_A_WORD_AT, _HARDWARE),
            Step(_IF_EQUAL, _ETHERNET, if_true="ethernet"),
            Step(_IF_EQUAL, _LOOPBACK, if_true="loopback"),
            # Whatever the link-layer header is, the kernel knows where it ends.
            Step(_X_IS, _NETWORK_HEADER),
            Step(_A_BYTE_BEHIND_X, 0),
            Step(_A_AND, 0xF0),
            Step(_IF_EQUAL, 0x40, if_true="ipv4"),
            Step(_IF_EQUAL, 0x60, if_true="ipv6"),
            _NOTHING,
            "loopback",
            Step(_A_WORD_AT, _PACKET_TYPE),
            Step(_IF_EQUAL, _OUTGOING, if_true="nothing"),
            "ethernet",
            *_ethernet(),
            *_network(ports),
        ]
    )


def cooked_filter(ports: Collection[int] | None = None) -> bytes:
    """The same for packets that come without their link-layer headers, from all devices.

    What is in a VLAN tag that the kernel has not taken away is taken whatever it is.
    """
    return assemble(
        [
            Step(_A_WORD_AT, _HARDWARE),
            Step(_IF_EQUAL, _LOOPBACK, if_false="network"),
            Step(_A_WORD_AT, _PACKET_TYPE),
            Step(_IF_EQUAL, _OUTGOING, if_true="nothing"),
            "network",
            Step(_X_IS, 0),
            Step(_A_WORD_AT, _PROTOCOL),
            Step(_IF_EQUAL, _IPV4, if_true="ipv4"),
            Step(_IF_EQUAL, _IPV6, if_true="ipv6"),
            *(Step(_IF_EQUAL, tag, if_true="all") for tag in _TAGS),
            _NOTHING,
            *_network(ports),
        ]
    )


def empty_filter() -> bytes:
    """The program that takes nothing."""
    return assemble([_NOTHING])


def assemble(lines: Sequence[Line]) -> bytes:
    """The machine code of some steps, as an array of `struct sock_filter`.

    Raises ValueError for a label that is missing or too far away, or that stands before its jump.
    """
    steps = [line for line in lines if isinstance(line, Step)]
    places: dict[str, int] = {}
    place = 0
    for line in lines:
        if isinstance(line, str):
            places[line] = place
        else:
            place += 1
    return b"".join(_machine_code(step, number + 1, places) for number, step in enumerate(steps))


def _machine_code(step: Step, following: int, places: dict[str, int]) -> bytes:
    if step.code == _GO:
        return _INSTRUCTION.pack(_GO, 0, 0, _distance(step.if_true, following, places))
    jumps = [_distance(label, following, places) for label in (step.if_true, step.if_false)]
    if max(jumps) > _FARTHEST_JUMP:
        raise ValueError(f"a jump over {max(jumps)} steps, to {step.if_true} or {step.if_false}")
    return _INSTRUCTION.pack(step.code, *jumps, step.value)


def _distance(label: str | None, following: int, places: dict[str, int]) -> int:
    """Steps that a jump passes over."""
    if label is None:
        return 0
    if places.get(label, -1) < following:
        raise ValueError(f"no label {label!r} behind step {following}")
    return places[label] - following


def _among(indexes: Sequence[int]) -> list[Line]:
    """Go to the label `wanted` if A is one of some numbers in ascending order, which are looked up as in a tree."""
    if len(indexes) <= _LEAF:
        found = f"found {indexes[:1]}"
        return [
            *(Step(_IF_EQUAL, index, if_true=found) for index in indexes),
            _NOTHING,
            found,
            Step(_GO, if_true="wanted"),
        ]
    middle = len(indexes) // 2
    upper = f"from {indexes[middle]} on"
    return [
        Step(_IF_AT_LEAST, indexes[middle], if_false=f"below {indexes[middle]}"),
        Step(_GO, if_true=upper),
        f"below {indexes[middle]}",
        *_among(indexes[:middle]),
        upper,
        *_among(indexes[middle:]),
    ]


def _ethernet() -> list[Line]:
    """Find the network header behind an Ethernet header."""
    lines: list[Line] = []
    for tags in range(_MOST_TAGS + 1):
        at = _ETHERTYPE + tags * _TAG
        ipv4, ipv6, deeper = f"ipv4 in {tags} tags", f"ipv6 in {tags} tags", f"in {tags + 1} tags"
        lines += [
            Step(_A_HALF_AT, at),
            Step(_IF_EQUAL, _IPV4, if_true=ipv4),
            Step(_IF_EQUAL, _IPV6, if_true=ipv6),
            *(Step(_IF_EQUAL, tag, if_true=deeper) for tag in _TAGS if tags < _MOST_TAGS),
            _NOTHING,
            ipv4,
            Step(_X_IS, at + 2),
            Step(_GO, if_true="ipv4"),
            ipv6,
            Step(_X_IS, at + 2),
            Step(_GO, if_true="ipv6"),
            deeper,
        ]
    return lines


def _network(ports: Collection[int] | None) -> list[Line]:
    """Judge the packet whose IP header X points at."""
    return [
        "ipv4",
        Step(_A_BYTE_BEHIND_X, 9),
        Step(_IF_EQUAL, _TCP, if_false="nothing"),
        Step(_A_HALF_BEHIND_X, 6),
        Step(_IF_ANY_BIT, 0x1FFF, if_true="all"),
        Step(_A_BYTE_BEHIND_X, 0),
        Step(_A_AND, 0x0F),
        Step(_A_SHIFTED_LEFT, 2),
        Step(_GO, if_true="tcp"),
        "ipv6",
        Step(_A_BYTE_BEHIND_X, 6),
        *(Step(_IF_EQUAL, extension, if_true="all") for extension in _EXTENSIONS),
        Step(_IF_EQUAL, _TCP, if_true="tcp behind ipv6"),
        Step(_IF_EQUAL, _FRAGMENT, if_false="nothing"),
        Step(_A_BYTE_BEHIND_X, _IPV6_HEADER),
        Step(_IF_EQUAL, _TCP, if_true="all", if_false="nothing"),
        "tcp behind ipv6",
        Step(_A_IS, _IPV6_HEADER),
        "tcp",
        Step(_A_PLUS_X),
        Step(_X_IS_A),
        *_ports(ports),
        "nothing",
        _NOTHING,
        "all",
        _ALL,
    ]


def _ports(ports: Collection[int] | None) -> list[Line]:
    """Judge the packet whose TCP header X points at."""
    if ports is None or len(ports) > MOST_PORTS:
        return [Step(_GO, if_true="all")]
    equal = [Step(_IF_EQUAL, port, if_true="all") for port in sorted(ports)]
    return [Step(_A_HALF_BEHIND_X, 0), *equal, Step(_A_HALF_BEHIND_X, 2), *equal]
