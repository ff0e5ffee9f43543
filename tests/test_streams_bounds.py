"""Hostile connections beside a working one: memory is bounded, the bound is said, and others lose no message."""

from __future__ import annotations

import tracemalloc
from itertools import chain, islice, repeat, zip_longest
from typing import TYPE_CHECKING

import pytest

from raft_dissect import wire
from raft_dissect.streams import Engine, engine
from raft_dissect.values import Diagnostic, Message, Packet, TransportEvent
from raft_dissect.wire import table
from tests import golden_streams
from tests.golden_streams import USUAL, GoldenStream
from tests.packets import ACK, FIN, MILLISECOND, START, Address, Connection, pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HANDSHAKE = golden_streams.HANDSHAKES[0]
KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE
WORKING = Address("10.0.0.1", 40000)
STREAM = GoldenStream(HANDSHAKE, USUAL * 5)
"""What the working connection carries: every usual message five times."""


class Outcome:
    """What the engine gave, and the most memory that it needed meanwhile."""

    def __init__(self, frames: Iterable[bytes]) -> None:
        self.working: list[int | None] = []
        """Offsets of the whole messages of the working connection."""
        self.others: list[Message] = []
        self.diagnostics: list[Diagnostic] = []
        under_test = Engine([9001])
        tracemalloc.start()
        try:
            for number, frame in enumerate(frames, 1):
                for event in under_test.feed(Packet(frame, START + number * MILLISECOND, 1, len(frame), number)):
                    self._take(event)
            self.peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        for event in under_test.close():
            self._take(event)

    def _take(self, event: object) -> None:
        if isinstance(event, Diagnostic):
            self.diagnostics.append(event)
        elif isinstance(event, Message) and (event.stream.source.host, event.stream.source.port) == WORKING:
            assert not event.partial
            self.working.append(event.offset)
        elif isinstance(event, Message):
            self.others.append(event)

    @property
    def limits(self) -> set[str]:
        """What was said of bounds."""
        return {diagnostic.detail for diagnostic in self.diagnostics if diagnostic.kind == "limit"}


def working(sizes: Iterable[int] = (100,)) -> list[bytes]:
    """The working connection in segments of these sizes, so that most messages are cut; each is acknowledged."""
    connection = Connection(WORKING)
    frames = connection.opening()
    for offset, data in pieces(STREAM.data, sizes):
        frames += [connection.data(offset, data), connection.ack(offset + len(data))]
    return frames


def beside(hostile: Iterable[bytes], others: Iterable[bytes], share: int) -> Iterator[bytes]:
    """Both, `share` hostile frames for each of the others."""
    attack = iter(hostile)
    for frame in others:
        yield frame
        yield from islice(attack, share)
    yield from attack


def hostile_connections(count: int) -> list[Connection]:
    return [Connection(Address(f"10.9.{number // 250}.{number % 250}", 1000)) for number in range(count)]


def assert_all_found(outcome: Outcome) -> None:
    assert outcome.working == [part.start for part in STREAM.parts]


# --- Connections ---


def half_open(count: int) -> Iterator[bytes]:
    """Connections with a SYN alone, with an answer to it, and with the first bytes of a handshake."""
    for number, connection in enumerate(hostile_connections(count)):
        yield connection.syn()
        if number % 3:
            yield connection.syn_ack()
        if number % 3 == 2:
            yield connection.data(0, HANDSHAKE.data[:20])


def test_half_open_connections_do_not_disturb_a_working_one() -> None:
    outcome = Outcome(beside(half_open(500), working(), 1))
    assert_all_found(outcome)
    assert outcome.limits == set()
    assert outcome.peak < 500 * 10 * KIBIBYTE


def test_half_open_connections_beyond_the_bound_are_forgotten_and_not_the_one_that_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "MAX_CONNECTIONS", 50)
    outcome = Outcome(beside(half_open(1000), working(), 2))
    assert_all_found(outcome)
    assert outcome.limits == {
        "more than 50 connections: those without data for the longest time are forgotten",
    }
    assert outcome.peak < 2 * MEBIBYTE


def test_connections_that_are_reset_at_once_are_forgotten_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan whose packets all have the same time: a SYN, and a reset when a port is open."""
    monkeypatch.setattr(engine, "MAX_CONNECTIONS", 50)
    under_test = Engine([9001])
    tracemalloc.start()
    try:
        for number, connection in enumerate(hostile_connections(4000), 1):
            for frame in (connection.syn(), connection.rst(0)):
                under_test.feed(Packet(frame, START, 1, len(frame), number))
        assert tracemalloc.get_traced_memory()[1] < 2 * MEBIBYTE
    finally:
        tracemalloc.stop()


# --- Segments that are never completed ---


def one_hole(connection: Connection, size: int) -> Iterator[bytes]:
    return (connection.data(start, bytes(1000)) for start in range(1000, size, 1000))


def holes(connection: Connection, size: int) -> Iterator[bytes]:
    return (connection.data(start, bytes(10)) for start in range(20, size // 10, 20))


def last_first(connection: Connection, size: int) -> Iterator[bytes]:
    return (connection.data(start, bytes(100)) for start in range(size // 2, 0, -100))


def endless_header(connection: Connection, size: int) -> Iterator[bytes]:
    """An AppendEntries whose header never ends, with nothing missing: entries and entries."""
    preamble = wire.encode_preamble(table.APPEND_ENTRIES, 0, 16 * MEBIBYTE)
    return chain(
        [connection.data(0, HANDSHAKE.data + preamble)],
        (connection.data(len(HANDSHAKE.data) + len(preamble) + start, bytes(1000)) for start in range(0, size, 1000)),
    )


KINDS = [one_hole, holes, last_first, endless_header]


def never_completed(
    kinds: Iterable[Callable[[Connection, int], Iterator[bytes]]], connections: int, size: int
) -> Iterator[bytes]:
    """Connections of these kinds, all at once."""
    attackers = hostile_connections(connections)
    yield from (connection.syn() for connection in attackers)
    kind = chain.from_iterable(repeat(list(kinds)))
    for turn in zip_longest(*(next(kind)(connection, size) for connection in attackers)):
        yield from (frame for frame in turn if frame is not None)


@pytest.mark.parametrize(
    "kind",
    [one_hole, holes, last_first, endless_header],
    ids=lambda kind: str(kind.__name__),
)
def test_segments_that_are_never_completed_do_not_disturb_a_working_connection(
    kind: Callable[[Connection, int], Iterator[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that waits may be 512 KiB; twenty connections want to keep 60 KB each waiting, or more."""
    monkeypatch.setattr(engine, "MAX_HELD", 512 * KIBIBYTE)
    outcome = Outcome(beside(never_completed([kind], 20, 60_000), working(), 4))
    assert_all_found(outcome)
    assert outcome.limits == {
        "more than 524288 bytes of all streams wait for what is missing: it is given up before its time"
    }
    assert outcome.peak < 3 * MEBIBYTE


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_below_the_bound_nothing_is_given_up_before_its_time(
    kind: Callable[[Connection, int], Iterator[bytes]],
) -> None:
    outcome = Outcome(beside(never_completed([kind], 3, 100_000), working(), 2))
    assert_all_found(outcome)
    assert outcome.limits == set()


def test_others_are_not_made_to_pay_for_what_many_connections_keep_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,500 connections keep a little each, so that as much waits as may wait, all the time."""
    monkeypatch.setattr(engine, "MAX_HELD", 128 * KIBIBYTE)
    attackers = hostile_connections(1500)
    attack = chain(
        (connection.syn() for connection in attackers),
        (connection.data(20 * turn, bytes(10)) for turn in range(1, 3) for connection in attackers),
    )
    outcome = Outcome(chain(islice(attack, 3000), beside(attack, working(), 1)))
    assert outcome.limits == {
        "more than 131072 bytes of all streams wait for what is missing: it is given up before its time"
    }
    assert_all_found(outcome)


# --- One message that is larger than all bounds ---


def snapshot(size: int) -> bytes:
    fields = {"term": 2, "last_index": 9, "last_term": 1, "conf_index": 1}
    servers = [wire.Server(1, "10.0.0.1:9001", 1)]
    return wire.encode_message(
        table.INSTALL_SNAPSHOT, fields, layout="c-0.18.0", configuration=servers, data=bytes(size)
    )


def test_a_message_larger_than_what_may_wait_is_found_and_so_is_everything_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A snapshot of 4 MiB where 64 KiB may wait, and the message after it in the same stream."""
    monkeypatch.setattr(engine, "MAX_HELD", 64 * KIBIBYTE)
    data = HANDSHAKE.data + snapshot(4 * MEBIBYTE) + USUAL[0].data
    connection = Connection(Address("10.9.0.1", 1000))
    outcome = Outcome(beside([*connection.opening(), *connection.segments(data)], working(), 1))
    assert_all_found(outcome)
    assert [message.payload_length for message in outcome.others][:1] == [4 * MEBIBYTE]
    assert [(message.missing, message.offset) for message in outcome.others] == [
        (0, len(HANDSHAKE.data)),
        (0, len(data) - len(USUAL[0].data)),
    ]
    assert outcome.diagnostics == []
    assert outcome.peak < 2 * MEBIBYTE


def test_a_header_larger_than_any_is_not_waited_for() -> None:
    """Nobody sends a header of 500 MB: the stream goes on at its next message."""
    preamble = wire.encode_preamble(table.APPEND_ENTRIES, 0, 500 * 1000 * 1000)
    data = HANDSHAKE.data + preamble + b"\xff" * (2 * MEBIBYTE) + USUAL[0].data + USUAL[1].data
    connection = Connection(Address("10.9.0.1", 1000))
    outcome = Outcome(beside([*connection.opening(), *connection.segments(data)], working(), 1))
    assert_all_found(outcome)
    assert len(outcome.others) == 2
    assert [d.kind for d in outcome.diagnostics] == ["malformed", "resync"]
    assert outcome.peak < MEBIBYTE


def closed(connection: Connection) -> list[bytes]:
    """The end of a connection on which the client sent a handshake and nothing else."""
    size = len(HANDSHAKE.data)
    ends = [
        connection.fin(size),
        connection.reply(0, b"", FIN | ACK, received=size + 1),
        connection.data(size + 1, b""),
    ]
    return [*connection.opening(), connection.data(0, HANDSHAKE.data), *ends]


def unanswered(connection: Connection) -> list[bytes]:
    return [connection.syn()]


def was_reset(connection: Connection) -> list[bytes]:
    return [*connection.opening(), connection.data(0, HANDSHAKE.data), connection.rst(len(HANDSHAKE.data))]


@pytest.mark.parametrize("frames", [closed, unanswered, was_reset])
def test_connections_of_which_nothing_can_come_any_more_are_forgotten(
    frames: Callable[[Connection], list[bytes]],
) -> None:
    """A segment lives for two minutes at most (RFC 9293, section 3.4.1), and so does the answer to it."""
    under_test = Engine([9001])
    sizes = []
    tracemalloc.start()
    try:
        for number, connection in enumerate(hostile_connections(1500), 1):
            for frame in frames(connection):
                time_ns = START + number * 2000 * MILLISECOND
                for _ in under_test.feed(Packet(frame, time_ns, 1, len(frame), number)):
                    pass
            if number in (750, 1500):
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[1] < sizes[0] * 1.1


@pytest.mark.parametrize(("times", "second_next"), [((0,), 3), ((0, 1, 3), 15), ((0, 1, 3, 7, 15), 63)])
def test_an_attempt_that_was_given_up_is_told_when_it_was_not_repeated_twice(
    times: tuple[int, ...], second_next: int
) -> None:
    """Each time that a SYN is sent again is twice as long after the one before: RFC 6298, section 5.5."""
    under_test = Engine([9001])
    connection = Connection()
    for number, second in enumerate(times, 1):
        assert not under_test.feed(Packet(connection.syn(), START + second * 1000 * MILLISECOND, 1, 54, number))
    assert not under_test.pass_time(START + (second_next * 1000 + 500) * MILLISECOND)
    (event,) = under_test.pass_time(START + (second_next + 3) * 1000 * MILLISECOND)
    assert isinstance(event, TransportEvent)
    assert (event.kind, event.attempts, event.last.frame) == ("unanswered", len(times), len(times))
    assert not under_test.pass_time(START + 1000_000 * MILLISECOND)
    assert not under_test.close()


def test_a_syn_that_comes_again_and_again_takes_no_more_memory() -> None:
    under_test = Engine([9001])
    syn = Connection().syn()
    sizes = []
    tracemalloc.start()
    try:
        for number in range(1, 4001):
            under_test.feed(Packet(syn, START + number * MILLISECOND, 1, len(syn), number))
            if number in (2000, 4000):
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[1] < sizes[0] * 1.1
