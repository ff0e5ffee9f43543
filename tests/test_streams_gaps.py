"""What a capture does not have: lost packets, a start midway, a short snaplen; all that is there is found."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raft_dissect import wire
from raft_dissect.streams import Engine
from raft_dissect.values import Diagnostic, Gap, Message, StreamOpened
from tests import captures, golden_streams, vectors
from tests.golden_streams import USUAL, GoldenStream
from tests.packets import MILLISECOND, Connection, capture, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.captures import Result

usual_streams = golden_streams.golden_streams(USUAL, max_size=12)
APPEND = next(vector for vector in USUAL if vector.name == "ae_dqlite_frames__c-0.18.0")
SNAPSHOT = next(vector for vector in USUAL if vector.name == "is_small__c-0.18.0")
HEARTBEAT = next(vector for vector in USUAL if vector.name == "ae_heartbeat__c-0.18.0")
RESULT = next(vector for vector in USUAL if vector.name == "aer_ok__c-0.18.0")
HANDSHAKE = golden_streams.HANDSHAKES[0]


def run(frames: Iterable[bytes], **options: int) -> Result:
    return captures.run(capture(frames, **options), keep_payload=True, hash_payload=True)


class Lossy(NamedTuple):
    """A stream in segments, of which some are lost."""

    stream: GoldenStream
    segments: list[tuple[int, bytes]]
    lost: list[bool]

    def frames(self, *, fin: bool) -> list[bytes]:
        connection = Connection()
        kept = [connection.data(*segment) for segment, lost in zip(self.segments, self.lost, strict=True) if not lost]
        return [*connection.opening(), *kept, *([connection.fin(len(self.stream.data))] if fin else [])]

    def holes(self, end: int) -> list[tuple[int, int]]:
        """Offset and size of each run of bytes before `end` that are lost."""
        found: list[tuple[int, int]] = []
        for (offset, data), lost in zip(self.segments, self.lost, strict=True):
            if not lost or offset >= end:
                continue
            if found and sum(found[-1]) == offset:
                found[-1] = found[-1][0], found[-1][1] + len(data)
            else:
                found.append((offset, len(data)))
        return found

    @property
    def captured_end(self) -> int:
        """The end of the last byte that was captured."""
        ends = [offset + len(data) for (offset, data), lost in zip(self.segments, self.lost, strict=True) if not lost]
        return max(ends, default=0)

    def lost_between(self, start: int, end: int) -> int:
        return sum(
            max(0, min(end, offset + size) - max(start, offset)) for offset, size in self.holes(len(self.stream.data))
        )


@st.composite
def lossy_streams(draw: st.DrawFn, *, keep: int = 0) -> Lossy:
    """Any usual stream in any segments; those that hold none of the first `keep` handshakes' bytes may be lost."""
    stream = draw(usual_streams)
    segments = list(pieces(stream.data, draw(golden_streams.sizes(600))))
    lost = [
        draw(st.integers(0, 3)) == 0 and (not keep or offset >= len(stream.handshake.data)) for offset, _ in segments
    ]
    return Lossy(stream, segments, lost)


def whole_messages(result: Result) -> list[tuple[int | None, bytes, bytes | None]]:
    return [(m.offset, m.header, m.payload) for m in result.messages if not m.partial]


def parts(stream: GoldenStream) -> list[tuple[int, bytes, bytes]]:
    """Offset, header and payload of each message."""
    return [(p.start, stream.data[p.start + 16 : p.payload], stream.data[p.payload : p.end]) for p in stream.parts]


# --- Lost packets ---


@given(lossy_streams(keep=1), st.booleans())
@settings(max_examples=200)
def test_exactly_the_messages_that_are_whole_are_given_whole(lossy: Lossy, fin: bool) -> None:
    result = run(lossy.frames(fin=fin))
    expected = [
        part
        for part, place in zip(parts(lossy.stream), lossy.stream.parts, strict=True)
        if not lossy.lost_between(place.start, place.end)
    ]
    assert whole_messages(result) == expected


@given(lossy_streams(keep=1), st.booleans())
@settings(max_examples=200)
def test_each_run_of_lost_bytes_is_a_gap_of_its_place_and_size(lossy: Lossy, fin: bool) -> None:
    """Up to the last byte that was captured; up to the end of the stream when its FIN was captured."""
    result = run(lossy.frames(fin=fin))
    holes = lossy.holes(len(lossy.stream.data) if fin else lossy.captured_end)
    assert [(gap.offset, gap.size) for gap in result.of_kind("gap")] == holes
    assert result.statistics.gaps == len(holes)


@given(lossy_streams(keep=1))
@settings(max_examples=200)
def test_a_partial_message_begins_where_a_message_does_and_misses_what_was_lost_of_it(lossy: Lossy) -> None:
    places = {part.start: part for part in lossy.stream.parts}
    for message in run(lossy.frames(fin=True)).messages:
        assert message.offset is not None
        part = places[message.offset]
        assert lossy.stream.data[part.start + 16 : part.payload].startswith(message.header)
        if message.missing is not None:
            assert message.missing == lossy.lost_between(part.start, part.end)
        else:
            assert len(message.header) < part.payload - part.start - 16


@given(lossy_streams(keep=0))
@settings(max_examples=200)
def test_without_the_handshake_nothing_is_given_that_is_not_there(lossy: Lossy) -> None:
    """The handshake may be lost too: then the stream has to show by its messages what it is."""
    result = run(lossy.frames(fin=True))
    expected = [
        part
        for part, place in zip(parts(lossy.stream), lossy.stream.parts, strict=True)
        if not lossy.lost_between(place.start, place.end)
    ]
    found = whole_messages(result)
    assert [part for part in expected if part in found] == found
    gaps = [(gap.offset, gap.size) for gap in result.of_kind("gap")]
    assert gaps == (lossy.holes(len(lossy.stream.data)) if found or result.of_kind("unfinished") else gaps)


@st.composite
def holed_payloads(draw: st.DrawFn) -> Lossy:
    """A stream that lost bytes of payloads only."""
    stream = draw(golden_streams.golden_streams(golden_streams.MESSAGES, max_size=10))
    cuts = {0, len(stream.data)}
    holes: list[tuple[int, int]] = []
    for part in stream.parts:
        if part.end - part.payload > 1 and draw(st.booleans()):
            first = draw(st.integers(part.payload, part.end - 1))
            last = draw(st.integers(first + 1, part.end))
            holes.append((first, last))
            cuts |= {first, last}
    cuts |= draw(st.sets(st.integers(0, len(stream.data)), max_size=10))
    edges = sorted(cuts)
    segments = [(start, stream.data[start:end]) for start, end in pairwise(edges)]
    lost = [any(first <= offset < last for first, last in holes) for offset, _ in segments]
    return Lossy(stream, segments, lost)


@given(holed_payloads())
@settings(max_examples=200)
def test_holes_in_payloads_lose_no_message(lossy: Lossy) -> None:
    result = run(lossy.frames(fin=True))
    expected = [(p.start, lossy.lost_between(p.start, p.end)) for p in lossy.stream.parts]
    assert [(message.offset, message.missing) for message in result.messages] == expected
    assert {diagnostic.kind for diagnostic in result.diagnostics} <= {"gap"}
    for message, part in zip(result.messages, parts(lossy.stream), strict=True):
        assert message.header == part[1]
        assert message.payload == (None if message.missing else part[2])
        assert (message.payload_sha256 is None) == (bool(message.missing) or not part[2])


@given(st.sets(st.integers(0, 5000), max_size=60))
@settings(max_examples=100)
def test_a_real_capture_without_some_packets(lost: set[int]) -> None:
    """Whole messages are those of the whole capture, and all of those of which no packet is lost."""
    file = "s4-64k-canon-0.18.1.pcap"
    packets = captures.packets(file)
    gone = {packets[number % len(packets)].frame for number in lost}
    whole = captures.run_file(file)
    result = captures.run([packet for packet in packets if packet.frame not in gone], hash_payload=True)
    found = captures.contents((message for message in result.messages if not message.partial), offset=False)
    assert found <= captures.contents(whole.messages, offset=False)
    untouched = [m for m in whole.messages if not gone & set(range(m.first.frame, m.place.frame + 1))]
    proven = {opened.stream.source for opened in result.events if isinstance(opened, StreamOpened)}
    untouched = [message for message in untouched if message.stream.source in proven]
    assert captures.contents(untouched, offset=False) <= found


def test_a_hole_over_whole_messages_is_one_gap_and_framing_goes_on() -> None:
    """A hole from the payload of the first message to the payload of the fourth."""
    stream = GoldenStream(HANDSHAKE, [APPEND, HEARTBEAT, RESULT, APPEND, HEARTBEAT])
    connection = Connection()
    start, end = stream.parts[0].payload + 100, stream.parts[3].payload + 200
    frames = [*connection.opening(), connection.data(0, stream.data[:start]), connection.data(end, stream.data[end:])]
    result = run(frames)
    (gap,) = result.of_kind("gap")
    assert (gap.offset, gap.size) == (start, end - start)
    first, last = result.messages
    assert (first.offset, first.missing) == (stream.parts[0].start, stream.parts[0].end - start)
    assert (last.offset, last.missing) == (stream.parts[4].start, 0)
    (resync,) = result.of_kind("resync")
    assert (resync.offset, resync.size) == (stream.parts[4].start, stream.parts[4].start - end)


def without(stream: GoldenStream, *lost: tuple[int, int]) -> list[bytes]:
    """The packets of a stream of which the bytes between these offsets are lost; each rest is a packet."""
    connection = Connection()
    starts = [0, *(end for _, end in lost)]
    ends = [*(start for start, _ in lost), len(stream.data)]
    segments = [connection.data(start, stream.data[start:end]) for start, end in zip(starts, ends, strict=True)]
    return [*connection.opening(), *segments]


def test_two_words_that_look_like_a_preamble_before_a_hole_are_no_message() -> None:
    """Configuration index 1 and length 64 of InstallSnapshot, alone in a packet: AppendEntries may begin so."""
    stream = GoldenStream(HANDSHAKE, [next(v for v in USUAL if v.name == "is_odd_data__c-0.18.0"), HEARTBEAT, RESULT])
    words = stream.parts[0].start + 16 + 24
    assert stream.data[words : words + 16] == bytes([1, *bytes(7), 64, *bytes(7)])
    result = run(without(stream, (stream.parts[0].start, words), (words + 16, words + 24)))
    assert [message.offset for message in result.messages] == [part.start for part in stream.parts[1:]]


@pytest.mark.parametrize("left", [0, 1, 15])
def test_a_message_between_two_holes_is_found_with_the_first_bytes_of_the_next(left: int) -> None:
    stream = GoldenStream(HANDSHAKE, [HEARTBEAT, RESULT, HEARTBEAT, HEARTBEAT])
    first, second, third = (part.start for part in stream.parts[1:])
    result = run(without(stream, (first - 60, first - 8), (second + left, third)))
    assert [message.offset for message in result.messages if not message.partial] == [first, third]


def test_a_message_found_behind_a_hole_may_end_in_another() -> None:
    stream = GoldenStream(HANDSHAKE, [HEARTBEAT, APPEND, HEARTBEAT, RESULT])
    first, second, third = stream.parts[1:]
    result = run(without(stream, (first.start - 60, first.start - 8), (first.payload + 50, second.start + 10)))
    assert [(message.offset, message.missing) for message in result.messages] == [
        (first.start, first.end - first.payload - 50),
        (third.start, 0),
    ]


def test_an_unfinished_message_found_behind_a_hole_is_told_of() -> None:
    stream = GoldenStream(HANDSHAKE, [HEARTBEAT, APPEND])
    append = stream.parts[1]
    frames = without(stream, (append.start - 60, append.start - 8), (append.payload + 50, append.end))
    (unfinished,) = run(frames[:-1]).of_kind("unfinished")
    assert (unfinished.offset, unfinished.size) == (append.start, append.end - append.payload - 50)


def test_bytes_passed_over_are_counted_across_holes() -> None:
    stream = GoldenStream(HANDSHAKE, [APPEND, RESULT, HEARTBEAT])
    connection = Connection()
    header, second, end = len(HANDSHAKE.data) + 20, stream.parts[0].payload + 300, stream.parts[0].end
    frames = [
        *connection.opening(),
        connection.data(0, HANDSHAKE.data),
        connection.data(header, stream.data[header:second]),
        connection.data(second + 10, stream.data[second + 10 :]),
    ]
    (resync,) = run(frames).of_kind("resync")
    assert resync.size == second - header + end - second - 10


# --- A capture begun midway ---

FILES = ["s1-canon-0.18.1.pcap", "s2-cowsql-0.22.1.pcap", "s4-64k-canon-0.9.0.pcap", "dq1-dqlite-1.18.6.pcap"]


def believable(messages: Sequence[Message]) -> list[Message]:
    """Of streams without handshake all messages, except one of a few words that is alone in its stream."""
    count = Counter(message.stream.number for message in messages)
    return [message for message in messages if count[message.stream.number] > 1 or message.type in (1, 5)]


@pytest.mark.parametrize("file", FILES)
def test_a_capture_begun_at_any_packet_gives_all_messages_from_there_on(file: str) -> None:
    packets = captures.packets(file)
    whole = captures.run_file(file)
    opened = {e.stream.number: e.place.frame for e in whole.events if isinstance(e, StreamOpened)}
    for start in range(1, len(packets), 1 + len(packets) // 25):
        result = captures.run(packets[start:], hash_payload=True)
        there = [message for message in whole.messages if message.first.frame > start]
        midway = [message for message in there if opened[message.stream.number] <= start]
        expected = [m for m in there if m not in midway] + believable(midway)
        assert captures.contents(result.messages, offset=False) == captures.contents(expected, offset=False), start
        assert {message.offset for message in result.messages if message.stream.handshake is None} <= {None}
        assert not result.of_kind("malformed")


@given(usual_streams, golden_streams.sizes(), st.integers(0, 3000))
@settings(max_examples=200)
def test_a_stream_begun_at_any_byte_gives_the_messages_from_there_on(
    stream: GoldenStream, sizes: list[int], start: int
) -> None:
    start %= len(stream.data)
    connection = Connection()
    result = run(connection.segments(stream.data[start:], sizes, start))
    expected = [part[1:] for part in parts(stream) if part[0] >= start]
    if start and len(expected) == 1 and stream.parts[-1].vector.fields["type"] not in (1, 5):
        expected = []  # a few words alone could be anything
    assert [(message.header, message.payload) for message in result.messages] == expected


@given(usual_streams, golden_streams.sizes())
@settings(max_examples=50)
def test_a_handshake_says_who_sends_also_when_the_syn_was_not_captured(stream: GoldenStream, sizes: list[int]) -> None:
    result = run(Connection().segments(stream.data, sizes))
    (opened,) = (event for event in result.events if isinstance(event, StreamOpened))
    assert opened.stream.handshake is not None
    assert opened.stream.handshake.length == len(stream.handshake.data)
    assert not result.of_kind("resync")


def test_an_append_that_looks_like_a_handshake_is_an_append() -> None:
    # Read as a handshake: protocol 1, id 48, an address of 8 bytes: "A" and padding.
    fields = {"term": 8, "prev_log_index": 65, "prev_log_term": 8, "leader_commit": 65}
    append = wire.encode_message(1, fields)
    assert wire.recognise(append).handshake is not None
    (message, *others) = run(Connection().segments(append * 3, [len(append)])).messages
    assert message.fields == {**fields, "n_entries": 0}
    assert len(others) == 2


def test_a_stream_without_its_start_is_waited_for_and_then_given() -> None:
    connection = Connection()
    packets = capture([connection.data(5000 + 64 * n, HEARTBEAT.data) for n in range(4)], step_ns=600 * MILLISECOND)
    engine = Engine()
    arrived = [len([event for event in engine.feed(packet) if isinstance(event, Message)]) for packet in packets]
    assert arrived == [0, 0, 3, 1]


@pytest.mark.parametrize(("losing", "milliseconds"), [(False, 1000), (True, 10)])
def test_what_was_dropped_is_not_waited_for_like_what_may_be_late(losing: bool, milliseconds: int) -> None:
    """The receiver has acknowledged what is missing, so only a capture out of order has it."""
    stream = GoldenStream(HANDSHAKE, [APPEND, HEARTBEAT, APPEND, APPEND])
    connection = Connection()
    lost = stream.parts[1]
    frames = [
        *connection.opening(),
        connection.data(0, stream.data[: lost.start]),
        connection.data(lost.end, stream.data[lost.end :]),
        connection.reply(0, b"", received=len(stream.data)),
    ]
    packets = capture(frames)
    block = captures.block(packets)
    block.losing = losing
    engine = Engine()
    assert [event.name for event in engine.feed_block(block) if isinstance(event, Message)] == ["AppendEntries"]
    after = packets[-1].time_ns + milliseconds * MILLISECOND
    assert not engine.pass_time(after - 1)
    found = engine.pass_time(after)
    assert [event.size for event in found if isinstance(event, Diagnostic)] == [lost.end - lost.start]
    assert [event.offset for event in found if isinstance(event, Message)] == [part.start for part in stream.parts[2:]]


# --- A short snaplen ---


def segment_per_message(stream: GoldenStream) -> list[bytes]:
    connection = Connection()
    places = [(0, len(stream.handshake.data)), *((part.start, part.end) for part in stream.parts)]
    return [*connection.opening(), *(connection.data(start, stream.data[start:end]) for start, end in places)]


@given(usual_streams, st.integers(24, 3000))
@example(GoldenStream(HANDSHAKE, [APPEND, RESULT, HEARTBEAT]), 24)
@settings(max_examples=200)
def test_each_message_gives_what_the_snaplen_left_of_it(stream: GoldenStream, left: int) -> None:
    """Each message is in a segment of its own, of which `left` bytes of payload were captured: 24 tell a handshake."""
    result = run(segment_per_message(stream), snaplen=54 + left)
    assert result.diagnostics == []
    for message, part in zip(result.messages, stream.parts, strict=True):
        data = part.vector.data[:left]
        assert message.offset == part.start
        assert message.header == data[16 : part.payload - part.start]
        assert message.partial == (left < len(part.vector.data))
        if message.missing is not None:
            assert message.missing == len(part.vector.data) - len(data)
    assert result.statistics.cut_packets == sum(
        len(data) > left for data in (stream.handshake.data, *(part.vector.data for part in stream.parts))
    )


@given(usual_streams, golden_streams.sizes(), st.integers(0, 3000))
@settings(max_examples=200)
def test_a_cut_at_any_length_gives_only_messages_that_are_there(
    stream: GoldenStream, sizes: list[int], snaplen: int
) -> None:
    result = run(Connection().whole(stream.data, sizes), snaplen=snaplen)
    places = {part.start: part for part in stream.parts}
    for message in result.messages:
        assert message.offset is not None
        part = places[message.offset]
        assert stream.data[part.start + 16 : part.payload].startswith(message.header)
        assert message.missing is None or 0 <= message.missing <= part.end - part.start - 16
    assert not result.of_kind("gap")
    assert not result.of_kind("malformed")


def test_a_cut_capture_begun_midway_shows_by_two_messages_that_it_is_raft() -> None:
    file = "s1-snaplen96-canon-0.18.1.pcap"
    packets = captures.packets(file)
    whole = captures.run_file(file)
    streams = {message.stream.source for message in whole.messages}
    for start in range(0, len(packets), 100):
        found = captures.contents(captures.run(packets[start:]).messages, offset=False)
        expected = captures.contents((m for m in whole.messages if m.first.frame > start), offset=False)
        assert found <= expected
        # Until then it is not believed: that costs the first message of each stream.
        assert sum((expected - found).values()) <= len(streams)


def test_a_handshake_whose_address_is_cut_off_still_tells_the_server() -> None:
    result = run(segment_per_message(GoldenStream(HANDSHAKE, [APPEND])), snaplen=54 + 24)
    assert result.messages[0].stream.handshake is not None
    assert result.messages[0].stream.handshake.id == HANDSHAKE.fields["id"]
    assert result.messages[0].stream.handshake.address == ""


def test_the_fields_that_are_captured_are_given() -> None:
    vector = next(v for v in vectors.load("raft_message") if v.name == "ae_3_mixed__c-0.18.0")
    for left in range(16, len(vector.data)):
        (message,) = run(segment_per_message(GoldenStream(HANDSHAKE, [vector])), snaplen=54 + max(left, 24)).messages
        left = max(left, 24)
        words = ["term", "prev_log_index", "prev_log_term", "leader_commit", "n_entries"]
        assert list(message.fields) == words[: (left - 16) // 8]
        assert len(message.entries) == max(0, min((left - 56) // 16, 3))
        assert message.payload_length == (None if left < 56 + 48 else len(vector.data) - 56 - 48 - 8)


# --- What a gap cost ---


def cost_of(diagnostic: Diagnostic) -> Gap:
    assert diagnostic.gap is not None
    return diagnostic.gap


@given(holed_payloads())
@settings(max_examples=100)
def test_a_gap_in_a_payload_costs_that_message_alone(lossy: Lossy) -> None:
    for gap in run(lossy.frames(fin=True)).of_kind("gap"):
        assert gap.offset is not None
        (part,) = (part for part in lossy.stream.parts if part.start <= gap.offset < part.end)
        assert cost_of(gap)[1:] == ("partial", wire.MESSAGE_NAMES[part.vector.fields["type"]], part.start, None)


@given(st.one_of(lossy_streams(), lossy_streams(keep=0)))
@settings(max_examples=400)
def test_every_gap_says_where_the_next_message_was_found(lossy: Lossy) -> None:
    """Bytes passed over and bytes of later gaps lie between a gap and the next message that is there."""
    result = run(lossy.frames(fin=True))
    gaps = result.of_kind("gap")
    starts = [message.offset for message in result.messages if message.offset is not None]
    for number, gap in enumerate(gaps):
        cost = cost_of(gap)
        assert (cost.passed_over or 0) >= 0
        if cost.cost == "framing" and cost.passed_over is not None:
            place = (gap.offset or 0) + (gap.size or 0) + cost.passed_over
            for later in gaps[number + 1 :]:
                place += (later.size or 0) if (later.offset or 0) <= place else 0
            assert place in starts
        elif cost.cost == "partial":
            assert cost.message_offset in [message.offset for message in result.messages if message.partial]


FIVE = GoldenStream(HANDSHAKE, [HEARTBEAT, APPEND, RESULT, HEARTBEAT, RESULT])
FIRST, SECOND, THIRD, FOURTH, FIFTH = FIVE.parts
END = len(FIVE.data)
COSTS: dict[str, tuple[int, int, tuple[object, ...]]] = {
    "in a payload": (SECOND.payload + 5, SECOND.payload + 50, ("partial", "AppendEntries", SECOND.start, None)),
    "up to a payload's end": (SECOND.payload + 5, SECOND.end, ("partial", "AppendEntries", SECOND.start, None)),
    "in a header of known length": (THIRD.start + 24, THIRD.end, ("partial", "AppendEntriesResult", THIRD.start, None)),
    "over a payload's end": (
        SECOND.end - 10,
        THIRD.start + 8,
        ("framing", "AppendEntries", SECOND.start, THIRD.end - THIRD.start - 8),
    ),
    "in a header of unknown length": (
        SECOND.start + 40,
        SECOND.payload + 7,
        ("framing", "AppendEntries", SECOND.start, SECOND.end - SECOND.payload - 7),
    ),
    "a whole message": (THIRD.start, FOURTH.start, ("framing", None, None, 0)),
    "over a preamble": (THIRD.start + 3, THIRD.start + 19, ("framing", None, None, THIRD.end - THIRD.start - 19)),
    "in the last message": (FIFTH.start + 3, FIFTH.start + 19, ("unframed", None, None, END - FIFTH.start - 19)),
    "in the handshake": (30, FIRST.start, ("handshake", None, None, None)),
}


@pytest.mark.parametrize("where", COSTS)
def test_a_gap_says_between_which_frames_it_is_and_what_it_cost(where: str) -> None:
    """Three packets open the connection; then come one before the gap and one behind it."""
    start, end, expected = COSTS[where]
    (gap,) = run(without(FIVE, (start, end))).of_kind("gap")
    assert (gap.offset, gap.size, gap.place.frame) == (start, end - start, 5)
    assert (cost_of(gap).before.frame, *cost_of(gap)[1:]) == (4, *expected)
    assert gap.detail.startswith("missing between frames 4 and 5, ")


def test_a_gap_is_told_in_words() -> None:
    fields = APPEND.fields
    message = f"AppendEntries of term {fields['term']} with entries after index {fields['prev_log_index']}"
    said = {where: run(without(FIVE, COSTS[where][:2])).of_kind("gap")[0].detail for where in COSTS}
    frames = "missing between frames 4 and 5, "
    assert said["in a payload"] == f"{frames}inside {message}: it is partial, and no other message is lost"
    passed = THIRD.end - THIRD.start - 8
    assert said["over a payload's end"] == (
        f"{frames}from inside {message} on messages may be lost: "
        f"{passed} bytes behind the gap were passed over up to the next one"
    )
    assert said["a whole message"] == f"{frames}messages may be lost: the next one begins right behind the gap"
    assert said["in the handshake"] == f"{frames}inside the handshake: no message is lost"


def test_each_of_several_gaps_has_its_own_frames_and_bytes() -> None:
    first, second = (SECOND.start + 3, SECOND.start + 20), (SECOND.payload + 10, SECOND.payload + 30)
    one, two = run(without(FIVE, first, second)).of_kind("gap")
    assert (cost_of(one).before.frame, one.place.frame) == (4, 5)
    assert (cost_of(two).before.frame, two.place.frame) == (5, 6)
    behind_second = SECOND.end - second[1]
    assert cost_of(two).passed_over == behind_second
    assert cost_of(one).passed_over == second[0] - first[1] + behind_second


def test_a_gap_at_the_end_of_a_closed_connection_stands_before_its_fin() -> None:
    connection = Connection()
    frames = [*connection.opening(), connection.data(0, FIVE.data[: FIFTH.start]), connection.fin(END)]
    (gap,) = run(frames).of_kind("gap")
    assert (cost_of(gap).before.frame, gap.place.frame) == (4, 5)
    assert cost_of(gap)[1:] == ("unframed", None, None, 0)


def test_packets_out_of_order_around_a_gap_are_named_in_the_order_of_the_stream() -> None:
    """Behind the gap two packets come in the wrong order: frames 5 and 6; before it is frame 7."""
    connection = Connection()
    start, end = SECOND.payload + 5, SECOND.payload + 50
    pieces = [(0, FIRST.start), (end + 20, END), (end, end + 20), (FIRST.start, start)]
    frames = [*connection.opening(), *(connection.data(first, FIVE.data[first:last]) for first, last in pieces)]
    (gap,) = run(frames).of_kind("gap")
    assert (cost_of(gap).before.frame, gap.place.frame) == (7, 6)


def test_a_gap_does_not_wait_for_ever_to_be_told() -> None:
    """Behind it come 2 MiB in which no message begins."""
    connection = Connection()
    frames = [*connection.opening(), connection.data(0, FIVE.data[: SECOND.start + 3])]
    frames += connection.segments(bytes(2 * 1024 * 1024), [16384], SECOND.start + 20)
    frames.insert(6, connection.ack(SECOND.start + 20))
    engine = Engine()
    packets = iter(capture(frames, step_ns=100 * MILLISECOND))
    events = (event for packet in packets for event in engine.feed(packet))
    gap = next(event for event in events if isinstance(event, Diagnostic) and event.kind == "gap")
    assert cost_of(gap).cost == "unframed"
    assert 1024 * 1024 < (cost_of(gap).passed_over or 0) <= 1024 * 1024 + 16384
    assert next(packets)
