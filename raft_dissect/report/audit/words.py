"""What all formats of the audit have in common: the levels of findings, when a run fails, the names of the groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from raft_dissect.report.escape import wire_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.audit import Finding, Tally, Verdicts

Level = Literal["violation", "suspect", "warning", "note", "chat"]
"""What a finding is: the verdict of a rule of level error, or else the finding's own severity."""
LEVELS: tuple[Level, ...] = ("violation", "suspect", "warning", "note", "chat")
"""Most severe first."""

FailOn = Literal["error", "warning", "note", "never"]
FAIL_ON: dict[FailOn, tuple[Level, ...]] = {
    "error": ("violation",),
    "warning": ("violation", "suspect", "warning"),
    "note": ("violation", "suspect", "warning", "note"),
    "never": (),
}
"""The levels of findings at which a run fails."""

GROUPS: dict[str, str] = {
    "ENC": "Encoding",
    "HS": "Handshakes and connections",
    "TCP": "Transport",
    "MON": "What may only grow",
    "EL": "Elections",
    "LM": "Log matching",
    "REPL": "Replication",
    "CM": "Commit",
    "SN": "Snapshots",
    "MEM": "Membership",
    "LT": "Leadership transfer",
    "LIVE": "Timing and liveness",
}
"""What the letters before the number of a rule stand for."""


_LONGEST = 1000
"""Characters of one sentence: a configuration sets no limit to the addresses in it."""


class Audited(NamedTuple):
    """The result of an audit, with what was audited."""

    verdicts: Verdicts
    files: tuple[str, ...]
    """The capture's files; none if the packets came from elsewhere."""
    packets: int
    first_ns: int | None
    """Nanoseconds since the Unix epoch; None when there was no packet."""
    last_ns: int | None


def level(finding: Finding) -> Level:
    """What a finding is."""
    if finding.verdict != "observation":
        return finding.verdict
    # A rule of level error may find something that is below it.
    return finding.severity if finding.severity != "error" else "warning"


def fails(findings: Sequence[Finding], fail_on: FailOn) -> bool:
    """Whether a run with these findings fails."""
    return any(level(finding) in FAIL_ON[fail_on] for finding in findings)


def group(rule_id: str) -> str:
    """The letters of a rule's group."""
    return rule_id.partition("-")[0]


def sentence(finding: Finding, clusters: int = 1) -> str:
    """What was found, in one line that is safe to show; where there are several clusters, with the cluster."""
    before = f"Cluster {finding.cluster + 1}: " if clusters > 1 else ""
    return wire_text(before + finding.message, _LONGEST)


def explained(finding: Finding) -> list[str]:
    """Sentences about the known defects that explain a finding."""
    return [
        f"Known defect {known.defect.id}: {known.defect.title}; {known.defect.told}."
        + ("" if known.certain else " The server may run a release without it.")
        for known in finding.defects
    ]


def evaluations(tally: Tally) -> int:
    """How often a rule was evaluated."""
    return tally.held + tally.violations + tally.suspects + tally.observations


def fingerprint(finding: Finding) -> str:
    """The same for the same finding in another run or another capture: neither frames nor times are in it."""
    from hashlib import sha256  # here because it takes a while to import, and only some formats have it

    what = (finding.rule.id, level(finding), finding.server, finding.peer, finding.term, finding.log_index)
    return sha256(repr(what).encode()).hexdigest()[:32]
