"""Which log indexes were named, and where first: the latest ones, one by one or as runs."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raft_dissect.values import Place

_MAX_INDEXES = 1024
_MAX_RUNS = 64


class Indexes:
    """The latest indexes that somebody named; those that were not named for the longest time are forgotten first."""

    __slots__ = ("_places", "_runs", "forgets")

    def __init__(self) -> None:
        self._places: dict[int, Place] = {}
        self._runs: deque[tuple[int, int, Place]] = deque(maxlen=_MAX_RUNS)
        self.forgets = False
        """Whether there were more than are remembered."""

    def put(self, index: int, place: Place) -> None:
        """An index was named at a place."""
        places = self._places
        places[index] = min(places.pop(index, place), place)
        if len(places) > _MAX_INDEXES:
            del places[next(iter(places))]
            self.forgets = True

    def forget(self) -> None:
        """Forget all of them."""
        self._places.clear()
        self._runs.clear()
        self.forgets = True

    def put_run(self, first: int, last: int, place: Place) -> None:
        """All indexes from one to another were named, behind a place."""
        self.forgets = self.forgets or len(self._runs) == _MAX_RUNS
        self._runs.append((first, last, place))

    def place(self, index: int) -> Place | None:
        """The first place that is remembered of an index, or one before it; None if there is none."""
        places = [place for first, last, place in self._runs if first <= index <= last]
        if index in self._places:
            places.append(self._places[index])
        return min(places, default=None)
