"""Leadership transfers that go to the wrong server, or go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect import wire
from raft_dissect.wire import table
from tests.mutants.declaring import mutant
from tests.mutants.editing import ends
from tests.packets import MILLISECOND

if TYPE_CHECKING:
    from tests.mutations import Transcript, Utterance

TRANSFERS = "s5-canon-0.18.1.pcap"
"""Server 2 leads term 2, and hands over to server 1 with a log up to entry 26; four transfers in all."""
STABLE = "s1-canon-0.18.1.pcap"
"""Server 3 leads term 2 to the end."""


def timeout_now(index: int) -> bytes:
    """A TimeoutNow of the leader of term 2."""
    fields = {"term": 2, "last_log_index": index, "last_log_term": 2}
    return wire.encode_message(table.TIMEOUT_NOW, fields, layout="c-0.18.0")


@mutant("LT-01", "s6-canon-0.18.1.pcap")
def hands_over_to_a_standby(talk: Transcript) -> Utterance:
    """A leader sends TimeoutNow to server 5, a standby by entry 222, which it makes a voter with entry 253."""
    entries = talk.find("AppendEntries", sender=3, receiver=5, where=lambda each: ends(each) >= 222)
    return talk.insert(timeout_now(222), 3, 5, after=entries)


@mutant("LT-02", TRANSFERS)
def hands_over_too_early(talk: Transcript) -> Utterance:
    """The target of a transfer has not acknowledged the last entry of its leader."""
    told = talk.find("TimeoutNow")
    talk.drop(talk.find("AppendEntriesResult", sender=told.receiver, receiver=told.sender, last_log_index=26))
    return told


@mutant("LT-03", STABLE)
def hands_over_in_vain(talk: Transcript) -> Utterance:
    """A leader sends TimeoutNow to a follower, and nothing happens."""
    return talk.insert(timeout_now(10), 3, 1, after=talk.find("AppendEntriesResult", sender=1, last_log_index=10))


@mutant("LT-04", TRANSFERS)
def goes_on_while_it_hands_over(talk: Transcript) -> Utterance:
    """A leader sends its target another entry a millisecond after TimeoutNow."""
    told = talk.find("TimeoutNow")
    last = talk.find("AppendEntries", -1, sender=told.sender, receiver=told.receiver, term=2, n_entries=1)
    return talk.duplicate(last, delay_ns=told.time_ns + MILLISECOND - last.time_ns).set(prev_log_index=26)


@mutant("LT-05", TRANSFERS)
def hands_over_to_two(talk: Transcript) -> Utterance:
    """A leader sends TimeoutNow to both of its followers."""
    told = talk.find("TimeoutNow", 1)
    assert (told.sender, told.receiver) == (1, 3)
    return talk.duplicate(told, sender=1, receiver=2)
