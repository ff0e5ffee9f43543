"""Real captures written again as other releases would have written them: servers that cannot decode each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_dissect import messages
from raft_dissect.values import Message
from tests.captures import packets
from tests.packets import MILLISECOND
from tests.scripts import Script

if TYPE_CHECKING:
    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.values import Endpoint

FILE = "s9-canon0.18.1+cowsql0.22.1.pcap"
"""Server 2 runs cowsql 0.22.1, servers 1 and 3 canonical 0.18.1: elections, transfers, a snapshot."""


REFUSED = ("RequestVote", "RequestVoteResult", "AppendEntriesResult")
"""What releases before 0.17.1 refuse when it has a version byte (protocol document, section 8.1)."""


def said() -> list[tuple[int, int, Message]]:
    """Sender, receiver and message; the servers have addresses by their ids."""
    found = sorted((one for one in messages(packets(FILE)) if isinstance(one, Message)), key=lambda one: one.place)
    return [(_id(one.stream.source), _id(one.stream.destination), one) for one in found]


def _id(end: Endpoint) -> int:
    return int(end.host.rpartition(".")[2])


def written_by(canonical: str, cowsql: str) -> ClusterFacts:
    """What the servers said, in these layouts; zeros stand for the data of entries and snapshots."""
    script = Script(cowsql)
    everything = said()
    began = everything[0][2].place.time_ns
    for sender, receiver, message in everything:
        script.layout = cowsql if sender == 2 else canonical
        entries = [(entry.term, entry.type, bytes(entry.size)) for entry in message.entries]
        roles = {server.id: server.role for server in message.configuration or ()}
        script.at((message.place.time_ns - began) / MILLISECOND)
        script.say(sender, receiver, message.name, message.fields, entries=entries, roles=roles)
    return script.facts()


@pytest.mark.parametrize(("canonical", "certain"), [("c-0.9.21", True), ("c-0.11.3", False)])
def test_old_releases_cannot_decode_the_votes_and_results_of_a_new_cowsql(canonical: str, certain: bool) -> None:
    expected = {
        (2, reader, tuple(name for name in REFUSED if name in sent), "refused", certain)
        for reader in (1, 3)
        if (sent := {message.name for sender, receiver, message in said() if (sender, receiver) == (2, reader)})
    }
    assert len(expected) == 2
    assert {one[:5] for one in written_by(canonical, "w-0.22.1").incompatible} == expected


def test_releases_that_were_measured_to_understand_each_other_are_no_pair() -> None:
    facts = written_by("c-0.18.0", "w-0.22.1")
    assert facts.incompatible == ()
    assert [(one.term, one.leader) for one in facts.leaders][:1] == [(2, 2)]
