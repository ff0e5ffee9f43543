"""What went wrong in a cluster, in plain words: findings over the facts that the analysis gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.diagnosis import knowledge, leadership, membership, network, replication
from raft_dissect.diagnosis.findings import SEVERITIES, Finding

if TYPE_CHECKING:
    from raft_dissect.cluster.facts import ClusterFacts

__all__ = ["Finding", "diagnose"]

_RULES = (*leadership.RULES, *replication.RULES, *network.RULES, *membership.RULES, *knowledge.RULES)


def diagnose(facts: ClusterFacts) -> tuple[Finding, ...]:
    """What went wrong in one cluster, most severe first, and in the order of time where that is the same."""
    found = [finding for rule in _RULES for finding in rule(facts)]
    return tuple(sorted(found, key=lambda one: (SEVERITIES.index(one.severity), one.evidence[:1])))
