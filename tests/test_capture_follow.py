"""Following a capture file that is still being written."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from raft_dissect.capture import CaptureError, open_capture
from raft_dissect.values import CaptureProblem
from tests.capture_files import ROOT, packet, pcap, pcap_record, run_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from raft_dissect.capture import Capture


def soon(action: Callable[[], object]) -> threading.Timer:
    """Do something while the reader waits."""
    timer = threading.Timer(0.1, action)
    timer.start()
    return timer


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[tuple[Path, Capture]]:
    """A file with one packet, and the capture that follows it; if a test waits in vain the file is removed."""
    path = tmp_path / "growing.pcap"
    path.write_bytes(pcap(packet(1)))
    watchdog = threading.Timer(20, path.unlink, kwargs={"missing_ok": True})
    watchdog.start()
    with open_capture([str(path)], follow=True) as capture:
        yield path, capture
    watchdog.cancel()


def test_packets_come_as_they_are_written(followed: tuple[Path, Capture]) -> None:
    path, capture = followed
    items = iter(capture)
    assert next(items) == packet(1)
    for number in (2, 3):
        soon(partial(append, path, pcap_record(packet(number))))
        assert next(items) == packet(number)
    assert capture.size is None
    assert capture.bytes_read == path.stat().st_size


def test_a_record_that_is_half_written_is_waited_for(followed: tuple[Path, Capture]) -> None:
    path, capture = followed
    items = iter(capture)
    assert next(items) == packet(1)
    record = pcap_record(packet(2))
    append(path, record[:30])
    soon(lambda: append(path, record[30:]))
    assert next(items) == packet(2)


def test_a_removed_file_is_read_to_its_end(followed: tuple[Path, Capture]) -> None:
    path, capture = followed
    items = iter(capture)
    assert next(items) == packet(1)

    def write_and_remove() -> None:
        append(path, pcap_record(packet(2)))
        path.unlink()

    soon(write_and_remove)
    assert list(items) == [packet(2)]


def test_a_file_removed_inside_a_record_is_cut(followed: tuple[Path, Capture]) -> None:
    path, capture = followed
    append(path, pcap_record(packet(2))[:30])
    soon(path.unlink)
    first, problem = capture
    assert first == packet(1)
    assert isinstance(problem, CaptureProblem)
    assert problem.kind == "file_truncated"


def test_a_file_that_becomes_shorter_ends_with_a_problem(followed: tuple[Path, Capture]) -> None:
    path, capture = followed
    items = iter(capture)
    assert next(items) == packet(1)
    soon(lambda: os.truncate(path, 30))
    (problem,) = items
    assert isinstance(problem, CaptureProblem)
    assert (problem.kind, problem.frame) == ("file_damaged", 1)
    assert "became shorter" in problem.detail


def test_a_renamed_file_is_followed_further(followed: tuple[Path, Capture]) -> None:
    path, capture = followed
    items = iter(capture)
    assert next(items) == packet(1)
    renamed = path.rename(path.with_suffix(".1"))
    soon(lambda: append(renamed, pcap_record(packet(2))))
    assert next(items) == packet(2)


def test_damage_is_passed_over_while_the_file_grows(followed: tuple[Path, Capture]) -> None:
    path, capture = followed
    append(path, b"\xff" * 40)
    soon(lambda: append(path, pcap_record(packet(2)) * 20))
    items = iter(capture)
    assert next(items) == packet(1)
    problem = next(items)
    assert isinstance(problem, CaptureProblem)
    assert "40 bytes were passed over" in problem.detail
    assert next(items) == packet(2)


def test_a_file_that_is_still_empty_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "new.pcap"
    path.touch()
    file = pcap(packet(1))
    soon(lambda: append(path, file[:5]))
    later = threading.Timer(0.3, append, (path, file[5:]))
    later.start()
    watchdog = threading.Timer(20, path.unlink)
    watchdog.start()
    with open_capture([str(path)], follow=True) as capture:
        assert next(iter(capture)) == packet(1)
    watchdog.cancel()


def test_a_short_file_that_is_no_capture_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("no capture")
    watchdog = threading.Timer(20, path.unlink)
    watchdog.start()
    with pytest.raises(CaptureError, match="text"):
        open_capture([str(path)], follow=True)
    watchdog.cancel()
    assert path.exists()


def test_an_empty_file_that_is_removed_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    soon(path.unlink)
    with pytest.raises(CaptureError, match="empty"):
        open_capture([str(path)], follow=True)


def test_an_interrupt_ends_following_at_once(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(pcap(packet(1)))
    script = (
        "import sys\n"
        "from raft_dissect.capture import open_capture\n"
        "try:\n"
        "    for item in open_capture(sys.argv[1:], follow=True):\n"
        "        print(item.frame, flush=True)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], cwd=ROOT, stdout=subprocess.PIPE) as child:
        watchdog = threading.Timer(20, child.kill)
        watchdog.start()
        assert child.stdout is not None
        assert child.stdout.readline() == b"1\n"
        child.send_signal(signal.SIGINT)
        assert child.stdout.read() == b"interrupted\n"
        watchdog.cancel()


def test_only_one_plain_file_can_be_followed(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_bytes(pcap(packet(1)))
    with pytest.raises(CaptureError, match="only one file can be followed"):
        open_capture([str(path) for path in paths], follow=True)
    paths[0].write_bytes(gzip.compress(pcap(packet(1))))
    with pytest.raises(CaptureError, match="gzip-compressed; only a plain file can be followed"):
        open_capture([str(paths[0])], follow=True)


def test_a_pipe_ends_as_it_always_does() -> None:
    script = (
        "from raft_dissect.capture import open_capture\n"
        "with open_capture(['-'], follow=True) as capture:\n"
        "    print([item.frame for item in capture])\n"
    )
    assert run_python(script, stdin=gzip.compress(pcap(packet(1), packet(2)))) == "[1, 2]"
