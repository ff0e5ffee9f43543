"""All rules of the audit, group by group, in the order in which they are listed everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.audit.rules import monotonicity

if TYPE_CHECKING:
    from raft_dissect.audit.group import Group
    from raft_dissect.audit.rule import Rule

GROUPS: tuple[type[Group], ...] = (monotonicity.Monotonicity,)
RULES: tuple[Rule, ...] = (*monotonicity.RULES,)
