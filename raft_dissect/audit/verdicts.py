"""What the audit gives: findings, each with its evidence, and how often each rule was evaluated."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from raft_dissect.audit.defects import Explanation
    from raft_dissect.audit.rule import Rule, Severity
    from raft_dissect.values import Place

Verdict = Literal["violation", "suspect", "observation"]
"""`violation`: the protocol was violated, and all that proves it is in the capture. `suspect`: it looks so, but a
server's identity, or something else that was used, is inferred. `observation`: what a rule below `error` found."""

Reason = Literal[
    "gap",
    "begun_midway",
    "cut_short",
    "unknown_server",
    "unknown_voters",
    "other_direction",
    "capture_end",
    "forgotten",
    "unknown_release",
    "unknown_timers",
    "not_hashed",
    "ambiguous",
]
"""Why a rule was not evaluated for a subject."""

REASONS: dict[Reason, str] = {
    "gap": "packets that would tell are missing from the capture",
    "begun_midway": "what happened before the capture began would tell",
    "cut_short": "the snaplen cut off the fields that would tell",
    "unknown_server": "it is not known which server sent or received the message",
    "unknown_voters": "the capture does not show who the voters are",
    "other_direction": "the connection that would tell is not in the capture",
    "capture_end": "the capture or the connection ends before it can be told",
    "forgotten": "it is so long ago that it was forgotten to save memory",
    "unknown_release": "it depends on the release, which the capture does not show",
    "unknown_timers": "it depends on the timers, which the capture does not show",
    "not_hashed": "the data would tell, and nobody asked to look at it",
    "ambiguous": "it cannot be told which request an answer belongs to",
}


class Finding(NamedTuple):
    """Something that a rule found; repeats of it are folded into one."""

    rule: Rule
    severity: Severity
    verdict: Verdict
    place: Place
    """The packet that shows it."""
    evidence: tuple[Place, ...]
    """All packets that show it, that one included, in the order of time."""
    server: int | None
    """Whom it is about, by id."""
    peer: int | None
    term: int | None
    log_index: int | None
    message: str
    """One sentence for somebody who does not know the rule."""
    times: int = 1
    last: Place | None = None
    """The last repeat; None if there is none."""
    defects: tuple[Explanation, ...] = ()
    """The known defects of the releases of those whom it names that explain it, the likeliest first."""
    cluster: int = 0
    """Index of the cluster within the capture."""


class Tally(NamedTuple):
    """How often one rule was evaluated, and how it ended."""

    rule: Rule
    held: int
    violations: int
    suspects: int
    observations: int
    not_evaluated: dict[Reason, int]

    def plus(self, other: Tally) -> Tally:
        """The same rule, of two clusters together."""
        return Tally(
            self.rule,
            self.held + other.held,
            self.violations + other.violations,
            self.suspects + other.suspects,
            self.observations + other.observations,
            dict(Counter(self.not_evaluated) + Counter(other.not_evaluated)),
        )


class Verdicts(NamedTuple):
    """The result of an audit."""

    findings: tuple[Finding, ...]
    """In the order of the capture."""
    tallies: tuple[Tally, ...]
    """One for each rule that was asked, in the order of the catalogue."""
    clusters: int = 0
    messages: int = 0
    """That were judged, those that were cut included."""
