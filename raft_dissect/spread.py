"""How a quantity is spread, in little memory however many values there are: percentiles within 2 %."""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

_FINE = 5
"""Each power of two is divided into 2**_FINE equal buckets, so a bucket's middle is at most 1.6 % from its values."""
_EXACT = 2 << _FINE
"""Smaller values have a bucket of their own."""
_BUCKETS = 60 << _FINE
COMPILED = not __file__.endswith(".py")


class Spread(NamedTuple):
    """How a quantity is spread; percentiles are within 2 % of the exact ones (nearest rank), the others are exact."""

    samples: int
    min: float
    p50: float
    p95: float
    p99: float
    max: float

    def less(self, amount: float) -> Spread:
        """The spread of what is left when every value is less by an amount, but not less than nothing."""
        return Spread(self.samples, *(max(value - amount, 0.0) for value in self[1:]))


class Cumulated(NamedTuple):
    """How many values are not above each of some bounds; it only grows while values are counted."""

    counts: tuple[int, ...]
    """A value within 2 % of a bound may be counted on its other side."""
    samples: int
    """All values, also those above the last bound."""
    total: float
    """The sum of all values within 2 %."""

    def plus(self, other: Cumulated) -> Cumulated:
        """The values of both, for the same bounds."""
        counts = tuple(map(sum, zip(self.counts, other.counts, strict=True)))
        return Cumulated(counts, self.samples + other.samples, self.total + other.total)


class Histogram:
    """Counts integers from 0 to 2**62 in buckets that are as fine everywhere; smaller ones count as 0."""

    __slots__ = ("_counts", "_highest", "_lowest", "samples")

    def __init__(self) -> None:
        self._counts: list[int] | None = None  # made with the first value: most histograms of a capture stay empty
        self._lowest = 1 << 62
        self._highest = 0
        self.samples = 0

    def add(self, value: int, times: int = 1) -> None:
        """Count a value."""
        if self._counts is None:
            self._counts = _no_counts()
        value = max(value, 0)
        if value < self._lowest:
            self._lowest = value
        if value > self._highest:
            self._highest = value
        self.samples += times
        bucket = value
        if value >= _EXACT:
            shift = _shift(value) if COMPILED else value.bit_length() - _FINE - 1
            bucket = (shift << _FINE) + (value >> shift)
        self._counts[bucket] += times

    def merge(self, other: Histogram) -> None:
        """Count all that another one has counted."""
        if other._counts is None:
            return
        if self._counts is None:
            self._counts = _no_counts()
        for bucket in range(_BUCKETS):
            self._counts[bucket] += other._counts[bucket]
        self._lowest = min(self._lowest, other._lowest)
        self._highest = max(self._highest, other._highest)
        self.samples += other.samples

    def spread(self, unit: float = 1.0) -> Spread | None:
        """The spread of the values so far, in units of so many; None when there was none.

        Nanoseconds become seconds with the unit 1e9.
        """
        counts = self._counts
        if counts is None:
            return None
        buckets = [(bucket, counts[bucket]) for bucket in range(_BUCKETS) if counts[bucket]]
        percentiles = [self._percentile(buckets, percent) / unit for percent in (50, 95, 99)]
        low, middle, high = percentiles
        return Spread(self.samples, self._lowest / unit, low, middle, high, self._highest / unit)

    def cumulated(self, bounds: Sequence[float]) -> Cumulated:
        """How many values are not above each of these bounds, which ascend."""
        between = [0] * (len(bounds) + 1)
        total = 0.0
        counts = self._counts
        if counts is not None:
            place = 0
            for bucket in range(_BUCKETS):
                times = counts[bucket]
                if times:
                    middle = _middle(bucket)
                    while place < len(bounds) and middle > bounds[place]:
                        place += 1
                    between[place] += times
                    total += times * middle
        *up_to, samples = accumulate(between)
        return Cumulated(tuple(up_to), samples, total)

    def _percentile(self, buckets: list[tuple[int, int]], percent: int) -> float:
        rank = -(-self.samples * percent // 100)
        for bucket, times in buckets:
            rank -= times
            if rank <= 0:
                return min(max(_middle(bucket), self._lowest), self._highest)
        raise AssertionError("a rank is never more than the number of values")


def _no_counts() -> list[int]:
    return cast("list[int]", array("q", bytes(8 * _BUCKETS))) if COMPILED else [0] * _BUCKETS


def _shift(value: int) -> int:
    """By how many bits a value is shifted to be below `_EXACT`, in steps that need no object of Python."""
    shift = 0
    while shift < 48 and value >> shift + 8 >= _EXACT:
        shift += 8
    while value >> shift >= _EXACT:
        shift += 1
    return shift


def _middle(bucket: int) -> float:
    """The middle of the values of a bucket."""
    if bucket < _EXACT:
        return bucket
    shift = (bucket >> _FINE) - 1
    return ((bucket - (shift << _FINE)) + 0.5) * (1 << shift) - 0.5
