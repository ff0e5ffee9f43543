"""The audit as text for a terminal, at its best from 80 columns on."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from raft_dissect.audit import REASONS
from raft_dissect.report.audit.words import LEVELS, evaluations, explained, group, level, sentence
from raft_dissect.report.page import Page
from raft_dissect.report.terminal import wrapped
from raft_dissect.report.words import Names
from raft_dissect.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from raft_dissect.audit import Finding, Reason, Rule, Tally, Verdicts
    from raft_dissect.report.audit.words import Audited, Level
    from raft_dissect.report.terminal import Style
    from raft_dissect.report.times import Clock
    from raft_dissect.values import Place

_MAX_FINDINGS = 5
"""Findings of one rule and level that are shown one by one; the JSON output has all."""
_MAX_EVIDENCE = 6
"""Frames of one finding."""
_COLOURS: dict[Level, str] = {
    "violation": "red",
    "suspect": "yellow",
    "warning": "yellow",
    "note": "cyan",
    "chat": "dim",
}
_LABEL = max(map(len, LEVELS)) + 4
_NO_BREAK = "\N{NO-BREAK SPACE}"
_NEVER = "nothing in the capture to apply it to"


def audit_text(audited: Audited, clock: Clock, style: Style, width: int | None = None) -> Iterator[str]:
    """The findings, how often each rule was evaluated, and one line that says what it comes to."""
    verdicts = audited.verdicts
    writer = FindingText(clock, style, width, len(audited.files) > 1)
    figures = [finding for finding in verdicts.findings if level(finding) == "chat"]
    findings = [finding for finding in verdicts.findings if level(finding) != "chat"]
    for title, those in (("Findings", findings), ("Figures", figures)):
        if those:
            yield from writer.findings(title, those, verdicts.clusters)
            yield ""
    yield from closing(audited, style, width)


def closing(audited: Audited, style: Style, width: int | None) -> Iterator[str]:
    """How often each rule was evaluated, and the last line."""
    yield style.paint("Rules", "bold")
    yield from _rules(audited.verdicts.tallies, width)
    yield ""
    yield from wrapped(_conclusion(audited.verdicts), width, "", "")


class FindingText:
    """Makes the lines of findings."""

    def __init__(self, clock: Clock, style: Style, width: int | None, several: bool) -> None:
        """With `several` files the number of a frame has that of its file before it."""
        self._page = Page(clock, style, Names(), width, several)
        self._clusters = 1

    def findings(self, title: str, findings: Sequence[Finding], clusters: int) -> Iterator[str]:
        """Findings under a title, most severe first, and those of one rule together."""
        yield self._page.style.paint(title, "bold")
        order = sorted(findings, key=lambda finding: LEVELS.index(level(finding)))
        for level_, of_level in groupby(order, key=level):
            by_rule: dict[Rule, list[Finding]] = {}
            for finding in of_level:
                by_rule.setdefault(finding.rule, []).append(finding)
            for rule, same in by_rule.items():
                yield from self._same(rule, level_, same, clusters)

    def _same(self, rule: Rule, level_: Level, findings: Sequence[Finding], clusters: int) -> Iterator[str]:
        yield from self._head(rule, level_)
        for finding in findings[:_MAX_FINDINGS]:
            yield from self._finding(finding, clusters)
        if len(findings) > _MAX_FINDINGS:
            more = f"and {counted(len(findings) - _MAX_FINDINGS, 'more finding')} of this rule; --json has them all"
            yield from self._indented(more)
        told = dict.fromkeys(text for finding in findings for text in explained(finding))
        for text in told:
            yield from self._indented(text)

    def one(self, finding: Finding) -> Iterator[str]:
        """A finding by itself, as it is made; with its cluster as soon as there was one of another cluster."""
        self.clusters(finding.cluster + 1)
        yield from self._head(finding.rule, level(finding))
        yield from self._finding(finding, self._clusters)
        for text in explained(finding):
            yield from self._indented(text)

    def clusters(self, number: int) -> None:
        """There are so many clusters at least."""
        self._clusters = max(self._clusters, number)

    def _head(self, rule: Rule, level_: Level) -> Iterator[str]:
        label = f"  {level_}".ljust(_LABEL)
        first, *others = wrapped(f"{rule.id} {rule.title}", self._page.width, label, " " * _LABEL)
        yield "  " + self._page.style.paint(level_, _COLOURS[level_]) + first[2 + len(level_) :]
        yield from others

    def _finding(self, finding: Finding, clusters: int) -> Iterator[str]:
        yield from self._indented(sentence(finding, clusters))
        yield from self._indented(self._where(finding))

    def _where(self, finding: Finding) -> str:
        page = self._page
        frames = ", ".join(map(page.frame, finding.evidence[:_MAX_EVIDENCE]))
        more = len(finding.evidence) - _MAX_EVIDENCE
        text = f"at {page.time(finding.place)}, {_plural('frame', len(finding.evidence))} {frames}"
        text += f" and {more:,} more" if more > 0 else ""
        if finding.last is not None:
            text += f"; {finding.times:,} times, the last time at {self._moment(finding.last)}"
        return text

    def again(self, findings: Iterable[Finding]) -> Iterator[str]:
        """Which of the findings that were told already came again."""
        for finding in findings:
            if finding.last is not None:
                first = self._moment(finding.place)
                text = f"{finding.rule.id} at {first} came {finding.times:,} times, the last time at "
                yield from wrapped(text + self._moment(finding.last), self._page.width, "")

    def _moment(self, place: Place) -> str:
        return f"{self._page.time(place)}, frame {self._page.frame(place)}"

    def _indented(self, text: str) -> list[str]:
        return self._page.note(text, " " * _LABEL)


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _rules(tallies: Sequence[Tally], width: int | None) -> Iterator[str]:
    evaluated = [tally for tally in tallies if evaluations(tally)]
    held = [tally for tally in evaluated if tally.held == evaluations(tally)]
    failed = [tally for tally in evaluated if tally.held != evaluations(tally)]
    if failed:
        yield "  did not always hold:"
    for tally in failed:
        yield from wrapped(_failed(tally), width, "    ", "      ")
    if held:
        yield "  held, with how often:"
    for _, of_group in groupby(held, key=lambda tally: group(tally.rule.id)):
        yield from _items("", "  ", ((tally.rule.id, tally.held) for tally in of_group), width)
    yield from _unevaluated("not evaluated every time", [tally for tally in evaluated if tally.not_evaluated], width)
    yield from _unevaluated("never evaluated", [tally for tally in tallies if not evaluations(tally)], width)


def _failed(tally: Tally) -> str:
    counts = (
        (tally.violations, "violation"),
        (tally.suspects, "suspect"),
        (tally.observations, "observation"),
    )
    found = ", ".join(counted(count, noun) for count, noun in counts if count)
    return f"{tally.rule.id}: {found}, held {counted(tally.held, 'time')}"


def _unevaluated(title: str, tallies: Sequence[Tally], width: int | None) -> Iterator[str]:
    """Rules by the reason that kept them most often from being evaluated."""
    if not tallies:
        return
    yield f"  {title}:"
    by_reason: dict[Reason | None, list[tuple[str, int]]] = {}
    for tally in tallies:
        reason = max(tally.not_evaluated, key=tally.not_evaluated.__getitem__, default=None)
        by_reason.setdefault(reason, []).append((tally.rule.id, sum(tally.not_evaluated.values())))
    for reason, items in by_reason.items():
        why = _NEVER if reason is None else REASONS[reason]
        yield from _items(f"{why}: ", ", ", items, width)


def _items(before: str, between: str, items: Iterable[tuple[str, int]], width: int | None) -> Iterator[str]:
    """Rules with how often; no line ends between the two."""
    told = between.join(f"{id_}{_NO_BREAK}{count:,}" if count else id_ for id_, count in items)
    for line in wrapped(before + told, width, "    ", "      "):
        yield line.replace(_NO_BREAK, " ")


def _conclusion(verdicts: Verdicts) -> str:
    tallies = verdicts.tallies
    evaluated = [tally for tally in tallies if evaluations(tally)]
    times = sum(map(evaluations, evaluated))
    clusters = f" of {counted(verdicts.clusters, 'cluster')}" if verdicts.clusters != 1 else ""
    checked = (
        f"{len(evaluated):,} of {counted(len(tallies), 'rule')} evaluated {counted(times, 'time')} "
        f"in {counted(verdicts.messages, 'message')}{clusters}"
    )
    found: dict[Level, int] = dict.fromkeys(LEVELS, 0)
    for finding in verdicts.findings:
        found[level(finding)] += 1
    del found["chat"]
    if not any(found.values()):
        return f"Nothing found: {checked}."
    told = ", ".join(counted(count, level_) for level_, count in found.items() if count)
    return f"{told}: {checked}."
