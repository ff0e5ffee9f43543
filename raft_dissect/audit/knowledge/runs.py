"""The terms of a log's entries, as runs of indexes with the same term."""

from __future__ import annotations

from bisect import bisect_right

_MOST_RUNS = 256
"""Runs that are kept; of a log with more the oldest entries are forgotten."""


class Runs:
    """The terms that are known of the entries of one log, some of which may not be known."""

    __slots__ = ("_ends", "_starts", "_terms")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._terms: list[int] = []

    def get(self, index: int) -> int | None:
        """The term of an entry; None when it is not known."""
        at = bisect_right(self._starts, index) - 1
        return self._terms[at] if at >= 0 and index <= self._ends[at] else None

    def put(self, index: int, term: int) -> None:
        """The entry at an index has a term, unless another one is known of it."""
        starts, ends, terms = self._starts, self._ends, self._terms
        at = bisect_right(starts, index) - 1
        if at >= 0 and index <= ends[at]:
            return
        if at >= 0 and index == ends[at] + 1 and term == terms[at]:
            ends[at] = index
        else:
            at += 1
            starts.insert(at, index)
            ends.insert(at, index)
            terms.insert(at, term)
        if at + 1 < len(starts) and starts[at + 1] == index + 1 and terms[at + 1] == term:
            ends[at] = ends.pop(at + 1)
            del starts[at + 1], terms[at + 1]
        if len(starts) > _MOST_RUNS:
            del starts[0], ends[0], terms[0]

    def put_run(self, first: int, last: int, term: int) -> None:
        """The entries from one index to another have a term, unless another one is known of them."""
        if self._ends and self._ends[-1] == first - 1 and self._terms[-1] == term:
            self._ends[-1] = last
            return
        for index in range(first, last + 1):
            self.put(index, term)

    def between(self, first: int, last: int) -> list[tuple[int, int, int]]:
        """What is known from one index to another: first and last index of each run, and its term."""
        at = max(bisect_right(self._starts, first) - 1, 0)
        found = []
        while at < len(self._starts) and self._starts[at] <= last:
            if self._ends[at] >= first:
                found.append((max(self._starts[at], first), min(self._ends[at], last), self._terms[at]))
            at += 1
        return found
