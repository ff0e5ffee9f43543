"""SN: what snapshots say, and how they are sent and answered; the defects B12, B16, B17, B21 and B26 are found."""

from __future__ import annotations

import pytest

from tests import captures
from tests.audits import THREE, audited, of_packets
from tests.mutations import transcript
from tests.scenarios import load
from tests.scripts import Script, change

SNAPSHOT = "at 1000ms 1 -> 3 InstallSnapshot term=1 last=5/1 conf=5(1 voter, 2 voter, 3 voter) size=64 as sent\n"
BEATS = "at 1106ms..1906ms every 100ms 1 -> 2,3 AppendEntries term=1 prev=5/1 commit=5\n"
BEATS += "at 1107ms..1907ms every 100ms 2,3 -> 1 AppendEntriesResult term=1 last=5\n"
RULES = tuple(f"SN-0{number}" for number in range(1, 10))


def test_a_snapshot_that_says_what_the_log_says_is_in_order() -> None:
    found = audited(THREE + SNAPSHOT + "at 1005ms 3 -> 1 AppendEntriesResult term=1 last=5\n" + BEATS)
    assert not found.convicting
    # The end of the snapshot, its configuration, its last term, and the commit index behind it.
    assert found.tally("SN-01").held == 4
    for rule in ("SN-02", "SN-05", "SN-06", "SN-08"):
        assert found.tally(rule).held == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("last=5/3 conf=5(1 voter, 2 voter, 3 voter)", "with last_term 3; its log has term 1 there"),
        ("last=9/1 conf=5(1 voter, 2 voter, 3 voter)", "says that only 5 is committed"),
        ("last=4/1 conf=5(1 voter, 2 voter, 3 voter)", "is that of entry 5, behind it"),
        ("last=5/1 conf=3(1 voter, 2 voter)", "that of entry 3, older than entry 4 made"),
        ("last=5/1 conf=5(1 voter, 2 voter)", "another one than entry 5 made"),
    ],
)
def test_a_snapshot_that_contradicts_the_log_is_a_violation(content: str, words: str) -> None:
    """The last two are B26."""
    found = audited(THREE + f"at 1000ms 1 -> 3 InstallSnapshot term=1 {content} size=64 as sent\n" + BEATS)
    finding = found.one("SN-01")
    assert words in finding.message
    assert (finding.place.frame, finding.server, finding.verdict) == (found.frames["sent"], 1, "violation")
    assert found.convicting == {"SN-01"}


def test_what_contradicts_a_snapshot_may_come_behind_it() -> None:
    """The entries up to 1000 are not there, and the leader says behind it how far it has come."""
    talk = transcript("s4-64k-canon-0.18.1.pcap")
    snapshot = talk.find("InstallSnapshot").set(last_index=1000)
    found = of_packets(talk.packets())
    finding = found.one("SN-01")
    assert finding.place.frame == talk.frame(snapshot)
    assert finding.evidence[-1].frame > finding.place.frame


def test_a_snapshot_is_not_compared_with_a_log_that_was_not_seen() -> None:
    found = audited(
        "cluster 1 2 3 release canonical-0.18.1 midway\n"
        "at 0ms 1 -> 3 InstallSnapshot term=4 last=90/3 conf=1(1 voter, 2 voter, 3 voter) size=64\n"
    )
    assert not found.of("SN-01")
    assert found.tally("SN-01").not_evaluated == {"begun_midway": 2}


def test_snapshots_at_every_heartbeat_are_found() -> None:
    """B12: server 3 is silent behind 4 ms; the election timeout of ten heartbeats is over at 1004 ms."""
    found = of_packets(load("snapshot-at-every-heartbeat").packets)
    assert found.one("SN-02").times == 15
    assert found.one("SN-03").times == 5
    assert (found.one("SN-03").server, found.one("SN-03").peer) == (1, 3)


def test_queued_snapshots_of_an_old_release_are_found() -> None:
    """Three of them wait for the follower, which has said nothing to its leader since it is back."""
    found = of_packets(captures.packets("s4-64k-canon-0.9.0.pcap"))
    assert found.one("SN-02").times == found.one("SN-03").times == 2


def test_a_snapshot_that_is_sent_again_when_it_was_refused_is_in_order() -> None:
    again = SNAPSHOT.replace("1000ms", "1200ms").replace("sent", "again")
    refused = "at 1005ms 3 -> 1 AppendEntriesResult term=1 rejected=5 last=0\n"
    found = audited(THREE + SNAPSHOT + refused + again + "at 1205ms 3 -> 1 AppendEntriesResult term=1 last=5\n")
    assert not found.of("SN-02")
    assert found.tally("SN-02").held == 2


SILENCE = """
at 1006ms..3006ms every 100ms 1 -> 2 AppendEntries term=1 prev=5/1 commit=5
at 1007ms..3007ms every 100ms 2 -> 1 AppendEntriesResult term=1 last=5
at 2300ms 3 -> 1,2 RequestVote term=2 last=3/1 as asks
at 3000ms 3 -> 1 AppendEntriesResult term=1 last=5
"""


def test_silence_while_a_snapshot_is_installed_is_found() -> None:
    """B16: no heartbeats, so that the installing server becomes a candidate."""
    found = audited(THREE + SNAPSHOT + SILENCE)
    finding = found.one("SN-04")
    assert finding.place.frame == found.frames["sent"]
    assert "nothing for 2 s" in finding.message
    assert "every 99.6 ms" in finding.message  # within 2 % of 100
    asks = found.one("SN-08")
    assert (asks.server, asks.place.frame) == (3, found.frames["asks"])
    assert found.frames["sent"] in [place.frame for place in asks.evidence]


def test_a_candidate_that_installs_a_snapshot_is_found_though_heartbeats_go_on() -> None:
    """B21."""
    beats = "at 1100ms..2900ms every 100ms 1 -> 3 AppendEntries term=1 prev=5/1 commit=5\n"
    found = audited(THREE + SNAPSHOT + SILENCE + beats)
    assert not found.of("SN-04")
    assert found.tally("SN-04").held == 1
    assert found.one("SN-08").server == 3


def test_a_vote_request_just_behind_a_snapshot_may_have_been_sent_before_it_came() -> None:
    asks = "at 1050ms 3 -> 1,2 RequestVote term=2 last=3/1\n"
    found = audited(THREE + SNAPSHOT + asks + "at 1090ms 3 -> 1 AppendEntriesResult term=1 last=5\n" + BEATS)
    assert not found.of("SN-08")
    assert found.tally("SN-08").held == 1


def test_a_snapshot_that_is_cut_off_is_found() -> None:
    """B17, its first part: 64 + 8192 bytes and a preamble of 16, of which the last 1000 never come."""
    script = Script(layout="c-0.9.0").append(1, 2, 1, (1, 1)).append(1, 2, 1, (1, 1)).result(2, 1, 1, 1)
    fields = {"term": 1, "last_index": 1, "last_term": 1, "conf_index": 1}
    script.say(1, 2, "InstallSnapshot", fields, roles={1: 1}, data=bytes(8192), cut=1000)
    begun = script.packets()
    finding = of_packets(script.wait(10).kill(2).packets()).one("SN-05")
    assert (finding.server, finding.peer, finding.log_index) == (1, 2, 1)
    assert "its connection was reset" in finding.message
    assert not of_packets(begun).of("SN-05"), "the capture may end within a snapshot"


def test_a_snapshot_that_is_accepted_with_less_than_it_holds_is_found() -> None:
    found = audited(THREE + SNAPSHOT + "at 1005ms 3 -> 1 AppendEntriesResult term=1 last=4 as less\n")
    finding = found.one("SN-06")
    assert (finding.server, finding.place.frame) == (3, found.frames["less"])


def test_a_low_result_may_answer_a_heartbeat_that_came_before() -> None:
    beat = "at 999ms 1 -> 3 AppendEntries term=1 prev=5/1 commit=5\n"
    found = audited(THREE + beat + SNAPSHOT + "at 1005ms 3 -> 1 AppendEntriesResult term=1 last=4\n")
    assert not found.of("SN-06")


def test_snapshots_are_not_compared_where_nobody_asked_to_look_at_them() -> None:
    packets = captures.packets("s1-hostnames-cowsql-0.22.1.pcap")
    assert of_packets(packets).tally("SN-07").held == 12
    assert of_packets(packets, digested=False).tally("SN-07").not_evaluated == {"not_hashed": 12}


@pytest.mark.parametrize("part", ["whole", "lost", "cut"])
@pytest.mark.parametrize("last", [b"same", b"else"])
def test_snapshots_that_are_not_there_to_the_last_byte_are_not_compared(part: str, last: bytes) -> None:
    """A packet in the middle of the second snapshot is lost, or cut by the snaplen; the two end alike or not."""
    fields = {"term": 1, "last_index": 1, "last_term": 1, "conf_index": 1}
    script = Script().append(1, 2, 1, (1, 1)).append(1, 3, 1, (1, 1)).result(2, 1, 1, 1).result(3, 1, 1, 1)
    for follower, end in ((2, b"same"), (3, last)):
        script.say(1, follower, "InstallSnapshot", fields, roles={1: 1}, data=b"snapshot" * 1000 + end)
    packets = script.packets()
    large = [number for number, packet in enumerate(packets) if len(packet.data) > 1448]
    if part == "lost":
        del packets[large[-2]]
    elif part == "cut":
        packets[large[-2]] = packets[large[-2]]._replace(data=packets[large[-2]].data[:96])
    found = of_packets(packets)
    assert found.tally("SN-07").held == (part == "whole" and last == b"same")
    assert len(found.of("SN-07")) == (part == "whole" and last == b"else")
    assert found.tally("SN-07").not_evaluated == ({} if part == "whole" else {"cut_short": 1})


def test_a_snapshot_for_a_follower_that_is_a_little_behind_is_told_of() -> None:
    refused = "at 950ms 3 -> 1 AppendEntriesResult term=1 rejected=5 last=2\n"
    finding = audited(THREE + refused + SNAPSHOT).one("SN-09")
    assert "the last 3 of these entries" in finding.message
    far = Script(layout="c-0.18.0").append(1, 2, 1, (1, 500), change(1, {1: 1}))
    far.result(2, 1, 1, 371, rejected=500)
    fields = {"term": 1, "last_index": 500, "last_term": 1, "conf_index": 1}
    far.say(1, 2, "InstallSnapshot", fields, roles={1: 1})
    found = of_packets(far.packets())
    assert (found.of("SN-09"), found.tally("SN-09").held) == ([], 1)


@pytest.mark.parametrize("file", ["s4-64k-canon-0.18.1.pcap", "lo-cowsql-0.22.1.pcap", "dq4-dqlite-1.18.6.pcap"])
def test_snapshots_of_healthy_clusters_are_in_order(file: str) -> None:
    found = of_packets(captures.packets(file))
    assert not [finding for rule in RULES for finding in found.of(rule)]
    for rule in ("SN-01", "SN-02", "SN-05", "SN-06", "SN-08"):
        assert found.tally(rule).held
