"""Edits of a transcript that change many messages at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.packets import MILLISECOND

if TYPE_CHECKING:
    from tests.mutations import Transcript, Utterance

SECOND = 1000 * MILLISECOND
BEAT = 100 * MILLISECOND
"""Nanoseconds between two heartbeats of servers with the timers of libraft."""


def ends(request: Utterance) -> int:
    """The index of the last entry of AppendEntries, or of the one that they would follow."""
    return request.fields["prev_log_index"] + request.fields["n_entries"]


def exchanges(talk: Transcript, leader: int, follower: int) -> list[tuple[Utterance, Utterance]]:
    """AppendEntries of a leader to a follower who answers each of them, with the answers."""
    requests = talk.all("AppendEntries", sender=leader, receiver=follower)
    answers = talk.all("AppendEntriesResult", sender=follower, receiver=leader)
    pairs = list(zip(requests, answers, strict=False))
    assert all(request.time_ns <= answer.time_ns for request, answer in pairs)
    return pairs


def heartbeat(request: Utterance) -> Utterance:
    """Make AppendEntries a heartbeat behind what they brought."""
    last, term = ends(request), request.entries[-1].term if request.entries else request.fields["prev_log_term"]
    return request.set_entries([]).set(prev_log_index=last, prev_log_term=term)


def wait(talk: Transcript, until: Utterance, nanoseconds: int, leader: int, *followers: int) -> None:
    """Let an utterance and all behind it come later; meanwhile a leader sends heartbeats, and followers answer."""
    begin = until.time_ns
    for each in talk.utterances[talk.utterances.index(until) :]:
        each.time_ns += nanoseconds
    for channel in talk.channels:
        if channel.opened_ns is not None and channel.opened_ns >= begin:
            channel.opened_ns += nanoseconds
        if channel.ending is not None and channel.ending.time_ns >= begin:
            channel.ending = channel.ending._replace(time_ns=channel.ending.time_ns + nanoseconds)
    before = [each for each in talk.messages if each.time_ns < begin]
    for follower in followers:
        asked = [
            each for each in before if (each.name, each.sender, each.receiver) == ("AppendEntries", leader, follower)
        ][-1]
        answered = [
            each
            for each in before
            if (each.name, each.sender, each.receiver) == ("AppendEntriesResult", follower, leader)
        ][-1]
        for time_ns in range(begin, begin + nanoseconds - BEAT // 2, BEAT):
            heartbeat(talk.duplicate(asked, delay_ns=time_ns - asked.time_ns))
            talk.duplicate(answered, delay_ns=time_ns + MILLISECOND - answered.time_ns)


def prolong(talk: Transcript, nanoseconds: int) -> int:
    """Let the connections that are open at the end stay open for longer; give the time of the last message."""
    end = talk.messages[-1].time_ns
    for channel in talk.channels:
        if channel.ending is not None and channel.ending.time_ns >= end:
            channel.ending = channel.ending._replace(time_ns=channel.ending.time_ns + nanoseconds)
    return end
