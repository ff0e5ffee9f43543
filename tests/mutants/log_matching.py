"""Leaders whose logs do not agree with each other, or with themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.mutants.declaring import mutant

if TYPE_CHECKING:
    from tests.mutations import Transcript, Utterance

CANONICAL = "s1-canon-0.18.1.pcap"
"""Server 3 leads term 2 and sends every entry to 1 and to 2."""
CUT_OFF = "s3-cowsql-0.22.1.pcap"


def batch(talk: Transcript, receiver: int = 2) -> Utterance:
    """Eight entries of term 2, which server 1 is sent first."""
    return talk.find(nth=-3, receiver=receiver, entries=8)


@mutant("LM-01", CANONICAL)
def changes_one_bit_of_an_entry(talk: Transcript) -> Utterance:
    """One bit of an entry differs between two followers."""
    target = batch(talk)
    data = target.entries[3].data
    return target.set_entry(3, data=bytes([data[0] ^ 1]) + data[1:])


@mutant("LM-02", CANONICAL)
def has_an_entry_of_a_lower_term_inside(talk: Transcript) -> Utterance:
    """The fourth of eight entries of term 2 has term 1."""
    return batch(talk).set_entry(3, term=1)


@mutant("LM-02", CANONICAL)
def has_an_entry_of_a_higher_term(talk: Transcript) -> Utterance:
    """The last of eight entries that the leader of term 2 sends has term 3."""
    return batch(talk).set_entry(7, term=3)


@mutant("LM-02", CANONICAL)
def tells_the_first_follower_a_lower_term(talk: Transcript) -> Utterance:
    """The same in the message that comes first, so that the right one comes behind it."""
    return batch(talk, receiver=1).set_entry(3, term=1)


@mutant("LM-03", CANONICAL)
def names_another_term_for_the_entry_before(talk: Transcript) -> Utterance:
    """prev_log_term of a heartbeat is 1, where the leader has sent that entry with term 2."""
    return talk.find("AppendEntries", -3, receiver=2, n_entries=0).set(prev_log_term=1)


@mutant("LM-04", CUT_OFF)
def replaces_a_committed_entry(talk: Transcript) -> Utterance:
    """The leader of term 12 sends a follower entry 51 once more, with term 5 instead of 2."""
    last = talk.find("AppendEntries", -1, sender=3, receiver=2, term=12)
    again = talk.insert(talk.find(entries=1, prev_log_index=50).data, 3, 2, after=last)
    return again.set(term=12, leader_commit=last.fields["leader_commit"]).set_entry(0, term=5)


@mutant("LM-05", CANONICAL)
def names_an_older_entry_behind_its_own(talk: Transcript) -> Utterance:
    """A heartbeat names an entry of term 1 that would stand 1000 behind the leader's own of term 2."""
    target = talk.find("AppendEntries", -1, receiver=2, n_entries=0)
    return target.set(prev_log_term=1, prev_log_index=target.fields["prev_log_index"] + 1000)


@mutant("LM-06", CANONICAL)
def names_nothing_with_a_term(talk: Transcript) -> Utterance:
    """A heartbeat has prev_log_index 0 and prev_log_term 2."""
    return talk.find("AppendEntries", -1, receiver=2, n_entries=0).set(prev_log_index=0)


@mutant("LM-06", CANONICAL)
def names_an_entry_without_a_term(talk: Transcript) -> Utterance:
    """A heartbeat has prev_log_term 0 and the index of an entry."""
    return talk.find("AppendEntries", -1, receiver=2, n_entries=0).set(prev_log_term=0)
