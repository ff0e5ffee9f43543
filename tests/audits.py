"""What the audit says of captures, in few words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from raft_dissect.pipeline import audit
from tests import variants
from tests.captures import PCAPS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from typing import TypeAlias

    from raft_dissect.audit import Finding
    from raft_dissect.values import Packet

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


def nobody_is_accused(file: str, group: str, known: Collection[str] = ()) -> None:
    """In no variant of a capture does a group of rules find a violation or a suspect; `known` rules are left out."""
    for name, packets in variants.variants(file):
        if packets:
            accused = [error for error in errors(packets) if error[0].startswith(group) and error[0] not in known]
            assert not accused, name
