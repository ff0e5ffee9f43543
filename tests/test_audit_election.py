"""Elections that go wrong in every way that Raft forbids: the audit finds each, and says who and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_dissect.audit.knowledge import bounded
from raft_dissect.auditing import audit
from tests import captures
from tests.audits import accusations, of_scenario, said, times_held
from tests.scenarios import scenario

if TYPE_CHECKING:
    from raft_dissect.audit import Finding

NO_PRE_VOTE = "s7-cowsql-0.22.1-nopv.pcap"
PRE_VOTE = "s7-canon-0.18.1-pv.pcap"
DQLITE = "dq7-dqlite-1.18.6.pcap"
LOOPBACK = "lo-cowsql-0.22.1.pcap"
STALL = "s7-stall-canon-0.18.1.pcap"
ELECTION = [f"EL-{number:02}" for number in range(1, 14)]


def three(release: str, text: str, *rules: str) -> list[Finding]:
    """What is found behind the start of three servers, of which server 1 leads term 1 with a log up to 5."""
    return of_scenario(f"cluster 1 2 3 release {release}\ninclude start-of-three\n{text}", *rules)


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    return finding


def test_a_second_leader_of_a_term_is_named_with_the_first() -> None:
    found = three("canonical-0.18.1", "at 950ms 3 -> 2 AppendEntries term=1 prev=5/1 commit=5", "EL-01")
    finding = only(found)
    assert finding.message == f"Servers 1 (frame {finding.evidence[0].frame}) and 3 both act as leader of term 1."
    assert (finding.verdict, finding.server, finding.peer, finding.term) == ("violation", 3, 1, 1)
    assert finding.evidence[0] < finding.place


def test_the_order_of_two_votes_does_not_matter() -> None:
    """The request of the second candidate, and its grant, come first."""
    text = """
        at 2300ms 3 -> 1 RequestVote term=2 last=5/1
        at 2301ms 1 -> 3 RequestVoteResult term=2 granted
        at 2302ms 2 -> 1 RequestVote term=2 last=5/1
        at 2303ms 1 -> 2 RequestVoteResult term=2 granted as second
    """
    finding = only(three("canonical-0.18.1", text, "EL-02"))
    assert (finding.server, finding.peer, finding.term, finding.verdict) == (1, 2, 2, "violation")


def test_a_vote_for_the_same_candidate_twice_and_pre_votes_for_two_are_no_second_vote() -> None:
    text = """
        at 2300ms 2,3 -> 1 RequestVote term=2 last=5/1 pre
        at 2301ms 1 -> 2,3 RequestVoteResult term=2 granted pre
        at 2302ms 2 -> 1 RequestVote term=2 last=5/1
        at 2303ms 1 -> 2 RequestVoteResult term=2 granted
        at 2304ms 1 -> 2 RequestVoteResult term=2 granted
    """
    assert not three("canonical-0.18.1", text, "EL-02", "EL-03")


def test_a_transfer_does_not_free_a_voter_that_has_voted() -> None:
    """Old leaders grant the target of their transfer a vote even after they have voted for another in that term."""
    text = """
        at 950ms  1 -> 2 TimeoutNow term=1 last=5/1
        at 951ms  3 -> 1 RequestVote term=2 last=5/1 disrupt
        at 952ms  1 -> 3 RequestVoteResult term=2 granted
        at 953ms  2 -> 1 RequestVote term=2 last=5/1 disrupt
        at 954ms  1 -> 2 RequestVoteResult term=2 granted
    """
    finding = only(three("canonical-0.10.0", text, "EL-02"))
    assert (finding.server, finding.peer, finding.verdict) == (1, 2, "violation")


def test_votes_of_releases_that_do_not_flag_pre_votes_are_told_by_their_order() -> None:
    """A pre-vote of its own makes server 1 forget that it voted for 2, so it votes for 3, too: releases up to v0.11.2.

    The answers to the pre-votes carry the term before, those of real votes term 2; both say no more than granted.
    """
    text = """
        at 2300ms 2 -> 1 RequestVote term=2 last=5/1 pre
        at 2301ms 1 -> 2 RequestVoteResult term=1 granted
        at 2302ms 2 -> 1 RequestVote term=2 last=5/1
        at 2303ms 1 -> 2 RequestVoteResult term=2 granted
        at 2310ms 1 -> 3 RequestVote term=3 last=5/1 pre
        at 2311ms 3 -> 1 RequestVote term=2 last=5/1
        at 2312ms 1 -> 3 RequestVoteResult term=2 granted as second
    """
    finding = only(three("canonical-0.10.0", text, "EL-02"))
    assert (finding.server, finding.peer, finding.term) == (1, 3, 2)
    pre = """
        at 2300ms 2 -> 1 RequestVote term=2 last=5/1
        at 2301ms 1 -> 2 RequestVoteResult term=2 granted
        at 2302ms 3 -> 1 RequestVote term=3 last=5/1 pre
        at 2303ms 1 -> 3 RequestVoteResult term=2 granted
    """
    assert not three("canonical-0.10.0", pre, "EL-02", "EL-03")


def test_a_candidate_that_votes_for_another_is_found_whichever_comes_first() -> None:
    text = """
        at 2300ms 3 -> 2 RequestVote term=2 last=5/1
        at 2301ms 2 -> 3 RequestVoteResult term=2 granted
        at 2302ms 2 -> 1 RequestVote term=2 last=5/1 as own
    """
    finding = only(three("canonical-0.18.1", text, "EL-03"))
    assert (finding.server, finding.peer, finding.verdict, finding.message.count("frame")) == (2, 3, "violation", 2)


COMMITTED = """
    at 1000ms 1 -> 2 AppendEntries term=1 prev=5/1 commit=5 entries=command
    at 1002ms 2 -> 1 AppendEntriesResult term=1 last=6
    at 1100ms 1 -> 2 AppendEntries term=1 prev=6/1 commit={commit}
    at 1101ms 2 -> 1 AppendEntriesResult term=1 last=6
    at 2300ms 3 -> 2 RequestVote term=2 last=5/1
    at 2301ms 2 -> 3 RequestVoteResult term=2 granted
"""


def test_a_voter_may_lose_only_what_is_not_committed() -> None:
    """Entry 6 stands on server 2 when it votes for 3; if nobody committed it, another leader may have removed it."""
    finding = only(three("canonical-0.18.1", COMMITTED.format(commit=6), "EL-04"))
    assert (finding.server, finding.peer, finding.log_index) == (2, 3, 6)
    assert not three("canonical-0.18.1", COMMITTED.format(commit=5), "EL-04")


def test_a_voter_that_voted_before_it_had_the_entry_is_not_accused() -> None:
    """Its acknowledgement carries the term of its vote, so it may be later, whatever the clocks say."""
    text = """
        at 1000ms 3 -> 2 RequestVote term=2 last=5/1
        at 1200ms 1 -> 2,3 AppendEntries term=2 prev=5/1 commit=5 entries=command
        at 1202ms 2,3 -> 1 AppendEntriesResult term=2 last=6
        at 1300ms 1 -> 2,3 AppendEntries term=2 prev=6/2 commit=6
        at 1302ms 2 -> 3 RequestVoteResult term=2 granted
    """
    assert not three("canonical-0.18.1", text, "EL-04")


def test_a_candidate_that_tells_voters_different_things_is_noted() -> None:
    text = """
        at 2300ms 2 -> 1 RequestVote term=2 last=5/1
        at 2300ms 2 -> 3 RequestVote term=2 last=4/1
    """
    finding = only(three("canonical-0.18.1", text, "EL-05"))
    assert (finding.severity, finding.server, finding.peer) == ("warning", 2, 3)


def test_a_vote_that_nobody_asked_for_is_found() -> None:
    text = """
        at 2300ms 2 -> 3 RequestVote term=2 last=5/1
        at 2301ms 3 -> 2 RequestVoteResult term=4 granted
    """
    assert not three("canonical-0.18.1", text, "EL-06")  # the request may have been the last thing, and not captured
    finding = only(three("canonical-0.18.1", f"{text}\nat 2310ms 2 -> 3 AppendEntries term=2 prev=5/1", "EL-06"))
    assert (finding.verdict, finding.server, finding.peer, finding.term) == ("violation", 3, 2, 4)


def test_a_voter_that_was_stopped_answers_requests_of_forgotten_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MOST_TERMS", 2)
    terms = range(2, 7)
    asks = "".join(f"at {1000 * term}ms 2 -> 3 RequestVote term={term} last=5/1\n" for term in terms)
    votes = "".join(f"at {9000 + term}ms 3 -> 2 RequestVoteResult term={term} granted\n" for term in terms)
    assert not three("canonical-0.18.1", asks + votes, "EL-06")


PRE_VOTE_ANSWER = """
    at 2300ms 2 -> 3 RequestVote term=3 last=5/1
    at 2301ms 3 -> 2 RequestVoteResult term=1 refused
    at 3300ms 2 -> 3 RequestVote term=4 last=5/1 pre
    at 3301ms 3 -> 2 RequestVoteResult term={term} granted pre
    at 3302ms 2 -> 3 RequestVote term=4 last=5/1
"""


@pytest.mark.parametrize(
    ("release", "term", "severities"),
    [
        ("canonical-0.18.1", 4, []),
        ("canonical-0.18.1", 1, ["error"]),
        ("canonical-0.18.1", 3, ["error"]),
        ("canonical-0.11.3", 3, []),  # its own term, as the candidate's: the candidate counts it
        ("canonical-0.11.3", 1, ["warning"]),  # the candidate is in term 3, and takes this for an answer of long ago
    ],
)
def test_the_answer_to_a_pre_vote_mirrors_its_term_since_0_14(release: str, term: int, severities: list[str]) -> None:
    found = three(release, PRE_VOTE_ANSWER.format(term=term), "EL-06")
    assert [finding.severity for finding in found] == severities


REAL_ROUND = """
    at 2300ms 2 -> 1,3 RequestVote term=2 last=5/1 pre
    at 2301ms 1,3 -> 2 RequestVoteResult term=2 {answer} pre
    at 2302ms 2 -> 1,3 RequestVote term=2 last=5/1
    at 2303ms 1,3 -> 2 RequestVoteResult term=2 refused
"""


def test_real_votes_want_pre_votes_first() -> None:
    finding = only(three("canonical-0.18.1", REAL_ROUND.format(answer="refused"), "EL-07"))
    assert (finding.severity, finding.server, finding.term) == ("warning", 2, 2)
    assert "1 of 3 voters" in finding.message
    assert not three("canonical-0.18.1", REAL_ROUND.format(answer="granted"), "EL-07")


def test_who_disrupts_a_leader_was_told_to_by_it() -> None:
    asks = "at 1950ms 2 -> 1,3 RequestVote term=2 last=5/1 disrupt\nat 1951ms 1,3 -> 2 RequestVoteResult term=2 granted"
    finding = only(three("canonical-0.18.1", asks, "EL-08"))
    assert (finding.verdict, finding.server, finding.term) == ("violation", 2, 2)
    assert not three("canonical-0.18.1", f"at 1940ms 1 -> 2 TimeoutNow term=1 last=5/1\n{asks}", "EL-08")


@pytest.mark.parametrize(("release", "severity"), [("canonical-0.10.0", "warning"), ("canonical-0.18.1", "error")])
def test_a_transfer_by_pre_votes_is_a_defect_of_old_releases(release: str, severity: str) -> None:
    text = """
        at 950ms 1 -> 2 TimeoutNow term=1 last=5/1
        at 951ms 2 -> 1 RequestVote term=2 last=5/1 pre disrupt
    """
    assert only(three(release, text, "EL-08")).severity == severity


def test_a_follower_that_has_just_answered_its_leader_grants_nothing() -> None:
    text = "at 915ms 2 -> 3 RequestVote term=2 last=5/1 pre\nat 916ms 3 -> 2 RequestVoteResult term=2 granted pre"
    finding = only(three("canonical-0.18.1", text, "EL-09"))
    assert (finding.severity, finding.server, finding.peer) == ("warning", 3, 2)
    late = text.replace("915ms", "2915ms").replace("916ms", "2916ms")
    assert not three("canonical-0.18.1", late, "EL-09")


DEMOTED = """
    at 1000ms 1 -> 2,3 AppendEntries term=1 prev=5/1 commit=5 entries=change(1 voter, 2 voter, 3 standby)
    at 1002ms 2,3 -> 1 AppendEntriesResult term=1 last=6
    at 1100ms 1 -> 2,3 AppendEntries term=1 prev=6/1 commit=6
    at 1101ms 2,3 -> 1 AppendEntriesResult term=1 last=6
"""


def test_a_demoted_server_that_stands_is_a_warning_and_one_that_votes_an_error() -> None:
    stands = three("canonical-0.9.15", f"{DEMOTED}\nat 2300ms 3 -> 1,2 RequestVote term=2 last=6/1", "EL-10")
    assert {(finding.severity, finding.server) for finding in stands} == {("warning", 3)}
    votes = (
        f"{DEMOTED}\nat 2300ms 2 -> 3 RequestVote term=2 last=6/1\nat 2301ms 3 -> 2 RequestVoteResult term=2 granted"
    )
    finding = only(three("canonical-0.18.1", votes, "EL-10"))
    assert (finding.verdict, finding.server) == ("violation", 3)


MINORITY = """
    at 2300ms 2 -> 1,3 RequestVote term=2 last=5/1
    at 2301ms 1,3 -> 2 RequestVoteResult term=2 refused
    at 2310ms 2 -> 1,3 AppendEntries term=2 prev=5/1 commit=5 entries=command
    at 2312ms 1,3 -> 2 AppendEntriesResult term=2 last=6
"""


def test_a_leader_with_its_own_vote_only_is_found() -> None:
    finding = only(three("canonical-0.18.1", MINORITY, "EL-11"))
    assert (finding.verdict, finding.server, finding.term) == ("violation", 2, 2)
    assert "1 votes of 3" in finding.message


def test_answers_to_pre_votes_are_no_votes() -> None:
    """Releases up to v0.11.2 count the second answer to the pre-vote as one to the request for real votes."""
    text = """
        at 2300ms 2 -> 1,3 RequestVote term=2 last=5/1 pre
        at 2301ms 1,3 -> 2 RequestVoteResult term=1 granted
        at 2302ms 2 -> 1,3 RequestVote term=2 last=5/1
        at 2304ms 2 -> 1,3 AppendEntries term=2 prev=5/1 commit=5
        at 2305ms 1,3 -> 2 RequestVoteResult term=2 refused
        at 2306ms 1,3 -> 2 AppendEntriesResult term=2 last=5
    """
    assert only(three("canonical-0.10.0", text, "EL-11")).verdict == "violation"


def test_nobody_knows_whether_a_voter_whose_connection_is_missing_has_voted() -> None:
    one = scenario(f"cluster 1 2 3 release canonical-0.18.1\ninclude start-of-three\n{MINORITY}")
    host = bytes([10, 0, 0, 3])
    packets = [packet for packet in one.packets if host not in (packet.data[26:30], packet.data[30:34])]
    assert not [finding for finding in audit(packets).findings if finding.rule.id == "EL-11"]


def test_terms_do_not_rise_faster_than_elections_can_be_held() -> None:
    finding = only(three("canonical-0.18.1", "at 950ms 2 -> 1 AppendEntriesResult term=5000 last=5", "EL-13"))
    assert (finding.severity, finding.server, finding.term) == ("warning", 2, 5000)
    assert not three("canonical-0.18.1", "at 950ms 2 -> 1 AppendEntriesResult term=5 last=5", "EL-13")


@pytest.mark.parametrize("file", captures.CLEAR)
def test_real_clusters_hold_elections_as_raft_says(file: str) -> None:
    verdicts = audit(captures.packets(file))
    assert [found for found in accusations(verdicts) if found.rule in ELECTION] == []


def test_rules_are_asked_in_real_captures() -> None:
    for rule, file in [
        ("EL-01", PRE_VOTE),
        ("EL-02", PRE_VOTE),
        ("EL-03", PRE_VOTE),
        ("EL-04", PRE_VOTE),
        ("EL-05", PRE_VOTE),
        ("EL-06", PRE_VOTE),
        ("EL-07", DQLITE),
        ("EL-08", "s5-canon-0.18.1.pcap"),
        ("EL-09", PRE_VOTE),
        ("EL-10", DQLITE),
        ("EL-11", DQLITE),
        ("EL-12", PRE_VOTE),
        ("EL-13", PRE_VOTE),
    ]:
        assert times_held(audit(captures.packets(file)), rule), rule


def test_pre_votes_of_a_transfer_in_a_real_capture_of_an_old_release_are_warnings() -> None:
    every = [said(f) for f in audit(captures.packets("s5-canon-0.10.0.pcap")).findings]
    found = [f for f in every if f.rule.startswith("EL")]
    assert {(f.rule, f.verdict, f.severity) for f in found} == {("EL-08", "observation", "warning")}
    assert [f.frame for f in found] == [251, 713, 1171, 1437]


def test_a_request_of_which_too_little_was_captured_may_be_what_was_granted() -> None:
    """The snaplen cuts what says whether requests are pre-votes, and leaves the shorter results whole."""
    short = [packet._replace(data=packet.data[:128]) for packet in captures.packets("s4-ipv6-cowsql-0.22.1.pcap")]
    verdicts = audit(short)
    assert not accusations(verdicts)
    (tally,) = (tally for tally in verdicts.tallies if tally.rule.id == "EL-06")
    assert tally.not_evaluated["cut_short"]
