"""TLS with secrets: the messages inside are those of the clear text, with the frames and streams of the capture."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from raft_dissect.dissection import Dissection
from raft_dissect.streams.segments import Segment, decode_segment
from raft_dissect.tls.decryption import Decryption
from raft_dissect.tls.keylog import KeyLog
from raft_dissect.tls.rewriting import Positions
from raft_dissect.tls.words import remarks
from raft_dissect.values import Diagnostic, Message, Packet, TransportEvent, Undecrypted
from tests import captures
from tests.captures import PCAPS, contents, truth
from tests.tls_captures import TLS_1_2, TLS_1_3, Sealing, sealed

if TYPE_CHECKING:
    from pathlib import Path
    from ssl import TLSVersion

    from raft_dissect.dissection import Source
    from raft_dissect.values import Event

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark, which decrypts, is not installed")

RUN = "tls13-cowsql-0.22.1"
KEYS = PCAPS / f"{RUN}.keys"
CLEAR = "s1-cowsql-0.20.0.pcap"


class Opened:
    """What came of a capture with the secrets that there are."""

    def __init__(self, source: Source, keys: Path | None) -> None:
        self.dissection = Dissection(source, tls_keys=keys, hash_payload=True)
        self.events: list[Event] = list(self.dissection)
        self.messages = [event for event in self.events if isinstance(event, Message)]
        self.diagnostics = [event for event in self.events if isinstance(event, Diagnostic)]


def has_data(packet: Packet) -> bool:
    segment = decode_segment(packet)
    return isinstance(segment, Segment) and bool(segment.data)


def counted(packet: Packet, frame: int) -> Packet:
    """A frame whose number is also the identification of its IPv4 packet, which Linux counts."""
    data = packet.data
    if data[12:14] == b"\x08\x00":
        data = data[:18] + frame.to_bytes(2, "big") + data[20:]
    return packet._replace(data=data, frame=frame)


@pytest.fixture(name="log")
def key_log(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.mark.parametrize(("file", "keys"), [(f"{RUN}.pcap", KEYS), (f"{RUN}.dsb.pcapng", None)])
def test_a_run_inside_tls_is_what_its_servers_logged(file: str, keys: Path | None) -> None:
    opened = Opened(PCAPS / file, keys)
    counts = Counter(message.name for message in opened.messages)
    for name, logged in truth(RUN)["message_totals"].items():
        assert logged["received"] <= counts[name] <= logged["write_ok"]
    assert not opened.diagnostics


def test_what_is_decrypted_at_one_server_is_what_it_sent_and_received_in_clear() -> None:
    host = truth(RUN)["ips"]["1"]
    decrypted = Counter(
        (message.preamble, message.header, message.payload_sha256)
        for message in Opened(PCAPS / f"{RUN}.pcap", KEYS).messages
        if host in (message.stream.source.host, message.stream.destination.host)
    )
    plain = Counter(
        (message.preamble, message.header, message.payload_sha256)
        for message in Opened(PCAPS / f"{RUN}.plain1.pcap", None).messages
    )
    assert decrypted
    assert not decrypted - plain


def test_frames_times_and_streams_are_those_of_the_capture() -> None:
    packets = {packet.frame: packet for packet in captures.packets(f"{RUN}.pcap")}
    numbers: dict[frozenset[tuple[bytes, bytes]], int] = {}
    for packet in packets.values():
        segment = decode_segment(packet)
        if isinstance(segment, Segment) and segment.flags & 0b10010 == 0b10:
            hosts, ports = segment.key[:8], segment.key[8:]
            ends = frozenset([(hosts[:4], ports[:2]), (hosts[4:], ports[2:])])
            numbers[ends] = len(numbers)
    for message in Opened(PCAPS / f"{RUN}.pcap", KEYS).messages:
        packet = packets[message.place.frame]
        segment = decode_segment(packet)
        assert isinstance(segment, Segment)
        assert packet.time_ns == message.place.time_ns
        source = segment.key[:4], segment.key[8:10]
        assert message.stream.number // 2 == numbers[frozenset([source, (segment.key[4:8], segment.key[10:])])]
        assert message.stream.source.port == int.from_bytes(segment.key[8:10], "big")


@pytest.mark.parametrize("most", [60_000, 1_000, 11])
@pytest.mark.parametrize("upgrade", [False, True])
@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_messages_inside_tls_are_those_of_the_clear_text(
    version: TLSVersion, upgrade: bool, most: int, log: Path
) -> None:
    clear = captures.run_file(CLEAR)
    packets = sealed(captures.packets(CLEAR), log, Sealing(version, upgrade, most))
    opened = Opened(packets, log)
    assert not opened.diagnostics
    assert contents(opened.messages, offset=False) == contents(clear.messages, offset=False)
    assert [message.stream.number for message in opened.messages] == [
        message.stream.number for message in clear.messages
    ]


def test_packets_twice_and_out_of_order_change_nothing(log: Path) -> None:
    clear = captures.run_file(CLEAR)
    packets = sealed(captures.packets(CLEAR), log, Sealing(TLS_1_3, most=900))
    choice = random.Random(20)
    shuffled: list[Packet] = []
    for packet in packets:
        shuffled.append(packet)
        segment = decode_segment(packet)
        if isinstance(segment, Segment) and segment.data and choice.random() < 0.3:
            # The one before is captured late, and this one once more.
            shuffled[-2:] = [*reversed(shuffled[-2:]), packet]
    renumbered = [packet._replace(frame=frame) for frame, packet in enumerate(shuffled, 1)]
    opened = Opened(renumbered, log)
    assert not opened.diagnostics
    assert contents(opened.messages, offset=False) == contents(clear.messages, offset=False)


def test_a_lost_record_ends_its_direction_with_a_gap_that_says_so(log: Path) -> None:
    packets = sealed(captures.packets(CLEAR), log, Sealing(TLS_1_2))
    whole = Opened(packets, log)
    victim = whole.messages[len(whole.messages) // 2]
    lossy = [packet for packet in packets if packet.frame != victim.place.frame]
    opened = Opened(lossy, log)
    (gap,) = opened.diagnostics
    assert gap.kind == "gap"
    assert gap.stream is not None
    assert gap.stream.number == victim.stream.number
    assert "not decrypted" in gap.detail
    assert "missing from the capture" in gap.detail
    assert gap.gap is not None
    assert gap.gap.before.frame < victim.place.frame < gap.place.frame
    expected = [
        message
        for message in whole.messages
        if message.stream.number != victim.stream.number or message.place.frame < victim.place.frame
    ]
    assert contents(opened.messages) == contents(expected)


def test_what_is_sent_again_is_a_retransmission_and_nothing_else(log: Path) -> None:
    packets = sealed(captures.packets(CLEAR), log)
    whole = Opened(packets, log)
    victim = whole.messages[len(whole.messages) // 2]
    again = packets[victim.place.frame - 1]
    again = again._replace(time_ns=again.time_ns + 300_000_000)
    longer = sorted([*packets, again], key=lambda packet: packet.time_ns)
    opened = Opened([counted(packet, frame) for frame, packet in enumerate(longer, 1)], log)
    assert contents(opened.messages) == contents(whole.messages)
    (event,) = [each for each in opened.events if isinstance(each, TransportEvent) and each.kind == "retransmission"]
    assert event.stream.number == victim.stream.number
    assert event.place.time_ns == again.time_ns


def test_an_acknowledgement_covers_the_clear_text_of_whole_records() -> None:
    positions = Positions(100)
    positions.add(200, 50)
    positions.add(300, 70)
    expected = {50: 50, 100: 100, 199: 100, 200: 150, 299: 150, 300: 220, 1000: 220}
    assert {position: positions.clear(position) for position in expected} == expected


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_secrets_that_are_wrong_give_no_message_and_are_said(version: TLSVersion, log: Path) -> None:
    packets = sealed(captures.packets(CLEAR), log, Sealing(version))
    log.write_text("".join(f"{line[:-8]}00000000\n" for line in log.read_text().splitlines()))
    opened = Opened(packets, log)
    assert not opened.messages
    decryption = opened.dissection.decryption
    assert decryption is not None
    assert decryption.counts["failed"] == 4
    (remark,) = remarks(decryption)
    assert "4 TLS connections could not be decrypted: tshark could not decrypt the TLS record" in remark


def test_a_lost_answer_to_the_first_flight_is_said(log: Path) -> None:
    packets = sealed(captures.packets(CLEAR), log)
    answer = next(packet for packet in packets if b"\x16\x03\x03" in packet.data[:80] and packet.data[59:60] == b"\x02")
    opened = Opened([packet for packet in packets if packet is not answer], log)
    decryption = opened.dissection.decryption
    assert decryption is not None
    assert decryption.counts == {"decrypted": 3, "failed": 1}
    assert "missing from the capture" in remarks(decryption)[0]


def test_a_snaplen_ends_decryption_with_that_reason(log: Path) -> None:
    packets = sealed(captures.packets(CLEAR), log, Sealing(TLS_1_3))
    whole = Opened(packets, log)
    largest = max(packets[len(packets) // 2 :], key=lambda packet: len(packet.data))
    cut = [packet._replace(data=packet.data[:96]) if packet is largest else packet for packet in packets]
    opened = Opened(cut, log)
    (gap,) = opened.diagnostics
    assert gap.kind == "gap"
    assert gap.place.frame == largest.frame
    assert "the capture cut the end of a packet off" in gap.detail
    assert opened.dissection.statistics.cut_packets == 1
    assert len(opened.messages) < len(whole.messages)


def test_a_process_of_tshark_that_was_given_too_much_is_replaced(log: Path) -> None:
    packets = sealed(captures.packets(CLEAR), log)
    decryption = Decryption(KeyLog(str(log)), most_given=50_000)
    items = [item for packet in packets for item in decryption.feed(packet)]
    items += decryption.close()
    decryption.stop()
    ended = [item for item in items if isinstance(item, Undecrypted)]
    assert ended
    assert all("limit" in item.reason for item in ended)
    assert sum(isinstance(item, Packet) for item in items) == len(packets)


def test_a_connection_that_began_before_the_capture_is_counted_as_such(log: Path) -> None:
    packets = sealed(captures.packets(CLEAR), log)
    opened = Opened(packets[len(packets) // 2 :], log)
    assert not opened.messages
    assert opened.dissection.decryption is not None
    assert opened.dissection.decryption.counts["begun_midway"] == 4


def test_secrets_of_one_connection_open_that_one(log: Path) -> None:
    packets = sealed(captures.packets(CLEAR), log)
    whole = Opened(packets, log)
    lines = [line for line in log.read_text().splitlines() if not line.startswith("#")]
    kept = {line.split()[1] for line in lines[:1]}
    log.write_text("".join(f"{line}\n" for line in lines if line.split()[1] in kept))
    opened = Opened(packets, log)
    (number,) = {message.stream.number for message in opened.messages}
    assert contents(opened.messages) == contents(m for m in whole.messages if m.stream.number == number)
    assert opened.dissection.decryption is not None
    assert opened.dissection.decryption.counts == {"decrypted": 1, "without_secret": 3}


def test_clear_text_beside_tls_is_left_alone() -> None:
    for file in (CLEAR, "noise-canon-0.18.1.pcap"):
        opened = Opened(PCAPS / file, KEYS)
        clear = Opened(PCAPS / file, None)
        assert list(map(captures.told, opened.events)) == list(map(captures.told, clear.events))
        statistics, expected = opened.dissection.statistics, clear.dissection.statistics
        for name in type(statistics).__slots__:
            assert getattr(statistics, name) == getattr(expected, name)
