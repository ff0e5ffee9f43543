"""Which configurations are committed: what leaders and snapshots say of entries that are known to be theirs."""

from __future__ import annotations

import csv
import json
from io import StringIO
from typing import TYPE_CHECKING

import pytest

from raft_dissect import analyze, messages
from raft_dissect.report.as_csv import write_table
from raft_dissect.report.as_json import report_record
from raft_dissect.report.as_text import report_text
from raft_dissect.report.terminal import Style
from raft_dissect.report.times import Clock
from raft_dissect.values import Message
from raft_dissect.wire import table
from tests.captures import packets
from tests.scripts import SPARE, VOTER, EntryData, Script, change, command
from tests.test_cluster_scenarios import elect, milliseconds

if TYPE_CHECKING:
    from raft_dissect.cluster import ClusterFacts

THREE = {1: VOTER, 2: VOTER, 3: VOTER}
FOUR = {**THREE, 4: SPARE}
FIVE = {**THREE, 5: SPARE}


def append(
    script: Script, leader: int, follower: int, term: int, prev: tuple[int, int], *entries: EntryData, commit: int
) -> Script:
    """AppendEntries behind the entry `prev`, which is (term, index), of a leader that has committed up to `commit`."""
    fields = {"term": term, "prev_log_term": prev[0], "prev_log_index": prev[1], "leader_commit": commit}
    return script.say(leader, follower, "AppendEntries", fields, entries=entries)


def judged(facts: ClusterFacts) -> list[tuple[int, int | None, bool | None, float | None]]:
    """Index, term, whether it is committed, and when that was known, of all configurations."""
    return [
        (one.conf_index, one.term, one.committed, None if one.decided_at is None else milliseconds(one.decided_at))
        for one in facts.configurations
    ]


def proposed() -> Script:
    """Server 1 leads term 2 from entry 1 of term 1 on, and sends a configuration to 2 at 100 ms, as entry 2."""
    script = elect(Script(), 1, 2).at(100)
    return append(script, 1, 2, 2, (1, 1), change(2, FOUR), commit=1)


def test_configuration_is_committed_once_its_leader_says_so() -> None:
    script = proposed().result(2, 1, 2, 2)
    assert judged(script.facts()) == [(2, 2, None, None)]
    append(script.at(200), 1, 3, 2, (2, 2), commit=2)
    append(script.at(300), 1, 2, 2, (2, 2), commit=2)
    assert judged(script.facts()) == [(2, 2, True, 200)]


def test_acknowledgements_alone_do_not_say_that_the_leader_has_written_the_entry() -> None:
    """Of three voters two have it only when the leader has written it, too (protocol document, section 7.6)."""
    assert judged(proposed().result(2, 1, 2, 2).wait(500).facts()) == [(2, 2, None, None)]


def test_configuration_that_is_sent_when_it_is_committed_already_is_known_to_be_so_at_once() -> None:
    script = elect(Script(), 1, 2).at(100)
    append(script, 1, 2, 2, (1, 1), change(1, THREE), command(2), commit=3)
    append(script.at(200), 1, 3, 2, (1, 1), change(1, THREE), command(2), commit=3)
    assert judged(script.facts()) == [(2, 1, True, 100)]


def test_configuration_of_a_leader_that_died_is_committed_by_the_next_one_that_has_it() -> None:
    """Server 2 stored it, and leads term 3 behind it: what follows on it in one log does so in all."""
    script = proposed().result(2, 1, 2, 2).kill(1).at(2000)
    script.ask(2, 3, 3, (2, 2)).vote(3, 2, 3, 1)
    append(script, 2, 3, 3, (2, 2), command(3), commit=1)
    append(script.at(2500), 2, 3, 3, (3, 3), commit=3)
    assert judged(script.facts()) == [(2, 2, True, 2500)]


def overwritten() -> Script:
    """Server 3, which never got the configuration, leads term 3 and has another entry there."""
    script = proposed().kill(1).at(2000)
    script.ask(3, 2, 3, (1, 1)).vote(2, 3, 3, 1)
    return append(script, 3, 2, 3, (1, 1), command(3), commit=1).result(2, 3, 3, 2)


def test_configuration_is_rolled_back_once_another_entry_is_committed_at_its_index() -> None:
    """As long as that one is not, a later leader may bring the configuration back (Raft paper, figure 8)."""
    script = overwritten()
    assert judged(script.facts()) == [(2, 2, None, None)]
    append(script.at(2500), 3, 2, 3, (3, 2), commit=2)
    assert judged(script.facts()) == [(2, 2, False, 2500)]


def test_configuration_that_another_leader_brings_back_is_not_rolled_back() -> None:
    """Figure 8 of the paper: the leader of term 4 has the configuration, and not the entry of term 3."""
    script = overwritten().kill(3).at(4000)
    script.ask(1, 2, 4, (2, 2)).vote(2, 1, 4, 1)
    append(script, 1, 2, 4, (1, 1), change(2, FOUR), command(4), commit=1).result(2, 1, 4, 3)
    append(script.at(4500), 1, 2, 4, (4, 3), commit=3)
    assert judged(script.facts()) == [(2, 2, True, 4500)]


def test_of_two_configurations_at_one_index_one_is_committed_and_the_change_is_against_it() -> None:
    script = proposed().kill(1).at(2000)
    script.ask(3, 2, 3, (1, 1)).vote(2, 3, 3, 1)
    append(script, 3, 2, 3, (1, 1), change(3, FIVE), commit=1).result(2, 3, 3, 2)
    append(script.at(2500), 3, 2, 3, (3, 2), change(3, {**FIVE, 6: SPARE}), commit=2)
    facts = script.facts()
    assert judged(facts) == [(2, 2, False, 2500), (2, 3, True, 2500), (3, 3, None, None)]
    assert [one.change for one in facts.configurations] == [None, None, "added"]  # not against what was rolled back


def test_the_same_servers_proposed_again_in_a_later_term_are_another_entry() -> None:
    script = proposed().kill(1).at(2000)
    script.ask(3, 2, 3, (1, 1)).vote(2, 3, 3, 1)
    append(script, 3, 2, 3, (1, 1), change(3, FOUR), commit=1).result(2, 3, 3, 2)
    append(script.at(2500), 3, 2, 3, (3, 2), commit=2)
    assert judged(script.facts()) == [(2, 2, False, 2500), (2, 3, True, 2500)]


def test_commit_index_of_a_leader_whose_log_is_not_known_there_says_nothing() -> None:
    """Server 3 leads from entry 9 on: the capture does not show what it has as entry 2."""
    script = proposed().kill(1).at(2000)
    script.ask(3, 2, 3, (3, 9)).vote(2, 3, 3, 1)
    append(script, 3, 2, 3, (3, 9), commit=9)
    append(script.at(2500), 3, 2, 3, (3, 9), commit=9)
    assert judged(script.facts()) == [(2, 2, None, None)]


def test_entry_that_another_leader_is_seen_to_have_committed_only_when_it_sends_it_again() -> None:
    """Server 3 has committed entry 2 when it is first heard; which entry that is shows when it sends it to 2."""
    script = proposed().kill(1).at(2000)
    script.ask(3, 2, 3, (3, 2)).vote(2, 3, 3, 1)
    append(script, 3, 2, 3, (1, 1), commit=2)
    assert judged(script.facts()) == [(2, 2, None, None)]
    append(script.at(2500), 3, 2, 3, (1, 1), command(3), commit=2)
    assert judged(script.facts()) == [(2, 2, False, 2500)]


def test_leader_that_leads_again_may_have_another_entry_than_it_had_sent() -> None:
    script = proposed().kill(1).at(9000)
    script.ask(1, 2, 5, (4, 9)).vote(2, 1, 5, 1)
    append(script, 1, 2, 5, (4, 9), commit=9)
    append(script.at(9500), 1, 2, 5, (4, 9), commit=9)
    assert judged(script.facts()) == [(2, 2, None, None)]


def test_configuration_that_comes_late_is_known_by_what_its_leader_has_said_since() -> None:
    script = elect(Script(), 1, 2).at(100)
    append(script, 1, 3, 2, (2, 2), commit=2)
    append(script.at(200), 1, 2, 2, (1, 1), change(2, FOUR), commit=1)
    assert judged(script.facts()) == [(2, 2, True, 200)]


def test_request_that_waited_until_its_leader_was_no_leader_any_more_says_what_was_committed_then() -> None:
    script = elect(elect(Script(), 1, 2), 3, 3, (2, 3)).at(1000)
    append(script, 1, 2, 3, (2, 3), commit=3).at(1100)
    append(script, 1, 2, 2, (1, 1), change(2, FOUR), commit=2)
    assert judged(script.facts()) == [(2, 2, True, 1100)]


def test_configuration_that_was_rolled_back_removes_nobody() -> None:
    script = elect(Script(), 1, 2).at(100)
    append(script, 1, 2, 2, (1, 0), change(1, THREE), change(2, {1: VOTER, 2: VOTER}), commit=1).kill(1).at(2000)
    script.ask(3, 2, 3, (1, 1)).vote(2, 3, 3, 1)
    append(script, 3, 2, 3, (1, 1), command(3), commit=1).result(2, 3, 3, 2)
    append(script.at(2500), 3, 2, 3, (3, 2), commit=2)
    report = analyze(script.packets())
    assert judged(report.clusters[0]) == [(1, 1, True, 100), (2, 2, False, 2500)]
    servers = "\n".join(report_text(report, Clock(), Style(False))).split("\nServers\n")[1].split("\n\n")[0]
    assert "removed" not in servers


SNAPSHOT = {"term": 2, "last_index": 100, "last_term": 2}


def test_configuration_of_a_snapshot_is_committed() -> None:
    script = elect(Script(), 1, 2, (2, 101)).at(100)
    script.say(1, 3, "InstallSnapshot", {**SNAPSHOT, "conf_index": 1}, roles=THREE, data=bytes(16))
    assert judged(script.facts()) == [(1, None, True, 100)]


def test_snapshot_says_of_an_entry_with_its_configuration_that_it_is_committed() -> None:
    script = proposed()
    script.at(150).say(1, 3, "InstallSnapshot", {**SNAPSHOT, "conf_index": 2}, roles=FOUR, data=bytes(16))
    assert judged(script.facts()) == [(2, 2, True, 150)]


def test_snapshot_with_a_configuration_behind_its_own_end_proves_nothing() -> None:
    script = elect(Script(), 1, 2, (2, 101)).at(100)
    script.say(1, 3, "InstallSnapshot", {**SNAPSHOT, "conf_index": 101}, roles=THREE, data=bytes(16))
    assert judged(script.facts()) == [(101, None, None, None)]


def test_cluster_of_one_leader_commits_as_its_messages_say() -> None:
    """Counted by hand from all messages of a capture with one leader: the first that says so, and has it or sent it."""
    file = "s6-canon-0.18.1.pcap"
    seen: dict[int, int] = {}
    said: dict[int, int] = {}
    told = 0
    for message in (event for event in messages(packets(file)) if isinstance(event, Message)):
        if message.name == "AppendEntries":
            fields = message.fields
            for number, entry in enumerate(message.entries, fields["prev_log_index"] + 1):
                if entry.type == table.CHANGE:
                    seen.setdefault(number, message.place.frame)
            told = max(told, fields["leader_commit"])
            for index in seen:
                if index <= told:
                    said.setdefault(index, message.place.frame)
    (facts,) = analyze(packets(file)).clusters
    found = {one.conf_index: one.decided_at and one.decided_at.frame for one in facts.configurations}
    assert found == {index: said.get(index) for index in seen}
    assert [one.committed for one in facts.configurations] == [True] * 10 + [None]  # it ends before the last one is


@pytest.mark.parametrize("committed", [True, False, None])
def test_json_and_csv_say_the_same(committed: bool | None) -> None:
    script = overwritten() if committed is False else proposed()
    if committed is not None:
        append(script.at(2500), *((1, 2, 2, (2, 2)) if committed else (3, 2, 3, (3, 2))), commit=2)
    report = analyze(script.packets())
    (record,) = json.loads(json.dumps(report_record(report, Clock())))["clusters"][0]["configurations"]
    frame = None if committed is None else len(script.packets())
    assert record["committed"] is committed
    assert (record["decided_at"] or {}).get("frame") == frame
    file = StringIO()
    write_table(report, Clock(), "configurations", file)
    rows = list(csv.DictReader(StringIO(file.getvalue())))
    assert [row["server"] for row in rows] == ["1", "2", "3", "4"]
    for row in rows:
        assert (row["committed"], row["decided_frame"]) == (
            "" if committed is None else str(committed).lower(),
            str(frame or ""),
        )
