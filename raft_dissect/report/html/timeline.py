"""The timeline: a swim lane for each server, and what concerns all of them above and below."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from raft_dissect.report.html.crowd import bars, crowds, short_count
from raft_dissect.report.html.lanes import Mark, Stretch, lanes, links
from raft_dissect.report.html.markup import append, element
from raft_dissect.units import counted, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from xml.etree.ElementTree import Element

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.report.html.context import Context
    from raft_dissect.report.html.crowd import Bar
    from raft_dissect.report.html.lanes import Lane, Link
    from raft_dissect.report.html.presence import Interval
    from raft_dissect.report.html.scale import TimeScale
    from raft_dissect.values import Diagnostic

WIDTH = 1200
LEFT = 136
RIGHT = 1184
"""Pixels of every drawing: its width, and where its time axis begins and ends."""
_AXIS = 26
_ROW = 20
_LANE = 60
_BAND = 22
_SNAPSHOT = 12
_GAP = 14
_APART = 14
"""Pixels from one mark to the next that does not overlap it."""
_MOST_LINKS = 16
"""Arrows between lanes; more of them would hide what they are about."""
_MOST_CROWDS = 26
"""Marks in one row of many."""
_TERM_APART = 4
_MOST_TERMS = 60
"""Pixels between two lines that say that a term began, and how many of them do not hide the roles."""
_CHARACTER = 6.3
"""Pixels of a character of a label; the widest ones of the font are wider, so a label has some room to spare."""

_MARKS: dict[str, str] = {
    "won": "election won",
    "lost": "election not won",
    "pre-vote": "pre-vote started",
    "granted": "vote or pre-vote granted",
    "refused": "vote or pre-vote refused",
    "transfer": "leadership transfer",
    "restart": "started anew",
    "rejected": "entries or snapshot rejected",
    "truncated": "gave up entries",
    "configuration": "configuration seen",
    "gap": "missing in the capture",
}
_STRETCHES: dict[str, str] = {
    "leader": "leader",
    "candidate": "candidate",
    "seen": "follower",
    "unseen": "not seen: sends nothing",
    "leaderless": "no leader",
    "snapshot": "receives a snapshot",
}
_SHAPES: dict[str, str] = {
    "won": "M0-6L6 5H-6Z",
    "lost": "M0-5L5 4.5H-5Z",
    "pre-vote": "M-5 3L0-3L5 3",
    "granted": "M-5 0L-1.5 4L5-4",
    "refused": "M-4-4L4 4M4-4L-4 4",
    "transfer": "M-6-2.5H0V-6L6 0L0 6V2.5H-6Z",
    "restart": "M3.5-4A5 5 0 1 0 5 1M5-6V-2.5H1.5",
    "rejected": "M-5-5H5V5H-5ZM-5-5L5 5",
    "truncated": "M-6 0H6M-2-5V5M2-5V5",
    "configuration": "M0-6L6 0L0 6L-6 0Z",
    "gap": "M-6 0H-2M2 0H6M-3.5-5L-.5 5M.5-5L3.5 5",
}
"""Around their middle, 12 pixels wide; whether one is filled or drawn with a line, its style says."""


def definitions() -> Element:
    """The shapes and patterns that the drawings use, to stand in the page once."""
    symbols = [element("path", id=f"mark-{kind}", d=path) for kind, path in _SHAPES.items()]
    return element(
        "svg",
        element(
            "defs",
            *symbols,
            _hatch("hatch-leaderless", 8, 45),
            _hatch("hatch-candidate", 5, -45),
            element(
                "marker",
                element("path", d="M0 0L8 4L0 8Z"),
                id="arrow",
                viewBox="0 0 8 8",
                refX="8",
                refY="4",
                markerWidth="8",
                markerHeight="8",
                orient="auto-start-reverse",
            ),
        ),
        width=0,
        height=0,
        class_="definitions",
        aria_hidden="true",
    )


def _hatch(name: str, size_: int, angle: int) -> Element:
    line = element("line", x1=0, y1=0, x2=0, y2=size_)
    return element(
        "pattern",
        line,
        id=name,
        width=size_,
        height=size_,
        patternUnits="userSpaceOnUse",
        patternTransform=f"rotate({angle})",
    )


def time_axis(scale: TimeScale, context: Context, y: float, height: float) -> Element:
    """A time axis at y, with grid lines down to `height` below it."""
    axis = element("g", class_="axis")
    for at, label in scale.ticks(context.clock):
        half = len(label) * _CHARACTER / 2
        append(axis, [element("line", x1=at, x2=at, y1=y, y2=y + height, class_="grid")])
        if scale.left - 20 <= at - half and at + half <= WIDTH:
            append(axis, [element("text", label, x=at, y=y - 7, text_anchor="middle", class_="tick")])
    return axis


class Timeline:
    """Draws one timeline."""

    def __init__(
        self,
        facts: ClusterFacts,
        diagnostics: Sequence[Diagnostic],
        presence: Mapping[ServerName, list[Interval]],
        context: Context,
        scale: TimeScale,
    ) -> None:
        self._facts = facts
        self._diagnostics = diagnostics
        self._context = context
        self._x = scale
        self._lanes = lanes(facts, presence, context, scale.last_ns)
        self._used: set[str] = {"seen", "unseen"}
        self._together = 0
        self._paler = False
        self._bands: dict[ServerName, float] = {}
        """Where the band of each server begins."""

    def figure(self, captions: Sequence[str]) -> Element:
        """The drawing with its legend; below it stand the sentences of `captions`."""
        parts = list(self._parts())
        height = self._y
        name, description = self._context.id("timeline-title"), self._context.id("timeline-description")
        title = element("title", "Timeline of the cluster", id=name)
        what = (
            f"One lane for each of {counted(len(self._lanes), 'server')}, from {self._context.time(self._x.first_ns)} "
            f"to {self._context.time(self._x.last_ns)}. The tables below say the same in words."
        )
        drawing = element(
            "svg",
            title,
            element("desc", what, id=description),
            *parts,
            viewBox=f"0 0 {WIDTH} {height}",
            role="group",
            aria_labelledby=f"{name} {description}",
            class_="drawing timeline",
        )
        if self._together:
            text = f"{self._together:,} events would overlap at this scale and were put together"
            paler = ", and what is paler was not so all of the time" if self._paler else ""
            captions = [*captions, f"{text}: a number says how many{paler}."]
        caption = element("figcaption", self._legend(), *(element("p", text) for text in captions))
        return element("figure", element("div", drawing, class_="scroll"), caption)

    def _parts(self) -> Iterator[Element]:
        self._y: float = _AXIS
        top = list(self._cluster())
        middle = [self._lane(lane) for lane in self._lanes]
        bottom = self._capture() if self._diagnostics else None
        yield time_axis(self._x, self._context, _AXIS, self._y - _AXIS)
        yield self._leaderless()
        yield from top
        yield self._links()  # behind all marks
        yield from middle
        if bottom is not None:
            yield bottom
        self._y += 4

    # What concerns all servers

    def _cluster(self) -> Iterator[Element]:
        if self._facts.leaderless:
            yield self._row("no leader", "")
            self._y += _ROW
        if self._facts.configurations:
            group = self._row("configuration", "row")
            marks = []
            for fact in self._facts.configurations:
                change = f", {fact.change}" if fact.change else ""
                text = f"configuration of index {fact.conf_index}{change}: {counted(len(fact.servers), 'server')}"
                marks.append(Mark(fact.place.time_ns, "configuration", text, fact.place))
            append(group, self._marks(marks, self._y + _ROW / 2))
            yield group
            self._y += _ROW
        self._y += 6

    def _row(self, name: str, class_: str) -> Element:
        label = element("text", name, x=LEFT - 10, y=self._y + _ROW / 2 + 4, text_anchor="end", class_="minor")
        return element("g", label, class_=class_)

    def _leaderless(self) -> Element:
        """Tinted from the top to the bottom of all lanes, with a duration where there is room for it."""
        group = element("g", class_="leaderless")
        stretches = [
            Stretch(
                interval.first.time_ns,
                interval.last.time_ns,
                f"no leader for {self._context.between(interval.first, interval.last)}",
                interval.first,
                self._context.between(interval.first, interval.last),
            )
            for interval in self._facts.leaderless
        ]
        height = self._y - _AXIS
        for bar in bars(stretches, self._x, 0.5, 1):
            self._used.add("leaderless")
            width = bar.right - bar.left
            text = "; ".join(stretch.text for stretch in bar.stretches[:3])
            if len(bar.stretches) > 1:
                self._together += len(bar.stretches)
                text = f"{len(bar.stretches):,} times without a leader: {text}"
            title = element("title", self._context.described(text, bar.stretches[0].place))
            rect = element("rect", x=bar.left, y=_AXIS, width=width, height=height, fill_opacity=self._share(bar))
            hatch = element("rect", x=bar.left, y=_AXIS, width=width, height=height, class_="hatch")
            label = bar.stretches[0].label
            append(group, [self._context.link(bar.stretches[0].place, title, rect, hatch)])
            if len(bar.stretches) == 1 and len(label) * _CHARACTER + 4 < width:
                middle = (bar.left + bar.right) / 2
                append(group, [element("text", label, x=middle, y=_AXIS + 14, text_anchor="middle", class_="label")])
        return group

    def _capture(self) -> Element:
        self._y += 4
        group = self._row("capture", "row")
        marks = []
        for diagnostic in self._diagnostics:
            amount = "" if diagnostic.size is None else f" {size(diagnostic.size)}:"
            where = f" on {diagnostic.stream.source} > {diagnostic.stream.destination}" if diagnostic.stream else ""
            text = f"{diagnostic.kind}{where}:{amount} {diagnostic.detail}"
            marks.append(Mark(diagnostic.place.time_ns, "gap", text, diagnostic.place))
        append(group, self._marks(marks, self._y + _ROW / 2))
        self._y += _ROW
        return group

    # A server

    def _lane(self, lane: Lane) -> Element:
        height = _LANE + (_SNAPSHOT if lane.snapshots else 0)
        name = self._context.server(lane.server)
        top = self._y
        band = top + 18
        self._bands[lane.server] = band
        group = element("g", class_="lane", role="group", aria_label=f"server {name}", data_server=str(lane.server))
        background = element("rect", x=0, y=top, width=WIDTH, height=height, class_="lane-background")
        append(group, [background, *self._server_label(lane, name, band)])
        width = self._x.right - self._x.left
        append(
            group,
            [element("rect", x=self._x.left, y=band + 0.5, width=width, height=_BAND - 1, class_="unseen", rx=2)],
        )
        append(group, self._roles(lane, band))
        append(group, self._terms(lane, band))
        append(group, self._marks(lane.did, top + 9))
        append(group, self._marks(lane.answered, band + _BAND + 9))
        append(group, self._bars(lane.snapshots, "snapshot", top + _LANE - 1, _SNAPSHOT - 3, 4))
        self._y += height + _GAP
        return group

    def _server_label(self, lane: Lane, name: str, band: float) -> Iterator[Element]:
        fact = next(server for server in self._facts.servers if server.name == lane.server)
        address = fact.addresses[-1] if fact.addresses else ""
        lines = [f"server {name}" if isinstance(lane.server, int) else name, address]
        for number, line in enumerate(lines):
            shown = line if len(line) <= 18 else line[:17] + "\N{HORIZONTAL ELLIPSIS}"
            class_ = "minor" if number else "server"
            text = element("text", shown, x=LEFT - 10, y=band + 9 + 14 * number, text_anchor="end", class_=class_)
            if shown != line:
                append(text, [element("title", line)])
            yield text

    def _roles(self, lane: Lane, band: float) -> Iterator[Element]:
        yield from self._bars(lane.seen, "seen", band, _BAND)
        yield from self._bars(lane.candidate, "candidate", band, _BAND, 3)
        yield from self._bars(lane.leader, "leader", band, _BAND, 2)

    def _bars(
        self, stretches: Sequence[Stretch], kind: str, y: float, height: float, least: float = 1
    ) -> Iterator[Element]:
        for bar in bars(stretches, self._x, 0.5, least):
            self._used.add(kind)
            first = bar.stretches[0]
            text = first.text
            if len(bar.stretches) > 1:
                self._together += len(bar.stretches) if kind == "snapshot" else 0
                text = f"{len(bar.stretches):,} times, first: {text}"
            title = element("title", self._context.described(text, first.place))
            left, width = bar.left, bar.right - bar.left
            share = self._share(bar) if kind == "snapshot" else None
            rx = min(2, width / 2)
            parts = [element("rect", x=left, y=y, width=width, height=height, rx=rx, fill_opacity=share, class_=kind)]
            if kind == "candidate":
                parts.append(element("rect", x=left, y=y, width=width, height=height, class_="hatch"))
            yield self._context.link(first.place, title, *parts)

    def _share(self, bar: Bar) -> float | None:
        share = bar.share(self._x)
        self._paler |= share is not None
        return share

    def _terms(self, lane: Lane, band: float) -> Iterator[Element]:
        """Labels of the leader's bars, then of all terms where there is room between them."""
        taken: list[tuple[float, float]] = []

        def free(left: float, right: float) -> bool:
            return right <= self._x.right and all(right <= begin or left >= end for begin, end in taken)

        for bar in bars(lane.leader, self._x, 0.5, 2):
            for label in (bar.stretches[0].label, f"term {bar.stretches[0].label.rpartition(' ')[2]}"):
                width = len(label) * _CHARACTER + 12
                if len(bar.stretches) == 1 and width < bar.right - bar.left:
                    taken.append((bar.left, bar.left + width))
                    yield element("text", label, x=bar.left + 6, y=band + 15, class_="label on-leader")
                    break
        edges = [self._x(mark.time_ns) for mark in lane.terms]
        leading = [(self._x(stretch.first_ns) - 4, self._x(stretch.last_ns)) for stretch in lane.leader]
        columns = {round(edge / _TERM_APART): edge for edge in edges}
        for at in columns.values() if len(columns) <= _MOST_TERMS else ():
            yield element("line", x1=at, x2=at, y1=band, y2=band + _BAND, class_="term")
        for number, (mark, left) in enumerate(zip(lane.terms, edges, strict=True)):
            following = edges[number + 1] if number + 1 < len(edges) else self._x.right
            label = f"term {mark.text}"
            width = len(label) * _CHARACTER + 8
            if left + width > following or any(begin <= left < end for begin, end in leading):
                continue
            if free(left, left + width) and all(left + width <= begin or left >= end for begin, end in leading):
                taken.append((left, left + width))
                yield element("text", label, x=left + 4, y=band + 15, class_="label")

    # Marks

    def _marks(self, marks: Sequence[Mark], y: float) -> Iterator[Element]:
        apart = _APART
        while len(found := crowds(marks, self._x, apart)) > _MOST_CROWDS and any(len(c.marks) > 1 for c in found):
            apart *= 2
        for crowd in found:
            main = [mark for mark in crowd.marks if mark.kind != "pre-vote"] or crowd.marks
            if (len(main) == 1 and main[0].kind in ("won", "lost")) or len(crowd.marks) == 1:
                yield self._single(crowd.x, main[0], crowd.marks, y)
            else:
                yield self._crowd(crowd.x, crowd.marks, y)

    def _single(self, x: float, mark: Mark, marks: Sequence[Mark], y: float) -> Element:
        """A mark alone, or an election with the pre-votes right before it."""
        self._used.add(mark.kind)
        text = "; ".join(self._timed(each) for each in marks)
        title = element("title", self._context.described(text, mark.place))
        use = element("use", href=f"#mark-{mark.kind}", x=x, y=y, class_=f"mark {mark.kind}")
        target = element("rect", x=x - 7, y=y - 8, width=14, height=16, class_="target")
        return self._context.link(mark.place, title, target, use)

    def _crowd(self, x: float, marks: Sequence[Mark], y: float) -> Element:
        self._together += len(marks)
        label = short_count(len(marks))
        width = len(label) * _CHARACTER + 8
        kinds = Counter(_MARKS[mark.kind] for mark in marks)
        several = ", ".join(f"{count:,} \N{MULTIPLICATION SIGN} {kind}" for kind, count in kinds.items())
        times = f"{self._context.time(marks[0].time_ns)} to {self._context.time(marks[-1].time_ns)}"
        lines = [f"{several}, {times}", *(self._timed(mark) for mark in marks[:6])]
        if len(marks) > 6:
            lines.append(f"and {len(marks) - 6:,} more")
        title = element("title", self._context.described("; ".join(lines), marks[0].place))
        kind = marks[0].kind if len(kinds) == 1 else ""
        left = min(x - 7, self._x.right + 12 - width)
        rect = element("rect", x=left, y=y - 8, width=width, height=16, rx=8, class_=f"crowd {kind}".rstrip())
        text = element("text", label, x=left + width / 2, y=y + 4, text_anchor="middle", class_="count")
        return self._context.link(marks[0].place, title, rect, text)

    def _timed(self, mark: Mark) -> str:
        return f"{self._context.time(mark.time_ns)} {mark.text}"

    def _links(self) -> Element:
        group = element("g", class_="links")
        found = [link for link in links(self._facts, self._context) if self._drawable(link)]
        shown: dict[tuple[int, ServerName, ServerName], Link] = {}
        for link in found:
            shown.setdefault((round(self._x(link.time_ns) / 6), link.source, link.target), link)
        for link in shown.values() if len(shown) <= _MOST_LINKS else ():
            x = self._x(link.time_ns)
            begin, end = self._bands[link.source], self._bands[link.target]
            below = _LANE - 18 + (_SNAPSHOT if link.kind == "snapshot" else 0)
            y1, y2 = (begin + _BAND + 18, end - 18) if end > begin else (begin - 18, end + below)
            line = element("line", x1=x, x2=x, y1=y1, y2=y2, marker_end="url(#arrow)", class_=f"link {link.kind}")
            title = element("title", self._context.described(link.text, link.place))
            append(group, [self._context.link(link.place, title, line)])
        return group

    def _drawable(self, link: Link) -> bool:
        return link.source in self._bands and link.target in self._bands and link.source != link.target

    # Legend

    def _legend(self) -> Element:
        items = [_swatch(kind, text) for kind, text in _STRETCHES.items() if kind in self._used]
        items += [_glyph(kind, text) for kind, text in _MARKS.items() if kind in self._used]
        if self._together:
            sample = element(
                "svg",
                element("rect", x=1, y=1, width=22, height=16, rx=8, class_="crowd"),
                element("text", "12", x=12, y=13, text_anchor="middle", class_="count"),
                **_SAMPLE,
            )
            items.append(element("li", sample, "several events"))
        return element("ul", *items, class_="legend", aria_label="Legend")


_SAMPLE: dict[str, str | float] = {"viewBox": "0 0 24 18", "width": 24, "height": 18, "aria-hidden": "true"}


def _swatch(kind: str, text: str) -> Element:
    parts = [element("rect", x=1, y=2, width=22, height=14, rx=2, class_=kind)]
    if kind in ("candidate", "leaderless"):
        parts = [
            element("rect", x=1, y=2, width=22, height=14, class_=kind),
            element("rect", x=1, y=2, width=22, height=14, class_="hatch"),
        ]
    sample = element("svg", element("g", *parts, class_=kind), **_SAMPLE)
    return element("li", sample, text)


def _glyph(kind: str, text: str) -> Element:
    use = element("use", href=f"#mark-{kind}", x=12, y=9, class_=f"mark {kind}")
    return element("li", element("svg", use, **_SAMPLE), text)
