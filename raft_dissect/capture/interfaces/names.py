"""The numbers by which packets of a live capture say which interface they were captured on."""

from __future__ import annotations

from typing import NamedTuple

MOST_NAMES = 4096
"""Interfaces that are remembered: over days a host that starts containers has new ones all the time."""


class Interface(NamedTuple):
    """An interface that packets were captured on."""

    name: str
    file: int
    """Index of what it was captured by, within the capture's list of files."""


class Names:
    """Interfaces by number, counted from 0; one that is made anew under its old name keeps its number."""

    def __init__(self) -> None:
        self._interfaces: dict[int, Interface] = {}
        self._numbers: dict[Interface, int] = {}
        self._gone: dict[int, None] = {}
        self._next = 0
        self.received: dict[int, int] = {}
        """Packets so far, by number."""

    def __getitem__(self, number: int) -> str:
        interface = self._interfaces.get(number)
        return "an interface of long ago" if interface is None else interface.name

    def number(self, name: str, file: int) -> int:
        """The number of an interface, which is new if need be; of too many one that is gone is forgotten for it."""
        interface = Interface(name, file)
        known = self._numbers.get(interface)
        if known is not None:
            self._gone.pop(known, None)
            return known
        if len(self._interfaces) >= MOST_NAMES and self._gone:
            self._forget(next(iter(self._gone)))
        number, self._next = self._next, self._next + 1
        self._interfaces[number] = interface
        self._numbers[interface] = number
        return number

    def leave(self, number: int) -> None:
        """Take note that an interface is gone."""
        self._gone[number] = None

    def _forget(self, number: int) -> None:
        del self._gone[number]
        del self._numbers[self._interfaces.pop(number)]
        self.received.pop(number, None)

    def of(self, file: int) -> list[int]:
        """The numbers of what was captured by one of the capture's files."""
        return [number for number, interface in self._interfaces.items() if interface.file == file]
