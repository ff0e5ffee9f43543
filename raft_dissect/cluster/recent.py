"""A memory of log indexes that forgets the oldest, so that it stays small however long a capture is."""

from __future__ import annotations


class Recent:
    """The term that belongs to each of the last log indexes.

    Of the indexes that were remembered last, at least `size` are known, and never more than twice as many.
    """

    __slots__ = ("_first", "_last", "_new", "_old", "_run", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: dict[int, int] = {}
        self._old: dict[int, int] = {}
        # The last indexes are mostly a run of one term, which needs no more than its ends.
        self._first = 0
        self._last = -1
        self._run = -1

    def remember(self, index: int, term: int) -> None:
        """Take note of the term of an index, in place of another term that it may have had."""
        if term == self._run:
            last = self._last
            if index == last + 1:
                self._last = index
                return
            if self._first <= index <= last:
                return
        self._end_run()
        self._first = self._last = index
        self._run = term

    def _end_run(self) -> None:
        new, term = self._new, self._run
        for index in range(max(self._first, self._last - self._size), self._last + 1):
            new[index] = term
            if len(new) > self._size:
                self._old = new
                new = self._new = {}

    def term(self, index: int) -> int | None:
        """The term of an index; None when it is not known any more, or never was."""
        if self._first <= index <= self._last:
            return self._run
        term = self._new.get(index)
        return self._old.get(index) if term is None else term
