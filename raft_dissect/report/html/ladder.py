"""The message ladder: the messages of some seconds, one below the other, between the lines of their servers."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from raft_dissect.report.html.markup import append, element
from raft_dissect.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from xml.etree.ElementTree import Element

    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.report.html.context import Context
    from raft_dissect.report.html.excerpt import Ladder, Sighting

_WIDTH = 1200
_TIME = 118
_FRAME = 180
_LINES = 225
_MOST_LINES_WIDTH = 500
_TOP = 40
_ROW = 18
_LONG_RUN = 12
"""Messages of normal replication that follow one another, from which on most of them are one row."""
_BEGIN = 4
"""Of them that are drawn one by one at the beginning, and at the end:"""
_END = 2
_CHARACTER = 6.5


def ladder_figure(ladder: Ladder, servers: Sequence[ServerName], context: Context) -> Element:
    """The drawing with its caption."""
    drawer = _Drawer(ladder, servers, context)
    return drawer.figure()


class _Drawer:
    def __init__(self, ladder: Ladder, servers: Sequence[ServerName], context: Context) -> None:
        self._ladder = ladder
        self._context = context
        speaking = {name for sighting in ladder.sightings for name in (sighting.sender, sighting.receiver)}
        names = [name for name in servers if name in speaking]
        names += sorted(speaking.difference(names), key=str)
        step = min(120.0, _MOST_LINES_WIDTH / max(len(names) - 1, 1))
        self._x = {name: _LINES + step * number for number, name in enumerate(names)}
        self._text = _LINES + step * (len(names) - 1) + 34
        self._together = 0

    def figure(self) -> Element:
        rows = list(self._rows())
        height = _TOP + _ROW * len(rows) + 10
        body = element("g")
        for number, row in enumerate(rows):
            y = _TOP + _ROW * (number + 0.5) + 4
            append(body, [self._quiet(row, y) if len(row) > 1 else self._message(row[0], y)])
        key = self._context.id("ladder-title")
        title = element("title", "Message ladder", id=key)
        drawing = element(
            "svg",
            title,
            *self._lifelines(height),
            body,
            viewBox=f"0 0 {_WIDTH} {height}",
            role="group",
            aria_labelledby=key,
            class_="drawing ladder",
        )
        caption = element("figcaption", *(element("p", sentence) for sentence in self._sentences()))
        return element("figure", element("div", drawing, class_="scroll"), caption)

    def _rows(self) -> Iterator[list[Sighting]]:
        """Each message, or many that only go on with what went on before, together.

        Whoever asked for these seconds sees all that is no heartbeat.
        """
        asked = self._ladder.asked_for
        for steady, group in groupby(self._ladder.sightings, lambda s: s.quiet if asked else s.steady):
            run = list(group)
            if not steady or len(run) < _LONG_RUN:
                yield from ([sighting] for sighting in run)
                continue
            self._together += len(run) - _BEGIN - _END
            yield from ([sighting] for sighting in run[:_BEGIN])
            yield run[_BEGIN:-_END]
            yield from ([sighting] for sighting in run[-_END:])

    def _sentences(self) -> Iterator[str]:
        ladder, time = self._ladder, self._context.time
        yield (
            f"{counted(len(ladder.sightings), 'message')} from {time(ladder.first_ns, 6)} "
            f"to {time(ladder.last_ns, 6)}, in the order of the capture; every arrow stands at the packet "
            "that completed its message."
        )
        if not ladder.asked_for:
            yield (
                "These are the most telling seconds of the capture; "
                "--ladder-from TIME and --ladder-to TIME choose others."
            )
        if self._together:
            yield (
                f"{self._together:,} of them are {self._steady_words()} that go on undisturbed, and are drawn together."
            )
        if ladder.left_out:
            yield f"{counted(ladder.left_out, 'message')} after them are left out: choose a shorter time to see them."

    def _steady_words(self) -> str:
        return "heartbeats and answers" if self._ladder.asked_for else "entries, heartbeats and answers"

    def _lifelines(self, height: float) -> Iterator[Element]:
        heads = element("g", class_="heads")
        append(heads, [element("text", "time", x=12, y=24, class_="minor")])
        append(heads, [element("text", "frame", x=_FRAME, y=24, text_anchor="end", class_="minor")])
        append(heads, [element("text", "message", x=self._text, y=24, class_="minor")])
        for name, x in self._x.items():
            label = self._context.server(name)
            text = element("text", label, x=x, y=24, text_anchor="middle", class_="server")
            append(heads, [text, element("line", x1=x, x2=x, y1=_TOP - 8, y2=height - 6, class_="lifeline")])
        yield heads

    def _message(self, sighting: Sighting, y: float) -> Element:
        context = self._context
        text = f"{sighting.name}, {sighting.details}"
        class_ = "message " + _kind(sighting)
        begin, end = self._x[sighting.sender], self._x[sighting.receiver]
        room = int((_WIDTH - self._text) / _CHARACTER)
        name = element("tspan", sighting.name, class_="name")
        details = f"  {sighting.details}"
        if len(details) + len(sighting.name) > room:
            details = details[: room - len(sighting.name) - 1] + "\N{HORIZONTAL ELLIPSIS}"
        arrow: Element
        if sighting.diagnostic:
            arrow = element("use", href="#mark-gap", x=(begin + end) / 2, y=y - 4, class_="mark gap")
        else:
            towards = end - 1 if end > begin else end + 1
            arrow = element("line", x1=begin, x2=towards, y1=y - 4, y2=y - 4, marker_end="url(#arrow)")
        frame = f"{sighting.place.file + 1}:" if context.several else ""
        return context.link(
            sighting.place,
            element("title", context.described(text, sighting.place)),
            element("rect", x=0, y=y - 13, width=_WIDTH, height=_ROW, class_="target"),
            element("text", context.time(sighting.place, 6), x=12, y=y, class_="time"),
            element("text", f"{frame}{sighting.place.frame}", x=_FRAME, y=y, text_anchor="end", class_="time"),
            arrow,
            element("text", name, details, x=self._text, y=y),
            class_=class_,
        )

    def _quiet(self, run: Sequence[Sighting], y: float) -> Element:
        first, last = run[0], run[-1]
        context = self._context
        text = (
            f"{counted(len(run), 'message')} of {'heartbeats' if self._ladder.asked_for else 'replication'} "
            f"until {context.time(last.place, 6)}, frame {last.place.frame}"
        )
        left, right = min(self._x.values()), max(self._x.values())
        frame = f"{first.place.file + 1}:" if context.several else ""
        return context.link(
            first.place,
            element("title", context.described(text, first.place)),
            element("text", context.time(first.place, 6), x=12, y=y, class_="time"),
            element("text", f"{frame}{first.place.frame}", x=_FRAME, y=y, text_anchor="end", class_="time"),
            element("line", x1=left, x2=right, y1=y - 4, y2=y - 4),
            element("text", text, x=self._text, y=y),
            class_="message quiet together",
        )


def _kind(sighting: Sighting) -> str:
    if sighting.diagnostic:
        return "hole"
    if sighting.refusal:
        return "refusal"
    return "quiet" if sighting.quiet else sighting.name.lower()
