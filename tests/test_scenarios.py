"""Scenarios written as text: the packets say exactly what the lines say, and mistakes are told with their line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_dissect import analyze, wire
from raft_dissect.dissection import Dissection, messages
from raft_dissect.values import StreamClosed, TransportEvent
from tests import captures
from tests.packets import MILLISECOND, START
from tests.scenarios import SCENARIOS, ScenarioError, load, scenario

if TYPE_CHECKING:
    from raft_dissect.values import Message
    from tests.scenarios import Expectation, Scenario

HEAD = "cluster 1 2 3 release canonical-0.18.1\n"


def said(one: Scenario) -> list[Message]:
    found = list(messages(one.packets, keep_payload=True))
    assert len(found) == len(one.transcript.messages)
    return found


def only(text: str) -> Message:
    (message,) = said(scenario(HEAD + text))
    return message


def between(message: Message) -> tuple[int, int]:
    """Sender and receiver: server K has the address 10.0.0.K."""
    assert message.stream.handshake is not None
    hosts = message.stream.source.host, message.stream.destination.host
    sender, receiver = (int(host.rpartition(".")[2]) for host in hosts)
    assert message.stream.handshake.id == sender
    assert message.stream.handshake.address == f"10.0.0.{sender}:9001"
    return sender, receiver


def test_a_vote_goes_to_each_server_that_is_named() -> None:
    text = "at 1.5s 1 -> 2,3 RequestVote term=2 last=5/1 disrupt\nat 1501ms 2,3 -> 1 RequestVoteResult term=2 granted"
    votes = said(scenario(HEAD + text))
    assert [between(message) for message in votes] == [(1, 2), (1, 3), (2, 1), (3, 1)]
    assert [message.place.time_ns - START for message in votes] == [1500 * MILLISECOND] * 2 + [1501 * MILLISECOND] * 2
    assert votes[0].fields == {
        "term": 2, "candidate_id": 1, "last_log_index": 5, "last_log_term": 1, "disrupt_leader": True, "pre_vote": False
    }  # fmt: skip
    assert votes[2].fields == {"term": 2, "vote_granted": True, "pre_vote": False}


def test_entries_are_those_that_are_written() -> None:
    entries = 'command:"x, (y",command@1:24*2,barrier,change@2(1 voter, 2 standby 3 spare),command'
    message = only(f"at 0ms 1 -> 2 AppendEntries term=3 prev=5/1 commit=4 entries={entries}  # a comment (")
    assert message.fields == {
        "term": 3, "prev_log_index": 5, "prev_log_term": 1, "leader_commit": 4, "n_entries": 6
    }  # fmt: skip
    sizes = [8, 24, 24, 8, 64, 8]  # 9 bytes, and for each server 8, its address of 13 with NUL, and 1; padded
    sizes[4] = 9 + 3 * (8 + 14 + 1) + -(9 + 3 * 23) % 8
    kinds = list(zip([3, 1, 1, 3, 2, 3], [1, 1, 1, 2, 3, 1], sizes, strict=True))
    assert [tuple(entry) for entry in message.entries] == kinds
    assert message.payload is not None
    assert message.payload.startswith(b"x, (y\0\0\0" + bytes(48 + 8))
    assert message.change(4) == (
        wire.Server(1, "10.0.0.1:9001", 1),
        wire.Server(2, "10.0.0.2:9001", 0),
        wire.Server(3, "10.0.0.3:9001", 2),
    )


def test_a_snapshot_has_its_configuration_and_size() -> None:
    message = only("at 0ms 1 -> 3 InstallSnapshot term=2 last=100/2 conf=1(1 voter 2 voter) size=4096")
    assert message.fields == {"term": 2, "last_index": 100, "last_term": 2, "conf_index": 1}
    assert message.payload_length == 4096
    assert [(server.id, server.role) for server in message.configuration or ()] == [(1, 1), (2, 1)]
    assert message.payload == bytes(4096)
    assert only('at 0ms 1 -> 3 InstallSnapshot term=2 last=1/1 conf=1(1 voter) data="abc"').payload == b"abc"


def test_results_and_transfers_have_their_fields() -> None:
    result = only("at 0ms 2 -> 1 AppendEntriesResult term=2 rejected=0x10 last=6")
    assert result.fields == {"term": 2, "rejected": 16, "last_log_index": 6, "features": 0}
    transfer = only("at 0ms 1 -> 2 TimeoutNow term=2 last=7/2")
    assert (transfer.name, transfer.fields) == ("TimeoutNow", {"term": 2, "last_log_index": 7, "last_log_term": 2})
    other = only("at 0ms 1 -> 2 RequestVote term=2 last=7/2 candidate=3 pre")
    assert (other.fields["candidate_id"], other.fields["pre_vote"]) == (3, True)


def test_messages_and_handshakes_are_those_of_the_release() -> None:
    """Header lengths of the wire table: 16-byte vote results before v0.11.3, version byte 2 since cowsql v0.20.0."""
    lines = "at 0ms 1 -> 2 RequestVoteResult term=2 granted\nat 1ms 2 -> 1 RequestVoteResult term=2 granted"
    old, new = said(scenario(f"cluster 1 2 release canonical-0.9.16\nserver 2 release cowsql-main\n{lines}"))
    assert (old.preamble.version, old.preamble.header_length) == (0, 16)
    assert (new.preamble.version, new.preamble.header_length) == (2, 24)
    assert (new.fields["features"], new.fields["capacity"]) == (1, 4096)
    (first, _) = said(scenario(f"cluster 1 2 release dqlite-1.18.6\n{lines}"))
    assert first.stream.handshake is not None
    assert first.stream.handshake.kind == "dqlite"
    (first, _) = said(scenario(f"cluster 1 2 release w-0.20.0\n{lines}"))
    assert (first.preamble.version, first.fields["features"]) == (2, 0)


def test_a_line_can_be_repeated_in_time() -> None:
    beats = said(scenario(HEAD + "at 10ms..310ms every 100ms 1 -> 2,3 AppendEntries term=1 prev=1/1"))
    times = [(beat.place.time_ns - START) // MILLISECOND for beat in beats]
    assert times == [10, 10, 110, 110, 210, 210, 310, 310]


def test_connections_end_and_are_opened_again() -> None:
    lines = """
    at 0ms 1,2 -> 3 AppendEntries term=1 prev=1/1
    at 0ms 3 -> 1 AppendEntriesResult term=1 last=1
    at 1ms close 1 -> 3
    at 2ms reset 2 -> 3
    at 3ms 1 -> 3 AppendEntries term=1 prev=1/1
    at 4ms kill 3
    """
    events = list(Dissection(scenario(HEAD + lines).packets))
    ends = [
        (e.stream.source.host[-1], e.stream.destination.host[-1], e.reason)
        for e in events
        if isinstance(e, StreamClosed)
    ]
    assert sorted(ends) == [("1", "3", "fin"), ("1", "3", "rst"), ("2", "3", "rst"), ("3", "1", "fin")]
    kinds = {(e.kind, (e.place.time_ns - START) // MILLISECOND) for e in events if isinstance(e, TransportEvent)}
    assert kinds == {("closed", 1), ("reset", 2), ("closed", 4), ("reset", 4)}


def test_silence_lets_the_capture_go_on() -> None:
    one = scenario(HEAD + "at 0ms 1 -> 2 AppendEntries term=1 prev=1/1\nat 9s silence")
    assert one.packets[-1].time_ns == START + 9000 * MILLISECOND
    assert len(said(one)) == 1


def test_a_capture_can_begin_behind_the_handshakes() -> None:
    one = scenario(HEAD.strip() + " midway\nat 0ms..500ms every 100ms 1 -> 2 AppendEntries term=1 prev=1/1")
    assert {(message.offset, message.stream.handshake) for message in said(one)} == {(None, None)}


def expected(text: str) -> tuple[Scenario, Expectation]:
    one = scenario(HEAD + text)
    (expectation,) = one.expectations
    return one, expectation


def test_an_expectation_names_the_frame_of_its_message() -> None:
    lines = """
    at 0ms 1 -> 2,3 RequestVote term=2 last=5/1
    at 1ms..5ms every 1ms 2,3 -> 1 RequestVoteResult term=2 granted as votes
    """

    def message_at(place: str) -> tuple[tuple[int, int], int]:
        one, expectation = expected(f"{lines}\nexpect violation EL-02 by 2 term 9 at {place}")
        assert expectation[:4] == ("violation", "EL-02", 2, 9)
        (found,) = [message for message in said(one) if message.place.frame == expectation.frame]
        return between(found), (found.place.time_ns - START) // MILLISECOND

    assert message_at("1") == ((1, 2), 0)
    assert message_at("1 to 3") == ((1, 3), 0)
    assert message_at("2") == message_at("votes") == ((2, 1), 1)
    assert message_at("votes round 4") == ((2, 1), 4)


def test_an_expectation_needs_neither_server_nor_place() -> None:
    assert expected("expect suspect CM-02")[1] == ("suspect", "CM-02", None, None, None, 2)
    assert expected("expect none")[1] == ("none", None, None, None, None, 2)


MISTAKES = {
    "leader 1": "'leader' is no statement",
    "at 5 1 -> 2 TimeoutNow term=1": "'5' is no time",
    "at 5ms 1 -> 4 TimeoutNow term=1": "there is no server 4",
    "at 5ms 1 - 2 TimeoutNow term=1": "'->' is wanted",
    "at 5ms 1 -> 2 Timeout term=1": "'Timeout' is no message",
    "at 5ms 1 -> 2 Signature term=1": "'Signature' is no message",
    "at 5ms 1 -> 2 TimeoutNow": "the term is missing",
    "at 5ms 1 -> 1 TimeoutNow term=1": "nobody talks to itself",
    "at 5ms 1 -> 2 TimeoutNow term=one": "'one' is no number for term",
    "at 5ms 1 -> 2 TimeoutNow term=1 last=5": "'5' is not INDEX/TERM",
    "at 5ms 1 -> 2 TimeoutNow term=1 last=5/x": "'x' is no number",
    "at 5ms 1 -> 2 TimeoutNow term=1 term=2": "term is said twice",
    "at 5ms 1 -> 2 TimeoutNow term=1 granted": "TimeoutNow of c-0.18.0 has no vote_granted",
    "at 5ms 1 -> 2 TimeoutNow term=1 really": "'really' is no field and no flag",
    "at 5ms 2 -> 1 AppendEntriesResult term=1 capacity=4": "AppendEntriesResult of c-0.18.0 has no capacity",
    "at 5ms 2 -> 1 AppendEntriesResult term=-1": "a value does not fit",
    "at 5ms 1 -> 2 AppendEntries term=1 entries=commando": "'commando' is no entry",
    "at 5ms 1 -> 2 AppendEntries term=1 entries=barrier:5": "'barrier:5' is no barrier",
    "at 5ms 1 -> 2 AppendEntries term=1 entries=change(1 boss)": "'1 boss' is no server with its role",
    "at 5ms 1 -> 2 AppendEntries term=1 entries=change(1 voter": "a quote or a parenthesis is not closed",
    "at 5ms 1 -> 2 InstallSnapshot term=1 conf=1": "'1' is not INDEX(ID ROLE, ...)",
    "at 5ms..1ms every 1ms 1 -> 2 TimeoutNow term=1": "these are no times",
    "at 5ms close 1 -> 2": "there is no connection 1 -> 2 then",
    "at 5ms kill 1 2": "'2' is not understood",
    "server 2 release canonical-9": "no layout of the wire table is that of canonical-9",
    "server 2 release newest": "'newest' is no release",
    "include nothing": "there is no nothing.txt in parts",
    "expect doubt EL-01": "a verdict is",
    "expect violation EL1": "'EL1' is no rule",
    "expect violation EL-01 at 1": "no message is said at 1",
    "expect violation EL-01 at begin": "no message is said at begin",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_with_its_line(line: str) -> None:
    with pytest.raises(ScenarioError) as error:
        scenario(f"{HEAD}\n# the third line:\n{line}\n", "mistake.txt")
    assert str(error.value).startswith(f"mistake.txt:4: {MISTAKES[line]}")


def test_a_name_stands_for_one_line() -> None:
    line = "at 0ms 1 -> 2 TimeoutNow term=1 as it\n"
    with pytest.raises(ScenarioError, match="scenario:3: 'it' cannot be a name"):
        scenario(HEAD + line + line)


# The files


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_scenarios_of_files_are_whole(name: str) -> None:
    """Every message arrives, on connections that are opened before they are used; every expectation has its frame."""
    one = load(name)
    result = captures.run(one.packets)
    assert len(result.messages) == len(one.transcript.messages)
    assert not result.diagnostics
    assert all(message.stream.opening is not None for message in result.messages)
    assert one.expectations
    frames = {message.place.frame for message in result.messages}
    assert {e.frame for e in one.expectations} - {None} <= frames


LEADERS = {
    "healthy": [(1, 1), (2, 2), (4, 3)],
    "two-leaders-in-a-term": [(1, 1), (2, 2), (2, 3)],
    "double-vote": [(1, 1), (2, 2)],
    "lost-committed-entry": [(1, 1), (3, 3)],
    "overwritten-log": [(1, 1), (3, 2)],
    "ignored-transfer": [(1, 1)],
    "snapshot-at-every-heartbeat": [(6, 1)],
}


@pytest.mark.parametrize("name", LEADERS)
def test_those_lead_that_the_scenario_is_about(name: str) -> None:
    (cluster,) = analyze(load(name).packets).clusters
    assert [(one.term, one.leader) for one in cluster.leaders] == LEADERS[name]


def test_the_healthy_cluster_does_all_that_there_is() -> None:
    (cluster,) = analyze(load("healthy").packets).clusters
    assert [(s.leader, s.follower, s.last_index) for s in cluster.snapshots] == [(2, 4, 8)]
    assert [(t.leader, t.target) for t in cluster.transfers] == [(1, 2)]
    assert [(e.term, e.candidate) for e in cluster.elections if e.outcome == "won"] == [(2, 2), (4, 3)]
    assert not cluster.truncations
