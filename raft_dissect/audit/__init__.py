"""Raft's safety and C-Raft's protocol, checked from the wire: rules, what they need to know, and their verdicts."""

from raft_dissect.audit.catalogue import RULES
from raft_dissect.audit.rule import SEVERITIES, Rule, Severity
from raft_dissect.audit.verdicts import REASONS, Finding, Reason, Tally, Verdict, Verdicts

__all__ = [
    "REASONS",
    "RULES",
    "SEVERITIES",
    "Finding",
    "Reason",
    "Rule",
    "Severity",
    "Tally",
    "Verdict",
    "Verdicts",
]
