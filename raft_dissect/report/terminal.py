"""Text for terminals: aligned tables, sparklines, and colours only where they are wanted."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.-:=+*#"
_USUAL = 80
"""Columns where there is no terminal to say how many there are."""
_NARROWEST = 4
"""Characters that a column keeps when its table is wider than the terminal."""
_POINTER = " > "
_LEAST_PAIR = 11
"""Characters that are left of two servers, one of which speaks to the other."""


class Style:
    """What the reader of a text can see: colours or none, block characters or ASCII only."""

    def __init__(self, colours: bool = False, blocks: bool = False) -> None:
        self._colours = colours
        self._bars = _BLOCKS if blocks else _ASCII_BARS

    def paint(self, text: str, colour: str) -> str:
        """The text in a colour, or bold or dim."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self._colours and text else text

    def sparkline(self, values: Sequence[float | None]) -> str:
        """One character for each value, the higher the larger; None is a blank.

        The lowest bar is 0 alone, and the highest is the largest value, so a small value beside a large one is seen.
        """
        top = max((value for value in values if value is not None), default=0)
        return "".join(" " if value is None else self._bar(value, top) for value in values)

    def _bar(self, value: float, top: float) -> str:
        if value <= 0:
            return self._bars[0]
        return self._bars[min(1 + int(value / top * (len(self._bars) - 1)), len(self._bars) - 1)]


def can_write_blocks(encoding: str | None) -> bool:
    """Whether text in this encoding can hold the characters of sparklines."""
    try:
        _BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def cut(text: str, width: int | None) -> str:
    """The text, or as much of it as fits; a `>` at its end says that there is more."""
    if width is None or len(text) <= width:
        return text
    return text[: width - 1] + ">" if width > 0 else ""


def wrapped(text: str, width: int | None, indent: str = "  ", hanging: str | None = None) -> list[str]:
    """The lines of a sentence, the first one with an indent, the others with `hanging`; None is the usual width."""
    width = _USUAL if width is None else max(width, 20)
    if len(indent + text) <= width:
        return [indent + text]
    wrapper = textwrap.TextWrapper(
        width,
        initial_indent=indent,
        subsequent_indent=indent + "  " if hanging is None else hanging,
        break_on_hyphens=False,
    )
    return wrapper.wrap(text)


def _cut_cell(text: str, width: int) -> str:
    """A cell that fits; of two servers (`one > other`) both are seen, by the ends of their names, which differ."""
    one, pointer, other = text.partition(_POINTER)
    room = width - len(pointer)
    if len(text) <= width or not pointer or room < 4:
        return cut(text, width)
    first = min(len(one), max(room // 2, room - len(other)))
    return _end(one, first) + pointer + _end(other, room - first)


def _end(text: str, width: int) -> str:
    return text if len(text) <= width else "~" + text[len(text) - width + 1 :]


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    style: Style,
    right: frozenset[int] = frozenset(),
    *,
    width: int | None = None,
    flexible: int = 0,
) -> list[str]:
    """Lines of a table with a head; the columns whose numbers are in `right` are aligned to the right.

    A table wider than `width` moves its columns together, then cuts the column `flexible`, then other texts. Numbers
    are left out rather than cut, and a `>` behind the head says so. Where there is no width, nothing is cut.
    """
    body = [list(row) for row in rows]
    widths = _widths(head, body)
    columns = list(range(len(widths)))
    gap = "  "
    if sum(widths) + 2 * len(widths) > (_USUAL if width is None else width):
        gap = " "
    if gap == " " and width is not None:
        pairs = any(_POINTER in row[flexible] for row in body)
        least = max(len(head[flexible]), _LEAST_PAIR if pairs else _NARROWEST)
        columns = _fitted(widths, right, flexible, least, width)

    def line(cells: Sequence[str]) -> str:
        fitting = ((i, _cut_cell(cells[i], widths[i])) for i in columns)
        aligned = (cell.rjust(widths[i]) if i in right else cell.ljust(widths[i]) for i, cell in fitting)
        return ("  " + gap.join(aligned)).rstrip()

    more = " >" if len(columns) < len(widths) else ""
    return [style.paint(line(head) + more, "dim"), *(line(row) for row in body)]


def _fitted(widths: list[int], right: frozenset[int], flexible: int, least: int, width: int) -> list[int]:
    """The columns for which there is room, with what was taken from their widths.

    First one column gives, then the widest text, but not the first column, which says what a row is about; then columns
    of numbers are left out from the right, but not the last one, which has the frames; then whatever is widest gives.
    """
    columns = list(range(len(widths)))

    def excess() -> int:
        more = 2 if len(columns) < len(widths) else 0
        return 1 + sum(widths[i] + 1 for i in columns) + more - width

    def shrink(those: Sequence[int]) -> None:
        while excess() > 0 and (wide := [i for i in those if widths[i] > _NARROWEST]):
            widths[max(wide, key=widths.__getitem__)] -= 1

    widths[flexible] = max(widths[flexible] - max(excess(), 0), min(least, widths[flexible]))
    shrink([i for i in columns[1:] if i not in right and i != flexible])
    for number in sorted(right - {columns[-1]}, reverse=True):
        if excess() > 0:
            columns.remove(number)
    shrink(columns)
    return columns


def room(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> tuple[int, int]:
    """How wide one more column of a table may be that nothing else of it is cut, beside wide gaps and narrow ones."""
    widths = _widths(head, rows)
    left = (_USUAL if width is None else width) - sum(widths)
    return left - 2 * len(widths) - 2, left - len(widths) - 2


def _widths(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
