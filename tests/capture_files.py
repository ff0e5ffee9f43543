"""Capture files written byte by byte as the format documents say, and what is read of them."""

from __future__ import annotations

import bz2
import gzip
import importlib
import itertools
import lzma
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import zstandard
from hypothesis import strategies as st

from raft_dissect.capture import open_capture
from raft_dissect.columns import PacketBlock
from raft_dissect.values import CaptureProblem, Packet, TlsSecrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from raft_dissect.capture.records import RecordReader

Item = Packet | CaptureProblem

ROOT = Path(__file__).parent.parent

ETHERNET = 1
LINUX_SLL = 113
SECOND = 1_000_000_000
FIRST = 1_700_000_000 * SECOND
"""2023-11-14 22:13:20 UTC"""


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


def random_packets(count: int) -> list[Packet]:
    """Packets that do not compress, so a compressed file of them can be cut or damaged anywhere."""
    return [Packet(os.urandom(1000), FIRST + number * SECOND, ETHERNET, 1000, number) for number in range(1, count + 1)]


# lz4 has no type information.
LZ4: Callable[[bytes], bytes] = importlib.import_module("lz4.frame").compress

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "lz4": LZ4,
}


def fed(reader: RecordReader, pieces: Sequence[bytes]) -> list[Item]:
    items = [item for piece in pieces for item in one_by_one(reader.feed(piece))]
    return items + one_by_one(reader.close())


def one_by_one(items: Sequence[PacketBlock | CaptureProblem | TlsSecrets]) -> list[Item]:
    found: list[Item] = []
    for item in items:
        if isinstance(item, PacketBlock):
            found += item
        elif isinstance(item, CaptureProblem):
            found.append(item)
    return found


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


def run_python(script: str, *arguments: str, stdin: bytes | None = None) -> str:
    """What the script prints when another Python runs it."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, input=stdin, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


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
