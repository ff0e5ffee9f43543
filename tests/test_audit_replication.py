"""REPL: what followers answer. Expected values are section 5.3 of the Raft paper, and what releases were seen to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_dissect.audit.knowledge import bounded
from tests import captures
from tests.audits import THREE, after_start, errors_at, findings, one, skipped, tally
from tests.mutations import transcript
from tests.scenarios import load, scenario

if TYPE_CHECKING:
    from raft_dissect.values import Packet

S1 = "s1-canon-0.18.1.pcap"
"""Server 3 leads term 2 and stood for it in the capture."""
COWSQL = "s5-cowsql-0.22.1.pcap"
BEATS = """
at {begin}ms..{end}ms every 100ms  1 -> 2,3  AppendEntries term=1 prev={prev}/1 commit={prev}
at {begin}.5ms..{end}.5ms every 100ms  2,3 -> 1  AppendEntriesResult term=1 last={prev}
"""


def beats(begin: int, end: int, prev: int = 5) -> str:
    """Heartbeats of leader 1 behind an entry, and their answers."""
    return BEATS.format(begin=begin, end=end, prev=prev)


NEW_LEADER = """
at 950ms  kill 1
at 3600ms 2 -> 3  RequestVote term=3 last=5/1
at 3602ms 3 -> 2  RequestVoteResult term=3 granted
at 3604ms 2 -> 3  AppendEntries term=3 prev=5/1 commit=5
at 3606ms 3 -> 2  AppendEntriesResult term=3 last=5
"""
"""Server 2 leads term 3, and all that it and 3 say in it is in the capture."""


LOST = """
at 4000ms 2 -> 3  AppendEntries term=3 prev=5/1 commit=5 entries=command*10
at 4001ms 2 -> 3  AppendEntries term=3 prev=5/1 commit=5
"""
_RECONNECTIONS = 100
"""More than are remembered."""


def after_election(text: str, release: str = "canonical-0.18.1") -> list[Packet]:
    return after_start(NEW_LEADER + text, release)


# REPL-01, REPL-02


def test_a_follower_that_cannot_write_to_its_disk() -> None:
    """canonical/raft refuses the index behind prev_log_index then; later that one is named too."""
    packets = after_election(
        """
at 4000ms  2 -> 3    AppendEntries term=3 prev=5/1 commit=5 entries=command*2
at 4003ms  3 -> 2    AppendEntriesResult term=3 rejected=6 last=5
at 4100ms  2 -> 3    AppendEntries term=3 prev=5/1 commit=5 entries=command
at 4103ms  3 -> 2    AppendEntriesResult term=3 last=6
at 4200ms  2 -> 3    AppendEntries term=3 prev=6/3 commit=6 entries=command
at 4203ms  3 -> 2    AppendEntriesResult term=3 last=7
at 4300ms..9000ms every 100ms 2 -> 3    AppendEntries term=3 prev=7/3 commit=7
at 4303ms..9003ms every 100ms 3 -> 2    AppendEntriesResult term=3 last=7
"""
    )
    finding = one(packets, "REPL-02")
    assert (finding.severity, finding.server, finding.peer, finding.log_index) == ("warning", 3, 2, 6)
    assert not findings(packets, "REPL-01")


def test_requests_that_are_not_in_the_capture_prove_nothing() -> None:
    talk = transcript(S1)
    target = talk.find("AppendEntriesResult", 20, sender=2)
    target.set(rejected=7777, last_log_index=7776)
    written = talk.written()
    gone = written.frames[talk.find("AppendEntries", 10, receiver=2)]
    packets = [packet for packet in written.packets if packet.frame != gone]
    assert not findings(packets, "REPL-01")
    assert skipped(packets, "REPL-01")


def test_a_refusal_of_what_was_asked_in_a_forgotten_term(monkeypatch: pytest.MonkeyPatch) -> None:
    """The capture lacks the request of term 3 that server 3 refuses late."""
    monkeypatch.setattr(bounded, "MOST_TERMS", 2)
    later = "".join(
        f"""
at {1000 * term}ms  2 -> 3  RequestVote term={term} last=5/3
at {1000 * term + 2}ms  3 -> 2  RequestVoteResult term={term} granted
at {1000 * term + 4}ms  2 -> 3  AppendEntries term={term} prev=5/1 commit=5
at {1000 * term + 6}ms  3 -> 2  AppendEntriesResult term={term} last=5
"""
        for term in (5, 6, 7)
    )
    late = """
at 7100ms  3 -> 2  AppendEntriesResult term=7 rejected=15 last=5
at 7200ms..12000ms every 100ms  2 -> 3  AppendEntries term=7 prev=5/1 commit=5
at 7201ms..12001ms every 100ms  3 -> 2  AppendEntriesResult term=7 last=5
"""
    asked = """
at 4000ms  2 -> 3  AppendEntries term=3 prev=15/3 commit=5
at 4001ms  2 -> 3  AppendEntries term=3 prev=5/1 commit=5
"""
    talk = scenario(THREE + NEW_LEADER + asked + later + late).transcript
    talk.find("AppendEntries", prev_log_index=15).captured = False
    assert not findings(talk.packets(), "REPL-01")
    assert skipped(talk.packets(), "REPL-01") == {"forgotten"}


# REPL-03, REPL-04


@pytest.mark.parametrize(
    ("release", "verdict", "severity"),
    [("canonical-0.18.1", "observation", "warning"), ("cowsql-0.22.1", "violation", "error")],
)
def test_a_refusal_with_a_hint_that_does_not_help(release: str, verdict: str, severity: str) -> None:
    packets = after_start(
        """
at 1000ms  1 -> 2  AppendEntries term=1 prev=9/1 commit=5
at 1003ms  2 -> 1  AppendEntriesResult term=1 rejected=9 last=12
"""
        + beats(1100, 1500),
        release,
    )
    finding = one(packets, "REPL-03")
    assert (finding.verdict, finding.severity, finding.server) == (verdict, severity, 2)


def test_the_hint_of_a_stale_request_is_no_hint() -> None:
    """Server 2 has reached term 4 and says how long its log is."""
    packets = after_start(
        """
at 1000ms  1 -> 2  AppendEntries term=1 prev=3/1 commit=5
at 1003ms  2 -> 1  AppendEntriesResult term=4 rejected=3 last=5
""",
        "cowsql-0.20.0",
    )
    assert not findings(packets, "REPL-03")


REFUSED = """
at {begin}ms..{end}ms every 100ms  1 -> 2  AppendEntries term=1 prev=9/1 commit=5
at {begin}.5ms..{end}.5ms every 100ms  2 -> 1  AppendEntriesResult term=1 rejected=9 last=5
"""


def test_a_leader_that_does_not_go_back() -> None:
    packets = after_start(REFUSED.format(begin=1000, end=6000))
    finding = one(packets, "REPL-04")
    assert (finding.severity, finding.server, finding.peer, finding.log_index) == ("warning", 1, 2, 9)
    assert finding.times > 10


def test_a_leader_that_goes_back_later() -> None:
    packets = after_start(REFUSED.format(begin=1000, end=2500) + beats(2600, 6000))
    assert not findings(packets, "REPL-04")
    assert tally(packets, "REPL-04").held


def test_refusals_are_normal_while_a_snapshot_is_on_its_way() -> None:
    packets = after_start(
        """
at 950ms  1 -> 2  InstallSnapshot term=1 last=9/1 conf=5(1 voter, 2 voter, 3 voter) size=64
"""
        + REFUSED.format(begin=1000, end=6000)
    )
    assert not findings(packets, "REPL-04")


# REPL-05


def test_an_acknowledgement_of_what_was_never_sent() -> None:
    loaded = load("acknowledgement-beyond-what-was-sent")
    (expected,) = loaded.expectations
    finding = one(loaded.packets, "REPL-05")
    assert (finding.verdict, finding.server, finding.place.frame) == ("violation", expected.server, expected.frame)


def test_a_snapshot_counts_as_sent() -> None:
    packets = after_start(
        """
at 1000ms  1 -> 2  InstallSnapshot term=1 last=90/1 conf=5(1 voter, 2 voter, 3 voter) size=64
at 1003ms  2 -> 1  AppendEntriesResult term=1 last=90
"""
    )
    assert not errors_at(packets)


def test_what_an_earlier_leader_sent_does_not_count() -> None:
    """B1: server 2 has 6 and 7 of leader 1, and acknowledges them to leader 3, who lacks them."""
    packets = after_start(
        """
at 1000ms  1 -> 2  AppendEntries term=1 prev=5/1 commit=5 entries=command*2
at 1003ms  2 -> 1  AppendEntriesResult term=1 last=7
at 1350ms  kill 1
at 3600ms  3 -> 2  RequestVote term=3 last=5/1
at 3602ms  2 -> 3  RequestVoteResult term=3 granted
at 3610ms..7010ms every 100ms  3 -> 2  AppendEntries term=3 prev=5/1 commit=5
at 3611ms..7011ms every 100ms  2 -> 3  AppendEntriesResult term=3 last=7
"""
    )
    (finding,) = findings(packets, "REPL-05")
    assert (finding.verdict, finding.server, finding.peer, finding.term) == ("violation", 2, 3, 3)
    assert "checked or not" in finding.message


def test_a_stale_refusal_that_looks_like_success() -> None:
    """Server 2 of term 3 refuses the whole log of leader 1's term 1: `rejected` is its prev_log_index, 0."""
    packets = after_start(
        """
at 1000ms  1 -> 2  AppendEntries term=1 prev=0/0 commit=5 entries=command
at 1003ms  2 -> 1  AppendEntriesResult term=3 rejected=0 last=500
at 2000ms  1 -> 2  RequestVote term=3 last=5/1
at 2002ms  2 -> 1  RequestVoteResult term=3 granted
at 2010ms..9010ms every 100ms  1 -> 2  AppendEntries term=3 prev=5/1 commit=5
at 2011ms..9011ms every 100ms  2 -> 1  AppendEntriesResult term=3 last=5
"""
    )
    assert not findings(packets, "REPL-05")


def test_what_was_lost_on_a_connection_counts_after_many_others() -> None:
    """The capture lacks what leader 2 sent to 3 on its first connection in term 3, and closes it, as the next."""
    many = "".join(
        f"""
at {at}ms    2 -> 3  AppendEntries term=3 prev=5/1 commit=5
at {at + 1}ms  3 -> 2  AppendEntriesResult term=3 last=5
at {at + 3}ms  close 2 -> 3
"""
        for at in range(4100, 4100 + 10 * _RECONNECTIONS, 10)
    )
    late = """
at 6000ms..9000ms every 100ms  2 -> 3  AppendEntries term=3 prev=5/1 commit=5
at 6001ms..9001ms every 100ms  3 -> 2  AppendEntriesResult term=3 last=15
"""
    talk = scenario(THREE + NEW_LEADER + LOST + many + late).transcript
    talk.find("AppendEntries", entries=10).captured = False
    assert not findings(talk.packets(), "REPL-05")
    assert skipped(talk.packets(), "REPL-05") == {"forgotten"}


# REPL-06, REPL-07


def test_a_leader_that_goes_on_though_it_is_told_of_a_higher_term() -> None:
    packets = after_start(
        """
at 1000ms  3 -> 1  AppendEntriesResult term=4 rejected=5 last=5      as told
"""
        + beats(1100, 12000)
    )
    (finding,) = findings(packets, "REPL-06")
    assert (finding.severity, finding.server, finding.term) == ("note", 1, 1)
    assert "term 4" in finding.message


def test_queued_messages_of_a_leader_that_has_stopped() -> None:
    packets = after_start(
        """
at 1000ms  3 -> 1  AppendEntriesResult term=4 rejected=5 last=5
at 1001ms  3 -> 2  RequestVote term=5 last=5/1
at 9000ms..9030ms every 10ms  1 -> 2  AppendEntries term=1 prev=5/1 commit=5
at 9050ms  2 -> 1  AppendEntriesResult term=5 rejected=5 last=5
at 20000ms silence
"""
    )
    assert not findings(packets, "REPL-06")
    assert tally(packets, "REPL-06").held


TO_A_SPARE = """
at 1000ms  1 -> 2,3  AppendEntries term=1 prev=5/1 commit=5 entries=change(1 voter, 2 voter, 3 voter, 4 spare)
at 1003ms  2,3 -> 1  AppendEntriesResult term=1 last=6
at 1100ms..3000ms every 100ms  1 -> 2,3  AppendEntries term=1 prev=6/1 commit=6
at 1101ms..3001ms every 100ms  2,3 -> 1  AppendEntriesResult term=1 last=6
at 5000ms..{end}ms every 1000ms  1 -> 4  AppendEntries term=1 prev=6/1 commit=6
at 5003ms..{end}.5ms every 1000ms  4 -> 1  AppendEntriesResult term=1 rejected=6 last=0
"""


@pytest.mark.parametrize(("end", "severities"), [(20000, {"note"}), (100000, {"note", "warning"})])
def test_a_spare_that_is_sent_something(end: int, severities: set[str]) -> None:
    """It may be about to be promoted, but not for minutes."""
    start = "cluster 1 2 3 4 release canonical-0.18.1\ninclude start-of-three\n"
    found = findings(scenario(start + TO_A_SPARE.format(end=end)).packets, "REPL-07")
    assert {finding.severity for finding in found} == severities
    assert {(finding.server, finding.peer) for finding in found} == {(1, 4)}


def test_a_spare_in_a_real_capture_gets_nothing() -> None:
    assert tally(captures.packets("s6-canon-0.18.1.pcap"), "REPL-07").held > 100


# REPL-08, REPL-09, REPL-10


def test_a_follower_that_answers_nothing() -> None:
    """It still asks for votes, so its connection to the leader is there."""
    packets = after_election(
        """
at 4000ms..12000ms every 100ms  2 -> 3  AppendEntries term=3 prev=5/1 commit=5
at 7200ms..12200ms every 500ms  3 -> 2  RequestVote term=4 last=5/1 pre_vote=1
"""
    )
    (finding,) = findings(packets, "REPL-08")
    assert (finding.severity, finding.server, finding.peer) == ("note", 3, 2)


def test_a_dead_follower_is_not_expected_to_answer() -> None:
    packets = after_start(
        "at 950ms kill 2\nat 1000ms..8000ms every 100ms  1 -> 2,3  AppendEntries term=1 prev=5/1 commit=5\n"
    )
    assert not [finding for finding in findings(packets, "REPL-08") if finding.server == 2]


def test_the_same_entries_over_and_over() -> None:
    packets = after_start(
        "at 1000ms..2000ms every 100ms  1 -> 2  AppendEntries term=1 prev=5/1 commit=5 entries=command*3\n"
    )
    finding = one(packets, "REPL-09")
    assert (finding.severity, finding.server, finding.peer, finding.log_index) == ("warning", 1, 2, 6)
    assert finding.times == 11 - 5


def test_other_entries_are_progress() -> None:
    packets = captures.packets(S1)
    assert tally(packets, "REPL-09").held > 20
    assert not findings(packets, "REPL-09")


WINDOW = """
at 3700ms 3 -> 2    RequestVote term=4 last=5/1 pre_vote=1
at 3701ms 2 -> 3    RequestVoteResult term=4 pre_vote=1
at 4000ms 2 -> 3    AppendEntries term=3 prev=5/1 commit=5 entries=command*20
at 4001ms 2 -> 3    AppendEntries term=3 prev=25/3 commit=5 entries=command*20
at 4020ms 3 -> 2    AppendEntriesResult term=3 last=25
at 4021ms 3 -> 2    AppendEntriesResult term=3 last=45
at 4100ms..8000ms every 100ms  2 -> 3  AppendEntries term=3 prev=45/3 commit=45
at 4101ms..8001ms every 100ms  3 -> 2  AppendEntriesResult term=3 last=45
"""
"""40 entries are on their way to server 3 at 4001 ms; the leader's release is known by its answer to a pre-vote."""


def test_more_entries_on_their_way_than_the_window() -> None:
    finding = one(after_election(WINDOW, "cowsql-0.22.1"), "REPL-10")
    assert (finding.severity, finding.server, finding.peer) == ("note", 2, 3)
    assert finding.message.startswith("Leader 2 has 40 entries on their way to server 3")


def test_canonical_leaders_have_no_window() -> None:
    assert not findings(after_election(WINDOW), "REPL-10")
