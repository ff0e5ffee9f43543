"""The audit as a SARIF log, which code hosts and editors show.

Source: Static Analysis Results Interchange Format (SARIF) Version 2.1.0 with Errata 01, an OASIS Standard.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from raft_dissect import __version__
from raft_dissect.audit import REASONS, RULES
from raft_dissect.audit.defects import known_defects
from raft_dissect.report.audit.words import GROUPS, explained, fingerprint, group, level, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.audit import Finding, Rule, Severity, Tally
    from raft_dissect.report.audit.words import Audited, Level
    from raft_dissect.report.times import Clock
    from raft_dissect.values import Place

Record = dict[str, Any]

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: dict[Level, str] = {
    "violation": "error",
    "suspect": "warning",
    "warning": "warning",
    "note": "note",
    "chat": "note",
}
_DEFAULTS: dict[Severity, str] = {"error": "error", "warning": "warning", "note": "note", "chat": "note"}


def audit_sarif(audited: Audited, clock: Clock) -> Record:
    """The whole audit as one JSON object."""
    rules = [tally.rule for tally in audited.verdicts.tallies]
    numbers = {rule.id: number for number, rule in enumerate(rules)}
    locator = _Locator(audited.files, clock)
    findings = audited.verdicts.findings
    driver = {
        "name": "raft-dissect",
        "semanticVersion": __version__,
        "rules": [_rule(rule) for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "artifacts": [{"location": {"uri": _uri(file)}, "roles": ["analysisTarget"]} for file in audited.files],
        "results": [_result(finding, numbers, locator, audited.verdicts.clusters) for finding in findings],
        "properties": {
            "packets": audited.packets,
            "messages": audited.verdicts.messages,
            "clusters": audited.verdicts.clusters,
            "rulesOff": [rule.id for rule in RULES if rule.id not in numbers],
            "evaluations": [_evaluations(tally) for tally in audited.verdicts.tallies],
        },
    }
    return {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> Record:
    parts = [
        ("Source", rule.source),
        ("Needs", rule.needs),
        ("How a false alarm is avoided", rule.avoids),
        ("Example", rule.example),
        *(("Known defect", f"{defect.id}: {defect.title}; {defect.told}.") for defect in known_defects(rule.id)),
    ]
    return {
        "id": rule.id,
        "shortDescription": {"text": _plain(rule.title)},
        "fullDescription": {"text": _plain(rule.statement)},
        "help": {
            "text": _plain("\n\n".join(f"{name}: {text}" for name, text in [("Demands", rule.statement), *parts]))
        },
        "defaultConfiguration": {"level": _DEFAULTS[rule.severity]},
        "properties": {"tags": ["raft", GROUPS.get(group(rule.id), group(rule.id))]},
    }


def _result(finding: Finding, numbers: dict[str, int], locator: _Locator, clusters: int) -> Record:
    text = " ".join((sentence(finding, clusters), *explained(finding)))
    last = finding.last or finding.place
    result = {
        "ruleId": finding.rule.id,
        "ruleIndex": numbers[finding.rule.id],
        "level": _LEVELS[level(finding)],
        "message": {"text": _plain(text)},
        "locations": [locator.location(finding.place)],
        "occurrenceCount": finding.times,
        "partialFingerprints": {"raftDissectFinding/v1": fingerprint(finding)},
        "properties": {
            "verdict": finding.verdict,
            "severity": finding.severity,
            "server": finding.server,
            "peer": finding.peer,
            "term": finding.term,
            "index": finding.log_index,
            "cluster": finding.cluster,
            "lastFrame": last.frame,
            "defects": [known.defect.id for known in finding.defects],
        },
    }
    others = [place for place in finding.evidence if place != finding.place]
    if others:
        result["relatedLocations"] = [
            {"id": number, **locator.location(place)} for number, place in enumerate(others, start=1)
        ]
    return result


def _evaluations(tally: Tally) -> Record:
    return {
        "rule": tally.rule.id,
        "held": tally.held,
        "violations": tally.violations,
        "suspects": tally.suspects,
        "observations": tally.observations,
        "notEvaluated": [
            {"reason": reason, "times": times, "text": REASONS[reason]} for reason, times in tally.not_evaluated.items()
        ],
    }


class _Locator:
    """Says where packets are: a frame of a file is a logical location, since lines and columns mean nothing there."""

    def __init__(self, files: Sequence[str], clock: Clock) -> None:
        self._files = files
        self._clock = clock

    def location(self, place: Place) -> Record:
        file = self._files[place.file] if self._files else None
        frame = f"frame {place.frame}"
        logical = {"name": frame, "fullyQualifiedName": frame if file is None else f"{_uri(file)}#{place.frame}"}
        location: Record = {
            "logicalLocations": [{**logical, "kind": "packet"}],
            "properties": {"frame": place.frame, "time": self._clock.iso(place.time_ns)},
        }
        if file is not None:
            location["physicalLocation"] = {"artifactLocation": {"uri": _uri(file), "index": place.file}}
        return location


def _uri(file: str) -> str:
    """A file name as a URI reference (RFC 3986); a colon in it would make what stands before it a scheme."""
    return ("file://" if file.startswith("/") else "") + quote(os.fsencode(file))


def _plain(text: str) -> str:
    """A text in which nothing is a placeholder or a link (sections 3.11.5 and 3.11.6)."""
    return text.replace("{", "{{").replace("}", "}}").replace("](", "\\](")
