"""What an audit says of captures, in the few words that a test compares."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.pipeline import audit
from tests.captures import PCAPS
from tests.scenarios import scenario

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    from raft_dissect.audit import Finding, Verdicts
    from raft_dissect.values import Packet
    from tests.mutations import Transcript, Utterance

    Capture: TypeAlias = str | list[Packet]
    """The name of a file in `pcaps/`, or packets."""


def _findings(capture: Capture) -> Sequence[Finding]:
    return audit(str(PCAPS / capture) if isinstance(capture, str) else capture).findings


def errors(capture: Capture) -> list[tuple[str, str, int, int | None]]:
    """Rule, verdict, frame and server of each violation and suspect."""
    return [
        (finding.rule.id, finding.verdict, finding.place.frame, finding.server)
        for finding in _findings(capture)
        if finding.verdict != "observation"
    ]


def found(capture: Capture, rule: str) -> list[Finding]:
    """What one rule found."""
    return [finding for finding in _findings(capture) if finding.rule.id == rule]


def held(files: Iterable[str]) -> Counter[str]:
    """How often each rule held in some files."""
    counts: Counter[str] = Counter()
    for file in files:
        counts.update({tally.rule.id: tally.held for tally in audit(str(PCAPS / file)).tallies})
    return counts


class Said(NamedTuple):
    """A finding: the rule, its verdict and severity, and the frame."""

    rule: str
    verdict: str
    severity: str
    frame: int


def said(finding: Finding) -> Said:
    return Said(finding.rule.id, finding.verdict, finding.severity, finding.place.frame)


def findings(packets: Sequence[Packet], *rules: str) -> list[Finding]:
    """What is found in packets, of these rules or of all; figures of a healthy cluster are left out."""
    found = (finding for finding in audit(packets).findings if finding.severity != "chat")
    return [finding for finding in found if not rules or finding.rule.id in rules]


def of_scenario(text: str, *rules: str) -> list[Finding]:
    """What is found in a scenario, of these rules or of all."""
    return findings(scenario(text).packets, *rules)


def accusations(verdicts: Verdicts) -> list[Said]:
    """Violations and suspicions."""
    return [said(finding) for finding in verdicts.findings if finding.verdict != "observation"]


def accused(talk: Transcript) -> list[Said]:
    """Violations and suspicions in a transcript."""
    return accusations(audit(talk.packets()))


def violation(rule: str, talk: Transcript, utterance: Utterance) -> Said:
    """That an utterance of a transcript violates a rule for sure."""
    return Said(rule, "violation", "error", talk.frame(utterance))


def times_held(verdicts: Verdicts, rule: str) -> int:
    """How often a rule held."""
    return next(tally.held for tally in verdicts.tallies if tally.rule.id == rule)
