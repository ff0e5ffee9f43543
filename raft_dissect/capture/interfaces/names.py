"""The numbers by which packets of a live capture say which interface they were captured on."""

from __future__ import annotations

from collections import defaultdict

MOST_NAMES = 4096
"""Interfaces that are remembered: over days a host that starts containers has new ones all the time."""


class Names:
    """Interfaces by number, counted from 0; one that is made anew under its old name keeps its number."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._next = 0
        self.received: defaultdict[int, int] = defaultdict(int)
        """Packets so far, by number."""

    def __getitem__(self, number: int) -> str:
        return self._names.get(number, "an interface of long ago")

    def number(self, name: str) -> int:
        """The number of an interface; of too many the one that came first is forgotten."""
        if name in self._numbers:
            return self._numbers[name]
        if len(self._names) == MOST_NAMES:
            oldest = next(iter(self._names))
            del self._numbers[self._names.pop(oldest)]
            self.received.pop(oldest, None)
        number, self._next = self._next, self._next + 1
        self._names[number] = name
        self._numbers[name] = number
        return number
