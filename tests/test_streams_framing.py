"""Messages follow one another without a gap: their payloads, their changes, and what breaks the chain."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_dissect import wire
from raft_dissect.values import Message, StreamClosed, StreamOpened, TransportEvent
from tests import captures, golden_streams
from tests.golden_streams import MESSAGES, USUAL, GoldenStream
from tests.packets import Connection, capture

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from tests.captures import Result
    from tests.vectors import Vector

HANDSHAKE = golden_streams.HANDSHAKES[0]


def vector(name: str) -> Vector:
    return next(vector for vector in MESSAGES if vector.name == name)


HEARTBEAT, RESULT = vector("ae_heartbeat__c-0.18.0"), vector("aer_ok__c-0.18.0")
SERVERS = [wire.Server(1, "10.0.0.1:9001", 1), wire.Server(2, "10.0.0.2:9001", 1), wire.Server(3, "10.0.0.3:9001", 2)]
OTHERS = [wire.Server(1, "10.0.0.1:9001", 1), wire.Server(4, "raft-node-4:17000", 0)]


def run(frames: Iterable[bytes], **options: Any) -> Result:
    return captures.run(capture(frames), **options)


def run_data(*data: bytes, sizes: Iterable[int] = (1448,), **options: Any) -> Result:
    """A stream with a handshake and then these bytes."""
    return run(Connection().whole(HANDSHAKE.data + b"".join(data), sizes), **options)


def append(entries: list[tuple[int, int, bytes]], term: int = 5) -> bytes:
    return wire.encode_message(1, {"term": term, "prev_log_index": 7, "prev_log_term": 1}, entries=entries)


# --- Payloads ---


def test_payloads_are_kept_and_hashed_only_when_asked_for() -> None:
    stream = GoldenStream(HANDSHAKE, MESSAGES)
    frames = Connection().whole(stream.data, [100])
    payloads = [stream.data[part.payload : part.end] for part in stream.parts]
    plain = run(frames).messages
    assert {(message.payload, message.payload_sha256) for message in plain} == {(None, None)}
    kept = run(frames, keep_payload=True).messages
    assert [message.payload for message in kept] == payloads
    assert {message.payload_sha256 for message in kept} == {None}
    hashed = run(frames, hash_payload=True).messages
    digests = [hashlib.sha256(payload).hexdigest() if payload else None for payload in payloads]
    assert [message.payload_sha256 for message in hashed] == digests
    assert {message.payload for message in hashed} == {None}


@pytest.mark.parametrize(
    "file", ["s4-64k-canon-0.18.1.pcap", "dq4-dqlite-1.18.6.pcap", "s8-reorder10-canon-0.18.1.pcap"]
)
def test_hashes_of_real_payloads_are_those_of_the_bytes_in_the_stream(file: str) -> None:
    streams = {(str(s.client.host), s.client.port): s.data for s in captures.client_streams(file)}
    hashed = 0
    for message in captures.run_file(file).messages:
        data = streams[message.stream.source]
        assert message.offset is not None
        end = message.offset + captures.length(message)
        payload = data[message.offset + 16 + message.preamble.header_length : end]
        assert message.payload_sha256 == (hashlib.sha256(payload).hexdigest() if payload else None)
        hashed += len(payload)
    assert hashed > 60_000


# --- Changes ---


@given(golden_streams.sizes(200), st.booleans())
@settings(max_examples=60)
def test_the_configuration_of_a_change_is_decoded_whatever_segments_it_is_in(sizes: list[int], keep: bool) -> None:
    first, second = wire.encode_configuration(SERVERS), wire.encode_configuration(OTHERS)
    entries = [(5, 1, bytes(100)), (5, 3, first), (5, 2, bytes(8)), (5, 3, second), (5, 1, b"x" * 33)]
    first_message, second_message = run_data(append(entries), append([]), sizes=sizes, keep_payload=keep).messages
    assert [first_message.change(number) for number in range(5)] == [None, tuple(SERVERS), None, tuple(OTHERS), None]
    assert second_message.change(0) is None


@pytest.mark.parametrize("name", ["ae_3_mixed__c-0.18.0", "ae_first_entry_conf__c-0.18.0", "ae_3_mixed__w-0.22.1"])
@pytest.mark.parametrize("sizes", [[1], [7], [1448]])
def test_changes_of_the_golden_vectors(name: str, sizes: list[int]) -> None:
    (message,) = run_data(vector(name).data, sizes=sizes).messages
    changes = 0
    for number, entry in enumerate(vector(name).fields["entries"]):
        if entry["type"] == 3:
            changes += 1
            assert message.change(number) == wire.decode_configuration(bytes.fromhex(entry["data"]))
    assert changes


def test_a_change_that_is_no_configuration_or_has_a_hole_has_none() -> None:
    good, bad = wire.encode_configuration(SERVERS), b"\7" * 40
    entries = [(5, 3, bad), (5, 3, b""), (5, 3, good), (5, 3, good)]
    data = HANDSHAKE.data + append(entries)
    connection = Connection()
    hole = len(data) - len(good) + 10
    frames = [*connection.opening(), connection.data(0, data[:hole]), connection.data(hole + 5, data[hole + 5 :])]
    (message,) = run(frames).messages
    assert message.missing == 5
    assert [message.change(number) for number in range(4)] == [None, None, tuple(SERVERS), None]


def test_a_change_in_a_hole_is_not_made_of_other_bytes() -> None:
    """The hole covers the change and 5 bytes more; the next packet has as many bytes as the change and 5 more."""
    change = wire.encode_configuration(SERVERS)
    data = HANDSHAKE.data + append([(5, 1, bytes(8)), (5, 3, change), (5, 1, bytes(5) + change + bytes(50))])
    start = data.index(change)
    end = start + len(change) + 5
    connection = Connection()
    frames = [*connection.opening(), connection.data(0, data[:start])]
    frames += connection.segments(data[end:], [len(change) + 5], end)
    (message,) = run(frames).messages
    assert (message.missing, message.change(1)) == (len(change) + 5, None)


# --- Layouts ---


def test_the_layout_that_is_asked_for_reads_what_several_could_have_written() -> None:
    """A flags word of 3 in RequestVote: one boolean in c-0.9.15, two bits in all later layouts."""
    data = wire.encode_message(3, {"term": 5, "candidate_id": 1, "disrupt_leader": 1, "pre_vote": 1}, layout="c-0.18.0")
    (newest,) = run_data(data).messages
    (old,) = run_data(data, layout="c-0.9.15").messages
    assert (newest.layout, old.layout) == (None, "c-0.9.15")
    assert newest.fields["pre_vote"] is True
    assert "pre_vote" not in old.fields
    assert old.fields["disrupt_leader"] is True


# --- Raft messages inside of payloads ---

inner_streams = golden_streams.golden_streams(USUAL, min_size=2, max_size=5)


@given(inner_streams, golden_streams.sizes(), st.sampled_from(["entry", "snapshot"]))
@settings(max_examples=100)
def test_messages_inside_of_a_payload_are_none_of_the_stream(inner: GoldenStream, sizes: list[int], where: str) -> None:
    outer = carrier(inner, where)
    result = run_data(outer, HEARTBEAT.data, outer, RESULT.data, sizes=sizes, keep_payload=True)
    assert [message.type for message in result.messages] == [outer[0], 1, outer[0], 2]
    assert result.messages[0].payload is not None
    assert inner.data in result.messages[0].payload
    assert result.diagnostics == []


def carrier(inner: GoldenStream, where: str) -> bytes:
    """A message with a stream of messages in its payload."""
    if where == "entry":
        return append([(5, 1, bytes(24)), (5, 1, inner.data), (5, 1, bytes(24))])
    fields = {"term": 5, "last_index": 9, "last_term": 2, "conf_index": 1}
    return wire.encode_message(5, fields, configuration=SERVERS, data=inner.data)


@given(inner_streams, golden_streams.sizes(), st.sampled_from(["entry", "snapshot"]), st.data())
@settings(max_examples=100)
def test_nor_are_they_when_a_part_of_the_payload_is_lost(
    inner: GoldenStream, sizes: list[int], where: str, drawn: st.DataObject
) -> None:
    outer = carrier(inner, where)
    data = HANDSHAKE.data + outer + HEARTBEAT.data
    payload = len(HANDSHAKE.data) + 16 + int.from_bytes(outer[8:16], "little")
    end = len(data) - len(HEARTBEAT.data)
    first = drawn.draw(st.integers(payload, end - 1))
    last = drawn.draw(st.integers(first + 1, end))
    connection = Connection()
    frames = [*connection.opening(), *connection.segments(data[:first], sizes)]
    frames += connection.segments(data[last:], sizes, last)
    result = run(frames)
    assert [(message.type, message.missing) for message in result.messages] == [(outer[0], last - first), (1, 0)]


def test_when_the_header_before_them_is_lost_they_cannot_be_told_apart_but_what_was_passed_over_is_said() -> None:
    """Nothing says any more that they are inside of a payload; the gap and what was passed over tell of it."""
    inner = GoldenStream(HANDSHAKE, [HEARTBEAT, RESULT, HEARTBEAT])
    outer = carrier(inner, "entry")
    data = HANDSHAKE.data + outer + RESULT.data + HEARTBEAT.data
    start = len(HANDSHAKE.data)
    connection = Connection()
    frames = [
        *connection.opening(),
        connection.data(0, data[:start]),
        *connection.segments(data[start + 40 :], start=start + 40),
    ]
    result = run(frames)
    (gap,) = result.of_kind("gap")
    assert (gap.offset, gap.size) == (start, 40)
    kinds = [getattr(event, "kind", event.__class__.__name__) for event in result.events]
    assert kinds[:4] == ["StreamOpened", "gap", "resync", "Message"]
    assert [message.type for message in result.messages][-2:] == [2, 1]
    # Those of the inner stream end at bytes that are no message, and are followed by another resynchronisation.
    assert len(result.of_kind("resync")) == 2


# --- What breaks the chain ---


@pytest.mark.parametrize(
    ("broken", "detail"),
    [
        (wire.encode_preamble(0, 0, 40) + bytes(40), "no message: type 0, header of 40 bytes"),
        (wire.encode_preamble(200, 0, 40) + bytes(40), "no message: type 200, header of 40 bytes"),
        (wire.encode_preamble(3, 0, 0), "no message: type 3, header of 0 bytes"),
        (wire.encode_preamble(2, 0, 1 << 40) + bytes(24), "no message: type 2, header of 1099511627776 bytes"),
        (wire.encode_preamble(1, 0, 1 << 40) + bytes(24), "no message: type 1, header of 1099511627776 bytes"),
        (wire.encode_preamble(3, 0, 8) + bytes(8), "RequestVote: a header of 8 bytes is too short for RequestVote"),
        (
            wire.encode_preamble(1, 0, 64) + bytes(32) + (9).to_bytes(8, "little") + bytes(24),
            "AppendEntries: 9 entries do not fit into a header of 64 bytes",
        ),
        (
            wire.encode_preamble(5, 0, 56) + bytes(32) + (1 << 63).to_bytes(8, "little") + bytes(16),
            f"InstallSnapshot: a configuration of {1 << 63} bytes does not fit into a header of 56 bytes",
        ),
        (b"\xff" * 300, f"no message: type 255, header of {2**64 - 1} bytes"),
    ],
)
@pytest.mark.parametrize("sizes", [[1448], [5]])
def test_bytes_that_contradict_themselves_cost_no_message_that_follows(
    broken: bytes, detail: str, sizes: list[int]
) -> None:
    follow = [HEARTBEAT.data, RESULT.data, HEARTBEAT.data]
    result = run_data(RESULT.data, broken, *follow, sizes=sizes)
    assert [message.type for message in result.messages] == [2, 1, 2, 1]
    malformed, resync = result.diagnostics
    offset = len(HANDSHAKE.data) + len(RESULT.data)
    assert (malformed.kind, malformed.offset, malformed.detail) == ("malformed", offset, detail)
    assert (resync.kind, resync.offset, resync.size) == ("resync", offset + len(broken), len(broken))
    assert result.statistics.malformed == 1


def test_a_snapshot_whose_configuration_is_none_is_a_message_and_malformed() -> None:
    fields = {"term": 5, "last_index": 9, "last_term": 2, "conf_index": 1}
    message = bytearray(wire.encode_message(5, fields, configuration=SERVERS, data=bytes(100)))
    message[16 + 40] = 9
    result = run_data(bytes(message), RESULT.data)
    assert [found.type for found in result.messages] == [5, 2]
    assert result.messages[0].configuration is None
    (malformed,) = result.diagnostics
    assert malformed.detail == "InstallSnapshot: the configuration does not decode"
    assert malformed.offset == len(HANDSHAKE.data)


def test_real_receivers_take_headers_without_trailer_or_longer_than_known_and_so_does_this() -> None:
    without = wire.encode_preamble(1, 0, 40) + HEARTBEAT.data[16:56]
    longer = wire.encode_preamble(2, 0, 40) + RESULT.data[16:] + bytes(8)
    result = run_data(without, longer, HEARTBEAT.data)
    assert [(message.type, message.preamble.header_length) for message in result.messages] == [
        (1, 40),
        (2, 40),
        (1, 48),
    ]
    assert result.messages[0].fields == result.messages[2].fields
    assert result.diagnostics == []


@pytest.mark.parametrize("number", range(7, 14))
def test_a_reserved_type_is_named_and_what_follows_is_looked_for(number: int) -> None:
    """Nobody knows yet how long the payload of such a message is."""
    reserved = wire.encode_preamble(number, 0, 32) + bytes(32) + b"payload?" * 3
    result = run_data(RESULT.data, reserved, HEARTBEAT.data, RESULT.data)
    assert [message.name for message in result.messages][1] == wire.MESSAGE_NAMES[number]
    assert [message.type for message in result.messages] == [2, number, 1, 2]
    assert result.messages[1].payload_length is None
    assert result.diagnostics == []


@pytest.mark.parametrize(
    ("left", "detail", "size"),
    [
        (1, "a preamble: 1 bytes of its header, then the connection was closed", None),
        (15, "a preamble: 15 bytes of its header, then the connection was closed", None),
        (16, "AppendEntries: 16 bytes of its header, then the connection was closed", None),
        (60, "AppendEntries: 60 bytes of its header, then the connection was closed", None),
        (100, "AppendEntries: 100 of 1160 bytes, then the connection was closed", 1060),
        (1159, "AppendEntries: 1159 of 1160 bytes, then the connection was closed", 1),
    ],
)
def test_what_was_there_of_an_unfinished_message(left: int, detail: str, size: int | None) -> None:
    result = run_data(RESULT.data, vector("ae_dqlite_frames__c-0.18.0").data[:left])
    assert [message.type for message in result.messages] == [2]
    (unfinished,) = result.diagnostics
    assert (unfinished.kind, unfinished.detail, unfinished.size) == ("unfinished", detail, size)
    assert unfinished.offset == len(HANDSHAKE.data) + len(RESULT.data)
    assert (unfinished.message is not None) == (left >= 16)
    assert result.statistics.unfinished == 1


# --- Evidence ---


def test_events_carry_the_packets_that_show_them() -> None:
    """Frames 1-3 open the connection; the handshake needs 4 and 5, the first message 5 to 7, the second 7 alone."""
    connection = Connection()
    data = HANDSHAKE.data + HEARTBEAT.data + RESULT.data
    result = run([*connection.opening(), *connection.segments(data, [30, 40, 30, 80]), connection.fin(len(data))])
    opened, first, second, ended, closed = result.events
    assert isinstance(opened, StreamOpened)
    assert isinstance(first, Message)
    assert isinstance(second, Message)
    assert isinstance(ended, TransportEvent)
    assert isinstance(closed, StreamClosed)
    assert opened.place.frame == 5
    assert (first.first.frame, first.place.frame) == (5, 7)
    assert (second.first.frame, second.place.frame) == (7, 7)
    assert ended.place.frame == closed.place.frame == 8
    assert [event.place.time_ns for event in result.events] == sorted(event.place.time_ns for event in result.events)


def test_a_message_is_complete_with_the_last_packet_that_it_needs_whatever_their_order() -> None:
    connection = Connection()
    data = HANDSHAKE.data + HEARTBEAT.data + RESULT.data
    first, second, third = connection.segments(data, [40, 64, 48])
    result = run([*connection.opening(), third, second, first])
    assert [(message.first.frame, message.place.frame) for message in result.messages] == [(5, 5), (4, 4)]
    late = run(
        [*connection.opening(), first, *connection.segments(data[60:], [92], 60), connection.data(40, data[40:60])]
    )
    assert [(message.first.frame, message.place.frame) for message in late.messages] == [(6, 6), (5, 5)]


# --- Handshakes that every receiver refuses ---


@pytest.mark.parametrize(
    ("broken", "detail"),
    [
        (b"\x02" + HANDSHAKE.data[1:], "handshake: protocol 2, not 1"),
        (
            struct.pack("<QQQ", 1, 1, 16) + b"10.77.77.10:9001",
            "handshake: an address of 16 bytes without a NUL at its end",
        ),
        (struct.pack("<QQQ", 1, 7, 15) + b"10.77.77.1:900\0", "handshake: an address of 15 bytes, no multiple of 8"),
        (struct.pack("<QQQ", 1, 7, 8) + bytes(8), "handshake: an address without a character"),
        (wire.encode_handshake("dqlite", 7, "10.77.77.1:9001", 2), "handshake: protocol 2, not 1"),
    ],
)
@pytest.mark.parametrize("sizes", [[1448], [5], [1]])
def test_a_broken_handshake_is_told_where_a_message_stands_behind_it(
    broken: bytes, detail: str, sizes: list[int]
) -> None:
    result = run(Connection().whole(broken + HEARTBEAT.data + RESULT.data, sizes))
    assert [message.type for message in result.messages] == [1, 2]
    (malformed,) = result.diagnostics
    assert (malformed.kind, malformed.offset, malformed.detail) == ("malformed", 0, detail)
    assert result.messages[0].offset == len(broken)
    assert result.statistics.streams["raft"] == 1


@pytest.mark.parametrize("behind", [b"", bytes(100), b"GET / HTTP/1.1\r\n\r\n" * 9])
@pytest.mark.parametrize("sizes", [[1448], [5]])
def test_what_only_looks_like_a_broken_handshake_is_no_raft(behind: bytes, sizes: list[int]) -> None:
    broken = b"\x02" + HANDSHAKE.data[1:]
    result = run(Connection().whole(broken + behind, sizes))
    assert result.events == []
    assert result.statistics.streams["unknown"] == 1


def test_a_client_of_dqlite_stays_one_while_it_could_be_a_broken_handshake() -> None:
    """The number 41 in its first request is where a handshake has the length of its address."""
    client = struct.pack("<QIBBH", 1, 1, 0, 0, 0) + struct.pack("<QIBBHQ", 41, 1, 1, 0, 0, 41)
    connection = Connection()
    for frames in (
        connection.whole(client),
        [*connection.opening(), connection.data(0, client[:24]), connection.data(32, client[32:]), connection.fin(48)],
    ):
        result = run(frames)
        assert result.events == []
        assert result.statistics.streams["dqlite_client"] == 1
