"""Snapshots that say what is not so, or are sent and installed as they should not be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect import wire
from raft_dissect.wire import table
from tests.mutants.declaring import mutant
from tests.mutants.editing import SECOND, wait
from tests.mutations import Ending
from tests.packets import MILLISECOND

if TYPE_CHECKING:
    from tests.mutations import Transcript, Utterance

CANONICAL = "s4-64k-canon-0.18.1.pcap"
"""Server 3 leads term 2, and sends server 1, whose log ends at 10, a snapshot up to 168 with configuration 1."""


def snapshot(talk: Transcript) -> Utterance:
    return talk.find("InstallSnapshot")


def answer(talk: Transcript) -> Utterance:
    return talk.find("AppendEntriesResult", sender=1, after=snapshot(talk), last_log_index=168)


@mutant("SN-01", CANONICAL)
def has_a_term_that_its_last_entry_has_not(talk: Transcript) -> Utterance:
    """A snapshot up to an entry of term 2 says that its last entry has term 9."""
    return snapshot(talk).set(last_term=9)


@mutant("SN-01", CANONICAL)
def has_a_configuration_from_behind_it(talk: Transcript) -> Utterance:
    """A snapshot up to entry 168 has the configuration of entry 4000."""
    return snapshot(talk).set(conf_index=4000)


@mutant("SN-01", CANONICAL)
def holds_what_is_not_committed(talk: Transcript) -> Utterance:
    """A snapshot says that it goes up to entry 1000, where the leader has committed 192."""
    return snapshot(talk).set(last_index=1000)


@mutant("SN-02", CANONICAL)
def is_sent_again(talk: Transcript) -> Utterance:
    """A leader sends a snapshot once more, two milliseconds later and before it is answered."""
    return talk.duplicate(snapshot(talk), delay_ns=2 * MILLISECOND)


@mutant("SN-03", CANONICAL)
def is_sent_to_a_silent_server(talk: Transcript) -> Utterance:
    """A leader sends a second snapshot to a follower that it has heard nothing of for two seconds."""
    wait(talk, answer(talk), 2500 * MILLISECOND, 3, 2)
    return talk.duplicate(snapshot(talk), delay_ns=2 * SECOND)


@mutant("SN-04", CANONICAL)
def is_followed_by_no_heartbeats(talk: Transcript) -> Utterance:
    """A follower takes a second to install a snapshot, in which its leader sends heartbeats to the other one alone."""
    wait(talk, answer(talk), SECOND, 3, 2)
    return snapshot(talk)


@mutant("SN-05", CANONICAL)
def is_cut_off(talk: Transcript) -> Utterance:
    """A snapshot ends after 1000 bytes, when its connection is reset; its follower is sent nothing any more."""
    cut = snapshot(talk)
    for each in [*talk.all(sender=3, receiver=1, after=cut), *talk.all(sender=1, receiver=3, after=cut)]:
        talk.drop(each)
    cut.channel.ending = Ending("rst", cut.time_ns + MILLISECOND, by_client=True)
    cut.data = cut.data[:1000]
    return cut


@mutant("SN-06", CANONICAL)
def is_accepted_with_less(talk: Transcript) -> Utterance:
    """A follower that has answered all before accepts a snapshot up to 168, and says that its log ends at 167."""
    first, *_ = (each for each in talk.openings if each.channel is snapshot(talk).channel)
    talk.drop(talk.find("AppendEntries", -1, sender=3, receiver=1, where=lambda each: each.time_ns < first.time_ns))
    return answer(talk).set(last_log_index=167)


@mutant("SN-07", "s1-hostnames-cowsql-0.22.1.pcap")
def differs_from_another(talk: Transcript) -> Utterance:
    """One bit differs between two snapshots up to the same entry."""
    second = talk.find("InstallSnapshot", 1)
    return second.set_snapshot(bytes([second.payload[0] ^ 1]) + second.payload[1:])


@mutant("SN-08", CANONICAL)
def is_installed_by_a_candidate(talk: Transcript) -> Utterance:
    """A follower takes half a second to install a snapshot, and asks its leader for a pre-vote meanwhile."""
    wait(talk, answer(talk), SECOND // 2, 3, 2)
    fields = {"term": 3, "candidate_id": 1, "last_log_index": 10, "last_log_term": 2, "pre_vote": 1}
    asks = wire.encode_message(table.REQUEST_VOTE, fields, layout="c-0.18.0")
    return talk.insert(asks, 1, 3, time_ns=snapshot(talk).time_ns + 300 * MILLISECOND)


@mutant("SN-09", CANONICAL)
def is_sent_though_little_is_missing(talk: Transcript) -> Utterance:
    """A follower that is sent a snapshot up to entry 168 has said that its log ends at 100."""
    for refusal in talk.all(
        "AppendEntriesResult", sender=1, last_log_index=10, where=lambda each: each.fields["rejected"] > 0
    ):
        refusal.set(last_log_index=100)
    return snapshot(talk)
