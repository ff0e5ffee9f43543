"""What went wrong in a cluster, in plain words: findings over the facts that the analysis gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.diagnosis import knowledge, leadership, membership, network, replication
from raft_dissect.diagnosis.findings import SEVERITIES, Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.cluster.facts import ClusterFacts

__all__ = ["Finding", "diagnose"]

_RULES = (*leadership.RULES, *replication.RULES, *network.RULES, *membership.RULES, *knowledge.RULES)


def diagnose(clusters: Sequence[ClusterFacts]) -> tuple[Finding, ...]:
    """What went wrong in the clusters, most severe first, and in the order of time where that is the same."""
    found = [
        finding._replace(cluster=number)
        for number, facts in enumerate(clusters)
        for rule in _RULES
        for finding in rule(facts)
    ]
    return tuple(sorted(found, key=lambda one: (SEVERITIES.index(one.severity), one.evidence[:1])))
