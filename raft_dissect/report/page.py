"""What every section of a text report needs: clock, colours, width, short names, tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.report.terminal import table, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.report.terminal import Style
    from raft_dissect.report.times import Clock
    from raft_dissect.report.words import Names
    from raft_dissect.values import Place


class Page:
    """Where the sections about one cluster are written."""

    def __init__(self, clock: Clock, style: Style, names: Names, width: int | None, several: bool) -> None:
        self.style = style
        self.width = width
        """Where lines end; None for no end."""
        self._clock = clock
        self._names = names
        self._several = several
        """Whether a frame number says nothing without the number of its file."""

    def time(self, place: Place | None) -> str:
        """When something was, to the millisecond."""
        return "-" if place is None else self._clock.time(place.time_ns, 3)

    def frame(self, place: Place | None) -> str:
        """The number of a frame, with that of its file before it when there are several."""
        if place is None or not place.frame:
            return "-"
        return f"{place.file + 1}:{place.frame}" if self._several else str(place.frame)

    def short(self, name: ServerName) -> str:
        """A server's short name."""
        return self._names.short(name)

    def shortened(self, sentence: str, names: Sequence[ServerName]) -> str:
        """A sentence with the short names of servers with long ids, as the tables have them."""
        return self._names.shortened(sentence, names)

    def all(self, names: Sequence[ServerName]) -> str:
        """The short names of some servers."""
        return " ".join(map(self._names.short, names))

    def who(self, one: ServerName, other: ServerName) -> str:
        """Two servers, the second of which is spoken to."""
        return f"{self._names.short(one)} > {self._names.short(other)}"

    def table(
        self, head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = (), flexible: int = 0
    ) -> list[str]:
        """A table; see `terminal.table`."""
        return table(head, rows, self.style, frozenset(right), width=self.width, flexible=flexible)

    def note(self, text: str, indent: str = "    ") -> list[str]:
        """A sentence below a row."""
        return wrapped(text, self.width, indent, indent)
