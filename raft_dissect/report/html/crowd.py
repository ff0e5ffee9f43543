"""Puts together what would overlap in a drawing, so that it stays readable and small however much happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from raft_dissect.report.html.lanes import Mark, Stretch


class Crowd(NamedTuple):
    """Marks that would overlap; often a single one."""

    x: float
    marks: list[Mark]

    @property
    def label(self) -> str:
        """How many they are."""
        return short_count(len(self.marks))


class Bar(NamedTuple):
    """Stretches that would overlap or touch; often a single one."""

    left: float
    right: float
    stretches: list[Stretch]

    def share(self, x: Callable[[int], float]) -> float | None:
        """How much of a bar of several stretches they cover, at least a fifth so that it can be seen."""
        if len(self.stretches) == 1:
            return None
        covered = sum(x(stretch.last_ns) - x(stretch.first_ns) for stretch in self.stretches)
        return min(max(covered / (self.right - self.left), 0.2), 1)


def short_count(count: int) -> str:
    """A number in at most four characters."""
    for unit, power in (("", 0), ("k", 3), ("M", 6)):
        if count < 10 ** (power + 3) or unit == "M":
            break
    return f"{count // 10**power}{unit}"


def crowds(marks: Iterable[Mark], x: Callable[[int], float], apart: float) -> list[Crowd]:
    """Marks that are less than `apart` pixels from the first one of a crowd join it.

    A crowd of several is as wide as its number, so it takes a bit more to stand beside it.
    """
    found: list[Crowd] = []
    for mark in sorted(marks, key=lambda mark: mark.time_ns):
        at = x(mark.time_ns)
        if found and at - found[-1].x < (apart if len(found[-1].marks) == 1 else apart + 12):
            found[-1].marks.append(mark)
        else:
            found.append(Crowd(at, [mark]))
    return found


def bars(stretches: Sequence[Stretch], x: Callable[[int], float], apart: float, least: float = 0) -> list[Bar]:
    """Stretches as bars of at least so many pixels; those that are no further apart than `apart` become one."""
    found: list[Bar] = []
    for stretch in sorted(stretches, key=lambda stretch: stretch.first_ns):
        left = x(stretch.first_ns)
        right = max(x(stretch.last_ns), left + least)
        if found and left - found[-1].right < apart:
            last = found[-1]
            last.stretches.append(stretch)
            found[-1] = Bar(last.left, max(last.right, right), last.stretches)
        else:
            found.append(Bar(left, right, [stretch]))
    return found
