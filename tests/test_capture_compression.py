"""Reading compressed captures, whole, cut and damaged."""

from __future__ import annotations

import lzma
import os
import struct
import sys
import zlib
from typing import TYPE_CHECKING

import pytest

from raft_dissect.capture import CaptureError
from raft_dissect.values import CaptureProblem, Packet
from tests.capture_files import (
    COMPRESS,
    ETHERNET,
    FIRST,
    SECOND,
    only_problem,
    packet,
    pcap,
    pcap_pieces,
    random_packets,
    read,
    run_python,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


compressions = pytest.mark.parametrize("compress", COMPRESS.values(), ids=list(COMPRESS))


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
def test_damage_in_compressed_data_ends_the_file_where_it_is_noticed(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    packets = random_packets(3000)
    whole = bytearray(compress(pcap(*packets)))
    middle = len(whole) // 2
    whole[middle : middle + 40_000] = os.urandom(40_000)
    path = tmp_path / "capture"
    path.write_bytes(whole)
    items = read(path)
    # Some formats check only at their end, so there may be packets and other damage in front of it.
    problem = items[-1]
    assert isinstance(problem, CaptureProblem)
    assert problem.kind == "file_damaged"
    assert "cannot be decompressed" in problem.detail
    assert "what follows is lost" in problem.detail
    assert items[:500] == packets[:500]


@compressions
def test_a_damaged_capture_that_was_compressed_is_read_on_behind_the_damage(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    packets = random_packets(9)
    pieces = pcap_pieces(packets)
    pieces[5] = b"\xff" * len(pieces[5])
    path = tmp_path / "capture"
    path.write_bytes(compress(b"".join(pieces)))
    items = read(path)
    assert [item.data for item in items if isinstance(item, Packet)] == [
        item.data for item in packets if item.frame != 5
    ]
    assert isinstance(items[4], CaptureProblem)
    assert f"goes on at byte {24 + 5 * 1016}" in items[4].detail


@compressions
def test_damage_behind_which_the_compressed_data_ends_is_said_too(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "capture"
    packets = random_packets(100)
    path.write_bytes(compress(pcap(*packets) + os.urandom(100_000))[:-1])
    items = read(path)
    assert items[:-2] == packets
    damaged, cut = items[-2:]
    assert isinstance(damaged, CaptureProblem)
    assert isinstance(cut, CaptureProblem)
    assert (damaged.kind, cut.kind) == ("file_damaged", "file_truncated")
    assert "nothing behind it could be read" in damaged.detail


@compressions
def test_a_small_file_that_grows_a_millionfold_does_not_fill_the_memory(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "bomb"
    # Five hundred packets of zeros.
    path.write_bytes(compress(pcap(*[Packet(bytes(250_000), FIRST, ETHERNET, 250_000, 1)] * 500)))
    script = (
        "import resource, sys\n"
        "from raft_dissect.capture import open_capture\n"
        "resource.setrlimit(resource.RLIMIT_AS, (120_000_000, 120_000_000))\n"
        "with open_capture(sys.argv[1:]) as capture:\n"
        "    print(sum(len(item.data) for item in capture))\n"
    )
    assert run_python(script, str(path)) == "125000000"


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


def test_importing_loads_no_decompressor() -> None:
    script = (
        "import sys, raft_dissect.capture\n"
        "heavy = {'gzip', 'bz2', 'lzma', 'zstandard', 'lz4', 'scapy', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    assert run_python(script) == "[]"
