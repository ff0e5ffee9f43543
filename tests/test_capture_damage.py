"""Reading damaged captures: what is behind the damage is read, and nothing is made up of the damaged bytes."""

from __future__ import annotations

import itertools
import os
import struct
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_dissect.capture import PcapngReader, PcapReader
from raft_dissect.values import CaptureProblem, Packet
from tests.capture_files import (
    CHUNK_SIZES,
    ETHERNET,
    FIRST,
    LINUX_SLL,
    MICRO,
    PCAP_KINDS,
    ROOT,
    SECOND,
    Item,
    chunks,
    enhanced,
    fed,
    interface,
    one_by_one,
    only_problem,
    packet,
    pcap,
    pcap_header,
    pcap_record,
    read,
    run_python,
    section,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from raft_dissect.capture.records import RecordReader


class Format(NamedTuple):
    reader: type[RecordReader]
    start: bytes
    """What a file begins with."""
    record: Callable[[Packet], bytes]
    header_size: int
    """Bytes of a record before its packet."""


def pcapng_format(order: str) -> Format:
    def record(packet: Packet) -> bytes:
        return enhanced(packet.data, packet.time_ns // 1000, order, original=packet.original_length)

    return Format(PcapngReader, section(order) + interface(order), record, 28)


FORMATS = {
    **{
        f"pcap {name}": Format(PcapReader, pcap_header(kind), partial(pcap_record, kind=kind), 16)
        for name, kind in PCAP_KINDS.items()
    },
    "pcapng little": pcapng_format("<"),
    "pcapng big": pcapng_format(">"),
}
formats = pytest.mark.parametrize("form", FORMATS.values(), ids=list(FORMATS))
two_formats = pytest.mark.parametrize(
    "form", [FORMATS["pcap micro-little"], FORMATS["pcapng little"]], ids=["pcap", "pcapng"]
)


def some_packets(count: int, size: int = 60) -> list[Packet]:
    """Packets a second apart, of bytes that are not the same in any two of them."""
    return [Packet(os.urandom(size), FIRST + number * SECOND, ETHERNET, size, number) for number in range(1, count + 1)]


def contents(items: Sequence[Item]) -> list[bytes]:
    return [item.data for item in items if isinstance(item, Packet)]


def problems(items: Sequence[Item]) -> list[CaptureProblem]:
    return [item for item in items if isinstance(item, CaptureProblem)]


def check_frames(items: Sequence[Item]) -> None:
    """The packets that are read are counted, and a problem names the last one before it."""
    frame = 0
    for item in items:
        frame += isinstance(item, Packet)
        assert item.frame == frame


# --- One place, several places ---


@formats
@given(data=st.data(), sizes=CHUNK_SIZES)
def test_damaged_records_are_passed_over_and_all_others_read(
    form: Format, data: st.DataObject, sizes: list[int]
) -> None:
    packets = some_packets(data.draw(st.integers(5, 30)), data.draw(st.integers(14, 80)))
    damaged = sorted(data.draw(st.sets(st.integers(0, len(packets) - 1), max_size=3)))
    # Between two damaged places there are enough packets to tell that they are packets.
    damaged = [each for before, each in zip([-9, *damaged], damaged, strict=False) if each - before > 4]
    # As long as no packet was read any may be long, and it takes more of them to tell.
    damaged = damaged[:1] if damaged[:1] == [0] else damaged
    records = [form.record(each) for each in packets]
    starts = list(itertools.accumulate(map(len, records), initial=len(form.start)))
    for each in damaged:
        records[each] = bytes(byte ^ 0xFF for byte in records[each])
    file = form.start + b"".join(records)

    items = fed(form.reader(), list(chunks(file, sizes)))
    assert contents(items) == [each.data for number, each in enumerate(packets) if number not in damaged]
    check_frames(items)
    assert [problem.offset for problem in problems(items)] == [starts[each] for each in damaged]
    for each, problem in zip(damaged, problems(items), strict=True):
        assert problem.kind == "file_damaged"
        if each == len(packets) - 1:
            assert problem.detail.endswith("; nothing behind it could be read")
        else:
            passed = f"; {len(records[each])} bytes were passed over, and reading goes on at byte {starts[each + 1]}"
            assert problem.detail.endswith(passed)


@formats
def test_the_packets_behind_damage_have_their_own_times_and_lengths(form: Format) -> None:
    packets = [each._replace(original_length=1500) for each in some_packets(9)]
    records = [form.record(each) for each in packets]
    records[4] = b"\xff" * len(records[4])
    items = fed(form.reader(), [form.start, *records])
    behind = [each._replace(frame=each.frame - 1) for each in packets[5:]]
    assert items[5:] == behind


@formats
@pytest.mark.parametrize("size", [1, 3, 1000, 70_000])
def test_noise_between_two_packets_is_passed_over(form: Format, size: int) -> None:
    packets = some_packets(8)
    records = [form.record(each) for each in packets]
    noise = b"\xff" * size
    items = fed(form.reader(), [form.start, *records[:4], noise, *records[4:]])
    assert contents(items) == [each.data for each in packets]
    (problem,) = problems(items)
    assert items[4] == problem
    assert f"{size} bytes were passed over" in problem.detail


@formats
def test_a_damaged_first_record_does_not_hide_the_others(form: Format) -> None:
    packets = some_packets(5)
    first = form.record(packets[0])
    items = fed(form.reader(), [form.start, b"\xff" * len(first), *map(form.record, packets[1:])])
    assert contents(items) == [each.data for each in packets[1:]]
    (problem,) = problems(items)
    assert (problem.frame, problem.offset) == (0, len(form.start))


@formats
def test_the_last_packet_alone_is_found_when_it_ends_with_the_file(form: Format) -> None:
    packets = some_packets(5)
    items = fed(form.reader(), [form.start, *map(form.record, packets[:4]), b"\xff" * 99, form.record(packets[4])])
    assert contents(items) == [each.data for each in packets]


@formats
def test_a_file_can_be_damaged_and_cut(form: Format) -> None:
    packets = some_packets(9)
    records = [form.record(each) for each in packets]
    file = form.start + b"".join([*records[:3], b"\xff" * 99, *records[3:]])
    items = fed(form.reader(), [file[:-1]])
    assert contents(items) == [each.data for each in packets[:-1]]
    assert [problem.kind for problem in problems(items)] == ["file_damaged", "file_truncated"]
    check_frames(items)


@two_formats
def test_packets_behind_damage_come_before_the_file_ends(form: Format) -> None:
    packets = some_packets(20)
    reader = form.reader()
    items = [item for piece in (form.start, b"\xff" * 99) for item in one_by_one(reader.feed(piece))]
    items += [item for each in packets for item in one_by_one(reader.feed(form.record(each)))]
    # The longest packet that was read so far says when it is enough; there is none yet, so it is assumed long.
    assert items == []
    items += [item for _ in range(8000) for item in one_by_one(reader.feed(form.record(packets[0])))]
    assert contents(items)[:20] == [each.data for each in packets]
    items = one_by_one(reader.feed(b"\xff" * 99))
    items += [item for each in packets for item in one_by_one(reader.feed(form.record(each)))]
    assert len(problems(items)) == 1
    assert contents(items) == [each.data for each in packets]


# --- What happens to real files ---

REAL_CAPTURES = [ROOT / "pcaps" / name for name in ("s4-64k-canon-0.9.0.pcap", "dq4-dqlite-1.18.6.pcap")]
REAL_CAPTURES += sorted((ROOT / "pcaps").glob("*.pcapng"))[:1]


@pytest.mark.parametrize("path", REAL_CAPTURES, ids=lambda path: path.name)
@pytest.mark.parametrize("damage", ["zeros", "noise", "lost", "repeated"])
def test_a_sector_of_a_real_capture_may_be_lost_or_overwritten(path: Path, tmp_path: Path, damage: str) -> None:
    whole = path.read_bytes()
    middle = len(whole) // 2
    rest = whole[middle + 4096 :]
    sector = {"zeros": bytes(4096), "noise": b"\x5a\xa5" * 2048, "lost": b"", "repeated": whole[middle - 4096 : middle]}
    damaged = tmp_path / "damaged"
    damaged.write_bytes(whole[:middle] + sector[damage] + rest)

    original = [item for item in read(path) if isinstance(item, Packet)]
    items = read(damaged)
    check_frames(items)
    assert len(problems(items)) <= 3
    known = {(each.time_ns, each.data) for each in original}
    found = [(item.time_ns, item.data) for item in items if isinstance(item, Packet)]
    # The packet in which the damage begins is read with the damage in it when only its payload is damaged.
    assert len([each for each in found if each not in known]) <= 1
    assert found[-1] == (original[-1].time_ns, original[-1].data)
    largest = max(len(each.data) for each in original)
    assert sum(len(data) for _, data in found) >= sum(len(each.data) for each in original) - 4096 - 4 * largest


def edits() -> st.SearchStrategy[list[tuple[str, int, int, bytes]]]:
    """Ways to damage a file: what, where (in thousandths of it), how many bytes, with what."""
    return st.lists(
        st.tuples(
            st.sampled_from(["overwrite", "insert", "delete"]),
            st.integers(0, 1000),
            st.integers(0, 200),
            st.binary(max_size=100),
        ),
        min_size=1,
        max_size=5,
    )


def edited(file: bytes, changes: Sequence[tuple[str, int, int, bytes]]) -> bytes:
    for what, where, size, content in changes:
        place = len(file) * where // 1000
        behind = {"overwrite": place + len(content), "insert": place, "delete": place + size}[what]
        file = file[:place] + (b"" if what == "delete" else content) + file[behind:]
    return file


@formats
@given(changes=edits(), sizes=CHUNK_SIZES, data=st.data())
def test_any_damage_gives_the_same_however_the_file_is_divided(
    form: Format, changes: list[tuple[str, int, int, bytes]], sizes: list[int], data: st.DataObject
) -> None:
    sizes_of_packets = data.draw(st.lists(st.integers(0, 200), max_size=20))
    packets = [packet(number, FIRST + number * SECOND, size=size) for number, size in enumerate(sizes_of_packets, 1)]
    file = edited(form.start + b"".join(map(form.record, packets)), changes)
    at_once = fed(form.reader(), [file])
    assert fed(form.reader(), list(chunks(file, sizes))) == at_once
    # Damage can make a block one that is counted like a packet and is none.
    frames = [item.frame for item in at_once if isinstance(item, Packet)]
    assert frames == sorted(set(frames))
    places = [problem.offset for problem in problems(at_once)]
    assert places == sorted(set(places))
    assert all("\n" not in problem.detail for problem in problems(at_once))


def test_two_pcap_files_put_one_after_the_other_are_read_as_one() -> None:
    packets = some_packets(8)
    items = fed(PcapReader(), [pcap(*packets[:4]), pcap(*packets[4:])])
    assert contents(items) == [each.data for each in packets]
    (problem,) = problems(items)
    assert "24 bytes were passed over" in problem.detail


@two_formats
def test_a_damaged_file_is_merged_with_others_by_time(form: Format, tmp_path: Path) -> None:
    packets = some_packets(12)
    noise = b"\xff" * 99
    (tmp_path / "damaged").write_bytes(b"".join([form.start, *map(form.record, packets[0:6:2]), noise,
                                                 *map(form.record, packets[6::2])]))  # fmt: skip
    (tmp_path / "whole").write_bytes(b"".join([form.start, *map(form.record, packets[1::2])]))
    items = read(tmp_path / "damaged", tmp_path / "whole")
    assert contents(items) == [each.data for each in packets]
    assert len(problems(items)) == 1


# --- What is no damage ---


def test_clocks_that_jump_are_no_damage() -> None:
    years = [0, 1_700_000_000, 1_700_000_001, 5, 6, 7, 1_600_000_000, 1_700_000_002]
    packets = [packet(number, seconds * SECOND) for number, seconds in enumerate(years, 1)]
    assert fed(PcapReader(), [pcap(*packets)]) == packets


@pytest.mark.parametrize("fraction", [999_999, 1_000_000, 999_999_999], ids=["usual", "a second", "nanoseconds"])
def test_fractions_of_more_than_a_second_are_no_damage_in_a_file_that_is_full_of_them(fraction: int) -> None:
    records = [
        struct.pack("<IIII", 1_700_000_000, fraction * (number % 3 > 0), 60, 60) + packet(number).data
        for number in range(1, 10)
    ]
    items = fed(PcapReader(), [pcap_header(), *records])
    assert contents(items) == [packet(number).data for number in range(1, 10)]
    assert not problems(items)


def test_original_lengths_that_are_too_small_are_no_damage_in_a_file_that_is_full_of_them() -> None:
    packets = [packet(number)._replace(original_length=50) for number in range(1, 10)]
    assert fed(PcapReader(), [pcap(*packets)]) == packets


def test_an_odd_record_is_no_packet_when_none_follows_it() -> None:
    # Read as a packet it would be one of the year 1970; what follows it begins inside a real packet.
    odd = struct.pack("<IIII", 1, 2, 8, 7) + bytes(9)
    packets = some_packets(8)
    items = fed(PcapReader(), [pcap(*packets[:4]), odd, *map(pcap_record, packets[4:])])
    assert contents(items) == [each.data for each in packets]
    (problem,) = problems(items)
    assert f"{len(odd)} bytes were passed over" in problem.detail


def test_odd_records_are_no_packets_when_each_is_odd_in_another_way() -> None:
    longer_than_its_packet = struct.pack("<IIII", 1_700_000_000, 0, 24, 20) + bytes(24)
    of_1970 = struct.pack("<IIII", 5, 0, 8, 9) + bytes(8)
    packets = some_packets(8)
    odd = longer_than_its_packet + of_1970
    items = fed(PcapReader(), [pcap(*packets[:4]), odd, *map(pcap_record, packets[4:])])
    assert contents(items) == [each.data for each in packets]
    (problem,) = problems(items)
    assert f"{len(odd)} bytes were passed over" in problem.detail


@pytest.mark.parametrize("offset", range(16))
def test_zeros_over_packets_are_no_packets(offset: int) -> None:
    # The last three bytes of this header are zeros anyway, so beyond them only the packet's bytes are lost.
    packets = some_packets(12)
    file = bytearray(pcap(*packets))
    start = 24 + 4 * 76 + offset
    file[start : start + 280] = bytes(280)
    found = contents(fed(PcapReader(), [bytes(file)]))
    kept = [each.data for each in packets[:4] + packets[8:]]
    assert [each for each in found if any(each)] == kept
    assert len(found) == len(kept) + (offset > 12)


# --- Captures inside packets ---


def nested(form: Format, count: int, *, size: int = 50) -> tuple[bytes, list[Packet]]:
    """A whole capture of the same day, and the packets in it."""
    inner = [each._replace(data=bytes([0xEE]) * size) for each in some_packets(count, size)]
    return form.start + b"".join(map(form.record, inner)), inner


def carrying(payload: bytes, number: int) -> Packet:
    data = bytes(54) + payload
    return Packet(data, FIRST + number * SECOND, ETHERNET, len(data), number)


@formats
@given(tail=st.integers(0, 40), count=st.integers(1, 30), sizes=CHUNK_SIZES)
def test_a_capture_inside_a_damaged_packet_is_never_taken_for_packets(
    form: Format, tail: int, count: int, sizes: list[int]
) -> None:
    file, inner = nested(form, count)
    payload = file + bytes(tail)
    # A packet of this size was read before the damaged one.
    outer = [carrying(payload, 1), *some_packets(3), carrying(payload, 5), *some_packets(count * 2 + 6)]
    records = [form.record(each) for each in outer]
    records[4] = b"\xff" * form.header_size + records[4][form.header_size :]
    items = fed(form.reader(), list(chunks(form.start + b"".join(records), sizes)))
    assert inner[0].data not in contents(items)
    found = contents(items)
    assert found[:4] == [each.data for each in outer[:4]]
    # What is passed over besides the damaged packet is no more than such a packet has, and one record.
    behind = [each.data for each in outer[5:]]
    assert found[4:] == behind[len(behind) - len(found[4:]) :]
    passed = behind[: len(behind) - len(found[4:])]
    assert sum(16 + len(each) for each in passed) <= len(outer[0].data) + 16 + 60


@formats
def test_a_capture_inside_an_intact_packet_behind_damage_is_left_in_it(form: Format) -> None:
    payload, _inner = nested(form, 9)
    packets = [carrying(payload, number) for number in range(1, 9)]
    records = [form.record(each) for each in packets]
    items = fed(form.reader(), [form.start, *records[:4], b"\xff" * 40, *records[4:]])
    assert contents(items) == [each.data for each in packets]


@formats
@pytest.mark.parametrize("start", [0, 1, 40, 100])
@pytest.mark.parametrize("size", [50, 400])
def test_a_part_of_a_capture_inside_a_damaged_packet_is_no_packets(form: Format, start: int, size: int) -> None:
    payload, inner = nested(form, 30, size=size)
    # A segment of a file transfer: it begins and ends inside a record.
    outer = [carrying(payload[start + cut : start + cut + 1011], cut) for cut in (0, 300, 600, 900)]
    outer += some_packets(30)
    records = [form.record(each) for each in outer]
    records[2] = b"\xff" * form.header_size + records[2][form.header_size :]
    items = fed(form.reader(), [form.start, *records])
    assert inner[0].data not in contents(items)
    assert contents(items)[-20:] == [each.data for each in outer[-20:]]


@formats
def test_a_capture_inside_the_packet_that_the_file_ends_in_is_no_packets(form: Format) -> None:
    payload, _inner = nested(form, 9)
    packets = some_packets(4)
    last = form.record(carrying(payload + bytes(500), 5))
    cut = form.header_size + 54 + len(payload)
    items = fed(form.reader(), [form.start, *map(form.record, packets), last[:cut]])
    assert contents(items) == [each.data for each in packets]
    assert [problem.kind for problem in problems(items)] == ["file_truncated"]


def test_a_capture_inside_a_block_that_is_damaged_and_ends_well_is_no_packets() -> None:
    form = FORMATS["pcapng little"]
    payload, _inner = nested(form, 40)
    packets = some_packets(8)
    records = [form.record(each) for each in packets]
    no_such_interface = enhanced(payload, 1, interface=1)
    items = fed(form.reader(), [form.start, *records[:4], no_such_interface, *records[4:]])
    assert contents(items) == [each.data for each in packets]


# --- What cannot be read ---


def test_behind_damage_without_packets_the_search_ends_with_the_file() -> None:
    items = fed(PcapReader(), [pcap(packet(1)), b"\xff" * 100_000])
    assert "nothing behind it could be read" in only_problem(items).detail


GARBAGE = {
    "zeros": bytes(1_000_000),
    "noise": os.urandom(1_000_000),
    "headers without packets": struct.pack("<IIII", 1_700_000_000, 0, 250_000, 250_000) + b"\xff" * 999_984,
    "blocks of 16 MB": (struct.pack("<II", 6, 16_000_000) + bytes(992)) * 1000,
}


@two_formats
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=list(GARBAGE))
def test_the_search_through_a_large_file_does_not_fill_the_memory(form: Format, garbage: bytes, tmp_path: Path) -> None:
    packets = some_packets(6)
    path = tmp_path / "damaged"
    with path.open("wb") as file:
        file.write(form.start + b"".join(map(form.record, packets[:3])) + b"\xff" * 40)
        for _ in range(70):
            file.write(garbage)
        file.write(b"".join(map(form.record, packets[3:])))
    script = (
        "import resource, sys\n"
        "from raft_dissect.capture import open_capture\n"
        "from raft_dissect.values import CaptureProblem\n"
        "resource.setrlimit(resource.RLIMIT_AS, (120_000_000, 120_000_000))\n"
        "with open_capture(sys.argv[1:]) as capture:\n"
        "    print([type(item).__name__[0] for item in capture])\n"
    )
    assert run_python(script, str(path)) == str(list("PPPCPPP"))


def test_a_file_of_nothing_but_damage_is_given_up() -> None:
    record = pcap_record(packet(1, size=2))
    items = fed(PcapReader(), [pcap_header(), *[record * 3 + b"\xff" * 17] * 120_000])
    assert isinstance(items[-1], CaptureProblem)
    assert "given up" in items[-1].detail
    assert len(problems(items)) < 110_000


def test_only_frames_of_the_same_day_are_packets_behind_damage() -> None:
    older = [packet(1), *(packet(number, FIRST - 400 * 86_400 * SECOND) for number in range(9))]
    newer = some_packets(6)
    items = fed(PcapReader(), [pcap(*newer[:3]), b"\xff" * 20, *map(pcap_record, older + newer[3:])])
    assert contents(items) == [each.data for each in newer]


def test_the_link_type_is_that_of_the_file() -> None:
    records = [pcap_record(each, MICRO) for each in some_packets(6)]
    items = fed(PcapReader(), [pcap_header(link=LINUX_SLL), *records[:3], b"\xff" * 20, *records[3:]])
    assert {item.link_type for item in items if isinstance(item, Packet)} == {LINUX_SLL}
