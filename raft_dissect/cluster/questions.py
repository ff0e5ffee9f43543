"""Questions that the facts about a cluster answer: who led at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raft_dissect.cluster.facts import ClusterFacts, Leadership


def leader_at(facts: ClusterFacts, time_ns: int) -> Leadership | None:
    """Who led at a time (nanoseconds since the Unix epoch, UTC); None while no leader was heard of.

    A leader leads from its first message to its last, and on to the end of the capture if it led then. Of two who
    spoke as leaders the one of the later term counts: the other does not know yet that it was replaced.
    """
    if any(gap.first.time_ns < time_ns < gap.last.time_ns for gap in facts.leaderless):
        return None
    led = [
        leadership
        for leadership in facts.leaders
        if leadership.first.time_ns <= time_ns
        and (time_ns <= leadership.last.time_ns or leadership.ended_by == "capture_end")
    ]
    return max(led, key=lambda leadership: leadership.term, default=None)
