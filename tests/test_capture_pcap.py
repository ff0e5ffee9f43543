"""Reading classic pcap files: the packets that were written, in every variant of the format."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_dissect.capture import PcapReader
from raft_dissect.values import CaptureProblem, Packet
from tests.capture_files import (
    CHUNK_SIZES,
    ETHERNET,
    FIRST,
    LINUX_SLL,
    PCAP_KINDS,
    SECOND,
    PcapKind,
    check_every_cut,
    chunks,
    fed,
    one_by_one,
    only_problem,
    packet,
    packet_lists,
    pcap_header,
    pcap_pieces,
    pcap_record,
)


@pytest.mark.parametrize("kind", PCAP_KINDS.values(), ids=list(PCAP_KINDS))
@given(data=st.data(), sizes=CHUNK_SIZES)
def test_pcap_gives_back_the_packets_that_were_written(kind: PcapKind, data: st.DataObject, sizes: list[int]) -> None:
    packets = data.draw(packet_lists(kind.unit_ns))
    file = b"".join(pcap_pieces(packets, kind))
    assert fed(PcapReader(), list(chunks(file, sizes))) == packets


@pytest.mark.parametrize("kind", PCAP_KINDS.values(), ids=list(PCAP_KINDS))
@given(data=st.data())
def test_cut_pcap_gives_the_packets_before_the_cut_and_one_problem(kind: PcapKind, data: st.DataObject) -> None:
    packets = data.draw(packet_lists(kind.unit_ns))
    check_every_cut(PcapReader, pcap_pieces(packets, kind), [0, *[1] * len(packets)], packets)


def test_a_pcap_written_by_hand() -> None:
    # 0x6553F100 is 1 700 000 000; 0x7A120 microseconds are half a second; 3 of 1500 bytes were captured.
    file = bytes.fromhex(
        "d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000"
        "00f15365 20a10700 03000000 dc050000 aabbcc"
    )  # fmt: skip
    assert fed(PcapReader(), [file]) == [Packet(b"\xaa\xbb\xcc", FIRST + SECOND // 2, ETHERNET, 1500, 1)]


def test_link_type_is_read_without_the_frame_check_bits_beside_it() -> None:
    # The upper bits say that each packet ends with a frame check sequence of 4 bytes.
    four_bytes_of_fcs = 0x4400_0000
    file = pcap_header(link=four_bytes_of_fcs | LINUX_SLL) + pcap_record(packet(1))
    assert fed(PcapReader(), [file]) == [packet(1)._replace(link_type=LINUX_SLL)]


@pytest.mark.parametrize("minor", [2, 3])
def test_old_pcap_versions_have_the_two_lengths_the_other_way_round(minor: int) -> None:
    record = struct.pack("<IIII", 1_700_000_000, 0, 1500, 60) + packet(1).data
    items = fed(PcapReader(), [pcap_header(version=(2, minor)) + record])
    assert items == [packet(1)._replace(original_length=1500)]


def test_a_packet_as_large_as_the_snaplen_is_plausible() -> None:
    large = packet(1, size=500_000)
    file = pcap_header(snaplen=500_000) + pcap_record(large)
    assert fed(PcapReader(), list(chunks(file, [65536]))) == [large]


@pytest.mark.parametrize("snaplen", [0, 65535, 2**32 - 1])
def test_a_record_of_hostile_length_is_damage_as_soon_as_packets_follow_it(snaplen: int) -> None:
    hostile = struct.pack("<IIII", 1_700_000_000, 0, 2**32 - 1, 2**32 - 1)
    file = pcap_header(snaplen=snaplen) + pcap_record(packet(1)) + hostile
    reader = PcapReader()
    assert one_by_one(reader.feed(file)) == [packet(1)]
    problem, *items = one_by_one(reader.feed(pcap_record(packet(1)) * 6))
    assert isinstance(problem, CaptureProblem)
    assert (problem.kind, problem.frame, problem.offset) == ("file_damaged", 1, 24 + 16 + 60)
    assert "frame 2" in problem.detail
    assert "4294967295" in problem.detail
    assert items == [packet(1)._replace(frame=frame) for frame in range(2, 8)]
    assert reader.close() == []


def test_a_pcap_of_another_major_version_is_damage() -> None:
    problem = only_problem(fed(PcapReader(), [pcap_header(version=(7, 9)) + pcap_record(packet(1))]))
    assert problem.kind == "file_damaged"
    assert "7.9" in problem.detail
