"""What TCP did beside carrying bytes is what tshark says of it, and copies of a packet are not taken for anything."""

from __future__ import annotations

import shutil
import subprocess
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from raft_dissect.streams import Engine
from raft_dissect.values import StreamClosed, StreamOpened, TransportEvent
from tests import capture_files, captures, vectors
from tests.packets import CLIENT, MILLISECOND, SECOND, SERVER, START, Address, Connection, capture

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from raft_dissect.values import Event, Stream, TransportEventKind
    from tests.captures import Result

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

SENDING_AGAIN = [
    "s7-canon-0.18.1-pv.pcap",
    "s7-cowsql-0.22.1-nopv.pcap",
    "dq4-dqlite-1.18.6.pcap",
    "dq7-dqlite-1.18.6.pcap",
]
"""Captured before the network lost anything, so that what was sent again was captured before."""
REORDERED = "s8-reorder10-canon-0.18.1.pcap"
FAILING = ["s3-cowsql-0.22.1.pcap", "s2-cowsql-0.22.1.pcap", "s9-upgrade-canon0.9.25-to-0.18.1.pcap"]
WHOLE = "s1-5n-cowsql-0.22.1.pcap"
POINTS = [f"s1-5n-cowsql-0.22.1.node{node}.pcap" for node in range(1, 6)]

HANDSHAKE = vectors.load("uv_tcp_handshake")[0].data
HEARTBEAT = next(v for v in vectors.load("raft_message") if "heartbeat" in v.name).data
DATA = HANDSHAKE + HEARTBEAT * 40
"""What a server sends; the segments of the tests cut it into pieces of 100 bytes."""
IPV6 = Address("fd77:77::1", 40000), Address("fd77:77::2", 9001)


class Segment(NamedTuple):
    """What tshark says of a packet."""

    frame: int
    stream: int
    source: str
    port: str
    identification: str
    sequence: int
    length: int
    acknowledgement: int
    flags: int
    round_trip: str
    """Microseconds since the segment that it acknowledges; empty if it acknowledges none."""


@lru_cache(maxsize=2)
def tshark(path: Path, condition: str = "tcp") -> list[Segment]:
    fields = ["frame.number", "tcp.stream", "ip.src", "tcp.srcport", "ip.id", "tcp.seq", "tcp.len", "tcp.ack"]
    fields += ["tcp.flags", "tcp.analysis.ack_rtt"]
    command = ["tshark", "-n", "-r", str(path), "-Y", condition, "-T", "fields"]
    command += [word for name in fields for word in ("-e", name)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = []
    for line in output.splitlines():
        frame, stream, source, port, id_, sequence, length, ack, flags, seconds = line.split("\t")
        micros = str(round(float(seconds) * 1e6)) if seconds else ""
        place = int(sequence), int(length), int(ack or 0)
        found.append(Segment(int(frame), int(stream), source, port, id_, *place, int(flags, 16), micros))
    return found


def frames(path: Path, condition: str) -> list[int]:
    return [segment.frame for segment in tshark(path, condition)]


def told(result: Result, kind: TransportEventKind) -> list[TransportEvent]:
    return [event for event in result.events if isinstance(event, TransportEvent) and event.kind == kind]


def frames_of(result: Result, kind: TransportEventKind) -> list[int]:
    return [event.place.frame for event in told(result, kind)]


def streams(events: Iterable[Event]) -> list[Stream]:
    """The streams of Raft."""
    found = {e.stream.number: e.stream for e in events if isinstance(e, (StreamOpened, StreamClosed))}
    return list(found.values())


# --- Retransmissions ---


@needs_tshark
@pytest.mark.parametrize("file", SENDING_AGAIN)
def test_retransmissions_are_those_of_tshark(file: str) -> None:
    expected = frames(captures.PCAPS / file, "tcp.analysis.retransmission && tcp.len > 0")
    assert expected
    assert frames_of(captures.run_file(file), "retransmission") == expected


@needs_tshark
def test_what_a_network_duplicates_or_reorders_is_not_sent_again() -> None:
    """Bytes that were all captured before were sent again, unless the identification is that of an earlier packet.

    Where the network reorders what was sent again nothing tells that from a late packet, unless it is the newest.
    """
    sent_again, newest, duplicates = [], [], []
    bytes_of: dict[tuple[int, str], bytearray] = {}
    known: dict[tuple[int, str], set[int]] = {}
    for segment in tshark(captures.PCAPS / REORDERED, "tcp.len > 0"):
        direction, identification = (segment.stream, segment.port), int(segment.identification, 16)
        before, content = known.setdefault(direction, set()), bytes_of.setdefault(direction, bytearray(1 << 22))
        if identification in before:
            duplicates.append(segment.frame)
        elif all(content[segment.sequence : segment.sequence + segment.length]):
            sent_again.append(segment.frame)
            if identification > max(before):
                newest.append(segment.frame)
        before.add(identification)
        content[segment.sequence : segment.sequence + segment.length] = b"x" * segment.length
    found = frames_of(captures.run_file(REORDERED), "retransmission")
    assert len(duplicates) > 10
    assert set(newest) <= set(found) <= set(sent_again)


def test_a_capture_of_several_points_counts_each_packet_once() -> None:
    """Every packet of the whole capture is in two of the others."""

    def sent(result: Result) -> dict[object, int]:
        return {(s.source, s.destination): s.segments for s in streams(result.events)}

    merged, whole = captures.run_file(*POINTS), captures.run_file(WHOLE)
    assert told(merged, "retransmission") == []
    assert sent(merged) == sent(whole)


@pytest.mark.parametrize("file", SENDING_AGAIN)
@pytest.mark.parametrize("late", [200_000, 80 * MILLISECOND], ids=["at once", "another clock"])
def test_what_is_sent_again_is_told_once_however_often_it_is_captured(file: str, late: int) -> None:
    once = captures.packets(file)
    copies = [packet._replace(time_ns=packet.time_ns + late, file=1) for packet in once]
    result = captures.run(sorted([*once, *copies], key=lambda packet: packet.time_ns), hash_payload=True)
    assert frames_of(result, "retransmission") == frames_of(captures.run_file(file), "retransmission")


def numbered(frame: bytes, identification: int) -> bytes:
    """An Ethernet and IPv4 packet with another identification."""
    return frame[:18] + identification.to_bytes(2, "big") + frame[20:]


def windowed(frame: bytes, window: int) -> bytes:
    """An Ethernet and IPv4 packet with another window."""
    return frame[:48] + window.to_bytes(2, "big") + frame[50:]


def stamped(frame: bytes, stamp: int) -> bytes:
    """An Ethernet and IPv6 packet with timestamps (RFC 7323)."""
    header = frame[54:66] + bytes([8 << 4]) + frame[67:74]
    network = frame[14:18] + (int.from_bytes(frame[18:20], "big") + 12).to_bytes(2, "big") + frame[20:54]
    return frame[:14] + network + header + bytes.fromhex("0101080a") + stamp.to_bytes(4, "big") + bytes(4) + frame[74:]


def run(packets: Iterable[bytes], **options: Any) -> Result:
    return captures.run(capture(packets, **options))


def opened(connection: Connection) -> list[bytes]:
    """The connection is open, and its first 300 bytes were sent and acknowledged."""
    first = [numbered(connection.data(at, DATA[at : at + 100]), 10 + at // 100) for at in (0, 100, 200)]
    return [*connection.opening(), *first, connection.ack(300)]


def test_the_identification_tells_what_was_sent_again_from_a_copy() -> None:
    connection = Connection()
    last = connection.data(200, DATA[200:300])
    result = run([*opened(connection), numbered(last, 12), numbered(last, 13), numbered(last, 13), numbered(last, 11)])
    assert frames_of(result, "retransmission") == [9]
    assert streams(result.events)[0].segments == 4


def test_the_identification_is_counted_beyond_its_largest_value() -> None:
    connection = Connection()
    before = [numbered(connection.data(at, DATA[at : at + 100]), 0xFFFE + at // 100) for at in (0, 100)]
    last = connection.data(100, DATA[100:200])
    result = run([*connection.opening(), *before, numbered(last, 0xFFFF), numbered(last, 1)])
    assert frames_of(result, "retransmission") == [7]


def test_the_senders_clock_tells_it_where_there_is_no_identification() -> None:
    connection = Connection(*IPV6)
    opening = [stamped(frame, 100) for frame in connection.opening()]
    data = [stamped(connection.data(at, DATA[at : at + 100]), 100 + at) for at in (0, 100, 200)]
    again = [stamped(connection.data(100, DATA[100:200]), stamp) for stamp in (200, 299, 300, 301, 301)]
    result = run([*opening, *data, *again])
    assert frames_of(result, "retransmission") == [10]


def test_without_both_only_a_long_time_tells_it_and_only_within_one_file() -> None:
    connection = Connection()
    last = connection.data(200, DATA[200:300])
    before = capture([*(numbered(frame, 0) for frame in opened(connection)), last])
    end = before[5].time_ns
    for wait, file, expected in ((199, 0, []), (200, 0, [8]), (300, 1, [])):
        again = before[-1]._replace(time_ns=end + wait * MILLISECOND, file=file)
        assert frames_of(captures.run([*before[:-1], again]), "retransmission") == expected


def test_parts_of_a_packet_that_the_network_card_has_cut_are_copies() -> None:
    """One point captures 2000 bytes at once, the other what the card made of them; then a part is sent again."""
    connection = Connection()
    whole = numbered(connection.data(300, DATA[300:2300]), 20)
    cuts = [(300, 900), (1200, 900), (2100, 200)]
    parts = [numbered(connection.data(at, DATA[at : at + n]), 20 + i) for i, (at, n) in enumerate(cuts)]
    again = numbered(connection.data(1200, DATA[1200:2100]), 23)
    result = run([*opened(connection), whole, *parts, again])
    assert frames_of(result, "retransmission") == [12]


def test_bytes_that_wait_behind_a_hole_can_be_sent_again() -> None:
    connection = Connection()
    behind = connection.data(400, DATA[400:500])
    result = run([*opened(connection), numbered(behind, 14), numbered(behind, 14), numbered(behind, 15)])
    assert frames_of(result, "retransmission") == [10]


@needs_tshark
def test_windows_of_zero_are_those_of_tshark_and_probes_are_not_sent_again(tmp_path: Path) -> None:
    connection = Connection()
    closed = [numbered(windowed(connection.ack(300), 0), 100 + number) for number in range(3)]
    alive = numbered(connection.data(299, b""), 13)
    probe = numbered(connection.data(299, DATA[299:300]), 500)
    data = [*opened(connection), closed[0], alive, closed[1], probe, closed[2], connection.ack(300)]
    data.append(numbered(connection.data(300, DATA[300:400]), 501))
    packets = capture(data, step_ns=300 * MILLISECOND)
    path = tmp_path / "window.pcap"
    path.write_bytes(capture_files.pcap(*packets))
    result = captures.run(packets)
    assert frames_of(result, "zero_window") == frames(path, "tcp.analysis.zero_window") == [8, 10, 12]
    assert {event.stream.source.port for event in told(result, "zero_window")} == {CLIENT.port}
    assert frames_of(result, "retransmission") == []
    assert streams(result.events)[0].segments == 4


def test_a_copy_of_a_window_of_zero_is_not_another_one() -> None:
    connection = Connection()
    closed = windowed(connection.ack(300), 0)
    result = run([*opened(connection), numbered(closed, 100), numbered(closed, 100), numbered(closed, 101)])
    assert frames_of(result, "zero_window") == [8, 10]


# --- How connections begin and end ---


@needs_tshark
@pytest.mark.parametrize("file", FAILING)
def test_connections_are_opened_refused_closed_and_reset_as_tshark_says(file: str) -> None:
    result = captures.run_file(file)
    by_stream: dict[int, list[Segment]] = {}
    for segment in tshark(captures.PCAPS / file):
        by_stream.setdefault(segment.stream, []).append(segment)
    openings: dict[int, tuple[int, int, int]] = {}
    refused: list[tuple[int, int, int]] = []
    closed: list[tuple[int, int, int]] = []
    reset: list[tuple[int, int, int]] = []
    for stream, segments in by_stream.items():
        syn, answer, *_ = segments
        assert (syn.flags & 0x12, bool(answer.flags & 0x12)) == (2, True)
        if answer.flags & 4:
            refused.append((stream, syn.frame, answer.frame))
            continue
        openings[stream] = syn.frame, answer.frame, 1
        end = next(segment for segment in segments if segment.flags & 5)
        (reset if end.flags & 4 else closed).append((stream, end.frame, end.frame))

    def found(kind: TransportEventKind) -> list[tuple[int, int, int]]:
        return sorted((e.stream.number // 2, e.place.frame, e.last.frame) for e in told(result, kind))

    raft = {s.number // 2: s.opening for s in streams(result.events)}
    assert refused or "upgrade" in file
    assert (found("refused"), found("closed"), found("reset")) == (refused, closed, reset)
    assert {n: (o.asked.frame, o.answered.frame, o.attempts) for n, o in raft.items() if o is not None} == openings


def test_a_syn_that_is_repeated_is_one_attempt_and_its_copy_is_none() -> None:
    connection = Connection()
    syn, first, *rest = connection.opening()
    asked = [numbered(syn, 5), numbered(syn, 5), numbered(syn, 6)]
    result = run([*asked, first, *rest, connection.data(0, DATA)])
    (stream,) = streams(result.events)
    assert stream.opening is not None
    assert (stream.opening.asked.frame, stream.opening.answered.frame, stream.opening.attempts) == (1, 4, 2)


def test_a_connection_that_is_not_answered_for_a_second_is_told_at_the_end() -> None:
    connection, other = Connection(), Connection(Address(CLIENT.host, 40001))
    syn = connection.syn()
    times = [0, 1000, 3000, 4500, 5000]
    packets = [
        packet._replace(time_ns=START + time * MILLISECOND)
        for packet, time in zip(
            capture([numbered(syn, 5), numbered(syn, 6), numbered(syn, 7), other.syn(), b""]), times, strict=True
        )
    ]
    (event,) = told(captures.run(packets), "unanswered")
    assert (event.stream.source.port, event.place.frame, event.last.frame, event.attempts) == (CLIENT.port, 1, 3, 3)


def test_an_attempt_whose_repetition_was_not_captured_has_not_failed() -> None:
    """The SYNs of 0 and 1 s were captured, the one of 3 s was not, and the one of 7 s is answered."""
    connection = Connection()
    syn, syn_ack, ack = connection.opening()
    times = [0, 1000, 6990, 7000, 7010, 7020]
    packets = [
        packet._replace(time_ns=START + time * MILLISECOND)
        for packet, time in zip(
            capture([numbered(syn, 5), numbered(syn, 6), b"", numbered(syn, 8), syn_ack, ack]), times, strict=True
        )
    ]
    result = captures.run(packets)
    assert told(result, "unanswered") == []
    assert all(stream.opening is not None and stream.opening.attempts == 3 for stream in streams(result.events))


def test_what_follows_shows_that_a_syn_was_answered_although_that_was_not_captured() -> None:
    connection = Connection()
    syn, _, ack = connection.opening()
    result = run([syn, ack, connection.data(0, DATA)], step_ns=2 * SECOND)
    (stream,) = streams(result.events)
    assert stream.opening is not None
    assert stream.opening.answered.frame == 2
    assert told(result, "unanswered") == []


def test_nothing_failed_where_the_capture_began_midway() -> None:
    result = captures.run_file("s1-mid-cowsql-0.22.1.mid.pcap")
    begun = [stream for stream in streams(result.events) if stream.handshake is None]
    assert begun
    assert [stream.opening for stream in begun] == [None] * len(begun)
    assert {event.stream.number for event in told(result, "refused")}.isdisjoint(stream.number for stream in begun)
    assert told(result, "unanswered") == []


def test_what_other_protocols_do_is_not_told() -> None:
    """A server of the web closes, resets and sends again."""
    connection = Connection(server=Address(SERVER.host, 80))
    request = connection.data(0, b"GET / HTTP/1.1\r\n\r\n")
    result = run([*connection.opening(), numbered(request, 5), numbered(request, 6), connection.fin(18)])
    assert [event for event in result.events if isinstance(event, TransportEvent)] == []


# --- Round trips ---


@needs_tshark
@pytest.mark.parametrize("file", ["s1-canon-0.18.1.pcap", *SENDING_AGAIN])
def test_round_trips_are_those_of_tshark(file: str) -> None:
    """One segment at a time is timed, so no more is known than that the extremes are among those of tshark."""
    known: dict[tuple[int, str], list[int]] = {}
    for segment in tshark(captures.PCAPS / file, "tcp.analysis.ack_rtt"):
        known.setdefault((segment.stream, segment.port), []).append(int(segment.round_trip))
    timed = 0
    for stream in streams(captures.run_file(file).events):
        spread = None if stream.round_trips is None else stream.round_trips.spread(1000)
        if spread is not None:
            timed += spread.samples
            theirs = known[stream.number // 2, str(stream.destination.port)]
            assert {round(spread.min), round(spread.max)} <= set(theirs)
            assert spread.samples <= len(theirs)
    assert timed > sum(map(len, known.values())) / 20


def test_a_segment_that_is_sent_again_is_not_timed() -> None:
    """RFC 6298, section 3: the acknowledgement may be that of either. A copy of it changes nothing."""
    connection = Connection()
    first = connection.data(0, DATA[:100])
    for again, expected in ((10, (1, 2 * MILLISECOND)), (11, None)):
        result = run([*connection.opening(), numbered(first, 10), numbered(first, again), connection.ack(100)])
        (stream,) = streams(result.events)
        histogram = stream.round_trips
        assert (None if histogram is None else (histogram.samples, histogram.spread().max)) == expected  # type: ignore[union-attr] # there is a sample


def test_an_acknowledgement_that_was_captured_before_its_segment_is_not_timed() -> None:
    connection = Connection()
    data = connection.data(0, DATA[:100])
    result = run([*connection.opening(), connection.ack(100), numbered(data, 5), connection.ack(100)])
    assert [stream.round_trips for stream in streams(result.events)] == [None]


def test_round_trips_can_be_read_while_packets_come() -> None:
    engine = Engine()
    packets = capture(opened(Connection()))
    events = [event for packet in packets for event in engine.feed(packet)]
    (stream,) = streams(events)
    assert stream.segments == 3
    assert stream.round_trips is not None
    assert stream.round_trips.spread() is not None
    assert stream.round_trips.spread(MILLISECOND) == (1, 3, 3, 3, 3, 3)


def test_a_capture_without_times_has_no_round_trips() -> None:
    packets = [packet._replace(time_ns=0) for packet in capture(opened(Connection()))]
    assert [stream.round_trips for stream in streams(captures.run(packets).events)] == [None]
