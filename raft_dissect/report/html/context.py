"""How a page names servers, times and frames, and which frames have a place of their own in it."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from raft_dissect.report.html.markup import element
from raft_dissect.report.words import Names
from raft_dissect.units import duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from xml.etree.ElementTree import Element

    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.report.times import Clock
    from raft_dissect.values import Place

NOTHING = "\N{EN DASH}"
"""What stands where nothing is known."""


class Context:
    """Names things in the same way everywhere on one page."""

    def __init__(self, clock: Clock, files: Sequence[str], servers: Iterable[ServerName]) -> None:
        self.clock = clock
        self._files = files
        self.several = len(files) > 1
        """Whether a frame number says nothing without the number of its file."""
        self._names = Names(servers)
        self._rows: set[str] = set()
        self._begin = ""

    def within(self, begin: str) -> Context:
        """The same names, with ids that begin differently: those of a part of the page that is there more than once."""
        other = copy(self)
        other._begin = begin
        return other

    def id(self, key: str) -> str:
        """The id of an element that is not there twice in this part of the page."""
        return self._begin + key

    def server(self, name: ServerName) -> str:
        """The short name of a server."""
        return self._names.short(name)

    def servers(self, names: Iterable[ServerName]) -> str:
        """The short names of several servers, in the order of their names, ids first."""
        ordered = sorted(names, key=lambda name: (isinstance(name, str), name))
        return " ".join(map(self.server, ordered)) or NOTHING

    def shortened(self, sentence: str, names: Iterable[ServerName]) -> str:
        """A sentence with the short names of servers with long ids, as everything else has them."""
        return self._names.shortened(sentence, names)

    def time(self, place: Place | int | None, digits: int = 3) -> str:
        """Time of day of a place, or of nanoseconds since the epoch."""
        if place is None:
            return NOTHING
        return self.clock.time(place if isinstance(place, int) else place.time_ns, digits)

    def between(self, first: Place, last: Place | None) -> str:
        """How long it took from one place to another."""
        return NOTHING if last is None else duration((last.time_ns - first.time_ns) / 1e9)

    # Frames

    def filter(self, place: Place) -> str:
        """The display filter that shows a place in Wireshark; empty where no packet is meant."""
        if not place.frame:
            return ""
        file = f" in {self._files[place.file]}" if self.several else ""
        return f"frame.number == {place.frame}{file}"

    def frame(self, place: Place | None, *, row: bool = False) -> Element | str:
        """A frame's number, of which one click selects the display filter; `row` makes it the place of that frame."""
        if place is None or not place.frame:
            return NOTHING
        key = _key(place)
        first = row and key not in self._rows
        if first:
            self._rows.add(key)
        before = f"{place.file + 1}:" if self.several else None
        copied = element("span", element("span", "frame.number == ", class_="hidden"), str(place.frame), class_="copy")
        title = f"Wireshark display filter: {self.filter(place)}"
        return element("span", before, copied, class_="frame", title=title, id=key if first else None)

    def spelled_frame(self, place: Place) -> Element:
        """A frame as its whole display filter."""
        before = f"{place.file + 1}: " if self.several else None
        copied = element("code", f"frame.number == {place.frame}", class_="copy")
        return element("span", before, copied, class_="frame", title=f"{self.time(place, 6)}")

    def link(self, place: Place | None, *children: Element | str | None, **attributes: str) -> Element:
        """A part of a drawing that leads to the row of a table about the same frame, where there is one."""
        known = place is not None and _key(place) in self._rows
        href = f"#{_key(place)}" if known and place is not None else None
        return element("a" if known else "g", *children, href=href, **attributes)

    def described(self, text: str, place: Place | None) -> str:
        """A tooltip: what happened, and the display filter of its frame."""
        shown = "" if place is None else self.filter(place)
        return f"{text} \N{MIDDLE DOT} {shown}" if shown else text


def _key(place: Place) -> str:
    return f"frame-{place.file + 1}-{place.frame}"
