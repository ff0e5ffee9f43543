"""Questions that the facts about a cluster answer: who led at a time, split votes, storms of elections."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from raft_dissect.cluster.facts import ClusterFacts, Election, ServerName


class Leader(NamedTuple):
    """Who led at some time."""

    name: ServerName
    term: int


class Contest(NamedTuple):
    """All rounds of real votes from the time when there was no leader until there was one, or none came."""

    first_ns: int
    """Nanoseconds since the Unix epoch, UTC."""
    last_ns: int
    rounds: tuple[Election, ...]

    @property
    def splits(self) -> int:
        """Terms in which the votes were split, so that nobody could win."""
        return len({election.term for election in self.rounds if election.outcome == "split"})


def leader_at(facts: ClusterFacts, time_ns: int) -> Leader | None:
    """Who led at a time (nanoseconds since the Unix epoch, UTC); None while no leader was heard of.

    A leader leads from its first message to its last, and on to the end of the capture if it led then. Of two who
    spoke as leaders the one of the later term counts: the other does not know yet that it was replaced.
    """
    if any(gap.first.time_ns < time_ns < gap.last.time_ns for gap in facts.leaderless):
        return None
    led = [
        Leader(leadership.leader, leadership.term)
        for leadership in facts.leaders
        if leadership.first.time_ns <= time_ns
        and (time_ns <= leadership.last.time_ns or leadership.ended_by == "capture_end")
    ]
    return max(led, key=lambda leader: leader.term, default=None)


def contests(facts: ClusterFacts) -> tuple[Contest, ...]:
    """The times without a leader in which votes were asked for, each with its rounds, in the order of time.

    A contest of many rounds is a storm of elections; pre-votes, which change nothing, do not count.
    """
    found = []
    for gap in facts.leaderless:
        rounds = tuple(e for e in facts.elections if not e.pre_vote and gap.first <= e.place <= gap.last)
        if rounds:
            found.append(Contest(gap.first.time_ns, gap.last.time_ns, rounds))
    return tuple(found)
