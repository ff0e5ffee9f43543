"""The report as CSV: one table for each kind of fact."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from raft_dissect.report.escape import cell
from raft_dissect.report.tables import TABLES
from raft_dissect.spread import Spread
from raft_dissect.values import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, TextIO

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.report.model import Report
    from raft_dissect.report.tables import Columns
    from raft_dissect.report.times import Clock

_OF_CAPTURE = ("findings", "diagnostics")


def write_table(report: Report, clock: Clock, name: str, file: TextIO) -> None:
    """Write a table of `TABLES` with a head; times are ISO 8601 in the clock's time zone, durations seconds."""
    writer = csv.writer(file, lineterminator="\n")
    columns = TABLES[name]
    several = len(report.capture.files) > 1
    row_of = _Row(clock, report.capture.files if several else (), columns)
    if name in _OF_CAPTURE:
        writer.writerow(row_of.head())
        writer.writerows(row_of.cells(item) for item in _CAPTURE_ITEMS[name](report))
        return
    writer.writerow(["cluster", *row_of.head()])
    for number, facts in enumerate(report.clusters, start=1):
        writer.writerows([number, *row_of.cells(item)] for item in _items(facts, name))


class _Row:
    """Makes rows of items, which are facts, or facts with what belongs to them."""

    def __init__(self, clock: Clock, files: Sequence[str], columns: Columns) -> None:
        self._clock = clock
        self._files = files
        self._columns = columns if files else {name: of for name, of in columns.items() if name != "file"}

    def head(self) -> list[str]:
        return list(self._columns)

    def cells(self, item: Sequence[object]) -> list[object]:
        """The cells of one row; of several objects the first one that has an attribute gives it."""
        return [cell(self._value(column, of, item)) for column, of in self._columns.items()]

    def _value(self, column: str, of: str, item: Sequence[object]) -> object:
        first, minus, second = of.partition("-")
        if minus:
            begin, end = _attribute(item, first), _attribute(item, second)
            return round((end.time_ns - begin.time_ns) / 1e9, 9)
        name, _, part = of.partition(".")
        value = _attribute(item, name)
        if part:
            return round(getattr(value, part), 9) if isinstance(value, Spread) else None
        if isinstance(value, Place):
            return self._place(column, value)
        if isinstance(value, tuple):
            return " ".join(self._in_list(column, one) for one in value)
        if isinstance(value, float):
            return round(value, 9)  # seconds, which are known to the nanosecond
        return value if value is None or isinstance(value, int) else str(value)

    def _in_list(self, column: str, value: object) -> str:
        return str(self._place(column, value)) if isinstance(value, Place) else str(value)

    def _place(self, column: str, place: Place) -> object:
        if column == "file":
            return self._files[place.file]
        if column == "frames":
            return f"{place.file + 1}:{place.frame}" if self._files else place.frame
        return place.frame if column.endswith("frame") else self._clock.iso(place.time_ns)


def _attribute(item: Sequence[object], name: str) -> Any:
    for one in item:
        if isinstance(one, dict):
            if name in one:
                return one[name]
        elif hasattr(one, name):
            return getattr(one, name)
    raise AttributeError(name)


def _items(facts: ClusterFacts, name: str) -> Iterable[Sequence[object]]:
    """What the rows of a table of a cluster are made of."""
    if name in _PARTS:
        return _PARTS[name](facts)
    return ((fact,) for fact in getattr(facts, name))


def _refusals(facts: ClusterFacts) -> Iterator[Sequence[object]]:
    return ((refusal, election) for election in facts.elections for refusal in election.refused)


def _configurations(facts: ClusterFacts) -> Iterator[Sequence[object]]:
    for fact in facts.configurations:
        for server in fact.servers:
            yield {"server": server.id, "address": server.address, "role": server.role_name}, fact


def _lags(facts: ClusterFacts) -> Iterator[Sequence[object]]:
    return ((lag, fact) for fact in facts.replication for lag in fact.lag)


def _path_events(facts: ClusterFacts) -> Iterator[Sequence[object]]:
    return ((event, path) for path in facts.paths for event in path.events)


def _traffic(facts: ClusterFacts) -> Iterator[Sequence[object]]:
    for traffic in facts.traffic:
        for message, count in sorted(traffic.messages.items()):
            yield {"message": message, "messages": count}, traffic


def _diagnostics(report: Report) -> Iterator[Sequence[object]]:
    for diagnostic in report.capture.diagnostics:
        stream = diagnostic.stream
        ends = (None, None, None) if stream is None else (stream.number, stream.source, stream.destination)
        yield dict(zip(("stream", "source", "destination"), ends, strict=True)), diagnostic


_PARTS: dict[str, Callable[[ClusterFacts], Iterator[Sequence[object]]]] = {
    "refusals": _refusals,
    "configurations": _configurations,
    "lag": _lags,
    "path_events": _path_events,
    "traffic": _traffic,
}
_CAPTURE_ITEMS: dict[str, Callable[[Report], Iterator[Sequence[object]]]] = {
    "findings": lambda report: ((finding,) for finding in report.findings),
    "diagnostics": _diagnostics,
}
