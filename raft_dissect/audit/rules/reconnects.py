"""How often one end opens connections to another, and how those ended: finds out when it is more often than it may."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from raft_dissect.values import Place

RETRY_NS = 1_000_000_000
"""All releases wait so long after a connection failed (protocol document, section 1.1)."""
MOST = 5
"""Connections within `WITHIN_NS` that are too many: one that failed, the next at once, and two retries are four."""
WITHIN_NS = 2 * RETRY_NS
_MAX_KEPT = 1000
"""Connections of one storm of which it is known how they ended; later ones are only counted."""
_MAX_PAIRS = 4096


class Attempt:
    """One connection, or an attempt to open one."""

    __slots__ = ("last", "messages", "outcome", "place")

    def __init__(self, place: Place, outcome: str = "open") -> None:
        self.place = place
        self.outcome = outcome
        """`refused`, `ended`, or `open` as long as it is neither."""
        self.messages = 0
        self.last = ""
        """The name of the last message on it."""


class Storm:
    """Connections that follow one another too fast."""

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self.attempts = list(attempts)
        self.count = len(self.attempts)
        self.last = max(attempt.place for attempt in attempts)

    def add(self, attempt: Attempt) -> None:
        """Take the next connection."""
        self.count += 1
        self.last = max(self.last, attempt.place)
        if len(self.attempts) < _MAX_KEPT:
            self.attempts.append(attempt)

    @property
    def first(self) -> Place:
        """Where it begins."""
        return min(attempt.place for attempt in self.attempts)

    @property
    def seconds(self) -> float:
        """From its first connection to its last."""
        return (self.last.time_ns - self.first.time_ns) / 1e9

    @property
    def cause(self) -> Cause:
        """What most of its connections have in common."""
        outcomes = Counter(attempt.outcome for attempt in self.attempts if attempt.outcome != "open")
        outcome = outcomes.most_common(1)[0][0] if outcomes else "open"
        alike = [attempt for attempt in self.attempts if attempt.outcome == outcome]
        last = Counter(attempt.last for attempt in alike if attempt.last).most_common(1)
        most = max(attempt.messages for attempt in alike)
        return Cause(outcome, len(alike), most, last[0][0] if last else "")


class Cause(NamedTuple):
    """Why connections are opened again and again."""

    outcome: str
    """How most of them ended."""
    times: int
    messages: int
    """The most that one of those carried."""
    last: str
    """The message that was most often the last one; empty if there was none."""


class _Pair:
    __slots__ = ("latest", "storm")

    def __init__(self) -> None:
        self.latest: deque[Attempt] = deque(maxlen=MOST)
        self.storm: Storm | None = None


class Reconnects:
    """Counts the connections of each pair of ends."""

    def __init__(self) -> None:
        self._pairs: dict[Hashable, _Pair] = {}

    def attempt(self, key: Hashable, attempt: Attempt) -> Storm | None:
        """Take the next connection; give the storm that begins with it."""
        pair = self._pairs.get(key)
        if pair is None:
            if len(self._pairs) >= _MAX_PAIRS:
                del self._pairs[next(iter(self._pairs))]
            pair = self._pairs[key] = _Pair()
        pair.latest.append(attempt)
        if pair.storm is not None:
            pair.storm.add(attempt)
            return None
        begun = min(one.place.time_ns for one in pair.latest)
        if len(pair.latest) < MOST or attempt.place.time_ns - begun > WITHIN_NS:
            return None
        pair.storm = Storm(pair.latest)
        return pair.storm

    def storms(self, key: Hashable) -> bool:
        """Whether a storm goes on there."""
        pair = self._pairs.get(key)
        return pair is not None and pair.storm is not None

    def over(self, key: Hashable) -> None:
        """Its storm is over."""
        pair = self._pairs.get(key)
        if pair is not None:
            pair.storm = None
            pair.latest.clear()
