"""Tells each happening once, as soon as it is certain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from raft_dissect.values import Diagnostic
from raft_dissect.watch.happenings import Happening
from raft_dissect.watch.news import begun_snapshot, news
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from raft_dissect.cluster import Analysis
    from raft_dissect.cluster.facts import ClusterFacts
    from raft_dissect.columns import MessageBatch
    from raft_dissect.values import Arrival, Message, Place, Stream
    from raft_dissect.watch.news import Endings

BEAT_NS = 100_000_000
"""Nanoseconds of capture time between one look and the next."""
_PENDING_NS = 500_000_000
"""Nanoseconds between looks while nothing came but steady traffic, which may still decide what is open."""
HISTORY_NS = 600_000_000_000
"""Nanoseconds for which the analysis remembers what happened."""
_FORGET_NS = 60_000_000_000
"""Nanoseconds between one forgetting and the next."""
_FOLD_NS = 1_000_000_000
"""Nanoseconds in which several gaps of one stream are told as one."""
_TOLD = ("gap", "malformed", "limit", "dropped", "interface_down", "interface_gone", "file_damaged", "file_truncated")
"""Diagnostics that are happenings; the others are consequences of these, or are told with a fact."""


class Analyses(Protocol):
    """The analyses of the clusters of a capture, as `Clusters` has them."""

    def present(self) -> Sequence[Analysis]:
        """Those of the clusters that are known."""

    def holding(self, stream: Stream) -> Analysis | None:
        """That of the cluster that a stream belongs to."""


class Watch:
    """Asks the analyses of all clusters at each beat of capture time, and tells what has become certain.

    What is told depends on the packets and on the beats alone, so that a capture file tells the same as the interface
    from which it was written. What happened longer than `HISTORY_NS` ago is forgotten, so that memory stays bounded.
    """

    def __init__(self, analyses: Analyses) -> None:
        """`analyses` are those of the clusters; whoever made them feeds them."""
        self._analyses = analyses
        self._told: dict[tuple[object, ...], int] = {}
        self._endings: Endings = {}
        self._waiting: list[Happening] = []
        self._gaps: dict[tuple[str, int | None], int] = {}
        self._asked = 0
        self._looked_ns = 0
        self._forgot_ns = 0
        self._before_ns = 0

    def note(self, batch: MessageBatch) -> None:
        """Take note of what a batch of events says is missing; the analyses were fed with it."""
        for _, event in batch.others:
            if isinstance(event, Diagnostic) and event.kind in _TOLD:
                self._diagnostic(event)

    def look(self, now_ns: int, arriving: Iterable[Arrival] = ()) -> list[Happening]:
        """What has become certain up to a time, in nanoseconds since the epoch, and was not told before.

        `arriving` are the messages that are still coming.
        """
        analyses = self._analyses.present()
        asked = sum(analysis.asked for analysis in analyses)
        due = asked != self._asked or now_ns - self._looked_ns >= _PENDING_NS
        if due or self._waiting:
            self._asked, self._looked_ns = asked, now_ns
            for number, analysis in enumerate(analyses):
                facts = analysis.facts(now_ns, counted=False)
                if facts is not None:
                    self._waiting += self._new(facts, now_ns, number)
        for arrival in arriving:
            self._arriving(arrival.message, analyses)
        if now_ns - self._forgot_ns >= _FORGET_NS:
            self._forget(now_ns)
        found, self._waiting = sorted(self._waiting, key=_place_of), []
        return found

    def _diagnostic(self, event: Diagnostic) -> None:
        key = (event.kind, None if event.stream is None else event.stream.number)
        last = self._gaps.get(key)
        if last is None or event.place.time_ns - last >= _FOLD_NS:
            self._gaps[key] = event.place.time_ns
            self._waiting.append(Happening("diagnostic", event.place, event))

    def _arriving(self, message: Message, analyses: Sequence[Analysis]) -> None:
        """A large snapshot has begun long before all of it is there."""
        key = ("snapshot_begun", message.first)
        analysis = self._analyses.holding(message.stream)
        if message.type != table.INSTALL_SNAPSHOT or key in self._told or analysis is None:
            return
        self._told[key] = message.first.time_ns
        begun = begun_snapshot(message, analysis.servers)
        self._waiting.append(Happening("snapshot_begun", message.first, begun, analyses.index(analysis)))

    def _new(self, facts: ClusterFacts, now_ns: int, number: int) -> Iterator[Happening]:
        for kind, place, fact, key, name in news(facts, now_ns, self._endings):
            if (kind, *key) in self._told or place.time_ns < self._before_ns:
                continue
            self._told[kind, *key] = place.time_ns
            is_moved = name and place.time_ns <= self._told.get((kind, number, *name), -1)
            if name:
                self._told[kind, number, *name] = place.time_ns
            if not is_moved:
                yield Happening(kind, place, fact, number)

    def _forget(self, now_ns: int) -> None:
        """Forget what is long over."""
        self._forgot_ns = now_ns
        before = self._before_ns = max(now_ns - HISTORY_NS, 0)
        for analysis in self._analyses.present():
            analysis.forget(before)
        self._told = {key: time for key, time in self._told.items() if time >= before or key[0] == "server"}
        self._endings = {key: ended for key, ended in self._endings.items() if ended.last.time_ns >= before}
        self._gaps = {key: time for key, time in self._gaps.items() if time >= before}


def _place_of(happening: Happening) -> Place:
    return happening.place
