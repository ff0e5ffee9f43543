"""What the page needs beside the report: collected from the same batches, in the same pass over the capture."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect import wire
from raft_dissect.cluster import Identities
from raft_dissect.report.html.belonging import Belonging
from raft_dissect.report.html.excerpt import IntervalCollector, Ladder, TellingCollector
from raft_dissect.report.html.presence import Interval, PresenceCollector
from raft_dissect.report.html.rows import values
from raft_dissect.values import Diagnostic, Message, StreamOpened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.columns import MessageBatch
    from raft_dissect.report.model import Report
    from raft_dissect.selection import Moment
    from raft_dissect.values import Place, Stream

_NAMING = (wire.table.REQUEST_VOTE, wire.table.INSTALL_SNAPSHOT)
"""Messages that say who a server is."""


_TYPE = 0xFF
"""Of the column of shapes: the type of the message."""


class Watched(NamedTuple):
    """What was seen of one cluster beside the report."""

    ladder: Ladder
    presence: Mapping[ServerName, list[Interval]]
    """When each server sent messages; a server that is not in it sent none."""
    diagnostics: Sequence[Diagnostic] = ()
    """What the capture lacks of it, and what is of no stream."""


class Watcher:
    """Takes the batches that a report is made of."""

    def __init__(self, begin: Moment | None = None, end: Moment | None = None) -> None:
        """Watch; the ladder shows what lies between `begin` and `end`, without both the most telling seconds."""
        asked = begin is not None or end is not None
        self._excerpt = IntervalCollector(begin, end) if asked else TellingCollector()
        self._presence = PresenceCollector()
        self._identities = Identities()
        self._first: dict[Stream, Place] = {}
        """Of each stream, the place of its first message."""

    def feed(self, batch: MessageBatch, begin_ns: int) -> None:
        """Take a batch of a capture that begins at `begin_ns`, in nanoseconds since the epoch."""
        self._learn(batch)
        self._presence.feed(batch)
        self._excerpt.feed(batch, begin_ns)
        for stream in {*batch.streams[: len(batch)]} - self._first.keys():
            if stream is not None:
                self._first[stream] = batch.message(batch.streams.index(stream)).place

    def _learn(self, batch: MessageBatch) -> None:
        for _, event in batch.others:
            if isinstance(event, StreamOpened):
                self._identities.opened(event.stream)
            elif isinstance(event, Diagnostic) and isinstance(event.message, Message):
                self._identities.message(event.message)
        rows = len(batch)
        shapes = values(batch.shapes, 0, rows)
        if any(shape & _TYPE in _NAMING for shape in set(shapes)):
            for row, shape in enumerate(shapes):
                if shape & _TYPE in _NAMING:
                    self._identities.message(batch.message(row))

    def watched(self, report: Report) -> list[Watched]:
        """What was seen of each cluster of a report, which says which moments are the most telling ones."""
        for facts in report.clusters:
            for server in facts.servers:
                if isinstance(server.name, int):
                    id_ = server.name
                    self._identities.configuration(wire.Server(id_, address, 0) for address in server.addresses)
        belonging = Belonging(report.clusters, self._first)
        return [self._watched_of(report, number, belonging) for number in range(len(report.clusters))]

    def _watched_of(self, report: Report, number: int, belonging: Belonging) -> Watched:
        def of(stream: Stream) -> bool:
            return belonging.cluster(stream) == number

        moments = list(_telling(report.clusters[number]))
        moments += [
            place.time_ns for finding in report.findings for place in finding.evidence[:1] if finding.cluster == number
        ]
        return Watched(
            self._excerpt.ladder(self._identities, of, moments, report.capture.last_ns or 0),
            self._presence.presence(self._identities, of),
            [gap for gap in report.capture.diagnostics if gap.stream is None or of(gap.stream)],
        )


def _telling(facts: ClusterFacts) -> Iterator[int]:
    """Moments that are worth a look, the ones that are most so first."""
    own_accord = ("start", "transfer")
    yield from (election.place.time_ns for election in facts.elections if election.cause not in own_accord)
    yield from (snapshot.started.time_ns for snapshot in facts.snapshots)
    yield from (transfer.place.time_ns for transfer in facts.transfers)
    yield from (election.place.time_ns for election in facts.elections)
    yield from (leadership.first.time_ns for leadership in facts.leaders)
