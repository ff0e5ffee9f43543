"""Copies of the same bytes that differ: a wrong checksum gives away the damaged one, as it does to the receiver."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers import inet, inet6
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import checksum

from raft_dissect.streams.checksum import is_damaged, tcp_header
from raft_dissect.streams.segments import Segment, decode_segment
from tests import captures, golden_streams
from tests.capture_files import pcap
from tests.golden_streams import GoldenStream
from tests.packets import Address, Connection, capture

if TYPE_CHECKING:
    from pathlib import Path

    from raft_dissect.values import Packet

FOUR = Connection()
SIX = Connection(Address("fd77:77::1", 40000), Address("fd77:77::2", 9001))
APPEND = next(vector for vector in golden_streams.USUAL if vector.name == "ae_dqlite_frames__c-0.18.0")
STREAM = GoldenStream(golden_streams.HANDSHAKES[0], [APPEND])
PAYLOAD = STREAM.data[STREAM.parts[0].payload :]
A, B, C = STREAM.parts[0].payload, STREAM.parts[0].payload + 101, STREAM.parts[0].payload + 400
"""Three segments: up to the payload, its first 101 bytes, and the next 299; the rest is a fourth."""

both = pytest.mark.parametrize("connection", [FOUR, SIX], ids=["ipv4", "ipv6"])


def with_checksum(frame: bytes) -> bytes:
    """A frame as it is on the wire: Scapy puts the checksum in."""
    packet = Ether(frame)
    del packet[TCP].chksum
    return bytes(packet)


def damaged(frame: bytes) -> bytes:
    """A frame with another last byte, whatever its checksum."""
    return frame[:-1] + bytes([frame[-1] ^ 0x55])


def before_the_card(frame: bytes, *, cut: bool) -> bytes:
    """A frame as a kernel leaves it: the sum of the pseudo header, without the length if the card cuts the frame."""
    packet = Ether(frame)
    network = IP if IP in packet else IPv6
    length = 0 if cut else len(bytes(packet[TCP]))
    packet[TCP].chksum = 0xFFFF ^ checksum(_pseudo(packet[network], length))
    return bytes(packet)


def _pseudo(packet: Any, length: int) -> bytes:
    if isinstance(packet, IPv6):
        return bytes(inet6.PseudoIPv6(src=packet.src, dst=packet.dst, uplen=length, nh=6))
    return bytes(inet.in4_pseudoheader(6, packet, length))


def payload(frames: list[bytes]) -> bytes | None:
    (message,) = captures.run(capture(frames), keep_payload=True).messages
    return message.payload


def parts(connection: Connection) -> list[bytes]:
    """The packets that open the connection and bring all up to the payload; then its pieces, all with checksums."""
    edges = [0, A, B, C, len(STREAM.data)]
    pieces = [connection.data(start, STREAM.data[start:end]) for start, end in pairwise(edges)]
    return [*connection.opening(), *map(with_checksum, pieces)]


@both
@pytest.mark.parametrize("bad_first", [True, False])
def test_the_copy_with_the_right_checksum_wins(connection: Connection, bad_first: bool) -> None:
    *start, first, second, last = parts(connection)
    copies = [damaged(second), second] if bad_first else [second, damaged(second)]
    assert payload([*start, *copies, first, last]) == PAYLOAD


@both
def test_a_damaged_copy_that_waits_gives_way_to_a_larger_segment(connection: Connection) -> None:
    *start, _, second, last = parts(connection)
    larger = with_checksum(connection.data(A, STREAM.data[A : C + 10]))
    assert payload([*start, damaged(second), larger, last]) == PAYLOAD


@both
def test_a_damaged_segment_that_comes_in_order_gives_way_to_what_waits(connection: Connection) -> None:
    """All of it: the bytes before what waits come in another packet."""
    *start, first, second, last = parts(connection)
    larger = damaged(with_checksum(connection.data(A, STREAM.data[A:C])))
    larger = larger[: A - C] + b"bad" + larger[A - C + 3 :]
    assert payload([*start, second, larger, first, last]) == PAYLOAD


@both
@pytest.mark.parametrize("offload", ["none", "pseudo header", "pseudo header without length"])
@pytest.mark.parametrize("swapped", [True, False])
def test_without_checksums_the_first_copy_is_believed(connection: Connection, offload: str, swapped: bool) -> None:
    *start, first, _, last = parts(connection)
    frame = connection.data(B, STREAM.data[B:C])
    if offload != "none":
        frame = before_the_card(frame, cut="without" in offload)
    copies = [damaged(frame), frame] if swapped else [frame, damaged(frame)]
    expected = bytearray(PAYLOAD)
    expected[C - A - 1] ^= 0x55 if swapped else 0
    assert payload([*start, *copies, first, last]) == bytes(expected)


def test_the_first_copy_is_believed_whatever_its_bytes_are() -> None:
    """Two damaged copies, and one of another size that is damaged as well."""
    *start, first, second, last = parts(FOUR)
    other = with_checksum(FOUR.data(B - 10, STREAM.data[B - 10 : C]))
    copies = [damaged(second), second[:-1] + b"\xff", other[:-1] + b"\x00"]
    expected = bytearray(PAYLOAD)
    expected[C - A - 1] ^= 0x55
    assert payload([*start, *copies, first, last]) == bytes(expected)


# --- The checksum itself ---


def segment_of(frame: bytes) -> Segment:
    segment = decode_segment(capture([frame])[0])
    assert isinstance(segment, Segment)
    return segment


@given(st.sampled_from([FOUR, SIX]), st.binary(min_size=1, max_size=200), st.integers(0, 2**32), st.integers(0))
def test_any_bit_that_changes_is_seen(connection: Connection, data: bytes, offset: int, bit: int) -> None:
    frame = with_checksum(connection.data(offset, data))
    segment = segment_of(frame)
    header = tcp_header(segment)
    assert not is_damaged(header, data, len(data))
    assert not is_damaged(header, data[:-1], len(data))
    if int.from_bytes(header.header[16:18], "big") in (0, 0xFFFF):
        return
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    assert is_damaged(header, bytes(changed), len(data))


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_the_same_damage(tmp_path: Path) -> None:
    frames = []
    for connection in (FOUR, SIX):
        for size in (1, 2, 3, 100, 1447, 1448):
            frame = with_checksum(connection.data(size, STREAM.data[:size]))
            frames += [frame, damaged(frame), frame[:-1] + b"\0"]
    packets: list[Packet] = capture(frames)
    path = tmp_path / "checksums.pcap"
    path.write_bytes(pcap(*packets))
    command = ["tshark", "-r", str(path), "-o", "tcp.check_checksum:TRUE", "-T", "fields", "-e", "tcp.checksum.status"]
    rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    segments = map(segment_of, frames)
    ours = ["0" if is_damaged(tcp_header(s), s.data, s.length) else "1" for s in segments]
    assert ours == rows
    assert len(set(ours)) == 2
