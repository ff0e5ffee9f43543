"""Clusters that do not get on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect import wire
from raft_dissect.wire import table
from tests.mutants.declaring import mutant
from tests.mutants.editing import BEAT, SECOND, heartbeat, prolong, wait
from tests.packets import MILLISECOND

if TYPE_CHECKING:
    from tests.mutations import Transcript, Utterance

STABLE = "s1-canon-0.18.1.pcap"
"""Server 3 leads term 2 to the end, with a heartbeat every 100 ms."""
OLD = "s1-canon-0.11.3.pcap"
"""Server 1 leads term 2 to the end, with a log up to entry 170."""
SNAPSHOT = "s4-64k-canon-0.18.1.pcap"
"""Server 3 leads term 2 to the end; a snapshot tells that 1, 2 and 3 are the voters."""
TRANSFERS = "s5-canon-0.18.1.pcap"
DQLITE = "dq4-dqlite-1.18.6.pcap"
"""Changes tell that its three servers are the voters."""
BUSY = "s1-5n-cowsql-0.22.1.pcap"
"""Server 1 leads term 2, and has an entry to send whenever a heartbeat would be due."""


def say(talk: Transcript, sender: int, receiver: int, time_ns: int, name: str, layout: str, **fields: int) -> Utterance:
    """Let one server send another one a message."""
    data = wire.encode_message(table.MESSAGE_NUMBERS[name], fields, layout=layout)
    return talk.insert(data, sender, receiver, time_ns=time_ns)


@mutant("LIVE-01", STABLE)
def is_late(talk: Transcript) -> Utterance:
    """All that a leader says to one follower from some heartbeat on comes half a second later."""
    late = talk.find("AppendEntries", 40, sender=3, receiver=1)
    for message in [late, *talk.all(sender=3, receiver=1, after=late)]:
        talk.move(message, message.time_ns + 500 * MILLISECOND)
    return late


@mutant("LIVE-02", OLD)
def is_silent(talk: Transcript) -> Utterance:
    """Nobody says anything in the last three seconds."""
    prolong(talk, 3 * SECOND)
    return talk.find("AppendEntries", -1)


@mutant("LIVE-03", OLD)
def asks_in_vain(talk: Transcript) -> Utterance:
    """A follower asks for pre-votes three times, which the leader and the other follower refuse."""
    begin = talk.find("AppendEntriesResult", sender=2, last_log_index=17).time_ns
    fields = {"term": 3, "candidate_id": 2, "last_log_index": 17, "last_log_term": 2, "pre_vote": 1}
    for number in range(1, 4):
        time_ns = begin + number * SECOND
        asks, _ = [say(talk, 2, voter, time_ns, "RequestVote", "c-0.11.3", **fields) for voter in (1, 3)]
        for voter in (1, 3):
            say(talk, voter, 2, time_ns + MILLISECOND, "RequestVoteResult", "c-0.11.3", term=2, pre_vote=1)
    return asks


@mutant("LIVE-04", OLD)
def splits_the_votes(talk: Transcript) -> Utterance:
    """The leader is silent for a second, and both others stand in term 3 at the same time."""
    begin = prolong(talk, 3 * SECOND) + 1200 * MILLISECOND
    asks = []
    for candidate, other in ((2, 3), (3, 2)):
        fields = {"term": 3, "candidate_id": candidate, "last_log_index": 170, "last_log_term": 2}
        asks += [say(talk, candidate, to, begin, "RequestVote", "c-0.11.3", **fields) for to in (1, other)]
        say(talk, other, candidate, begin + MILLISECOND, "RequestVoteResult", "c-0.11.3", term=3)
    return asks[0]


@mutant("LIVE-05", OLD)
def cannot_count_what_it_is_granted(talk: Transcript) -> Utterance:
    """Server 2 stands in term 3 in vain; then server 3 grants it three pre-votes of term 4, with its own term 2."""
    begin = prolong(talk, 7 * SECOND)
    fields = {"candidate_id": 2, "last_log_index": 170, "last_log_term": 2}
    say(talk, 2, 3, begin + SECOND, "RequestVote", "c-0.11.3", term=3, **fields)
    say(talk, 3, 2, begin + 1001 * MILLISECOND, "RequestVoteResult", "c-0.11.3", term=2)
    for number in range(2, 5):
        time_ns = begin + number * SECOND
        say(talk, 2, 3, time_ns, "RequestVote", "c-0.11.3", term=4, pre_vote=1, **fields)
        time_ns += MILLISECOND
        granted = say(talk, 3, 2, time_ns, "RequestVoteResult", "c-0.11.3", term=2, vote_granted=1, pre_vote=1)
    return granted


@mutant("LIVE-06", STABLE)
def commits_late(talk: Transcript) -> Utterance:
    """Both followers acknowledge everything 50 ms later."""
    for answer in talk.all("AppendEntriesResult"):
        talk.move(answer, answer.time_ns + 50 * MILLISECOND)
    return talk.find("AppendEntries")


@mutant("LIVE-07", STABLE)
def falls_behind(talk: Transcript) -> Utterance:
    """A follower acknowledges only every second entry, and of the last eight none."""
    for answer in talk.all("AppendEntriesResult", sender=2):
        answer.set(last_log_index=min(82, 2 + (answer.fields["last_log_index"] - 2) // 2))
    return talk.find("AppendEntries", -1, receiver=2)


@mutant("LIVE-08", STABLE)
def answers_never(talk: Transcript) -> Utterance:
    """A follower votes, and then acknowledges nothing; TCP of its host does."""
    for answer in talk.all("AppendEntriesResult", sender=2):
        talk.drop(answer)
    return talk.find("AppendEntries", -1, receiver=2)


@mutant("LIVE-09", SNAPSHOT)
def leads_on_alone(talk: Transcript) -> Utterance:
    """No follower answers any more, and the leader sends heartbeats for another four seconds."""
    end = prolong(talk, 4 * SECOND)
    last = [talk.find("AppendEntries", -1, receiver=receiver) for receiver in (1, 2)]
    beats = [
        heartbeat(talk.duplicate(each, delay_ns=end + number * BEAT - each.time_ns))
        for number in range(1, 40)
        for each in last
    ]
    return beats[2 * 29]


@mutant("LIVE-10", TRANSFERS)
def changes_without_being_asked(talk: Transcript) -> Utterance:
    """Followers take over four times in seven seconds, to whom nobody has handed over."""
    for told in talk.all("TimeoutNow"):
        talk.drop(told)
    for asks in talk.all("RequestVote", disrupt_leader=1):
        asks.set(disrupt_leader=0)
    return talk.find("AppendEntries", term=6)


@mutant("LIVE-12", DQLITE)
def is_alone(talk: Transcript) -> Utterance:
    """The leader and a follower are heard no more; the other follower asks for votes in vain."""
    asks = talk.all("RequestVote")
    end = prolong(talk, 3 * SECOND)
    last = talk.find("AppendEntries", -1)
    for number in range(1, 4):
        for each in asks:
            delay_ns = end + number * 700 * MILLISECOND - each.time_ns
            again = talk.duplicate(each, delay_ns=delay_ns, sender=each.sender, receiver=each.receiver)
            again.set(term=1 + number, pre_vote=0, last_log_index=206)
    return last


@mutant("LIVE-13", BUSY)
def idles(talk: Transcript) -> Utterance:
    """A leader that had entries to send all the time sends heartbeats for a second."""
    wait(talk, talk.utterances[-1], SECOND, 1, 2, 3, 4, 5)
    return talk.find("AppendEntries")


@mutant("LIVE-14", "dq1-dqlite-1.18.6.pcap")
def has_two_voters(talk: Transcript) -> Utterance:
    """The last change makes the third server a standby, not a voter."""
    changes = talk.all("AppendEntries", prev_log_index=5, n_entries=1)
    for each in changes:
        *servers, third = wire.decode_configuration(each.entries[0].data)
        each.set_entry(0, data=wire.encode_configuration([*servers, third._replace(role=table.STANDBY)]))
    return changes[0]
