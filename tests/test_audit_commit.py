"""CM: what is called committed is. Expected values are section 5.4.2 and figures 2 and 8 of the Raft paper, by hand."""

from __future__ import annotations

import pytest

from tests import captures
from tests.audits import after_start, errors_at, findings, one, skipped, tally
from tests.packets import MILLISECOND
from tests.scenarios import load, scenario

S6 = "s6-canon-0.18.1.pcap"
"""Server 3 leads term 2; the configurations of its voters are on the wire."""
SECOND = 1000 * MILLISECOND
OLD = "s5-canon-0.10.0.pcap"
"""A release that counts entries of earlier terms (B5)."""


def test_a_commit_index_beyond_the_log() -> None:
    """The same value to everybody until the end, so that it never falls."""
    packets = after_start(
        """
at 1000ms  1 -> 2,3  AppendEntries term=1 prev=5/1 commit=9    as beyond
at 1001ms  2,3 -> 1  AppendEntriesResult term=1 last=5
at 1100ms..4900ms every 100ms  1 -> 2,3  AppendEntries term=1 prev=5/1 commit=9
at 1101ms..4901ms every 100ms  2,3 -> 1  AppendEntriesResult term=1 last=5
"""
    )
    # Leader 1 of this start has never stood, so what it has sent before the capture is not known.
    assert skipped(packets, "CM-01") >= {"begun_midway"}
    assert not errors_at(packets)
    elected = after_start(
        """
at 1350ms  kill 1
at 3700ms  2 -> 3  RequestVote term=3 last=5/1
at 3702ms  3 -> 2  RequestVoteResult term=3 granted
at 3800ms  2 -> 3  AppendEntries term=3 prev=5/1 commit=5
at 3801ms  3 -> 2  AppendEntriesResult term=3 last=5
at 3900ms..4900ms every 100ms  2 -> 3  AppendEntries term=3 prev=5/1 commit=9
at 3901ms..4901ms every 100ms  3 -> 2  AppendEntriesResult term=3 last=5
at 5000ms  1 -> 2  RequestVote term=3 last=5/1
at 5001ms  2 -> 1  AppendEntries term=3 prev=5/1 commit=9
at 5101ms  2 -> 1  AppendEntries term=3 prev=5/1 commit=9
"""
    )
    finding = one(elected, "CM-01")
    assert (finding.verdict, finding.server, finding.term, finding.log_index) == ("violation", 2, 3, 9)
    assert "known to end at 5" in finding.message


def test_a_leader_that_votes_alone_may_commit_what_it_has_not_sent() -> None:
    """Server 2 is a standby that catches up, 32 entries at a time."""
    packets = scenario(
        """
cluster 1 2 release cowsql-0.22.1
at 0ms    1 -> 2    AppendEntries term=1 prev=60/1 commit=60
at 2ms    2 -> 1    AppendEntriesResult term=1 rejected=60 last=0
at 10ms   1 -> 2    AppendEntries term=1 prev=0/0 commit=60 entries=change(1 voter, 2 standby),command*31
at 12ms   2 -> 1    AppendEntriesResult term=1 last=32
at 20ms   1 -> 2    AppendEntries term=1 prev=32/1 commit=90 entries=command*32
at 22ms   2 -> 1    AppendEntriesResult term=1 last=64
at 4000ms 1 -> 2    AppendEntries term=1 prev=64/1 commit=90
at 4002ms 2 -> 1    AppendEntriesResult term=1 last=64
"""
    ).packets
    assert not errors_at(packets)


def test_a_commit_that_followers_contradict() -> None:
    loaded = load("commit-without-majority")
    (expected,) = loaded.expectations
    finding = one(loaded.packets, "CM-02")
    assert (finding.verdict, finding.server, finding.term) == ("violation", expected.server, expected.term)
    assert finding.place.frame == expected.frame


def test_a_commit_of_what_one_of_three_has() -> None:
    """The leader commits index 6, of which its followers say for seconds that they lack it."""
    packets = after_start(
        """
at 1000ms  1 -> 2,3  AppendEntries term=1 prev=5/1 commit=5 entries=command
at 1100ms..4900ms every 100ms  1 -> 2,3  AppendEntries term=1 prev=6/1 commit=6
at 1101ms..4901ms every 100ms  2,3 -> 1  AppendEntriesResult term=1 last=5
"""
    )
    finding = one(packets, "CM-02")
    assert (finding.verdict, finding.log_index, finding.server) == ("violation", 6, 1)
    assert "1, 2 and 3 only 1 can have" in finding.message


def test_one_of_two_followers_is_a_majority_with_the_leader() -> None:
    packets = after_start(
        """
at 1000ms  1 -> 2,3  AppendEntries term=1 prev=5/1 commit=5 entries=command
at 1003ms  2 -> 1    AppendEntriesResult term=1 last=6
at 1100ms..4900ms every 100ms  1 -> 2,3  AppendEntries term=1 prev=6/1 commit=6
at 1101ms..4901ms every 100ms  2 -> 1    AppendEntriesResult term=1 last=6
at 1102ms..4902ms every 100ms  3 -> 1    AppendEntriesResult term=1 last=5
"""
    )
    assert not errors_at(packets)
    assert tally(packets, "CM-02").held


def test_a_voter_that_is_added_meanwhile_does_not_count_against_the_leader() -> None:
    """Index 6 is committed by 1 and 2 of three; index 7 makes 4 and 5 voters at once, who have nothing yet."""
    packets = after_start(
        """
at 1000ms  1 -> 2,3  AppendEntries term=1 prev=5/1 commit=5 entries=command
at 1003ms  2 -> 1    AppendEntriesResult term=1 last=6
at 1010ms  1 -> 2,3  AppendEntries term=1 prev=6/1 commit=6 entries=change(1 voter, 2 voter, 3 voter, 4 voter)
at 1013ms  2 -> 1    AppendEntriesResult term=1 last=6
at 1100ms..4900ms every 100ms  1 -> 2,3  AppendEntries term=1 prev=7/1 commit=6
at 1101ms..4901ms every 100ms  2,3 -> 1    AppendEntriesResult term=1 last=6
"""
    )
    assert not [error for error in errors_at(packets) if error[0] == "CM-02"]


@pytest.mark.parametrize("file", [S6, "dq4-dqlite-1.18.6.pcap"])
def test_majorities_are_seen_in_real_captures(file: str) -> None:
    assert tally(captures.packets(file), "CM-02").held > 100


def test_old_terms_are_counted_by_an_old_release() -> None:
    """Terms 3 to 6 of this run begin with a log whose last entry is of the term before, as its servers logged."""
    found = findings(captures.packets(OLD), "CM-03")
    assert [(finding.server, finding.term) for finding in found] == [(1, 3), (3, 4), (1, 5), (2, 6)]
    assert {finding.verdict for finding in found} == {"violation"}


@pytest.mark.parametrize("file", ["s5-canon-0.18.1.pcap", "s2-cowsql-0.22.1.pcap", "s3-cowsql-0.22.1.pcap"])
def test_old_terms_are_not_counted_by_others(file: str) -> None:
    assert tally(captures.packets(file), "CM-03").held
    assert not findings(captures.packets(file), "CM-03")


def test_a_new_leader_counts_an_old_entry() -> None:
    """Figure 8: the entry at 6 is of term 1, and the leader of term 3 raises its commit index to it."""
    packets = after_start(
        """
at 1000ms  1 -> 2,3  AppendEntries term=1 prev=5/1 commit=5 entries=command
at 1003ms  2,3 -> 1  AppendEntriesResult term=1 last=6
at 1350ms  kill 1
at 3700ms  2 -> 3  RequestVote term=3 last=6/1
at 3702ms  3 -> 2  RequestVoteResult term=3 granted
at 3710ms  2 -> 3  AppendEntries term=3 prev=6/1 commit=5
at 3711ms  3 -> 2  AppendEntriesResult term=3 last=6
at 3810ms  2 -> 3  AppendEntries term=3 prev=6/1 commit=6
at 3811ms  3 -> 2  AppendEntriesResult term=3 last=6
""",
        "canonical-0.11.3",
    )
    finding = one(packets, "CM-03")
    assert (finding.verdict, finding.server, finding.term, finding.log_index) == ("violation", 2, 3, 6)


def test_what_a_new_leader_knows_to_be_committed_is_not_counted() -> None:
    packets = after_start(
        """
at 1350ms  kill 1
at 3700ms  2 -> 3  RequestVote term=3 last=5/1
at 3702ms  3 -> 2  RequestVoteResult term=3 granted
at 3710ms..4710ms every 100ms  2 -> 3  AppendEntries term=3 prev=5/1 commit=5
at 3711ms..4711ms every 100ms  3 -> 2  AppendEntriesResult term=3 last=5
"""
    )
    assert not errors_at(packets)


def test_the_first_commit_index_behind_a_snapshot_is_inherited() -> None:
    packets = after_start(
        """
at 950ms  kill 1
at 3600ms 2 -> 3  RequestVote term=3 last=5/1
at 3602ms 3 -> 2  RequestVoteResult term=3 granted
at 3604ms 2 -> 3  InstallSnapshot term=3 last=4/1 conf=3(1 voter, 2 voter, 3 voter) size=64
at 3606ms 3 -> 2  AppendEntriesResult term=3 last=4
at 3608ms 2 -> 3  AppendEntries term=3 prev=4/1 commit=4 entries=command@1
at 3610ms 3 -> 2  AppendEntriesResult term=3 last=5
"""
    )
    assert not findings(packets, "CM-03")
    assert not findings(packets, "CM-04")


def test_a_window_without_acknowledgements_proves_nothing() -> None:
    """For five seconds the capture lacks all that is sent to leader 3."""
    packets = captures.packets(S6)
    begin = packets[0].time_ns + 6 * SECOND
    worse = [
        packet
        for packet in packets
        if packet.data[30:34] != bytes([10, 77, 77, 3]) or not begin < packet.time_ns < begin + 5 * SECOND
    ]
    assert not errors_at(worse)
    assert skipped(worse, "CM-02") > skipped(packets, "CM-02")


@pytest.mark.parametrize(
    ("release", "verdict", "severity"),
    [("canonical-0.11.3", "observation", "note"), ("canonical-0.18.1", "violation", "error")],
)
def test_a_new_leader_commits_before_an_entry_of_its_own(release: str, verdict: str, severity: str) -> None:
    """Nothing shows the entries 6 and 7, but 8 is of term 1 and so they are no later ones."""
    packets = after_start(
        """
at 1000ms  2 -> 1    AppendEntriesResult term=1 last=5
at 1350ms  kill 1
at 3700ms  2 -> 3  RequestVote term=3 last=8/1
at 3702ms  3 -> 2  RequestVoteResult term=3 granted
at 3710ms  2 -> 3  AppendEntries term=3 prev=8/1 commit=5
at 3711ms  3 -> 2  AppendEntriesResult term=3 last=8
at 3810ms  2 -> 3  AppendEntries term=3 prev=8/1 commit=7
at 3811ms  3 -> 2  AppendEntriesResult term=3 last=8
""",
        release,
    )
    (finding,) = findings(packets, "CM-04")
    assert (finding.verdict, finding.severity, finding.server, finding.log_index) == (verdict, severity, 2, 7)
    assert not findings(packets, "CM-03")


EXPOSED = """
at 1000ms  1 -> 2    AppendEntries term=1 prev=5/1 commit=5 entries=command*3
at 1003ms  2 -> 1    AppendEntriesResult term=1 last=8
at 1350ms  kill 1
at 3700ms  3 -> 2  RequestVote term=3 last=5/1
at 3702ms  2 -> 3  RequestVoteResult term=3 granted
at 3705ms  3 -> 1  AppendEntries term=3 prev=5/1 commit=5 entries=barrier
at 3706ms  1 -> 3  AppendEntriesResult term=3 last=6
at 3710ms  3 -> 2  AppendEntries term=3 prev=5/1 commit=6
at 3711ms  2 -> 3  AppendEntriesResult term=3 last=5
"""


def test_a_commit_index_over_entries_that_differ() -> None:
    """Server 2 has entries of leader 1 behind 5, and is told that 6 is committed before it is sent that."""
    (finding,) = findings(after_start(EXPOSED), "CM-05")
    assert (finding.severity, finding.server, finding.peer, finding.log_index) == ("warning", 3, 2, 6)


def test_followers_that_cap_the_commit_index_are_not_exposed() -> None:
    assert not findings(after_start(EXPOSED, "cowsql-0.22.1"), "CM-05")


def test_a_new_leader_that_stays_behind() -> None:
    behind = """
at 1000ms  1 -> 2,3  AppendEntries term=1 prev=5/1 commit=5 entries=command
at 1003ms  2,3 -> 1  AppendEntriesResult term=1 last=6
at 1100ms  1 -> 2,3  AppendEntries term=1 prev=6/1 commit=6
at 1101ms  2,3 -> 1  AppendEntriesResult term=1 last=6
at 1350ms  kill 1
at 3700ms  2 -> 3  RequestVote term=3 last=6/1
at 3702ms  3 -> 2  RequestVoteResult term=3 granted
at 3710ms  2 -> 3  AppendEntries term=3 prev=6/1 commit=5
at 3711ms  3 -> 2  AppendEntriesResult term=3 last=6
at 3800ms  2 -> 3  AppendEntries term=3 prev=6/1 commit={commit} entries=barrier
at 3803ms  3 -> 2  AppendEntriesResult term=3 last=7
at 3900ms..7900ms every 100ms  2 -> 3  AppendEntries term=3 prev=7/3 commit={then}
at 3901ms..7901ms every 100ms  3 -> 2  AppendEntriesResult term=3 last=7
"""
    finding = one(after_start(behind.format(commit=5, then=5)), "CM-06")
    assert (finding.severity, finding.server, finding.term) == ("note", 2, 3)
    assert not findings(after_start(behind.format(commit=5, then=7)), "CM-06")
