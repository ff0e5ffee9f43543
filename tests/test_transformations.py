"""Every real capture, changed so that what becomes of its messages is known: the same messages, or a known part."""

from __future__ import annotations

import gzip
import itertools
from collections import Counter
from functools import cache
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from raft_dissect.dissection import messages
from tests import capture_files, captures, transformations
from tests.captures import PCAPS, WHOLE, run
from tests.transformations import Flows, holds, holes, segments, union

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from raft_dissect.values import Message, Packet
    from tests.captures import Result
    from tests.transformations import Flow, Range

LARGE = 250_000
"""Bytes; with larger captures less is tried, for the sake of time."""


# The captures are gone through once per transformation: all of them are kept, unlike in `captures`.


@cache
def packets(file: str) -> list[Packet]:
    return captures.packets(file)


@cache
def run_file(file: str) -> Result:
    """The untouched capture."""
    return captures.run_file(file)


@cache
def contents(file: str) -> Counter[tuple[object, ...]]:
    """The messages of the untouched capture."""
    return captures.contents(run_file(file).messages)


def size(file: str) -> int:
    return (PCAPS / file).stat().st_size


SMALL = [file for file in WHOLE if size(file) < LARGE]


def assert_same_messages(file: str, changed: Sequence[Packet]) -> None:
    """The same messages with the same bytes at the same places of their streams, and no more trouble than before."""
    expected = run_file(file)
    result = run(changed, hash_payload=True)
    assert captures.contents(result.messages) == contents(file)
    kinds = [diagnostic.kind for diagnostic in expected.diagnostics]
    assert [diagnostic.kind for diagnostic in result.diagnostics] == kinds


# --- The same messages ---


@pytest.mark.parametrize("file", WHOLE)
def test_every_packet_captured_twice_gives_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.twice(packets(file)))


@pytest.mark.parametrize("file", SMALL)
def test_copies_from_behind_a_router_some_milliseconds_later_give_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.seen_at_two_points(packets(file)))


@pytest.mark.parametrize("file", WHOLE)
def test_packets_captured_late_by_up_to_400_ms_give_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.late(packets(file)))


@pytest.mark.parametrize("file", SMALL)
def test_packets_written_late_with_their_true_times_give_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.late_with_its_time(packets(file)))


@pytest.mark.parametrize("file", SMALL)
def test_times_that_only_go_backwards_give_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.backwards(packets(file)))


@pytest.mark.parametrize("file", SMALL)
def test_a_clock_set_back_by_an_hour_gives_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.clock_set_back(packets(file)))


@pytest.mark.parametrize("file", WHOLE)
def test_segments_cut_into_small_ones_give_the_same_messages(file: str) -> None:
    """The larger the capture, the larger the segments, for the sake of time."""
    piece = 7 if size(file) < 50_000 else 100 if size(file) < LARGE else 700
    assert_same_messages(file, transformations.cut(packets(file), piece))


@pytest.mark.parametrize("file", WHOLE)
def test_segments_joined_as_offload_does_give_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.joined(packets(file)))


def test_some_joined_segments_are_longer_than_an_ip_header_can_say() -> None:
    """So the test above is about total lengths of 0 as well, with IPv4."""
    longest = max(len(packet.data) for packet in transformations.joined(packets("s4-64k-canon-0.18.1.pcap")))
    assert longest > 65536


@pytest.mark.parametrize("file", WHOLE)
def test_sequence_numbers_that_wrap_give_the_same_messages(file: str) -> None:
    changed = transformations.wrapping(packets(file))
    seen: dict[bytes, list[int]] = {}
    for segment in transformations.segments(changed):
        seen.setdefault(segment.key, []).append(segment.sequence)
    assert all(max(numbers) > 2**31 for numbers in seen.values())
    assert any(min(numbers) < 2**31 for numbers in seen.values())
    assert_same_messages(file, changed)


@pytest.mark.parametrize("file", SMALL)
def test_retransmissions_in_other_cuts_give_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.retransmitted(packets(file)))


@pytest.mark.parametrize("file", SMALL)
def test_keep_alives_give_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.kept_alive(packets(file)))


def wrapped_files() -> list[tuple[str, str]]:
    """Three kinds of headers for each file in turn, one for a large file: every kind is there several times."""
    kinds = itertools.cycle(transformations.KINDS)
    return [(file, kind) for file in WHOLE for kind in itertools.islice(kinds, 3 if size(file) < LARGE else 1)]


@pytest.mark.parametrize(("file", "kind"), wrapped_files())
def test_packets_under_other_headers_give_the_same_messages(file: str, kind: str) -> None:
    assert_same_messages(file, transformations.wrapped(packets(file), kind))


@pytest.mark.parametrize("file", [file for file in SMALL if "ipv6" not in file])
def test_ipv4_fragments_in_any_order_give_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.fragmented(packets(file)))


FORMS = ["pcapng", "micro-big", "nano-little", "nano-big", "gzip"]


def written(changed: Sequence[Packet], form: str) -> bytes:
    """A capture file of packets of one link type."""
    link = changed[0].link_type
    if form == "pcapng":
        blocks = [capture_files.enhanced(p.data, p.time_ns // 1000, original=p.original_length) for p in changed]
        return capture_files.section() + capture_files.interface(link=link) + b"".join(blocks)
    kind = capture_files.PCAP_KINDS["micro-little" if form == "gzip" else form]
    records = [capture_files.pcap_record(packet, kind) for packet in changed]
    data = capture_files.pcap_header(kind, link=link) + b"".join(records)
    return gzip.compress(data, 1) if form == "gzip" else data


def read_from(*paths: Path) -> Counter[tuple[object, ...]]:
    return captures.contents(messages(paths, hash_payload=True))


@pytest.mark.parametrize("file", WHOLE)
def test_files_of_every_form_give_the_same_messages(file: str, tmp_path: Path) -> None:
    """All five forms for small captures, two of them in turn for large ones."""
    turn = WHOLE.index(file) % 3
    for form in FORMS if file in SMALL else FORMS[turn : turn + 2]:
        path = tmp_path / form
        path.write_bytes(written(packets(file), form))
        unit_ns = 1 if form.startswith("nano") else 1000
        times = [packet.time_ns // unit_ns * unit_ns for packet in packets(file)]
        expected = [packet._replace(time_ns=time) for packet, time in zip(packets(file), times, strict=True)]
        assert capture_files.read(path) == expected
        assert read_from(path) == contents(file), form


@pytest.mark.parametrize("file", WHOLE)
def test_rotated_parts_in_the_wrong_order_give_the_same_messages(file: str, tmp_path: Path) -> None:
    whole = packets(file)
    part = 1 + len(whole) // 5
    paths = []
    for place, start in enumerate(range(0, len(whole), part)):
        paths.append(tmp_path / f"{place}.pcap")
        paths[-1].write_bytes(written(whole[start : start + part], "micro-little"))
    Random(6).shuffle(paths)
    assert read_from(*paths) == contents(file)


# --- A known part of the messages ---


class Expected(NamedTuple):
    """A message of the whole capture, and where its bytes are."""

    message: Message
    flow: Flow
    start: int
    end: int


@cache
def flows_of(file: str) -> Flows:
    return Flows(packets(file))


@cache
def originals(file: str) -> dict[Flow, list[Expected]]:
    """The messages of the connections that the capture saw begin, by the direction they are in."""
    found: dict[Flow, list[Expected]] = {}
    for message in run_file(file).messages:
        if message.offset is not None:
            flow = flows_of(file).of_frame[message.first.frame]
            start = message.offset
            found.setdefault(flow, []).append(Expected(message, flow, start, start + captures.length(message)))
    return found


def surely_found(all_of_it: list[Expected], there: list[Range], proven: bool) -> list[Expected]:
    """The messages all of whose bytes are there, and that must be found.

    Without a handshake a stream has to prove by its messages that it is Raft: a long one does that, or two in a row.
    """
    whole = [each for each in all_of_it if holds(there, each.start, each.end)]
    for place, each in enumerate(whole):
        follower = place + 1 < len(whole) and whole[place + 1].start == each.end
        if proven or each.message.type in (1, 5) or follower:
            return whole[place:]
    return []


def assert_known_part(file: str, kept: list[Packet]) -> None:
    """All whole messages are found, none is invented, and each hole of a Raft stream seen to begin is a gap."""
    result = run(kept, hash_payload=True)
    flows = flows_of(file)
    frames = {packet.frame for packet in kept}
    found: dict[Flow, list[Message]] = {}
    for message in result.messages:
        found.setdefault(flows.of_frame[message.first.frame], []).append(message)
    gaps: dict[Flow, list[Range]] = {}
    for gap in result.of_kind("gap"):
        if gap.offset is not None and gap.size is not None:
            gaps.setdefault(flows.of_frame[gap.place.frame], []).append((gap.offset, gap.offset + gap.size))
    whole: dict[Flow, Counter[tuple[object, ...]]] = {}
    for message in run_file(file).messages:
        flow = flows.of_frame[message.first.frame]
        whole.setdefault(flow, Counter())[captures.content(message, offset=False)] += 1
    for flow, given in found.items():
        bag = captures.contents((message for message in given if not message.partial), offset=False)
        assert bag <= whole.get(flow, Counter()), "a message is invented"
        starts = {each.start for each in originals(file).get(flow, [])}
        assert all(message.offset is None or message.offset in starts for message in given)
    for flow, expected in originals(file).items():
        there = union((start, end) for start, end, frame in flow.pieces if frame in frames)
        handshake = expected[0].message.stream.handshake
        assert handshake is not None
        proven = holds(there, 0, handshake.length)
        demanded = captures.contents((e.message for e in surely_found(expected, there, proven)), offset=False)
        bag = captures.contents((message for message in found.get(flow, []) if not message.partial), offset=False)
        assert demanded <= bag, "a whole message is lost"
        if proven and frames & set(flow.syns):
            end = flow.fin[0] if flow.fin and flow.fin[1] in frames else there[-1][1]
            assert union(gaps.get(flow, [])) == holes(there, max(end, there[-1][1]))


@pytest.mark.parametrize(("file", "part"), [(f, p) for f in WHOLE for p in (0.02, 0.3, 0.7) if p == 0.3 or f in SMALL])
def test_a_capture_begun_midway_gives_the_messages_from_there_on(file: str, part: float) -> None:
    assert_known_part(file, packets(file)[1 + int(part * len(packets(file))) :])


@pytest.mark.parametrize(("file", "loss"), [(f, p) for f in WHOLE for p in (0.01, 0.05) if p == 0.01 or f in SMALL])
def test_lost_packets_cost_only_the_messages_that_they_held_and_are_told_of(file: str, loss: float) -> None:
    chance = Random(f"{file} {loss}")
    assert_known_part(file, [packet for packet in packets(file) if chance.random() >= loss])


@pytest.mark.parametrize("file", WHOLE)
@pytest.mark.parametrize("side", ["lower", "higher"])
def test_one_side_of_each_connection_gives_all_that_it_sent(file: str, side: str) -> None:
    """The sides are told apart by their ports: clients have the higher ones."""
    kept = []
    for segment in segments(packets(file)):
        source, destination = segment.header[:2], segment.header[2:4]
        if (source > destination) == (side == "higher"):
            kept.append(segment.packet)
    expected = [
        m for m in run_file(file).messages if (m.stream.source.port > m.stream.destination.port) == (side == "higher")
    ]
    result = run(kept, hash_payload=True)
    assert captures.contents(result.messages) == captures.contents(expected)
    assert not result.of_kind("gap")


@pytest.mark.parametrize("file", SMALL)
def test_a_snaplen_of_96_leaves_the_start_of_every_message_that_begins_a_packet(file: str) -> None:
    result = run([packet._replace(data=packet.data[:96]) for packet in packets(file)], hash_payload=True)
    flows = flows_of(file)
    found = {(flows.of_frame[m.first.frame], m.offset): m for m in result.messages if m.offset is not None}
    of_frame = {segment.packet.frame: segment for segment in segments(packets(file))}
    known = {}
    for flow, expected in originals(file).items():
        known.update({(flow, each.start): each.message for each in expected})
        for each in expected:
            segment = of_frame[each.message.first.frame]
            begins = (each.message.first.frame) in {frame for start, _, frame in flow.pieces if start == each.start}
            headers = len(segment.link + segment.network + segment.header)
            if begins and 96 - headers >= 24:
                message = found[flow, each.start]
                assert message.first.frame == each.message.first.frame
    for place, message in found.items():
        original = known[place]
        assert original.header.startswith(message.header)
        assert message.fields.items() <= original.fields.items()
        assert message.partial or captures.content(message) == captures.content(original)
