"""Votes, candidates and leaders that Raft forbids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect import wire
from raft_dissect.wire import table
from tests.mutants.declaring import mutant
from tests.packets import MILLISECOND

if TYPE_CHECKING:
    from tests.mutations import Transcript, Utterance

NO_PRE_VOTE = "s7-cowsql-0.22.1-nopv.pcap"
PRE_VOTE = "s7-canon-0.18.1-pv.pcap"
DQLITE = "dq7-dqlite-1.18.6.pcap"
LOOPBACK = "lo-cowsql-0.22.1.pcap"
CUT_OFF = "s3-cowsql-0.22.1.pcap"
MEMBERS = "s6-canon-0.18.1.pcap"
CANONICAL = "s1-canon-0.18.1.pcap"


def refusal(talk: Transcript, number: int) -> Utterance:
    return talk.find("RequestVoteResult", number, vote_granted=0, pre_vote=0)


@mutant("EL-01", CANONICAL)
def leads_beside_another(talk: Transcript) -> Utterance:
    """A follower sends its leader a heartbeat of the leader's own term."""
    beat = talk.find("AppendEntries", 20, n_entries=0)
    return talk.duplicate(beat, sender=beat.receiver, receiver=beat.sender)


@mutant("EL-02", PRE_VOTE)
def votes_twice(talk: Transcript) -> Utterance:
    """A voter that has voted for another candidate in this term grants its vote instead of refusing it."""
    return refusal(talk, 13).set(vote_granted=1)


@mutant("EL-03", PRE_VOTE)
def votes_for_a_rival(talk: Transcript) -> Utterance:
    """A candidate grants another one its vote of the term in which it stands itself."""
    return refusal(talk, 2).set(vote_granted=1)


@mutant("EL-04", NO_PRE_VOTE)
def votes_for_a_shorter_log(talk: Transcript) -> Utterance:
    """A voter grants its vote to a candidate that lacks a committed entry which the voter has acknowledged."""
    return refusal(talk, 45).set(vote_granted=1)


@mutant("EL-05", CUT_OFF)
def tells_voters_different_things(talk: Transcript) -> Utterance:
    """A candidate names entry 29 to its second voter as its last one, after entry 28 to the first."""
    return talk.find("RequestVote", sender=2, receiver=3, term=3).set(last_log_index=29)


@mutant("EL-06", NO_PRE_VOTE)
def votes_in_another_term(talk: Transcript) -> Utterance:
    """A voter grants its vote in the term before the one that it is asked for."""
    vote = talk.find("RequestVoteResult", 12, vote_granted=1, pre_vote=0)
    return vote.set(term=vote.fields["term"] - 1)


@mutant("EL-06", NO_PRE_VOTE)
def votes_though_nobody_asked(talk: Transcript) -> Utterance:
    """A voter grants its vote in its own term, in which the candidate has asked for none."""
    return refusal(talk, 39).set(vote_granted=1)


@mutant("EL-07", DQLITE)
def stands_without_pre_votes(talk: Transcript) -> Utterance:
    """All pre-votes of term 2 are refused, and the candidate asks for votes all the same."""
    for vote in talk.all("RequestVoteResult", vote_granted=1, pre_vote=1, term=2):
        vote.set(vote_granted=0)
    return talk.find("RequestVote", pre_vote=0, term=2)


@mutant("EL-08", DQLITE)
def disrupts_its_leader(talk: Transcript) -> Utterance:
    """A candidate sets disrupt_leader, though no leader has sent it TimeoutNow."""
    requests = talk.all("RequestVote", pre_vote=0, term=2)
    for request in requests:
        request.set(disrupt_leader=1)
    return requests[0]


@mutant("EL-09", PRE_VOTE)
def deserts_its_leader(talk: Transcript) -> Utterance:
    """A follower that has just answered its leader grants a pre-vote."""
    return talk.find("RequestVoteResult", sender=5, receiver=2, pre_vote=1, term=7).set(vote_granted=1)


@mutant("EL-10", MEMBERS)
def votes_though_it_is_no_voter(talk: Transcript) -> Utterance:
    """Configuration 335 makes server 5 a standby instead of removing server 3, is committed, and 5 votes."""
    change = [wire.Server(id_, f"10.77.77.{id_}:9001", role) for id_, role in ((2, 1), (3, 1), (5, 0))]
    for message in talk.all(entries=1, prev_log_index=334):
        message.set_entry(0, data=wire.encode_configuration(change))
    last = talk.find("AppendEntries", -1, sender=3, receiver=5)
    fields = {"term": 2, "prev_log_index": 336, "prev_log_term": 2, "leader_commit": 336}
    beat = wire.encode_message(table.APPEND_ENTRIES, fields, layout="c-0.18.0")
    talk.insert(beat, 3, 5, time_ns=last.time_ns + 50 * MILLISECOND)
    talk.drop(talk.find("RequestVote", sender=5, receiver=2, term=3))
    talk.drop(talk.find("RequestVoteResult", sender=2, receiver=5))
    return talk.find("RequestVoteResult", sender=5, receiver=2, term=3).set(vote_granted=1)


@mutant("EL-11", DQLITE)
@mutant("EL-11", LOOPBACK)
def leads_without_votes(talk: Transcript) -> Utterance:
    """All votes of term 2 are refused, and the candidate leads all the same."""
    for vote in talk.all("RequestVoteResult", vote_granted=1, pre_vote=0, term=2):
        vote.set(vote_granted=0)
    return talk.find("AppendEntries", term=2)


@mutant("EL-12", CUT_OFF)
def leads_without_what_is_committed(talk: Transcript) -> Utterance:
    """A candidate that lacks the committed entry 177 gets the former leader's vote, and leads."""
    vote = talk.find("RequestVoteResult", sender=3, receiver=1, term=11).set(vote_granted=1)
    fields = {"term": 11, "prev_log_index": 105, "prev_log_term": 2, "leader_commit": 105}
    beat = wire.encode_message(table.APPEND_ENTRIES, fields, layout="w-0.22.1")
    return talk.insert(beat, 1, 3, time_ns=vote.time_ns + MILLISECOND)


@mutant("EL-13", MEMBERS)
def jumps_ahead(talk: Transcript) -> Utterance:
    """A candidate asks for votes in term 5000 instead of term 5, and is refused in that term."""
    asked = talk.find("RequestVote", term=5)
    for message in talk.all(where=lambda each: each.fields["term"] == 5):
        message.set(term=5000)
    return asked
