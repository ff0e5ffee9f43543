"""What a report says of a part of a capture: less than of the whole, and nothing else."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from raft_dissect import analyze
from tests.captures import packets
from tests.packets import SECOND
from tests.transformations import tcp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from raft_dissect.cluster.facts import ClusterFacts, ServerName
    from raft_dissect.values import Packet

FILES = [
    "s2-cowsql-0.22.1.pcap",
    "s3-cowsql-0.22.1.pcap",
    "s4-64k-canon-0.18.1.pcap",
    "s5-canon-0.18.1.pcap",
    "s6-canon-0.18.1.pcap",
    "s7-canon-0.18.1-pv.pcap",
]
"""Kills, a follower that was down, a snapshot, transfers, membership, partitions."""


class Told(NamedTuple):
    """What happened, by what identifies it whatever else is known of it."""

    leaders: set[object]
    terms: set[object]
    elections: set[object]
    rejections: set[object]
    snapshots: set[object]
    transfers: set[object]
    truncations: set[object]


class _Names:
    """The ids of servers by their addresses, for parts in which they are known by those alone."""

    def __init__(self, whole: ClusterFacts) -> None:
        self._ids = {
            address.rpartition(":")[0]: server.name for server in whole.servers for address in server.addresses
        }

    def id(self, name: ServerName) -> ServerName:
        return self._ids[name] if isinstance(name, str) else name


def told(facts: ClusterFacts, names: _Names) -> Told:
    named = names.id
    return Told(
        {(one.term, named(one.leader)) for one in facts.leaders},
        {(named(one.server), one.new) for one in facts.term_changes},
        {(one.term, named(one.candidate), one.pre_vote) for one in facts.elections},
        {(one.kind, named(one.by), named(one.of), one.term, one.place.time_ns) for one in facts.rejections},
        {(named(one.leader), named(one.follower), one.last_index) for one in facts.snapshots},
        {(named(one.leader), named(one.target), one.place.time_ns) for one in facts.transfers},
        {(named(one.follower), named(one.leader), one.first_index) for one in facts.truncations},
    )


def restarts(facts: ClusterFacts, names: _Names) -> list[tuple[ServerName, int]]:
    return [(names.id(server.name), place.time_ns) for server in facts.servers for place in server.restarts]


def assert_no_more_is_told(part: Sequence[Packet], whole: ClusterFacts) -> None:
    names = _Names(whole)
    known = told(whole, names)
    for cluster in analyze(part).clusters:
        for found, all_of_them in zip(told(cluster, names), known, strict=True):
            assert found <= all_of_them
        for server, time_ns in restarts(cluster, names):  # the first packet of a server may be missing
            assert any(name == server and 0 <= time_ns - first < SECOND for name, first in restarts(whole, names))


def from_the_middle_on(capture: Sequence[Packet]) -> Iterator[Sequence[Packet]]:
    for sixth in range(1, 6):
        yield capture[len(capture) * sixth // 6 :]


def until_the_middle(capture: Sequence[Packet]) -> Iterator[Sequence[Packet]]:
    for sixth in range(1, 6):
        yield capture[: len(capture) * sixth // 6]


def of_one_direction(capture: Sequence[Packet]) -> Iterator[Sequence[Packet]]:
    """The packets from one host to any other; and those of which one host sends none."""
    sources = {packet: packet.data[26:30] for packet in capture if tcp_of(packet) is not None}
    for host in sorted(set(sources.values())):
        yield [packet for packet, source in sources.items() if source == host]
        yield [packet for packet, source in sources.items() if source != host]


def thinned(capture: Sequence[Packet]) -> Iterator[Sequence[Packet]]:
    """Without one packet in a hundred, and without one in twenty."""
    for seed in range(4):
        chance = Random(seed)
        yield [packet for packet in capture if chance.random() > (0.05 if seed % 2 else 0.01)]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("parts", [from_the_middle_on, until_the_middle, of_one_direction, thinned])
def test_a_part_of_a_capture_tells_of_nothing_that_the_whole_does_not(
    file: str, parts: Callable[[Sequence[Packet]], Iterator[Sequence[Packet]]]
) -> None:
    capture = packets(file)
    (whole,) = analyze(capture).clusters
    for part in parts(capture):
        assert_no_more_is_told(part, whole)
