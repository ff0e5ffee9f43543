"""Why there was an election, why there was no leader, who was started anew, and who cannot work together."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from raft_dissect import wire
from raft_dissect.cluster.questions import leader_at
from raft_dissect.pipeline import analyze
from raft_dissect.report.as_json import report_record
from raft_dissect.report.times import Clock
from raft_dissect.values import Packet
from tests.packets import MILLISECOND, RST, START, Address, Connection
from tests.scripts import STANDBY, VOTER, Script, address, change, command
from tests.test_cluster_scenarios import beat, elect, milliseconds, reasons, transfer
from tests.transformations import by_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_dissect.cluster import ClusterFacts


class Processes(Script):
    """A script in which servers end as processes do."""

    def stop(self, server: int) -> Script:
        """A server ends: its system closes what it had opened with FIN, and resets what others had opened to it."""
        for pair, (connection, offset) in list(self._connections.items()):
            if pair[0] == server:
                self._add(connection.fin(offset))
            elif pair[1] == server:
                self._add(connection.reply(0, b"", RST))
            else:
                continue
            del self._connections[pair]
        return self

    def close(self, sender: int, receiver: int) -> Script:
        """A server closes one connection that it had opened."""
        connection, offset = self._connections.pop((sender, receiver))
        self._add(connection.fin(offset))
        return self


def led_at(facts: ClusterFacts, milliseconds: float) -> tuple[object, int] | None:
    """Who led so long after the script began, and in which term."""
    leadership = leader_at(facts, START + round(milliseconds * MILLISECOND))
    return None if leadership is None else (leadership.leader, leadership.term)


def led(last: float = 203) -> Script:
    """Server 1 leads term 2; its last messages to 2 and 3 are at `last` - 3 and `last` - 2 ms."""
    return beat(beat(elect(Processes(), 1, 2).at(100), 1, 2).at(last - 3), 1, 2)


def silences(facts: ClusterFacts) -> list[tuple[object, ...]]:
    return [(e.candidate, e.pre_vote, e.leader, e.silent_seconds) for e in facts.elections if e.term > 2]


def gaps(facts: ClusterFacts) -> list[tuple[object, ...]]:
    return [(gap.cause, gap.ended_by, gap.elections) for gap in facts.leaderless]


# Elections


def test_election_names_the_leader_and_how_long_it_had_been_silent_to_the_candidate() -> None:
    """The last AppendEntries to 3 is at 201 ms, and 3 asks at 1201."""
    assert silences(led().at(1201).ask(3, 2, 3).facts()) == [(3, False, 1, 1.0)]


def test_leader_that_goes_on_for_others_is_silent_to_the_candidate_alone() -> None:
    script = led()
    for step in range(10):
        script.at(300 + 100 * step).append(1, 2, 2, (1, 1)).result(2, 1, 2, 1)
    facts = script.at(1201).ask(3, 2, 3, pre=1).vote(2, 3, 3, 0, pre=1).append(1, 2, 2, (1, 1)).facts()
    assert silences(facts) == [(3, True, 1, 1.0)]
    assert gaps(facts) == [("start", "elected", 1)]


def test_all_rounds_for_want_of_a_winner_name_the_leader_before_them() -> None:
    script = led().at(1201).ask(3, 2, 3, pre=1).vote(2, 3, 3, 1, pre=1).ask(3, 2, 3).at(2201).ask(3, 2, 4)
    assert silences(script.facts()) == [(3, True, 1, 1.0), (3, False, 1, 1.002), (3, False, 1, 2.0)]


def test_candidate_that_had_no_leader_names_none() -> None:
    facts = Script().ask(1, 2, 3).at(2000).ask(1, 2, 4).facts()
    assert silences(facts) == [(1, False, None, None), (1, False, None, None)]


def test_leader_that_campaigns_after_it_stepped_down_names_none() -> None:
    assert silences(led().at(2000).ask(1, 2, 3).facts()) == [(1, False, None, None)]


# Times without a leader


LEADERLESS: dict[str, tuple[Callable[[Script], Script], tuple[str, str, int]]] = {
    "heartbeats_absent": (lambda s: elect(s.at(1500), 2, 3, voters=(2, 3)), ("heartbeats_absent", "elected", 1)),
    "connection_lost": (lambda s: elect(s.kill(1).at(1500), 2, 3, voters=(2, 3)), ("connection_lost", "elected", 1)),
    "step_down": (
        lambda s: s.at(300).ask(1, 2, 3, pre=1).vote(2, 1, 3, 0, pre=1).at(1500).ask(2, 3, 3).append(2, 3, 3, (1, 1)),
        ("step_down", "elected", 1),
    ),
    "transfer": (
        lambda s: (
            s.say(1, 2, "TimeoutNow", {"term": 2, "last_log_index": 1, "last_log_term": 1})
            .ask(2, 3, 3, disrupt=1)
            .vote(3, 2, 3, 1)
            .append(2, 3, 3, (1, 1))
        ),
        ("transfer", "elected", 1),
    ),
    "unknown": (lambda s: s.at(3000).append(2, 3, 3, (1, 1)), ("unknown", "elected", 0)),
    "returned": (
        lambda s: beat(s.at(1201).ask(3, 2, 3, pre=1).vote(2, 3, 3, 0, pre=1).at(1900), 1, 2),
        ("heartbeats_absent", "returned", 0),
    ),
    "nobody asked": (
        lambda s: s.kill(1).at(3000).vote(2, 3, 2, 0),
        ("connection_lost", "capture_end", 0),
    ),
    "storm": (
        lambda s: s.kill(1).at(1300).ask(2, 3, 3).ask(3, 2, 3).at(2300).ask(2, 3, 4).ask(3, 2, 4).at(3300).ask(2, 3, 5),
        ("connection_lost", "capture_end", 5),
    ),
}


@pytest.mark.parametrize("kind", LEADERLESS)
def test_time_without_a_leader_says_why_and_how_it_ended(kind: str) -> None:
    happens, expected = LEADERLESS[kind]
    facts = happens(led()).facts()
    assert gaps(facts)[1:] == [expected]


def test_leader_that_was_missed_and_came_back_did_not_lead_in_between() -> None:
    script = led().at(1201).ask(3, 2, 3, pre=1).vote(2, 3, 3, 0, pre=1)
    facts = beat(script.at(1900), 1, 2).facts()
    gap = facts.leaderless[1]
    assert (milliseconds(gap.first), milliseconds(gap.last)) == (201, 1900)
    assert [led_at(facts, ms) for ms in (150, 1000, 1900)] == [
        (1, 2),
        None,
        (1, 2),
    ]


def test_begin_of_a_capture_is_the_start_of_a_cluster_only_where_connections_begin() -> None:
    assert gaps(elect(Script(), 1, 2).facts())[0] == ("start", "elected", 1)
    assert gaps(elect(Script(handshakes=False), 1, 2).facts())[0] == ("unknown", "elected", 1)


def test_split_votes_and_storms_follow_from_the_elections_in_a_time_without_a_leader() -> None:
    """Terms 3 and 4 are split between 2 and 3 of four servers, and 2 wins term 5."""
    script = elect(Script(), 1, 2, voters=(1, 2, 3, 4)).kill(1)
    for term in (3, 4):
        script.at(1000 * term).ask(2, 4, term).ask(3, 2, term).ask(2, 3, term)
        script.vote(4, 2, term, 1).vote(2, 3, term, 0).vote(3, 2, term, 0)
    facts = elect(script.at(5000), 2, 5, voters=(2, 3, 4)).facts()
    gap = facts.leaderless[-1]
    rounds = [e for e in facts.elections if not e.pre_vote and gap.first <= e.place <= gap.last]
    assert gap.elections == len(rounds) == 5
    assert {e.term for e in rounds if e.outcome == "split"} == {3, 4}


# Who led at a time


def test_leader_at_a_time_is_the_one_heard_of_then() -> None:
    facts = elect(led().kill(1).at(1500), 2, 3, voters=(2, 3)).facts()
    assert [led_at(facts, ms) for ms in (0, 50, 150, 1000, 1502, 9000)] == [
        None,
        (1, 2),
        (1, 2),
        None,
        (2, 3),
        (2, 3),
    ]


def test_of_two_that_speak_as_leaders_the_one_of_the_later_term_leads() -> None:
    script = led().at(1000).ask(2, 3, 3).vote(3, 2, 3, 1).append(2, 3, 3, (1, 1)).result(3, 2, 3, 1)
    for step in range(5):
        script.at(1100 + 100 * step).append(2, 3, 3, (1, 1)).append(1, 3, 2, (1, 1))
    assert led_at(script.facts(), 1350) == (2, 3)


# Reasons that a voter's own state gives


def demoted(voter: int) -> Script:
    """Server 1 leads term 2 and makes a voter a standby, which that one stores."""
    roles = {1: VOTER, 2: VOTER, 3: VOTER, voter: STANDBY}
    return led().append(1, voter, 2, (1, 1), change(2, roles)).result(voter, 1, 2, 2)


def test_server_that_stored_that_it_is_no_voter_refuses_for_that() -> None:
    script = demoted(2).at(400).ask(2, 3, 3).at(900).ask(3, 2, 4, (2, 9)).vote(2, 3, 4, 0)
    assert reasons(script.facts()) == [("request_vote", 2, 3, "not_a_voter")]


def test_server_that_was_sent_a_configuration_but_did_not_store_it_has_the_one_before() -> None:
    script = led().append(1, 2, 2, (1, 1), change(2, {1: VOTER, 2: STANDBY, 3: VOTER}))
    script.at(400).ask(2, 3, 3).at(900).ask(3, 2, 4, (2, 9)).vote(2, 3, 4, 0)
    assert reasons(script.facts()) == [("request_vote", 2, 3, "unknown")]


def test_server_that_is_a_voter_again_does_not_refuse_for_being_none() -> None:
    script = demoted(2).append(1, 2, 2, (2, 2), change(2, {1: VOTER, 2: VOTER, 3: VOTER})).result(2, 1, 2, 3)
    script.at(400).ask(2, 3, 3).at(900).ask(3, 2, 4, (2, 9)).vote(2, 3, 4, 0)
    assert reasons(script.facts()) == [("request_vote", 2, 3, "unknown")]


def test_server_that_follows_a_leader_refuses_for_that_before_it_asks_whether_it_is_a_voter() -> None:
    script = demoted(2).at(400).ask(3, 2, 3, pre=1).vote(2, 3, 3, 0, pre=1)
    assert reasons(script.facts()) == [("pre_vote", 2, 3, "has_leader")]


INSTALL = {"term": 2, "last_term": 2, "last_index": 100, "conf_index": 1}
HANDOVER = {"term": 2, "last_log_index": 100, "last_log_term": 2}


def handed_over_during_a_snapshot() -> Script:
    """Server 1 sends 3 a snapshot, and hands over to 2 meanwhile, which asks 3 for its vote."""
    script = led().say(1, 3, "InstallSnapshot", INSTALL, roles={1: VOTER, 2: VOTER, 3: VOTER}, data=bytes(64))
    return script.say(1, 2, "TimeoutNow", HANDOVER)


def test_server_that_installs_a_snapshot_is_busy() -> None:
    script = handed_over_during_a_snapshot().ask(2, 3, 3, (2, 100), disrupt=1).vote(3, 2, 3, 0)
    assert reasons(script.wait(50).result(3, 1, 2, 100).facts()) == [("request_vote", 3, 2, "busy")]


def test_server_that_has_installed_its_snapshot_is_not_busy() -> None:
    script = handed_over_during_a_snapshot().result(3, 1, 2, 100).ask(2, 3, 3, (2, 100), disrupt=1).vote(3, 2, 3, 0)
    assert reasons(script.facts()) == [("request_vote", 3, 2, "unknown")]


# Servers


def restarts(facts: ClusterFacts) -> list[tuple[object, ...]]:
    return [(server.name, milliseconds(place)) for server in facts.servers for place in server.restarts]


def processes() -> Processes:
    script = Processes()
    elect(script, 1, 2)
    script.at(100).append(1, 2, 2, (1, 1)).result(2, 1, 2, 1)
    return script


def test_server_that_closed_all_its_connections_and_opens_one_was_started_anew() -> None:
    script = processes().stop(3).at(700)
    assert restarts(script.result(3, 1, 2, 1).result(3, 1, 2, 1).facts()) == [(3, 700)]


def test_leader_that_ends_is_started_anew_and_its_followers_are_not() -> None:
    script = processes().stop(1).at(900).ask(2, 3, 3).vote(3, 2, 3, 1).append(2, 3, 3, (1, 1)).result(3, 2, 3, 1)
    script.at(1500).append(2, 1, 3, (1, 1)).result(1, 2, 3, 1)
    assert restarts(script.facts()) == [(1, 1501)]


def test_connections_that_were_reset_prove_no_restart() -> None:
    script = processes().kill(3).at(2500)
    assert restarts(script.result(3, 1, 2, 1).facts()) == []


def test_server_that_finds_another_one_at_another_address_goes_on() -> None:
    """Server 1 comes back at 10.0.0.11, so 2 closes its connection to the old address and opens one to the new."""
    script = processes()
    script.close(2, 1)
    there, back = Address("10.0.0.11", 41000), Address("10.0.0.2", 41001)
    opened = []
    for server, connection in (
        (1, Connection(there, Address("10.0.0.2", 9001))),
        (2, Connection(back, Address("10.0.0.11", 9001))),
    ):
        advertised = "10.0.0.11:9001" if server == 1 else address(2)
        opened += [*connection.opening(), connection.data(0, wire.encode_handshake("raft", server, advertised))]
    late = [Packet(data, START + 500 * MILLISECOND, 1, len(data), 0) for data in opened]
    (facts,) = analyze(by_time([*script.packets(), *late])).clusters
    assert facts.servers[0].addresses == (address(1), "10.0.0.11:9001")
    assert restarts(facts) == []


def test_server_that_keeps_one_of_its_connections_goes_on() -> None:
    script = processes()
    script.ask(3, 2, 3)
    script.close(3, 1)
    assert restarts(script.at(700).result(3, 1, 2, 1).facts()) == []


def test_server_that_ended_and_is_not_seen_again_was_not_started_anew() -> None:
    assert restarts(processes().stop(3).at(900).append(1, 2, 2, (1, 1)).facts()) == []


def test_term_that_nobody_sent_was_brought_along_by_a_restart() -> None:
    """Server 3 had term 2 when it ended; what it answers then is in term 4, which it had stored unseen."""
    script = processes().stop(3).at(700)
    facts = script.append(1, 3, 2, (1, 1)).result(3, 1, 4, 1, rejected=1).facts()
    assert [(c.old, c.new, c.cause) for c in facts.term_changes if c.server == 3] == [
        (None, 2, "unknown"),
        (2, 4, "restart"),
    ]


def test_term_that_was_sent_to_a_server_that_was_started_anew_has_its_usual_cause() -> None:
    script = processes().stop(3).at(700)
    facts = script.ask(2, 3, 4).vote(3, 2, 4, 1).facts()
    assert [(c.old, c.new, c.cause) for c in facts.term_changes if c.server == 3][1:] == [(2, 4, "vote_request")]


def test_how_ids_are_known_is_said_by_what_says_it_most_directly() -> None:
    """1 and 2 are told by their handshakes; 3 only stands in a configuration."""
    script = Script().append(1, 2, 2, (1, 1)).result(2, 1, 2, 1)
    script.append(1, 2, 2, (1, 1), change(2, {1: VOTER, 2: VOTER, 3: VOTER}))
    assert [(server.name, server.known_by) for server in script.facts().servers] == [
        (1, "handshake"),
        (2, "handshake"),
        (3, "configuration"),
    ]
    midway = Script(handshakes=False)
    for term in (2, 3, 4):
        midway.ask(2, 1, term).vote(1, 2, term, 1)
    assert [(server.name, server.known_by) for server in midway.facts().servers] == [
        (2, "inferred"),
        ("10.0.0.1", None),
    ]


# Servers that cannot work together


def mixed(cowsql: str, canonical: str) -> Script:
    """Server 1 of one layout asks server 2 of another for its vote, and both send what tells their layouts."""
    script = Script(cowsql).ask(1, 2, 2).append(1, 2, 2, (1, 1), command(2)).vote(1, 3, 2, 1).result(1, 3, 2, 1)
    script.layout = canonical
    return script.ask(2, 3, 2).vote(2, 3, 2, 1).result(2, 3, 2, 1).append(2, 3, 2, (1, 1), command(2))


REFUSED = ("RequestVote",)
PAIRS = [
    ("w-0.22.1", "c-0.9.15", ("refused", True)),
    ("w-0.22.1", "c-0.9.21", ("refused", True)),
    ("w-0.20.0", "c-0.9.21", ("refused", True)),
    ("w-0.22.1", "c-0.11.3", ("refused", False)),
    ("w-0.22.1", "c-0.18.0", None),
    ("w-0.17.4", "c-0.9.21", None),
    ("c-0.9.0", "w-0.22.1", ("read_beyond_end", False)),  # it writes what v0.20.0 may write, which reads it
    ("c-0.9.0", "c-0.18.0", None),
]


@pytest.mark.parametrize(("writer", "reader", "expected"), PAIRS)
def test_pair_that_cannot_work_together_is_named(writer: str, reader: str, expected: tuple[str, bool] | None) -> None:
    """Protocol document section 8.1, which was measured with the decoder of each release."""
    found = [pair for pair in mixed(writer, reader).facts().incompatible if pair.writer == 1 and pair.reader == 2]
    if expected is None:
        assert found == []
    else:
        ((_, _, messages, consequence, certain, place),) = found
        assert (messages, consequence, certain, milliseconds(place)) == (REFUSED, *expected, 0)


# JSON


def test_json_says_the_same() -> None:
    script = led().at(1201).ask(3, 2, 3)
    report = analyze(script.packets())
    (cluster,) = json.loads(json.dumps(report_record(report, Clock())))["clusters"]
    election = cluster["elections"][-1]
    assert (election["leader"], election["silent_seconds"], election["retransmissions"]) == (1, 1.0, 0)
    gap = cluster["leaderless"][0]
    assert (gap["cause"], gap["ended_by"], gap["elections"]) == ("start", "elected", 1)
    assert [(server["known_by"], server["restarts"]) for server in cluster["servers"]] == [("handshake", [])] * 3
    assert cluster["incompatible"] == []
    (pair,) = report_record(analyze(mixed("w-0.22.1", "c-0.9.21").packets()), Clock())["clusters"][0]["incompatible"]
    assert (pair["writer"], pair["reader"], pair["messages"]) == (1, 2, ["RequestVote"])
    assert (pair["consequence"], pair["certain"], pair["frame"]) == ("refused", True, 5)


def test_transfer_is_an_election_of_the_leader_that_handed_over() -> None:
    facts = transfer(Script()).ask(2, 3, 3, disrupt=1).vote(3, 2, 3, 1).append(2, 3, 3, (1, 1)).facts()
    assert silences(facts) == [(2, False, 1, 0.001)]
