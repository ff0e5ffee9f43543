"""Which entries of a log are known to be somewhere, as runs of indexes with the same term."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_RUNS = 256
"""Runs that are kept; of a log with more the oldest entries are forgotten."""

Words = tuple[int, int, int]
"""Term, type and size of an entry."""


class Extent:
    """The entries from one index to another without a gap; their terms never fall, so a few runs tell all of them."""

    __slots__ = ("_first", "_starts", "_terms", "end", "replaced", "term")

    def __init__(self) -> None:
        self._first = 0
        self._starts: list[int] = []
        self._terms: list[int] = []
        self.end = -1
        """The last index; -1 when nothing is known."""
        self.term = 0
        """Of the last entry."""
        self.replaced: tuple[int, int] | None = None
        """The first entry that the last call replaced by one of another term, and how many there had been from it."""

    def put(self, index: int, words: Sequence[Words]) -> int:
        """Add the entries that follow an index; give how many of them were there already with the same term.

        What is not contiguous with them is forgotten.
        """
        if index > self.end or not self._starts:
            self._begin(index + 1, words)
            return 0
        if index != self.end:
            return self._put(index, words)
        for word in words:
            index += 1
            if word[0] != self.term:
                self._run(index, word[0])
        self.end = index
        return 0

    def holds(self, index: int, term: int) -> None:
        """Add the entry at an index, which matches: so do all entries before it."""
        if index == self.end and term == self.term:
            return
        if index > self.end or self.term_at(index) != term:
            self._begin(index, ())
            self._run(index, term)
            self.end = index

    def _put(self, index: int, words: Sequence[Words]) -> int:
        known = [self.term_at(at) for at in range(index + 1, index + 1 + len(words))]
        changed = next((n for n, word in enumerate(words) if known[n] is not None and known[n] != word[0]), None)
        if changed is not None:
            first = index + 1 + changed
            self.replaced = (first, self.end - first + 1)
            self._cut(first)
        last = index + len(words)
        if not self._starts or last < self._first - 1:
            self._begin(index + 1, words)
        else:
            if index + 1 < self._first:
                self._prepend(index + 1, words[: self._first - index - 1])
            if last > self.end:
                self.put(self.end, words[self.end - index :])
        return sum(term == word[0] for term, word in zip(known, words, strict=True))

    def term_at(self, index: int) -> int | None:
        """The term of the entry at an index; None when it is not known."""
        if not self._starts or not self._first <= index <= self.end:
            return None
        return self._terms[bisect_right(self._starts, index) - 1]

    def _begin(self, first: int, words: Sequence[Words]) -> None:
        """Forget everything, and know these entries only."""
        self._starts.clear()
        self._terms.clear()
        self._first = first
        index = first - 1
        for word in words:
            index += 1
            if index == first or word[0] != self.term:
                self._run(index, word[0])
        self.end = index

    def _prepend(self, first: int, words: Sequence[Words]) -> None:
        before = Extent()
        before._begin(first, words)
        skip = int(before.term == self._terms[0])
        self._first = first
        self._starts = before._starts + self._starts[skip:]
        self._terms = before._terms + self._terms[skip:]

    def _cut(self, first: int) -> None:
        """Forget the entries from an index on."""
        runs = bisect_right(self._starts, first - 1)
        del self._starts[runs:], self._terms[runs:]
        self.end = first - 1
        self.term = self._terms[-1] if self._terms else 0

    def _run(self, index: int, term: int) -> None:
        self._starts.append(index)
        self._terms.append(term)
        self.term = term
        if len(self._starts) > _MAX_RUNS:
            del self._starts[:128], self._terms[:128]
            self._first = self._starts[0]
