"""The messages of some telling seconds, collected in bounded number while a capture is read."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from raft_dissect.report.html.rows import values
from raft_dissect.report.lines import details
from raft_dissect.values import Diagnostic, Message
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from raft_dissect.cluster import Identities
    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.columns import MessageBatch
    from raft_dissect.selection import Moment
    from raft_dissect.values import Event, Place, Stream

    Of = Callable[[Stream], bool]

MOST_MESSAGES = 2000
"""That are kept of an interval, or of all places that may turn out to be the most telling one."""
_BEFORE = 12
"""Messages before a telling one that are kept with it."""
_AFTER = 140
"""Messages from a telling one on that are kept, unless they come later than this:"""
_AFTER_NS = 2_000_000_000
_AGAIN_NS = 500_000_000
"""From a telling message on until another one is worth a beginning of its own."""
_FEW = 30
"""Messages of a cluster that are too few to be a ladder if the next ones are kept as well."""
_PLACES = 4
"""Telling messages of each type around which others are kept."""
_TYPE = 0xFF
"""Of the column of shapes: the type of the message."""
_TELLING = (table.REQUEST_VOTE, table.INSTALL_SNAPSHOT, table.TIMEOUT_NOW)


class Sighting(NamedTuple):
    """A message, or a hole in a stream, as the ladder shows it."""

    place: Place
    sender: ServerName
    receiver: ServerName
    name: str
    """Of the message, or the kind of the diagnostic."""
    details: str
    quiet: bool
    """Whether it is a heartbeat or a success, which say nothing new."""
    steady: bool
    """Whether it is AppendEntries of any kind or a success."""
    refusal: bool
    diagnostic: bool


class Ladder(NamedTuple):
    """The messages of one interval, in the order of time."""

    sightings: tuple[Sighting, ...]
    first_ns: int
    last_ns: int
    left_out: int
    """Messages of the interval that are not kept, as there are too many."""
    asked_for: bool
    """Whether somebody asked for this interval."""


_Kept = Message | Diagnostic


class IntervalCollector:
    """Keeps the messages of an interval that somebody asked for."""

    def __init__(self, begin: Moment | None, end: Moment | None) -> None:
        self._begin = begin
        self._end = end
        self._kept: list[_Kept] = []
        self._left_out: Counter[Stream] = Counter()
        self._first_ns = 0
        self._last_ns = 0

    def feed(self, batch: MessageBatch, begin_ns: int) -> None:
        """Take a batch of a capture that begins at `begin_ns`."""
        rows = len(batch)
        self._first_ns = begin_ns if self._begin is None else self._begin.nanoseconds(begin_ns)
        self._last_ns = 2**62 if self._end is None else self._end.nanoseconds(begin_ns)
        times = values(batch.times, 0, rows)
        if rows and min(times) < self._last_ns and max(times) >= self._first_ns:
            for row, time_ns in enumerate(times):
                if self._first_ns <= time_ns < self._last_ns:
                    self._keep(batch, row)
        for _, event in batch.others:
            if _is_hole(event) and self._first_ns <= event.place.time_ns < self._last_ns:
                self._kept.append(event)

    def _keep(self, batch: MessageBatch, row: int) -> None:
        if len(self._kept) < MOST_MESSAGES:
            self._kept.append(batch.message(row))
        else:
            stream = batch.streams[row]
            assert stream is not None
            self._left_out[stream] += 1

    def ladder(self, identities: Identities, of: Of, _: Sequence[int], end_ns: int) -> Ladder:
        """What was kept of the streams for which `of` is true, of a capture that ends at `end_ns`."""
        last_ns = min(self._last_ns, end_ns)
        left_out = sum(count for stream, count in self._left_out.items() if of(stream))
        return Ladder(_sightings(self._kept, identities, of), self._first_ns, last_ns, left_out, True)


class TellingCollector:
    """Keeps the messages around the first ones of those that tell of a change, until it is known what matters most."""

    def __init__(self) -> None:
        self._excerpts: list[list[_Kept]] = [[]]
        self._shared: list[int | None] = [None]
        """How many messages each has from the one before, if it goes on where that one ends."""
        self._ended = False
        """Whether an excerpt ended at the row that is looked at."""
        self._current: list[_Kept] | None = self._excerpts[0]
        self._since_ns = 0
        self._left = _AFTER
        self._recent: deque[Message] = deque(maxlen=_BEFORE)
        self._places: Counter[int] = Counter()

    def feed(self, batch: MessageBatch, _: int) -> None:
        """Take a batch."""
        rows = len(batch)
        row = 0
        self._ended = False
        while row < rows:
            row = self._next_telling(batch, row) if self._current is None else self._continue(batch, row)
        for number in range(max(rows - _BEFORE, 0), rows):
            self._recent.append(batch.message(number))
        for _, event in batch.others:
            if _is_hole(event) and self._current is not None:
                self._current.append(event)

    def _continue(self, batch: MessageBatch, row: int) -> int:
        """Keep messages from a row on, and give the first row that is not kept."""
        assert self._current is not None
        wanted = self._wanted()
        while row < len(batch) and self._left:
            time_ns = batch.times[row]
            self._since_ns = self._since_ns or time_ns
            again = batch.shapes[row] & _TYPE in wanted and time_ns - self._since_ns > _AGAIN_NS
            if again or time_ns - self._since_ns > _AFTER_NS:
                break
            self._current.append(batch.message(row))
            self._left -= 1
            row += 1
        if row < len(batch):
            self._current = None
            self._ended = True
        return row

    def _wanted(self) -> list[int]:
        return [type_ for type_ in _TELLING if self._places[type_] < _PLACES]

    def _next_telling(self, batch: MessageBatch, begin: int) -> int:
        """Begin to keep messages at the next one that is telling, and give its row, or the end."""
        wanted = self._wanted()
        rows = len(batch)
        shapes = values(batch.shapes, begin, rows)
        if not wanted or not any(shape & _TYPE in wanted for shape in set(shapes)):
            return rows
        row = begin + next(number for number, shape in enumerate(shapes) if shape & _TYPE in wanted)
        self._places[batch.shapes[row] & _TYPE] += 1
        before = [batch.message(number) for number in range(max(0, row - _BEFORE), row)]
        if len(before) < _BEFORE:
            before = [*list(self._recent)[len(before) - _BEFORE :], *before]
        self._current = list(before)
        self._excerpts.append(self._current)
        self._shared.append(len(before) if self._ended and row == begin else None)
        self._since_ns = batch.times[row]
        self._left = _AFTER
        return row

    def ladder(self, identities: Identities, of: Of, moments: Sequence[int], _: int) -> Ladder:
        """The messages around the first one of some moments around which messages of these streams were kept."""
        found = [_sightings(excerpt, identities, of) for excerpt in self._excerpts]
        numbers = [number for number, sightings in enumerate(found) if sightings]
        if not numbers:
            return Ladder((), 0, 0, 0, False)
        number = next(
            (number for moment in moments for number in reversed(numbers) if _covers(found[number], moment)),
            numbers[0],
        )
        chosen = self._gone_on(number, found[number], identities, of)
        return Ladder(chosen, chosen[0].place.time_ns, chosen[-1].place.time_ns, 0, False)

    def _gone_on(
        self, number: int, sightings: tuple[Sighting, ...], identities: Identities, of: Of
    ) -> tuple[Sighting, ...]:
        """An excerpt with those that go on where it ends, until there are enough messages."""
        kept = list(self._excerpts[number])
        for excerpt, shared in zip(self._excerpts[number + 1 :], self._shared[number + 1 :], strict=True):
            if shared is None or len(sightings) >= _FEW:
                break
            kept += excerpt[shared:]
            sightings = _sightings(kept, identities, of)
        return sightings


def _covers(excerpt: Sequence[Sighting], time_ns: int) -> bool:
    return excerpt[0].place.time_ns <= time_ns <= excerpt[-1].place.time_ns


def _is_hole(event: Event) -> TypeGuard[Diagnostic]:
    return isinstance(event, Diagnostic) and event.kind == "gap" and event.stream is not None


def _sightings(kept: Sequence[_Kept], identities: Identities, of: Of) -> tuple[Sighting, ...]:
    found = sorted(_each(kept, identities, of), key=lambda sighting: sighting.place.time_ns)
    return tuple(found)


def _each(kept: Sequence[_Kept], identities: Identities, of: Of) -> Iterator[Sighting]:
    for event in kept:
        stream = event.stream
        assert stream is not None
        if not of(stream):
            continue
        sender = identities.sender(stream).id
        receiver = identities.receiver(stream).id
        source: ServerName = stream.source.host if sender is None else sender
        target: ServerName = stream.destination.host if receiver is None else receiver
        if isinstance(event, Diagnostic):
            yield Sighting(event.place, source, target, event.kind, event.detail, False, False, False, True)
            continue
        fields = event.fields
        refusal = bool(fields.get("rejected")) or fields.get("vote_granted") == 0
        words = f"term {fields.get('term', '?')}, {details(event)}".removesuffix(", ")
        success = event.type == table.APPEND_ENTRIES_RESULT and fields.get("rejected") == 0
        steady = not event.partial and (success or event.type == table.APPEND_ENTRIES)
        quiet = steady and (success or fields.get("n_entries") == 0)
        yield Sighting(event.place, source, target, event.name, words, quiet, steady, refusal, False)
