"""Which streams belong together by what is asked and answered on them: for streams that do not say who sends."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from raft_dissect.values import Message, Stream

_Key = tuple[frozenset[str], int, int, int]
"""The two hosts, whether it is about votes, the term and the index."""
_VOTES, _ENTRIES = 1, 0

_ROUND_NS = 50_000_000
"""Nanoseconds in which a candidate asks all voters; an election timeout is longer."""


def same_candidate(messages: Iterable[Message]) -> Iterator[tuple[Stream, Stream]]:
    """Pairs of streams on which one candidate asks for votes in one round."""
    rounds: dict[tuple[str, bytes], Message] = {}
    for message in messages:
        if message.type == table.REQUEST_VOTE and "candidate_id" in message.fields:
            key = (message.stream.source.host, message.header)
            before = rounds.get(key)
            if before is not None and message.place.time_ns - before.place.time_ns <= _ROUND_NS:
                yield message.stream, before.stream
            rounds[key] = message


def partners(messages: Iterable[Message]) -> Iterator[tuple[Stream, Stream]]:
    """For each stream the one that goes back, if most of its messages ask or answer what is on that other one.

    An answer belongs to the last request of the same term and index before it, and a request to the first such answer
    behind it. Where two leaders are in the same term with the same log a few may be taken for others, but not most.
    """
    asked: dict[_Key, Stream] = {}
    waiting: dict[_Key, list[Stream]] = {}
    found: dict[Stream, Counter[Stream]] = {}
    total: Counter[Stream] = Counter()
    for message in sorted(messages, key=lambda message: message.place):
        key = _key_of(message)
        if key is None:
            continue
        stream = message.stream
        total[stream] += 1
        if message.type in (table.APPEND_ENTRIES, table.REQUEST_VOTE):
            asked[key] = stream
            waiting.setdefault(key, []).append(stream)
        elif key in asked:
            found.setdefault(stream, Counter())[asked[key]] += 1
            for request in waiting.pop(key, ()):
                found.setdefault(request, Counter())[stream] += 1
    for stream, counts in found.items():
        partner, times = counts.most_common(1)[0]
        if 2 * times > total[stream]:
            yield stream, partner


def _key_of(message: Message) -> _Key | None:
    """What a request and its answer have in common; None for messages that have no answer of their own."""
    fields = message.fields
    hosts = frozenset((message.stream.source.host, message.stream.destination.host))
    if message.type in (table.REQUEST_VOTE, table.REQUEST_VOTE_RESULT) and "term" in fields:
        return hosts, _VOTES, fields["term"], 0
    if message.type == table.APPEND_ENTRIES and "prev_log_index" in fields:
        return hosts, _ENTRIES, fields["term"], fields["prev_log_index"] + len(message.entries)
    if message.type == table.APPEND_ENTRIES_RESULT and "last_log_index" in fields and not fields["rejected"]:
        return hosts, _ENTRIES, fields["term"], fields["last_log_index"]
    return None
