"""What a diagnosis gives: findings in plain words, each with its evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.values import Place

Severity = Literal["problem", "warning", "note"]
"""`problem`: the cluster could not do its work. `warning`: it could, but worse. `note`: worth knowing."""

FindingKind = Literal[
    "no_leader",
    "two_leaders",
    "election_storm",
    "vain_candidate",
    "restless_leadership",
    "silent_follower",
    "slow_follower",
    "slow_catch_up",
    "lagging_follower",
    "write_failed",
    "repeated_snapshots",
    "failed_snapshots",
    "log_truncated",
    "failed_connections",
    "retransmissions",
    "zero_window",
    "slow_network",
    "failed_transfer",
    "unseen_voters",
    "incompatible",
    "begun_midway",
    "one_sided",
    "unseen_leader",
]

SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "note")
"""Most severe first."""


class Finding(NamedTuple):
    """One thing that went wrong, or that keeps the report from knowing more."""

    severity: Severity
    kind: FindingKind
    text: str
    """What happened, in one sentence that names servers, times and numbers."""
    advice: str
    """What to look at next, in one sentence."""
    servers: tuple[ServerName, ...]
    evidence: tuple[Place, ...]
    """The packets that show it, the first ones first; empty when it is the absence of packets that shows it."""
    cluster: int = 0
    """Index of the cluster within the report."""
