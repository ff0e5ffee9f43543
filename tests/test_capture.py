"""Reading captures: the packets that were written, damage as a value, one line for what is no capture."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import itertools
import lzma
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from raft_dissect.capture import Capture, CaptureError, PcapngReader, PcapReader, open_capture
from raft_dissect.values import CaptureProblem, Packet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from raft_dissect.capture.records import RecordReader

Item = Packet | CaptureProblem

ROOT = Path(__file__).parent.parent
REAL_CAPTURES = sorted(path for path in (ROOT / "pcaps").iterdir() if path.suffix in {".pcap", ".pcapng"})

ETHERNET = 1
LINUX_SLL = 113
SECOND = 1_000_000_000
FIRST = 1_700_000_000 * SECOND
"""2023-11-14 22:13:20 UTC"""


# --- Writing captures, byte by byte as the format documents say ---


class PcapKind(NamedTuple):
    order: str
    magic: int
    unit_ns: int


PCAP_KINDS = {
    "micro-little": PcapKind("<", 0xA1B2C3D4, 1000),
    "micro-big": PcapKind(">", 0xA1B2C3D4, 1000),
    "nano-little": PcapKind("<", 0xA1B23C4D, 1),
    "nano-big": PcapKind(">", 0xA1B23C4D, 1),
}
MICRO = PCAP_KINDS["micro-little"]


def pcap_header(
    kind: PcapKind = MICRO, *, version: tuple[int, int] = (2, 4), snaplen: int = 262144, link: int = ETHERNET
) -> bytes:
    return struct.pack(kind.order + "IHHIIII", kind.magic, *version, 0, 0, snaplen, link)


def pcap_record(packet: Packet, kind: PcapKind = MICRO) -> bytes:
    seconds, rest = divmod(packet.time_ns, SECOND)
    fields = (seconds, rest // kind.unit_ns, len(packet.data), packet.original_length)
    return struct.pack(kind.order + "IIII", *fields) + packet.data


def pcap_pieces(packets: Sequence[Packet], kind: PcapKind = MICRO) -> list[bytes]:
    return [pcap_header(kind), *(pcap_record(packet, kind) for packet in packets)]


def pcap(*packets: Packet) -> bytes:
    return b"".join(pcap_pieces(packets))


def block(block_type: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", block_type) + length + body + length


def section(order: str = "<", major: int = 1) -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(
    order: str = "<",
    *,
    link: int = ETHERNET,
    snaplen: int = 0,
    resolution: int | None = None,
    offset: int | None = None,
) -> bytes:
    options = option(2, b"eth0", order)
    if resolution is not None:
        options += option(9, bytes([resolution]), order)
    if offset is not None:
        options += option(14, struct.pack(order + "q", offset), order)
    options += option(0, b"", order)
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options, order)


def enhanced(data: bytes, ticks: int, order: str = "<", *, interface: int = 0, original: int | None = None) -> bytes:
    size = len(data) if original is None else original
    fixed = struct.pack(order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(data), size)
    comment = option(1, b"a comment", order) + option(0, b"", order)
    return block(6, fixed + data + bytes(-len(data) % 4) + comment, order)


def obsolete(data: bytes, ticks: int, order: str = "<") -> bytes:
    fixed = struct.pack(order + "HHIIII", 0, 0xFFFF, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data) + 7)
    return block(2, fixed + data, order)


def packet(number: int, time_ns: int = FIRST, *, size: int = 60, file: int = 0) -> Packet:
    """A packet whose bytes say which one it is."""
    data = bytes([file, number % 256]) * (size // 2)
    return Packet(data, time_ns, ETHERNET, len(data), number, file)


# --- Reading them ---


def fed(reader: RecordReader, pieces: Sequence[bytes]) -> list[Item]:
    items = [item for piece in pieces for item in reader.feed(piece)]
    return items + reader.close()


def read(*paths: Path | str) -> list[Item]:
    with open_capture([str(path) for path in paths]) as capture:
        return list(capture)


def only_problem(items: Sequence[Item]) -> CaptureProblem:
    """The problem that must be the last item, and the only problem."""
    *rest, last = items
    assert all(isinstance(item, Packet) for item in rest)
    assert isinstance(last, CaptureProblem)
    return last


def chunks(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """`data` in pieces of these sizes, again and again."""
    position = 0
    for size in itertools.cycle(sizes):
        if position >= len(data):
            return
        yield data[position : position + size]
        position += size


@st.composite
def packet_lists(draw: st.DrawFn, unit_ns: int) -> list[Packet]:
    """Packets of any size and time that a file with this time unit can hold."""
    contents = draw(st.lists(st.tuples(st.binary(max_size=70), st.integers(0, 2**32 - 1)), max_size=8))
    fractions = st.integers(0, SECOND // unit_ns - 1)
    return [
        Packet(data, seconds * SECOND + draw(fractions) * unit_ns, ETHERNET, len(data) + number, number)
        for number, (data, seconds) in enumerate(contents, start=1)
    ]


CHUNK_SIZES = st.lists(st.integers(1, 100), min_size=1, max_size=5)


# --- Classic pcap ---


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


def check_every_cut(
    reader_class: type[RecordReader],
    pieces: Sequence[bytes],
    packets_in_piece: Sequence[int],
    packets: Sequence[Packet],
) -> None:
    """Cut the file that `pieces`, its records, make at every byte and read what is left."""
    file = b"".join(pieces)
    ends = list(itertools.accumulate(map(len, pieces)))
    for cut in range(4, len(file)):
        whole = [end for end in ends if end <= cut]
        expected = list(packets[: sum(packets_in_piece[: len(whole)])])
        items = fed(reader_class(), [file[:cut]])
        if whole and whole[-1] == cut:
            assert items == expected
            continue
        assert items[:-1] == expected
        problem = only_problem(items)
        assert problem.kind == "file_truncated"
        assert problem.offset == (whole[-1] if whole else 0)
        assert problem.frame == len(expected)


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
def test_a_record_of_hostile_length_is_damage_at_once(snaplen: int) -> None:
    hostile = struct.pack("<IIII", 1_700_000_000, 0, 2**32 - 1, 2**32 - 1)
    file = pcap_header(snaplen=snaplen) + pcap_record(packet(1)) + hostile
    reader = PcapReader()
    items = reader.feed(file)
    assert items[:-1] == [packet(1)]
    problem = only_problem(items)
    assert (problem.kind, problem.frame, problem.offset) == ("file_damaged", 1, 24 + 16 + 60)
    assert "frame 2" in problem.detail
    assert "4294967295" in problem.detail
    assert reader.feed(pcap_record(packet(3))) == []
    assert reader.close() == []


def test_a_pcap_of_another_major_version_is_damage() -> None:
    problem = only_problem(fed(PcapReader(), [pcap_header(version=(7, 9)) + pcap_record(packet(1))]))
    assert problem.kind == "file_damaged"
    assert "7.9" in problem.detail


# --- pcapng ---


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
    "section without byte order": block(0x0A0D0D0A, bytes(16)),
    "section of version 2": section(major=2),
    "section too short": block(0x0A0D0D0A, struct.pack("<I", 0x1A2B3C4D)),
    "time in the year 294441": enhanced(b"data", 2**63),
}


@pytest.mark.parametrize("damaged", DAMAGED_BLOCKS.values(), ids=list(DAMAGED_BLOCKS))
def test_an_implausible_block_is_damage_after_the_packets_before_it(damaged: bytes) -> None:
    before = [section(), interface(), enhanced(b"good", 5)]
    items = fed(PcapngReader(), [*before, damaged, enhanced(b"lost", 6)])
    assert items[:-1] == [Packet(b"good", 5000, ETHERNET, 4, 1)]
    problem = only_problem(items)
    assert (problem.kind, problem.frame, problem.offset) == ("file_damaged", 1, len(b"".join(before)))
    assert problem.detail
    assert "\n" not in problem.detail


def test_interfaces_without_end_are_damage() -> None:
    file = section() + interface() * 70_000
    assert "65536 interfaces" in only_problem(fed(PcapngReader(), [file])).detail


# --- Against tshark ---

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

TsharkRow = tuple[int, int, int, int]


def tshark_rows(path: Path) -> list[TsharkRow]:
    """What tshark says: frame number, time in nanoseconds, length on the wire, captured length."""
    fields = ["frame.number", "frame.time_epoch", "frame.len", "frame.cap_len"]
    command = ["tshark", "-r", str(path), "-T", "fields", *(word for name in fields for word in ("-e", name))]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    rows = []
    for line in output.splitlines():
        number, time, length, captured = line.split("\t")
        rows.append((int(number), int(Decimal(time or 0) * SECOND), int(length), int(captured)))
    return rows


def our_rows(items: Sequence[Item]) -> list[TsharkRow]:
    return [
        (item.frame, item.time_ns, item.original_length, len(item.data)) for item in items if isinstance(item, Packet)
    ]


@needs_tshark
@pytest.mark.parametrize("path", REAL_CAPTURES, ids=lambda path: path.name)
def test_frames_times_and_lengths_are_those_of_tshark(path: Path) -> None:
    items = read(path)
    assert items
    assert our_rows(items) == tshark_rows(path)
    assert not [item for item in items if isinstance(item, CaptureProblem)]


def test_there_are_real_captures_in_both_formats() -> None:
    assert {path.suffix for path in REAL_CAPTURES} == {".pcap", ".pcapng"}


JOURNAL_ENTRY = b"__REALTIME_TIMESTAMP=1700000000000000\nMESSAGE=hi\n\n"
CUSTOM_DATA = struct.pack("<I", 32473) + b"anything"


@needs_tshark
@pytest.mark.parametrize(
    "other",
    [block(9, JOURNAL_ENTRY), block(0xBAD, CUSTOM_DATA), block(0x40000BAD, CUSTOM_DATA)],
    ids=["journal", "custom", "custom, not to be copied"],
)
def test_blocks_that_wireshark_numbers_move_the_frame_numbers(tmp_path: Path, other: bytes) -> None:
    path = tmp_path / "mixed.pcapng"
    path.write_bytes(section() + interface() + enhanced(bytes(60), 1) + other + enhanced(bytes(60), 2))
    ours = our_rows(read(path))
    assert [row[0] for row in ours] == [1, 3]
    assert ours == [row for row in tshark_rows(path) if row[0] != 2]


@needs_tshark
@pytest.mark.parametrize(
    "file",
    [
        pytest.param(pcap_header(version=(2, 2)) + pcap_record(packet(1))[:8] + b"\xdc\x05\0\0\x3c\0\0\0"
                     + packet(1).data, id="version 2.2"),
        pytest.param(pcap_header(link=0x4400_0001) + pcap_record(packet(1)), id="frame check sequence"),
        pytest.param(section(">") + interface(">", resolution=0x80 | 20)
                     + enhanced(bytes(60), 1_700_000_000 << 20 | 77, ">", original=99), id="2^-20 seconds"),
        pytest.param(section() + interface(offset=1_600_000_000) + enhanced(bytes(60), 100_000_000_000_000),
                     id="time offset"),
        pytest.param(section() + interface(snaplen=50) + block(3, struct.pack("<I", 1500) + bytes(50)),
                     id="simple packet"),
        pytest.param(section() + interface() + obsolete(bytes(60), 1_700_000_000_000_000), id="old packet"),
    ],
)  # fmt: skip
def test_rare_forms_read_as_tshark_reads_them(tmp_path: Path, file: bytes) -> None:
    path = tmp_path / "rare"
    path.write_bytes(file)
    rows = our_rows(read(path))
    assert rows
    assert rows == tshark_rows(path)


# --- Compression ---

# lz4 has no type information.
LZ4: Callable[[bytes], bytes] = importlib.import_module("lz4.frame").compress

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": LZ4,
}
compressions = pytest.mark.parametrize("compress", COMPRESS.values(), ids=list(COMPRESS))


def random_packets(count: int) -> list[Packet]:
    """Packets that do not compress, so a compressed file of them can be cut or damaged anywhere."""
    return [Packet(os.urandom(1000), FIRST + number * SECOND, ETHERNET, 1000, number) for number in range(1, count + 1)]


@compressions
def test_a_compressed_capture_reads_like_the_plain_one(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    # Many like packets: more comes out of each compressed piece than one read returns.
    packets = [packet(number, FIRST + number * SECOND, size=1000) for number in range(1, 3001)]
    path = tmp_path / "capture"
    path.write_bytes(compress(pcap(*packets)))
    assert read(path) == packets


@compressions
def test_members_after_each_other_are_one_capture(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    packets = random_packets(5)
    pieces = pcap_pieces(packets)
    path = tmp_path / "capture"
    path.write_bytes(compress(b"".join(pieces[:3])) + compress(b"".join(pieces[3:])))
    assert read(path) == packets


@compressions
def test_zero_bytes_after_compressed_data_are_padding(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "capture"
    path.write_bytes(compress(pcap(packet(1))) + bytes(512))
    assert read(path) == [packet(1)]


@compressions
def test_a_cut_compressed_capture_gives_what_was_there_and_one_problem(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    packets = random_packets(3000)
    whole = compress(pcap(*packets))
    path = tmp_path / "capture"
    for cut in (len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        items = read(path)
        problem = only_problem(items)
        assert problem.kind == "file_truncated"
        assert f"after {cut} compressed bytes" in problem.detail
        assert items[:-1] == packets[: problem.frame]
        assert problem.frame >= 1000 * cut // len(whole)


@compressions
def test_damage_in_compressed_data_is_one_problem(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    packets = random_packets(3000)
    whole = bytearray(compress(pcap(*packets)))
    middle = len(whole) // 2
    whole[middle : middle + 40_000] = os.urandom(40_000)
    path = tmp_path / "capture"
    path.write_bytes(whole)
    items = read(path)
    assert only_problem(items).kind == "file_damaged"
    # A packet inside the damage may still be read, with other bytes, as some formats check only at their end.
    assert items[:500] == packets[:500]


@compressions
def test_a_small_file_that_grows_a_millionfold_does_not_fill_the_memory(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(compress(pcap_header() + bytes(300_000_000)))
    script = (
        "import itertools, resource, sys\n"
        "from raft_dissect.capture import open_capture\n"
        "resource.setrlimit(resource.RLIMIT_AS, (250_000_000, 250_000_000))\n"
        "with open_capture(sys.argv[1:]) as capture:\n"
        "    print(sum(1 for item in itertools.islice(capture, 3_000_000)))\n"
    )
    # The zero bytes read as packets of no bytes.
    assert run_python(script, str(path)) == "3000000"


def test_an_xz_file_that_wants_4_gib_of_memory_is_refused(tmp_path: Path) -> None:
    whole = bytearray(lzma.compress(pcap(packet(1))))
    # The block header is bytes 12 to 23: its size, flags, filter LZMA2 (0x21), 1 byte of properties, the
    # dictionary size (40 is 4 GiB), padding, and the CRC-32 of all that.
    assert whole[14:16] == b"\x21\x01"
    whole[16] = 40
    whole[20:24] = struct.pack("<I", zlib.crc32(whole[12:20]))
    path = tmp_path / "hungry.xz"
    path.write_bytes(whole)
    with pytest.raises(CaptureError, match="emory"):
        read(path)


@pytest.mark.parametrize(("package", "extra"), [("zstandard", "zstd"), ("lz4", "lz4")])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, extra: str
) -> None:
    path = tmp_path / "capture"
    path.write_bytes(COMPRESS[extra](pcap(packet(1))))
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.frame", None)
    with pytest.raises(CaptureError) as caught:
        read(path)
    assert f"pip install 'raft_dissect[{extra}]'" in str(caught.value)


def run_python(script: str, *arguments: str, stdin: bytes | None = None) -> str:
    """What the script prints when another Python runs it."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, input=stdin, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def test_importing_loads_no_decompressor() -> None:
    script = (
        "import sys, raft_dissect.capture\n"
        "heavy = {'gzip', 'bz2', 'lzma', 'zstandard', 'lz4', 'scapy', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    assert run_python(script) == "[]"


# --- What is no capture ---

NO_CAPTURES = {
    "text": (b"No.  Time  Source  Destination\n", "text"),
    "web page": (b"<!DOCTYPE html>\n<html><head>", "web page"),
    "snoop": (b"snoop\0\0\0\0\0\0\2\0\0\0\4", "snoop"),
    "modified pcap": (b"\x34\xcd\xb2\xa1" + bytes(20), "editcap"),
    "network monitor": (b"GMBU" + bytes(20), "Network Monitor"),
    "zip": (b"PK\x03\x04" + bytes(20), "ZIP"),
    "text mode": (b"\n\r\n" + section()[4:], "binary mode"),
    "zeros": (bytes(100), "00 00 00 00"),
    "half a magic": (b"\xd4\xc3", "2 bytes"),
    "gzipped text": (gzip.compress(b"hello"), "compressed"),
    "gzipped nothing": (gzip.compress(b""), "empty"),
    "cut gzip": (b"\x1f\x8b\x08", "gzip data ends too early"),
    "damaged zstd": (b"\x28\xb5\x2f\xfd" + b"\xff" * 40, "zstd data cannot be decompressed"),
    "nothing": (b"", "empty"),
}


@pytest.mark.parametrize(("content", "word"), NO_CAPTURES.values(), ids=list(NO_CAPTURES))
def test_what_is_no_capture_is_said_in_one_line_before_anything_is_read(
    tmp_path: Path, content: bytes, word: str
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(pcap(packet(1)))
    bad.write_bytes(content)
    for paths in ([bad], [good, bad]):
        with pytest.raises(CaptureError) as caught:
            open_capture([str(path) for path in paths])
        assert caught.value.path == str(bad)
        assert str(caught.value).startswith(f"{bad}: ")
        assert word in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_words_of_a_text_file_are_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("password: 1234 and more of it")
    with pytest.raises(CaptureError) as caught:
        read(path)
    assert "1234" not in str(caught.value)


def test_missing_files_and_directories_are_said(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no such file"):
        open_capture([str(tmp_path / "missing.pcap")])
    with pytest.raises(CaptureError, match="directory"):
        open_capture([str(tmp_path)])
    with pytest.raises(CaptureError, match="name"):
        open_capture(["nul\0byte"])


def test_a_file_without_permission_is_said(tmp_path: Path) -> None:
    path = tmp_path / "secret.pcap"
    path.write_bytes(pcap(packet(1)))
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        with pytest.raises(CaptureError, match="permission"):
            open_capture([str(path)])
    finally:
        os.seteuid(user)


@given(content=st.binary(max_size=300), start=st.sampled_from([
    b"", pcap_header(), pcap_header(version=(2, 3)), section(), section(">"), section() + interface(),
    section(">") + interface(">"), b"\x1f\x8b\x08\0", b"\xfd7zXZ\0\0\4", b"BZh9", b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18", *(compress(pcap(packet(1)))[:60] for compress in COMPRESS.values()),
]))  # fmt: skip
@example(content=b"", start=b"")
def test_any_bytes_give_packets_and_problems_or_the_one_error(content: bytes, start: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "any")
        path.write_bytes(start + content)
        try:
            alone = read(path)
        except CaptureError:
            return
        twice = read(path, path)
    assert len(twice) == 2 * len(alone)
    problems = [item for item in alone if isinstance(item, CaptureProblem)]
    assert problems == alone[-1:] or not problems


# --- One file or several ---


def write(path: Path, *packets: Packet) -> Path:
    path.write_bytes(pcap(*packets))
    return path


def test_several_files_are_merged_by_time(tmp_path: Path) -> None:
    a = write(tmp_path / "a", *(packet(number, FIRST + number * 2 * SECOND) for number in (1, 2, 3)))
    b = write(tmp_path / "b", *(packet(number, FIRST + (number * 2 + 1) * SECOND) for number in (1, 2, 3)))
    items = read(b, a)
    assert [(item.file, item.frame) for item in items] == [(1, 1), (0, 1), (1, 2), (0, 2), (1, 3), (0, 3)]


def test_the_parts_of_a_rotation_are_put_in_order(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f"part{part}", *(packet(n, FIRST + (part * 10 + n) * SECOND) for n in (1, 2, 3)))
        for part in range(5)
    ]
    items = read(*reversed(paths))
    assert [(item.file, item.frame) for item in items] == [
        (4 - part, frame) for part in range(5) for frame in (1, 2, 3)
    ]


def test_more_files_than_may_be_open_at_once(tmp_path: Path) -> None:
    for part in range(100):
        write(tmp_path / f"part{part:03}", packet(1, FIRST + part * SECOND))
    script = (
        "import resource, sys\n"
        "from raft_dissect.capture import open_capture\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))\n"
        "with open_capture(sys.argv[1:]) as capture:\n"
        "    print([item.file for item in capture] == list(range(100)))\n"
    )
    assert run_python(script, *map(str, sorted(tmp_path.iterdir()))) == "True"


@given(
    times=st.lists(st.lists(st.integers(0, 20), max_size=12), min_size=2, max_size=4),
)
@example(times=[[5, 1, 9], [2, 3]])
def test_merging_keeps_the_order_of_each_file_whatever_its_times_are(times: list[list[int]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        paths = [
            write(Path(directory, str(index)), *(packet(n, time * SECOND) for n, time in enumerate(each, 1)))
            for index, each in enumerate(times)
        ]
        items = read(*paths)
    for index, each in enumerate(times):
        own = [item for item in items if item.file == index]
        assert [item.frame for item in own] == list(range(1, len(each) + 1))
        assert [item.time_ns for item in own if isinstance(item, Packet)] == [time * SECOND for time in each]
    if all(each == sorted(each) for each in times):
        seen = [(item.time_ns, item.file) for item in items if isinstance(item, Packet)]
        assert seen == sorted(seen)


def test_a_cut_file_among_several_has_its_problem_after_its_last_packet(tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(pcap(packet(1, FIRST), packet(2, FIRST + SECOND))[:-1])
    whole = write(tmp_path / "whole", packet(1, FIRST - SECOND), packet(2, FIRST + 9 * SECOND))
    items = read(whole, cut)
    assert [(item.file, item.frame) for item in items] == [(0, 1), (1, 1), (1, 1), (0, 2)]
    assert isinstance(items[2], CaptureProblem)
    assert items[2].kind == "file_truncated"


def test_a_file_that_vanishes_before_its_turn_is_a_problem(tmp_path: Path) -> None:
    early = write(tmp_path / "early", packet(1, FIRST))
    late = write(tmp_path / "late", packet(1, FIRST + SECOND))
    with open_capture([str(early), str(late)]) as capture:
        late.unlink()
        items = list(capture)
    assert items[0] == packet(1, FIRST)
    assert only_problem(items)[:3] == ("file_damaged", 1, 0)


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_progress_ends_at_the_size_on_disk(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_bytes(compress(pcap(*random_packets(3000))))
    with open_capture([str(path) for path in paths]) as capture:
        assert capture.files == [str(path) for path in paths]
        assert capture.size == sum(path.stat().st_size for path in paths)
        steps = [0, *(capture.bytes_read for _ in capture)]
        assert steps == sorted(steps)
        assert len(set(steps)) > 4
        assert steps[-1] == capture.size


def test_after_close_nothing_more_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a", packet(1), packet(2))
    with open_capture([str(path)]) as capture:
        items = iter(capture)
        assert next(items) == packet(1)
    assert list(items) == []


# --- Standard input and pipes ---

PRINT_FRAMES = (
    "import sys\n"
    "from raft_dissect.capture import open_capture\n"
    "with open_capture(sys.argv[1:]) as capture:\n"
    "    print(capture.files, capture.size, [item.frame for item in capture], capture.bytes_read)\n"
)


def test_standard_input_is_read_from_a_pipe() -> None:
    file = pcap(packet(1), packet(2))
    assert run_python(PRINT_FRAMES, "-", stdin=file) == f"['-'] None [1, 2] {len(file)}"
    zipped = gzip.compress(file)
    assert run_python(PRINT_FRAMES, "-", stdin=zipped) == f"['-'] None [1, 2] {len(zipped)}"


def test_standard_input_from_a_file_has_a_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a", packet(1), packet(2))
    with path.open("rb") as file:
        output = subprocess.check_output([sys.executable, "-c", PRINT_FRAMES, "-"], cwd=ROOT, stdin=file)
    size = path.stat().st_size
    assert output.decode().strip() == f"['-'] {size} [1, 2] {size}"


def test_standard_input_is_merged_with_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a", packet(7, FIRST + SECOND))
    file = pcap(packet(1, FIRST), packet(2, FIRST + 2 * SECOND))
    assert "[1, 1, 2]" in run_python(PRINT_FRAMES, str(path), "-", stdin=file)


def test_errors_name_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(CaptureError, match="standard input: it is empty"):
        open_capture(["-"])
    with pytest.raises(CaptureError, match="only once"):
        open_capture(["-", "-"])
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CaptureError, match="standard input: it is closed"):
        open_capture(["-"])


def test_packets_from_a_pipe_come_when_they_are_written_not_when_it_ends(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    seen = threading.Event()

    def write_slowly() -> None:
        with fifo.open("wb", buffering=0) as pipe:
            pipe.write(pcap(packet(1)))
            # The second packet is written only after the first was read.
            assert seen.wait(30)
            pipe.write(pcap_record(packet(2)))

    writer = threading.Thread(target=write_slowly)
    writer.start()
    with open_capture([str(fifo)]) as capture:
        items: list[Item] = []
        for item in capture:
            items.append(item)
            seen.set()
    writer.join()
    assert items == [packet(1), packet(2)]


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
def test_packets_from_standard_input_come_when_they_are_written(blocking: bool) -> None:
    script = (
        "import os\n"
        "from raft_dissect.capture import open_capture\n"
        f"os.set_blocking(0, {blocking})\n"
        "with open_capture(['-']) as capture:\n"
        "    for item in capture:\n"
        "        print(item.frame, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        watchdog = threading.Timer(30, child.kill)
        watchdog.start()
        for piece, line in [(pcap(packet(1)), b"1\n"), (pcap_record(packet(2)), b"2\n")]:
            child.stdin.write(piece)
            child.stdin.flush()
            # The next packet is written only after this one was printed.
            assert child.stdout.readline() == line
        child.stdin.close()
        assert child.stdout.read() == b""
        watchdog.cancel()


def test_a_capture_is_a_context_manager_that_closes_its_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a", packet(1))
    before = len(os.listdir("/proc/self/fd"))
    with open_capture([str(path)]) as capture:
        assert isinstance(capture, Capture)
        assert len(os.listdir("/proc/self/fd")) == before + 1
    assert len(os.listdir("/proc/self/fd")) == before
