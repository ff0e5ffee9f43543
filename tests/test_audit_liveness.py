"""LIVE: what an audit observes of a cluster that does not get on, and that it keeps silent where it cannot know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import captures
from tests.audits import THREE, audited, of_packets
from tests.packets import MILLISECOND
from tests.scenarios import scenario
from tests.scripts import Script
from tests.variants import all_variants

if TYPE_CHECKING:
    from raft_dissect.values import Packet

RULES = tuple(f"LIVE-{number:02}" for number in range(1, 15))
TOLD = ("LIVE-06", "LIVE-13")
"""Chat, which says how the cluster works."""


def beats(begin: int, end: int, *followers: int, leader: int = 1, term: int = 1, index: int = 5) -> str:
    """Heartbeats every 100 ms, and their answers."""
    to = ",".join(map(str, followers))
    return (
        f"at {begin}ms..{end}ms every 100ms {leader} -> {to} "
        f"AppendEntries term={term} prev={index}/{term} commit={index}\n"
        f"at {begin + 1}ms..{end + 1}ms every 100ms {to} -> {leader} AppendEntriesResult term={term} last={index}\n"
    )


def test_a_cluster_that_gets_on_is_told_of_in_chat_only() -> None:
    found = audited(THREE + beats(1006, 2006, 2, 3))
    assert {finding.rule.id for finding in found.verdicts.findings} <= set(TOLD)
    for rule in ("LIVE-01", "LIVE-02", "LIVE-07", "LIVE-08", "LIVE-10", "LIVE-12", "LIVE-14"):
        assert found.tally(rule).held, rule


@pytest.mark.parametrize(("pause", "told"), [(250, False), (290, False), (420, True)])
def test_a_pause_of_more_than_three_intervals_is_told_of(pause: int, told: bool) -> None:
    """The interval is 100 ms, known within 2 %; server 3 is sent nothing behind 906 ms for so long."""
    late = 906 + pause
    text = beats(1006, 3006, 2) + beats(late, 3006, 3)
    found = audited(THREE + text).of("LIVE-01")
    assert [(finding.server, finding.peer) for finding in found] == [(1, 3)] * told
    assert all(f"nothing for {pause} ms" in finding.message for finding in found)


def test_pauses_in_which_packets_are_missing_are_not_told_of() -> None:
    """Server 3 gets a message of 72 bytes every 100 ms, of which those from 1306 to 1706 ms are lost to the capture."""
    one = scenario(THREE + beats(1006, 3006, 2, 3))
    lost = one.transcript.all("AppendEntries", sender=1, receiver=3)[-17:-12]
    frames = {one.written.frames[message] for message in lost}
    found = of_packets([packet for packet in one.packets if packet.frame not in frames])
    assert not found.of("LIVE-01")
    assert found.tally("LIVE-01").not_evaluated == {"gap": 1}


ELECTION = "at {0}ms {1} -> {2} RequestVote term={3} last=5/1\nat {4}ms {2} -> {1} RequestVoteResult term={3} {5}\n"


def election(time: int, candidate: int, voter: int, term: int, granted: str) -> str:
    return ELECTION.format(time, candidate, voter, term, time + 1, granted)


def test_a_time_without_a_leader_is_told_of() -> None:
    """The last message of leader 1 is at 906 ms, the first of leader 2 at 3104 ms; ten intervals are one second."""
    won = election(3100, 2, 3, 2, "granted")
    begin = "at 3104ms 2 -> 3 AppendEntries term=2 prev=5/1 commit=5 entries=barrier\n"
    found = audited(THREE + won + begin)
    finding = found.one("LIVE-02")
    assert (finding.server, finding.term) == (1, 1)
    assert finding.message.startswith("No leader for 2.2 s after server 1, leader of term 1")
    soon = won.replace("3100", "1500").replace("3101", "1501")
    assert not audited(THREE + soon + begin.replace("3104", "1504")).of("LIVE-02")


def test_nobody_says_that_there_is_no_leader_where_one_server_was_captured() -> None:
    """Server 5 was cut off from a leader that the others hear."""
    (found,) = [
        of_packets(one.make()) for one in all_variants("s7-canon-0.18.1-pv.pcap") if one.name == "at 10.77.77.5"
    ]
    for rule in ("LIVE-02", "LIVE-03"):
        assert not found.of(rule)
        assert found.tally(rule).not_evaluated.get("other_direction")


def test_rounds_of_votes_that_elect_nobody_are_told_of_with_who_refuses() -> None:
    rounds = "".join(election(2500 + 1500 * round_, 3, 2, 2 + round_, "refused") for round_ in range(3))
    found = audited(THREE + beats(1006, 6006, 2) + rounds)
    finding = found.one("LIVE-03")
    assert finding.message.startswith("3 rounds of votes by server 3 elect nobody in 3 s, terms 2 to 4")
    assert "most often server 2 refuses" in finding.message
    two = "".join(election(2500 + 1500 * round_, 3, 2, 2 + round_, "refused") for round_ in range(2))
    assert not audited(THREE + beats(1006, 6006, 2) + two).of("LIVE-03")


def test_candidates_of_one_term_are_one_round() -> None:
    together = (
        election(2500, 3, 2, 2, "refused") + election(2502, 2, 3, 2, "refused") + election(2504, 1, 2, 2, "refused")
    )
    found = audited(THREE + together)
    assert not found.of("LIVE-03")


def test_a_split_vote_is_told_of() -> None:
    """The truth: servers 1 and 3 stood in term 3 at the same time, and server 3 won term 4."""
    finding = of_packets(captures.packets("s7-stall-canon-0.18.1.pcap")).of("LIVE-04")[0]
    assert (finding.term, finding.severity) == (3, "note")
    assert "servers 3 and 1" in finding.message


STARVED = "".join(
    f"at {2500 + 1500 * round_}ms 2 -> 3 RequestVote term=7 last=5/1 pre\n"
    f"at {2501 + 1500 * round_}ms 3 -> 2 RequestVoteResult term=TERM granted pre as round{round_}\n"
    for round_ in range(3)
)


def test_pre_votes_that_cannot_be_counted_are_told_of() -> None:
    """B6: the candidate is in term 6 and ignores what comes from term 4; from term 6 or 7 it does not."""
    head = THREE.replace("0.18.1", "0.13.0")
    found = audited(head + STARVED.replace("TERM", "4"))
    finding = found.one("LIVE-05")
    assert (finding.server, finding.peer, finding.place.frame) == (2, 3, found.frames["round2"])
    for term in ("6", "7"):
        assert not audited(head + STARVED.replace("TERM", term)).of("LIVE-05")


def test_the_time_of_commits_is_told() -> None:
    """Three voters: an entry is committed with its first answer, 4 ms behind it."""
    text = "".join(
        f"at {1000 + 10 * n}ms 1 -> 2,3 AppendEntries term=1 prev={5 + n}/1 commit={5 + n} entries=command\n"
        f"at {1004 + 10 * n}ms 2,3 -> 1 AppendEntriesResult term=1 last={6 + n}\n"
        for n in range(50)
    )
    message = audited(THREE + text).one("LIVE-06").message
    median = float(message.partition("after ")[2].split()[0])
    assert median == pytest.approx(4, rel=0.02)


def test_a_follower_that_falls_behind_ever_more_is_told_of() -> None:
    """Server 3 acknowledges one entry where four are sent: 60 entries behind after a quarter of 80 rounds."""
    text = "".join(
        f"at {1000 + 100 * n}ms 1 -> 2,3 AppendEntries term=1 prev={5 + 4 * n}/1 commit={5 + 4 * n} entries=command*4\n"
        f"at {1002 + 100 * n}ms 2 -> 1 AppendEntriesResult term=1 last={9 + 4 * n}\n"
        f"at {1003 + 100 * n}ms 3 -> 1 AppendEntriesResult term=1 last={6 + n}\n"
        for n in range(80)
    )
    finding = audited(THREE + text).one("LIVE-07")
    assert (finding.server, finding.peer) == (3, 1)
    assert audited(THREE + text.replace("2,3 ->", "2 ->")).tally("LIVE-07").held


def test_a_follower_whose_snapshot_was_cut_off_and_that_is_sent_nothing_is_told_of() -> None:
    """B17: the follower is back, its leader is connected and sends to the other one alone."""
    script = Script(layout="c-0.9.0")
    for follower in (2, 3):
        script.append(1, follower, 1, (1, 1)).result(follower, 1, 1, 1)
    fields = {"term": 1, "last_index": 1, "last_term": 1, "conf_index": 1}
    script.say(1, 2, "InstallSnapshot", fields, roles={1: 1}, data=bytes(8192), cut=1000).wait(10).kill(2)
    script._open(1, 2)  # SYN and handshake, and nothing behind them
    for _ in range(40):
        script.wait(100).append(1, 3, 1, (1, 1)).result(3, 1, 1, 1)
    found = of_packets(script.packets())
    assert found.one("SN-05").peer == 2
    finding = found.one("LIVE-07")
    assert (finding.server, finding.peer, finding.log_index) == (2, 1, 1)
    assert "sent nothing" in finding.message


def test_a_follower_that_answers_nothing_is_told_of() -> None:
    """In clear text behind the proxies: server 2 was killed at 8.1 s, its proxy goes on to acknowledge."""
    finding = of_packets(captures.packets("tls13-cowsql-0.22.1.plain1.pcap")).one("LIVE-08")
    assert (finding.server, finding.peer) == (2, 1)


def test_a_leader_that_no_majority_answers_and_that_goes_on_is_told_of() -> None:
    """Both followers fall silent behind 907 ms; an election timeout is one second, so that three are over at 4 s."""
    alone = "at 1006ms..{}ms every 100ms 1 -> 2,3 AppendEntries term=1 prev=5/1 commit=5\n"
    finding = audited(THREE + alone.format(4506)).one("LIVE-09")
    assert (finding.server, finding.term) == (1, 1)
    assert not audited(THREE + alone.format(2506)).of("LIVE-09")
    with_one = audited(THREE + beats(1006, 4506, 2) + alone.format(4506).replace("2,3", "3"))
    assert not with_one.of("LIVE-09"), "server 2 and the leader are a majority"
    assert with_one.tally("LIVE-09").held == 1


def test_messages_that_waited_for_a_lost_connection_are_no_stubborn_leader() -> None:
    """They leave all at once when the connection is back."""
    late = "".join(f"at {5000 + n}ms 1 -> 2,3 AppendEntries term=1 prev=5/1 commit=5\n" for n in range(30))
    assert not audited(THREE + late).of("LIVE-09")


def test_leaders_that_follow_each_other_quickly_are_told_of() -> None:
    """The leader is killed three times; with transfers, which are asked for, nobody is told of."""
    finding = of_packets(captures.packets("s2-cowsql-0.22.1.pcap")).one("LIVE-10")
    assert finding.term == 8
    assert not of_packets(captures.packets("s5-canon-0.18.1.pcap")).of("LIVE-10")


def test_capture_points_with_different_clocks_are_told_of() -> None:
    """What server 1 sends is in one file, all else in another one, whose clock is 50 ms slow."""

    def captured(slow: int) -> list[Packet]:
        packets = [
            packet if packet.data[26:30] == bytes((10, 77, 77, 1)) else packet._replace(
                time_ns=packet.time_ns - slow * MILLISECOND, file=1
            )
            for packet in captures.packets("s1-canon-0.11.3.pcap")
        ]  # fmt: skip
        return sorted(packets, key=lambda packet: packet.time_ns)

    found = of_packets(captured(50))
    finding = found.of("LIVE-11")[0]
    assert finding.severity == "warning"
    milliseconds = float(finding.message.partition("at least")[0].split()[-2])
    assert 40 < milliseconds <= 50
    right = of_packets(captured(0))
    assert not right.of("LIVE-11")
    assert right.tally("LIVE-11").held


@pytest.mark.parametrize("what", ["", " pre"])
def test_voters_that_are_missing_so_that_nobody_can_be_elected_are_told_of(what: str) -> None:
    """Servers 1 and 2 are gone; server 3 asks in vain until the end, for votes of higher terms or pre-votes."""
    alone = "at 1000ms kill 1\nat 1000ms kill 2\n"
    alone += "".join(
        f"at {2500 + 1500 * n}ms 3 -> 2,1 RequestVote term={2 if what else 2 + n} last=5/1{what}\n" for n in range(3)
    )
    finding = audited(THREE + alone + "at 7s silence\n").one("LIVE-12")
    assert "1 and 2 missing" in finding.message
    assert "only server 3 is heard" in finding.message
    quorum = alone.replace("at 1000ms kill 2\n", "")
    answers = "".join(f"at {2501 + 1500 * n}ms 2 -> 3 RequestVoteResult term=1 refused\n" for n in range(3))
    assert not audited(THREE + quorum + answers + "at 7s silence\n").of("LIVE-12")


def test_what_an_idle_cluster_costs_is_told() -> None:
    """Two heartbeats of 16 + 48 bytes every 100 ms, within 2 %."""
    message = audited(THREE + beats(1006, 3006, 2, 3)).one("LIVE-13").message
    assert "128 B to 2 followers" in message
    assert float(message.split()[-2]) == pytest.approx(1280 / 1024, rel=0.03)


def test_an_even_number_of_voters_is_told_of() -> None:
    four = "at 1000ms 1 -> 2,3 AppendEntries term=1 prev=5/1 commit=5 entries=change(1 voter, 2 voter)\n"
    finding = audited(THREE + four).one("LIVE-14")
    assert (finding.log_index, finding.severity) == (6, "note")
    assert not audited(THREE).of("LIVE-14")


@pytest.mark.parametrize("file", ["s1-canon-0.18.1.pcap", "s1-5n-cowsql-0.22.1.pcap", "dq1-dqlite-1.18.6.pcap"])
def test_healthy_clusters_are_told_of_in_chat_only(file: str) -> None:
    found = of_packets(captures.packets(file))
    assert {finding.rule.id for finding in found.verdicts.findings if finding.rule.id in RULES} <= set(TOLD)
