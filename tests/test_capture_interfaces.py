"""Capturing on network interfaces: real ones, in network namespaces that the tests make."""

from __future__ import annotations

import fcntl
import itertools
import os
import signal
import struct
import subprocess
import threading
import time
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from raft_dissect.capture import CaptureError, open_capture
from raft_dissect.capture.interfaces import open_interfaces
from raft_dissect.capture.interfaces.ring import BLOCK_SIZE
from raft_dissect.columns import PacketBlock
from raft_dissect.dissection import Dissection
from raft_dissect.streams.segments import Segment, decode_segment
from raft_dissect.values import CaptureProblem, Packet, StreamClosed, TimePassed
from tests import networks
from tests.networks import capture_until, exchange, ip, needs_root, packets_of, send, tag, veth, wait_for
from tests.packets import ACK, CLIENT, ETHERNET, RAW, SERVER, SLL2, Address, Connection, ethernet, ipv4, ipv6, tcp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from raft_dissect.capture.interfaces import LiveCapture
    from tests.networks import Item

pytestmark = needs_root

SIX = Address("fd00::1", 40000), Address("fd00::2", 9001)
MILLISECOND = 1_000_000


@pytest.fixture(autouse=True)
def _namespace() -> Iterator[None]:
    with networks.new_namespace():
        yield


def numbered(count: int, size: int = 10, first: int = 0) -> list[bytes]:
    """Frames whose sequence numbers count, between hosts that are nowhere, so that nobody answers them."""
    connection = Connection(client_isn=first - 1)
    return [connection.data(number, bytes(size)) for number in range(count)]


def numbers(packets: Sequence[Packet]) -> list[int]:
    return [segment(packet).sequence for packet in packets]


def segment(packet: Packet) -> Segment:
    found = decode_segment(packet)
    assert isinstance(found, Segment)
    return found


# --- What is captured ---


@pytest.mark.parametrize(("given", "link"), [("lo", ETHERNET), ("any", SLL2), ("l*", ETHERNET)])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_connection_over_loopback_is_captured_once_and_whole(given: str, link: int, host: str) -> None:
    with open_interfaces([given]) as capture:
        port = exchange(1_000_000, host)
        captured = capture_until(capture, lambda so_far: sum(segment(p).flags & 1 for p in so_far.packets) == 2)
    assert captured.problems == []
    assert {packet.link_type for packet in captured.packets} == {link}
    assert [packet.frame for packet in captured.packets] == list(range(1, len(captured.packets) + 1))
    segments = list(map(segment, captured.packets))
    to_server = [each for each in segments if each.key[-2:] == port.to_bytes(2)]
    start = to_server[0].sequence + 1
    # A few of them are sent again when nobody has read yet.
    seen = {
        offset for each in to_server for offset in range(each.sequence - start, each.sequence - start + each.length)
    }
    assert len({byte % 2**32 for byte in seen}) == 1_000_000
    assert max(each.length for each in to_server) > 30_000, "segments as they are before offload cuts them"
    assert all(len(packet.data) == packet.original_length for packet in captured.packets)


def test_packets_go_into_the_engine_as_those_of_a_file_do() -> None:
    with open_interfaces(["lo"]) as capture:
        exchange(1000)
        captured = capture_until(capture, lambda so_far: sum(segment(p).flags & 1 for p in so_far.packets) == 2)
    dissection = Dissection(captured.packets)
    assert [event for event in dissection if isinstance(event, StreamClosed)] == []
    assert dissection.statistics.streams == {"unknown": 1}


UNTAGGED = Connection().data(1, b"in order")
FRAMES = {
    "ipv4": UNTAGGED,
    "ipv6": Connection(*SIX).data(1, b"in order"),
    "vlan": ethernet(UNTAGGED[14:], tag(7)),
    "vlan with priority": ethernet(UNTAGGED[14:], tag(0xE007)),
    "service tag": ethernet(UNTAGGED[14:], tag(7, 0x88A8)),
    "two tags": ethernet(UNTAGGED[14:], tag(7, 0x88A8) + tag(8)),
    "ipv6 in vlan": ethernet(Connection(*SIX).data(1, b"in order")[14:], tag(9)),
    "first fragment": ethernet(
        ipv4(CLIENT.host, SERVER.host, tcp(CLIENT, SERVER, 1, 1, ACK, bytes(12)), fragment=0x2000)
    ),
    "last fragment": ethernet(ipv4(CLIENT.host, SERVER.host, bytes(64), fragment=4)),
    "options": ethernet(ipv4(CLIENT.host, SERVER.host, tcp(CLIENT, SERVER, 1, 1, ACK, b"x"), options=bytes([1] * 8))),
    "ipv6 fragment": ethernet(ipv6("fd00::1", "fd00::2", bytes([6, 0, 0, 8]) + bytes(40), protocol=44)),
    "ipv6 options": ethernet(ipv6("fd00::1", "fd00::2", bytes([6, 0]) + bytes(6) + tcp(*SIX, 1, 1, ACK, b""), 60)),
}
"""Frames that may hold TCP from or to port 9001."""
OTHER_PORT = Address(SERVER.host, 9002)
OTHER_PORTS = {
    "ipv4": Connection(server=OTHER_PORT).data(1, b"x"),
    "ipv6": Connection(SIX[0], Address("fd00::2", 9002)).data(1, b"x"),
    "vlan": ethernet(Connection(server=OTHER_PORT).data(1, b"x")[14:], tag(7)),
    "options": ethernet(
        ipv4(CLIENT.host, SERVER.host, tcp(CLIENT, OTHER_PORT, 1, 1, ACK, b"x"), options=bytes([1] * 8))
    ),
}
NOT_TCP = {
    "udp": ethernet(ipv4(CLIENT.host, SERVER.host, bytes(30), protocol=17)),
    "udp over ipv6": ethernet(ipv6("fd00::1", "fd00::2", bytes(30), protocol=17)),
    "fragment of udp": ethernet(ipv4(CLIENT.host, SERVER.host, bytes(64), protocol=17, fragment=4)),
    "fragment of udp over ipv6": ethernet(ipv6("fd00::1", "fd00::2", bytes([17, 0, 0, 8]) + bytes(40), protocol=44)),
    "arp": bytes.fromhex("ffffffffffff 020000000001 0806") + bytes(46),
    "udp in vlan": ethernet(ipv4(CLIENT.host, SERVER.host, bytes(30), protocol=17), tag(7)),
    "tcp in four tags": ethernet(UNTAGGED[14:], tag(1) + tag(2) + tag(3) + tag(4) + tag(5)),
}
LAST = Connection().data(2, b"the last one")


@pytest.mark.parametrize("device", ["v0", "v1"], ids=["going out", "coming in"])
@pytest.mark.parametrize("given", ["name", "pattern"])
def test_frames_come_as_they_were_sent(device: str, given: str) -> None:
    veth()
    ports = [1, 9001, 65535]
    with open_interfaces([device if given == "name" else f"?{device[1]}"], ports) as capture:
        send("v0", [*NOT_TCP.values(), *OTHER_PORTS.values(), *FRAMES.values(), LAST])
        packets = packets_of(capture, len(FRAMES) + 1)
    assert [packet.data for packet in packets] == [*FRAMES.values(), LAST]
    assert [packet.original_length for packet in packets] == [len(packet.data) for packet in packets]


@pytest.mark.parametrize("ports", [None, range(1, 52)], ids=["no ports", "too many ports for a filter"])
def test_without_ports_all_of_tcp_comes(ports: Sequence[int] | None) -> None:
    veth()
    with open_interfaces(["v1"], ports) as capture:
        send("v0", [*NOT_TCP.values(), *OTHER_PORTS.values(), *FRAMES.values(), LAST])
        packets = packets_of(capture, len(OTHER_PORTS) + len(FRAMES) + 1)
    assert [packet.data for packet in packets] == [*OTHER_PORTS.values(), *FRAMES.values(), LAST]


def test_the_answers_from_a_port_come_too() -> None:
    veth()
    with open_interfaces(["v1"], [9001]) as capture:
        send("v0", [Connection().reply(0, b"x"), LAST])
        assert [packet.data for packet in packets_of(capture, 2)] == [Connection().reply(0, b"x"), LAST]


def test_raw_ip_of_a_tunnel_device() -> None:
    with tunnel("tun0") as file, open_interfaces(["tun0"], [9001]) as capture:
        wanted = [UNTAGGED[14:], FRAMES["ipv6"][14:]]
        for network in (NOT_TCP["udp"][14:], OTHER_PORTS["ipv4"][14:], OTHER_PORTS["ipv6"][14:], *wanted):
            os.write(file, network)
        packets = packets_of(capture, len(wanted))
        assert [(packet.link_type, packet.data) for packet in packets] == [(RAW, network) for network in wanted]


@contextmanager
def tunnel(name: str) -> Iterator[int]:
    """A device whose packets come from a file."""
    file = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(file, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))  # TUNSETIFF: IFF_TUN, IFF_NO_PI
        ip(f"link set {name} addrgenmode none")
        ip(f"link set {name} up")
        yield file
    finally:
        os.close(file)


def test_devices_of_several_kinds_in_one_pattern() -> None:
    veth("t0", "t1")
    with tunnel("tun0") as file, open_interfaces(["t*"]) as capture:
        for number in range(3):
            send("t0", [Connection().data(number, b"ethernet")])
            os.write(file, Connection().data(number, b"raw")[14:])
        captured = capture_until(capture, lambda so_far: len(so_far.packets) == 9)
    kinds = {"t0": ETHERNET, "t1": ETHERNET, "tun0": RAW}
    assert sorted(captured.interfaces) == sorted(list(kinds) * 3)
    assert [kinds[name] for name in captured.interfaces] == [packet.link_type for packet in captured.packets]
    assert {segment(packet).length for packet in captured.packets} == {len(b"raw"), len(b"ethernet")}


def test_what_a_bridge_forwards_between_others_is_seen_unless_that_is_not_wanted() -> None:
    ip("link add v0 address 02:00:00:00:00:01 type veth peer name p0 address 02:00:00:00:00:03")
    ip("link add v1 address 02:00:00:00:00:02 type veth peer name p1 address 02:00:00:00:00:04")
    ip("link add br0 address 02:00:00:00:00:05 type bridge")
    for name in ("v0", "p0", "p1", "v1", "br0"):
        ip(f"link set {name} addrgenmode none")
        ip(f"link set {name} up")
    for name in ("p0", "p1"):
        ip(f"link set {name} master br0")
    wait_for(lambda: "state forwarding" in bridge_ports())
    # With IPv6, for the firewall of bridges drops IPv4 headers without a checksum.
    frames = [Connection(*SIX).data(number, b"x") for number in range(3)]
    answer = Connection(*SIX).reply(0, b"x")
    answer = answer[6:12] + answer[:6] + answer[12:]
    for promiscuous, expected in ((False, 0), (True, 3)):
        with open_interfaces(["br0"], promiscuous=promiscuous) as capture, open_interfaces(["v1"]) as at_the_end:
            send("v1", [answer])  # so the bridge knows where it is, and floods nothing
            send("v0", frames)
            capture_until(at_the_end, lambda so_far: len(so_far.packets) >= 4)
            capture.stop()
            captured = capture_until(capture, lambda _: False)
        assert len([packet for packet in captured.packets if packet.data in frames]) == expected


def bridge_ports() -> str:
    states = subprocess.run(["bridge", "link", "show"], capture_output=True, text=True, check=True).stdout
    return "" if "state disabled" in states or "state learning" in states else states


@pytest.mark.parametrize("device", ["lo", "any", "v1", "v0", "tun0"])
def test_the_same_as_tcpdump_at_the_same_time(device: str, tmp_path: Path) -> None:
    veth()
    path = tmp_path / "tcpdump.pcap"
    with tunnel("tun0") as file, tcpdump(device, path, "tcp port 9001" + " or vlan" * device.startswith("v")):
        with open_interfaces([device], [9001]) as capture:
            frames = [FRAMES[name] for name in ("ipv4", "ipv6", "options")]
            if device.startswith("v"):
                frames += [FRAMES[name] for name in FRAMES if "vlan" in name or "tag" in name]
            sent = {"lo": ["lo"], "any": ["lo", "v0"], "tun0": []}.get(device, ["v0"])
            for name in sent:
                send(name, frames)
            if device in ("tun0", "any"):
                for frame in frames[:3]:
                    os.write(file, frame[14:])
            expected = {"lo": 3, "any": 3 + 2 * 3 + 3, "tun0": 3}.get(device, len(frames))
            ours = packets_of(capture, expected)
        wait_for(lambda: count(path) == expected)
    theirs = [packet for packet in open_capture([str(path)]) if isinstance(packet, Packet)]
    assert [(p.data, p.link_type) for p in ours] == [(p.data, p.link_type) for p in theirs]
    assert all(abs(our.time_ns - their.time_ns) < MILLISECOND for our, their in zip(ours, theirs, strict=True))


@contextmanager
def tcpdump(device: str, path: Path, expression: str) -> Iterator[None]:
    command = ["tcpdump", "-i", device, "-Z", "root", "-U", "--nano", "-w", str(path), expression]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "listening on" in line:
                break
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)


def count(path: Path) -> int:
    """Whole packets in a pcap file that is being written."""
    try:
        with open_capture([str(path)]) as capture:
            return sum(isinstance(item, Packet) for item in capture)
    except CaptureError:
        return 0


# --- Several interfaces ---


def test_packets_of_several_interfaces_are_merged_by_time() -> None:
    veth("a0", "a1")
    veth("b0", "b1")
    with open_interfaces(["a1", "b1", "lo"]) as capture:
        for frame, device in zip(numbered(60), itertools.cycle(["a0", "b0", "lo"]), strict=False):
            send(device, [frame])
        captured = capture_until(capture, lambda so_far: len(so_far.packets) == 60)
    assert numbers(captured.packets) == list(range(60))
    assert captured.interfaces == ["a1", "b1", "lo"] * 20
    assert [packet.file for packet in captured.packets] == [0, 1, 2] * 20
    assert capture.files == ["a1", "b1", "lo"]
    assert [packet.frame for packet in captured.packets] == list(range(1, 61))
    assert [each.received for each in capture.statistics()] == [20, 20, 20]


def test_packets_that_can_be_read_earlier_wait_for_older_ones() -> None:
    """A block of the ring that is full can be read at once, the one with a single packet only later."""
    veth()
    with open_interfaces(["v1", "lo"]) as capture:
        send("v0", numbered(1))
        send("lo", numbered(3000, first=1))
        packets = packets_of(capture, 3001)
    assert numbers(packets) == list(range(3001))
    assert [packet.file for packet in packets] == [0] + [1] * 3000


def test_an_interface_that_is_quiet_does_not_hold_up_the_others() -> None:
    veth()
    with open_interfaces(["v1", "lo"]) as capture:
        send("v0", numbered(5))
        assert numbers(packets_of(capture, 5)) == list(range(5))


def test_an_interface_that_comes_later_is_taken_up_and_one_that_goes_is_told_of() -> None:
    veth("c0", "x0")
    with open_interfaces(["c*"]) as capture:
        items = capture.blocks()
        captured = networks.Captured([], [], [])
        send("x0", numbered(1))
        read_until(items, capture, captured, 1)
        veth("c1", "x1")
        first = next(number for number in itertools.count(1) if comes(items, capture, captured, number))
        ip("link delete c0")
        while not captured.problems:
            networks.take(capture, next(items), captured)
        send("x1", numbered(1, first=first + 1))
        read_until(items, capture, captured, captured.packets[-1].frame + 1)
    assert captured.interfaces[0] == "c0"
    assert set(captured.interfaces[1:]) == {"c1"}
    assert [(problem.kind, problem.detail) for problem in captured.problems] == [("interface_gone", "c0 is gone")]
    assert numbers(captured.packets) == sorted(numbers(captured.packets))


def comes(items: Iterator[Item], capture: LiveCapture, captured: networks.Captured, number: int) -> bool:
    """Send a packet on x1; say whether it is captured, or time passes instead."""
    send("x1", numbered(1, first=number))
    for item in items:
        networks.take(capture, item, captured)
        if not isinstance(item, CaptureProblem):
            return isinstance(item, PacketBlock)
    return False


def read_until(items: Iterator[Item], capture: LiveCapture, captured: networks.Captured, number: int) -> None:
    while len(captured.packets) < number:
        networks.take(capture, next(items), captured)


# --- What goes wrong ---


@pytest.mark.parametrize("given", ["v1", "v*"])
def test_an_interface_that_is_deleted_ends_the_capture_behind_its_last_packets(given: str) -> None:
    veth()
    with open_interfaces([given]) as capture:
        send("v0", numbered(100))
        ip("link delete v0")
        captured = capture_until(capture, lambda _: False)
    devices = ["v1"] if given == "v1" else ["v0", "v1"]
    assert len(captured.packets) == 100 * len(devices)
    assert captured.packets[-1].frame == captured.problems[0].frame, "nothing was captured behind it"
    assert {(problem.kind, problem.detail) for problem in captured.problems} == {
        ("interface_gone", f"{device} is gone") for device in devices
    }


def test_a_container_that_ends_takes_its_interface_away() -> None:
    veth()
    with subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE) as container:
        assert container.stdout is not None
        container.stdout.readline()
        ip(f"link set v1 netns {container.pid}")
        subprocess.run(["nsenter", "-t", str(container.pid), "-n", "ip", "link", "set", "v1", "up"], check=True)
        with open_interfaces(["v0"]) as capture:
            send("v0", numbered(10))
            container.kill()
            captured = capture_until(capture, lambda _: False)
    assert numbers(captured.packets) == list(range(10))
    assert [problem.detail for problem in captured.problems][-1] == "v0 is gone"


def test_an_interface_that_is_down_is_told_of_once_and_captured_on_again() -> None:
    veth()
    with open_interfaces(["v0"]) as capture:
        items, captured = capture.blocks(), networks.Captured([], [], [])
        ip("link set v0 down")
        while not captured.problems:
            networks.take(capture, next(items), captured)
        for _ in range(5):
            assert isinstance(next(items), TimePassed)
        ip("link set v0 up")
        send("v0", numbered(3))
        read_until(items, capture, captured, 3)
    assert [(problem.kind, problem.file) for problem in captured.problems] == [("interface_down", 0)]
    assert captured.problems[0].detail.startswith("v0 is down")


def test_a_burst_of_200000_packets_is_captured_whole() -> None:
    """The ring holds about 60 MB of it, so it is all there even if nobody reads meanwhile."""
    with open_interfaces(["lo"]) as capture:
        send("lo", numbered(200_000))
        captured = capture_until(capture, lambda so_far: len(so_far.packets) == 200_000)
    assert numbers(captured.packets) == list(range(200_000))
    assert captured.problems == []
    assert capture.statistics() == [("lo", 200_000, 0)]


@pytest.mark.parametrize("given", ["lo", "l*", "any"])
def test_what_a_ring_that_is_too_small_drops_is_counted(given: str) -> None:
    sent = 20_000
    with open_interfaces([given], ring_size=1) as capture:
        send("lo", numbered(sent))
        captured = capture_until(capture, lambda so_far: bool(so_far.problems))
    assert 0 < len(captured.packets) < sent
    assert {problem.kind for problem in captured.problems} == {"dropped"}
    assert sum(problem.size or 0 for problem in captured.problems) == sent - len(captured.packets)
    assert capture.statistics() == [(given, len(captured.packets), sent - len(captured.packets))]
    detail = f"the kernel dropped {captured.problems[0].size} packets of {given}, for which its ring had no room"
    assert captured.problems[0].detail == detail


def test_what_a_full_ring_drops_lies_in_few_places() -> None:
    """Whoever takes a block where two come has a hole behind each, unless the kernel gets many back together."""
    rounds, frames = 100, numbered(40_000, 1400)
    each = len(frames) // rounds
    packets: list[Packet] = []
    with open_interfaces(["lo"], ring_size=64 * BLOCK_SIZE) as capture:
        items = capture.blocks()
        for start in range(0, len(frames), each):
            send("lo", frames[start : start + each])
            packets.extend(item if isinstance(item := next(items), PacketBlock) else ())
        capture.stop()
        packets += [packet for item in items if isinstance(item, PacketBlock) for packet in item]
    found = numbers(packets)
    assert len(found) < len(frames)
    assert 1 <= sum(after != before + 1 for before, after in pairwise(found)) <= rounds // 10


# --- The run of a capture ---


def test_time_passes_while_nothing_comes() -> None:
    with open_interfaces(["lo"]) as capture:
        before = time.time_ns()
        moments = [item.time_ns for item in itertools.islice(capture.blocks(), 4) if isinstance(item, TimePassed)]
        assert len(moments) == 4
        assert moments == sorted(moments)
        assert all(before - 1000 * MILLISECOND < moment < time.time_ns() for moment in moments)


def test_no_packet_is_older_than_the_time_that_has_passed() -> None:
    with open_interfaces(["lo"]) as capture:
        sending = threading.Timer(0.6, exchange, args=(100_000,))
        sending.start()
        passed = 0
        for item in capture.blocks():
            if isinstance(item, TimePassed):
                passed = item.time_ns
            elif isinstance(item, PacketBlock):
                assert all(packet.time_ns > passed for packet in item)
                break
        sending.join()


def test_a_signal_handler_can_stop_it_and_what_was_captured_comes_still() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: capture.stop())
    try:
        with open_interfaces(["lo"]) as capture:
            send("lo", numbered(1000))
            signal.raise_signal(signal.SIGUSR1)
            send("lo", numbered(5, first=5000))
            captured = capture_until(capture, lambda _: False)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert numbers(captured.packets)[:1000] == list(range(1000))


def test_nothing_from_before_is_captured() -> None:
    send("lo", numbered(10))
    for given in ("lo", "l*", "any"):
        with open_interfaces([given]) as capture:
            send("lo", numbered(2, first=100))
            assert numbers(packets_of(capture, 2)) == [100, 101]


def test_statistics_are_known_after_the_end() -> None:
    with open_interfaces(["lo"]) as capture:
        send("lo", numbered(4))
        packets_of(capture, 4)
    assert capture.statistics() == [("lo", 4, 0)]
    assert capture.interface_statistics() == [(0, 4, 0)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["eth7"], "eth7: there is no such interface; there are lo, v1, v0"),
        (["lo", "eth7"], "eth7: there is no such interface; there are lo, v1, v0"),
        (["eth*", "w?"], "eth* w?: no interface has such a name; there are lo, v1, v0"),
        (["any", "lo"], "any: it is all interfaces; leave the others out"),
    ],
)
def test_what_cannot_be_captured_on_is_said(given: list[str], message: str) -> None:
    veth()
    with pytest.raises(CaptureError) as raised:
        open_interfaces(given)
    assert str(raised.value) == message


def test_a_ring_that_no_kernel_makes() -> None:
    with pytest.raises(CaptureError) as raised:
        open_interfaces(["lo"], ring_size=2**40)
    assert str(raised.value) == "lo: a ring of 1048576 MiB is too large; it must be less than 4 GiB"
