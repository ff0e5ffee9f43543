"""MEM: how configurations change, and who keeps quiet afterwards; the defects B18, B19 and B26 are found."""

from __future__ import annotations

import pytest

from tests import captures
from tests.audits import THREE, audited, of_packets
from tests.scenarios import load

THREE_VOTERS = "1 voter, 2 voter, 3 voter"


def changed(servers: str, name: str = "change") -> str:
    """Leader 1 of `THREE` changes the configuration, and it is committed."""
    return (
        f"at 1000ms 1 -> 2,3 AppendEntries term=1 prev=5/1 commit=5 entries=change({servers}) as {name}\n"
        "at 1002ms 2,3 -> 1 AppendEntriesResult term=1 last=6\n"
    )


BEATS = "at 1100ms..1900ms every 100ms 1 -> 2,3 AppendEntries term=1 prev=6/1 commit=6\n"
BEATS += "at 1101ms..1901ms every 100ms 2,3 -> 1 AppendEntriesResult term=1 last=6\n"


def test_a_change_before_the_last_one_is_committed_is_a_violation() -> None:
    scene = load("two-changes-in-flight")
    found = of_packets(scene.packets)
    (expected,) = scene.expectations
    finding = found.one("MEM-01")
    assert (finding.place.frame, finding.server) == (expected.frame, 1)
    assert finding.times == 2  # it was sent to both followers
    assert found.convicting == {"MEM-01"}


def test_both_changes_may_come_in_one_message() -> None:
    entries = f"entries=change({THREE_VOTERS}, 4 spare),change({THREE_VOTERS}, 4 spare, 5 spare)"
    found = audited(THREE + f"at 1000ms 1 -> 2,3 AppendEntries term=1 prev=5/1 commit=5 {entries} as both\n")
    finding = found.one("MEM-01")
    assert (finding.place.frame, finding.times) == (found.frames["both"], 2)
    assert found.convicting == {"MEM-01"}


@pytest.mark.parametrize(
    ("servers", "words"),
    [
        ("1 voter, 2 voter, 3 voter, 4 spare, 5 spare", "4 added as spare, 5 added as spare"),
        ("1 voter", "2 removed, 3 removed"),
        ("1 voter, 2 standby, 3 standby", "2 becomes standby, 3 becomes standby"),
        ("1 voter, 2 voter, 4 spare", "4 added as spare, 3 removed"),
    ],
)
def test_a_change_of_more_than_one_server_is_a_violation(servers: str, words: str) -> None:
    """In term 2, where nobody was recovered."""
    text = (
        "at 1150ms 1 -> 2 TimeoutNow term=1 last=5/1\n"
        "at 1152ms 2 -> 1,3 RequestVote term=2 last=5/1 disrupt\n"
        "at 1154ms 1,3 -> 2 RequestVoteResult term=2 granted\n"
        "at 1156ms 2 -> 1,3 AppendEntries term=2 prev=5/1 commit=5 entries=barrier\n"
        "at 1158ms 1,3 -> 2 AppendEntriesResult term=2 last=6\n"
        f"at 1160ms 2 -> 1,3 AppendEntries term=2 prev=6/2 commit=6 entries=change({servers}) as change\n"
        "at 1162ms 1,3 -> 2 AppendEntriesResult term=2 last=7\n"
    )
    found = audited(THREE + text)
    finding = found.one("MEM-02")
    assert words in finding.message
    assert (finding.place.frame, finding.server, finding.verdict) == (found.frames["change"], 2, "violation")
    assert found.convicting == {"MEM-02"}


def test_a_change_behind_entries_that_were_not_seen_is_not_judged() -> None:
    found = audited(
        "cluster 1 2 3 release canonical-0.18.1 midway\n"
        "at 0ms 1 -> 2,3 AppendEntries term=2 prev=6/2 commit=6 entries=change(1 voter, 2 voter, 3 voter)\n"
        "at 10ms 1 -> 2,3 AppendEntries term=2 prev=8/2 commit=8 entries=change(1 voter)\n"
    )
    assert not found.convicting
    assert found.tally("MEM-02").not_evaluated == {"begun_midway": 4}


def test_a_recovered_configuration_follows_none() -> None:
    found = audited(THREE + changed("1 voter"))
    assert not found.convicting
    assert found.tally("MEM-02").not_evaluated == {"begun_midway": 2}


def test_a_server_that_is_added_as_a_voter_is_a_warning() -> None:
    found = audited(THREE + changed(f"{THREE_VOTERS}, 4 voter"))
    finding = found.one("MEM-02")
    assert (finding.severity, finding.verdict, finding.log_index) == ("warning", "observation", 6)


def test_changes_of_a_real_cluster_are_in_order() -> None:
    whole = of_packets(captures.packets("s6-canon-0.18.1.pcap"))
    assert not whole.convicting
    assert whole.tally("MEM-01").held >= 20
    assert whole.tally("MEM-02").held >= 20


def test_a_voter_that_has_acknowledged_little_is_told_of() -> None:
    """Server 4 has entry 5 and not 6 and 7, which others have for ten seconds: an election timeout is one."""
    added = changed(f"{THREE_VOTERS}, 4 spare")
    text = (
        "at 1010ms 1 -> 4 AppendEntries term=1 prev=5/1 commit=6\n"
        "at 1012ms 4 -> 1 AppendEntriesResult term=1 last=5\n"
        "at 1020ms 1 -> 2,3 AppendEntries term=1 prev=6/1 commit=6 entries=command\n"
        "at 1022ms 2,3 -> 1 AppendEntriesResult term=1 last=7\n"
        "at 1100ms..11s every 100ms 1 -> 2,3 AppendEntries term=1 prev=7/1 commit=7\n"
        "at 1101ms..11.001s every 100ms 2,3 -> 1 AppendEntriesResult term=1 last=7\n"
        f"at 11.05s 1 -> 2,3 AppendEntries term=1 prev=7/1 commit=7 entries=change({THREE_VOTERS}, 4 voter) as early\n"
    )
    four = THREE.replace("1 2 3", "1 2 3 4") + added
    found = audited(four + text)
    finding = found.one("MEM-03")
    assert (finding.server, finding.place.frame) == (4, found.frames["early"])
    caught_up = audited(
        four + text.replace("4 -> 1 AppendEntriesResult term=1 last=5", "4 -> 1 AppendEntriesResult term=1 last=7")
    )
    assert not caught_up.of("MEM-03")
    assert caught_up.tally("MEM-03").held


def test_a_leader_that_removed_itself_and_goes_on_is_told_of() -> None:
    """B19."""
    found = audited(THREE + changed("1 standby, 2 voter, 3 voter") + BEATS)
    finding = found.one("MEM-04")
    assert (finding.server, finding.log_index) == (1, 6)
    assert found.frames["change"] in [place.frame for place in finding.evidence]
    assert not audited(THREE + changed(f"{THREE_VOTERS}, 4 spare") + BEATS).of("MEM-04")


def test_a_leader_that_removed_itself_and_stops_is_in_order() -> None:
    found = of_packets(captures.packets("s6-canon-0.18.1.pcap"))
    assert not found.of("MEM-04")
    assert found.tally("MEM-04").held == 1


@pytest.mark.parametrize(("role", "words"), [("3 standby", "makes it a standby"), ("", "has removed it")])
def test_a_server_that_votes_no_more_and_asks_for_votes_is_told_of(role: str, words: str) -> None:
    """B18."""
    servers = f"1 voter, 2 voter{', ' if role else ''}{role}"
    rounds = (
        "at 2500ms 3 -> 1,2 RequestVote term=2 last=6/1\n"
        "at 2501ms 1,2 -> 3 RequestVoteResult term=1 refused\n"
        "at 4000ms 3 -> 1,2 RequestVote term=3 last=6/1 as again\n"
    )
    found = audited(THREE + changed(servers) + BEATS + rounds)
    finding = found.one("MEM-05")
    assert words in finding.message
    assert (finding.server, finding.place.frame, finding.times) == (3, found.frames["again"], 2)
    assert not found.convicting


def test_a_removed_server_of_a_real_cluster_asks_again() -> None:
    finding = of_packets(captures.packets("s6-canon-0.18.1.pcap")).one("MEM-05")
    assert (finding.server, finding.log_index) == (1, 284)


SPLIT = """cluster 1 2 3 4 5 release canonical-0.18.1
at 0ms 1 -> 2 InstallSnapshot term=5 last=10/1 conf=2(1 voter, 2 voter, 3 voter) size=8
at 1ms 2 -> 1 AppendEntriesResult term=5 last=10
at 2ms 1 -> 3 AppendEntries term=5 prev=10/1 commit=10
at 0ms 4 -> 5 InstallSnapshot term=7 last=20/1 conf=15(OTHERS) size=8
at 1ms 5 -> 4 AppendEntriesResult term=7 last=20
at 2ms 4 -> 3 AppendEntries term=7 prev=20/1 commit=20
at 100ms..9s every 100ms 1 -> 2 AppendEntries term=5 prev=10/1 commit=10
at 101ms..9.001s every 100ms 2 -> 1 AppendEntriesResult term=5 last=10
at 100ms..9s every 100ms 4 -> 5 AppendEntries term=7 prev=20/1 commit=20
at 101ms..9.001s every 100ms 5 -> 4 AppendEntriesResult term=7 last=20
"""


def test_two_majorities_that_work_apart_are_a_violation() -> None:
    finding = audited(SPLIT.replace("OTHERS", "3 voter, 4 voter, 5 voter")).one("MEM-06")
    assert (finding.server, finding.peer, finding.term, finding.verdict) == (4, 1, 7, "violation")
    assert "Servers 1 and 2 work for leader 1 (term 5), and servers 4 and 5 for leader 4 (term 7)" in finding.message


def test_two_leaders_without_two_majorities_are_no_two_clusters() -> None:
    found = audited(SPLIT.replace("OTHERS", "1 voter, 2 voter, 3 voter, 4 voter, 5 voter"))
    assert not found.of("MEM-06")
    assert found.tally("MEM-06").held == 1
