"""How far a follower was behind over time: the most in each of at most 200 intervals of equal length."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.cluster.facts import Lag
from raft_dissect.values import Place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raft_dissect.cluster.commits import LeaderLog

_MAX_INTERVALS = 200
_FIRST_NS = 1_000_000
"""Length of the first intervals in nanoseconds; it is doubled as often as needed."""


class _Most(NamedTuple):
    """The most in one interval."""

    entries: int
    bytes: int | None
    time_ns: int
    frame: int
    file: int


class Lags:
    """Learns how far a follower was behind, one message after the other."""

    __slots__ = ("_found", "_from_ns", "_most", "_until_ns", "_width_ns")

    def __init__(self) -> None:
        self._width_ns = _FIRST_NS
        self._found: dict[int, _Most] = {}
        """By the number of the interval since the epoch, so that intervals of twice the length are pairs of these."""
        self._from_ns = self._until_ns = 0
        """The interval of the last message."""
        self._most: int | None = None
        """What was found in it so far."""

    def note(self, log: LeaderLog, match: int, time_ns: int, frame: int, file: int) -> None:
        """A follower has what its leader sent up to the index `match`."""
        if time_ns >= self._until_ns or time_ns < self._from_ns:
            self._turn(time_ns)
        entries = log.end - match
        if self._most is None or entries > self._most:
            self._most = entries
            number = time_ns // self._width_ns
            self._found[number] = _Most(entries, log.bytes_after(match), time_ns, frame, file)
            if len(self._found) > _MAX_INTERVALS:
                self._found = _coarser(self._found)
                self._width_ns *= 2
                self._turn(time_ns)

    def _turn(self, time_ns: int) -> None:
        """Go on in the interval of this time."""
        number = time_ns // self._width_ns
        self._from_ns = number * self._width_ns
        self._until_ns = self._from_ns + self._width_ns
        known = self._found.get(number)
        self._most = None if known is None else known.entries


def _coarser(found: dict[int, _Most]) -> dict[int, _Most]:
    """The same in intervals of twice the length."""
    coarser: dict[int, _Most] = {}
    for number, most in found.items():
        _keep(coarser, number // 2, most)
    return coarser


def _keep(found: dict[int, _Most], number: int, most: _Most) -> None:
    """Keep the most of an interval; of equal ones that which was there first."""
    known = found.get(number)
    if known is None or (-most.entries, most.time_ns, most.frame) < (-known.entries, known.time_ns, known.frame):
        found[number] = most


def merged(lags: Iterable[Lags], first_ns: int, end_ns: int) -> tuple[Lag, ...]:
    """What several have found of the same follower, in intervals of a capture that began and ended at these times."""
    together: dict[int, _Most] = {}
    parts = list(lags)
    width = max((part._width_ns for part in parts), default=_FIRST_NS)
    while end_ns // width - first_ns // width >= _MAX_INTERVALS:
        width *= 2
    for part in parts:
        for number, most in part._found.items():
            _keep(together, number * part._width_ns // width, most)
    return tuple(
        Lag(Place(most.time_ns, most.frame, most.file), most.entries, most.bytes)
        for _, most in sorted(together.items())
    )
