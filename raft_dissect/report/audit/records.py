"""The audit as JSON records: one for each finding, and a summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raft_dissect.report.audit.words import fingerprint
from raft_dissect.report.model import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.audit import Finding, Rule
    from raft_dissect.audit.defects import Defect
    from raft_dissect.report.audit.words import Audited
    from raft_dissect.report.times import Clock
    from raft_dissect.values import Place

Record = dict[str, Any]


class AuditRecords:
    """Makes the records of `audit --json`; `files` are named in them when there are several."""

    def __init__(self, files: Sequence[str], clock: Clock) -> None:
        self._files = files if len(files) > 1 else ()
        self._clock = clock

    def finding(self, finding: Finding) -> Record:
        """The record of a finding."""
        last = finding.last or finding.place
        return {
            "rule": finding.rule.id,
            "title": finding.rule.title,
            "severity": finding.severity,
            "verdict": finding.verdict,
            **self._place(finding.place),
            "frames": [place.frame for place in finding.evidence],
            "evidence": [self._place(place) for place in finding.evidence],
            "cluster": finding.cluster,
            "server": finding.server,
            "peer": finding.peer,
            "term": finding.term,
            "index": finding.log_index,
            "message": finding.message,
            "count": finding.times,
            "last_frame": last.frame,
            "last_time": self._clock.iso(last.time_ns),
            "reference": finding.rule.source,
            "defects": [{**_defect(known.defect), "certain": known.certain} for known in finding.defects],
            "fingerprint": fingerprint(finding),
        }

    def _place(self, place: Place) -> Record:
        record: Record = {"frame": place.frame}
        if self._files:
            record["file"] = self._files[place.file]
        record.update(time=self._clock.iso(place.time_ns), time_ns=place.time_ns)
        return record

    def summary(self, audited: Audited) -> Record:
        """How often each rule was evaluated, and what was audited."""
        verdicts = audited.verdicts
        begin, end = (None if ns is None else self._clock.iso(ns) for ns in (audited.first_ns, audited.last_ns))
        return {
            "summary": True,
            "schema": SCHEMA,
            "files": list(audited.files),
            "packets": audited.packets,
            "messages": verdicts.messages,
            "clusters": verdicts.clusters,
            "first": begin,
            "last": end,
            "rules": [
                {
                    "rule": tally.rule.id,
                    "held": tally.held,
                    "violations": tally.violations,
                    "suspects": tally.suspects,
                    "observations": tally.observations,
                    "not_evaluated": dict(tally.not_evaluated),
                }
                for tally in verdicts.tallies
            ],
        }


def rule_record(rule: Rule, defects: Sequence[Defect]) -> Record:
    """The record of a rule; `defects` are those that can explain its findings."""
    return {
        "rule": rule.id,
        "title": rule.title,
        "severity": rule.severity,
        "statement": rule.statement,
        "reference": rule.source,
        "needs": rule.needs,
        "avoids": rule.avoids,
        "example": rule.example,
        "defects": [_defect(defect) for defect in defects],
    }


def _defect(defect: Defect) -> Record:
    return {"id": defect.id, "title": defect.title, "releases": defect.releases, "fixed": defect.fixed or None}
