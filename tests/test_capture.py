"""Opening captures: files, several of them, pipes and standard input; and what is no capture."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raft_dissect.capture import Capture, CaptureError, open_capture
from raft_dissect.values import CaptureProblem, Packet
from tests.capture_files import (
    COMPRESS,
    FIRST,
    ROOT,
    SECOND,
    Item,
    interface,
    only_problem,
    packet,
    pcap,
    pcap_header,
    pcap_record,
    random_packets,
    read,
    run_python,
    section,
)

if TYPE_CHECKING:
    from collections.abc import Callable


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
    places = [item.offset for item in alone if isinstance(item, CaptureProblem)]
    assert places == sorted(places)
    frames = [item.frame for item in alone if isinstance(item, Packet)]
    assert frames == sorted(set(frames))


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
