"""Text for terminals: aligned tables, and colours only where they are wanted."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Style:
    """Paints text, or leaves it alone."""

    def __init__(self, colours: bool = False) -> None:
        self._colours = colours

    def paint(self, text: str, colour: str) -> str:
        """The text in a colour, or bold or dim."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self._colours and text else text


def cut(text: str, width: int | None) -> str:
    """The text, or as much of it as fits; a `>` at its end says that there is more."""
    if width is None or len(text) <= width:
        return text
    return text[: width - 1] + ">" if width > 0 else ""


def wrapped(text: str, width: int | None, indent: str = "  ") -> list[str]:
    """The lines of a sentence, indented; None is no limit."""
    if width is None or len(indent + text) <= width:
        return [indent + text]
    wrapper = textwrap.TextWrapper(
        width, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False, break_on_hyphens=False
    )
    return wrapper.wrap(text)


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

    A table wider than `width` moves its columns together, and then cuts the column `flexible`.
    """
    body = [list(row) for row in rows]
    widths = [max(len(row[i]) for row in (head, *body)) for i in range(len(head))]
    gap = "  "
    if width is not None and sum(widths) + 2 * len(widths) > width:
        gap = " "
        excess = sum(widths) + len(widths) + 1 - width
        widths[flexible] = max(widths[flexible] - max(excess, 0), len(head[flexible]))

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.rjust(size) if i in right else cut(cell, size).ljust(size)
            for i, (cell, size) in enumerate(zip(cells, widths, strict=True))
        )
        return ("  " + gap.join(aligned)).rstrip()

    return [style.paint(line(head), "dim"), *(line(row) for row in body)]
