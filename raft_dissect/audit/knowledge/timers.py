"""How long the timers of a deployment are, as far as its packets show: nobody says it on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.spread import Histogram

if TYPE_CHECKING:
    from raft_dissect.audit.step import Step

_FEW = 5
"""Heartbeats from which on their interval is known."""
_SHORTEST_NS = 1_000_000
"""AppendEntries that follow each other sooner are no heartbeats: they were queued, or answer a rejection."""
_MAX_LEADERS = 1024

ELECTION = 10
"""Heartbeat intervals in an election timeout, at most: libraft's defaults are 100 and 1000 ms, dqlite's 500 and
3000."""


class Timers:
    """The heartbeat intervals of all leaders.

    A leader sends AppendEntries without entries when it has sent none for a heartbeat interval, and within twice that
    time. The interval is the median of the times from AppendEntries to such a heartbeat, on one connection and in one
    term. Where clients keep a leader so busy that it sends no heartbeats, the interval stays unknown.
    """

    def __init__(self) -> None:
        self._intervals: dict[int, Histogram] = {}
        self._busy: dict[int, Histogram] = {}  # up to AppendEntries with entries

    def message(self, step: Step) -> None:
        """Learn from AppendEntries, before `line` learns of it."""
        line, entries = step.line, step.fields.get("n_entries")
        if step.sender is None or entries is None or line.appended_term != step.term:
            return
        elapsed = step.place.time_ns - line.appended_ns
        if elapsed < _SHORTEST_NS:
            return
        intervals = self._busy if entries else self._intervals
        known = intervals.get(step.sender)
        if known is None:
            if len(intervals) >= _MAX_LEADERS:
                return
            known = intervals[step.sender] = Histogram()
        known.add(elapsed)

    def heartbeat_ns(self, leader: int | None = None) -> int | None:
        """The heartbeat interval of a leader, or else the longest of any; None when no leader shows it."""
        own = None if leader is None else _median(self._intervals.get(leader))
        if own is not None:
            return own
        found = (_median(intervals) for intervals in self._intervals.values())
        return max((interval for interval in found if interval is not None), default=None)

    def pace_ns(self, leader: int) -> int | None:
        """The heartbeat interval of a leader or, if it is too busy to show one, the shorter time between messages.

        None when neither it nor any other leader shows one.
        """
        own = self._own_pace(leader)
        return self.shortest_ns() if own is None else own

    def _own_pace(self, leader: int) -> int | None:
        return _median(self._intervals.get(leader)) or _median(self._busy.get(leader))

    def shortest_ns(self) -> int | None:
        """The shortest pace of all leaders; None when no leader shows one."""
        found = map(self._own_pace, {*self._intervals, *self._busy})
        return min((pace for pace in found if pace is not None), default=None)

    def election_ns(self, leader: int | None = None) -> int | None:
        """The election timeout, not too short; None when no leader shows its heartbeat interval."""
        heartbeat = self.heartbeat_ns(leader)
        return None if heartbeat is None else ELECTION * heartbeat


def _median(intervals: Histogram | None) -> int | None:
    if intervals is None or intervals.samples < _FEW:
        return None
    spread = intervals.spread(1.0)
    return None if spread is None else round(spread.p50)
