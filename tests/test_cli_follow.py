"""`--follow`: the commands run on a capture file while it is being written."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import struct
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import raft_dissect
from tests.captures import PCAPS
from tests.command import COMMAND, environment, run

if TYPE_CHECKING:
    from collections.abc import Iterator

WHOLE = PCAPS / "s1-canon-0.18.1.pcap"


def record_ends(data: bytes) -> list[int]:
    """Where the records of a little-endian pcap file end."""
    ends = [24]
    while ends[-1] < len(data):
        ends.append(ends[-1] + 16 + struct.unpack_from("<I", data, ends[-1] + 8)[0])
    return ends


DATA = WHOLE.read_bytes()
ENDS = record_ends(DATA)


@contextmanager
def following(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs until a test ends it; if the test waits in vain it is killed."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        watchdog = threading.Timer(30, process.kill)
        watchdog.start()
        yield process
        watchdog.cancel()


def wait_until_read(process: subprocess.Popen[str], path: Path) -> None:
    """Wait until a process has read all that there is of a file (Linux says how far it has come)."""
    files = Path(f"/proc/{process.pid}/fd")
    while process.poll() is None:
        for number in os.listdir(files):
            with suppress(FileNotFoundError):
                position = re.search(r"pos:\s+(\d+)", (files.parent / "fdinfo" / number).read_text())
                if position and os.readlink(files / number) == str(path) and int(position[1]) == path.stat().st_size:
                    return
        time.sleep(0.02)


def write_rest_and_remove(path: Path, start: int) -> None:
    with path.open("ab") as file:
        file.write(DATA[start:])
    path.unlink()


def test_each_line_comes_as_soon_as_its_packet_is_written(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    frames = [record["frame"] for record in run("messages", "--json", str(WHOLE)).records][:40]
    path.write_bytes(DATA[:24])
    with following("messages", "--json", "--follow", str(path)) as process, path.open("ab") as file:
        assert process.stdout is not None
        written = 0
        for frame in dict.fromkeys(frames):
            file.write(DATA[ENDS[written] : ENDS[frame]])
            file.flush()
            written = frame
            for _ in range(frames.count(frame)):
                assert json.loads(process.stdout.readline())["frame"] == frame
        path.unlink()
        assert process.stdout.read() == ""
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_a_record_that_is_there_in_part_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    frame = run("messages", "--json", str(WHOLE)).records[0]["frame"]
    path.write_bytes(DATA[: ENDS[frame] - 10])
    with following("messages", "--json", "--follow", str(path)) as process, path.open("ab") as file:
        assert process.stdout is not None
        wait_until_read(process, path)
        file.write(DATA[ENDS[frame] - 10 : ENDS[frame]])
        file.flush()
        assert json.loads(process.stdout.readline())["frame"] == frame
        path.unlink()
        assert process.communicate() == ("", "")
    assert process.returncode == 0


def test_ctrl_c_ends_with_what_is_known_and_half_a_record_is_no_damage(tmp_path: Path) -> None:
    """Nine messages are there, and a part of the next packet."""
    path, part = tmp_path / "growing.pcap", tmp_path / "part.pcap"
    frame = run("messages", "--json", str(WHOLE)).records[8]["frame"]
    path.write_bytes(DATA[: ENDS[frame] + 30])
    with following("messages", "--follow", str(path)) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(10)]
        process.send_signal(signal.SIGINT)
        assert process.communicate() == ("", "")
    assert process.returncode == 0
    part.write_bytes(DATA[: ENDS[frame]])
    assert [line.split()[0] for line in lines] == [line.split()[0] for line in run("messages", str(part)).lines]


def test_a_file_removed_inside_a_record_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(DATA[: ENDS[100] + 30])
    with following("messages", "--follow", str(path)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        path.unlink()
        _, errors = process.communicate()
    assert process.returncode == 3
    assert "the file ends inside a record" in errors


def test_the_report_comes_with_ctrl_c(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(DATA)
    expected = run("report", "--json", str(path))
    with following("report", "--json", "--follow", str(path)) as process:
        wait_until_read(process, path)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate()
    assert (out, errors, process.returncode) == expected


def test_the_report_comes_when_the_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(DATA[: ENDS[50]])
    with following("report", "--follow", str(path)) as process:
        wait_until_read(process, path)
        write_rest_and_remove(path, ENDS[50])
        out, errors = process.communicate()
    assert (errors, process.returncode) == ("", 0)
    assert out.split("\nServers\n")[1] == run("report", str(WHOLE)).out.split("\nServers\n")[1]


def test_a_pipe_is_read_to_its_end() -> None:
    done = run("messages", "--follow", "-", stdin=DATA)
    assert done.code == 0
    assert [line.split()[0] for line in done.lines] == [line.split()[0] for line in run("messages", str(WHOLE)).lines]


@pytest.mark.parametrize("command", ["messages", "report"])
def test_several_files_cannot_be_followed(command: str) -> None:
    done = run(command, "--follow", str(WHOLE), str(WHOLE))
    assert done == ("", "raft-dissect: only one file can be followed: --follow takes one FILE\n", 2)


def test_a_compressed_file_cannot_be_followed(tmp_path: Path) -> None:
    path = tmp_path / "capture.pcap.gz"
    path.write_bytes(gzip.compress(DATA))
    done = run("messages", "--follow", str(path))
    assert done == ("", f"raft-dissect: {path}: it is gzip-compressed; only a plain file can be followed\n", 3)


def test_messages_follows_a_file(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(DATA[: ENDS[50]])
    messages = raft_dissect.messages(path, follow=True)
    found = [next(messages)]
    threading.Timer(0.3, write_rest_and_remove, [path, ENDS[50]]).start()
    found += messages
    assert [message.place for message in found] == [message.place for message in raft_dissect.messages(WHOLE)]
