"""Reading captures: frames, times and lengths are those that tshark says."""

from __future__ import annotations

import shutil
import struct
import subprocess
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from raft_dissect.values import CaptureProblem, Packet
from tests.capture_files import (
    ROOT,
    SECOND,
    Item,
    block,
    enhanced,
    interface,
    obsolete,
    packet,
    pcap_header,
    pcap_record,
    read,
    section,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


ALL_CAPTURES = sorted(path for path in (ROOT / "pcaps").iterdir() if path.suffix in {".pcap", ".pcapng"})


def file_header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(24)


# One of each kind: another byte order, time unit, snaplen, link type or format.
REAL_CAPTURES = sorted({file_header(path): path for path in ALL_CAPTURES}.values())

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
