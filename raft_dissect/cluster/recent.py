"""A memory of log indexes that forgets the oldest, so that it stays small however long a capture is."""

from __future__ import annotations


class Recent:
    """The term that belongs to each of the last log indexes.

    Of the indexes that were remembered last, at least `size` are known, and never more than twice as many.
    """

    __slots__ = ("_new", "_old", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def remember(self, index: int, term: int) -> None:
        """Take note of the term of an index, in place of another term that it may have had."""
        new = self._new
        new[index] = term
        if len(new) > self._size:
            self._old = new
            self._new = {}

    def term(self, index: int) -> int | None:
        """The term of an index; None when it is not known any more, or never was."""
        term = self._new.get(index)
        return self._old.get(index) if term is None else term
