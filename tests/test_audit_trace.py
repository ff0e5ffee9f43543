"""The trace of states: what a reader of the Raft paper expects of each server, from what packets show."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

import pytest

from raft_dissect.dissection import Dissection
from raft_dissect.report.audit.trace import StateTrace
from raft_dissect.report.times import Clock
from tests.audit_captures import cluster
from tests.captures import PCAPS, RUNS, truth
from tests.command import run
from tests.scripts import PORT, Script, change, command

Line = dict[str, Any]

VOTER = 1
KEYS = ["type", "term", "from", "to", "entries", "logTerm", "index", "commit", "vote", "reject", "rejectHint"]
"""Of a message in the traces of etcd-io/raft."""


def trace(script: Script) -> list[Line]:
    file = io.StringIO()
    dissection = Dissection(script.packets(), ports=[PORT])
    written = StateTrace(file, Clock(), ())
    for batch in dissection.batches():
        written.feed(batch)
    written.finish()
    return [json.loads(line) for line in file.getvalue().splitlines()]


def events(lines: list[Line]) -> list[tuple[str, str]]:
    """Name and server of each event."""
    return [(line["event"]["name"], line["event"]["nid"]) for line in lines]


def of(lines: list[Line], name: str, nid: int) -> list[Line]:
    return [line["event"] for line in lines if (line["event"]["name"], line["event"]["nid"]) == (name, str(nid))]


def test_election_and_first_entry_step_by_step() -> None:
    lines = trace(cluster())
    assert events(lines) == [
        ("InitState", "1"),
        ("InitState", "2"),
        ("BecomeCandidate", "1"),
        ("SendRequestVoteRequest", "1"),
        ("ReceiveRequestVoteRequest", "2"),
        ("BecomeFollower", "2"),
        ("SendRequestVoteResponse", "2"),
        ("InitState", "3"),
        ("ReceiveRequestVoteResponse", "1"),
        ("SendRequestVoteRequest", "1"),
        ("ReceiveRequestVoteRequest", "3"),
        ("BecomeFollower", "3"),
        ("SendRequestVoteResponse", "3"),
        ("ReceiveRequestVoteResponse", "1"),
        ("BecomeLeader", "1"),
        ("Replicate", "1"),
        ("SendAppendEntriesRequest", "1"),
        ("SendAppendEntriesRequest", "1"),
        ("ReceiveAppendEntriesRequest", "2"),
        ("SendAppendEntriesResponse", "2"),
        ("ReceiveAppendEntriesRequest", "3"),
        ("SendAppendEntriesResponse", "3"),
    ]
    for line in lines:
        assert line["tag"] == "trace"
        assert (line["how"] == "observed") == line["event"]["name"].startswith("Send")
        if "msg" in line["event"]:
            assert list(line["event"]["msg"]) == KEYS


def test_state_says_what_the_server_has_shown() -> None:
    lines = trace(cluster())
    (leader,) = of(lines, "BecomeLeader", 1)
    assert leader["state"] == {"term": 2, "vote": "1", "commit": 0}
    assert (leader["role"], leader["log"], leader["conf"]) == ("StateLeader", 1, [[], []])
    (voter,) = of(lines, "SendRequestVoteResponse", 2)
    assert voter["state"] == {"term": 2, "vote": "1", "commit": 0}
    assert voter["msg"]["reject"] is False
    (sent, _) = of(lines, "SendAppendEntriesRequest", 1)
    assert (sent["log"], sent["msg"]["index"], sent["msg"]["logTerm"], sent["msg"]["entries"]) == (2, 1, 1, 1)
    (answer,) = of(lines, "SendAppendEntriesResponse", 3)
    assert (answer["log"], answer["msg"]["index"], answer["msg"]["reject"]) == (2, 2, False)


def test_what_was_not_shown_is_named_as_unknown() -> None:
    lines = trace(cluster())
    first = lines[0]
    assert first["event"]["state"] == {"term": 0, "vote": "0", "commit": 0}
    assert first["unknown"] == ["term", "vote", "commit", "log", "conf"]
    (leader,) = (line for line in lines if line["event"]["name"] == "BecomeLeader")
    assert leader["unknown"] == ["commit", "conf"]


def test_refused_vote_with_a_lower_term_changes_no_term() -> None:
    """A voter that knows a leader refuses and keeps its term (thesis 4.2.3)."""
    script = cluster().ask(3, 2, 7, (2, 2)).vote(2, 3, 2, 0)
    lines = trace(script)
    (*_, answer) = of(lines, "SendRequestVoteResponse", 2)
    assert (answer["state"]["term"], answer["state"]["vote"], answer["msg"]["reject"]) == (2, "1", True)
    names = events(lines)
    assert names[-2:] == [("ReceiveRequestVoteRequest", "2"), ("SendRequestVoteResponse", "2")]


def test_pre_votes_are_left_out() -> None:
    script = Script().ask(1, 2, 2, pre=1).vote(2, 1, 2, 1, pre=1).ask(1, 2, 2).vote(2, 1, 2, 1)
    assert Counter(name for name, _ in events(trace(script)))["SendRequestVoteRequest"] == 1
    old = Script("c-0.9.21").ask(1, 2, 2, pre=1).vote(2, 1, 2, 1).ask(1, 2, 2).vote(2, 1, 2, 1)
    counts = Counter(name for name, _ in events(trace(old)))
    assert (counts["SendRequestVoteRequest"], counts["SendRequestVoteResponse"]) == (1, 1)


def test_queued_request_is_received_only_when_its_receiver_has_its_term() -> None:
    """The old leader goes on in its term after a request of a higher one is on its way to it."""
    script = cluster().ask(2, 1, 3, (2, 2)).append(1, 3, 2, (2, 2)).vote(1, 2, 3, 1)
    names = events(trace(script))
    request = names.index(("ReceiveRequestVoteRequest", "1"))
    assert names[request - 1] == ("SendAppendEntriesRequest", "1")
    assert names[request + 1] == ("BecomeFollower", "1")


def test_leader_whose_election_was_not_captured_follows_nobody_first() -> None:
    """What reaches it in its own term comes behind its election, however late its own first message is seen."""
    lines = trace(Script().result(2, 1, 2, 5).append(1, 2, 2, (2, 5)).append(1, 2, 2, (2, 5)))
    assert [name for name, nid in events(lines) if nid == "1"] == [
        "InitState",
        "BecomeLeader",
        "SendAppendEntriesRequest",
        "ReceiveAppendEntriesResponse",
        "SendAppendEntriesRequest",
    ]


def test_commit_index_of_leader_and_follower() -> None:
    fields = {"term": 2, "prev_log_index": 2, "prev_log_term": 2, "leader_commit": 2}
    script = cluster().append(1, 3, 2, (2, 2)).say(1, 2, "AppendEntries", fields).result(2, 1, 2, 2)
    lines = trace(script)
    (commit,) = of(lines, "Commit", 1)
    assert commit["state"]["commit"] == 2
    *_, last = of(lines, "SendAppendEntriesResponse", 2)
    assert last["state"]["commit"] == 2


def test_configurations_are_changed_by_leaders_and_applied_with_the_acknowledgement() -> None:
    three, four = (dict.fromkeys(range(1, n + 1), VOTER) for n in (3, 4))
    script = cluster().append(1, 2, 2, (2, 2), change(2, three)).result(2, 1, 2, 3)
    script.append(1, 2, 2, (2, 3), change(2, four)).result(2, 1, 2, 4)
    lines = trace(script)
    (changed,) = of(lines, "ChangeConf", 1)
    assert changed["prop"] == {"cc": {"changes": [{"nid": "4", "action": "AddNewServer"}]}}
    assert changed["conf"] == [["1", "2", "3"], []]
    applied = of(lines, "ApplyConfChange", 2)
    assert [event["prop"]["cc"]["newconf"] for event in applied] == [["1", "2", "3"], ["1", "2", "3", "4"]]


def test_snapshot_is_a_request_with_its_last_index() -> None:
    fields = {"term": 2, "last_index": 40, "last_term": 2, "conf_index": 1}
    script = cluster().say(1, 2, "InstallSnapshot", fields, roles={1: VOTER, 2: VOTER}, data=bytes(8))
    lines = trace(script.result(2, 1, 2, 40))
    *_, sent = of(lines, "SendAppendEntriesRequest", 1)
    assert (sent["msg"]["type"], sent["msg"]["entries"]) == ("MsgSnap", 40)
    *_, answer = of(lines, "SendAppendEntriesResponse", 2)
    assert (answer["log"], answer["conf"]) == (40, [["1", "2"], []])


def test_clusters_in_one_capture_are_kept_apart() -> None:
    """The same servers on other addresses are another cluster, though their ids are the same."""
    other = Script(host="10.9.9.9").ask(1, 2, 9).vote(2, 1, 9, 1).append(1, 2, 9, (1, 1), command(9))
    packets = sorted([*cluster().packets(), *other.packets()], key=lambda packet: packet.time_ns)
    numbered = [packet._replace(frame=number) for number, packet in enumerate(packets, 1)]
    file = io.StringIO()
    written = StateTrace(file, Clock(), ())
    for batch in Dissection(numbered, ports=[PORT, 9002]).batches():
        written.feed(batch)
    written.finish()
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    leaders = {
        (line["cluster"], e["state"]["term"]) for line in lines if (e := line["event"])["name"] == "BecomeLeader"
    }
    assert len(leaders) == 2
    assert {term for _, term in leaders} == {2, 9}


WHOLE = [name for name in ("s5-canon-0.18.1", "s1-canon-0.9.0", "s7-cowsql-0.22.1-nopv") if name in RUNS]


@pytest.mark.parametrize("name", WHOLE)
def test_real_capture_has_every_message_and_the_leaders_that_logged_it(name: str) -> None:
    lines = run("audit", "--trace", "-", f"{name}.pcap").records
    sent = Counter(line["event"]["msg"]["type"] for line in lines if line["how"] == "observed")
    known = {"AppendEntries": "MsgApp", "AppendEntriesResult": "MsgAppResp", "InstallSnapshot": "MsgSnap"}
    messages = [r for r in run("messages", "--json", str(PCAPS / f"{name}.pcap")).records if "message" in r]
    assert {kind: sent[kind] for kind in known.values()} == {
        kind: sum(message["message"] == word for message in messages) for word, kind in known.items()
    }
    by_term = truth(name)["leaders_by_term"].items()
    logged = {(int(term), str(leader["node"])) for term, leaders in by_term for leader in leaders}
    found = {(e["state"]["term"], e["nid"]) for line in lines if (e := line["event"])["name"] == "BecomeLeader"}
    assert found == logged


@pytest.mark.parametrize("name", WHOLE)
def test_terms_only_grow_and_votes_are_those_that_servers_wrote_to_disk(name: str) -> None:
    terms: dict[str, int] = {}
    votes: set[tuple[str, int, str]] = set()
    for line in run("audit", "--trace", "-", f"{name}.pcap").records:
        event = line["event"]
        nid, term, vote = event["nid"], event["state"]["term"], event["state"]["vote"]
        assert term >= terms.get(nid, 0)
        terms[nid] = term
        if vote != "0":
            votes.add((nid, term, vote))
    assert votes
    assert votes <= {(str(vote["node"]), vote["term"], str(vote["id"])) for vote in truth(name)["votes_persisted"]}
