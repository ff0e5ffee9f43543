"""The latest messages as a ladder: one column per server and an arrow per message."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from raft_dissect.live.screen.lines import name_of
from raft_dissect.report.ladder import Drawing
from raft_dissect.report.terminal import cut

if TYPE_CHECKING:
    from raft_dissect.live.screen.picture import ClusterPicture, Ends, Picture, Seen
    from raft_dissect.live.screen.wanted import Wanted
    from raft_dissect.report.times import Clock

_LABEL = 50
"""Characters that are kept for what a message says."""
_LONGEST = 6
"""Characters of a name above its column."""
_TIME = len("HH:MM:SS.mmm ")
_LEFT = len("+9999 ")


class Rung(NamedTuple):
    """A message that is shown."""

    seen: Seen
    left_out: int
    """Messages before it, after the one that is shown before it, that are not shown."""


def chosen(picture: Picture, cluster: ClusterPicture | None, wanted: Wanted, steady: bool) -> list[Rung]:
    """The messages of a cluster that are wanted, oldest first; without `steady` no heartbeats that say nothing new."""
    found: list[Rung] = []
    last = None
    for seen in () if cluster is None else cluster.steps:
        ends = picture.ends.get(seen.stream)
        if (seen.steady and not steady) or ends is None:
            continue
        if wanted and not wanted.message(seen, name_of(cluster, ends.sender), name_of(cluster, ends.receiver)):
            continue
        found.append(Rung(seen, 0 if last is None else seen.serial - last - 1))
        last = seen.serial
    return found


class Ladder:
    """Draws the lines of one cluster."""

    def __init__(self, cluster: ClusterPicture | None, width: int) -> None:
        self._cluster = cluster
        self._width = width
        rows = () if cluster is None else cluster.servers
        self._columns = {row.id: number for number, row in enumerate(rows)}
        self._room = max(width - _TIME - _LEFT - _LABEL - 1, 0)
        drawing = Drawing([_short(row.name) for row in rows], self._room) if rows else None
        fits = drawing is not None and drawing.size <= max(self._room, 24)
        self._drawing = drawing if fits else None
        """None where the columns of all servers take too much room: then their names are written."""

    def head(self) -> str:
        """The line above all others."""
        middle = self._drawing.head() if self._drawing else "who".ljust(self._room)
        return cut(f"{'time':{_TIME}}{'left':>{_LEFT - 1}} {middle} message", self._width)

    def line(self, rung: Rung, ends: Ends | None, clock: Clock) -> Text:
        """The line of a message."""
        seen = rung.seen
        left = f"+{min(rung.left_out, 9999)}" if rung.left_out else ""
        start = f"{clock.time(seen.place.time_ns, 3):{_TIME}}{left:>{_LEFT - 1}} {self._who(ends)} "
        label = cut(f"{seen.name} {seen.details}".rstrip(), max(self._width - len(start), 0))
        text = Text(start)
        text.append(label[: len(seen.name)], style=seen.colour)
        text.append(label[len(seen.name) :])
        return text

    def _who(self, ends: Ends | None) -> str:
        if ends is None:
            return "".ljust(self._room)
        sender, receiver = self._columns.get(ends.sender), self._columns.get(ends.receiver)
        if self._drawing is not None and sender is not None and receiver is not None:
            return self._drawing.arrow(sender, receiver).ljust(self._drawing.size)
        who = f"{name_of(self._cluster, ends.sender)} > {name_of(self._cluster, ends.receiver)}"
        size = self._drawing.size if self._drawing else self._room
        return cut(who, size).ljust(size)


def _short(name: str) -> str:
    """A name that fits above its column: of a long one its end, by which hosts differ."""
    return name if len(name) <= _LONGEST else "~" + name[1 - _LONGEST :]
