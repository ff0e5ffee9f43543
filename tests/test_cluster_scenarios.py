"""Elections, leaders, snapshots, transfers, membership: short scripts whose outcome follows from the Raft paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.packets import MILLISECOND, START
from tests.scripts import SPARE, STANDBY, VOTER, Script, address, change, command

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.values import Place

THREE = {1: VOTER, 2: VOTER, 3: VOTER}


def milliseconds(place: Place) -> float:
    return (place.time_ns - START) / MILLISECOND


def elect(
    script: Script, leader: int, term: int, last: tuple[int, int] = (1, 1), voters: tuple[int, ...] = (1, 2, 3)
) -> Script:
    """All others vote for one server, which then sends its first heartbeats and is answered."""
    others = [voter for voter in voters if voter != leader]
    for voter in others:
        script.ask(leader, voter, term, last)
    for voter in others:
        script.vote(voter, leader, term, 1)
    return beat(script, leader, term, last, voters)


def beat(
    script: Script, leader: int, term: int, last: tuple[int, int] = (1, 1), voters: tuple[int, ...] = (1, 2, 3)
) -> Script:
    """A heartbeat to everybody, and the answers."""
    others = [voter for voter in voters if voter != leader]
    for voter in others:
        script.append(leader, voter, term, last)
    for voter in others:
        script.result(voter, leader, term, last[1])
    return script


def elections(facts: ClusterFacts) -> list[tuple[object, ...]]:
    return [(e.term, e.candidate, e.pre_vote, e.granted, e.outcome) for e in facts.elections]


def leaders(facts: ClusterFacts) -> list[tuple[object, ...]]:
    return [(leadership.term, leadership.leader, leadership.ended_by) for leadership in facts.leaders]


def changes(facts: ClusterFacts) -> list[tuple[object, ...]]:
    return [(change.server, change.old, change.new, change.cause) for change in facts.term_changes]


def reasons(facts: ClusterFacts) -> list[tuple[object, ...]]:
    return [(r.kind, r.by, r.of, r.reason) for r in facts.rejections]


# Elections


def test_election_is_won_by_the_server_that_leads_the_term_then() -> None:
    facts = elect(Script(), 1, 2).facts()
    assert elections(facts) == [(2, 1, False, (2, 3), "won")]
    (election,) = facts.elections
    assert (election.requests, election.refused, election.cause) == ((2, 3), (), "start")
    assert election.seconds == 0.004  # two requests, two answers, then the first AppendEntries
    assert leaders(facts) == [(2, 1, "capture_end")]
    assert changes(facts) == [(1, None, 2, "election"), (2, None, 2, "unknown"), (3, None, 2, "unknown")]


def test_split_vote_is_won_by_nobody() -> None:
    """Four servers, two candidates: each has two votes of four, and the next term decides."""
    script = Script()
    script.ask(1, 2, 2).ask(3, 4, 2).ask(1, 3, 2).ask(1, 4, 2).ask(3, 1, 2).ask(3, 2, 2)
    script.vote(2, 1, 2, 1).vote(4, 3, 2, 1).vote(3, 1, 2, 0).vote(4, 1, 2, 0).vote(1, 3, 2, 0).vote(2, 3, 2, 0)
    script.at(1000)
    elect(script, 3, 3, voters=(1, 2, 3, 4))
    facts = script.facts()
    assert elections(facts) == [
        (2, 1, False, (2,), "split"),
        (2, 3, False, (4,), "split"),
        (3, 3, False, (1, 2, 4), "won"),
    ]
    assert {(r.by, r.of, r.reason) for r in facts.rejections} == {
        (3, 1, "already_voted"),
        (4, 1, "already_voted"),
        (1, 3, "already_voted"),
        (2, 3, "already_voted"),
    }


def test_pre_vote_changes_no_term_and_makes_no_leader() -> None:
    script = beat(Script(), 1, 2)
    script.at(2000).ask(2, 1, 3, pre=1).ask(2, 3, 3, pre=1).vote(1, 2, 3, 0, pre=1).vote(3, 2, 3, 0, pre=1)
    facts = script.facts()
    assert elections(facts) == [(3, 2, True, (), "lost")]
    assert reasons(facts) == [("pre_vote", 1, 2, "has_leader"), ("pre_vote", 3, 2, "has_leader")]
    assert {change.new for change in facts.term_changes} == {2}
    assert leaders(facts) == [(2, 1, "unknown")]


def test_pre_vote_round_is_won_when_the_real_one_follows() -> None:
    script = Script()
    script.ask(1, 2, 2, pre=1).ask(1, 3, 2, pre=1).vote(2, 1, 2, 1, pre=1).vote(3, 1, 2, 1, pre=1)
    facts = elect(script, 1, 2).facts()
    assert elections(facts) == [(2, 1, True, (2, 3), "won"), (2, 1, False, (2, 3), "won")]


def test_pre_vote_that_was_refused_is_lost_although_a_transfer_makes_its_candidate_ask_in_the_same_term() -> None:
    script = beat(Script(), 1, 2).at(2000)
    script.ask(2, 1, 3, pre=1).ask(2, 3, 3, pre=1).vote(1, 2, 3, 0, pre=1).vote(3, 2, 3, 0, pre=1)
    beat(script, 1, 2).say(1, 2, "TimeoutNow", {"term": 2, "last_log_index": 1, "last_log_term": 1})
    script.ask(2, 1, 3, disrupt=1).ask(2, 3, 3, disrupt=1).vote(1, 2, 3, 1).vote(3, 2, 3, 1)
    facts = beat(script, 2, 3).facts()
    assert elections(facts) == [(3, 2, True, (), "lost"), (3, 2, False, (1, 3), "won")]


def test_election_without_any_answer_is_abandoned_or_still_open_at_the_end() -> None:
    script = Script().ask(1, 2, 2).ask(1, 3, 2)
    assert elections(script.facts()) == [(2, 1, False, (), "unknown")]
    script.at(1500).ask(1, 2, 3).ask(1, 3, 3)
    assert elections(script.facts()) == [(2, 1, False, (), "abandoned"), (3, 1, False, (), "unknown")]


def test_requests_that_waited_for_a_voter_are_matched_with_their_answers_in_order() -> None:
    """Server 1 asked in terms 3 to 5 while 2 was away, and led by 3 in term 4: each answer is to its own request."""
    script = beat(Script(), 3, 4, voters=(2, 3)).at(1000)
    script.ask(1, 2, 3).ask(1, 2, 4).ask(1, 2, 5).vote(2, 1, 4, 0).vote(2, 1, 4, 0).vote(2, 1, 4, 0)
    facts = script.facts()
    assert [(e.term, [r.reason for r in e.refused]) for e in facts.elections] == [
        (3, ["stale_term"]),
        (4, ["unknown"]),
        (5, ["has_leader"]),
    ]


def test_answer_that_got_lost_does_not_shift_the_answers_after_it() -> None:
    script = Script().ask(1, 2, 2, pre=1).kill(2).at(1500).ask(1, 2, 2, pre=1).vote(2, 1, 2, 1, pre=1)
    assert [(e.granted, e.outcome) for e in script.facts().elections] == [((), "abandoned"), ((2,), "unknown")]


REFUSALS: dict[str, Callable[[Script], Script]] = {
    "has_leader": lambda s: beat(s, 1, 2).at(900).ask(3, 2, 3).vote(2, 3, 2, 0),
    "already_voted": lambda s: s.ask(1, 2, 2).vote(2, 1, 2, 1).ask(3, 2, 2).vote(2, 3, 2, 0),
    "stale_term": lambda s: s.ask(1, 2, 5).vote(2, 1, 5, 1).ask(3, 2, 4).vote(2, 3, 5, 0),
    "log_behind": lambda s: (
        s.append(1, 2, 2, (1, 1), command(2))
        .result(2, 1, 2, 2)
        .kill(1)
        .ask(2, 3, 3, (2, 2))
        .ask(3, 2, 4, (1, 1))
        .vote(2, 3, 4, 0)
    ),
    "unknown": lambda s: s.ask(3, 2, 2).vote(2, 3, 2, 0),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_vote_is_refused_for_the_reason_that_the_messages_show(reason: str) -> None:
    script = Script()
    REFUSALS[reason](script)
    facts = script.facts()
    assert reasons(facts) == [("request_vote", 2, 3, reason)]
    assert facts.elections[-1].refused == ((2, reason),)


def test_leader_that_hands_over_is_no_reason_to_refuse() -> None:
    """A request with the transfer flag is refused by no voter because of its leader."""
    facts = beat(Script(), 1, 2).ask(2, 3, 3, disrupt=1).vote(3, 2, 2, 0).facts()
    assert reasons(facts) == [("request_vote", 3, 2, "unknown")]


def test_deposed_leader_that_campaigns_has_no_leader() -> None:
    """It asked for pre-votes itself, so it leads no more: its refusal of another one's pre-vote has another reason."""
    script = beat(Script(), 1, 2).at(500).ask(1, 2, 3, pre=1).ask(2, 1, 3, pre=1).vote(1, 2, 3, 0, pre=1)
    assert reasons(script.facts()) == [("pre_vote", 1, 2, "unknown")]


def test_answer_that_waited_long_says_only_what_terms_prove() -> None:
    script = beat(Script(), 1, 2).at(500).ask(2, 3, 3, pre=1).at(3000).vote(3, 2, 3, 0, pre=1)
    assert reasons(script.facts()) == [("pre_vote", 3, 2, "unknown")]


@pytest.mark.parametrize(
    ("kill", "cause"),
    [(True, "connection_lost"), (False, "heartbeats_absent")],
)
def test_election_is_caused_by_what_happened_to_the_leader(kill: bool, cause: str) -> None:
    script = beat(Script(), 1, 2)
    if kill:
        script.kill(1)
    facts = script.at(1500).ask(2, 3, 3).vote(3, 2, 3, 1).append(2, 3, 3, (1, 1)).facts()
    assert [(e.candidate, e.cause, e.outcome) for e in facts.elections] == [(2, cause, "won")]


def test_leader_that_lost_its_majority_campaigns_for_a_cause_that_nobody_sees() -> None:
    facts = elect(Script(), 1, 2).at(2000).ask(1, 2, 3).facts()
    assert [(e.term, e.cause) for e in facts.elections] == [(2, "start"), (3, "unknown")]


def test_candidate_that_missed_the_first_leader_does_not_start_the_cluster() -> None:
    script = Script().ask(3, 1, 2).ask(3, 2, 2)
    elect(script.at(500), 1, 3, voters=(1, 2))
    facts = script.at(2000).ask(3, 1, 3).facts()
    assert [(e.term, e.candidate, e.cause) for e in facts.elections] == [
        (2, 3, "start"),
        (3, 1, "start"),
        (3, 3, "unknown"),
    ]


def test_leader_after_a_transfer_campaigns_later_for_another_cause() -> None:
    script = transfer(Script()).ask(2, 1, 3, disrupt=1).vote(1, 2, 3, 1).append(2, 1, 3, (1, 1)).at(4000).ask(2, 1, 4)
    assert [(e.term, e.cause) for e in script.facts().elections[1:]] == [(3, "transfer"), (4, "unknown")]


def test_requests_that_waited_for_a_voter_together_are_one_round() -> None:
    script = Script().ask(1, 2, 2, pre=1).ask(1, 2, 2, pre=1).ask(1, 2, 2, pre=1).at(1000).ask(1, 2, 2, pre=1)
    assert [(e.term, len(e.requests)) for e in script.facts().elections] == [(2, 1), (2, 1)]


# Terms and leaders


def test_terms_that_no_packet_shows_are_one_step() -> None:
    facts = elect(Script(), 1, 6).at(1000).ask(2, 3, 8).vote(3, 2, 8, 1).append(2, 3, 8, (1, 1)).facts()
    assert [c for c in changes(facts) if c[1] is not None] == [(2, 6, 8, "election"), (3, 6, 8, "vote_request")]


def test_term_changes_are_caused_by_what_the_server_received() -> None:
    script = elect(Script(), 1, 2).at(1000)
    script.append(1, 2, 2, (1, 1)).result(2, 1, 3, 0)  # 2 is in term 3 already, and says so
    script.ask(1, 2, 4).vote(2, 1, 4, 1).append(1, 3, 4, (1, 1)).result(3, 1, 4, 1)
    assert [c for c in changes(script.facts()) if c[1] is not None] == [
        (2, 2, 3, "unknown"),
        (1, 2, 4, "election"),
        (2, 3, 4, "vote_request"),
        (3, 2, 4, "append_entries"),
    ]
    script = elect(Script(), 1, 2).at(1000)
    script.append(1, 2, 2, (1, 1)).result(2, 1, 3, 0).vote(1, 3, 3, 0)
    assert (1, 2, 3, "result") in changes(script.facts())
    script = (
        Script()
        .result(3, 1, 1, 0)
        .say(1, 3, "InstallSnapshot", {"term": 2, "last_index": 9, "last_term": 2}, roles=THREE)
    )
    assert (3, 1, 2, "snapshot") in changes(script.result(3, 1, 2, 9).facts())


def test_voter_that_refused_takes_the_term_from_the_leader_it_hears_of_then() -> None:
    """It kept to its leader and its term; the candidate won without it."""
    script = elect(Script(), 1, 2).at(1000).ask(3, 2, 3).vote(2, 3, 2, 0).append(3, 2, 3, (1, 1)).result(2, 3, 3, 1)
    assert (2, 2, 3, "append_entries") in changes(script.facts())


def test_old_message_that_comes_late_takes_no_term_back() -> None:
    """What was queued for server 3 in term 2 arrives after its sender is in term 3."""
    script = elect(Script(), 1, 2, voters=(1, 2)).at(500).ask(2, 1, 3).vote(1, 2, 3, 1)
    script.append(2, 1, 3, (1, 1)).result(1, 2, 3, 1)
    facts = script.at(900).append(1, 3, 2, (1, 1)).ask(1, 3, 2).result(3, 1, 3, 0, rejected=1).facts()
    assert [(c.server, c.old, c.new) for c in facts.term_changes if c.server == 1] == [(1, None, 2), (1, 2, 3)]
    old = facts.leaders[0]
    assert (old.term, old.leader, old.ended_by) == (2, 1, "step_down")
    assert milliseconds(old.last) < 500


def test_stale_leader_is_listed_until_its_last_message_and_rejected() -> None:
    script = elect(Script(), 1, 2).at(1000)
    script.ask(2, 3, 3).vote(3, 2, 3, 1).append(2, 3, 3, (1, 1)).result(3, 2, 3, 1)
    script.append(1, 3, 2, (1, 1)).result(3, 1, 3, 1, rejected=1)
    facts = script.facts()
    assert leaders(facts) == [(2, 1, "new_leader"), (3, 2, "capture_end")]
    assert facts.leaders[0].last > facts.leaders[1].first
    assert reasons(facts) == [("append_entries", 3, 1, "stale_term")]
    assert facts.leaderless == () or all(gap.last <= facts.leaders[1].first for gap in facts.leaderless)


def test_two_leaders_of_one_term_are_both_listed() -> None:
    """Raft allows one leader for each term; if there are two, the report must not hide it."""
    script = Script().append(1, 2, 2, (1, 1)).append(3, 2, 2, (1, 1)).append(1, 2, 2, (1, 1))
    assert [(leadership.term, leadership.leader) for leadership in script.facts().leaders] == [(2, 1), (2, 3)]


ENDS: dict[str, Callable[[Script], Script]] = {
    "new_leader": lambda s: s.at(1000).ask(2, 3, 3).vote(3, 2, 3, 1).append(2, 3, 3, (1, 1)),
    "step_down": lambda s: s.at(1000).ask(2, 1, 3).vote(1, 2, 3, 1).append(2, 1, 3, (1, 1)),
    "connection_lost": lambda s: s.wait(50).kill(1).at(2000).ask(2, 3, 3),
    "capture_end": lambda s: s.at(500).result(2, 1, 2, 1),
    "unknown": lambda s: s.at(30_000).ask(2, 3, 3, pre=1),
}


@pytest.mark.parametrize("word", ENDS)
def test_leader_ends_as_the_messages_show(word: str) -> None:
    script = beat(elect(Script(), 1, 2).wait(100), 1, 2)
    ENDS[word](script)
    assert script.facts().leaders[0].ended_by == word


def test_time_without_a_leader_is_from_the_last_message_of_one_to_the_first_of_the_next() -> None:
    script = elect(Script(), 1, 2)  # its AppendEntries are at 4 and 5 ms
    script.kill(1).at(1500).ask(2, 3, 3).vote(3, 2, 3, 1).append(2, 3, 3, (1, 1))
    gaps = [(milliseconds(gap.first), milliseconds(gap.last)) for gap in script.facts().leaderless]
    assert gaps == [(0, 4), (5, 1502)]


# Rejections of entries

LAYOUTS = ("c-0.18.0", "w-0.22.1")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_follower_without_the_entry_before_rejects(layout: str) -> None:
    facts = Script(layout).append(1, 2, 2, (2, 9), command(2)).result(2, 1, 2, 4, rejected=9).facts()
    (rejection,) = facts.rejections
    assert (rejection.kind, rejection.by, rejection.of, rejection.term) == ("append_entries", 2, 1, 2)
    assert (rejection.rejected, rejection.last_log_index, rejection.reason) == (9, 4, "no_such_entry")


def test_follower_with_another_term_there_rejects() -> None:
    """Canonical followers say where their log ends, cowsql's cap it below the rejected index."""
    facts = Script("c-0.18.0").append(1, 2, 3, (3, 5)).result(2, 1, 3, 8, rejected=5).facts()
    assert reasons(facts) == [("append_entries", 2, 1, "term_mismatch")]
    script = Script().append(1, 2, 2, (2, 5), command(2)).result(2, 1, 2, 6)
    facts = script.append(3, 2, 3, (3, 5)).result(2, 3, 3, 4, rejected=5).facts()
    assert reasons(facts) == [("append_entries", 2, 3, "term_mismatch")]
    script = Script("c-0.18.0").append(1, 2, 2, (2, 5), command(2)).result(2, 1, 2, 6)
    facts = script.append(3, 2, 3, (3, 5)).result(2, 3, 3, 4, rejected=5).facts()
    assert reasons(facts) == [("append_entries", 2, 3, "no_such_entry")]


def test_canonical_follower_that_cannot_write_rejects_the_first_entry() -> None:
    facts = Script("c-0.18.0").append(1, 2, 2, (2, 5), command(2)).result(2, 1, 2, 5, rejected=6).facts()
    assert reasons(facts) == [("append_entries", 2, 1, "write_failed")]


# Snapshots


def snapshot(script: Script, last: tuple[int, int] = (2, 100), size: int = 4096, cut: int = 0, term: int = 2) -> Script:
    fields = {"term": term, "last_term": last[0], "last_index": last[1], "conf_index": 1}
    return script.say(1, 2, "InstallSnapshot", fields, roles=THREE, data=bytes(size), cut=cut)


SNAPSHOTS: dict[str, Callable[[Script], Script]] = {
    "installed": lambda s: snapshot(s).wait(7).result(2, 1, 2, 100),
    "already_had": lambda s: snapshot(s.append(1, 2, 2, (2, 100)).result(2, 1, 2, 100)).result(2, 1, 2, 100),
    "refused": lambda s: snapshot(s).result(2, 1, 2, 0, rejected=100),
    "cut": lambda s: snapshot(s, cut=1000).kill(1).at(3000).ask(2, 3, 3),
    "unanswered": lambda s: snapshot(s).at(2000).append(1, 3, 2, (2, 100)),
    "in_progress": lambda s: snapshot(s),
}


@pytest.mark.parametrize("outcome", SNAPSHOTS)
def test_snapshot_has_the_outcome_that_its_answer_shows(outcome: str) -> None:
    script = Script()
    SNAPSHOTS[outcome](script)
    (fact,) = script.facts().snapshots
    assert fact.outcome == outcome
    assert (fact.leader, fact.follower, fact.term, fact.last_index, fact.last_term) == (1, 2, 2, 100, 2)
    assert fact.bytes == 4096
    assert (fact.answered is None) == (outcome in ("cut", "unanswered", "in_progress"))
    assert (fact.finished is None) == (outcome == "cut")


def test_snapshot_is_none_that_was_installed_when_entries_behind_it_had_come_before() -> None:
    """Entries up to 102 are being written when a snapshot up to 100 comes: it is answered first, the entries then."""
    script = Script().append(1, 2, 2, (2, 98), *[command(2)] * 4)
    snapshot(script).result(2, 1, 2, 100)
    assert [fact.outcome for fact in script.facts().snapshots] == ["in_progress"]
    (fact,) = script.result(2, 1, 2, 102).facts().snapshots
    assert fact.outcome == "already_had"
    assert fact.answered is not None
    assert milliseconds(fact.answered) - milliseconds(fact.started) == 1


def test_snapshot_was_installed_when_the_entries_before_it_were_refused() -> None:
    script = Script().append(1, 2, 2, (2, 98), *[command(2)] * 4).append(1, 2, 2, (2, 102))
    script.result(2, 1, 2, 3, rejected=98)
    snapshot(script).result(2, 1, 2, 3, rejected=102).result(2, 1, 2, 100)
    assert [fact.outcome for fact in script.facts().snapshots] == ["installed"]


def test_snapshot_was_installed_when_later_entries_are_answered_first() -> None:
    script = Script().append(1, 2, 2, (2, 98), *[command(2)] * 4)
    snapshot(script).result(2, 1, 2, 100).append(1, 2, 2, (2, 100), *[command(2)] * 8).result(2, 1, 2, 108)
    assert [fact.outcome for fact in script.facts().snapshots] == ["installed"]


def test_snapshot_is_answered_when_its_last_index_is_acknowledged() -> None:
    """Heartbeats go on meanwhile, and are answered with an empty log."""
    script = snapshot(Script()).append(1, 2, 2, (2, 100)).result(2, 1, 2, 0).wait(20).result(2, 1, 2, 100)
    (fact,) = script.facts().snapshots
    assert fact.outcome == "installed"
    assert fact.answered is not None
    assert milliseconds(fact.answered) - milliseconds(fact.started) == 23
    assert fact.seconds == 0  # its packets have one time


def test_same_snapshot_sent_again_while_it_is_installed_gets_no_answer() -> None:
    script = snapshot(snapshot(snapshot(Script()))).wait(10).result(2, 1, 2, 100)
    assert [fact.outcome for fact in script.facts().snapshots] == ["installed", "unanswered", "unanswered"]


def test_refused_snapshot_of_an_old_leader_is_a_rejection() -> None:
    facts = snapshot(Script("c-0.18.0")).result(2, 1, 3, 120, rejected=100).facts()
    assert reasons(facts) == [("install_snapshot", 2, 1, "stale_term")]


# Transfers


def transfer(script: Script) -> Script:
    fields = {"term": 2, "last_log_index": 1, "last_log_term": 1}
    return elect(script, 1, 2).at(1000).say(1, 2, "TimeoutNow", fields)


def test_transfer_is_done_when_its_target_leads() -> None:
    script = transfer(Script()).ask(2, 1, 3, disrupt=1).ask(2, 3, 3, disrupt=1).vote(3, 2, 3, 1)
    (fact,) = script.append(2, 1, 3, (1, 1)).facts().transfers
    assert (fact.leader, fact.target, fact.term, fact.outcome, fact.seconds) == (1, 2, 2, "done", 0.004)


def test_transfer_fails_when_its_target_does_not_win() -> None:
    script = transfer(Script()).ask(2, 1, 3, disrupt=1).vote(1, 2, 3, 0).at(3000).ask(1, 3, 4).vote(3, 1, 4, 1)
    (fact,) = script.append(1, 3, 4, (1, 1)).facts().transfers
    assert (fact.outcome, fact.seconds) == ("failed", None)


def test_transfer_is_ignored_when_its_target_does_nothing() -> None:
    (fact,) = beat(transfer(Script()).at(3000), 1, 2).facts().transfers
    assert (fact.outcome, fact.seconds) == ("ignored", None)
    (fact,) = transfer(Script()).facts().transfers
    assert fact.outcome == "unknown"  # the capture ends right after it


def test_transfer_that_was_ignored_is_not_done_by_the_next_one() -> None:
    script = transfer(Script()).at(5000).say(1, 2, "TimeoutNow", {"term": 2, "last_log_index": 1, "last_log_term": 1})
    script.ask(2, 1, 3, disrupt=1).vote(1, 2, 3, 1).append(2, 1, 3, (1, 1)).at(9000).result(1, 2, 3, 1)
    assert [(fact.outcome, fact.seconds) for fact in script.facts().transfers] == [("ignored", None), ("done", 0.003)]


# Configurations

ONE, TWO = {1: VOTER}, {1: VOTER, 2: VOTER}
CHANGES = [
    ("bootstrap", {}, ONE),
    ("added", ONE, {**ONE, 2: SPARE}),
    ("promoted", {**ONE, 2: SPARE}, {**ONE, 2: STANDBY}),
    ("promoted", {**ONE, 2: STANDBY}, TWO),
    ("demoted", TWO, {**ONE, 2: STANDBY}),
    ("demoted", {**ONE, 2: STANDBY}, {**ONE, 2: SPARE}),
    ("removed", TWO, ONE),
    ("several", ONE, THREE),
    ("several", {**ONE, 2: SPARE}, {2: VOTER}),
    (None, TWO, TWO),
]


@pytest.mark.parametrize(("word", "before", "after"), CHANGES)
def test_configuration_change_is_named_after_what_changes(
    word: str | None, before: dict[int, int], after: dict[int, int]
) -> None:
    entries = [change(1, roles) for roles in (before, after) if roles]
    start = 0 if not before else 6
    facts = Script().append(1, 3, 1, (1, start), *entries).facts()
    assert [(fact.conf_index, fact.term) for fact in facts.configurations] == [
        (start + 1 + number, 1) for number in range(len(entries))
    ]
    assert facts.configurations[-1].change == word
    assert {server.id: server.role for server in facts.configurations[-1].servers} == after


def test_first_configuration_of_a_capture_changes_nothing_that_is_known() -> None:
    (fact,) = Script().append(1, 2, 3, (3, 40), change(3, THREE)).facts().configurations
    assert (fact.conf_index, fact.term, fact.change) == (41, 3, None)


def test_same_entry_sent_to_two_followers_is_one_configuration() -> None:
    script = Script()
    for follower in (2, 3):
        script.append(1, follower, 1, (0, 0), change(1, THREE))
    (fact,) = script.facts().configurations
    assert (fact.conf_index, fact.change) == (1, "bootstrap")


def test_roles_of_a_server_are_told_in_their_order() -> None:
    roles: list[dict[int, int]] = [{**ONE, 2: SPARE}, {**ONE, 2: STANDBY}, TWO, ONE]
    script = Script().append(1, 2, 1, (1, 1), *(change(1, r) for r in roles)).result(2, 1, 1, 5)
    first, second = script.facts().servers
    assert (first.roles, second.roles) == (("voter",), ("spare", "standby", "voter"))


# Who is who


def test_server_that_is_not_known_at_first_is_one_server_in_the_end() -> None:
    """Midway: nobody has said its id yet. Then server 2 asks for a vote, and a snapshot names all addresses."""
    script = Script(handshakes=False)
    for _ in range(3):  # a stream without its begin is recognised once it holds a few messages
        beat(script, 1, 2)
    facts = script.facts()
    assert [server.name for server in facts.servers] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert [leadership.leader for leadership in facts.leaders] == ["10.0.0.1"]
    script.at(500).ask(2, 3, 3).vote(3, 2, 3, 1).append(2, 3, 3, (1, 1)).result(3, 2, 3, 1).result(3, 2, 3, 1)
    fields = {"term": 3, "last_term": 2, "last_index": 100, "conf_index": 1}
    script.say(2, 1, "InstallSnapshot", fields, roles=THREE, data=bytes(100))
    facts = script.facts()
    assert [(server.name, server.addresses, server.roles) for server in facts.servers] == [
        (id_, (address(id_),), ("voter",)) for id_ in (1, 2, 3)
    ]
    assert [(leadership.term, leadership.leader) for leadership in facts.leaders] == [(2, 1), (3, 2)]
    assert {traffic.sender for traffic in facts.traffic} == {1, 2, 3}
    assert [(change.server, change.old, change.new) for change in facts.term_changes] == [
        (1, None, 2),
        (2, None, 2),
        (3, None, 2),
        (2, 2, 3),
        (3, 2, 3),
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.9"])
def test_servers_on_one_machine_are_told_apart(host: str) -> None:
    """A receiver that has not spoken yet is not taken for the only one that has."""
    script = Script(host=host)
    facts = elect(script, 1, 2).facts()
    assert [server.name for server in facts.servers] == [1, 2, 3]
    assert elections(facts) == [(2, 1, False, (2, 3), "won")]
    assert {(t.sender, t.receiver): sum(t.messages.values()) for t in facts.traffic} == {
        (1, 2): 2,
        (1, 3): 2,
        (2, 1): 2,
        (3, 1): 2,
    }


def test_connections_of_one_server_on_one_machine_become_one_when_it_asks_for_votes() -> None:
    """Midway on one machine nothing but a vote request says whose a connection is."""
    script = Script(handshakes=False, host="127.0.0.1")
    for receiver in (1, 3):
        script.result(2, receiver, 2, 1).result(2, receiver, 2, 1).result(2, receiver, 2, 1)
    facts = script.at(900).ask(2, 1, 3).ask(2, 3, 3).facts()
    (known,) = (server for server in facts.servers if server.name == 2)
    assert known.first_seen is not None
    assert milliseconds(known.first_seen) == 0
    assert not any("(sender)" in str(server.name) for server in facts.servers)
    assert [(c.server, c.old, c.new) for c in facts.term_changes] == [(2, None, 2), (2, 2, 3)]


def test_traffic_counts_messages_and_their_bytes() -> None:
    script = Script().append(1, 2, 2, (1, 1), command(2, 100)).append(1, 2, 2, (2, 2)).result(2, 1, 2, 2)
    sent, received = script.facts().traffic
    # A preamble of 16 bytes, then 48 of AppendEntries and 16 for its entry, or 32 of AppendEntriesResult.
    assert (sent.sender, sent.receiver, sent.messages, sent.bytes) == (
        1,
        2,
        {"AppendEntries": 2},
        16 * 2 + 48 * 2 + 16 + 100,
    )
    assert (received.messages, received.bytes) == ({"AppendEntriesResult": 1}, 48)


@pytest.mark.parametrize(
    ("layout", "family", "release"),
    [("w-0.22.1", "cowsql", "v0.20.0"), ("c-0.9.0", "canonical", "v0.9.0"), ("c-0.11.3", "canonical", "v0.11.3")],
)
def test_implementation_is_told_by_its_layouts(layout: str, family: str, release: str) -> None:
    facts = Script(layout).vote(2, 1, 2, 1, pre=0).result(2, 1, 2, 1).facts()
    server = next(server for server in facts.servers if server.name == 2)
    assert server.family == family
    assert f"{release}.." in server.releases


def test_upgraded_server_is_told_by_what_it_writes_now() -> None:
    script = Script("c-0.9.0").result(2, 1, 2, 1).kill(2).at(5000)
    script.layout = "w-0.22.1"
    server = next(server for server in script.result(2, 1, 2, 1).facts().servers if server.name == 2)
    assert (server.family, "v0.9.0" in server.releases) == ("cowsql", False)
