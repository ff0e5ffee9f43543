"""The loop of live capture: takes packets as they come through the same stages as files, and tells the views."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from raft_dissect.auditing import AuditBuilder
from raft_dissect.live.view import Snapshot, SnapshotInFlight
from raft_dissect.watch import Watch
from raft_dissect.watch.news import begun_snapshot
from raft_dissect.watch.watch import BEAT_NS
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from raft_dissect.audit import Finding
    from raft_dissect.cluster.present import ClusterState
    from raft_dissect.columns import MessageBatch
    from raft_dissect.dissection import Dissection
    from raft_dissect.live.view import SourceState, View
    from raft_dissect.values import Arrival

_MOST_TOLD = 10_000
"""Findings that are remembered, so that none is told twice."""


class Loop:
    """Goes through a dissection once, and tells every view what comes of it."""

    def __init__(
        self,
        dissection: Dissection,
        views: Sequence[View],
        *,
        rules_off: Collection[str] = (),
        sources: Callable[[], tuple[SourceState, ...]] = tuple,
        is_live: bool = False,
    ) -> None:
        """`rules_off` are the rules of the audit that are not asked; `sources` says what the packets come from.

        With `is_live` packets are captured now, so that it can be said how late the analysis is.
        """
        self._dissection = dissection
        self._views = views
        self._sources = sources
        self._is_live = is_live
        self._audit = AuditBuilder(rules_off, self._found)
        self._watch = Watch(self._audit)
        self._happened: Counter[str] = Counter()
        self._findings: Counter[tuple[str, str]] = Counter()
        self._told: dict[tuple[object, ...], None] = {}

    def run(self) -> Snapshot:
        """Go on until there are no more packets; give what is known then."""
        for view in self._views:
            view.begin(self._audit.whereabouts)
        wants_state = any(view.wants_state for view in self._views)
        for batch, beat_ns in self._dissection.beats(BEAT_NS):
            self._take(batch)
            if beat_ns is not None:
                arriving = self._dissection.arriving()
                self._tell(beat_ns, arriving)
                snapshot = self._snapshot(beat_ns, arriving, self._states(beat_ns) if wants_state else ())
                for view in self._views:
                    view.beat(snapshot)
        end_ns = self._dissection.statistics.last_ns or 0
        self._audit.verdicts(self._dissection)
        self._tell(end_ns, ())
        last = self._snapshot(end_ns, (), self._states(end_ns))
        for view in self._views:
            view.finish(last)
        return last

    def _take(self, batch: MessageBatch) -> None:
        self._audit.feed(batch)
        self._watch.note(batch)
        for view in self._views:
            if view.wants_messages and (batch.rows or batch.others):
                view.batch(batch)

    def _tell(self, now_ns: int, arriving: Sequence[Arrival]) -> None:
        happenings = self._watch.look(now_ns, arriving)
        self._happened.update(happening.kind for happening in happenings)
        for view in self._views:
            if happenings:
                view.happened(happenings)

    def _found(self, finding: Finding) -> None:
        """A finding was made; of a cluster that turned out to be part of another one they are made again."""
        key = (finding.rule.id, finding.verdict, finding.place, finding.message)
        if key in self._told:
            return
        self._told[key] = None
        if len(self._told) > _MOST_TOLD:
            del self._told[next(iter(self._told))]
        self._findings[finding.rule.id, finding.verdict] += 1
        for view in self._views:
            view.found(finding)

    def _states(self, now_ns: int) -> tuple[ClusterState, ...]:
        states = ((number, analysis.state(now_ns)) for number, analysis in enumerate(self._audit.present()))
        return tuple(state._replace(number=number) for number, state in states if state is not None)

    def _snapshot(self, now_ns: int, arriving: Sequence[Arrival], clusters: tuple[ClusterState, ...]) -> Snapshot:
        statistics = self._dissection.statistics
        late_ns = time.time_ns() - now_ns if self._is_live else 0
        return Snapshot(
            now_ns,
            statistics.first_ns or now_ns,
            clusters,
            self._sources(),
            statistics.packets,
            statistics.bytes,
            self._happened.copy(),
            self._findings.copy(),
            statistics.gaps,
            max(late_ns, 0) / 1e9,
            tuple(self._transfers(arriving)),
        )

    def _transfers(self, arriving: Sequence[Arrival]) -> Iterator[SnapshotInFlight]:
        for message, received in arriving:
            analysis = self._audit.holding(message.stream)
            if message.type == table.INSTALL_SNAPSHOT and analysis is not None:
                fact = begun_snapshot(message, analysis.servers)
                yield SnapshotInFlight(fact, message.stream, received, message.place.time_ns)
