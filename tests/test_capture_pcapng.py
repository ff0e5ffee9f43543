"""Reading pcapng files: the packets that were written, in every variant of the format."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_dissect.capture import PcapngReader
from raft_dissect.values import CaptureProblem, Packet
from tests.capture_files import (
    CHUNK_SIZES,
    ETHERNET,
    FIRST,
    LINUX_SLL,
    SECOND,
    block,
    check_every_cut,
    chunks,
    enhanced,
    fed,
    interface,
    obsolete,
    only_problem,
    option,
    packet_lists,
    section,
)


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("digits", [0, 3, 6, 9, 12])
@given(data=st.data(), sizes=CHUNK_SIZES)
def test_pcapng_gives_back_the_packets_that_were_written(
    order: str, digits: int, data: st.DataObject, sizes: list[int]
) -> None:
    packets = data.draw(packet_lists(10 ** max(0, 9 - digits)))
    blocks = [section(order), interface(order, resolution=digits)]
    for each in packets:
        ticks = each.time_ns * 10**digits // SECOND
        if ticks < 2**64:
            blocks.append(enhanced(each.data, ticks, order, original=each.original_length))
    expected = [each for each in packets if each.time_ns * 10**digits // SECOND < 2**64]
    expected = [each._replace(frame=number) for number, each in enumerate(expected, start=1)]
    assert fed(PcapngReader(), list(chunks(b"".join(blocks), sizes))) == expected


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@given(data=st.data())
def test_cut_pcapng_gives_the_packets_before_the_cut_and_one_problem(order: str, data: st.DataObject) -> None:
    packets = data.draw(packet_lists(1000))
    blocks = [section(order), interface(order), block(5, bytes(16), order)]
    blocks += [enhanced(each.data, each.time_ns // 1000, order, original=each.original_length) for each in packets]
    check_every_cut(PcapngReader, blocks, [0, 0, 0, *[1] * len(packets)], packets)


@pytest.mark.parametrize(
    ("resolution", "offset", "ticks", "time_ns"),
    [
        (None, None, 1_700_000_000_000_001, FIRST + 1000),
        (3, None, 1_700_000_000_001, FIRST + 1_000_000),
        (9, None, FIRST + 7, FIRST + 7),
        (12, None, 1_999, 1),
        (0x80 | 1, None, 3, 1_500_000_000),
        (0x80 | 32, None, (1_700_000_000 << 32) + (1 << 31), FIRST + SECOND // 2),
        (0x80 | 127, None, 2**64 - 1, 0),
        (127, None, 2**64 - 1, 0),
        (9, 1_700_000_000, 7, FIRST + 7),
        (6, -5, 5_000_001, 1000),
        (6, -5, 4_000_000, -SECOND),
    ],
)
def test_pcapng_times_in_any_resolution(resolution: int | None, offset: int | None, ticks: int, time_ns: int) -> None:
    file = section() + interface(resolution=resolution, offset=offset) + enhanced(b"data", ticks)
    assert fed(PcapngReader(), [file]) == [Packet(b"data", time_ns, ETHERNET, 4, 1)]


def test_every_block_that_holds_a_packet_is_read_and_every_other_skipped() -> None:
    name_resolution, statistics, secrets, unknown = 4, 5, 10, 0x1234
    file = b"".join(
        [
            section(),
            interface(snaplen=6),
            block(name_resolution, b"names"),
            enhanced(b"one", 1),
            block(secrets, b"keys"),
            block(3, struct.pack("<I", 4) + b"twos"),
            block(3, struct.pack("<I", 100) + b"three3"),
            block(unknown, b""),
            obsolete(b"four", 4),
            block(statistics, bytes(12)),
        ]
    )
    assert fed(PcapngReader(), [file]) == [
        Packet(b"one", 1000, ETHERNET, 3, 1),
        Packet(b"twos", 0, ETHERNET, 4, 2),
        Packet(b"three3", 0, ETHERNET, 100, 3),
        Packet(b"four", 4000, ETHERNET, 11, 4),
    ]


def test_interfaces_differ_and_end_with_their_section() -> None:
    file = b"".join(
        [
            section("<"),
            interface("<", link=ETHERNET),
            interface("<", link=LINUX_SLL, resolution=9),
            enhanced(b"a", 1, "<", interface=0),
            enhanced(b"b", 1, "<", interface=1),
            section(">"),
            interface(">", link=LINUX_SLL),
            enhanced(b"c", 1, ">", interface=0),
            enhanced(b"d", 1, ">", interface=1),
        ]
    )
    items = fed(PcapngReader(), [file])
    assert items[:-1] == [
        Packet(b"a", 1000, ETHERNET, 1, 1),
        Packet(b"b", 1, LINUX_SLL, 1, 2),
        Packet(b"c", 1000, LINUX_SLL, 1, 3),
    ]
    problem = only_problem(items)
    assert problem.kind == "file_damaged"
    assert "interface 1" in problem.detail


def wrong_trailer() -> bytes:
    return enhanced(b"data", 1)[:-4] + struct.pack("<I", 40)


DAMAGED_BLOCKS = {
    "lengths at both ends differ": wrong_trailer(),
    "length below 12": struct.pack("<II", 6, 8) + bytes(8),
    "length not a multiple of 4": struct.pack("<II", 0x1234, 13) + b"a" + struct.pack("<I", 13),
    "length of 4 GiB": struct.pack("<II", 6, 0xFFFFFFFC) + bytes(40),
    "captured length beyond the block": block(6, struct.pack("<IIIII", 0, 0, 1, 61, 61) + bytes(60)),
    "unknown interface": enhanced(b"data", 1, interface=1),
    "enhanced packet too short": block(6, bytes(16)),
    "obsolete packet too short": block(2, bytes(16)),
    "simple packet too short": block(3, b""),
    "simple packet without its bytes": block(3, struct.pack("<I", 100) + bytes(60)),
    "interface too short": block(1, bytes(4)),
    "option beyond the block": block(1, struct.pack("<HHI", 1, 0, 0) + struct.pack("<HH", 9, 8)),
    "resolution of 2 bytes": block(1, struct.pack("<HHI", 1, 0, 0) + option(9, b"\6\6")),
    "offset of 4 bytes": block(1, struct.pack("<HHI", 1, 0, 0) + option(14, bytes(4))),
    "time in the year 294441": enhanced(b"data", 2**63),
}


DAMAGED_SECTIONS = {
    "without byte order": block(0x0A0D0D0A, bytes(16)),
    "of version 2": section(major=2),
    "too short": block(0x0A0D0D0A, struct.pack("<I", 0x1A2B3C4D)),
}


@pytest.mark.parametrize("damaged", DAMAGED_BLOCKS.values(), ids=list(DAMAGED_BLOCKS))
def test_an_implausible_block_is_damage_and_the_blocks_behind_it_are_read(damaged: bytes) -> None:
    before = [section(), interface(), enhanced(b"good", 5)]
    good, problem, more = fed(PcapngReader(), [*before, damaged, enhanced(b"more", 6)])
    assert good == Packet(b"good", 5000, ETHERNET, 4, 1)
    assert more == Packet(b"more", 6000, ETHERNET, 4, 2)
    assert isinstance(problem, CaptureProblem)
    offset = len(b"".join(before))
    assert (problem.kind, problem.frame, problem.offset) == ("file_damaged", 1, offset)
    assert f"{len(damaged)} bytes were passed over" in problem.detail
    assert f"goes on at byte {offset + len(damaged)}" in problem.detail
    assert "\n" not in problem.detail


@pytest.mark.parametrize("damaged", DAMAGED_SECTIONS.values(), ids=list(DAMAGED_SECTIONS))
def test_packets_of_a_section_that_cannot_be_read_are_not_taken_for_those_of_the_section_before(
    damaged: bytes,
) -> None:
    before = [section(), interface(), enhanced(b"good", 5)]
    items = fed(PcapngReader(), [*before, damaged, enhanced(b"lost", 6)])
    assert items[:-1] == [Packet(b"good", 5000, ETHERNET, 4, 1)]
    problem = only_problem(items)
    assert (problem.kind, problem.frame, problem.offset) == ("file_damaged", 1, len(b"".join(before)))


def test_the_section_behind_a_damaged_one_is_read() -> None:
    damaged = DAMAGED_SECTIONS["without byte order"] + interface(">") + enhanced(b"lost", 6, ">")
    after = section(">") + interface(">", link=LINUX_SLL) + enhanced(b"more", 6, ">")
    good, problem, more = fed(PcapngReader(), [section(), interface(), enhanced(b"good", 5), damaged, after])
    assert isinstance(good, Packet)
    assert isinstance(problem, CaptureProblem)
    assert more == Packet(b"more", 6000, LINUX_SLL, 4, 2)


def test_a_section_of_an_unknown_version_ends_the_file() -> None:
    items = fed(PcapngReader(), [section(), section(major=2), interface(), enhanced(b"lost", 1)])
    assert "version 2.0 is unknown" in only_problem(items).detail


def test_blocks_of_unknown_types_do_not_show_that_packets_go_on() -> None:
    fake = enhanced(b"fake", 6) + block(0x7777, b"what is it?") * 9
    before = [section(), interface(), enhanced(b"good", 5)]
    items = fed(PcapngReader(), [*before, b"\xff" * 20, fake, b"\xff" * 20, enhanced(b"more", 7)])
    assert [item.data for item in items if isinstance(item, Packet)] == [b"good", b"more"]


def test_interfaces_behind_a_damaged_one_keep_their_numbers() -> None:
    blocks = [
        section(),
        interface(link=ETHERNET),
        block(1, struct.pack("<HHI", ETHERNET, 0, 0) + option(9, b"\6\6")),
        interface(link=LINUX_SLL),
        *[enhanced(b"lost", 1, interface=1)] * 9,
        enhanced(b"data", 2, interface=2),
    ]
    damaged, unknown, packet = fed(PcapngReader(), blocks)
    assert isinstance(damaged, CaptureProblem)
    assert isinstance(unknown, CaptureProblem)
    assert "interface 1" in unknown.detail
    assert packet == Packet(b"data", 2000, LINUX_SLL, 4, 1)


def test_interfaces_without_end_are_damage() -> None:
    file = section() + interface() * 70_000
    assert "65536 interfaces" in only_problem(fed(PcapngReader(), [file])).detail
