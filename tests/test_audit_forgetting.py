"""What was forgotten to save memory, or was not captured, accuses nobody: rules say `forgotten`, or find nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from raft_dissect.audit.auditor import ClusterAudit
from raft_dissect.audit.knowledge import bounded, lines, reigns
from raft_dissect.auditing import audit
from raft_dissect.streams import engine
from raft_dissect.values import CaptureProblem
from tests.audits import THREE, findings, skipped, tally
from tests.packets import MILLISECOND, START
from tests.scenarios import scenario

if TYPE_CHECKING:
    from raft_dissect.values import Packet
    from tests.mutations import Transcript

_MANY = 100
"""More connections from one server to another than are remembered."""
ELECTION = """
at {at}ms          {candidate} -> {voter}  RequestVote term={term} last={last}
at {at}.2ms        {voter} -> {candidate}  RequestVoteResult term={term} granted
at {at}.4ms        {candidate} -> {voter}  AppendEntries term={term} prev={last} commit=5
at {at}.6ms        {voter} -> {candidate}  AppendEntriesResult term={term} last={index}
"""
SNAPSHOT = "InstallSnapshot term=1 last=5/1 conf=5(1 voter, 2 voter, 3 voter) size=8192"


@pytest.fixture
def few_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the two highest terms are remembered."""
    monkeypatch.setattr(bounded, "MOST_TERMS", 2)


def elections(terms: range, last: str = "5/1", candidate: int = 2, voter: int = 3) -> str:
    """One each second."""
    return "".join(
        ELECTION.format(
            at=1000 * term, term=term, last=last, index=last.partition("/")[0], candidate=candidate, voter=voter
        )
        for term in terms
    )


def talk(text: str) -> Transcript:
    return scenario(THREE + text).transcript


def packets(text: str) -> list[Packet]:
    return talk(text).packets()


FIVE = """cluster 1 2 3 4 5 release canonical-0.18.1
at 0ms..1000ms every 100ms   1 -> 2,3,4,5  AppendEntries term=1 prev=5/1 commit=5
at 1ms..1001ms every 100ms   2,3,4,5 -> 1  AppendEntriesResult term=1 last=5
at 900ms   3 -> 2,4,5  AppendEntriesResult term=1 last=5
at 5000ms  3 -> 2,4,5  RequestVote term=2 last=5/1
at 5002ms  2 -> 3      RequestVoteResult term=2 granted
at 5002ms  4,5 -> 3    RequestVoteResult term=2 refused
at 9500ms  3 -> 2,4,5  RequestVote term=3 last=5/1
at 9502ms  2,4,5 -> 3  RequestVoteResult term=3 granted
"""


def test_requests_that_were_not_captured_show_only_when_their_sender_goes_on() -> None:
    """The next request comes 4.5 s later, which is longer than rules wait."""
    lost = scenario(FIVE).transcript
    for request in lost.all("RequestVote", sender=3, term=2):
        request.captured = False
    assert not findings(lost.packets(), "EL-06")
    assert skipped(lost.packets(), "EL-06") == {"capture_end"}


def test_dropped_packets_may_have_been_of_any_connection() -> None:
    """Server 2 acknowledges entries up to 50: the kernel dropped packets before."""
    captured = packets(
        """
at 3600ms  2 -> 3  RequestVote term=3 last=5/1
at 3602ms  3 -> 2  RequestVoteResult term=3 granted
at 3610ms..9010ms every 100ms  2 -> 3  AppendEntries term=3 prev=5/1 commit=5
at 3611ms..9011ms every 100ms  3 -> 2  AppendEntriesResult term=3 last=50
"""
    )
    at = next(index for index, packet in enumerate(captured) if packet.time_ns >= START + 3605 * MILLISECOND)
    drop = CaptureProblem("dropped", 0, at, 0, "the kernel dropped 3 packets", 3)
    assert findings(captured, "REPL-05")
    verdicts = audit(cast("list[Packet]", [*captured[:at], drop, *captured[at:]]))  # as a live capture gives them
    assert not [finding for finding in verdicts.findings if finding.rule.id == "REPL-05"]
    (tally,) = (tally for tally in verdicts.tallies if tally.rule.id == "REPL-05")
    assert set(tally.not_evaluated) == {"gap"}


def test_acknowledgements_of_an_old_term() -> None:
    """Server 3 acknowledged entry 6 in term 2, of which a message to server 1 comes late, on a slow connection."""
    text = (
        elections(range(2, 3))
        + """
at 2010ms  2 -> 1,3  AppendEntries term=2 prev=5/1 commit=5 entries=barrier
at 2012ms  3 -> 2    AppendEntriesResult term=2 last=6
"""
        + elections(range(3, 73), "6/2")
        + "".join(
            f"""
at {1000 * term + 100}ms..{1000 * term + 500}ms every 100ms  2 -> 3  AppendEntries term={term} prev=6/2 commit=5
at {1000 * term + 101}ms..{1000 * term + 501}ms every 100ms  3 -> 2  AppendEntriesResult term={term} last=6
"""
            for term in range(3, 73)
        )
        + """
at 72100ms  2 -> 1    AppendEntries term=2 prev=6/2 commit=6
at 72102ms  1 -> 2    AppendEntriesResult term=72 rejected=6 last=5
at 72200ms..81000ms every 100ms  2 -> 1,3  AppendEntries term=72 prev=6/2 commit=6
at 72201ms..81001ms every 100ms  1,3 -> 2  AppendEntriesResult term=72 last=6
"""
    )
    assert not findings(packets(text), "CM-02")
    assert tally(packets(text), "CM-02").held


@pytest.mark.usefixtures("few_terms")
def test_votes_of_a_forgotten_term() -> None:
    """The requests of server 3 are not captured: of votes alone there are more terms than of requests."""
    later = range(3, 8)
    text = (
        """
at 1500ms  2 -> 1,3  RequestVote term=2 last=5/1
at 1502ms  3 -> 2    RequestVoteResult term=2 granted
"""
        + "".join(
            f"""
at {1000 * term}ms  3 -> 1  RequestVote term={term} last=5/1
at {1000 * term + 2}ms  1 -> 3  RequestVoteResult term={term} granted
"""
            for term in later
        )
        + """
at 8000ms  2 -> 3    AppendEntries term=2 prev=5/1 commit=5
at 8001ms  3 -> 2    AppendEntriesResult term=7 last=5
at 8100ms..17000ms every 100ms  3 -> 1,2  AppendEntries term=7 prev=5/1 commit=5
at 8101ms..17001ms every 100ms  1,2 -> 3  AppendEntriesResult term=7 last=5
at 12000ms  1,3 -> 2  AppendEntriesResult term=7 last=5
"""
    )
    lost = talk(text)
    for request in lost.all("RequestVote", sender=3):
        request.captured = False
    assert not findings(lost.packets(), "EL-11")
    assert "forgotten" in skipped(lost.packets(), "EL-11")


@pytest.mark.usefixtures("few_terms")
def test_a_snapshot_of_a_leader_that_is_forgotten() -> None:
    """Leader 1 lost power behind the snapshot, which nothing answers; the capture ends much later."""
    text = f"at 1000ms  1 -> 3  {SNAPSHOT}\n" + elections(range(2, 8))
    assert not findings(packets(text), "SN-04")
    assert skipped(packets(text), "SN-04") == {"forgotten"}


@pytest.mark.usefixtures("few_terms")
def test_a_transfer_in_a_term_that_is_forgotten() -> None:
    text = (
        elections(range(2, 8))
        + """
at 8100ms  1 -> 2  TimeoutNow term=1 last=5/1
at 8200ms..16000ms every 100ms  2 -> 1,3  AppendEntries term=7 prev=5/1 commit=5
at 8201ms..16001ms every 100ms  1,3 -> 2  AppendEntriesResult term=7 last=5
at 8201ms..16001ms every 100ms  2 -> 1    AppendEntriesResult term=7 last=5
"""
    )
    assert not findings(packets(text), "LT-02")


@pytest.mark.usefixtures("few_terms")
def test_a_late_request_for_votes_of_a_forgotten_term() -> None:
    """Server 3 asked for pre-votes before each of its rounds; the request to server 1 comes much later."""
    rounds = "".join(
        f"""
at {3000 * term}ms  3 -> 2  RequestVote term={term} last=5/1 pre
at {3000 * term + 1}ms  2 -> 3  RequestVoteResult term={term} granted pre
at {3000 * term + 2}ms  3 -> 2  RequestVote term={term} last=5/1
at {3000 * term + 3}ms  2 -> 3  RequestVoteResult term={term} refused
"""
        for term in range(2, 7)
    )
    late = """
at 22000ms  3 -> 1  RequestVote term=2 last=5/1
at 22001ms  1 -> 3  RequestVoteResult term=2 refused
at 27000ms  1,2 -> 3  RequestVoteResult term=6 refused
"""
    assert not findings(packets(rounds + late), "EL-07")


def many(sender: int, receiver: int, begin: int) -> str:
    """A server opens connections to another, one after the other."""
    return "".join(
        f"""
at {at}ms  {sender} -> {receiver}  RequestVoteResult term=1 refused
at {at + 5}ms  close {sender} -> {receiver}
"""
        for at in range(begin, begin + 10 * _MANY, 10)
    )


def test_an_answer_to_a_snapshot_was_lost_on_a_forgotten_connection() -> None:
    lost = talk(
        f"""
at 1000ms  1 -> 3  {SNAPSHOT}
at 1010ms  3 -> 1  AppendEntriesResult term=1 last=5
at 1012ms  3 -> 1  RequestVoteResult term=1 refused
at 1015ms  close 3 -> 1
{many(3, 1, 1100)}
at 2500ms   1 -> 3  {SNAPSHOT}
at 10500ms  3 -> 1  RequestVoteResult term=1 refused
"""
    )
    lost.all("AppendEntriesResult", sender=3, receiver=1)[-1].captured = False
    assert not findings(lost.packets(), "SN-02", "SN-03")


def test_what_a_new_voter_acknowledged_was_lost_on_a_forgotten_connection() -> None:
    spare, voter = (f"change(1 voter, 2 voter, 3 voter, 4 {role})" for role in ("spare", "voter"))
    text = f"""
at 1000ms  1 -> 2,3  AppendEntries term=1 prev=5/1 commit=5 entries={spare}
at 1002ms  2,3 -> 1  AppendEntriesResult term=1 last=6
at 1104ms  1 -> 4    AppendEntries term=1 prev=6/1 commit=6
at 1105ms  4 -> 1    AppendEntriesResult term=1 rejected=6 last=0
at 1110ms  1 -> 4    InstallSnapshot term=1 last=6/1 conf=6(1 voter, 2 voter, 3 voter, 4 spare) size=8192
at 1120ms  4 -> 1    AppendEntriesResult term=1 last=6
at 1130ms  4 -> 1    RequestVoteResult term=1 refused
at 1140ms  close 4 -> 1
{many(4, 1, 1200)}
at 3000ms  1 -> 2,3  AppendEntries term=1 prev=6/1 commit=6 entries={voter}
at 3002ms  2,3 -> 1  AppendEntriesResult term=1 last=7
at 12000ms 4 -> 1    RequestVoteResult term=1 refused
"""
    lost = scenario(THREE.replace("1 2 3", "1 2 3 4") + text).transcript
    lost.find("AppendEntriesResult", sender=4, last_log_index=6).captured = False
    assert not findings(lost.packets(), "MEM-03")
    assert skipped(lost.packets(), "MEM-03") == {"forgotten"}


def test_the_indexes_that_an_earlier_leader_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Server 3 still answers leader 2, who named entry 5 twice, when server 1 leads already."""
    text = """
at 3600ms  2 -> 3  RequestVote term=3 last=5/1
at 3602ms  3 -> 2  RequestVoteResult term=3 granted
at 3604ms  2 -> 3  AppendEntries term=3 prev=5/1 commit=5 entries=command*2
at 3606ms  3 -> 2  AppendEntriesResult term=3 last=7
at 3700ms  2 -> 3  AppendEntries term=3 prev=5/1 commit=5
at 3701ms  1 -> 2  AppendEntries term=4 prev=5/1 commit=5
at 3702ms  3 -> 2  AppendEntriesResult term=3 last=5
at 3800ms..9000ms every 100ms  2 -> 3  AppendEntries term=3 prev=7/3 commit=5
"""
    assert not skipped(packets(text), "MON-05")
    monkeypatch.setattr(reigns, "_RECENT", 1)
    assert not findings(packets(text), "MON-05")
    assert skipped(packets(text), "MON-05") == {"forgotten"}


def test_connections_between_unknown_servers_may_be_between_any_two(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
at 3600ms  2 -> 3  RequestVote term=3 last=5/1
at 3602ms  3 -> 2  RequestVoteResult term=3 granted
at 3610ms..9010ms every 100ms  2 -> 3  AppendEntries term=3 prev=5/1 commit=5
at 3611ms..9011ms every 100ms  3 -> 2  AppendEntriesResult term=3 last=50
"""
    assert findings(packets(text), "REPL-05")
    monkeypatch.setattr(lines, "_MAX_UNKNOWN", 0)
    assert not findings(packets(text), "REPL-05")
    assert skipped(packets(text), "REPL-05") >= {"unknown_server"}


def test_connections_whose_ends_were_not_captured_are_forgotten_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_CONNECTIONS", 20)
    held = []
    finish = ClusterAudit.finish

    def finishing(self: ClusterAudit, end_ns: int) -> None:
        held.append(len(self.knowledge.lines.of(1)))
        finish(self, end_ns)

    monkeypatch.setattr(ClusterAudit, "finish", finishing)
    endless = talk(many(1, 2, 1000) + many(1, 2, 3000) + many(1, 2, 5000))
    for channel in endless.channels:
        channel.ending = None
    audit(endless.packets())
    assert held
    assert max(held) < _MANY
