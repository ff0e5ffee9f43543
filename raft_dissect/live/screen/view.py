"""The view that the loop tells: it keeps the latest of everything, and makes the picture that a terminal shows."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from raft_dissect.live.screen.history import Histories, History, Rate
from raft_dissect.live.screen.picture import Coming, Ends, EventLine, Picture, Seen
from raft_dissect.live.screen.sampling import Sampler
from raft_dissect.live.view import View
from raft_dissect.report.audit.words import level
from raft_dissect.report.escape import visible
from raft_dissect.report.happenings.text import COLOURS, HappeningText
from raft_dissect.report.terminal import Style
from raft_dissect.report.times import Clock
from raft_dissect.report.words import Names
from raft_dissect.wire import MESSAGE_NAMES, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from raft_dissect.audit import Finding
    from raft_dissect.auditing import Whereabouts
    from raft_dissect.columns import MessageBatch
    from raft_dissect.live.view import Snapshot, SnapshotInFlight
    from raft_dissect.values import Place, Stream
    from raft_dissect.watch import Happening

_SNAPSHOT = MESSAGE_NAMES[table.INSTALL_SNAPSHOT]
_EVENTS = 500
"""Events that are kept."""
_STREAMS = 512
"""Streams that are remembered before it is looked which of them are shown."""
_AGAIN_NS = 1_000_000_000
"""Nanoseconds after which it is asked again between whom streams are."""
_TELLING = ("violation", "suspect", "warning")
"""Levels of findings that are events; figures and notes are for a report."""
_NUMBERED = re.compile(r" at index \d+| \(frame [\d:]+\)")
_TIME = len("HH:MM:SS.mmm")


class ScreenView(View):
    """Makes a picture at each beat; whoever draws it reads `picture` when there is time, in any thread.

    All that it keeps is bounded, and so is what it does at a beat, however many messages came.
    """

    wants_messages = True

    def __init__(self, clock: Clock | None = None, several: bool = False) -> None:
        """`clock` has the time zone; with `several` files the number of a frame has that of its file before it."""
        self.clock = Clock() if clock is None else clock
        self.several = several
        self.picture = Picture()
        """The latest; it is a value, which is replaced and never changed."""
        names = Names()
        self._text = HappeningText(self.clock, Style(), None, several, names)
        self._sampler = Sampler()
        self._histories = Histories(lambda key: History(key, names))
        self._packets, self._bytes = Rate(), Rate()
        self._events: deque[EventLine] = deque(maxlen=_EVENTS)
        self._told = 0
        self._new: list[tuple[int | None, EventLine]] = []
        self._whereabouts: Callable[[Stream], Whereabouts | None] = lambda _: None
        self._fresh: list[Seen] = []
        self._streams: dict[int, Stream] = {}
        self._asked: dict[int, Whereabouts] = {}
        """Since the last beat, by stream."""
        self._known: dict[int, Ends] = {}
        """By stream: between whom it was when it was asked for last."""
        self._asked_ns = 0
        self._clusters = 0

    def begin(self, whereabouts: Callable[[Stream], Whereabouts | None]) -> None:
        """Remember whom to ask."""
        self._whereabouts = whereabouts

    def batch(self, batch: MessageBatch) -> None:
        """Look at some of the messages."""
        for stream, seen in self._sampler.take(batch):
            self._fresh.append(seen)
            if stream.number not in self._streams:
                self._streams[stream.number] = stream
                where = self._whereabouts(stream)  # it may be closed before the beat
                if where is not None:
                    self._asked[stream.number] = where

    def happened(self, happenings: Sequence[Happening]) -> None:
        """Remember what happened; which cluster it was in is known when the beat comes."""
        for happening in happenings:
            line = " ".join(map(str.strip, self._text.lines(happening)))
            cluster = None if happening.kind == "diagnostic" else happening.cluster
            self._event(cluster, happening.kind, line[_TIME:].lstrip(), COLOURS.get(happening.kind), happening.place)

    def found(self, finding: Finding) -> None:
        """Remember a finding."""
        kind = level(finding)
        if kind not in _TELLING:
            return
        text = visible(f"{kind.upper()} {finding.rule.id}: {finding.message} (frame {self._frame(finding.place)})")
        self._event(finding.cluster, kind, text, "red" if kind == "violation" else "yellow", finding.place)

    def _frame(self, place: Place) -> str:
        return f"{place.file + 1}:{place.frame}" if self.several else str(place.frame)

    def _event(self, cluster: int | None, kind: str, text: str, colour: str | None, place: Place) -> None:
        self._told += 1
        time = self.clock.time(place.time_ns, 3)
        self._new.append((cluster, EventLine(self._told, None, kind, time, text, colour, place)))

    def _keep_event(self, event: EventLine) -> None:
        """Keep an event; a rejection right after another of the same request by the same server is told with it."""
        last = self._events[-1] if self._events else None
        if last is not None and event.kind == "rejection" and _same(last, event):
            event = event._replace(serial=last.serial, times=last.times + 1)
            self._events.pop()
        self._events.append(event)

    def beat(self, snapshot: Snapshot) -> None:
        """Make the picture."""
        self.picture = self._make(snapshot, ended=False)

    def finish(self, snapshot: Snapshot) -> None:
        """Make the last one."""
        self.picture = self._make(snapshot, ended=True)

    def _make(self, snapshot: Snapshot, *, ended: bool) -> Picture:
        now_ns = snapshot.now_ns
        self._sampler.beat(now_ns)
        histories = self._histories.of(snapshot.clusters)
        keys = {state.number: history.key for history, state in zip(histories, snapshot.clusters, strict=True)}
        for number, event in self._new:
            self._keep_event(event._replace(cluster=None if number is None else keys.get(number)))
        self._new.clear()
        if self._packets.is_due(now_ns):
            self._packets.note(now_ns, snapshot.packets)
            self._bytes.note(now_ns, snapshot.bytes)
        coming = [one for one in snapshot.arriving if one.fact.bytes]
        self._streams.update((one.stream.number, one.stream) for one in coming)
        ends = self._ends(keys, now_ns)
        self._keep(histories, ends)
        return Picture(
            now_ns,
            tuple(history.picture(state, now_ns) for history, state in zip(histories, snapshot.clusters, strict=True)),
            snapshot.sources,
            snapshot.packets,
            self._packets.per_second(),
            self._bytes.per_second(),
            self._sampler.messages,
            snapshot.gaps,
            sum(count for (_, verdict), count in snapshot.findings.items() if verdict != "observation"),
            snapshot.late_seconds,
            tuple(self._events),
            ends,
            tuple(map(_coming, coming)),
            self._sampler.sampled,
            ended,
        )

    def _ends(self, keys: Mapping[int, int], now_ns: int) -> Mapping[int, Ends]:
        """Between whom all streams are of which messages are kept; it is asked again once in a second.

        `keys` are those of the clusters by their numbers. Of streams that are closed it stays as it was known last.
        """
        due = now_ns - self._asked_ns >= _AGAIN_NS or len(keys) != self._clusters
        if due:
            self._asked_ns, self._clusters = now_ns, len(keys)
        for number, stream in self._streams.items():
            if due or number not in self._known:
                where = self._whereabouts(stream) or self._asked.get(number)
                if where is not None and where.cluster in keys:
                    self._known[number] = Ends(keys[where.cluster], where.sender, where.receiver)
        self._asked.clear()
        return self._known.copy()

    def _keep(self, histories: Sequence[History], ends: Mapping[int, Ends]) -> None:
        """Give the messages of this beat to their clusters, and forget streams of which none is kept any more."""
        kept = {history.key: history.kept for history in histories}
        for seen in self._fresh:
            where = ends.get(seen.stream)
            if where is not None and where.cluster in kept:
                kept[where.cluster].add(seen)
        self._fresh.clear()
        if len(self._streams) > _STREAMS:
            shown = {seen.stream for one in kept.values() for seen in one.all()}
            self._streams = {number: stream for number, stream in self._streams.items() if number in shown}
            self._known = {number: ends for number, ends in self._known.items() if number in shown}


def _same(one: EventLine, other: EventLine) -> bool:
    """Whether two rejections differ in their index and frame alone."""
    if (one.kind, one.cluster) != (other.kind, other.cluster):
        return False
    return _NUMBERED.sub("", one.text) == _NUMBERED.sub("", other.text)


def _coming(one: SnapshotInFlight) -> Coming:
    seconds = (one.last_ns - one.fact.started.time_ns) / 1e9
    rate = one.received / seconds if seconds > 0 else None
    return Coming(_SNAPSHOT, one.stream.number, one.received, one.fact.bytes or 0, rate)
