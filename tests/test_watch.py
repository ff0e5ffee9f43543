"""What `Watch` tells while packets come: every fact once, at the packet that proves it, however the packets come."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from raft_dissect import analyze
from raft_dissect.cluster import Analysis, Clusters
from raft_dissect.cluster.facts import Election, Leadership, Snapshot, TermChange
from raft_dissect.dissection import Dissection
from raft_dissect.values import Packet
from raft_dissect.watch import Watch
from raft_dissect.watch.happenings import Connection as ConnectionFact
from raft_dissect.watch.watch import BEAT_NS
from tests import captures
from tests.packets import START, Address, Connection
from tests.scripts import Script, command
from tests.transformations import by_time, numbered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raft_dissect.dissection import Source
    from raft_dissect.watch import Happening

SECOND = 1_000_000_000


def told(source: Source) -> list[tuple[Happening, int]]:
    """The happenings in a capture, with the time until which packets had come when each was told."""
    dissection, clusters = Dissection(source), Clusters(Analysis)
    watch = Watch(clusters)
    found = []
    for batch, beat_ns in dissection.beats(BEAT_NS):
        clusters.feed_batch(batch)
        watch.note(batch)
        if beat_ns is not None:
            found += [(happening, beat_ns) for happening in watch.look(beat_ns, dissection.arriving())]
    end_ns = dissection.statistics.last_ns or 0
    return found + [(happening, end_ns) for happening in watch.look(end_ns)]


def happenings(source: Source) -> list[Happening]:
    return [happening for happening, _ in told(source)]


def places(found: Iterable[Happening], kind: str) -> Counter[object]:
    return Counter(happening.place for happening in found if happening.kind == kind)


@pytest.mark.parametrize("file", captures.CLEAR)
def test_each_fact_of_the_report_is_told_once_at_its_packet(file: str) -> None:
    path = captures.PCAPS / file
    found = happenings(path)
    clusters = analyze(path).clusters
    assert bool(found) == bool(clusters)
    for kind, facts in (
        ("term_change", [change.place for one in clusters for change in one.term_changes]),
        ("leader", [leadership.first for one in clusters for leadership in one.leaders]),
        ("rejection", [rejection.place for one in clusters for rejection in one.rejections]),
        ("snapshot_begun", [snapshot.started for one in clusters for snapshot in one.snapshots]),
        ("transfer_begun", [transfer.place for one in clusters for transfer in one.transfers]),
        ("election_begun", [election.place for one in clusters for election in one.elections]),
        ("configuration", [configuration.place for one in clusters for configuration in one.configurations]),
        ("restart", [place for one in clusters for server in one.servers for place in server.restarts]),
    ):
        assert places(found, kind) == Counter(facts), kind


@pytest.mark.parametrize("file", captures.CLEAR)
def test_what_was_told_does_not_turn_out_otherwise(file: str) -> None:
    """An exception: a round that its candidate has abandoned may yet be refused by those who answer late."""
    path = captures.PCAPS / file
    facts = [happening.fact for happening in happenings(path) if happening.kind.endswith("_ended")]
    clusters = analyze(path).clusters
    elections = {(one.place, one.pre_vote): one.outcome for cluster in clusters for one in cluster.elections}
    snapshots = {one.started: one.outcome for cluster in clusters for one in cluster.snapshots}
    for fact in facts:
        if isinstance(fact, Election) and fact.outcome != "abandoned":
            assert elections[fact.place, fact.pre_vote] == fact.outcome
        if isinstance(fact, Snapshot):
            assert snapshots[fact.started] == fact.outcome


def test_a_leader_that_was_lost_leads_no_more_as_soon_as_another_does() -> None:
    """A term has one leader at most (Raft 5.2), so nothing of the one before needs to be waited for."""
    script = Script().append(1, 2, 2, (1, 1), command(2)).append(1, 3, 2, (1, 1), command(2))
    script.result(2, 1, 2, 2).result(3, 1, 2, 2).kill(1).wait(200)
    script.ask(2, 3, 3, (2, 2)).vote(3, 2, 3, 1).append(2, 3, 3, (2, 2))
    reigns = [
        (one.kind, one.fact.term, one.fact.leader)
        for one in happenings(script.packets())
        if isinstance(one.fact, Leadership)
    ]
    assert sorted(reigns) == [("leader", 2, 1), ("leader", 3, 2), ("leader_ended", 2, 1)]


def test_a_server_that_answers_no_attempt_is_told_of_while_it_is_silent() -> None:
    """The program gave up after five seconds, as Go's do: more SYNs would have come after seven and 15."""
    script = Script().append(1, 2, 2, (1, 1), command(2)).result(2, 1, 2, 2)
    for turn in range(300):
        script.at(100 * turn).append(1, 3, 2, (2, 2)).result(3, 1, 2, 2)
    asking = Connection(Address("10.0.0.1", 50000), Address("10.0.0.2", 9001)).syn()
    syns = [Packet(asking, START + second * SECOND, 1, len(asking), 1) for second in (5, 6, 8)]
    found = told(numbered(by_time([*script.packets(), *syns])))
    ((unanswered, at_ns),) = [one for one in found if one[0].kind == "connection_unanswered"]
    assert isinstance(unanswered.fact, ConnectionFact)
    assert (unanswered.fact.sender, unanswered.fact.receiver) == (1, 2)
    assert START + 20 * SECOND < at_ns < START + 23 * SECOND


@pytest.mark.parametrize("file", captures.CLEAR)
def test_packets_one_by_one_tell_the_same_as_files(file: str) -> None:
    path = captures.PCAPS / file
    assert described(happenings(captures.packets(file))) == described(happenings(path))


def described(found: Iterable[Happening]) -> list[tuple[object, ...]]:
    return [(one.kind, one.place, str(one.fact) if one.kind != "diagnostic" else "") for one in found]


@pytest.mark.parametrize("file", ["s2-cowsql-0.22.1.pcap", "s5-canon-0.18.1.pcap", "s6-canon-0.18.1.pcap"])
def test_what_a_packet_proves_is_told_within_a_second(file: str) -> None:
    proven = {"term_change", "leader", "rejection", "election_begun", "transfer_begun", "configuration", "restart"}
    late = [
        happening
        for happening, at_ns in told(captures.PCAPS / file)
        if happening.kind in proven and at_ns - happening.place.time_ns > SECOND
    ]
    assert not late


@pytest.mark.parametrize("file", ["s2-cowsql-0.22.1.pcap", "s5-canon-0.18.1.pcap", "s6-canon-0.18.1.pcap"])
@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_told_twice_where_packets_are_missing(file: str, seed: int) -> None:
    """What is held back behind a hole can prove something again, with an earlier packet."""
    chances = random.Random(seed)
    packets = [packet for packet in captures.packets(file) if chances.random() > 0.05]
    once: Counter[tuple[object, ...]] = Counter()
    over: set[tuple[object, ...]] = set()
    for happening in happenings(packets):
        fact = happening.fact
        if isinstance(fact, TermChange):
            once["term", fact.server, fact.new] += 1
        elif isinstance(fact, Leadership):
            reign = "leader", fact.term, fact.leader
            once[reign] += happening.kind == "leader"
            assert (reign in over) == (happening.kind == "leader_returned")
            (over.add if happening.kind == "leader_ended" else over.discard)(reign)
    assert set(once.values()) == {1}
