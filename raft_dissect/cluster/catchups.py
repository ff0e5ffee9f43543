"""A follower that refuses entries, until its leader has brought it up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.cluster.facts import CatchUp

if TYPE_CHECKING:
    from raft_dissect.cluster.servers import Server
    from raft_dissect.values import Place


class Catching:
    """One follower on its way to what its leader has."""

    __slots__ = (
        "_behind",
        "_finished",
        "_matched",
        "_rejections",
        "_target",
        "follower",
        "leader",
        "over",
        "place",
        "snapshot",
        "term",
    )

    def __init__(self, leader: Server, follower: Server, term: int, place: Place) -> None:
        self.leader = leader
        self.follower = follower
        self.term = term
        self.snapshot = False
        self.over = False
        """Whether nothing more belongs to it."""
        self.place = place
        self._rejections = 0
        self._matched: int | None = None
        self._behind: int | None = None
        self._target = 0
        self._finished: Place | None = None

    def refused(self) -> None:
        """The follower refused a request (once more)."""
        self._rejections += 1
        self._matched = None
        self._behind = None

    def accepted(self, index: int | None, match: int, end: int, place: Place) -> None:
        """The follower accepted what follows an index, and has everything up to `match` of a log up to `end`."""
        if self._matched is None and index is not None:
            self._matched = index
            self._behind = end - index
            self._target = end
        if self._matched is not None and match >= self._target:
            self._finished = place
            self.over = True

    def fact(self) -> CatchUp:
        """What is known."""
        finished = self._finished
        seconds = None if finished is None else (finished.time_ns - self.place.time_ns) / 1e9
        return CatchUp(
            self.leader.name,
            self.follower.name,
            self.term,
            self._rejections,
            self._matched,
            self._behind,
            self.snapshot,
            seconds,
            self.place,
            finished,
        )
