"""However TCP carries the bytes of a stream, the messages are the same: cut, out of order, repeated, across a wrap."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raft_dissect.streams import Engine
from raft_dissect.values import Message, Packet, StreamClosed, StreamOpened
from tests import captures, golden_streams, vectors
from tests.golden_streams import GoldenStream
from tests.packets import ACK, FIN, LINKS, MILLISECOND, SECOND, Address, Connection, capture, pieces

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from tests.captures import Result

REAL = "s9-canon0.18.1+cowsql0.22.1.pcap"
"""A capture of every type of message from two lineages."""
SMALL = "s5-canon-0.18.1.pcap"
GRACE = 900 * MILLISECOND
"""Packets may be captured out of order by up to a second; that much is tried."""

any_stream = golden_streams.golden_streams()


def run(frames: Iterable[bytes]) -> Result:
    return captures.run(capture(frames), keep_payload=True, hash_payload=True)


def reference(stream: GoldenStream) -> Counter[tuple[object, ...]]:
    """The messages when a single packet brings them all."""
    return captures.contents(run(Connection().whole(stream.data, [len(stream.data)])).messages)


@pytest.mark.parametrize("handshake", golden_streams.HANDSHAKES, ids=lambda vector: vector.name)
def test_messages_have_the_bytes_and_places_of_the_vectors(handshake: vectors.Vector) -> None:
    stream = GoldenStream(handshake, golden_streams.MESSAGES)
    result = run(Connection().whole(stream.data))
    assert [message.offset for message in result.messages] == [part.start for part in stream.parts]
    for message, part in zip(result.messages, stream.parts, strict=True):
        vector = part.vector
        payload = vector.data[part.payload - part.start :]
        assert message.type == vector.fields["type"]
        assert message.header == vector.data[16 : part.payload - part.start]
        assert (message.payload, message.payload_length, message.missing) == (payload, len(payload), 0)
        assert message.payload_sha256 == (hashlib.sha256(payload).hexdigest() if payload else None)
    opened, *_, closed = result.events
    assert isinstance(opened, StreamOpened)
    assert opened.stream.handshake is not None
    assert opened.stream.handshake.id == handshake.fields["id"]
    assert isinstance(closed, StreamClosed)
    assert closed.reason == "fin"
    assert result.diagnostics == []


@given(any_stream, golden_streams.sizes(65536))
@settings(max_examples=150)
def test_any_segmentation_gives_the_same_messages(stream: GoldenStream, sizes: list[int]) -> None:
    result = run(Connection().whole(stream.data, sizes))
    assert captures.contents(result.messages) == reference(stream)
    assert [message.offset for message in result.messages] == [part.start for part in stream.parts]
    assert result.diagnostics == []


@given(any_stream, golden_streams.sizes(), st.integers(0, 2**32 - 1))
@example(GoldenStream(golden_streams.HANDSHAKES[0], golden_streams.MESSAGES[:3]), [7], 2**32 - 40)
@settings(max_examples=60)
def test_sequence_numbers_wrap(stream: GoldenStream, sizes: list[int], isn: int) -> None:
    wrapping = (2**32 - 1 - isn % (len(stream.data) + 3)) % 2**32
    for first in (isn, wrapping):
        result = run(Connection(client_isn=first).whole(stream.data, sizes))
        assert captures.contents(result.messages) == reference(stream)


def test_a_stream_longer_than_all_sequence_numbers_keeps_its_offsets() -> None:
    """Snapshots of 500 MiB, each mostly cut off by the snaplen: eleven of them are more than 4 GiB."""
    connection = Connection(client_isn=2**31)
    handshake = golden_streams.HANDSHAKES[0].data
    vector = next(v for v in golden_streams.MESSAGES if v.name == "ae_1_barrier__c-0.18.0")
    size = 32 * 1024 * 1024
    header = bytearray(vector.data[:80])
    header[68:72] = size.to_bytes(4, "little")
    packets = capture([*connection.opening(), connection.data(0, handshake)])
    offset = len(handshake)
    for _ in range(140):
        # A packet of 32 MiB is no real one, but its numbers are those of thousands of cut packets.
        frame = connection.data(offset, bytes(header))
        frame = frame[:16] + bytes(2) + frame[18:]
        packets.append(Packet(frame, packets[-1].time_ns + 1, 1, len(frame) + size, len(packets) + 1))
        offset += len(header) + size
    messages = captures.run(packets).messages
    assert [message.offset for message in messages] == [40 + number * (80 + size) for number in range(140)]
    assert {message.missing for message in messages} == {size}
    assert offset > 2**32


# --- Order ---


def shuffled(packets: list[Packet], delays: list[int]) -> list[Packet]:
    """The packets as a capture has them in which each came late by its delay in nanoseconds."""
    late = [packet._replace(time_ns=packet.time_ns + delays[i % len(delays)]) for i, packet in enumerate(packets)]
    late.sort(key=lambda packet: packet.time_ns)
    return [packet._replace(frame=number) for number, packet in enumerate(late, 1)]


delays = st.lists(st.integers(0, GRACE), min_size=1, max_size=40)


@given(any_stream, golden_streams.sizes(), delays, st.sampled_from([10, 200]), st.booleans())
@settings(max_examples=150)
def test_any_order_within_a_second_gives_the_same_messages(
    stream: GoldenStream, sizes: list[int], late: list[int], step_ms: int, reset: bool
) -> None:
    connection = Connection()
    frames = connection.opening()
    end = 0
    for frame in connection.segments(stream.data, sizes):
        end += len(frame) - 54
        frames += [frame, connection.ack(end)]
    frames.append(connection.rst(end) if reset else connection.fin(end))
    packets = shuffled(capture(frames, step_ns=step_ms * MILLISECOND), late)
    result = captures.run(packets, keep_payload=True, hash_payload=True)
    assert captures.contents(result.messages) == reference(stream)
    assert [message.offset for message in result.messages] == [part.start for part in stream.parts]
    assert result.diagnostics == []
    assert [event.reason for event in result.events if isinstance(event, StreamClosed)] == ["rst" if reset else "fin"]


@given(delays)
@settings(max_examples=25)
def test_a_real_capture_in_any_order_within_a_second_gives_the_same_messages(late: list[int]) -> None:
    result = captures.run(shuffled(captures.packets(REAL), late), hash_payload=True)
    assert captures.contents(result.messages) == captures.contents(captures.run_file(REAL).messages)
    assert result.diagnostics == []


def test_each_hole_has_a_second_of_its_own() -> None:
    """Two holes, acknowledged 0.6 s apart: the second one is filled 0.5 s after its own acknowledgement."""
    stream = GoldenStream(golden_streams.HANDSHAKES[0], golden_streams.USUAL[:8])
    connection = Connection()
    pieces = connection.segments(stream.data, [50])
    frames = [
        *connection.opening(),
        pieces[0],
        pieces[2],
        connection.ack(150),
        pieces[1],
        pieces[4],
        connection.ack(250),
    ]
    times = [0, 0, 0, 0, 1, 2, 590, 595, 600]
    frames += [connection.ack(250), pieces[3], *pieces[5:]]
    times += [1050, 1100] + [1200] * len(pieces[5:])
    packets = capture(frames)
    packets = [
        packet._replace(time_ns=packets[0].time_ns + ms * MILLISECOND)
        for packet, ms in zip(packets, times, strict=True)
    ]
    result = captures.run(packets, keep_payload=True, hash_payload=True)
    assert captures.contents(result.messages) == reference(stream)
    assert result.diagnostics == []


def test_the_syn_last_of_all() -> None:
    stream = GoldenStream(golden_streams.HANDSHAKES[0], golden_streams.USUAL[:4])
    connection = Connection()
    segments = connection.segments(stream.data, [100])
    result = run([*reversed(segments), connection.syn()])
    assert captures.contents(result.messages) == reference(stream)
    # All of them are known with the SYN, and not only when the capture ends.
    packets = capture([*segments, connection.syn(), connection.ack(0)])
    assert {message.place.frame for message in captures.run(packets[:-1]).messages} <= set(range(1, len(segments) + 1))
    engine = Engine()
    events = [event for packet in packets[:-1] for event in engine.feed(packet)]
    assert len([event for event in events if isinstance(event, Message)]) == 4


# --- Repetition ---


@st.composite
def recut(draw: st.DrawFn, stream: GoldenStream) -> list[bytes]:
    """The segments of a stream, between them any of its bytes again in other cuts."""
    connection = Connection()
    frames = connection.opening()
    end = 0
    for frame in connection.segments(stream.data, draw(golden_streams.sizes())):
        frames.append(frame)
        end += len(frame) - 54
        if draw(st.booleans()):
            start = draw(st.integers(0, end))
            last = draw(st.integers(start, min(start + 3000, len(stream.data))))
            frames.append(connection.data(start, stream.data[start:last]))
    return frames


@given(st.data())
@settings(max_examples=100)
def test_any_repetition_in_other_cuts_gives_the_same_messages(data: st.DataObject) -> None:
    stream = data.draw(any_stream)
    frames = data.draw(recut(stream))
    end = len(stream.data)
    result = run([*frames, Connection().fin(end), *frames[-3:], Connection().fin(end)])
    assert captures.contents(result.messages) == reference(stream)
    assert result.diagnostics == []


@given(st.lists(st.integers(0, 30), min_size=1, max_size=30), delays)
@settings(max_examples=20)
def test_a_real_capture_with_repeated_packets_gives_the_same_messages(again: list[int], late: list[int]) -> None:
    packets = []
    for number, packet in enumerate(captures.packets(SMALL)):
        packets += [packet] * (2 if again[number % len(again)] < 10 else 1)
    result = captures.run(shuffled(packets, late), hash_payload=True)
    assert captures.contents(result.messages) == captures.contents(captures.run_file(SMALL).messages)
    assert result.diagnostics == []


@given(golden_streams.sizes(65536))
@settings(max_examples=12)
def test_real_streams_in_any_segmentation_give_the_same_messages(sizes: list[int]) -> None:
    coarse = [max(size, 200) for size in sizes]
    frames = []
    for number, (client, server, data) in enumerate(captures.client_streams(REAL)):
        connection = Connection(client._replace(port=10000 + number), server)
        frames += connection.whole(data, coarse)
    result = captures.run(capture(frames), hash_payload=True)
    expected = captures.run_file(REAL).messages
    assert sorted((m.offset, m.preamble, m.header, m.payload_sha256) for m in result.messages) == sorted(
        (m.offset, m.preamble, m.header, m.payload_sha256) for m in expected
    )


# --- What TCP does besides ---


def test_data_may_come_with_the_syn() -> None:
    stream = GoldenStream(golden_streams.HANDSHAKES[0], golden_streams.USUAL[:4])
    connection = Connection()
    frames = [connection.syn(stream.data[:30]), connection.syn_ack(), *connection.segments(stream.data[30:], start=30)]
    assert captures.contents(run(frames).messages) == reference(stream)


def test_keep_alives_and_window_probes_are_no_data_of_the_stream() -> None:
    """A keep-alive repeats the last byte, often as a zero; a window probe brings the next byte before its time."""
    stream = GoldenStream(golden_streams.HANDSHAKES[0], golden_streams.USUAL[:6])
    connection = Connection()
    frames = connection.opening()
    for offset in range(0, len(stream.data), 37):
        frames += [
            connection.data(offset - 1, b""),
            connection.data(offset - 1, b"\0"),
            connection.data(offset, stream.data[offset : offset + 1]),
            connection.data(offset, stream.data[offset : offset + 37]),
        ]
    result = run(frames)
    assert captures.contents(result.messages) == reference(stream)
    assert result.diagnostics == []


def test_a_new_connection_may_have_the_addresses_and_ports_of_an_old_one() -> None:
    stream = GoldenStream(golden_streams.HANDSHAKES[0], golden_streams.USUAL[:3])
    first, second = Connection(), Connection(client_isn=3_000_000_000, server_isn=10)
    cut = first.opening() + first.segments(stream.data)[:1]
    for ending, reason in (
        ([first.fin(len(stream.data))], "fin"),
        ([first.rst(len(stream.data))], "rst"),
        ([], "reused"),
    ):
        result = run([*cut, *ending, *second.whole(stream.data)])
        assert [message.stream.number for message in result.messages] == [0] * 3 + [2] * 3
        assert [message.offset for message in result.messages] == [part.start for part in stream.parts] * 2
        assert [event.reason for event in result.events if isinstance(event, StreamClosed)] == [reason, "fin"]


def test_a_new_connection_is_known_without_its_syn() -> None:
    stream = GoldenStream(golden_streams.HANDSHAKES[0], golden_streams.USUAL[:3])
    second = Connection(client_isn=3_000_000_000)
    result = run([*Connection().whole(stream.data), *second.segments(stream.data, [100])])
    assert [message.stream.number for message in result.messages] == [0] * 3 + [2] * 3


def test_late_packets_of_an_old_connection_do_not_end_the_new_one() -> None:
    stream = GoldenStream(golden_streams.HANDSHAKES[0], golden_streams.USUAL[:3])
    first, second = Connection(), Connection(client_isn=3_000_000_000)
    late = first.segments(stream.data, [60])
    opening, *rest = second.whole(stream.data, [100])
    result = run([*first.whole(stream.data), opening, *late, *rest])
    assert [message.stream.number for message in result.messages] == [0] * 3 + [2] * 3
    assert result.diagnostics == []


def test_a_stray_packet_does_not_end_a_connection() -> None:
    """Packets whose sequence numbers are far away, as of a forger, between those of a stream."""
    stream = GoldenStream(golden_streams.HANDSHAKES[0], golden_streams.USUAL[:6])
    connection, other = Connection(), Connection(client_isn=3_000_000_000)
    frames = connection.opening()
    for number, frame in enumerate(connection.segments(stream.data, [100])):
        stray = other.data(100 * number, bytes(100))
        frames += [frame, stray, stray, other.rst(0), other.fin(0)]
    frames.append(connection.fin(len(stream.data)))
    result = captures.run(capture(frames, step_ns=SECOND), keep_payload=True, hash_payload=True)
    assert captures.contents(result.messages) == reference(stream)
    assert {message.stream.number for message in result.messages} == {0}
    assert [event.reason for event in result.events if isinstance(event, StreamClosed)] == ["fin"]


def test_a_repeated_syn_is_no_new_connection() -> None:
    stream = GoldenStream(golden_streams.HANDSHAKES[0], golden_streams.USUAL[:3])
    connection = Connection()
    syns = [connection.syn(), connection.syn(), connection.syn_ack(), connection.syn_ack()]
    result = run([*syns, *connection.segments(stream.data, [60]), connection.syn()])
    assert captures.contents(result.messages) == reference(stream)


def test_a_new_connection_whose_old_one_was_seen_from_the_server_only() -> None:
    """Of the old connection only the server's bytes are in the capture."""
    stream = GoldenStream(golden_streams.HANDSHAKES[0], golden_streams.USUAL[:3])
    old = [Connection(server_isn=3_000_000_000).reply(offset, b"x" * 100) for offset in range(0, 300, 100)]
    packets = [packet._replace(time_ns=packet.time_ns - 10 * SECOND) for packet in capture(old)]
    result = captures.run([*packets, *capture(Connection().whole(stream.data))], keep_payload=True, hash_payload=True)
    assert captures.contents(result.messages) == reference(stream)


def test_both_ends_may_send() -> None:
    there = GoldenStream(golden_streams.HANDSHAKES[0], golden_streams.USUAL[:3])
    back = GoldenStream(golden_streams.HANDSHAKES[1], golden_streams.USUAL[3:6])
    connection = Connection()
    result = run([*connection.opening(), connection.data(0, there.data), connection.reply(0, back.data)])
    assert [message.stream.number for message in result.messages] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("end", ["fin", "rst", "capture_end", "reused"])
def test_a_message_cut_by_the_end_of_its_connection_is_unfinished(end: str) -> None:
    vector = next(v for v in golden_streams.MESSAGES if v.name == "ae_dqlite_frames__c-0.18.0")
    handshake = golden_streams.HANDSHAKES[0]
    connection = Connection()
    data = handshake.data + vector.data[:500]
    frames = [*connection.opening(), connection.data(0, data)]
    frames += {
        "fin": [connection.fin(len(data))],
        "rst": [connection.rst(len(data))],
        "reused": [Connection(client_isn=3_000_000_000).syn()],
        "capture_end": [],
    }[end]
    result = run(frames)
    assert result.messages == []
    (diagnostic,) = result.diagnostics
    assert (diagnostic.kind, diagnostic.offset, diagnostic.size) == ("unfinished", len(handshake.data), 1160 - 500)
    assert diagnostic.message is not None
    assert (diagnostic.message.missing, diagnostic.message.name) == (1160 - 500, "AppendEntries")
    assert result.events[-1] == StreamClosed(diagnostic.stream, diagnostic.place, end)  # type: ignore[arg-type]  # one of StreamEnd


def test_data_behind_a_hole_is_given_when_the_acknowledged_bytes_are_a_second_late() -> None:
    stream = GoldenStream(golden_streams.HANDSHAKES[0], golden_streams.USUAL[:6])
    first, second = stream.parts[1].start, stream.parts[2].start
    connection = Connection()
    frames = [*connection.opening(), connection.data(0, stream.data[:first])]
    frames += [connection.data(second, stream.data[second:]), connection.ack(len(stream.data))]
    packets = capture(frames)
    late = packets[-1]._replace(time_ns=packets[-1].time_ns + SECOND, data=connection.ack(len(stream.data)))
    engine = Engine()
    early = [event for packet in packets for event in engine.feed(packet) if isinstance(event, Message)]
    assert len(early) == 1
    assert len([event for event in engine.feed(late) if isinstance(event, Message)]) == 4


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("hosts", [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")])
def test_every_link_layer_carries_the_same_messages(link: int, hosts: tuple[str, str]) -> None:
    """A hole among them is given up a second after its acknowledgement, whatever the packets after it are."""
    stream = GoldenStream(golden_streams.HANDSHAKES[0], golden_streams.USUAL * 3)
    connection = Connection(Address(hosts[0], 40000), Address(hosts[1], 9001), link=link)
    data = [connection.data(offset, data) for offset, data in pieces(stream.data, [50])]
    frames = [*connection.opening(), *data[:40], *data[41:60], connection.ack(60 * 50), *data[60:]]
    result = captures.run(capture(frames, link=link, step_ns=SECOND // 20))
    lost = range(40 * 50, 41 * 50)
    whole = [part.start for part in stream.parts if part.end <= lost.start or part.start >= lost.stop]
    assert [message.offset for message in result.messages if not message.partial] == whole
    assert [(gap.offset, gap.size) for gap in result.of_kind("gap")] == [(lost.start, 50)]


def test_flags_in_one_packet() -> None:
    """All of a stream in a single packet with data and FIN."""
    stream = GoldenStream(golden_streams.HANDSHAKES[0], golden_streams.USUAL[:3])
    connection = Connection()
    result = run([connection.syn(), connection.data(0, stream.data, ACK | FIN)])
    assert captures.contents(result.messages) == reference(stream)
    assert isinstance(result.events[-1], StreamClosed)
    assert result.events[-1].reason == "fin"
