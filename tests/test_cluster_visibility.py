"""What a capture that lacks messages says of leaders: not that nobody led where somebody may have."""

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
from raft_dissect.report.html.context import Context
from raft_dissect.report.html.markup import serialized
from raft_dissect.report.html.tables import Tables
from raft_dissect.report.terminal import Style
from raft_dissect.report.times import Clock
from raft_dissect.values import Message
from tests.captures import packets
from tests.packets import MILLISECOND, SECOND
from tests.scripts import Script
from tests.test_cluster_scenarios import beat, elect, milliseconds
from tests.test_report_parts import FILES, from_the_middle_on, of_one_direction, thinned, until_the_middle
from tests.transformations import tcp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.values import Packet


def unknown(facts: ClusterFacts) -> list[tuple[float, float, str]]:
    return [(milliseconds(one.first), milliseconds(one.last), one.cause) for one in facts.leader_unknown]


def gaps(facts: ClusterFacts) -> list[tuple[float, float]]:
    return [(milliseconds(one.first), milliseconds(one.last)) for one in facts.leaderless]


# Short scripts


def followers_answer() -> Script:
    """Servers 2 and 3 answer 1 as leader of term 2 from 1 to 5 seconds; none of its messages is there."""
    script = Script().ask(2, 3, 1, pre=1).vote(3, 2, 1, 0, pre=1)
    for second in range(1, 6):
        script.at(1000 * second).result(2, 1, 2, 1).result(3, 1, 2, 1)
    return script


def test_leader_that_followers_answer_led_although_it_is_not_in_the_capture() -> None:
    script = elect(followers_answer().at(8000), 2, 3, voters=(2, 3))
    facts = script.at(9000).append(2, 3, 3, (1, 1)).facts()
    assert gaps(facts) == []
    assert unknown(facts) == [(0, 8002, "unseen_leader")]
    ((term, leader, first, last),) = facts.unseen_leaders
    assert (term, leader, milliseconds(first), milliseconds(last)) == (2, "10.0.0.1", 1000, 5001)
    assert [(one.term, one.leader) for one in facts.leaders] == [(3, 2)]


def test_nobody_leads_between_leaders_of_whom_both_are_seen() -> None:
    """That another leader is not in the capture says nothing of the time between two that are."""
    script = elect(Script(), 1, 2).kill(1)
    script = elect(script.at(3000), 2, 3, voters=(2, 3))
    for second in range(6, 9):
        script.at(1000 * second).result(2, 3, 5, 1)
    facts = script.facts()
    assert gaps(facts)[1] == (5, 3002)
    assert [cause for *_, cause in unknown(facts)] == ["unseen_leader"]
    assert facts.leaders[-1].ended_by == "new_leader"


def test_answer_that_says_nothing_of_the_log_proves_no_leader() -> None:
    """A newer cowsql server answers an old leader with its own later term and index 0 (protocol document, 7.7)."""
    assert elect(Script(), 1, 2).at(3000).result(3, 1, 7, 0).facts().unseen_leaders == ()


def test_server_that_answers_a_leader_of_the_term_of_another_names_no_second_one() -> None:
    assert elect(Script(), 1, 2).at(3000).result(3, 2, 2, 1).facts().unseen_leaders == ()


def test_messages_of_one_server_alone_do_not_show_who_else_led() -> None:
    script = Script().ask(2, 1, 2).ask(2, 3, 2).at(3000).append(2, 1, 4, (1, 1)).append(2, 3, 4, (1, 1))
    assert (gaps(script.facts()), unknown(script.facts())) == ([], [(0, 3000, "one_sender")])


def test_capture_that_begins_midway_may_begin_between_two_heartbeats() -> None:
    script = Script(handshakes=False).result(2, 1, 2, 1).result(3, 2, 2, 0)
    facts = beat(script.at(400), 1, 2).facts()
    assert (gaps(facts)[:1], unknown(facts)) == ([], [(0, 400, "begun_midway")])


def at_the_leader() -> Script:
    """Server 1 leads three servers, and is stopped; what follows is not to be seen where it was."""
    return elect(Script(), 1, 2).kill(1)


def test_at_a_server_that_hears_of_no_other_a_new_leader_would_not_be_seen() -> None:
    script = at_the_leader().at(9000).ask(1, 2, 3, pre=1)
    facts = beat(script.at(9500), 1, 4).facts()
    assert unknown(facts)[0] == (5, 9500, "one_place")


def test_at_a_server_that_is_asked_for_its_vote_there_is_no_leader() -> None:
    script = at_the_leader().at(2000).ask(2, 1, 3).vote(1, 2, 3, 1).append(2, 1, 3, (1, 1))
    assert (gaps(script.facts())[1], unknown(script.facts())) == ((5, 2002), [])


def test_where_others_are_heard_to_speak_with_each_other_a_new_leader_would_be_seen() -> None:
    """Server 3 once asked 2 for its vote, so the capture shows what is between those."""
    script = Script().ask(3, 2, 1, pre=1).vote(2, 3, 1, 0, pre=1)
    script = elect(script.at(100), 1, 2).kill(1).at(9000).ask(1, 2, 3, pre=1)
    facts = beat(script.at(9500), 1, 4).facts()
    assert (gaps(facts)[1], unknown(facts)) == ((105, 9500), [])


def test_two_servers_have_nobody_else_to_speak_with() -> None:
    script = elect(Script(), 1, 2, voters=(1, 2)).kill(1).at(9000).ask(1, 2, 3, pre=1)
    facts = beat(script.at(9500), 1, 4, voters=(1, 2)).facts()
    assert unknown(facts) == []


def test_server_that_acknowledged_entries_before_it_asks_for_votes_had_a_leader() -> None:
    facts = Script().result(2, 1, 2, 5).at(3000).ask(2, 1, 3, pre=1).ask(2, 3, 3, pre=1).facts()
    assert [one.cause for one in facts.elections] == ["unknown"]
    assert [one.cause for one in Script().ask(2, 1, 3, pre=1).facts().elections] == ["start"]


# Parts of real captures


def by_host(capture: Sequence[Packet]) -> Iterator[Sequence[Packet]]:
    """What one host sends and gets, as a capture on that host has it."""
    ends = {packet: (packet.data[26:30], packet.data[30:34]) for packet in capture if tcp_of(packet) is not None}
    for host in sorted({source for source, _ in ends.values()}):
        yield [packet for packet, both in ends.items() if host in both]


_MARGIN_NS = 500 * MILLISECOND
"""A place of a capture may hear of a leader so much earlier or later than others do."""


def led_times(capture: Sequence[Packet], whole: ClusterFacts) -> list[int]:
    """When a leader was heard of in a whole capture, outside of the times in which nobody led."""
    leading = {"AppendEntries", "InstallSnapshot", "TimeoutNow"}
    times = [one.place.time_ns for one in messages(capture) if isinstance(one, Message) and one.name in leading]
    nobody = [(gap.first.time_ns, gap.last.time_ns) for gap in whole.leaderless]
    return [time for time in times if not any(first < time < last for first, last in nobody)]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("parts", [of_one_direction, by_host, from_the_middle_on, until_the_middle, thinned])
def test_nobody_is_said_to_lead_where_the_whole_capture_shows_a_leader(
    file: str, parts: Callable[[Sequence[Packet]], Iterator[Sequence[Packet]]]
) -> None:
    capture = packets(file)
    (whole,) = analyze(capture).clusters
    led = led_times(capture, whole)
    for part in parts(capture):
        for cluster in analyze(part).clusters:
            for gap in cluster.leaderless:
                first, last = gap.first.time_ns + _MARGIN_NS, gap.last.time_ns - _MARGIN_NS
                assert not [time for time in led if first < time < last], gap


@pytest.mark.parametrize("file", FILES)
def test_leaders_that_are_known_by_answers_are_those_of_the_whole_capture(file: str) -> None:
    capture = packets(file)
    (whole,) = analyze(capture).clusters
    hosts = {address.rpartition(":")[0]: one.name for one in whole.servers for address in one.addresses}
    led = {(one.term, one.leader): one for one in whole.leaders}
    found = 0
    for part in of_one_direction(capture):
        for cluster in analyze(part).clusters:
            for unseen in cluster.unseen_leaders:
                found += 1
                name = hosts[unseen.leader] if isinstance(unseen.leader, str) else unseen.leader
                reign = led[unseen.term, name]
                assert reign.first <= unseen.first
                assert unseen.last.time_ns - reign.last.time_ns < 4 * SECOND  # late, where packets are held back
    assert found >= len(led)


# What is shown of it


def test_all_formats_say_it() -> None:
    report = analyze(followers_answer().packets())
    cluster = json.loads(json.dumps(report_record(report, Clock())))["clusters"][0]
    assert cluster["leaders"] == cluster["leaderless"] == []
    (unseen,) = cluster["unseen_leaders"]
    assert (unseen["term"], unseen["leader"], unseen["from"]) == (2, "10.0.0.1", unseen["time"])
    (time,) = cluster["leader_unknown"]
    assert (time["cause"], time["seconds"]) == ("unseen_leader", 5.001)
    text = "\n".join(report_text(report, Clock(), Style()))
    assert "10.0.0.1 led term 2: answered from" in text
    assert "for 5 s: a leader that was answered is not in it" in text
    tables = Tables(report.clusters[0], Context(Clock(), (), (1, 2, 3)))
    page = " ".join(serialized(part) for section in tables.sections() for part in section.content)
    assert "Server 10.0.0.1 led term 2: followers answered it" in page
    assert "The capture does not show whether anybody led from" in page
    for name, column, value in (("unseen_leaders", "leader", "10.0.0.1"), ("leader_unknown", "cause", "unseen_leader")):
        file = StringIO()
        write_table(report, Clock(), name, file)
        assert [row[column] for row in csv.DictReader(StringIO(file.getvalue()))] == [value]
