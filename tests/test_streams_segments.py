"""One packet, one TCP segment: every link type, IPv4 and IPv6, offload, padding, cuts, and what is no TCP."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_dissect.streams.segments import Fragment, Segment, decode_segment, endpoints_of, ports_of, reverse_key
from raft_dissect.values import Endpoint, Packet
from tests import packets
from tests.packets import (
    ACK,
    CLIENT,
    ETHERNET,
    LINKS,
    NULL,
    PSH,
    RAW,
    SERVER,
    SLL2,
    SYN,
    Address,
    ethernet,
    ipv4,
    ipv6,
    tcp,
)

DATA = b"sixteen bytes..."
SIX = (Address("fd77:77::1", 40000), Address("fd77:77::2", 9001))
OPTIONS = bytes.fromhex("0101080a0000000100000002")  # two NOPs and a timestamp


def decode(data: bytes, link: int = ETHERNET, original: int | None = None) -> Segment | Fragment | str:
    return decode_segment(Packet(data, 0, link, len(data) if original is None else original, 1))


def segment_over(source: Address, destination: Address, data: bytes = DATA, options: bytes = b"") -> bytes:
    """An IP packet with a segment of sequence 7 that acknowledges 9."""
    network = ipv6 if ":" in source.host else ipv4
    return network(source.host, destination.host, tcp(source, destination, 7, 9, PSH | ACK, data, options))


def assert_is_it(segment: object, source: Address = CLIENT, destination: Address = SERVER) -> None:
    assert isinstance(segment, Segment)
    assert endpoints_of(segment.key) == (Endpoint(*source), Endpoint(*destination))
    assert ports_of(segment.key) == (source.port, destination.port)
    assert segment[1:6] == (7, 9, PSH | ACK, DATA, len(DATA))


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("ends", [(CLIENT, SERVER), SIX], ids=["ipv4", "ipv6"])
def test_every_link_type_carries_both_versions_of_ip(link: int, ends: tuple[Address, Address]) -> None:
    assert_is_it(decode(LINKS[link](segment_over(*ends)), link), *ends)


@pytest.mark.parametrize("link", [12, 14, 228])
def test_raw_ip_has_several_numbers(link: int) -> None:
    assert_is_it(decode(segment_over(CLIENT, SERVER), link))


@pytest.mark.parametrize("family", ["02000000", "00000002", "18000000", "1c000000", "1e000000", "0000001e"])
def test_the_family_number_of_a_loopback_header_differs_between_systems_and_does_not_matter(family: str) -> None:
    ends = (CLIENT, SERVER) if "02" in family else SIX
    assert_is_it(decode(bytes.fromhex(family) + segment_over(*ends), NULL), *ends)


@pytest.mark.parametrize("tags", ["8100002a", "88a8002a8100002b", "9100002a"])
def test_vlan_tags_are_stepped_over(tags: str) -> None:
    assert_is_it(decode(ethernet(segment_over(CLIENT, SERVER), bytes.fromhex(tags))))


def test_options_of_ip_and_tcp_are_stepped_over() -> None:
    inner = tcp(CLIENT, SERVER, 7, 9, PSH | ACK, DATA, OPTIONS)
    assert_is_it(decode(ethernet(ipv4(CLIENT.host, SERVER.host, inner, options=bytes([1] * 8)))))


def test_extension_headers_of_ipv6_are_stepped_over() -> None:
    inner = tcp(*SIX, 7, 9, PSH | ACK, DATA)
    destination_options = bytes([6, 1]) + bytes(14) + inner
    hop_by_hop = bytes([60, 0]) + bytes(6) + destination_options
    assert_is_it(decode(ethernet(ipv6(SIX[0].host, SIX[1].host, hop_by_hop, protocol=0))), *SIX)


def test_padding_of_a_short_frame_is_no_payload() -> None:
    for data in (b"", b"x"):
        segment = decode(ethernet(segment_over(CLIENT, SERVER, data)) + bytes(6))
        assert isinstance(segment, Segment)
        assert (segment.data, segment.length) == (data, len(data))


@pytest.mark.parametrize("ends", [(CLIENT, SERVER), SIX], ids=["ipv4", "ipv6"])
def test_a_packet_above_64_kb_has_a_length_of_0_and_holds_all_that_is_there(ends: tuple[Address, Address]) -> None:
    segment = decode(ethernet(segment_over(*ends, bytes(70000))))
    assert isinstance(segment, Segment)
    assert segment.length == len(segment.data) == 70000


@pytest.mark.parametrize("ends", [(CLIENT, SERVER), SIX], ids=["ipv4", "ipv6"])
def test_a_packet_cut_anywhere_gives_what_is_there_or_says_what_is_cut(ends: tuple[Address, Address]) -> None:
    frame = ethernet(segment_over(*ends, DATA, OPTIONS))
    payload = len(frame) - len(DATA)
    header = 54 if ends == SIX else 34
    for size in range(len(frame)):
        segment = decode(frame[:size], original=len(frame))
        if size < 14:
            assert segment == "cut link header"
        elif size < header:
            assert segment == "cut IP header"
        elif size < header + 14:
            assert segment == "cut TCP header"
        else:
            assert isinstance(segment, Segment)
            assert (segment.data, segment.length) == (frame[payload:size], len(DATA))


@pytest.mark.parametrize(
    ("frame", "link", "reason"),
    [
        (bytes(12) + b"\x08\x06" + bytes(28), ETHERNET, "ethertype 0x0806"),
        (ethernet(ipv4(CLIENT.host, SERVER.host, bytes(8), protocol=17)), ETHERNET, "IP protocol 17"),
        (ethernet(ipv6(SIX[0].host, SIX[1].host, bytes(8), protocol=58)), ETHERNET, "IP protocol 58"),
        (ethernet(ipv6(SIX[0].host, SIX[1].host, bytes(7), protocol=44)), ETHERNET, "cut IP header"),
        (ethernet(b"\x41" + bytes(39)), ETHERNET, "broken IP header"),
        (ethernet(ipv4(CLIENT.host, SERVER.host, bytes(40))), ETHERNET, "broken TCP header"),
        (b"\x50" + bytes(39), RAW, "ethertype 0x0005"),
        (bytes(10), SLL2, "cut link header"),
        (bytes(60), 105, "link type 105"),
    ],
)
def test_what_is_no_tcp_is_named(frame: bytes, link: int, reason: str) -> None:
    assert decode(frame, link) == reason


def test_a_fragment_of_ipv4_is_what_its_header_says() -> None:
    frame = ethernet(ipv4(CLIENT.host, SERVER.host, bytes(range(40)), fragment=0x2010))
    fragment = decode(frame + bytes(6))  # with padding
    assert isinstance(fragment, Fragment)
    assert fragment.header == frame[14:34]
    assert fragment[2:] == (128, True, bytes(range(40)), 40)
    last = decode(ethernet(ipv4(CLIENT.host, SERVER.host, bytes(8), fragment=0x0001)))
    assert isinstance(last, Fragment)
    assert (last.key, last.offset, last.more) == (fragment.key, 8, False)


def test_a_fragment_of_ipv6_stands_behind_the_headers_of_every_fragment() -> None:
    fragment_header = bytes([6, 0, 0x01, 0x01]) + b"\1\2\3\4"
    hop_by_hop = bytes([44, 0]) + bytes(6)
    packet = ipv6(SIX[0].host, SIX[1].host, hop_by_hop + fragment_header + bytes(range(16)), protocol=0)
    fragment = decode(ethernet(packet)[:-4], original=len(packet) + 14)  # cut by the snaplen
    assert isinstance(fragment, Fragment)
    assert fragment.key == packet[8:40] + b"\1\2\3\4"
    assert fragment.header == packet[:6] + b"\6" + packet[7:40]
    assert fragment[2:] == (256, True, bytes(range(12)), 16)


def test_the_other_direction_has_the_reverse_key() -> None:
    there, back = decode(ethernet(segment_over(*SIX))), decode(ethernet(segment_over(SIX[1], SIX[0])))
    assert isinstance(there, Segment)
    assert isinstance(back, Segment)
    assert reverse_key(there.key) == back.key
    assert reverse_key(back.key) == there.key


def test_flags_and_numbers_are_read_whole() -> None:
    frame = packets.Connection(client_isn=2**32 - 1).syn()
    segment = decode(frame)
    assert isinstance(segment, Segment)
    assert (segment.sequence, segment.flags, segment.length) == (2**32 - 1, SYN, 0)


@given(st.sampled_from([*LINKS, 12, 105]), st.binary(max_size=120), st.integers(0, 2**32))
def test_any_bytes_are_a_segment_or_a_reason(link: int, data: bytes, more: int) -> None:
    segment = decode(data, link, len(data) + more)
    if isinstance(segment, Segment):
        assert 0 <= len(segment.data) <= segment.length


@given(
    st.sampled_from(sorted(LINKS)),
    st.sampled_from([(CLIENT, SERVER), SIX]),
    st.data(),
)
def test_a_changed_packet_is_a_segment_or_a_reason(
    link: int, ends: tuple[Address, Address], data: st.DataObject
) -> None:
    frame = bytearray(LINKS[link](segment_over(*ends, DATA, OPTIONS)))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    segment = decode(bytes(frame), link)
    if isinstance(segment, Segment):
        assert bytes(frame).find(segment.data) >= 0
        assert len(segment.data) <= segment.length
        assert len(segment.key) in (2 * 4 + 4, 2 * 16 + 4)
