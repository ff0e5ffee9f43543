"""What was measured, as tables in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from readers import AUDIT, DECODE, LINES, REPORT, TSHARK, TSHARK_EK, our_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from measure import Capture, Measure, Measures
    from readers import Ours

Measured = list[tuple["Capture", "Measures"]]

LINEAR = 1.25
"""Growth of the cost of one unit that is still called linear: what two runs of the same thing can differ by."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f}"


def _found(capture: Capture, measure: Measure) -> str:
    if measure.found.messages is None:
        return "-"
    percent = 100 * measure.found.messages / capture.captured
    return f"{measure.found.messages:,} of {capture.captured:,} ({percent:.4g} %)"


def _seconds(measure: Measure) -> str:
    return f"{measure.cpu:.2f}" if measure.finished else f"stopped at {measure.cpu:.0f}"


def _rate(measure: Measure, text: str) -> str:
    return text if measure.finished else "-"


def _ratio(base: Measure | None, measure: Measure) -> str:
    """How many times less time than the baseline's; at least so many when that was stopped."""
    if base is None or not measure.finished:
        return "-"
    return f"{'' if base.finished else '> '}{base.cpu / measure.cpu:.2f}"


def _title(capture: Capture) -> str:
    whole = "" if capture.captured == capture.messages else f", {capture.captured:,} of them wholly captured"
    return (
        f"**{capture.name}**: {capture.packets:,} packets, {_megabytes(capture.size)} MB, "
        f"{capture.messages:,} messages{whole}\n"
    )


def of_capture(capture: Capture, measures: Measures) -> str:
    """What every reader took for one capture."""
    base = measures.get(TSHARK)
    rows = [
        (
            name,
            _seconds(one),
            _rate(one, f"{capture.packets / one.cpu:,.0f}"),
            _rate(one, f"{capture.size / one.cpu / 1e6:,.1f}"),
            _megabytes(one.peak),
            _found(capture, one),
            "-" if one.found.lines is None else f"{one.found.lines / one.cpu:,.0f}",
            _ratio(base, one),
        )
        for name, one in measures.items()
    ]
    head = ("reader", "CPU s", "packets/s", "MB/s", "peak MB", "messages found", "JSON lines/s", "times tshark")
    return f"{_title(capture)}\n{table(head, rows)}"


# Targets


_AT_MOST = ("MB", "times")
"""Units of what must not be more."""


class _Target(NamedTuple):
    """What a form of ours must reach."""

    name: str
    compiled: float
    uncompiled: float
    value: Callable[[dict[str, tuple[Capture, Measures]], str], float]
    """What a form reached, by its label; KeyError when that was not measured."""
    unit: str = "x"

    def verdict(self, captures: dict[str, tuple[Capture, Measures]], form: Ours) -> str:
        """What the form reached, and whether that is enough."""
        needed = self.compiled if form.compiled else self.uncompiled
        try:
            value = self.value(captures, form.label)
        except KeyError:
            return "not measured"
        enough = value <= needed if self.unit in _AT_MOST else value >= needed
        return f"{value:,.4g} {self.unit} ({'reached' if enough else 'not reached'})"


def _finished(measures: Measures, name: str) -> Measure:
    """What a reader took; KeyError when it was not run, or was stopped before its end."""
    if not measures[name].finished:
        raise KeyError(name)
    return measures[name]


def _times(capture: str, what: str) -> Callable[[dict[str, tuple[Capture, Measures]], str], float]:
    def value(captures: dict[str, tuple[Capture, Measures]], label: str) -> float:
        measures = captures[capture][1]
        return _finished(measures, TSHARK).cpu / _finished(measures, our_name(what, label)).cpu

    return value


def _line_times(captures: dict[str, tuple[Capture, Measures]], label: str) -> float:
    measures = captures["small"][1]
    ours, theirs = _finished(measures, our_name(LINES, label)), _finished(measures, TSHARK_EK)
    return ((ours.found.lines or 0) / ours.cpu) / ((theirs.found.lines or 0) / theirs.cpu)


def _peak(what: str) -> Callable[[dict[str, tuple[Capture, Measures]], str], float]:
    def value(captures: dict[str, tuple[Capture, Measures]], label: str) -> float:
        return max(_finished(measures, our_name(what, label)).peak for _, measures in captures.values()) / 1e6

    return value


def _audit_cost(captures: dict[str, tuple[Capture, Measures]], label: str) -> float:
    measures = captures["small"][1]
    return _finished(measures, our_name(AUDIT, label)).cpu / _finished(measures, our_name(REPORT, label)).cpu


def _percent(*names: str) -> Callable[[dict[str, tuple[Capture, Measures]], str], float]:
    def value(captures: dict[str, tuple[Capture, Measures]], label: str) -> float:
        chosen = [captures[name] for name in names]
        found = sum(_finished(measures, our_name(DECODE, label)).found.messages or 0 for _, measures in chosen)
        return 100 * found / sum(capture.captured for capture, _ in chosen)

    return value


_TARGETS = (
    _Target("decode every message, `small`", 100, 6, _times("small", DECODE)),
    _Target("decode every message, `appends`", 60, 5, _times("appends", DECODE)),
    _Target("decode every message, `offload`", 12, 5, _times("offload", DECODE)),
    _Target("`report`, `small`", 30, 3, _times("small", REPORT)),
    _Target("`messages --json`, `small`: lines per second against `tshark -T ek`", 10, 3, _line_times),
    _Target("`report`, any of these captures: most memory", 100, 200, _peak(REPORT), "MB"),
    _Target("`audit`, `small`: at most so many times `report`", 2, 2, _audit_cost, "times"),
    _Target("`audit`, any of these captures: most memory", 150, 150, _peak(AUDIT), "MB"),
    _Target("messages found, `messy` and `messy-appends`", 100, 100, _percent("messy", "messy-appends"), "%"),
    _Target("wholly captured messages found, `gappy`", 100, 100, _percent("gappy"), "%"),
)


def targets(measured: Measured, forms: Sequence[Ours]) -> str:
    """What each form of ours must reach, and has."""
    captures = {capture.name: (capture, measures) for capture, measures in measured}
    rows = [
        (
            target.name,
            f"{target.compiled:g} {target.unit}",
            f"{target.uncompiled:g} {target.unit}",
            *(target.verdict(captures, form) for form in forms),
        )
        for target in _TARGETS
    ]
    return table(("target", "compiled", "uncompiled", *(f"measured: {form.label}" for form in forms)), rows)


# Hostile captures


def hostile(measured: Measured) -> str:
    """What hostile captures took, against the first one, which holds the same cluster alone."""
    (without, plain), *others = measured
    rows = []
    for capture, measures in others:
        rows += [
            (
                capture.name,
                name,
                _seconds(one),
                _seconds(plain[name]),
                f"{one.cpu / capture.packets / (plain[name].cpu / without.packets):.2f}",
                _megabytes(one.peak),
                _megabytes(plain[name].peak),
                _found(capture, one),
                "; ".join(one.found.limits) or "-",
            )
            for name, one in measures.items()
        ]
    head = (
        "capture",
        "reader",
        "CPU s",
        "without",
        "CPU per packet, times without",
        "peak MB",
        "without",
        "messages found",
        "bounds reached, as `messages --json` says",
    )
    return "\n".join(_title(capture) for capture, _ in measured) + "\n" + table(head, rows)


# Growth


def growth(measured: Measured) -> str:
    """How time and memory grow with the capture: each capture at several scales, the smallest first."""
    by_name: dict[str, Measured] = {}
    for capture, measures in measured:
        by_name.setdefault(capture.name, []).append((capture, measures))
    rows = [row for of_one in by_name.values() for name in of_one[0][1] for row in _growth_rows(name, of_one)]
    head = (
        "capture",
        "reader",
        "scale",
        "CPU s",
        "us per message",
        "ns per byte",
        "CPU per byte, times smallest",
        "peak MB",
        "peak, times smallest",
        "growth",
    )
    return table(head, rows)


def _growth_rows(name: str, measured: Measured) -> Iterable[Sequence[str]]:
    smallest, least = measured[0][0], measured[0][1][name]
    for capture, measures in measured:
        one = measures[name]
        cost = (one.cpu / capture.size) / (least.cpu / smallest.size)
        memory = one.peak / least.peak
        yield (
            capture.name,
            name,
            f"{capture.scale:g}",
            _seconds(one),
            f"{one.cpu / capture.messages * 1e6:,.2f}",
            f"{one.cpu / capture.size * 1e9:,.2f}",
            f"{cost:.2f}",
            _megabytes(one.peak),
            f"{memory:.2f}",
            "" if capture is smallest else _verdict(cost, memory, capture.size / smallest.size),
        )


def _verdict(cost: float, memory: float, size: float) -> str:
    time = "time linear" if cost <= LINEAR else "**time more than linear**"
    if memory <= LINEAR:
        return f"{time}, memory flat"
    return f"{time}, {'memory linear at most' if memory <= size * LINEAR else '**memory more than linear**'}"
