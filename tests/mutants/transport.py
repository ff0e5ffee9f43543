"""Connections that no server opens, and captures of which bytes are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect import wire
from raft_dissect.audit.judge import GRACE_NS
from raft_dissect.wire import table
from tests.mutants.declaring import mutant
from tests.mutations import Ending
from tests.packets import MILLISECOND

if TYPE_CHECKING:
    from raft_dissect.values import Endpoint
    from tests.mutations import Channel, Transcript, Utterance

COWSQL = "s2-cowsql-0.22.1.pcap"
CANONICAL = "s1-canon-0.18.1.pcap"
SNAPSHOT = "s1-hostnames-cowsql-0.22.1.pcap"
FOLLOWER, LEADER = 1, 3
"""Of CANONICAL."""


def of_another_port(channel: Channel, more: int) -> Endpoint:
    """The client's end of another connection from the same server."""
    return channel.client._replace(port=channel.client.port + more)


@mutant("HS-01", CANONICAL)
def has_protocol_2(talk: Transcript) -> Utterance:
    """A handshake begins with protocol 2."""
    return talk.opening(FOLLOWER, LEADER).patch(0, b"\x02")


@mutant("HS-02", CANONICAL)
def has_no_end_of_its_address(talk: Transcript) -> Utterance:
    """The address of a handshake goes on where its NUL must stand."""
    return talk.opening(FOLLOWER, LEADER).patch(-1, b"x")


@mutant("HS-02", CANONICAL)
def has_no_address(talk: Transcript) -> Utterance:
    """The address of a handshake is empty."""
    return talk.opening(FOLLOWER, LEADER).patch(24, bytes(16))


@mutant("HS-02", CANONICAL)
def has_an_address_of_an_odd_length(talk: Transcript) -> Utterance:
    """The address of a handshake has 20 bytes with its padding."""
    opening = talk.opening(FOLLOWER, LEADER).patch(16, (20).to_bytes(8, "little"))
    opening.data += bytes(4)
    return opening


@mutant("HS-03", COWSQL)
def moves(talk: Transcript) -> Utterance:
    """Server 1 gives another address in its second handshake to server 2."""
    return talk.opening(1, 2, 1).set_handshake(address="10.77.77.9:9001")


@mutant("HS-04", CANONICAL)
def answers_on_the_same_connection(talk: Transcript) -> Utterance:
    """A follower answers its leader on the leader's connection."""
    after = talk.find("AppendEntries", 10, sender=LEADER, receiver=FOLLOWER)
    handshake = wire.encode_handshake("raft", FOLLOWER, "10.77.77.1:9001")
    opening = talk.insert(handshake, FOLLOWER, LEADER, after=after, opening=True, backwards=True)
    answer = talk.find("AppendEntriesResult", sender=FOLLOWER).data
    talk.insert(answer, FOLLOWER, LEADER, after=opening, backwards=True)
    return opening


@mutant("HS-05", CANONICAL)
def uses_an_older_connection(talk: Transcript) -> Utterance:
    """The leader opens a second connection to a follower, and goes on using the first one."""
    begun = talk.find("AppendEntries", 40, sender=LEADER, receiver=FOLLOWER)
    handshake = talk.opening(LEADER, FOLLOWER).data
    client = of_another_port(begun.channel, 1)
    talk.connect(LEADER, FOLLOWER, client, begun.channel.server, begun.time_ns, handshake)
    soon = begun.time_ns + GRACE_NS
    return talk.find(nth=-1, where=lambda each: each.channel is begun.channel and each.time_ns < soon)


@mutant("HS-06", COWSQL)
def asks_in_the_name_of_another(talk: Transcript) -> Utterance:
    """A candidate that is refused names server 7 in its vote request."""
    refusal = talk.find("RequestVoteResult", vote_granted=0)
    asked = talk.all("RequestVote", sender=refusal.receiver, receiver=refusal.sender)
    return [each for each in asked if each.time_ns <= refusal.time_ns][-1].set(candidate_id=7)


@mutant("HS-07", SNAPSHOT)
def is_no_member(talk: Transcript) -> Utterance:
    """Server 9, which is in no configuration, asks server 1 for a pre-vote."""
    asks = talk.find("AppendEntries", 20, receiver=1, after=talk.find("InstallSnapshot"))
    end = asks.channel.client
    handshake = wire.encode_handshake("raft", 9, "raft-node-9:17000")
    channel = talk.connect(9, 1, end._replace(port=end.port + 1), asks.channel.server, asks.time_ns, handshake)
    fields = {
        "term": asks.fields["term"] + 1,
        "candidate_id": 9,
        "last_log_index": 1,
        "last_log_term": 1,
        "pre_vote": 1,
    }
    talk.say(channel, wire.encode_message(table.REQUEST_VOTE, fields, layout="w-0.22.1"), asks.time_ns + MILLISECOND)
    return talk.opening(9, 1)


@mutant("HS-08", CANONICAL)
def opens_a_connection_for_each_message(talk: Transcript) -> Utterance:
    """The leader's connection to a follower is reset by it after each of six heartbeats, and opened again."""
    first, *others = talk.all("AppendEntries", sender=LEADER, receiver=FOLLOWER, n_entries=0)[-12:]
    old, handshake = first.channel, talk.opening(LEADER, FOLLOWER).data
    ending, said = old.ending, [each for each in talk.messages if each.channel is old]
    for number, beat in enumerate(others[:6], 1):
        before = said[said.index(beat) - 1]
        before.channel.ending = Ending("rst", before.time_ns + MILLISECOND, by_client=False)
        opened_ns = beat.time_ns - 2 * MILLISECOND
        channel = talk.connect(LEADER, FOLLOWER, of_another_port(old, number), old.server, opened_ns, handshake)
        for each in said[said.index(beat) :]:
            each.channel = channel
        channel.ending = ending
    return talk.opening(LEADER, FOLLOWER, 1)


@mutant("TCP-01", CANONICAL)
def is_not_captured(talk: Transcript) -> Utterance:
    """The capture lacks one AppendEntries of the leader."""
    lost = talk.find("AppendEntries", 30, sender=LEADER, receiver=FOLLOWER)
    talk.lose(lost)
    return talk.find(sender=LEADER, receiver=FOLLOWER, after=lost)
