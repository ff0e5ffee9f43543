"""Followers that answer wrongly, and leaders that do not heed the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect import wire
from raft_dissect.wire import table
from tests.mutants.declaring import mutant
from tests.mutants.editing import SECOND, ends, exchanges, wait
from tests.packets import MILLISECOND

if TYPE_CHECKING:
    from tests.mutations import Transcript, Utterance

CANONICAL = "s1-canon-0.18.1.pcap"
"""Server 3 leads term 2 to the end."""
COWSQL = "s1-cowsql-0.20.0.pcap"
"""Server 1 leads term 2 to the end."""
CUT_OFF = "s3-cowsql-0.22.1.pcap"
MEMBERS = "s6-canon-0.18.1.pcap"
"""Server 3 leads; server 4 is a spare by entry 32, and is made a standby 1.3 s later."""


@mutant("REPL-01", CANONICAL)
def refuses_what_was_never_asked(talk: Transcript) -> Utterance:
    """A follower refuses entry 7777, which its leader has not named."""
    return talk.find("AppendEntriesResult", 20, sender=2).set(rejected=7777)


@mutant("REPL-02", CANONICAL)
def cannot_store(talk: Transcript) -> Utterance:
    """A follower cannot write the entries behind 2 to its disk and refuses 3; they are sent again."""
    request, answer = next(each for each in exchanges(talk, 3, 1) if ends(each[0]) == 10)
    talk.duplicate(request, delay_ns=50 * MILLISECOND)
    talk.duplicate(answer, delay_ns=51 * MILLISECOND)
    return answer.set(rejected=3, last_log_index=2)


@mutant("REPL-03", CUT_OFF)
def hints_at_the_refused_index(talk: Transcript) -> Utterance:
    """A follower refuses entry 105 and names it as the last one of its log, not 28."""
    return talk.find("AppendEntriesResult", term=5, rejected=105, last_log_index=28).set(last_log_index=105)


@mutant("REPL-04", MEMBERS)
def does_not_go_back(talk: Transcript) -> Utterance:
    """A leader goes on to ask a server with an empty log what it has of entry 32."""
    refused = talk.find("AppendEntriesResult", sender=4, rejected=32)
    for request in talk.all("AppendEntries", sender=3, receiver=4, after=refused):
        request.set_entries([]).set(prev_log_index=32, prev_log_term=2)
    for answer in talk.all("AppendEntriesResult", sender=4, after=refused):
        answer.set(rejected=32, last_log_index=0)
    late = refused.time_ns + 3 * SECOND
    return talk.find("AppendEntries", sender=3, receiver=4, where=lambda each: each.time_ns >= late)


@mutant("REPL-05", CANONICAL)
def acknowledges_what_was_never_sent(talk: Transcript) -> Utterance:
    """A follower acknowledges entries up to 7777, of which its leader has sent it few."""
    return talk.find("AppendEntriesResult", 20, sender=2).set(last_log_index=7777)


@mutant("REPL-06", CANONICAL)
def leads_on(talk: Transcript) -> Utterance:
    """A follower tells its leader of a higher term at once, and the leader goes on for eight seconds."""
    wait(talk, talk.find("AppendEntries", -1, sender=3, receiver=1), SECOND // 2, 3, 1, 2)
    for request, answer in exchanges(talk, 3, 2):
        answer.set(term=3, rejected=request.fields["prev_log_index"], last_log_index=1)
    told = talk.find("AppendEntriesResult", term=3).time_ns
    beats = talk.all("AppendEntries", receiver=1)
    first = next(each.time_ns for each in beats if each.time_ns >= told + 3 * SECOND)
    return next(each for each in beats if each.time_ns >= first + 5 * SECOND)


@mutant("REPL-07", MEMBERS)
def sends_to_a_spare(talk: Transcript) -> Utterance:
    """A leader sends entries to a spare, which it promotes only a minute later."""
    first = talk.find("AppendEntries", sender=3, receiver=4)
    wait(talk, talk.opening(3, 4), 5 * SECOND, 3, 1, 2)
    again = talk.find("AppendEntries", after=first, receiver=4)
    wait(talk, again, 61 * SECOND, 3, 1, 2)
    return again


@mutant("REPL-08", CANONICAL)
def answers_nothing(talk: Transcript) -> Utterance:
    """A follower answers no heartbeat for more than six seconds, and asks for pre-votes instead."""
    silent, _ = exchanges(talk, 3, 1)[10]
    end = silent.time_ns + 6500 * MILLISECOND
    for answer in talk.all("AppendEntriesResult", sender=1, after=silent, where=lambda each: each.time_ns < end):
        talk.drop(answer)
    fields = {"term": 3, "candidate_id": 1, "last_log_index": 18, "last_log_term": 2, "pre_vote": 1}
    asks = wire.encode_message(table.REQUEST_VOTE, fields, layout="c-0.18.0")
    for seconds in (2, 4, 6):
        talk.insert(asks, 1, 3, time_ns=silent.time_ns + seconds * SECOND)
    return silent


@mutant("REPL-09", CANONICAL)
def sends_the_same_again(talk: Transcript) -> Utterance:
    """A leader sends the same entries six times, until the follower answers late."""
    request, answer = next(each for each in exchanges(talk, 3, 1) if ends(each[0]) == 10)
    again = [talk.duplicate(request, delay_ns=number * 25 * MILLISECOND) for number in range(1, 6)]
    talk.move(answer, answer.time_ns + 150 * MILLISECOND)
    for _ in again:
        talk.duplicate(answer)
    return again[-1]


@mutant("REPL-10", COWSQL)
def sends_more_than_the_window(talk: Transcript) -> Utterance:
    """A leader sends a follower ever more entries, though it has not acknowledged the 33rd last one."""
    pairs = exchanges(talk, 1, 3)
    slow = next(number for number, (_, answer) in enumerate(pairs) if answer.fields["last_log_index"] >= 20)
    acknowledged = pairs[slow - 1][1].fields["last_log_index"]
    beyond = next(request for request, _ in pairs if ends(request) > acknowledged + 32)
    late = beyond.time_ns + 10 * MILLISECOND
    for _, answer in pairs[slow:]:
        if answer.time_ns < late:
            talk.move(answer, late)
    return beyond
