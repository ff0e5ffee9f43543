"""From times and quantities to places in a drawing, and the ticks of their axes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raft_dissect.report.times import Clock

_MS = 1_000_000
_S = 1_000 * _MS
_MIN = 60 * _S
_H = 60 * _MIN
_DAY = 24 * _H
_STEPS = (
    *(factor * 10**power for power in range(9) for factor in (1, 2, 5)),
    *(factor * _S for factor in (1, 2, 5, 10, 15, 30)),
    *(factor * _MIN for factor in (1, 2, 5, 10, 15, 30)),
    *(factor * _H for factor in (1, 2, 3, 6, 12)),
    *(factor * _DAY for factor in (1, 2, 7, 14, 30, 60, 120, 365)),
)
"""Nanoseconds between ticks that people find easy to read."""


_MOST = 13
"""Ticks on an axis, if their labels are short."""
_MOST_LONG = 10


class Tick(NamedTuple):
    """A mark on an axis."""

    at: float
    label: str


class TimeScale:
    """Where a time stands between the left and the right end of a drawing."""

    def __init__(self, first_ns: int, last_ns: int, left: float, right: float) -> None:
        self.first_ns = first_ns
        self.last_ns = max(last_ns, first_ns + _MS)
        self.left = left
        self.right = right
        self._per_ns = (right - left) / (self.last_ns - first_ns)

    def __call__(self, time_ns: int) -> float:
        """The place of a time; times outside stand at the ends."""
        within = min(max(time_ns, self.first_ns), self.last_ns)
        return self.left + (within - self.first_ns) * self._per_ns

    def ns(self, pixels: float) -> int:
        """Nanoseconds that so many pixels stand for."""
        return round(pixels / self._per_ns)

    def ticks(self, clock: Clock) -> Iterator[Tick]:
        """Ticks at even times with the time of day, as many as have room."""
        span = self.last_ns - self.first_ns
        step = next((s for s in _STEPS if span / s <= (_MOST_LONG if s < _S or span > _DAY else _MOST)), _STEPS[-1])
        time_ns = -(-self.first_ns // step) * step
        while time_ns <= self.last_ns:
            yield Tick(self(time_ns), self._label(clock, time_ns, step))
            time_ns += step

    def _label(self, clock: Clock, time_ns: int, step: int) -> str:
        digits = max(0, min(9, 9 - round(math.log10(step) - 0.35))) if step < _S else 0
        time = clock.time(time_ns, digits).rstrip(".")
        if step >= _MIN:
            time = time[:5]
        if step >= _DAY:
            return clock.day(time_ns)[:10]
        return f"{clock.day(time_ns)[5:10]} {time}" if self.last_ns - self.first_ns > _DAY else time


class LogScale:
    """Where a positive quantity stands on a logarithmic axis from a power of ten to another."""

    def __init__(self, low: float, high: float, left: float, right: float) -> None:
        self._low = math.floor(math.log10(low))
        self._high = max(math.ceil(math.log10(high)), self._low + 1)
        self._left = left
        self._per_decade = (right - left) / (self._high - self._low)

    def __call__(self, value: float) -> float:
        """The place of a quantity; what is less than the axis stands at its left end."""
        power = math.log10(value) if value > 0 else self._low
        return self._left + (min(max(power, self._low), self._high) - self._low) * self._per_decade

    def powers(self) -> Iterator[tuple[float, float]]:
        """Places and quantities of the powers of ten."""
        for power in range(self._low, self._high + 1):
            yield self(10.0**power), 10.0**power


def rounded_up(value: float) -> float:
    """The next number that is easy to read at the end of an axis: 1, 2 or 5 times a power of ten."""
    if value <= 1:
        return 1
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value)
