"""What the report says of replication: short scripts worked out by hand, and what servers logged in real clusters."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from raft_dissect.cluster.commits import LeaderLog, Voters
from raft_dissect.cluster.decisions import Decisions
from raft_dissect.cluster.extents import Extent
from raft_dissect.cluster.progress import Progress
from raft_dissect.cluster.replicated import replicated
from raft_dissect.cluster.servers import Server
from raft_dissect.pipeline import analyze
from raft_dissect.values import Place
from tests.captures import PCAPS, RUNS, truth
from tests.scripts import VOTER, Script, change, command

if TYPE_CHECKING:
    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.cluster.facts import ReplicationFact

MS = 0.001
COMPLETE = sorted(
    run for run in RUNS if (PCAPS / f"{run}.pcap").exists() and not run.startswith("tls") and "snaplen" not in run
)
"""Runs whose capture has all packets, whole and in clear text."""
CANONICAL = [run for run in COMPLETE if "canon-0.1" in run and "+" not in run]
"""Runs of releases that cut their log only where it conflicts."""


def row(facts: ClusterFacts, follower: int = 2) -> ReplicationFact:
    """What server 1 replicated to a follower, which is known by its host as long as it has not said anything."""
    (found,) = [
        fact for fact in facts.replication if fact.leader == 1 and fact.follower in (follower, f"10.0.0.{follower}")
    ]
    return found


def seconds(*values: float) -> list[Any]:
    return [pytest.approx(value, rel=0.02) for value in values]


# Requests and their answers


def test_answer_is_timed_from_the_last_packet_of_the_request() -> None:
    script = Script().append(1, 2, 2, (0, 0), command(2, 4000)).wait(6).result(2, 1, 2, 1)
    fact = row(script.facts())
    assert (fact.requests, fact.heartbeats, fact.answered, fact.unanswered) == (1, 0, 1, 0)
    assert (fact.entries, fact.bytes, fact.types) == (1, 4000, {"command": 1})
    assert fact.ack_seconds is not None
    assert [fact.ack_seconds.min, fact.ack_seconds.max] == seconds(7 * MS, 7 * MS)


def test_answer_of_a_heartbeat_overtakes_that_of_entries_that_are_being_written() -> None:
    """The entry is sent at 0 and written at 20 ms; the heartbeat is sent at 1 ms and answered at 3 ms."""
    script = Script().append(1, 2, 2, (0, 0), command(2)).append(1, 2, 2, (2, 1))
    fact = row(script.at(3).result(2, 1, 2, 0).at(20).result(2, 1, 2, 1).facts())
    assert fact.answered == 2
    assert fact.ack_seconds is not None
    assert [fact.ack_seconds.min, fact.ack_seconds.max] == seconds(2 * MS, 20 * MS)


def test_pipelined_requests_are_answered_in_their_order() -> None:
    """Three requests at 0, 1 and 2 ms, their answers at 10, 13 and 16 ms: they took 10, 12 and 14 ms."""
    script = Script()
    for index in range(3):
        script.append(1, 2, 2, (2 if index else 0, index), command(2))
    for index in range(3):
        script.at(10 + 3 * index).result(2, 1, 2, index + 1)
    spread = row(script.facts()).ack_seconds
    assert spread is not None
    assert (spread.samples, [spread.min, spread.p50, spread.max]) == (3, seconds(10 * MS, 12 * MS, 14 * MS))


def test_request_whose_successor_was_answered_is_unanswered() -> None:
    script = Script().append(1, 2, 2, (0, 0), command(2)).result(2, 1, 2, 1)
    script.append(1, 2, 2, (2, 1), command(2)).append(1, 2, 2, (2, 2), command(2)).result(2, 1, 2, 3)
    fact = row(script.facts())
    assert (fact.requests, fact.answered, fact.unanswered) == (3, 2, 1)


def test_requests_of_the_last_second_may_yet_be_answered() -> None:
    script = Script().append(1, 2, 2, (0, 0)).result(2, 1, 2, 0).append(1, 2, 2, (0, 0)).wait(2000)
    script.append(1, 2, 2, (0, 0)).wait(500).append(1, 3, 2, (0, 0))
    fact = row(script.facts())
    assert (fact.requests, fact.answered, fact.unanswered) == (3, 1, 1)


def test_requests_on_their_way_when_the_connection_ended_are_not_unanswered() -> None:
    script = Script().append(1, 2, 2, (0, 0)).result(2, 1, 2, 0).append(1, 2, 2, (0, 0)).kill(2)
    fact = row(script.wait(5000).append(1, 3, 2, (0, 0)).facts())
    assert (fact.requests, fact.answered, fact.unanswered) == (2, 1, 0)


def test_requests_are_not_unanswered_once_the_connection_for_answers_has_ended() -> None:
    script = Script().append(1, 2, 2, (0, 0)).result(2, 1, 2, 0).kill(2).wait(10).append(1, 2, 2, (0, 0))
    fact = row(script.wait(5000).append(1, 3, 2, (0, 0)).facts())
    assert (fact.requests, fact.answered, fact.unanswered) == (2, 1, 0)


def test_follower_that_never_answers_is_visible() -> None:
    script = Script()
    for _ in range(30):
        script.append(1, 2, 2, (0, 0)).append(1, 3, 2, (0, 0)).result(3, 1, 2, 0).wait(100)
    facts = script.facts()
    assert (row(facts).requests, row(facts).answered) == (30, 0)
    assert (row(facts, 3).requests, row(facts, 3).answered) == (30, 30)


def test_capture_of_one_side_has_no_unanswered_requests() -> None:
    script = Script()
    for _ in range(30):
        script.append(1, 2, 2, (0, 0)).result(2, 1, 2, 0).wait(100)
    packets = [packet for packet in script.packets() if b"\x0a\x00\x00\x01\x0a\x00\x00\x02" in packet.data]
    (facts,) = analyze(packets, ports=[9001]).clusters
    assert (row(facts).requests, row(facts).answered, row(facts).unanswered) == (30, 0, 0)


def test_refusal_of_a_request_whose_term_is_over_is_its_answer_and_no_catch_up() -> None:
    script = Script().append(1, 2, 2, (2, 5), command(2)).ask(2, 3, 3).result(2, 1, 3, 0, rejected=5)
    facts = script.facts()
    assert (row(facts).answered, facts.catch_ups) == (1, ())


def test_entries_are_sent_again_when_their_index_and_term_were_sent_before() -> None:
    """Entries 1 and 2, then 1 to 3: two again; then 3 anew in another term, which is another entry."""
    script = Script().append(1, 2, 2, (0, 0), command(2), command(2))
    script.append(1, 2, 2, (0, 0), command(2), command(2), command(2))
    script.append(1, 2, 3, (2, 2), command(3))
    fact = row(script.facts())
    assert (fact.entries, fact.again) == (6, 2)


def test_intervals_are_those_between_requests_of_one_term() -> None:
    script = Script().append(1, 2, 2, (0, 0)).at(100).append(1, 2, 2, (0, 0)).at(250).append(1, 2, 2, (0, 0))
    spread = row(script.at(5000).append(1, 2, 3, (0, 0)).facts()).heartbeat_seconds
    assert spread is not None
    assert (spread.samples, spread.min, spread.max) == (2, 0.1, 0.15)


def test_round_trip_divides_the_time_between_network_and_follower() -> None:
    leader, follower = Server("a"), Server("b")
    holding = Extent()
    progress = Progress(leader, follower, LeaderLog(leader, Extent(), Voters(), Decisions()), holding, [])
    progress.opened()
    progress.append(2, 0, 0, 0, ((2, 1, 8),), 1_000_000, 1, 0)
    progress.success(2, 1, 11_000_000, 11_000_000, 2, 0)
    (fact,) = replicated([progress], Place(20_000_000, 3), {("a", "b"): 0.004})
    assert fact.follower_seconds is not None
    assert (fact.network_seconds, [fact.follower_seconds.max]) == (0.004, seconds(0.006))
    (fact,) = replicated([progress], Place(20_000_000, 3))
    assert (fact.network_seconds, fact.follower_seconds) == (None, None)


# Commits


def test_entry_is_committed_when_a_majority_of_known_voters_has_it() -> None:
    """Five voters: the leader and two followers. Sent at 10 ms, acknowledged at 14, 19 and 30 ms: 9 ms."""
    script = Script().append(1, 2, 2, (0, 0), change(2, dict.fromkeys(range(1, 6), VOTER)))
    script.at(10).append(1, 2, 2, (2, 1), command(2))
    for follower in (3, 4):
        script.at(10).append(1, follower, 2, (0, 0), change(2, dict.fromkeys(range(1, 6), VOTER)), command(2))
    script.at(14).result(2, 1, 2, 2).at(19).result(3, 1, 2, 2).at(30).result(4, 1, 2, 2)
    spread = row(script.facts()).commit_seconds
    assert spread is not None
    assert (spread.samples, [spread.min, spread.max]) == (2, seconds(9 * MS, 19 * MS))


def test_entry_is_committed_when_its_leader_says_so_if_voters_are_not_known() -> None:
    script = Script().append(1, 2, 2, (2, 4)).at(10).append(1, 2, 2, (2, 4), command(2)).result(2, 1, 2, 5)
    script.at(60).say(1, 2, "AppendEntries", {"term": 2, "prev_log_index": 5, "prev_log_term": 2, "leader_commit": 5})
    spread = row(script.facts()).commit_seconds
    assert spread is not None
    assert (spread.samples, [spread.max]) == (1, seconds(50 * MS))


def test_majority_does_not_commit_entries_of_an_earlier_term() -> None:
    """Raft paper, section 5.4.2: they are committed with the first entry of the leader's own term."""
    voters = change(2, {1: VOTER, 2: VOTER, 3: VOTER})
    script = Script().append(1, 2, 3, (0, 0), voters).at(10).result(2, 1, 3, 1)
    assert row(script.facts()).commit_seconds is None
    script.at(20).append(1, 2, 3, (2, 1), command(3)).append(1, 3, 3, (0, 0), voters).result(3, 1, 3, 1)
    assert row(script.facts()).commit_seconds is None
    script.at(25).result(2, 1, 3, 2)
    spread = row(script.facts()).commit_seconds
    assert spread is not None
    assert (spread.samples, [spread.min, spread.max]) == (2, seconds(5 * MS, 25 * MS))


# Lag


def test_lag_counts_what_the_leader_sent_to_anybody() -> None:
    """Server 2 has entry 1. Server 3 is sent 2, 3 and 4, of 100 bytes each, before server 2 gets a heartbeat."""
    script = Script().append(1, 2, 2, (0, 0), command(2, 50)).result(2, 1, 2, 1)
    script.append(1, 3, 2, (2, 1), *[command(2, 100)] * 3).at(100).append(1, 2, 2, (2, 1))
    lag = row(script.facts()).lag
    assert [(most.entries, most.bytes) for most in lag] == [(3, 300)]


def test_lag_has_at_most_200_intervals_and_keeps_the_most() -> None:
    script = Script().append(1, 2, 2, (0, 0)).result(2, 1, 2, 0)
    for index in range(1000):
        script.append(1, 2, 2, (2 if index else 0, index), command(2)).wait(9)
    lag = row(script.facts()).lag
    assert 100 <= len(lag) <= 200
    assert (max(most.entries for most in lag), lag[-1].entries, lag[-1].bytes) == (1000, 1000, 8000)


def test_peak_of_the_lag_stays_when_intervals_become_longer() -> None:
    """Fifty entries behind after 40 ms of 20 s, and none before and after."""
    script = Script()
    for _ in range(20):
        script.append(1, 2, 2, (0, 0)).result(2, 1, 2, 0)
    script.append(1, 2, 2, (0, 0), *[command(2)] * 50).result(2, 1, 2, 50)
    for _ in range(1000):
        script.append(1, 2, 2, (2, 50)).result(2, 1, 2, 50).wait(18)
    lag = row(script.facts()).lag
    assert [most.entries for most in lag] == [50] + [0] * (len(lag) - 1)


# Catching up, and what is replaced


def test_catch_up_tells_where_logs_matched_and_how_long_it_took() -> None:
    """Two rejections at 10 and 12 ms, accepted behind entry 3 of 10, all stored at 20 ms."""
    script = Script().append(1, 3, 2, (2, 0), *[command(2)] * 10).at(9).append(1, 2, 2, (2, 10))
    script.at(10).result(2, 1, 2, 5, rejected=10).append(1, 2, 2, (2, 5), *[command(2)] * 5)
    script.at(12).result(2, 1, 2, 3, rejected=5).append(1, 2, 2, (2, 3), *[command(2)] * 5)
    script.append(1, 2, 2, (2, 8), *[command(2)] * 2)
    script.at(15).result(2, 1, 2, 8)
    (catch_up,) = script.at(20).result(2, 1, 2, 10).facts().catch_ups
    assert (catch_up.leader, catch_up.follower, catch_up.term, catch_up.rejections) == (1, 2, 2, 2)
    assert (catch_up.matched, catch_up.behind, catch_up.snapshot) == (3, 7, False)
    assert [catch_up.seconds] == seconds(10 * MS)


def test_catch_up_that_does_not_end_has_no_time() -> None:
    script = Script().append(1, 2, 2, (2, 10)).result(2, 1, 2, 5, rejected=10)
    (catch_up,) = script.facts().catch_ups
    assert (catch_up.matched, catch_up.behind, catch_up.seconds) == (None, None, None)


def replaced(*, acknowledged: bool) -> ClusterFacts:
    """Server 2 has entries 1 to 4 of term 2; the leader of term 3 sends it an entry 3 of its own."""
    script = Script().append(1, 2, 2, (0, 0), *[command(2)] * 4).result(2, 1, 2, 4).ask(3, 2, 3).vote(2, 3, 3, 1)
    script.append(3, 2, 3, (2, 2), command(3))
    return (script.result(2, 3, 3, 3) if acknowledged else script).facts()


def test_acknowledged_entries_that_are_replaced_are_a_truncation() -> None:
    (truncation,) = replaced(acknowledged=True).truncations
    assert (truncation.follower, truncation.leader, truncation.term) == (2, 3, 3)
    assert (truncation.first_index, truncation.entries) == (3, 2)


def test_entries_are_not_known_to_be_replaced_before_the_follower_says_so() -> None:
    assert replaced(acknowledged=False).truncations == ()


# Real clusters


def facts_of(run: str) -> ClusterFacts:
    (facts,) = analyze([str(PCAPS / f"{run}.pcap")]).clusters
    return facts


@pytest.mark.parametrize("run", COMPLETE)
def test_requests_and_answers_are_those_that_servers_counted(run: str) -> None:
    """Every result on the wire answers an AppendEntries or a snapshot, and no request that it may not."""
    logged = truth(run)
    ids = logged.get("raft_ids", {})
    facts = facts_of(run)
    found = {(fact.leader, fact.follower): fact for fact in facts.replication}
    installs = Counter((s.leader, s.follower) for s in facts.snapshots if s.answered is not None)
    results = {(t.receiver, t.sender): t.messages.get("AppendEntriesResult", 0) for t in facts.traffic}
    for pair, counts in logged["message_counts"].items():
        leader, follower = (int(ids.get(number, number)) for number in pair.split("->"))
        if "AppendEntries" in counts and counts["AppendEntries"]["received"]:
            fact = found[leader, follower]
            assert counts["AppendEntries"]["received"] <= fact.requests <= counts["AppendEntries"]["write_ok"]
            assert fact.answered == results.get((leader, follower), 0) - installs[leader, follower]
            assert fact.unanswered == 0


@pytest.mark.parametrize("run", CANONICAL)
def test_truncations_are_those_that_servers_logged(run: str) -> None:
    logged = Counter((record["node"], record["index"]) for record in truth(run).get("truncates", []))
    found = Counter((truncation.follower, truncation.first_index) for truncation in facts_of(run).truncations)
    assert found == logged


@pytest.mark.parametrize("run", COMPLETE)
def test_catch_ups_have_no_more_rejections_than_servers_logged(run: str) -> None:
    facts = facts_of(run)
    of_entries = Counter((r.of, r.by) for r in facts.rejections if r.reason in ("no_such_entry", "term_mismatch"))
    found: Counter[object] = Counter()
    for catch_up in facts.catch_ups:
        found[catch_up.leader, catch_up.follower] += catch_up.rejections
    assert found == of_entries
    assert found.total() <= truth(run)["n_rejections_sent"]
