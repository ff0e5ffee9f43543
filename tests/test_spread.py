"""Spreads: percentiles stay close to the exact ones, whatever the values and however they were counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raft_dissect.spread import Cumulated, Histogram, Spread

VALUES = st.lists(st.integers(0, 1 << 62) | st.integers(0, 1000), min_size=1, max_size=200)


def spread_of(values: list[int]) -> Spread:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    spread = histogram.spread()
    assert spread is not None
    return spread


def cumulated(values: list[int], bounds: list[int]) -> Cumulated:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram.cumulated(bounds)


def nearest_rank(values: list[int], percent: int) -> int:
    """The smallest value that is at least as large as so many of the values."""
    return next(v for v in sorted(values) if 100 * sum(other <= v for other in values) >= percent * len(values))


@given(VALUES)
def test_percentiles_are_within_two_percent_of_the_nearest_rank(values: list[int]) -> None:
    spread = spread_of(values)
    for percent, found in ((50, spread.p50), (95, spread.p95), (99, spread.p99)):
        exact = nearest_rank(values, percent)
        assert abs(found - exact) <= 0.02 * exact
    assert (spread.samples, spread.min, spread.max) == (len(values), min(values), max(values))


@given(VALUES, VALUES)
def test_merged_histograms_count_the_values_of_both(one: list[int], other: list[int]) -> None:
    merged, second = Histogram(), Histogram()
    for value in one:
        merged.add(value)
    for value in other:
        second.add(value)
    merged.merge(second)
    assert merged.spread() == spread_of(one + other)


def test_values_below_64_are_exact() -> None:
    assert spread_of([1, 2, 3, 63]) == Spread(4, 1, 2, 63, 63, 63)


def test_no_values_have_no_spread() -> None:
    assert Histogram().spread() is None


def test_nanoseconds_become_seconds() -> None:
    histogram = Histogram()
    histogram.add(2_000_000_000, times=3)
    assert histogram.spread(1e9) == Spread(3, 2.0, 2.0, 2.0, 2.0, 2.0)


def test_values_below_zero_count_as_zero() -> None:
    assert spread_of([-5]) == Spread(1, 0, 0, 0, 0, 0)


def test_what_is_left_of_a_spread_is_never_below_zero() -> None:
    assert Spread(2, 1.0, 2.0, 3.0, 4.0, 5.0).less(2.5) == Spread(2, 0.0, 0.0, 0.5, 1.5, 2.5)


@given(VALUES, st.lists(st.integers(0, 1 << 62), max_size=20).map(sorted))
def test_counts_up_to_bounds_are_those_of_bounds_within_two_percent(values: list[int], bounds: list[int]) -> None:
    found = cumulated(values, bounds)
    for bound, count in zip(bounds, found.counts, strict=True):
        assert sum(value <= 0.98 * bound for value in values) <= count <= sum(0.98 * value <= bound for value in values)
    assert found.samples == len(values)
    assert abs(found.total - sum(values)) <= 0.02 * sum(values)


@given(VALUES, VALUES, st.lists(st.integers(0, 1 << 62), max_size=20).map(sorted))
def test_what_is_counted_up_to_bounds_never_gets_less(one: list[int], other: list[int], bounds: list[int]) -> None:
    before, after = cumulated(one, bounds), cumulated(one + other, bounds)
    assert all(less <= more for less, more in zip(before.counts, after.counts, strict=True))
    assert list(after.counts) == sorted(after.counts)
    assert (before.samples, before.total) <= (after.samples, after.total)
    assert before.total <= after.total


@given(VALUES, VALUES, st.lists(st.integers(0, 1 << 62), max_size=20).map(sorted))
def test_counts_of_two_add_up(one: list[int], other: list[int], bounds: list[int]) -> None:
    added, both = cumulated(one, bounds).plus(cumulated(other, bounds)), cumulated(one + other, bounds)
    assert (added.counts, added.samples) == (both.counts, both.samples)


def test_small_values_are_counted_up_to_bounds_exactly() -> None:
    assert cumulated([0, 1, 5, 5, 63], [0, 5, 62]) == Cumulated((1, 4, 4), 5, 74.0)


def test_no_values_are_below_any_bound() -> None:
    assert Histogram().cumulated([1, 2]) == Cumulated((0, 0), 0, 0.0)
