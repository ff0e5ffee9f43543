"""All rules of the audit, group by group, in the order in which they are listed everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.audit.rules import (
    commit,
    election,
    encoding,
    liveness,
    log_matching,
    membership,
    monotonicity,
    replication,
    snapshot,
    transfer,
    transport,
)

if TYPE_CHECKING:
    from raft_dissect.audit.group import Group
    from raft_dissect.audit.rule import Rule

GROUPS: tuple[type[Group], ...] = (
    encoding.Encoding,
    transport.Transport,
    monotonicity.Monotonicity,
    election.Elections,
    log_matching.LogMatching,
    replication.Replication,
    commit.Commit,
    snapshot.Snapshots,
    membership.Membership,
    transfer.Transfers,
    liveness.Liveness,
)
RULES: tuple[Rule, ...] = (
    *encoding.RULES,
    *transport.RULES,
    *monotonicity.RULES,
    *election.RULES,
    *log_matching.RULES,
    *replication.RULES,
    *commit.RULES,
    *snapshot.RULES,
    *membership.RULES,
    *transfer.RULES,
    *liveness.RULES,
)
