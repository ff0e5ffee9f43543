"""Messages that are passed over because they tell the rules nothing new: the verdicts are the same without that.

Only what is read in blocks is passed over: packets one by one are told to the rules one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_dissect.auditing import audit
from raft_dissect.wire.table import COMMAND
from tests import captures
from tests.capture_files import pcap
from tests.scenarios import SCENARIOS, load
from tests.scripts import VOTER, Script, change, command
from tests.transformations import cut, numbered

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from raft_dissect.values import Packet


def check(packets: Sequence[Packet], path: Path) -> None:
    path.write_bytes(pcap(*packets))
    assert audit(str(path)) == audit(packets)


def busy(
    rounds: int = 400,
    layout: str = "w-0.22.1",
    trailers: Sequence[int] = (0,),
    paddings: Sequence[bytes] = (b"",),
) -> Script:
    """A leader and two followers who replicate an entry every 300 us, each to both followers.

    The headers of its AppendEntries end with one of the trailers after the other, and so with the paddings of entries.
    """
    script = Script(layout)
    script.append(1, 2, 2, (1, 8)).append(1, 3, 2, (1, 8)).result(2, 1, 2, 8).result(3, 1, 2, 8)
    for number in range(rounds):
        now = 100 + number * 0.3
        index = 8 + number
        previous = (2 if number else 1, index)
        for follower in (2, 3):
            script.at(now + follower / 100)
            fields = {
                "term": 2,
                "prev_log_term": previous[0],
                "prev_log_index": index,
                "leader_commit": max(8, index - 1),
            }
            trailer = trailers[number % len(trailers)]
            script.say(
                1,
                follower,
                "AppendEntries",
                fields,
                entries=[command(2, 16)],
                trailer=trailer,
                padding=paddings[number % len(paddings)],
            )
            script.at(now + 0.1 + follower / 100).result(follower, 1, 2, index + 1)
    return script


def test_a_busy_cluster_has_the_same_verdicts(tmp_path: Path) -> None:
    check(busy().packets(), tmp_path / "busy.pcap")


def test_all_stale_bytes_of_a_busy_cluster_are_counted(tmp_path: Path) -> None:
    """Canonical releases never write the trailer. Here a third are zero; the others have 6 and 2 bytes that are not."""
    script = busy(layout="c-0.18.0", trailers=(0x7F8A_6C01_2018, 0, 0x40_00_31))
    path = tmp_path / "stale.pcap"
    check(script.packets(), path)
    (leak,) = [finding for finding in audit(str(path)).findings if finding.rule.id == "ENC-07"]
    assert f"{2 * (134 * 6 + 133 * 2)} bytes" in leak.message
    assert f"({2 * (134 + 133)} times)" in leak.message


def test_all_stale_bytes_of_entries_are_counted(tmp_path: Path) -> None:
    """Canonical releases never write the bytes behind an entry's type: here 3, none, and 1 of them are not zero."""
    script = busy(layout="c-0.18.0", paddings=(b"\xe3\x23\x61", b"", b"\0\x7c\0"))
    path = tmp_path / "stale.pcap"
    check(script.packets(), path)
    (leak,) = [finding for finding in audit(str(path)).findings if finding.rule.id == "ENC-07"]
    assert f"{2 * (134 * 3 + 133 * 1)} bytes of its memory" in leak.message
    assert f"in the headers of entries ({2 * (134 + 133)} times)" in leak.message


@pytest.mark.parametrize("size", [40, 90])
def test_messages_in_several_packets_have_the_same_verdicts(size: int, tmp_path: Path) -> None:
    """With 16 bytes of data AppendEntries have 96 bytes here, and their results 48."""
    script = busy(layout="c-0.18.0", trailers=(0x7F8A_6C01_2018, 0), paddings=(b"\xe3\x23\x61", b""))
    check(cut(script.packets(), size), tmp_path / "cut.pcap")


def test_other_data_under_the_same_index_is_found_in_messages_in_several_packets(tmp_path: Path) -> None:
    """Both followers get an entry of the same term, with different data: Log Matching, Raft figure 3."""
    script = busy(200)
    fields = {"term": 2, "prev_log_term": 2, "prev_log_index": 208, "leader_commit": 207}
    for follower, data in ((2, b"one data"), (3, b"two data")):
        script.say(1, follower, "AppendEntries", fields, entries=[(2, COMMAND, data)])
    packets = cut(script.packets(), 70)
    assert [one for one in audit(packets).findings if one.rule.id.startswith("LM") and one.verdict == "violation"]
    check(packets, tmp_path / "other.pcap")


def test_a_late_answer_to_a_request_that_was_passed_over_is_no_lost_acknowledgement(tmp_path: Path) -> None:
    """Cowsql answers each request with the index up to which that one brought entries: section 7.5."""
    script = busy()
    script.at(1000).result(2, 1, 2, 200)
    for number in range(80):
        script.at(1100 + number * 100).append(1, 2, 2, (2, 408)).result(2, 1, 2, 408)
    packets = script.packets()
    assert not [finding for finding in audit(packets).findings if finding.rule.id == "MON-05"]
    check(packets, tmp_path / "late.pcap")


def test_a_busy_leader_whom_nobody_answers_is_found_at_the_same_message(tmp_path: Path) -> None:
    """It must give up within an election timeout, here 1 s by its heartbeats; it goes on for 3 s: Raft 6.2."""
    script = Script()
    voters = change(2, {1: VOTER, 2: VOTER, 3: VOTER})
    fields = {"term": 2, "prev_log_term": 1, "prev_log_index": 7, "leader_commit": 0}
    for follower in (2, 3):
        script.say(1, follower, "AppendEntries", fields, entries=[voters]).result(follower, 1, 2, 8)
    for number in range(12):
        for follower in (2, 3):
            script.at(100 + number * 100 + follower / 10).append(1, follower, 2, (2, 8))
            script.wait(0.5).result(follower, 1, 2, 8)
    for number in range(2000):
        for follower in (2, 3):
            script.at(1300 + number * 2 + follower / 100)
            fields = {"term": 2, "prev_log_term": 2, "prev_log_index": 8 + number, "leader_commit": 8}
            script.say(1, follower, "AppendEntries", fields, entries=[command(2, 16)])
            if number < 50:
                script.wait(0.1).result(follower, 1, 2, 9 + number)
    packets = script.packets()
    assert [finding for finding in audit(packets).findings if finding.rule.id == "LIVE-09"]
    check(packets, tmp_path / "alone.pcap")


@pytest.mark.parametrize("file", captures.CLEAR)
def test_real_captures_have_the_same_verdicts(file: str) -> None:
    assert audit(str(captures.PCAPS / file)) == audit(captures.packets(file))


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios_have_the_same_verdicts(name: str, tmp_path: Path) -> None:
    check(load(name).packets, tmp_path / "scenario.pcap")


@pytest.mark.parametrize("lost", [100, 1001, 1500])
def test_a_busy_cluster_with_a_lost_packet_has_the_same_verdicts(lost: int, tmp_path: Path) -> None:
    packets = numbered(packet for packet in busy().packets() if packet.frame != lost)
    check(packets, tmp_path / "busy.pcap")
