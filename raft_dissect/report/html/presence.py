"""When each server was seen to send messages, collected while a capture is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.report.html.rows import values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raft_dissect.cluster import Identities
    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.columns import MessageBatch
    from raft_dissect.values import Stream

Interval = tuple[int, int]
"""First and last nanosecond."""

_BRIDGE_NS = 200_000_000
"""Shorter silences are not told from presence."""
_CHUNK = 128
"""Messages that are looked at together, if no more time than that passes between them."""
_MOST = 20_000
"""Intervals of all streams; when there are more, longer silences are bridged."""


class PresenceCollector:
    """Takes batches, and knows when something was sent on which stream."""

    def __init__(self) -> None:
        self._bridge = _BRIDGE_NS
        self._closed: dict[Stream, list[Interval]] = {}
        self._open: dict[Stream, list[int]] = {}
        self._count = 0

    def feed(self, batch: MessageBatch) -> None:
        """Take a batch."""
        rows = len(batch)
        times = values(batch.times, 0, rows)
        for begin in range(0, rows, _CHUNK):
            end = min(begin + _CHUNK, rows)
            self._feed(batch.streams[begin:end], times[begin:end])

    def _feed(self, streams: list[Stream | None], times: list[int]) -> None:
        first, last = min(times), max(times)
        if last - first < self._bridge:  # where there is much traffic nobody needs to look at every message
            for stream in set(streams):
                if stream is not None:
                    self._seen(stream, first, last)
            return
        for stream, time_ns in zip(streams, times, strict=True):
            if stream is not None:
                self._seen(stream, time_ns, time_ns)

    def _seen(self, stream: Stream, first: int, last: int) -> None:
        interval = self._open.get(stream)
        if interval is None:
            self._open[stream] = [first, last]
        elif first - interval[1] <= self._bridge:
            interval[1] = max(interval[1], last)
        else:
            self._closed.setdefault(stream, []).append((interval[0], interval[1]))
            self._open[stream] = [first, last]
            self._count += 1
            if self._count > _MOST:
                self._coarsen()

    def _coarsen(self) -> None:
        while self._count > _MOST // 2:
            self._bridge *= 2
            self._closed = {stream: united(intervals, self._bridge) for stream, intervals in self._closed.items()}
            self._count = sum(map(len, self._closed.values()))

    def presence(self, identities: Identities, of: Callable[[Stream], bool]) -> dict[ServerName, list[Interval]]:
        """By server, in the order of time, as far as streams show it for which `of` is true."""
        found: dict[ServerName, list[Interval]] = {}
        for stream, (first, last) in self._open.items():
            if not of(stream):
                continue
            sender = identities.sender(stream).id
            name: ServerName = stream.source.host if sender is None else sender
            found.setdefault(name, []).extend([*self._closed.get(stream, ()), (first, last)])
        return {name: united(intervals, self._bridge) for name, intervals in found.items()}


def united(intervals: Iterable[Interval], bridge: int = 0) -> list[Interval]:
    """Intervals in the order of time, those put together that are no further apart than `bridge`."""
    result: list[Interval] = []
    for first, last in sorted(intervals):
        if result and first - result[-1][1] <= bridge:
            result[-1] = (result[-1][0], max(result[-1][1], last))
        else:
            result.append((first, last))
    return result
