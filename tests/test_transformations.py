"""Every real capture, changed so that what becomes of its messages is known: the same messages, or a known part."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests import captures, transformations
from tests.captures import PCAPS, packets, run, run_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _pytest.mark import ParameterSet

    from raft_dissect.values import Packet

CLEAR = [file for file in captures.FILES if file.partition("-")[0] != "tls13" or file.endswith("plain1.pcap")]
"""Captures of clear text."""
WHOLE = [file for file in CLEAR if "snaplen96" not in file]
"""Those with whole packets."""
FOUR = [file for file in WHOLE if "ipv6" not in file]


def size(file: str) -> int:
    return (PCAPS / file).stat().st_size


def assert_same_messages(file: str, changed: Sequence[Packet]) -> None:
    """The same messages with the same bytes at the same places of their streams, and no more trouble than before."""
    expected = run_file(file)
    result = run(changed, hash_payload=True)
    assert captures.contents(result.messages) == captures.contents(expected.messages)
    kinds = [diagnostic.kind for diagnostic in expected.diagnostics]
    assert [diagnostic.kind for diagnostic in result.diagnostics] == kinds


# --- The same messages ---


@pytest.mark.parametrize("file", WHOLE)
def test_every_packet_captured_twice_gives_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.twice(packets(file)))


@pytest.mark.parametrize("file", WHOLE)
def test_copies_from_behind_a_router_some_milliseconds_later_give_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.seen_at_two_points(packets(file)))


@pytest.mark.parametrize("file", WHOLE)
def test_packets_captured_late_by_up_to_400_ms_give_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.late(packets(file)))


@pytest.mark.parametrize("file", WHOLE)
def test_packets_written_late_with_their_true_times_give_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.late_with_its_time(packets(file)))


@pytest.mark.parametrize("file", WHOLE)
def test_times_that_only_go_backwards_give_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.backwards(packets(file)))


@pytest.mark.parametrize("file", WHOLE)
def test_a_clock_set_back_by_an_hour_gives_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.clock_set_back(packets(file)))


@pytest.mark.parametrize("file", WHOLE)
def test_segments_cut_into_small_ones_give_the_same_messages(file: str) -> None:
    """The larger the capture, the larger the segments, for the sake of time."""
    piece = 7 if size(file) < 120_000 else 100 if size(file) < 600_000 else 500
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


@pytest.mark.parametrize("file", WHOLE)
def test_retransmissions_in_other_cuts_give_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.retransmitted(packets(file)))


@pytest.mark.parametrize("file", WHOLE)
def test_keep_alives_give_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.kept_alive(packets(file)))


STOPPED_CLOCK = pytest.mark.xfail(
    reason="packets with the link types NULL and LOOP do not move the engine's clock when they are fed in blocks"
)


def wrapped_files() -> list[ParameterSet]:
    """Three kinds of headers for each file in turn, so that every kind is there several times."""
    kinds = itertools.cycle(transformations.KINDS)
    return [
        pytest.param(file, kind, marks=STOPPED_CLOCK if kind in ("NULL", "LOOP") else ())
        for file in WHOLE
        for kind in itertools.islice(kinds, 3)
    ]


@pytest.mark.parametrize(("file", "kind"), wrapped_files())
def test_packets_under_other_headers_give_the_same_messages(file: str, kind: str) -> None:
    assert_same_messages(file, transformations.wrapped(packets(file), kind))


@pytest.mark.parametrize("file", FOUR)
def test_ipv4_fragments_in_any_order_give_the_same_messages(file: str) -> None:
    assert_same_messages(file, transformations.fragmented(packets(file)))
