"""What a server sends of its memory in bytes that have no meaning, added up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from raft_dissect.values import Place

LeakKind = Literal["trailer", "entry", "configuration", "reserved", "handshake"]
"""Of `wire.Unused`, and what stands behind the address in a handshake."""
_WORD = 8
_TEXT = 6
"""Characters in a row that are taken for text."""
_ADDRESSES = range(0x5500_0000_0000, 0x8000_0000_0000)
"""Where Linux puts the heap, libraries and stacks of 64-bit programs."""
_WHERE: dict[str, str] = {
    "trailer": "at the end of headers",
    "entry": "in the headers of entries",
    "configuration": "behind configurations",
    "reserved": "in reserved fields of results",
    "handshake": "behind the address in handshakes",
}


class Leaks:
    """The unused bytes of one server that were not zero."""

    def __init__(self, place: Place) -> None:
        self.first = place
        self.last = place
        self._sizes: Counter[str] = Counter()
        self._messages: Counter[str] = Counter()
        self._text = False
        self._addresses = False

    def add(self, kind: LeakKind, data: bytes, place: Place, times: int = 1) -> None:
        """Take the unused bytes of one kind of a message, or of so many up to a place."""
        self.first, self.last = min(self.first, place), max(self.last, place)
        self._sizes[kind] += (len(data) - data.count(0)) * times
        self._messages[kind] += times
        if kind != "entry":  # the bytes of different entries do not belong together
            self._text = self._text or _has_text(data)
            self._addresses = self._addresses or (len(data) == _WORD and int.from_bytes(data, "little") in _ADDRESSES)

    @property
    def telling(self) -> bool:
        """Whether it looks as if something could be learned from them."""
        return self._text or self._addresses

    @property
    def words(self) -> str:
        """How many bytes, and where."""
        parts = [f"{size} {_WHERE[kind]} ({_times(self._messages[kind])})" for kind, size in self._sizes.most_common()]
        alike = [word for word, seen in (("text", self._text), ("addresses of memory", self._addresses)) if seen]
        looks = f", some of which look like {' and '.join(alike)}" if alike else ""
        total = sum(self._sizes.values())
        return f"{total} bytes of its memory where nothing is meant to stand{looks}: {', '.join(parts)}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _has_text(data: bytes) -> bool:
    """Whether there are so many printable characters in a row."""
    row = 0
    for byte in data[:256]:
        row = row + 1 if 32 <= byte < 127 else 0
        if row >= _TEXT:
            return True
    return False
