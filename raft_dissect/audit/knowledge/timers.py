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

    def message(self, step: Step) -> None:
        """Learn from AppendEntries, before `line` learns of it."""
        line = step.line
        if step.sender is None or step.fields.get("n_entries") != 0 or line.appended_term != step.term:
            return
        elapsed = step.place.time_ns - line.appended_ns
        if elapsed < _SHORTEST_NS:
            return
        known = self._intervals.get(step.sender)
        if known is None:
            if len(self._intervals) >= _MAX_LEADERS:
                return
            known = self._intervals[step.sender] = Histogram()
        known.add(elapsed)

    def heartbeat_ns(self, leader: int | None = None) -> int | None:
        """The heartbeat interval of a leader, or else the longest of any; None when no leader shows it."""
        own = None if leader is None else _median(self._intervals.get(leader))
        if own is not None:
            return own
        found = (_median(intervals) for intervals in self._intervals.values())
        return max((interval for interval in found if interval is not None), default=None)

    def shortest_ns(self) -> int | None:
        """The shortest heartbeat interval of all leaders; None when no leader shows it."""
        found = (_median(intervals) for intervals in self._intervals.values())
        return min((interval for interval in found if interval is not None), default=None)

    def election_ns(self, leader: int | None = None) -> int | None:
        """The election timeout, not too short; None when no leader shows its heartbeat interval."""
        heartbeat = self.heartbeat_ns(leader)
        return None if heartbeat is None else ELECTION * heartbeat


def _median(intervals: Histogram | None) -> int | None:
    if intervals is None or intervals.samples < _FEW:
        return None
    spread = intervals.spread(1.0)
    return None if spread is None else round(spread.p50)
