"""IP fragments: in any order, doubled, overlapping, lost, in tunnels; what a receiver makes of them is what is read."""

from __future__ import annotations

import shutil
import subprocess
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers import inet, inet6
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN

from raft_dissect.streams import fragments
from raft_dissect.streams.fragments import Fragments
from raft_dissect.streams.segments import Fragment, Segment, decode_segment
from tests import captures, golden_streams
from tests.capture_files import pcap
from tests.golden_streams import GoldenStream
from tests.packets import SECOND, Address, Connection, capture, ethernet, ipv4

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from raft_dissect.values import Packet
    from tests.captures import Result

FOUR = Connection()
SIX = Connection(Address("fd77:77::1", 40000), Address("fd77:77::2", 9001))
LINK: dict[str, Any] = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}  # without them Scapy asks the network
STREAM = GoldenStream(golden_streams.HANDSHAKES[0], [v for v in golden_streams.USUAL if v.name.endswith("c-0.18.0")])
"""Some 7 KiB in five segments."""


fragment: Any = inet.fragment  # Scapy gives them no types
fragment6: Any = inet6.fragment6


def cut(frame: bytes, number: int, size: int) -> list[bytes]:
    """The fragments that a router makes of a packet; `number` identifies it, `size` is in bytes."""
    packet = Ether(frame)
    if IP in packet:
        packet[IP].id = number
        del packet[IP].chksum
        return [bytes(piece) for piece in fragment(packet, fragsize=size)]
    whole = packet[IPv6]
    payload = whole.payload
    whole.remove_payload()
    del whole.plen, whole.nh
    tagged = Ether(**LINK) / whole / IPv6ExtHdrFragment(id=number, nh=6) / payload
    return [bytes(Ether(**LINK) / piece[IPv6]) for piece in fragment6(tagged, size + 56)]


def reference(connection: Connection) -> Counter[tuple[object, ...]]:
    return captures.contents(captures.run(capture(connection.whole(STREAM.data)), keep_payload=True).messages)


REFERENCES = {id(connection): reference(connection) for connection in (FOUR, SIX)}


def run(frames: list[bytes], **options: Any) -> Result:
    return captures.run(capture(frames, **options), keep_payload=True)


any_seed = st.integers(0, 2**32).map(Random)


@given(st.sampled_from([FOUR, SIX]), st.sampled_from([64, 504, 1000]), any_seed)
@settings(max_examples=40, deadline=None)
def test_fragments_in_any_order_and_doubled_give_the_same_messages(
    connection: Connection, size: int, chance: Random
) -> None:
    """Those of one packet in any order; a message is complete where the last of its fragments is."""
    frames: list[bytes] = []
    completed: dict[int, int] = {}
    for number, frame in enumerate(connection.whole(STREAM.data), 1):
        *pieces, last = chance.sample(whole := cut(frame, number, size), len(whole))
        doubled = pieces + chance.choices(pieces, k=2) if pieces else []
        frames += [*chance.sample(doubled, len(doubled)), last]
        completed[number] = len(frames)
    result = run(frames, step_ns=1000)
    assert captures.contents(result.messages) == REFERENCES[id(connection)]
    expected = captures.run(capture(connection.whole(STREAM.data)))
    assert [m.place.frame for m in result.messages] == [completed[m.place.frame] for m in expected.messages]
    assert result.statistics.skipped == {}


def test_copies_that_come_too_late_are_passed_over() -> None:
    frames = [piece for number, frame in enumerate(FOUR.whole(STREAM.data)) for piece in cut(frame, number, 504)]
    result = run([*frames[:6], *frames[4:]])
    assert captures.contents(result.messages) == REFERENCES[id(FOUR)]
    assert result.statistics.skipped == {"IP fragment": 2}


@given(st.sampled_from([FOUR, SIX]), any_seed)
@settings(max_examples=30, deadline=None)
def test_fragments_of_all_packets_mixed_give_the_same_messages(connection: Connection, chance: Random) -> None:
    opening, *rest = [cut(frame, number, 400) for number, frame in enumerate(connection.whole(STREAM.data), 1)]
    mixed = [piece for pieces in rest for piece in pieces]
    chance.shuffle(mixed)
    result = run([*opening, *mixed], step_ns=1000)
    assert captures.contents(result.messages) == REFERENCES[id(connection)]
    assert result.statistics.skipped == {}


def test_a_packet_that_is_its_only_fragment_stands_for_itself() -> None:
    """An atomic fragment (RFC 6946), also while others with the same number wait."""
    frames = SIX.whole(STREAM.data)
    first = cut(frames[3], 7, 504)
    atomic = [bytes(Ether(**LINK) / piece) for frame in frames[4:] for piece in [_atomic(frame, 7)]]
    result = run([*frames[:3], first[0], *atomic, *first[1:]])
    assert captures.contents(result.messages) == REFERENCES[id(SIX)]
    assert result.statistics.skipped == {}


def _atomic(frame: bytes, number: int) -> Any:
    whole = Ether(frame)[IPv6]
    payload = whole.payload
    whole.remove_payload()
    del whole.plen, whole.nh
    return whole / IPv6ExtHdrFragment(id=number, nh=6) / payload


@pytest.mark.parametrize("connection", [FOUR, SIX], ids=["ipv4", "ipv6"])
def test_a_packet_whose_fragments_overlap_is_dropped(connection: Connection) -> None:
    """Fragments of two sizes under one number: the receiver drops what RFC 5722 says; a retransmission comes."""
    frames = connection.whole(STREAM.data)
    small, large = cut(frames[3], 4, 400), cut(frames[3], 4, 504)
    mixed = [small[0], large[1], *small[1:], large[-1]]
    result = run([*frames[:3], *mixed, *frames[4:-2], frames[3], *frames[-2:]])
    assert captures.contents(result.messages) == REFERENCES[id(connection)]
    assert result.statistics.skipped == {"overlapping IP fragment": len(mixed)}


@pytest.mark.parametrize("connection", [FOUR, SIX], ids=["ipv4", "ipv6"])
def test_a_copy_with_other_bytes_is_no_copy(connection: Connection) -> None:
    frames = connection.whole(STREAM.data)
    pieces = cut(frames[3], 4, 400)
    other = pieces[0][:-1] + bytes([pieces[0][-1] ^ 1])
    result = run([*frames[:3], pieces[0], other, *pieces[1:], *frames[4:-2], frames[3], *frames[-2:]])
    assert captures.contents(result.messages) == REFERENCES[id(connection)]
    assert result.statistics.skipped == {"overlapping IP fragment": len(pieces) + 1}


@pytest.mark.parametrize("lost", [0, 1, -1])
def test_a_packet_of_which_a_fragment_is_lost_is_a_gap(lost: int) -> None:
    frames = FOUR.whole(STREAM.data)
    pieces = cut(frames[4], 5, 400)
    del pieces[lost]
    result = run([*frames[:4], *pieces, *frames[5:]])
    (gap,) = result.of_kind("gap")
    assert (gap.offset, gap.size) == (1448, 1448)
    assert result.statistics.skipped == {"IP fragment": len(pieces)}


@pytest.mark.parametrize(("late", "skipped"), [(30 * SECOND, {}), (30 * SECOND + 1, {"IP fragment": 4})])
def test_fragments_wait_thirty_seconds_for_the_rest(late: int, skipped: dict[str, int]) -> None:
    *pieces, last = capture(cut(FOUR.segments(STREAM.data)[0], 1, 400), step_ns=0)
    result = captures.run([*pieces, last._replace(time_ns=last.time_ns + late)])
    assert result.statistics.skipped == skipped


def test_fragments_that_a_short_snaplen_cut_give_what_is_there() -> None:
    """The first 400 bytes are whole: 380 of them payload. The second fragment is cut, and what is behind is no use."""
    (segment,) = FOUR.segments(STREAM.data[:1448])
    frames = cut(segment, 1, 400)
    packets = [packet._replace(data=packet.data[:134]) if packet.frame == 2 else packet for packet in capture(frames)]
    (found,) = segments(packets).values()
    assert (found.data, found.length) == (STREAM.data[: 380 + 100], 1448)


def test_memory_is_bounded_and_that_is_said_once() -> None:
    """First fragments of 1400 bytes that nothing follows."""
    count = 2 * fragments.MAX_HELD // 1800
    frames = (
        ethernet(ipv4(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "10.9.9.9", bytes(1400), fragment=0x2000))
        for n in range(count)
    )
    result = run(list(frames), step_ns=0)
    (limit,) = result.of_kind("limit")
    assert limit.size == fragments.MAX_HELD
    assert limit.place.frame == fragments.MAX_HELD // 1800 + 1
    assert result.statistics.skipped == {"IP fragment": count}


def test_fragments_that_nobody_makes_are_named() -> None:
    too_long = ethernet(ipv4("10.0.0.1", "10.0.0.2", bytes(1000), fragment=0x1FFF))
    odd = ethernet(ipv4("10.0.0.1", "10.0.0.2", bytes(1001), fragment=0x2000))
    empty = ethernet(ipv4("10.0.0.1", "10.0.0.2", b"", fragment=0x2000))
    assert run([too_long, odd, empty]).statistics.skipped == {"broken IP fragment": 3}


def test_what_is_no_tcp_is_named_once_it_is_whole() -> None:
    datagram = Ether(**LINK) / IP(src="10.0.0.1", dst="10.0.0.2", id=5) / UDP(sport=5, dport=6) / bytes(3000)
    pieces = [bytes(piece) for piece in fragment(datagram, fragsize=1480)]
    assert run(pieces).statistics.skipped == {"IP protocol 17": 3}


# --- Tunnels ---


def inner(number: int, size: int) -> Any:
    data = STREAM.data[:size]
    ends: dict[str, Any] = {"sport": 40000, "dport": 9001, "seq": 1_000_001, "flags": "A"}
    return IP(src="10.0.0.1", dst="10.0.0.2", id=number) / TCP(**ends) / data


def test_a_tunnel_whose_packets_are_fragments_is_looked_into() -> None:
    outer = IP(src="192.0.2.1", dst="192.0.2.2", id=9) / UDP(sport=1, dport=4789) / VXLAN(vni=7) / Ether(**LINK)
    pieces = [bytes(piece) for piece in fragment(Ether(**LINK) / outer / inner(1, 1400), fragsize=800)]
    assert len(pieces) == 2
    assert [s.data for s in segments(capture(pieces)).values()] == [STREAM.data[:1400]]


def test_fragments_inside_a_tunnel_are_put_together() -> None:
    tunnel = Ether(**LINK) / IP(src="192.0.2.1", dst="192.0.2.2") / GRE()
    pieces = [bytes(tunnel / piece) for piece in fragment(inner(1, 1400), fragsize=800)]
    assert [s.data for s in segments(capture(pieces[::-1])).values()] == [STREAM.data[:1400]]


def test_fragments_of_fragments_are_put_together() -> None:
    tunnel = IP(src="192.0.2.1", dst="192.0.2.2") / GRE()
    pieces = []
    for number, piece in enumerate(fragment(inner(1, 1400), fragsize=800)):
        whole = Ether(**LINK) / tunnel / piece
        whole[IP].id = 100 + number
        pieces += [bytes(part) for part in fragment(whole, fragsize=400)]
    assert [s.data for s in segments(capture(pieces[::-1])).values()] == [STREAM.data[:1400]]


# --- tshark ---


def segments(packets: list[Packet]) -> dict[int, Segment]:
    """By number of the packet that completed it."""
    reassembled: dict[int, Segment] = {}
    waiting = Fragments(captures.run([]).statistics.skipped, [])
    for packet in packets:
        found = decode_segment(packet)
        segment = waiting.segment(found, packet) if isinstance(found, Fragment) else found
        if isinstance(segment, Segment):
            reassembled[packet.frame] = segment
    return reassembled


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("connection", [FOUR, SIX], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("size", [104, 800])
def test_tshark_reads_the_same_segments(connection: Connection, size: int, tmp_path: Path) -> None:
    """Fragments last to first, and some twice."""
    frames: list[bytes] = []
    for number, frame in enumerate(connection.whole(STREAM.data), 1):
        pieces = cut(frame, number, size)
        frames += [*pieces[:0:-1], *pieces[-1:], pieces[0]] if len(pieces) > 1 else pieces
    packets = capture(frames)
    path = tmp_path / "fragments.pcap"
    path.write_bytes(pcap(*packets))
    fields = ["frame.number", "tcp.srcport", "tcp.seq_raw", "tcp.payload"]
    command = ["tshark", "-r", str(path), "-Y", "tcp", "-T", "fields", *(w for name in fields for w in ("-e", name))]
    rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    ours = [
        f"{frame}\t{int.from_bytes(s.key[-4:-2], 'big')}\t{s.sequence}\t{s.data.hex()}"
        for frame, s in segments(packets).items()
    ]
    assert ours == rows
