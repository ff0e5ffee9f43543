"""Finds where reading goes on behind a damaged place of a capture file; no format, no I/O.

Nothing in either format marks where a record begins, so what tells is a chain: plausible records that follow one
another. A packet's payload can hold a whole capture, which is such a chain too. But it ends with its packet, so a chain
counts only when it goes on for longer than the longest packet read so far, or when it ends with the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

ENOUGH_RECORDS = 3
"""Records that a chain has at least; fewer may do where it ends exactly with the file."""

MOST_STEPS = 5_000_000
"""Records of false chains that are looked at in one file: some ten seconds, whatever the file's author intends."""

STEPS_PER_SEARCH = 50
"""What one search counts for at least, so a file has some 100,000 damaged places at most."""

_MOST_EXTRA_BYTES = 1024 * 1024
"""Bytes that are waited for beyond those that are needed, so that a large buffer is not copied for every few bytes."""


class Chain(Protocol):
    """Judges records one after another, beginning with the one that may be the first behind the damage."""

    def length(self, buffer: bytes, position: int) -> int:
        """Return the length of the record whose header is at `position`; 0 if that is not plausible."""

    def accept(self, buffer: bytes, position: int, length: int) -> bool:
        """Say whether the record is plausible as a whole, and if so take it as the one before the next."""


class Rules(NamedTuple):
    """What a search must know of the format."""

    pattern: re.Pattern[bytes]
    """Matches inside the header of every record that can be the first of a chain, and in few other places."""
    lead: int
    """Bytes of the header before those that the pattern matches."""
    header_size: int
    """Bytes that `Chain.length` looks at, and no fewer than the pattern and its lead."""
    chain: Callable[[], Chain]
    begins_capture: Callable[[bytes, int], bool]
    """Whether the bytes before a position of the buffer are the file header of another capture."""
    look_back: int
    """Bytes before the position that `begins_capture` looks at."""


class Search:
    """The search behind one damaged place, for which the file's bytes are given as they come.

    The result is the same however they are divided: the first position at which a chain begins.
    """

    def __init__(self, rules: Rules, start: int, reach: int, *, fewest: int, steps: int) -> None:
        """Search from byte offset `start` of the file on for a chain that goes on for more than `reach` bytes.

        One that ends exactly where the file does has at least `fewest` records.
        """
        self.position = start
        """Byte offset in the file: where reading goes on, or before which no chain begins."""
        self.needed = rules.header_size
        """Bytes from `position` on that must be there to search on."""
        self.steps = steps
        """Records of false chains that may still be looked at; when there are none left the search is given up."""
        self._rules = rules
        self._start = start
        self._reach = reach
        self._fewest = fewest
        self._inside: set[int] = set()
        """Offsets of records behind `position` that are inside a packet's payload, or may be."""

    @property
    def keep(self) -> int:
        """Byte offset in the file of the first byte that is still needed."""
        return max(self._start, self.position - self._rules.look_back)

    def run(self, buffer: bytes, base: int, *, at_end: bool) -> bool:
        """Say whether reading goes on at `position`, by `buffer`, the file's bytes from offset `base` on.

        `at_end` says that the file has no more bytes than these.
        """
        pattern, lead = self._rules.pattern, self._rules.lead
        while self.steps > 0 and (match := pattern.search(buffer, self.position - base + lead)):
            self.position = base + match.start() - lead
            found = self._try(buffer, base, at_end)
            if found is not False:
                return bool(found)
            self.position += 1
        self.position = max(self.position, base + len(buffer) - self._rules.header_size + 1)
        self.needed = self._rules.header_size
        return False

    def _try(self, buffer: bytes, base: int, at_end: bool) -> bool | None:
        """Say whether reading goes on at `position`; None if more bytes must come before that is known."""
        if self.position in self._inside:
            return False
        start = self.position - base
        starts: list[int] = []
        found = self._follow(buffer, start, starts, at_end)
        if found and self._begins_inside(buffer, start):
            self._pass_over(base, starts)
            found = False
        if found is False:
            self.steps -= 1 + len(starts)
        return found

    def _begins_inside(self, buffer: bytes, start: int) -> bool:
        """Say whether the chain is that of a capture whose file header is among the bytes passed over.

        A file header right at the damage is no payload: there two files were put together.
        """
        look_back = self._rules.look_back
        return self.position - look_back >= self._start and self._rules.begins_capture(buffer, start)

    def _follow(self, buffer: bytes, start: int, starts: list[int], at_end: bool) -> bool | None:
        """Follow the chain that begins at `start`, and append where its records begin."""
        chain = self._rules.chain()
        header_size = self._rules.header_size
        position = start
        while len(starts) < ENOUGH_RECORDS or starts[-1] - start <= self._reach:
            needed = header_size
            if len(buffer) - position >= header_size:
                needed = chain.length(buffer, position)
                if not needed:
                    return False
            if len(buffer) - position < needed:
                return self._end_of_buffer(buffer, start, starts, position, needed, at_end)
            if not chain.accept(buffer, position, needed):
                return False
            starts.append(position)
            position += needed
        return True

    def _end_of_buffer(
        self, buffer: bytes, start: int, starts: list[int], position: int, needed: int, at_end: bool
    ) -> bool | None:
        """Judge a chain whose next record, at `position`, has at least `needed` bytes, which are not all there."""
        if at_end:
            # That the end of the file cuts a record of a usual length says nothing against those before it.
            if position == len(buffer):
                return len(starts) >= self._fewest
            return len(starts) >= ENOUGH_RECORDS and needed <= self._reach
        self.needed = position - start + needed
        self.needed += min(self.needed, _MOST_EXTRA_BYTES)
        return None

    def _pass_over(self, base: int, starts: list[int]) -> None:
        """Remember not to go on at the records of a capture inside a packet.

        A packet ends where its payload does, so the chain may go on with real records; those that begin
        further away than a packet reaches certainly are.
        """
        ahead = {base + start for start in starts if start - starts[0] <= self._reach}
        self._inside = ahead.union(offset for offset in self._inside if offset > self.position)
        self.steps -= len(self._inside)
