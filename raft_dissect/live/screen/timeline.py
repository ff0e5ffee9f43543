"""Who led when, as one line of text: a segment for each leader, the present at its right end."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from raft_dissect.live.screen.lines import name_of
from raft_dissect.units import duration

if TYPE_CHECKING:
    from raft_dissect.live.screen.picture import ClusterPicture, Reign

SPANS = (10, 30, 60, 120, 300, 600)
"""Seconds that the line can show."""
_LONGEST = 120
"""Seconds that it shows at most unless somebody asks for more."""
_SECOND = 1_000_000_000
_COLOURS = ("black on green", "black on cyan", "black on yellow", "black on magenta", "white on blue")


def span(cluster: ClusterPicture, now_ns: int) -> int:
    """Seconds that the line shows while nobody asks for other ones: as many as are known, within limits."""
    known = (now_ns - cluster.reigns[0].begin_ns) / _SECOND
    return next((seconds for seconds in SPANS if known <= seconds or seconds == _LONGEST), _LONGEST)


def timeline(cluster: ClusterPicture, now_ns: int, seconds: int, width: int) -> Text:
    """The line; each cell shows who led at its end, and a segment has its leader and term in it where they fit."""
    cell_ns = seconds * _SECOND // width
    times = [now_ns - cell_ns * (width - 1 - cell) for cell in range(width)]
    text = Text(end="")
    for reign, cells in groupby(_covering(cluster.reigns, times)):
        size = len(list(cells))
        text.append(*_segment(cluster, reign, size))
    return text


def _covering(reigns: tuple[Reign, ...], times: list[int]) -> list[Reign | None]:
    """For each time the reign that covers it; None before the first one. Times are in their order."""
    found: list[Reign | None] = []
    current, rest = None, list(reigns)
    for time in times:
        while rest and rest[0].begin_ns <= time:
            current = rest.pop(0)
        found.append(current)
    return found


def _segment(cluster: ClusterPicture, reign: Reign | None, size: int) -> tuple[str, str]:
    """Text and style of a segment: blank before the capture, `?` before any leader was heard, `.` without a leader."""
    if reign is None:
        return " " * size, ""
    if reign.leader is None:
        return ("?" if reign is cluster.reigns[0] else ".") * size, "red"
    name = name_of(cluster, reign.leader)
    for label in (f"{name} term {reign.term}", f"{name} t{reign.term}", name):
        if len(label) + 2 <= size:
            return f"[{label.center(size - 2, '=')}]", _colour(cluster, reign)
    return "=" * size if size > 1 else "|", _colour(cluster, reign)


def _colour(cluster: ClusterPicture, reign: Reign) -> str:
    names = [row.id for row in cluster.servers]
    return _COLOURS[names.index(reign.leader) % len(_COLOURS)] if reign.leader in names else "reverse"


def scale(seconds: int, width: int) -> str:
    """What stands below it: how long ago."""
    left, right = f"^ {duration(seconds)} ago", "now ^"
    middle = f"^ {duration(seconds / 2)} ago"
    line = left.ljust(width // 2) + middle
    return line.ljust(width - len(right)) + right
