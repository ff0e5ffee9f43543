"""LM: logs agree wherever they are seen. Expected values are Raft's properties (figure 3) by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import captures
from tests.audits import after_start, errors_at, findings, one, only, skipped, tally
from tests.mutations import transcript
from tests.scenarios import load

if TYPE_CHECKING:
    from tests.mutations import Transcript, Utterance

S1 = "s1-canon-0.18.1.pcap"
"""Server 3 leads term 2 and sends every entry to 1 and to 2."""
DISAGREE = """
at 1000ms  1 -> 2  AppendEntries term=1 prev=5/1 commit=5 entries={there}
at 1003ms  2 -> 1  AppendEntriesResult term=1 last=6
at 1010ms  1 -> 3  AppendEntries term=1 prev=5/1 commit=5 entries={here}
at 1013ms  3 -> 1  AppendEntriesResult term=1 last=6
at 1100ms..1300ms every 100ms  1 -> 2,3  AppendEntries term=1 prev=6/1 commit=6
at 1101ms..1301ms every 100ms  2,3 -> 1  AppendEntriesResult term=1 last=6
"""


@pytest.mark.parametrize(
    ("there", "here", "words"),
    [
        ("command:16", "command:24", ("16 bytes", "24 bytes")),
        ("command:8", "barrier", ("type command", "type barrier")),
        ('command:"one-data"', 'command:"two-data"', ("data of CRC-32",)),
    ],
)
def test_an_entry_is_another_one_for_another_follower(there: str, here: str, words: tuple[str, ...]) -> None:
    finding = one(after_start(DISAGREE.format(there=there, here=here)), "LM-01")
    assert (finding.verdict, finding.server, finding.peer, finding.log_index) == ("violation", 1, 3, 6)
    assert len(finding.evidence) == 2
    assert all(word in finding.message for word in words)


def test_the_same_entry_is_no_other_one() -> None:
    packets = after_start(DISAGREE.format(there='command:"one-data"', here='command:"one-data"'))
    assert not findings(packets)
    assert tally(packets, "LM-01").held


def the_biggest(talk: Transcript) -> tuple[Utterance, int]:
    """The last AppendEntries with the largest entry, which another follower was sent before, and the entry's number."""
    last = max(talk.all("AppendEntries"), key=lambda each: max((len(e.data) for e in each.entries), default=0))
    size = max(len(entry.data) for entry in last.entries)
    found = talk.all("AppendEntries", where=lambda each: any(len(entry.data) == size for entry in each.entries))
    assert len({each.receiver for each in found}) > 1
    return found[-1], next(n for n, entry in enumerate(found[-1].entries) if len(entry.data) == size)


def test_data_that_differs_in_an_entry_of_many_segments() -> None:
    talk = transcript("dq1-dqlite-1.18.6.pcap")
    target, number = the_biggest(talk)
    data = target.entries[number].data
    assert len(data) > 100_000
    target.set_entry(number, data=data[:-1] + bytes([data[-1] ^ 1]))
    assert only(talk, target, "LM-01").log_index == target.fields["prev_log_index"] + 1 + number


def test_data_with_a_hole_is_not_compared() -> None:
    """A packet is missing within the payload that was changed."""
    talk = transcript("dq1-dqlite-1.18.6.pcap")
    target, number = the_biggest(talk)
    target.set_entry(number, data=bytes(len(target.entries[number].data)))
    written = talk.written()
    frame = written.frames[target]
    hole = max(p.frame for p in written.packets if p.frame < frame and len(p.data) > 1400)
    assert not findings([packet for packet in written.packets if packet.frame != hole], "LM-01")


def test_what_one_leader_changes_itself_is_judged_once() -> None:
    """MON-03 says that leader 2 changes its own entry 6, which it has committed."""
    packets = after_start(
        """
at 950ms  kill 1
at 3600ms 2 -> 3  RequestVote term=3 last=5/1
at 3602ms 3 -> 2  RequestVoteResult term=3 granted
at 3604ms 2 -> 3  AppendEntries term=3 prev=5/1 commit=5 entries=command
at 3606ms 3 -> 2  AppendEntriesResult term=3 last=6
at 3700ms 2 -> 3  AppendEntries term=3 prev=6/3 commit=6
at 3701ms 3 -> 2  AppendEntriesResult term=3 last=6
at 3800ms 2 -> 3  AppendEntries term=3 prev=5/1 commit=6 entries=command@1
at 3801ms 3 -> 2  AppendEntriesResult term=3 last=6
"""
    )
    assert [rule for rule, _, _ in errors_at(packets)] == ["MON-03"]


def test_a_new_leader_names_another_term_for_a_committed_entry() -> None:
    """Index 5 of term 1 is committed; leader 2 of term 3 has never named it before."""
    packets = after_start(
        """
at 1350ms  kill 1
at 3700ms  2 -> 3  RequestVote term=3 last=5/1
at 3702ms  3 -> 2  RequestVoteResult term=3 granted
at 3704ms  2 -> 3  AppendEntries term=3 prev=5/2 commit=5
"""
    )
    finding = one(packets, "LM-03")
    assert (finding.verdict, finding.server, finding.term, finding.log_index) == ("violation", 2, 3, 5)


def test_a_committed_entry_is_replaced() -> None:
    scenario = load("overwritten-log")
    (expected,) = scenario.expectations
    finding = one(scenario.packets, "LM-04")
    assert (finding.verdict, finding.server, finding.term, finding.place.frame) == (
        "violation", expected.server, expected.term, expected.frame
    )  # fmt: skip


def test_an_uncommitted_entry_may_be_replaced() -> None:
    """Index 6 reaches server 2 alone; leader 3 puts its own entry there."""
    packets = after_start(
        """
at 1000ms  1 -> 2  AppendEntries term=1 prev=5/1 commit=5 entries=command:"lost"
at 1003ms  2 -> 1  AppendEntriesResult term=1 last=6
at 1350ms  kill 1
at 2500ms  3 -> 2  RequestVote term=2 last=5/1
at 2501ms  2 -> 3  RequestVoteResult term=1 refused
at 2900ms  3 -> 2  RequestVote term=3 last=5/1
at 2901ms  2 -> 3  RequestVoteResult term=3 granted
at 2910ms  3 -> 2  AppendEntries term=3 prev=5/1 commit=5 entries=barrier
"""
    )
    assert not [error for error in errors_at(packets) if error[0].startswith("LM")]


def test_a_late_message_of_an_old_leader_replaces_nothing() -> None:
    """What leader 1 of term 1 sent before index 6 of term 3 was committed leaves a socket late."""
    packets = after_start(
        """
at 1000ms  1 -> 2  AppendEntries term=1 prev=5/1 commit=5
at 2900ms  3 -> 2  RequestVote term=3 last=5/1
at 2901ms  2 -> 3  RequestVoteResult term=3 granted
at 2910ms  3 -> 2  AppendEntries term=3 prev=5/1 commit=5 entries=barrier
at 2912ms  2 -> 3  AppendEntriesResult term=3 last=6
at 3000ms  3 -> 2  AppendEntries term=3 prev=6/3 commit=6
at 3001ms  2 -> 3  AppendEntriesResult term=3 last=6
at 3100ms  1 -> 2  AppendEntries term=1 prev=5/1 commit=5 entries=command:"late"
at 3101ms  2 -> 1  AppendEntriesResult term=3 rejected=5 last=6
"""
    )
    assert not [error for error in errors_at(packets) if error[0].startswith("LM")]


def test_cut_headers_are_not_judged() -> None:
    packets = [packet._replace(data=packet.data[:96]) for packet in captures.packets(S1)]
    assert "cut_short" in skipped(packets, "LM-02")
    assert not errors_at(packets)
