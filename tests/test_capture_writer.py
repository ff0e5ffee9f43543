"""Writing what is captured: what is in the files is what was captured, and they are files as others write them."""

from __future__ import annotations

import itertools
import os
import resource
import stat
import struct
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from raft_dissect.capture import CaptureError, open_capture
from raft_dissect.capture.errors import UnavailableError
from raft_dissect.capture.interfaces import open_interfaces
from raft_dissect.capture.writer import CaptureWriter, Rotation
from raft_dissect.columns import PacketBlock
from raft_dissect.values import Packet
from tests import networks
from tests.networks import exchange, needs_root, send, veth
from tests.packets import Connection
from tests.test_capture_interfaces import numbered, numbers, tunnel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from raft_dissect.capture.interfaces import LiveCapture

pytestmark = needs_root

SUFFIXES = ["pcapng", "pcap"]
UNLIMITED = Rotation()


@pytest.fixture(autouse=True)
def _namespace() -> Iterator[None]:
    with networks.new_namespace():
        yield


def write_until(
    capture: LiveCapture, writer: CaptureWriter, number: int, after: Callable[[int], object] = lambda _: None
) -> list[Packet]:
    """Write so many packets that are captured; `after` is called with their number behind each block."""
    packets: list[Packet] = []
    for item in capture.blocks():
        if isinstance(item, PacketBlock):
            packets.extend(item)
            assert writer.write(item) is None
            after(len(packets))
        if len(packets) >= number:
            capture.stop()
    assert writer.close() is None
    return packets


def contents(packets: Sequence[Packet]) -> list[tuple[bytes, int, int, int]]:
    return [(packet.data, packet.time_ns, packet.link_type, packet.original_length) for packet in packets]


def read(*paths: Path) -> list[Packet]:
    """The packets of capture files without any damage."""
    with open_capture([str(path) for path in paths]) as capture:
        items = list(capture)
    assert all(isinstance(item, Packet) for item in items)
    return [item for item in items if isinstance(item, Packet)]


def tshark(path: Path, *fields: str) -> list[list[str]]:
    arguments = [argument for field in fields for argument in ("-e", field)]
    command = ["tshark", "-r", str(path), "-T", "fields", *arguments]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split("\t") for line in output.splitlines()]


def capinfos(path: Path) -> str:
    return subprocess.run(["capinfos", str(path)], capture_output=True, text=True, check=True).stdout


# --- One file ---


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("device", ["lo", "any"])
def test_what_is_written_is_what_was_captured(device: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"live.{suffix}"
    with open_interfaces([device]) as capture:
        writer = CaptureWriter(str(path), capture)
        exchange(300_000)
        send("lo", [Connection().data(1, bytes(size)) for size in range(8)])  # with each padding there is
        send("lo", numbered(3, first=7_000_000))
        packets = write_until(capture, writer, 20)
    assert len(packets) > 20
    assert contents(read(path)) == contents(packets)
    rows = tshark(path, "frame.time_epoch", "frame.len", "frame.cap_len")
    assert [int(moment.replace(".", "")) for moment, _, _ in rows] == [packet.time_ns for packet in packets]
    assert [(int(length), int(captured)) for _, length, captured in rows] == [
        (packet.original_length, len(packet.data)) for packet in packets
    ]


def test_a_pcapng_file_names_the_interfaces_and_says_what_was_dropped(tmp_path: Path) -> None:
    veth()
    path = tmp_path / "live.pcapng"
    with open_interfaces(["v1", "lo"], ring_size=1) as capture:
        writer = CaptureWriter(str(path), capture, application="raft_dissect 1.2.3")
        send("v0", numbered(7))
        send("lo", numbered(20_000))
        packets = write_until(capture, writer, 1000)
    dropped = 20_007 - len(packets)
    assert dropped > 0
    assert capture.statistics() == [("v1", 7, 0), ("lo", 20_000 - dropped, dropped)]
    names = [name for (name,) in tshark(path, "frame.interface_name")]
    assert names == [["v1", "lo"][packet.file] for packet in packets]
    assert "Capture application: raft_dissect 1.2.3" in capinfos(path)
    by_name = {names[0]: 0, names[-1]: 1}
    assert statistics(path.read_bytes()) == {by_name["v1"]: (7, 0), by_name["lo"]: (20_000, dropped)}


def statistics(data: bytes) -> dict[int, tuple[int, int]]:
    """What the Interface Statistics Blocks say: packets received, and those of them that were dropped."""
    found = {}
    position = 0
    while position < len(data):
        kind, length = struct.unpack_from("<II", data, position)
        if kind == 5:
            (interface,) = struct.unpack_from("<I", data, position + 8)
            received, dropped = struct.unpack_from("<4xQ4xQ", data, position + 20)
            found[interface] = received, dropped
        position += length
    return found


def test_devices_of_several_link_types_are_in_one_pcapng_file(tmp_path: Path) -> None:
    veth("t0", "t1")
    path = tmp_path / "live.pcapng"
    with tunnel("tun0") as file, open_interfaces(["t*"]) as capture:
        writer = CaptureWriter(str(path), capture)
        for number in range(5):
            send("t0", [Connection().data(number, b"ethernet")])
            os.write(file, Connection().data(number, b"raw")[14:])
        packets = write_until(capture, writer, 15)
    assert contents(read(path)) == contents(packets)
    assert sorted(name for (name,) in tshark(path, "frame.interface_name")) == sorted(["t0", "t1", "tun0"] * 5)


def test_a_pcap_file_takes_only_one_link_type(tmp_path: Path) -> None:
    veth("t0", "t1")
    path = str(tmp_path / "live.pcap")
    with tunnel("tun0"), open_interfaces(["t*"]) as capture, pytest.raises(CaptureError) as raised:
        CaptureWriter(path, capture)
    assert str(raised.value).endswith("a .pcap file has one link type, and the interfaces have several; write .pcapng")


def test_packets_of_a_link_type_that_comes_later_are_left_out_of_a_pcap_file(tmp_path: Path) -> None:
    veth("t0", "t1")
    path = tmp_path / "live.pcap"
    said: list[str | None] = []
    with open_interfaces(["t*"]) as capture, tunnel("tun0") as file:
        writer = CaptureWriter(str(path), capture)
        packets = 0
        for item in capture.blocks():
            if isinstance(item, PacketBlock):
                said.append(writer.write(item))
                packets += len(item)
            if len(said) > 3:
                capture.stop()
            os.write(file, Connection().data(1, b"raw")[14:])
            send("t0", numbered(1))
        writer.close()
    assert [line for line in said if line is not None] == [
        f"{path}: packets of link type 101 are not written, for a .pcap file has only one link type; write .pcapng"
    ]
    assert {packet.link_type for packet in read(path)} == {1}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_is_a_whole_capture_at_any_time(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"live.{suffix}"
    with open_interfaces(["lo"]) as capture:
        writer = CaptureWriter(str(path), capture)
        assert read(path) == []
        send("lo", numbered(5000))
        seen = []
        write_until(capture, writer, 5000, lambda number: seen.append((number, len(read(path)))))
    assert [number for number, _ in seen] == [written for _, written in seen]
    assert len(seen) > 1


def test_others_may_not_read_what_was_captured(tmp_path: Path) -> None:
    path = tmp_path / "live.pcapng"
    with open_interfaces(["lo"]) as capture:
        CaptureWriter(str(path), capture).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# --- Rotation ---


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_rotation_by_size(suffix: str, tmp_path: Path) -> None:
    with open_interfaces(["lo"]) as capture:
        writer = CaptureWriter(str(tmp_path / f"live.{suffix}"), capture, Rotation(size=100_000))
        send("lo", numbered(5000))
        packets = write_until(capture, writer, 5000)
    files = sorted(tmp_path.iterdir())
    assert len(files) >= 5000 * 64 // 100_000
    assert all(file.stat().st_size <= 100_000 + 100 for file in files), "100 bytes of statistics"
    assert all(file.stat().st_size > 99_000 for file in files[:-1])
    assert contents([packet for file in files for packet in read(file)]) == contents(packets)
    moment = time.strftime("%Y%m%dT", time.gmtime(packets[0].time_ns // 10**9))
    assert [file.name[:11] for file in files] == [f"live-{number:05}-" for number in range(1, len(files) + 1)]
    assert files[-1].name.startswith(f"live-{len(files):05}-{moment}")
    assert files[-1].name.endswith(f"Z.{suffix}")
    assert writer.path == files[-1]


def test_a_rotation_by_time(tmp_path: Path) -> None:
    with open_interfaces(["lo"]) as capture:
        writer = CaptureWriter(str(tmp_path / "live.pcapng"), capture, Rotation(seconds=0.05))
        for number in range(30):
            send("lo", numbered(1, first=number))
            time.sleep(0.01)
        packets = write_until(capture, writer, 30)
    parts = [read(file) for file in sorted(tmp_path.iterdir())]
    assert contents([packet for part in parts for packet in part]) == contents(packets)
    for part, following in itertools.pairwise(parts):
        assert part[-1].time_ns - part[0].time_ns < 50_000_000 <= following[0].time_ns - part[0].time_ns


def test_only_so_many_files_are_kept_and_only_own_ones_removed(tmp_path: Path) -> None:
    other = tmp_path / "live-00001.pcapng"
    other.write_bytes(b"of somebody else")
    with open_interfaces(["lo"]) as capture:
        writer = CaptureWriter(str(tmp_path / "live.pcapng"), capture, Rotation(size=10_000, files=3))
        send("lo", numbered(2000))
        most = [0]
        packets = write_until(capture, writer, 2000, lambda _: most.append(len([*tmp_path.iterdir()])))
    assert max(most) == 1 + 3
    other.unlink()
    kept = [packet for file in sorted(tmp_path.iterdir()) for packet in read(file)]
    assert contents(kept) == contents(packets[-len(kept) :])
    assert len(kept) > 200


def test_one_packet_that_is_larger_than_a_file_is_a_file(tmp_path: Path) -> None:
    with open_interfaces(["lo"]) as capture:
        writer = CaptureWriter(str(tmp_path / "live.pcap"), capture, Rotation(size=1))
        send("lo", numbered(10))
        packets = write_until(capture, writer, 10)
    assert [numbers(read(file)) for file in sorted(tmp_path.iterdir())] == [[each] for each in numbers(packets)]


# --- What cannot be written ---


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_is_full_ends_the_writing_and_not_the_capture(suffix: str, tmp_path: Path) -> None:
    mounted = tmp_path / "small"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(mounted)], check=True)
    try:
        path = mounted / f"live.{suffix}"
        said, packets = [], 0
        with open_interfaces(["lo"]) as capture:
            writer = CaptureWriter(str(path), capture)
            send("lo", numbered(9000))
            for item in capture.blocks():
                if isinstance(item, PacketBlock):
                    packets += len(item)
                    if line := writer.write(item):
                        said.append(line)
                if packets == 9000:
                    capture.stop()
            assert writer.close() is None
        assert packets == 9000
        assert said == [f"{path}: No space left on device: no more packets are written; the capture goes on without it"]
        assert not writer.is_writing
        assert numbers(read(path)) == list(range(len(read(path))))
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_a_file_that_may_not_grow_ends_behind_a_whole_packet(tmp_path: Path) -> None:
    path = tmp_path / "live.pcap"
    with open_interfaces(["lo"]) as capture, largest_file(100_000):
        writer = CaptureWriter(str(path), capture)
        send("lo", numbered(5000))
        said = [line for item in blocks(capture, 5000) if (line := writer.write(item))]
    assert said == [f"{path}: File too large: no more packets are written; the capture goes on without it"]
    assert numbers(read(path)) == list(range(len(read(path))))


def blocks(capture: LiveCapture, number: int) -> Iterator[PacketBlock]:
    packets = 0
    for item in capture.blocks():
        if isinstance(item, PacketBlock):
            packets += len(item)
            yield item
        if packets >= number:
            capture.stop()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("name", "rotation", "message", "kind"),
    [
        ("live.cap", UNLIMITED, "its name must end in .pcapng or .pcap, which is the format", CaptureError),
        ("there.pcap", UNLIMITED, "it exists, and captures are not written over; give another name", CaptureError),
        ("no/live.pcap", UNLIMITED, "there is no directory", UnavailableError),
        ("live.pcap", Rotation(files=3), "how many files to keep needs a size or a time", CaptureError),
    ],
)
def test_what_cannot_be_written_is_said_at_once(
    name: str, rotation: Rotation, message: str, kind: type[CaptureError], tmp_path: Path
) -> None:
    (tmp_path / "there.pcap").write_bytes(b"precious")
    with open_interfaces(["lo"]) as capture, pytest.raises(CaptureError) as raised:
        CaptureWriter(str(tmp_path / name), capture, rotation)
    assert type(raised.value) is kind
    assert str(raised.value).startswith(f"{tmp_path / name}: {message}")
    assert (tmp_path / "there.pcap").read_bytes() == b"precious"
