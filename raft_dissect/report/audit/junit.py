"""The audit as JUnit XML, which CI servers show: a test case for each rule, a test suite for each group of rules.

Source: the XML Schema that Jenkins' xunit plugin has for it, junit-10.xsd.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from raft_dissect.audit import REASONS
from raft_dissect.report.audit.words import FAIL_ON, GROUPS, evaluations, explained, group, level, sentence
from raft_dissect.report.escape import visible
from raft_dissect.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raft_dissect.audit import Finding, Tally
    from raft_dissect.report.audit.words import Audited, FailOn
    from raft_dissect.report.times import Clock
    from raft_dissect.values import Place


def audit_junit(audited: Audited, clock: Clock, fail_on: FailOn) -> str:
    """The whole audit as one XML document; a test case fails where `fail_on` lets the run fail."""
    writer = _Writer(audited, clock, fail_on)
    root = Element("testsuites", name="raft-dissect audit")
    for name, tallies in groupby(audited.verdicts.tallies, key=lambda tally: group(tally.rule.id)):
        writer.suite(root, name, list(tallies))
    counts = [{key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors")} for suite in root]
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(count[key] for count in counts)))
    indent(root)
    return "<?xml version='1.0' encoding='utf-8'?>\n" + tostring(root, encoding="unicode") + "\n"


class _Writer:
    def __init__(self, audited: Audited, clock: Clock, fail_on: FailOn) -> None:
        self._audited = audited
        self._clock = clock
        self._failing = FAIL_ON[fail_on]
        self._findings: dict[str, list[Finding]] = {}
        for finding in audited.verdicts.findings:
            self._findings.setdefault(finding.rule.id, []).append(finding)

    def suite(self, root: Element, name: str, tallies: Sequence[Tally]) -> None:
        """One group of rules."""
        suite = SubElement(root, "testsuite", name=f"{name} {GROUPS.get(name, '')}".rstrip())
        properties = SubElement(suite, "properties")
        for file in self._audited.files:
            SubElement(properties, "property", name="file", value=visible(file))
        for tally in tallies:
            self._case(suite, name, tally)
        counts = {"tests": len(tallies), "failures": len(suite.findall("*/failure")), "errors": 0}
        for key, count in {**counts, "skipped": len(suite.findall("*/skipped"))}.items():
            suite.set(key, str(count))

    def _case(self, suite: Element, name: str, tally: Tally) -> None:
        rule = tally.rule
        case = SubElement(suite, "testcase", classname=f"raft.{name}", name=f"{rule.id} {rule.title}", time="0")
        found = self._findings.get(rule.id, [])
        failed = [finding for finding in found if level(finding) in self._failing]
        if failed:
            what = counted(len(failed), "finding")
            failure = SubElement(case, "failure", type=level(failed[0]), message=f"{what}: {sentence(failed[0])}")
            failure.text = self._told(failed)
        elif not evaluations(tally):
            SubElement(case, "skipped", message=_why(tally))
        told = [finding for finding in found if finding not in failed]
        lines = [_counts(tally), *([self._told(told)] if told else [])]
        SubElement(case, "system-out").text = "\n".join(lines)

    def _told(self, findings: Iterable[Finding]) -> str:
        clusters = self._audited.verdicts.clusters
        lines = []
        for finding in findings:
            where = f"at {self._clock.iso(finding.place.time_ns)}, frames "
            where += ", ".join(map(self._frame, finding.evidence))
            again = (
                ""
                if finding.last is None
                else f"; {finding.times:,} times, the last in frame {self._frame(finding.last)}"
            )
            lines += [f"{level(finding)}: {sentence(finding, clusters)}", f"  {where}{again}"]
            lines += [f"  {text}" for text in explained(finding)]
        return "\n".join(lines)

    def _frame(self, place: Place) -> str:
        return f"{place.file + 1}:{place.frame}" if len(self._audited.files) > 1 else str(place.frame)


def _counts(tally: Tally) -> str:
    text = (
        f"held {tally.held:,}, violations {tally.violations:,}, suspects {tally.suspects:,}, "
        f"observations {tally.observations:,}"
    )
    return text + (f"; not evaluated: {_why(tally)}" if tally.not_evaluated else "")


def _why(tally: Tally) -> str:
    """Why a rule was not evaluated."""
    if not tally.not_evaluated:
        return "nothing in the capture to apply it to"
    return "; ".join(f"{REASONS[reason]} ({times:,})" for reason, times in tally.not_evaluated.items())
