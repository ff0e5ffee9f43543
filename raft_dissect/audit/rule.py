"""What a rule of the audit declares: everything that the outputs and the documentation say about it."""

from __future__ import annotations

from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "note", "chat"]
"""Wireshark's levels of expert information. `error`: the protocol is violated. `warning`: legal or not, it does harm.
`note`: worth knowing. `chat`: how the cluster works."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note", "chat")
"""Most severe first."""


class Rule(NamedTuple):
    """One rule; its id never changes and is never used again."""

    id: str
    """Group and number, such as EL-02."""
    title: str
    """What it demands, in a few words."""
    severity: Severity
    """Of its findings, unless a finding says another one."""
    statement: str
    """What must hold, exactly, for which subject."""
    source: str
    """Section of the Raft paper ("Raft 5.2") or thesis ("thesis 4.2.3"), or the releases in which it was observed."""
    needs: str
    """What must be in the capture so that the rule is evaluated."""
    avoids: str
    """How a false positive could arise, and how it is avoided."""
    example: str
    """The text of a finding."""
