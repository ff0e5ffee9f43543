"""For which times a capture can show that nobody led, and for which a leader may be what it lacks."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from raft_dissect.cluster.facts import LeaderUnknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raft_dissect.cluster.facts import (
        Election,
        Leaderless,
        LeaderUnknownCause,
        ServerFact,
        ServerName,
        Traffic,
        UnseenLeader,
    )

_FEW = 2
"""Servers of which all speak with each other, so that a capture at one of them has everything."""

_SHORTEST_NS, _LONGEST_NS = 1_000_000_000, 2_000_000_000
"""Nanoseconds after which a server asks for votes that hears of no leader, with C-Raft's default election timeout."""


class Visibility:
    """What of a cluster is in a capture."""

    def __init__(
        self,
        servers: Sequence[ServerFact],
        traffic: Sequence[Traffic],
        elections: Sequence[Election],
        unseen: Sequence[UnseenLeader],
    ) -> None:
        self._elections = elections
        self._unseen = unseen
        self._senders = {one.sender for one in traffic}
        self._places = _ends_of_all(traffic) if len(servers) > _FEW else set()
        self._others = len(servers) // 2
        """So many are a majority with the one at which the capture was made."""

    def split(self, gaps: Sequence[Leaderless]) -> tuple[tuple[Leaderless, ...], tuple[LeaderUnknown, ...]]:
        """Times in which no leader was heard of: those in which nobody led, and those in which somebody may have."""
        causes = [self._cause(gap) for gap in gaps]
        return (
            tuple(gap for gap, cause in zip(gaps, causes, strict=True) if cause is None),
            tuple(
                LeaderUnknown(gap.first, gap.last, cause)
                for gap, cause in zip(gaps, causes, strict=True)
                if cause is not None
            ),
        )

    def _cause(self, gap: Leaderless) -> LeaderUnknownCause | None:
        """Why a leader may be missing from the capture; None when it would be there."""
        if len(self._senders) < _FEW:
            return "one_sender"
        if any(one.first < gap.last and gap.first < one.last for one in self._unseen):
            return "unseen_leader"
        inside = [one for one in self._elections if gap.first <= one.place <= gap.last]
        if gap.begins and gap.cause != "start" and not inside:
            return "begun_midway"
        if self._places and (gap.ended_by == "returned" or not self._majority_has_no_leader(gap, inside)):
            return "one_place"
        return None

    def _majority_has_no_leader(self, gap: Leaderless, elections: Sequence[Election]) -> bool:
        """Whether so many others are seen to ask for votes all the time that nobody can lead unseen."""
        begin, end = gap.first.time_ns + _LONGEST_NS, gap.last.time_ns
        asked: dict[ServerName, list[int]] = {}
        for election in elections:
            if election.candidate not in self._places:
                asked.setdefault(election.candidate, []).append(election.place.time_ns)
        changes = [(begin, 0), *(change for times in asked.values() for change in _changes(sorted(times)))]
        leaderless = 0
        for (time, step), (next_, _) in pairwise([*sorted(changes), (end, 0)]):
            leaderless += step
            if leaderless < self._others and max(time, begin) < min(next_, end):
                return False
        return True


def _changes(times: Sequence[int]) -> Iterator[tuple[int, int]]:
    """When a server that asked for votes at these times begins (1) and ceases (-1) to have no leader.

    It had none for a timeout before, and takes as long until it follows one without being heard again.
    """
    end: int | None = None
    for time in times:
        if end is None or time - _SHORTEST_NS > end:
            if end is not None:
                yield end, -1
            yield time - _SHORTEST_NS, 1
        end = time + _SHORTEST_NS
    if end is not None:
        yield end, -1


def _ends_of_all(traffic: Sequence[Traffic]) -> set[ServerName]:
    """The servers that all messages come from or go to: there is one where the capture was made at that server."""
    ends = [{one.sender, one.receiver} for one in traffic]
    return set.intersection(*ends) if ends else set()
