"""Leaders that call committed what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.mutants.declaring import mutant
from tests.mutants.editing import SECOND

if TYPE_CHECKING:
    from tests.mutations import Transcript, Utterance

MEMBERS = "s6-canon-0.18.1.pcap"
"""Server 3 leads term 2; the configurations of its voters are on the wire."""
TRANSFERS = "s5-canon-0.18.1.pcap"
"""Server 1 leads term 3 with a log up to entry 26 of term 2."""
PARTITIONS = "s7-canon-0.18.1-pv.pcap"
"""Server 1 has entries 13 to 23 of leader 4 of term 2, of which the others know nothing; server 3 leads term 3."""


@mutant("CM-01", MEMBERS)
def commits_beyond_its_log(talk: Transcript) -> Utterance:
    """A leader sends commit index 100,000 in the last two seconds, and has some 330 entries."""
    end = talk.find("AppendEntries", -1).time_ns
    changed = talk.all("AppendEntries", sender=3, where=lambda each: each.time_ns > end - 2 * SECOND)
    for each in changed:
        each.set(leader_commit=100_000)
    return changed[0]


@mutant("CM-02", "dq4-dqlite-1.18.6.pcap")
def commits_without_acknowledgements(talk: Transcript) -> Utterance:
    """From some entry on no follower acknowledges anything, and the leader goes on to commit."""
    leader = talk.find("AppendEntries", -1).sender
    results = talk.all("AppendEntriesResult", receiver=leader, rejected=0)
    middle = results[len(results) // 2]
    stop = middle.fields["last_log_index"]
    for each in results[len(results) // 2 :]:
        each.set(last_log_index=min(stop, each.fields["last_log_index"]))
    return talk.find(
        "AppendEntries", sender=leader, after=middle, where=lambda each: each.fields["leader_commit"] > stop
    )


@mutant("CM-03", TRANSFERS)
def counts_an_old_entry(talk: Transcript) -> Utterance:
    """The first commit index that a new leader reaches by counting is that of the last entry before its own."""
    own = talk.find("AppendEntries", term=3, where=lambda each: bool(each.entries))
    index = own.fields["prev_log_index"]
    assert talk.find("AppendEntries", term=3).fields["leader_commit"] < index
    counted = talk.find("AppendEntries", term=3, where=lambda each: each.fields["leader_commit"] > index)
    return counted.set(leader_commit=index)


@mutant("CM-04", TRANSFERS)
def commits_before_an_entry_of_its_own(talk: Transcript) -> Utterance:
    """The first two messages of a new leader raise its commit index from 24 to 25, an entry of an earlier leader."""
    first, second = talk.all("AppendEntries", term=3)[:2]
    first.set(leader_commit=24)
    return second


@mutant("CM-05", PARTITIONS)
def commits_over_other_entries(talk: Transcript) -> Utterance:
    """A heartbeat behind entry 12 with commit index 13 goes to a server that has another entry 13."""
    exposed = talk.find("AppendEntries", term=3, receiver=1, where=lambda each: each.fields["leader_commit"] > 12)
    return exposed.set_entries([])


@mutant("CM-06", PARTITIONS)
def commits_nothing(talk: Transcript) -> Utterance:
    """A new leader stays at commit index 11 for seven seconds, where the one before it had 12."""
    first = talk.find("AppendEntries", term=3)
    for each in talk.all("AppendEntries", term=3, where=lambda each: each.time_ns < first.time_ns + 7 * SECOND):
        each.set(leader_commit=11)
    return first
