"""Plots of replication: how far followers were behind, how long answers took, how much was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.report.html.markup import append, element
from raft_dissect.report.html.scale import LogScale, rounded_up
from raft_dissect.report.html.timeline import LEFT, RIGHT, WIDTH, time_axis
from raft_dissect.report.rates import leading_seconds, per_second, rate
from raft_dissect.units import duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from xml.etree.ElementTree import Element

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.cluster.facts import Lag, Leadership, ReplicationFact, ServerName
    from raft_dissect.report.html.context import Context
    from raft_dissect.report.html.scale import TimeScale
    from raft_dissect.spread import Spread

_AXIS = 26
_LAG = 64
_LAG_GAP = 16
_ROW = 24
_MOST_PAIRS = 40
"""Rows of one plot."""
_TEXT = 900
"""Where the words beside a row begin."""
_BROKEN = 0.03
"""Of the time axis: points that are further apart are not joined by a line."""


def plots(facts: ClusterFacts, context: Context, scale: TimeScale) -> Iterator[Element]:
    """All plots that there is something for."""
    sending = [fact for fact in facts.replication if fact.requests]
    pairs = sending[:_MOST_PAIRS]
    if len(sending) > _MOST_PAIRS:
        text = f"Of {len(sending)} pairs of leader and follower the first {_MOST_PAIRS} are drawn; the table has more."
        yield element("p", text, class_="note")
    if any(fact.lag for fact in pairs):
        yield _lag(pairs, [server.name for server in facts.servers], context, scale)
    answers = [(fact, fact.ack_seconds, fact.network_seconds) for fact in pairs]
    text = "From a request to its answer, as the capture saw it; the diamond is the share of the network."
    yield from _spreads("latency", "Time to acknowledge", text, answers, context)
    commits = [(fact, fact.commit_seconds, None) for fact in pairs]
    text = "From the first time that an entry was sent until it was committed."
    yield from _spreads("commit", "Time to commit", text, commits, context)
    heartbeats = [(fact, fact.heartbeat_seconds, None) for fact in pairs]
    text = "From one AppendEntries message to a follower to the next one."
    yield from _spreads("heartbeat", "Time between AppendEntries messages", text, heartbeats, context)
    if any(fact.bytes for fact in pairs):
        yield _throughput([fact for fact in pairs if fact.bytes], facts.leaders, context)


def _figure(
    key: str, name: str, drawn: Sequence[Element], height: float, captions: Sequence[str], context: Context
) -> Element:
    title = context.id(f"{key}-title")
    drawing = element(
        "svg",
        element("title", name, id=title),
        *drawn,
        viewBox=f"0 0 {WIDTH} {height}",
        role="group",
        aria_labelledby=title,
        class_=f"drawing plot {key}",
    )
    caption = element("figcaption", *(element("p", text) for text in captions))
    return element("figure", element("h3", name), element("div", drawing, class_="scroll"), caption)


# Lag


def _lag(
    pairs: Sequence[ReplicationFact], servers: Sequence[ServerName], context: Context, scale: TimeScale
) -> Element:
    by_follower: dict[ServerName, list[Lag]] = {
        name: [] for name in servers if any(fact.follower == name and fact.lag for fact in pairs)
    }
    for fact in pairs:
        if fact.lag:
            by_follower.setdefault(fact.follower, []).extend(fact.lag)
    most = rounded_up(max((lag.entries for lags in by_follower.values() for lag in lags), default=1))
    height = _AXIS + len(by_follower) * (_LAG + _LAG_GAP)
    drawn = [time_axis(scale, context, _AXIS, height - _AXIS - _LAG_GAP + 4)]
    for number, (follower, lags) in enumerate(by_follower.items()):
        bottom = _AXIS + number * (_LAG + _LAG_GAP) + _LAG
        drawn.append(_lag_row(follower, sorted(lags, key=lambda lag: lag.place), bottom, most, context, scale))
    captions = (
        "Entries that each follower was behind what its leader had sent to anybody, at most, in each interval of the "
        "capture; all rows have the same height for the same number.",
    )
    return _figure("lag", "Lag of the followers", drawn, height, captions, context)


def _lag_row(
    follower: ServerName, lags: Sequence[Lag], bottom: float, most: float, context: Context, scale: TimeScale
) -> Element:
    def y(entries: float) -> float:
        return bottom - entries / most * (_LAG - 14)

    name = context.server(follower)
    group = element("g", class_="lag-row", data_server=str(follower))
    label = f"server {name}" if isinstance(follower, int) else name
    append(group, [element("text", label, x=LEFT - 44, y=bottom - 4, text_anchor="end", class_="server")])
    for entries in (0.0, most):
        line = element(
            "line", x1=LEFT, x2=RIGHT, y1=y(entries), y2=y(entries), class_="base" if not entries else "grid"
        )
        text = element("text", f"{entries:,.0f}", x=LEFT - 6, y=y(entries) + 4, text_anchor="end", class_="tick")
        append(group, [line, text])
    for run in _runs(lags, scale):
        points = [(scale(lag.place.time_ns), y(lag.entries)) for lag in run]
        path = " ".join(f"{'L' if number else 'M'}{x:.1f} {at:.1f}" for number, (x, at) in enumerate(points))
        area = f"{path} L{points[-1][0]:.1f} {bottom:.1f} L{points[0][0]:.1f} {bottom:.1f}Z"
        append(group, [element("path", d=area, class_="lag-area"), element("path", d=path, class_="lag-line")])
    for lag in lags:
        if not lag.entries:
            continue
        amount = "" if lag.bytes is None else f", {size(lag.bytes)}"
        words = f"{context.time(lag.place)} server {name} lacks {lag.entries:,} of the entries that were sent{amount}"
        title = element("title", context.described(words, lag.place))
        dot = element("circle", cx=scale(lag.place.time_ns), cy=y(lag.entries), r=2.2, class_="lag-dot")
        append(group, [context.link(lag.place, title, dot)])
    return group


def _runs(lags: Sequence[Lag], scale: TimeScale) -> Iterator[list[Lag]]:
    """Points that are close enough to be joined by a line."""
    run: list[Lag] = []
    for lag in lags:
        if run and scale(lag.place.time_ns) - scale(run[-1].place.time_ns) > _BROKEN * (scale.right - scale.left):
            yield run
            run = []
        run.append(lag)
    if run:
        yield run


# Durations


def _spreads(
    key: str,
    name: str,
    text: str,
    rows: Sequence[tuple[ReplicationFact, Spread | None, float | None]],
    context: Context,
) -> Iterator[Element]:
    known = [(fact, spread, mark) for fact, spread, mark in rows if spread is not None]
    if not known:
        return
    least = max(min(min(spread.min, mark or spread.min) for _, spread, mark in known), 1e-6)
    scale = LogScale(least, max(spread.max for _, spread, _ in known), LEFT, _TEXT - 30)
    height = _AXIS + len(known) * _ROW + 6
    drawn = [_log_axis(scale, height)]
    for number, (fact, spread, mark) in enumerate(known):
        drawn.append(_spread_row(fact, spread, mark, _AXIS + (number + 0.5) * _ROW, scale, context))
    legend = "The line goes from the shortest to the longest, the bar from the median (p50) to p95, the tick is p99."
    yield _figure(key, name, drawn, height, (text, legend), context)


def _log_axis(scale: LogScale, height: float) -> Element:
    axis = element("g", class_="axis")
    for x, seconds in scale.powers():
        label = duration(seconds)
        append(
            axis,
            [
                element("line", x1=x, x2=x, y1=_AXIS, y2=height, class_="grid"),
                element("text", label, x=x, y=_AXIS - 8, text_anchor="middle", class_="tick"),
            ],
        )
    return axis


def _spread_row(
    fact: ReplicationFact, spread: Spread, mark: float | None, y: float, scale: LogScale, context: Context
) -> Element:
    p50, p95, p99 = scale(spread.p50), scale(spread.p95), scale(spread.p99)
    words = f"p50 {duration(spread.p50)}, p99 {duration(spread.p99)}, max {duration(spread.max)}"
    pair = _pair(fact, context)
    parts = [
        element("title", context.described(f"{pair}: {words}, {spread.samples:,} samples", fact.place)),
        element("rect", x=0, y=y - 12, width=WIDTH, height=_ROW, class_="target"),
        element("text", pair, x=LEFT - 10, y=y + 4, text_anchor="end", class_="server"),
        element("line", x1=scale(spread.min), x2=scale(spread.max), y1=y, y2=y, class_="range"),
        element("rect", x=p50, y=y - 6, width=max(p95 - p50, 2), height=12, class_="bar"),
        element("line", x1=p99, x2=p99, y1=y - 6, y2=y + 6, class_="range"),
        element("text", f"{words}  ({spread.samples:,})", x=_TEXT, y=y + 4, class_="tick"),
    ]
    if mark is not None:
        parts.insert(-1, element("use", href="#mark-configuration", x=scale(mark), y=y, class_="mark network"))
    return context.link(fact.place, *parts)


# Throughput


def _throughput(pairs: Sequence[ReplicationFact], leaders: Sequence[Leadership], context: Context) -> Element:
    seconds = [leading_seconds(fact, leaders) for fact in pairs]
    rates = [per_second(fact.bytes, time) for fact, time in zip(pairs, seconds, strict=True)]
    room = (_TEXT - 60 - LEFT) / max(*(data or 0.0 for data in rates), 1)
    height = 6 + len(pairs) * _ROW
    drawn = [element("line", x1=LEFT, x2=LEFT, y1=0, y2=height, class_="base")]
    for number, (fact, time, data) in enumerate(zip(pairs, seconds, rates, strict=True)):
        y = 6 + (number + 0.5) * _ROW
        words = f"{size(fact.bytes)} in all"
        if data is not None:
            words = f"{size(round(data))}/s, {rate(per_second(fact.entries, time))} entries/s; {words}"
        pair = _pair(fact, context)
        drawn.append(
            context.link(
                fact.place,
                element("title", context.described(f"{pair}: {words}", fact.place)),
                element("rect", x=0, y=y - 12, width=WIDTH, height=_ROW, class_="target"),
                element("text", pair, x=LEFT - 10, y=y + 4, text_anchor="end", class_="server"),
                element("rect", x=LEFT, y=y - 7, width=max(room * (data or 0.0), 1), height=14, class_="bar"),
                element("text", words, x=_TEXT - 40, y=y + 4, class_="tick"),
            )
        )
    text = "Data of entries per second that the leader led, from its first request to the follower to the last one."
    return _figure("throughput", "Throughput", drawn, height, (text,), context)


def _pair(fact: ReplicationFact, context: Context) -> str:
    return f"{context.server(fact.leader)} > {context.server(fact.follower)}"
