"""The latest messages, a few of each beat where there are many: the telling ones first."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from raft_dissect.live.screen.picture import MAX_HEADER, Seen
from raft_dissect.report.lines import colour, details
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raft_dissect.columns import MessageBatch
    from raft_dissect.values import Message, Stream

PER_BEAT = 40
"""Messages of one beat that are looked at."""
_KEPT = 300
"""Messages that are kept, of those that say something and of the others."""
_SECOND = 1_000_000_000
_STREAMS = 4096
"""Streams of which it is remembered what was said last."""


class Kept:
    """The latest messages of one cluster.

    Heartbeats that say nothing new, and their answers, are kept apart, so that they cannot drive out the others.
    """

    def __init__(self) -> None:
        self._telling: deque[Seen] = deque(maxlen=_KEPT)
        self._steady: deque[Seen] = deque(maxlen=_KEPT)
        self._all: tuple[Seen, ...] | None = ()

    def add(self, seen: Seen) -> None:
        """Keep a message."""
        (self._steady if seen.steady else self._telling).append(seen)
        self._all = None

    def all(self) -> tuple[Seen, ...]:
        """All that are kept, in their order."""
        if self._all is None:
            self._all = tuple(sorted((*self._telling, *self._steady)))
        return self._all


class Sampler:
    """Looks at messages; where more come than can be looked at, at some of them, rare types before others."""

    def __init__(self) -> None:
        self._said: dict[int, tuple[object, ...]] = {}
        self._left = PER_BEAT
        self.messages = 0
        """All that came."""
        self._looked = 0
        self._before = (0, 0)
        self._second = 0
        self.sampled = (0, 0)
        """Of the last second, if some were left out: how many were looked at, and how many there were."""

    def take(self, batch: MessageBatch) -> list[tuple[Stream, Seen]]:
        """Look at the messages of a batch, as far as there is time."""
        found = []
        first, rows = self.messages, batch.rows
        self.messages += rows
        chosen = range(rows) if rows <= self._left else sorted(self._choose(batch))
        self._left -= len(chosen)
        self._looked += len(chosen)
        for row in chosen:
            message = batch.message(row)
            found.append((message.stream, self._seen(message, first + row)))
        return found

    def beat(self, now_ns: int) -> None:
        """A beat has passed: as many messages can be looked at again."""
        self._left = PER_BEAT
        if now_ns // _SECOND != self._second:
            looked, messages = self._before
            looked, messages = self._looked - looked, self.messages - messages
            self.sampled = (looked, messages) if looked < messages else (0, 0)
            self._before = (self._looked, self.messages)
            self._second = now_ns // _SECOND

    def _choose(self, batch: MessageBatch) -> Iterable[int]:
        """As many rows as are left to look at: those of rare types, then the last ones."""
        if not self._left:
            return ()
        usual = (table.APPEND_ENTRIES, table.APPEND_ENTRIES_RESULT)
        rare = [row for row, shape in enumerate(batch.shapes[: batch.rows]) if shape & 0xFF not in usual]
        chosen = set(rare[-self._left :])
        row = batch.rows
        while len(chosen) < self._left and row:
            row -= 1
            chosen.add(row)
        return chosen

    def _seen(self, message: Message, serial: int) -> Seen:
        stream, handshake = message.stream, message.stream.handshake
        return Seen(
            serial,
            self._says_nothing_new(message),
            message.place,
            stream.number,
            str(stream.source),
            str(stream.destination),
            None if handshake is None else handshake.kind,
            message.name,
            details(message),
            colour(message),
            message.fields.get("term"),
            message.preamble,
            message.header[:MAX_HEADER],
            message.layout,
            message.payload_length,
            message.missing,
        )

    def _says_nothing_new(self, message: Message) -> bool:
        if message.type not in (table.APPEND_ENTRIES, table.APPEND_ENTRIES_RESULT):
            return False
        fields, number = message.fields, message.stream.number
        said = tuple(fields.values())
        known = self._said.get(number)
        if known is None and len(self._said) >= _STREAMS:
            self._said.clear()
        self._said[number] = said
        return said == known and not (message.partial or fields.get("n_entries") or fields.get("rejected"))
