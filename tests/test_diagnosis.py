"""Diagnosis: each finding from facts made by hand, and what is said, or not said, of real captures."""

from __future__ import annotations

import pytest

from raft_dissect import analyze, wire
from raft_dissect.cluster.facts import (
    CatchUp,
    ClusterFacts,
    ConfigurationFact,
    Election,
    ElectionOutcome,
    Incompatibility,
    Lag,
    Leaderless,
    Leadership,
    LeaderUnknown,
    PathEvent,
    PathFact,
    Refusal,
    Rejection,
    ReplicationFact,
    ServerFact,
    Snapshot,
    Traffic,
    Transfer,
    Truncation,
)
from raft_dissect.diagnosis import Finding
from raft_dissect.diagnosis import diagnose as diagnose_all
from raft_dissect.spread import Spread
from raft_dissect.values import Place
from raft_dissect.wire import table
from tests.captures import PCAPS, packets
from tests.scripts import Script, command

SEEN = tuple(ServerFact(id_, (), (), "unknown", "", Place(0, 1), Place(0, 1), "handshake") for id_ in (1, 2, 3))
NOTHING = ClusterFacts(SEEN, (), (), (), (), (), (), (), (), ())


def at(seconds: float) -> Place:
    """A packet so many seconds after the first one."""
    return Place(round(seconds * 1e9), round(seconds * 1000))


def diagnose(facts: ClusterFacts) -> tuple[Finding, ...]:
    return diagnose_all([facts])


def only(facts: ClusterFacts) -> Finding:
    (finding,) = diagnose(facts)
    return finding


def kinds(facts: ClusterFacts) -> list[str]:
    return [finding.kind for finding in diagnose(facts)]


def reign(leader: int, term: int, first: float, last: float) -> Leadership:
    return Leadership(term, leader, at(first), at(last), "unknown")


def vote(candidate: int, term: int, when: float, *, won: bool = False, reason: bool = False) -> Election:
    refused = (Refusal(9, "log_behind"),) if reason else ()
    outcome: ElectionOutcome = "won" if won else "lost" if reason else "split"
    return Election(term, candidate, False, (8, 9), (), refused, (), outcome, 0.1, "unknown", at(when))


def test_a_cluster_without_trouble_has_no_findings() -> None:
    assert diagnose(NOTHING._replace(leaders=(reign(1, 2, 0, 100),))) == ()


def test_a_time_without_a_leader_says_who_led_before_and_after_and_for_how_long() -> None:
    facts = NOTHING._replace(
        leaders=(reign(1, 2, 0, 10), reign(3, 5, 12.5, 60)),
        leaderless=(Leaderless(at(10), at(12.5), "connection_lost", "elected", 3),),
        elections=(vote(2, 3, 11), vote(2, 4, 11.5), vote(3, 5, 12, won=True)),
    )
    finding = only(facts)
    assert (finding.severity, finding.kind, finding.servers) == ("warning", "no_leader", (1, 3))
    assert finding.text == (
        "No leader for 2.5 s after server 1, leader of term 2, whose connections ended; 3 rounds of votes, 2 split; "
        "then server 3 led term 5."
    )
    assert finding.evidence == (at(10), at(12.5))


@pytest.mark.parametrize(
    ("last", "ended", "severity"), [(12, True, "warning"), (16, True, "problem"), (12, False, "problem")]
)
def test_no_leader_is_a_problem_when_it_lasts_or_does_not_end(last: float, ended: bool, severity: str) -> None:
    later = (reign(3, 5, last, 60),) if ended else ()
    facts = NOTHING._replace(leaders=(reign(1, 2, 0, 10), *later), leaderless=(Leaderless(at(10), at(last)),))
    assert only(facts).severity == severity


def test_the_usual_pause_between_two_leaders_is_no_finding() -> None:
    facts = NOTHING._replace(
        leaders=(reign(1, 2, 0, 10), reign(3, 5, 10.6, 60)), leaderless=(Leaderless(at(10), at(10.6)),)
    )
    assert diagnose(facts) == ()


def test_two_leaders_of_one_term_are_a_problem() -> None:
    finding = only(NOTHING._replace(leaders=(reign(1, 7, 0, 10), reign(2, 7, 3, 12))))
    assert (finding.severity, finding.kind) == ("problem", "two_leaders")
    assert finding.text.startswith("Servers 1 and 2 acted as leaders of one term, 7")


@pytest.mark.parametrize("followers", [2, 6])
def test_connections_of_one_host_are_not_taken_for_several_leaders(followers: int) -> None:
    """Of servers on one machine whose handshakes were missed it is not known which of them opened a connection."""
    script = Script(handshakes=False, host="127.0.0.1")
    for turn in range(5):
        for follower in range(2, 2 + followers):
            script.append(1, follower, 2, (2, turn), command(2)).result(follower, 1, 2, turn + 1)
    assert {finding.severity for finding in diagnose(script.facts())} == {"note"}


@pytest.mark.parametrize(("rounds", "found"), [(7, []), (8, ["election_storm"])])
def test_eight_rounds_one_after_the_other_that_elect_nobody_are_a_storm(rounds: int, found: list[str]) -> None:
    assert kinds(NOTHING._replace(elections=tuple(vote(1, 2 + n, n) for n in range(rounds)))) == found


def test_lost_elections_ten_seconds_apart_are_no_storm() -> None:
    assert kinds(NOTHING._replace(elections=tuple(vote(1, 2 + n, 10 * n) for n in range(20)))) == []


def test_the_end_of_the_capture_is_no_evidence_since_it_is_no_packet() -> None:
    end = Place(round(13e9), 0)
    facts = NOTHING._replace(leaders=(reign(1, 2, 0, 10),), leaderless=(Leaderless(at(10), end),))
    assert only(facts).evidence == (at(10),)


def test_a_candidate_that_nobody_votes_for_while_another_leads_is_named_with_the_reason() -> None:
    elections = tuple(vote(4, 3 + n, 1 + 100 * n, reason=True) for n in range(3))
    finding = only(NOTHING._replace(leaders=(reign(1, 2, 0, 1000),), elections=elections))
    assert (finding.kind, finding.servers) == ("vain_candidate", (4,))
    assert "3 times" in finding.text
    assert "its log is behind" in finding.text


def test_leaders_that_follow_each_other_quickly_are_told_of_and_transfers_explain_them() -> None:
    leaders = tuple(reign(1 + n % 2, 2 + n, 10 * n, 10 * n + 9.9) for n in range(5))
    assert only(NOTHING._replace(leaders=leaders)).severity == "warning"
    transfers = tuple(Transfer(1 + n % 2, 1 + (n + 1) % 2, 2 + n, "done", 0.1, at(10 * n + 9.9)) for n in range(4))
    assert only(NOTHING._replace(leaders=leaders, transfers=transfers)).severity == "note"


REPLICATION = ReplicationFact(
    leader=1,
    follower=2,
    requests=100,
    heartbeats=50,
    answered=100,
    unanswered=0,
    entries=50,
    bytes=5000,
    again=0,
    types={"command": 50},
    sizes=None,
    heartbeat_seconds=None,
    ack_seconds=Spread(100, 0.001, 0.001, 0.002, 0.003, 0.004),
    network_seconds=None,
    follower_seconds=None,
    commit_seconds=None,
    lag=(),
    place=at(0),
    last=at(10),
)

PATH = PathFact(1, 2, 1, 0, 0, 0, 0, 1000, 0, 0, None, (), at(0))
ACKNOWLEDGED = PATH._replace(receiver=3, round_trip_seconds=Spread(1, 0.01, 0.01, 0.01, 0.01, 0.01))


def test_a_follower_that_answers_nothing_is_named() -> None:
    silent = REPLICATION._replace(follower=3, answered=0, ack_seconds=None)
    finding = only(NOTHING._replace(replication=(REPLICATION, silent), paths=(ACKNOWLEDGED,)))
    assert finding.kind == "silent_follower"
    assert finding.text == "Server 3 answered none of 100 requests of server 1 in 10 s."


def test_answers_that_the_capture_may_have_missed_accuse_nobody() -> None:
    """Neither when the follower's TCP is not in the capture, nor when nobody's answers to the leader are."""
    unknown = REPLICATION._replace(follower=3, answered=0, ack_seconds=None)
    assert kinds(NOTHING._replace(replication=(REPLICATION, unknown))) == ["one_sided"]
    assert kinds(NOTHING._replace(replication=(unknown,), paths=(ACKNOWLEDGED,))) == ["one_sided"]


@pytest.mark.parametrize(
    ("network", "own", "advice"), [(0.001, 0.049, "disk of server 3"), (0.045, 0.005, "network between server 1 and")]
)
def test_a_slow_follower_is_named_with_what_is_slow(network: float, own: float, advice: str) -> None:
    slow = REPLICATION._replace(
        follower=3,
        ack_seconds=Spread(100, 0.04, 0.05, 0.06, 0.07, 0.08),
        network_seconds=network,
        follower_seconds=Spread(100, own, own, own, own, own),
    )
    finding = only(NOTHING._replace(replication=(REPLICATION, slow)))
    assert (finding.kind, finding.servers) == ("slow_follower", (3, 1))
    assert advice in finding.advice


def test_followers_that_are_all_alike_are_not_slow() -> None:
    slow = REPLICATION._replace(ack_seconds=Spread(100, 0.04, 0.05, 0.06, 0.07, 0.08))
    assert diagnose(NOTHING._replace(replication=(slow, slow._replace(follower=3)))) == ()


def test_a_follower_that_is_far_behind_at_the_end_is_named() -> None:
    behind = REPLICATION._replace(lag=(Lag(at(1), 5, 500), Lag(at(9), 4000, 1 << 20)))
    finding = only(NOTHING._replace(replication=(behind,)))
    assert finding.kind == "lagging_follower"
    assert finding.text == "Server 2 is 4,000 entries (1 MiB) behind server 1 at the end of the capture."


def test_a_follower_that_never_catches_up_is_a_problem_and_one_that_took_long_a_warning() -> None:
    never = CatchUp(1, 2, 3, 40, None, 900, True, None, at(1), None)
    late = CatchUp(1, 2, 3, 40, 7, 900, False, 11.0, at(1), at(12))
    facts = NOTHING._replace(replication=(REPLICATION,), end=at(20))
    assert only(facts._replace(catch_ups=(never,))).severity == "problem"
    assert only(facts._replace(catch_ups=(late,))).severity == "warning"
    assert diagnose(facts._replace(catch_ups=(never,), end=at(2))) == ()
    assert diagnose(NOTHING._replace(catch_ups=(never,), end=at(20))) == ()  # no request is in the capture


def test_writes_that_failed_are_a_problem_of_the_disk() -> None:
    failed = Rejection("append_entries", 3, 1, 2, "write_failed", 8, 7, at(4))
    finding = only(NOTHING._replace(rejections=(failed, failed)))
    assert (finding.severity, finding.kind, finding.servers) == ("problem", "write_failed", (3,))
    assert finding.text == "Server 3 could not write 2 requests to its disk."


SNAPSHOT = Snapshot(1, 3, 2, 10, 2, 1 << 20, at(1), at(2), at(3), "installed")


def test_snapshots_over_and_over_are_told_of_with_their_size() -> None:
    finding = only(NOTHING._replace(snapshots=(SNAPSHOT,) * 3))
    assert finding.kind == "repeated_snapshots"
    assert finding.text == "Server 1 sent 3 snapshots to server 3, 3 MiB in all; installed: 3."
    assert diagnose(NOTHING._replace(snapshots=(SNAPSHOT,) * 2)) == ()


def test_snapshots_that_failed_are_told_of_and_those_in_progress_are_not() -> None:
    cut = SNAPSHOT._replace(outcome="cut", finished=None, answered=None)
    assert only(NOTHING._replace(snapshots=(SNAPSHOT, cut))).text == (
        "Of 2 snapshots from server 1 to server 3: 1 cut off."
    )
    assert diagnose(NOTHING._replace(snapshots=(SNAPSHOT._replace(outcome="in_progress"),))) == ()


def test_a_log_that_was_cut_is_a_note() -> None:
    finding = only(NOTHING._replace(truncations=(Truncation(3, 1, 5, 12, 2, at(1)),)))
    assert (finding.severity, finding.kind) == ("note", "log_truncated")


def test_a_server_that_cannot_be_connected_to_is_named_after_some_attempts() -> None:
    events = (PathEvent("refused", 5, at(3), at(8), 4),)
    finding = only(NOTHING._replace(paths=(PATH._replace(refused=5, opened=0, segments=0, events=events),)))
    assert finding.text == "Server 1 could not connect to server 2: 5 times refused, and never got through."
    assert finding.evidence == (at(3),)
    assert diagnose(NOTHING._replace(paths=(PATH._replace(refused=2),))) == ()


@pytest.mark.parametrize(("again", "found"), [(9, []), (10, ["retransmissions"])])
def test_one_segment_in_a_hundred_sent_again_is_told_of(again: int, found: list[str]) -> None:
    assert kinds(NOTHING._replace(paths=(PATH._replace(retransmissions=again),))) == found


def test_a_receiver_that_takes_no_more_is_named_first() -> None:
    assert only(NOTHING._replace(paths=(PATH._replace(zero_windows=1),))).servers == (2, 1)


@pytest.mark.parametrize(("outcome", "words"), [("ignored", "did not campaign"), ("failed", "did not win")])
def test_a_transfer_that_failed_is_told_of(outcome: str, words: str) -> None:
    transfer = Transfer(1, 2, 3, "failed" if outcome == "failed" else "ignored", None, at(1))
    assert words in only(NOTHING._replace(transfers=(transfer,))).text
    assert diagnose(NOTHING._replace(transfers=(transfer._replace(outcome="done"),))) == ()


def test_voters_that_sent_nothing_are_told_of_and_a_lost_majority_is_a_problem() -> None:
    voters = tuple(wire.Server(id_, f"10.0.0.{id_}:9001", table.VOTER) for id_ in (1, 2, 3))
    seen = ServerFact(1, (), (), "unknown", "", at(0), at(1), "handshake")
    never = ServerFact(3, (), (), "unknown", "", None, None)
    configuration = ConfigurationFact(1, 1, voters, "bootstrap", at(0))
    facts = NOTHING._replace(configurations=(configuration,), servers=(seen, seen._replace(name=2), never))
    assert (only(facts).severity, only(facts).servers) == ("warning", (3,))
    assert only(facts._replace(servers=(seen, never))).severity == "problem"


def test_servers_whose_handshakes_are_not_in_the_capture_are_named() -> None:
    known = ServerFact(1, (), (), "unknown", "", at(0), at(1), "handshake")
    inferred = known._replace(name=2, known_by="inferred")
    unknown = known._replace(name="10.0.0.3", known_by=None)
    never_seen = unknown._replace(name=4, first_seen=None, last_seen=None)
    facts = NOTHING._replace(servers=(known, never_seen))
    assert diagnose(facts) == ()
    text = only(facts._replace(servers=(known, inferred))).text
    assert text == "Known by inference only: server 2; the capture began after the handshakes."
    text = only(facts._replace(servers=(known, inferred, unknown))).text
    assert text == "Not known by id: server 10.0.0.3; the capture began after the handshakes."


def test_answers_that_are_not_in_the_capture_are_told_of() -> None:
    missing = REPLICATION._replace(answered=0, unanswered=0, ack_seconds=None)
    finding = only(NOTHING._replace(replication=(missing,)))
    assert (finding.severity, finding.kind, finding.servers) == ("note", "one_sided", (2, 1))


def test_the_worst_comes_first_and_what_is_alike_in_the_order_of_time() -> None:
    facts = NOTHING._replace(
        truncations=(Truncation(3, 1, 5, 12, 2, at(1)),),
        transfers=(Transfer(1, 2, 3, "ignored", None, at(9)), Transfer(1, 3, 3, "ignored", None, at(5))),
        rejections=(Rejection("append_entries", 3, 1, 2, "write_failed", 8, 7, at(20)),),
    )
    found = [(finding.severity, finding.evidence[0]) for finding in diagnose(facts)]
    assert found == [("problem", at(20)), ("warning", at(5)), ("warning", at(9)), ("note", at(1))]


def test_servers_whose_releases_cannot_decode_each_other_are_named() -> None:
    pair = Incompatibility(2, 3, ("RequestVote",), "refused", True, at(4))
    finding = only(NOTHING._replace(incompatible=(pair,)))
    assert (finding.severity, finding.servers) == ("problem", (3, 2))
    assert finding.text.startswith("Server 3 cannot decode RequestVote of server 2")
    assert only(NOTHING._replace(incompatible=(pair._replace(certain=False),))).severity == "warning"


@pytest.mark.parametrize("host", [1, 2, 3])
@pytest.mark.parametrize("sent", [True, False])
def test_half_of_a_capture_accuses_nobody(host: int, sent: bool) -> None:
    """The packets that one server sends, or those that it gets: of a healthy cluster, until it was stopped."""
    address = bytes((10, 77, 77, host))
    place = slice(26, 30) if sent else slice(30, 34)
    half = [packet for packet in packets("s1-canon-0.18.1.pcap") if packet.data[place] == address]
    report = analyze(half)
    assert report.capture.messages > 80
    assert {finding.severity for finding in report.findings} == {"note"}


def test_leaders_whose_messages_are_not_in_the_capture_are_told_of() -> None:
    traffic = (Traffic(2, 1, {"AppendEntriesResult": 9}, 400, at(3)),)
    facts = NOTHING._replace(traffic=traffic, leader_unknown=(LeaderUnknown(at(10), at(40), "unseen_leader"),))
    finding = only(facts)
    assert (finding.severity, finding.kind, finding.servers, finding.evidence) == (
        "note",
        "unseen_leader",
        (1,),
        (at(3),),
    )


def test_findings_of_several_clusters_name_theirs() -> None:
    silent = NOTHING._replace(truncations=(Truncation(3, 1, 5, 12, 2, at(1)),))
    assert [finding.cluster for finding in diagnose_all([silent, NOTHING, silent])] == [0, 2]


@pytest.mark.parametrize("name", ["s1-canon-0.18.1", "s1-5n-cowsql-0.22.1", "s1-canon-0.9.0"])
def test_healthy_clusters_are_not_accused(name: str) -> None:
    """Nothing but bootstrap, an election, heartbeats and appends happens in these runs."""
    (facts,) = analyze(str(PCAPS / f"{name}.pcap")).clusters
    assert [finding for finding in diagnose(facts) if finding.severity != "note"] == []
