"""Configurations that change as they must not, and servers that do not heed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect import wire
from raft_dissect.values import Endpoint
from raft_dissect.wire import table
from tests.mutants.declaring import mutant
from tests.mutants.editing import BEAT, SECOND, wait
from tests.packets import MILLISECOND

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.mutations import Channel, Transcript, Utterance

MEMBERS = "s6-canon-0.18.1.pcap"
"""Server 3 leads term 2, adds servers 4 and 5, and removes 4, 1 and at last, with entry 335, itself."""
DQLITE = "dq4-dqlite-1.18.6.pcap"
FIVE = "s1-5n-cowsql-0.22.1.pcap"
"""Server 1 leads term 2 and four followers, who have all of its 62 entries at the end."""


def changes(talk: Transcript, index: int) -> list[Utterance]:
    """The messages of which the only entry has this index."""
    return talk.all("AppendEntries", prev_log_index=index - 1, n_entries=1)


def put(message: Utterance, servers: Iterable[wire.Server]) -> Utterance:
    """Let the only entry of a message be a change to these servers."""
    return message.set_entry(0, type=table.CHANGE, data=wire.encode_configuration(servers))


def roles(servers: Iterable[wire.Server], changed: dict[int, int]) -> list[wire.Server]:
    """Servers of which some have other roles."""
    return [each._replace(role=changed.get(each.id, each.role)) for each in servers]


@mutant("MEM-01", MEMBERS)
def changes_twice_at_once(talk: Transcript) -> Utterance:
    """A leader adds a server with entry 336, right behind the change that it made with entry 335."""
    (first, *_) = changes(talk, 335)
    added = talk.opening(3, 1).handshake.address
    servers = [*wire.decode_configuration(first.entries[0].data), wire.Server(3, added, table.SPARE)]
    message, other = changes(talk, 336)
    put(other, servers)
    return put(message, servers)


@mutant("MEM-02", MEMBERS)
def changes_two_roles(talk: Transcript) -> Utterance:
    """A leader demotes server 4 with entry 172, and promotes server 5 with the same."""
    message, *others = changes(talk, 172)
    servers = roles(wire.decode_configuration(message.entries[0].data), {5: table.VOTER})
    for each in others:
        put(each, servers)
    return put(message, servers)


@mutant("MEM-03", MEMBERS)
def promotes_an_empty_server(talk: Transcript) -> Utterance:
    """A leader makes server 4 a voter, which acknowledges its first entry two seconds later."""
    promotion = changes(talk, 60)[0]
    late = promotion.time_ns + 2 * SECOND
    for each in talk.all("AppendEntriesResult", sender=4, rejected=0, where=lambda each: each.time_ns < late):
        talk.drop(each)
    return promotion


@mutant("MEM-04", MEMBERS)
def leads_on_without_a_vote(talk: Transcript) -> Utterance:
    """A leader that has removed itself sends heartbeats for half a second after this is committed."""
    removed = talk.find("AppendEntries", -1, sender=3)
    wait(talk, talk.find("RequestVote", after=removed), SECOND // 2, 3, 2, 5)
    for each in talk.all("AppendEntries", sender=3, after=removed):
        each.set(leader_commit=335)
    return talk.find("AppendEntries", 2, sender=3, receiver=2, leader_commit=335)


@mutant("MEM-05", DQLITE)
def asks_though_it_is_no_voter(talk: Transcript) -> Utterance:
    """A leader makes a voter a standby with entry 197, and that one asks for pre-votes twice."""
    asks = talk.all("RequestVote")
    server = asks[0].sender
    messages = changes(talk, 197)
    before = talk.find("AppendEntries", prev_log_index=5, n_entries=1)
    servers = wire.decode_configuration(before.entries[0].data)
    for each in messages:
        put(each, roles(servers, {server or 0: table.STANDBY}))
    for each in asks:
        for wait_ns in (SECOND // 2, SECOND):
            delay_ns = messages[0].time_ns + wait_ns - asks[0].time_ns
            talk.duplicate(each, delay_ns=delay_ns, sender=server, receiver=each.receiver).set(last_log_index=206)
    return talk.find("RequestVote", len(asks) * 2)


@mutant("MEM-06", FIVE)
def splits_the_cluster(talk: Transcript) -> Utterance:
    """Servers 4 and 5 get a configuration of their own by hand, and go on for six seconds beside the others."""
    for each in changes(talk, 2):
        put(each, [server(id_) for id_ in range(1, 6)])
    last = talk.find("AppendEntriesResult", -1)
    begin = last.time_ns + 2 * SECOND
    wait(talk, last, 9 * SECOND, 1, 2, 3)
    there, back = connect(talk, 4, 5, begin), connect(talk, 5, 4, begin + MILLISECOND)
    asks = {"term": 3, "candidate_id": 4, "last_log_index": 62, "last_log_term": 2}
    say(talk, there, begin + 2 * MILLISECOND, "RequestVote", asks)
    say(talk, back, begin + 3 * MILLISECOND, "RequestVoteResult", {"term": 3, "vote_granted": 1})
    own = (3, table.CHANGE, wire.encode_configuration([server(4), server(5)]))
    request = {"term": 3, "prev_log_index": 62, "prev_log_term": 2, "leader_commit": 61}
    result = {"term": 3, "last_log_index": 63}
    say(talk, there, begin + 4 * MILLISECOND, "AppendEntries", request, own)
    say(talk, back, begin + 5 * MILLISECOND, "AppendEntriesResult", result)
    request = {"term": 3, "prev_log_index": 63, "prev_log_term": 3, "leader_commit": 63}
    for time_ns in range(begin + BEAT, begin + 6 * SECOND, BEAT):
        say(talk, there, time_ns, "AppendEntries", request)
        answer = say(talk, back, time_ns + MILLISECOND, "AppendEntriesResult", result)
    return answer


def server(id_: int) -> wire.Server:
    """A voter of `FIVE`."""
    return wire.Server(id_, f"10.77.77.{id_}:8081", table.VOTER)


def connect(talk: Transcript, sender: int, receiver: int, time_ns: int) -> Channel:
    """A connection of one server of `FIVE` to another one."""
    hello = wire.encode_handshake("raft", sender, server(sender).address)
    client, listener = Endpoint(f"10.77.77.{sender}", 50000), Endpoint(f"10.77.77.{receiver}", 8081)
    return talk.connect(sender, receiver, client, listener, time_ns, hello)


def say(
    talk: Transcript,
    channel: Channel,
    time_ns: int,
    name: str,
    fields: dict[str, int],
    *entries: tuple[int, int, bytes],
) -> Utterance:
    """Let a server of `FIVE` say something."""
    data = wire.encode_message(table.MESSAGE_NUMBERS[name], fields, layout="w-0.22.1", entries=entries)
    return talk.say(channel, data, time_ns)
