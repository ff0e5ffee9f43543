"""Hostile input: whatever the packets are, the engine gives events, raises nothing, and its memory has a bound."""

from __future__ import annotations

import random
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_dissect import wire
from raft_dissect.streams import Engine, engine
from raft_dissect.values import Diagnostic, Message, Packet, StreamClosed, StreamOpened, TransportEvent
from tests import captures, golden_streams
from tests.golden_streams import MESSAGES, GoldenStream
from tests.packets import SECOND, START, Address, Connection, capture

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.captures import Result

HANDSHAKE = golden_streams.HANDSHAKES[0]
MEBIBYTE = 1024 * 1024


def assert_events(result: Result) -> None:
    """Nothing but events, and every one of them can be read."""
    for event in result.events:
        assert isinstance(event, (Message, Diagnostic, StreamOpened, StreamClosed, TransportEvent))
        message = event.message if isinstance(event, Diagnostic) else event
        if isinstance(message, Message):
            assert message.name in wire.MESSAGE_NUMBERS
            assert isinstance(message.fields, dict)
            assert isinstance(message.entries, tuple)
            assert message.configuration is None or isinstance(message.configuration, tuple)
            assert message.partial == (message.missing != 0)
            for number in range(len(message.entries)):
                message.change(number)


def run(packets: Iterable[Packet]) -> None:
    packets = list(packets)
    assert_events(captures.run(packets, keep_payload=True, hash_payload=True))
    assert_events(captures.run(packets, [9001], layout="c-0.9.15"))


def changed_bytes(generator: random.Random, data: bytes) -> bytes:
    """The data with some bytes changed, cut off at some place, or with something put in."""
    changed = bytearray(data)
    place = generator.randrange(len(changed))
    kind = generator.randrange(3)
    if kind == 0:
        for _ in range(generator.randint(1, 8)):
            changed[generator.randrange(len(changed))] = generator.randrange(256)
    elif kind == 1:
        del changed[place:]
    else:
        changed[place:place] = generator.randbytes(generator.randint(1, 40))
    return bytes(changed)


def changed_packet(generator: random.Random, packet: Packet) -> Packet:
    """The packet with other bytes, another time or another length."""
    kind = generator.randrange(4)
    if kind == 0:
        moved = packet.time_ns + generator.randint(-5, 5) * SECOND
        return packet._replace(time_ns=generator.choice([0, -1, 2**62 - 1, moved]))
    if kind == 1:
        length = len(packet.data)
        return packet._replace(original_length=generator.choice([0, length // 2, length + 70000]))
    return packet._replace(data=changed_bytes(generator, packet.data))


def mutated(generator: random.Random, packets: list[Packet], rate: float) -> list[Packet]:
    """Packets of which some are changed, lost, repeated or moved."""
    result = []
    for packet in packets:
        if generator.random() >= rate:
            result.append(packet)
        elif generator.random() < 0.7:
            result.append(changed_packet(generator, packet))
        else:
            result += [packet] * generator.choice([0, 2])
    for _ in range(int(rate * len(result) / 4)):
        place = generator.randrange(len(result))
        result.insert(generator.randrange(len(result)), result.pop(place))
    return result


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "file",
    [
        "odd100-canon-0.9.0.pcap",
        "s5-canon-0.18.1.pcap",
        "s9-canon0.18.1+cowsql0.22.1.pcap",
        "dq1-dqlite-1.18.6.pcap",
        "s4-ipv6-cowsql-0.22.1.pcap",
        "s1-hostnames-cowsql-0.22.1.any1.pcap",
        "s1-snaplen96-canon-0.18.1.pcap",
    ],
)
def test_changed_real_packets(file: str, seed: int) -> None:
    generator = random.Random(f"{file} {seed}")
    for rate in (0.02, 0.3, 1.0):
        run(mutated(generator, captures.packets(file), rate))


@given(golden_streams.golden_streams(), golden_streams.sizes(), st.data())
@settings(max_examples=250)
def test_changed_streams(stream: GoldenStream, sizes: list[int], drawn: st.DataObject) -> None:
    data = bytearray(stream.data)
    for _ in range(drawn.draw(st.integers(1, 6))):
        place = drawn.draw(st.integers(0, len(data) - 1))
        match drawn.draw(st.integers(0, 2)):
            case 0:
                data[place] = drawn.draw(st.sampled_from([0, 1, 2, 5, 127, 128, 255]))
            case 1:
                del data[place : place + drawn.draw(st.integers(1, 30))]
                data += b"\0"
            case 2:
                data[place:place] = drawn.draw(st.binary(max_size=30))
    run(capture(Connection().whole(bytes(data), sizes)))


@given(
    st.lists(
        st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 63), st.binary(max_size=90)),
        max_size=30,
    )
)
@settings(max_examples=250)
def test_any_segments_of_one_connection(segments: list[tuple[int, int, int, bytes]]) -> None:
    frames = []
    for sequence, acknowledgement, flags, data in segments:
        connection = Connection(client_isn=sequence - 1, server_isn=acknowledgement - 1)
        frames += [connection.data(0, data, flags), connection.reply(0, data, flags)]
    run(capture(frames))


@given(
    st.integers(1, 6), st.sampled_from([0, 2]), st.integers(0, 200), st.binary(max_size=300), golden_streams.sizes(100)
)
@settings(max_examples=250)
def test_any_header_in_a_raft_stream(type_: int, version: int, length: int, data: bytes, sizes: list[int]) -> None:
    stream = HANDSHAKE.data + wire.encode_preamble(type_, version, length) + data + MESSAGES[0].data
    run(capture(Connection().whole(stream, sizes)))


# --- Memory ---


def peak(packets: Iterable[Packet], *, keep_payload: bool = False) -> int:
    """Bytes that the engine and its events needed at most; the events are dropped at once."""
    under_test = Engine(keep_payload=keep_payload)
    tracemalloc.start()
    try:
        for packet in packets:
            under_test.feed(packet)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def packets_of(frames: Iterable[bytes]) -> Iterable[Packet]:
    return (Packet(frame, START + number, 1, len(frame), number) for number, frame in enumerate(frames, 1))


def test_what_waits_behind_a_hole_is_bounded_and_the_bound_is_said() -> None:
    """40 MiB behind a hole that nobody acknowledges, in large segments and in tiny ones."""
    connection = Connection()
    large, tiny = bytes(60000), bytes(1)

    def frames(data: bytes, count: int) -> Iterable[bytes]:
        yield from connection.opening()
        for number in range(count):
            yield connection.data(100 + 2 * number * len(data), data)

    assert peak(packets_of(frames(large, 700))) < 24 * MEBIBYTE
    assert peak(packets_of(frames(tiny, 100_000))) < 60 * MEBIBYTE
    (limit,) = captures.run(packets_of(frames(large, 700))).of_kind("limit")
    assert limit.detail == "more than 16777216 bytes wait behind a gap: it is given up before its time"


def test_all_that_waits_in_all_streams_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty streams with a hole each, and twenty with a header of 16 MiB that never ends."""
    monkeypatch.setattr(engine, "MAX_HELD", 4 * MEBIBYTE)
    data = bytes(60000)
    endless = HANDSHAKE.data + wire.encode_preamble(1, 0, 16 * MEBIBYTE)

    def frames() -> Iterable[bytes]:
        connections = [Connection(Address("10.0.0.1", 10000 + number)) for number in range(40)]
        for number, connection in enumerate(connections):
            yield connection.syn()
            yield connection.data(0, endless if number % 2 else b"")
        for turn in range(20):
            for number, connection in enumerate(connections):
                yield connection.data(len(endless) + turn * len(data) + (number + 1) % 2, data)

    assert peak(packets_of(frames())) < 8 * MEBIBYTE
    limits = captures.run(packets_of(frames())).of_kind("limit")
    assert {limit.detail for limit in limits} == {
        "more than 4194304 bytes of all streams wait for what is missing: it is given up before its time"
    }
    assert len({limit.stream for limit in limits}) == len(limits)


def test_strays_of_many_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection has a packet that cannot belong to it and could be the first of a new one."""
    monkeypatch.setattr(engine, "MAX_HELD", MEBIBYTE)

    def frames() -> Iterable[bytes]:
        for number in range(200):
            connection = Connection(Address("10.0.0.1", 10000 + number))
            yield connection.syn()
            yield connection.data(2**31, bytes(60000))

    assert peak(packets_of(frames())) < 4 * MEBIBYTE


def test_the_number_of_connections_is_bounded_and_raft_is_forgotten_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan opens many connections; a Raft connection from before it goes on after it."""
    monkeypatch.setattr(engine, "MAX_CONNECTIONS", 500)
    stream = GoldenStream(HANDSHAKE, MESSAGES[:4])
    half = stream.parts[2].start
    connection = Connection()

    def frames() -> Iterable[bytes]:
        yield from connection.opening()
        yield connection.data(0, stream.data[:half])
        for number in range(5000):
            yield Connection(Address(f"10.9.{number // 250}.{number % 250}", 1000)).syn()
        yield connection.data(half, stream.data[half:])

    assert peak(packets_of(frames())) < 5 * MEBIBYTE
    result = captures.run(packets_of(frames()))
    assert [message.offset for message in result.messages] == [part.start for part in stream.parts]
    (limit,) = result.diagnostics
    assert limit.detail == "more than 500 connections: those without data for the longest time are forgotten"
    assert result.statistics.streams == {"raft": 1, "empty": 5000}


def test_connections_of_an_address_to_itself_are_forgotten_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_CONNECTIONS", 10)
    ends = [Address("10.0.0.1", port) for port in range(1000, 1100)]
    result = captures.run(capture(Connection(end, end).syn() for end in ends))
    assert result.statistics.streams == {"empty": 100}


def test_too_many_raft_connections_are_closed_by_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_CONNECTIONS", 10)
    frames = []
    for number in range(20):
        connection = Connection(Address("10.0.0.1", 10000 + number))
        frames += [connection.syn(), connection.data(0, HANDSHAKE.data + MESSAGES[0].data)]
    result = captures.run(capture(frames))
    closed = [event for event in result.events if isinstance(event, StreamClosed)]
    assert len(result.messages) == len(closed) == 20
    assert {event.reason for event in closed} == {"limit", "capture_end"}


def test_a_kept_payload_is_bounded() -> None:
    """An entry of 100 MiB, most of it cut off by the snaplen, is not kept and not waited for."""
    connection = Connection()
    header = bytearray(wire.encode_message(1, {"term": 1}, entries=[(1, 1, b"")]))
    header[68:72] = (100 * MEBIBYTE).to_bytes(4, "little")
    piece = bytes(60000)

    def frames() -> Iterable[bytes]:
        yield from connection.opening()
        yield connection.data(0, HANDSHAKE.data + bytes(header))
        start = len(HANDSHAKE.data) + len(header)
        for offset in range(0, 100 * MEBIBYTE, 60000):
            yield connection.data(start + offset, piece[: min(60000, 100 * MEBIBYTE - offset)])

    assert peak(packets_of(frames()), keep_payload=True) < 3 * MEBIBYTE
    (message,) = captures.run(packets_of(frames()), keep_payload=True).messages
    assert (message.payload, message.payload_length, message.missing) == (None, 100 * MEBIBYTE, 0)


# --- Work ---


@pytest.mark.parametrize("size", [7, 1448])
def test_what_looks_like_a_long_header_is_not_judged_again_with_every_segment(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers of 200 KB in a stream that has to be searched; two of three turn out wrong at their very end."""
    judged = 0
    judge = wire.is_consistent

    def counting(preamble: wire.Preamble, header: bytes) -> bool:
        nonlocal judged
        judged += len(header)
        return judge(preamble, header)

    monkeypatch.setattr(wire, "is_consistent", counting)
    good = wire.encode_message(1, {"term": 9, "prev_log_term": 1}, entries=[(1, 1, b"")] * 12500)
    wrong = good[:-24] + b"\xff" * 24
    data = wrong + good + wrong
    messages = captures.run(capture(Connection().segments(data, [size]))).messages
    assert [len(message.entries) for message in messages] == [12500]
    assert judged < 2 * 6 * len(data)  # the engine runs twice
