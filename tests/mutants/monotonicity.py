"""Servers that forget terms, votes and entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.mutants.declaring import mutant

if TYPE_CHECKING:
    from tests.mutations import Transcript, Utterance

CANONICAL = "s1-canon-0.18.1.pcap"
CUT_OFF = "s3-cowsql-0.22.1.pcap"
STALL = "s7-stall-canon-0.18.1.pcap"


def brings(message: Utterance, index: int) -> bool:
    """Whether AppendEntries bring an entry."""
    previous = message.fields["prev_log_index"]
    return previous < index <= previous + len(message.entries)


@mutant("MON-01", CUT_OFF)
def returns_to_an_old_term(talk: Transcript) -> Utterance:
    """A voter that has shown term 10 refuses its vote of term 11 in term 6."""
    return talk.find("RequestVoteResult", sender=3, receiver=1, term=11).set(term=6)


@mutant("MON-02", CANONICAL)
def takes_back_a_commit(talk: Transcript) -> Utterance:
    """A leader's heartbeat has a commit index that is 5 lower than the one before it."""
    beat = talk.find("AppendEntries", -1, receiver=2, n_entries=0)
    return beat.set(leader_commit=beat.fields["leader_commit"] - 5)


@mutant("MON-03", CUT_OFF)
def changes_its_own_log(talk: Transcript) -> Utterance:
    """A leader sends the first entry of its own term 5 to the second follower with term 2."""
    first = talk.find("AppendEntries", term=5, prev_log_index=105, where=lambda each: bool(each.entries))
    message = talk.find("AppendEntries", term=5, receiver=2, where=lambda each: brings(each, 106), after=first)
    return message.set_entry(105 - message.fields["prev_log_index"], term=2)


@mutant("MON-04", STALL)
def has_lost_what_it_acknowledged(talk: Transcript) -> Utterance:
    """A candidate that has acknowledged committed entries says that its log ends at entry 1."""
    requests = talk.all("RequestVote", pre_vote=0, term=9)
    for request in requests:
        request.set(last_log_index=1, last_log_term=1)
    return requests[0]


@mutant("MON-05", CUT_OFF)
def takes_back_an_acknowledgement(talk: Transcript) -> Utterance:
    """A follower acknowledges entries up to 1 after it has acknowledged more."""
    answers = talk.all("AppendEntriesResult", rejected=0)
    answer = next(each for each in reversed(answers) if each.fields["last_log_index"] > 20)
    return answer.set(last_log_index=1)


@mutant("MON-06", CANONICAL)
def leads_in_the_term_before(talk: Transcript) -> Utterance:
    """A leader of term 2 sends a heartbeat of term 1."""
    beat = talk.find("AppendEntries", -1, receiver=2, n_entries=0)
    return beat.set(term=1, prev_log_index=1, prev_log_term=1, leader_commit=1)
