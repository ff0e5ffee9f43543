"""What an audit says of packets, and whether that is all that it may say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.pipeline import audit
from tests.scenarios import scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.audit import Finding
    from raft_dissect.audit.verdicts import Reason, Tally
    from raft_dissect.values import Packet
    from tests.mutations import Transcript, Utterance

ErrorAt = tuple[str, str, int]
"""Rule, verdict and frame."""


def findings(packets: Sequence[Packet], rule: str | None = None) -> list[Finding]:
    """What is found, by one rule or by all; figures of a healthy cluster are left out."""
    found = (finding for finding in audit(packets).findings if finding.severity != "chat")
    return [finding for finding in found if rule in (None, finding.rule.id)]


def errors(packets: Sequence[Packet]) -> list[ErrorAt]:
    """Every violation and suspect."""
    return [(f.rule.id, f.verdict, f.place.frame) for f in findings(packets) if f.verdict != "observation"]


def one(packets: Sequence[Packet], rule: str) -> Finding:
    """The only finding of a rule, in which there is no error of another one."""
    found = audit(packets).findings
    assert {finding.rule.id for finding in found if finding.verdict != "observation"} <= {rule}
    (finding,) = [finding for finding in found if finding.rule.id == rule]
    return finding


def tally(packets: Sequence[Packet], rule: str) -> Tally:
    return next(tally for tally in audit(packets).tallies if tally.rule.id == rule)


def skipped(packets: Sequence[Packet], rule: str) -> set[Reason]:
    """Why the rule was not evaluated somewhere."""
    return set(tally(packets, rule).not_evaluated)


def only(talk: Transcript, target: Utterance, rule: str, verdict: str = "violation") -> Finding:
    """The finding of a rule at an utterance, which must be all that is found beside observations."""
    written = talk.written()
    finding = one(written.packets, rule)
    assert (finding.verdict, finding.place.frame) == (verdict, written.frames[target])
    return finding


START_OF_THREE = "cluster 1 2 3 release {release}\ninclude start-of-three\n"
"""Three voters, of whom 1 leads term 1, with a log of five entries that are all committed."""


def after_start(text: str, release: str = "canonical-0.18.1") -> list[Packet]:
    """The packets of a scenario that goes on behind the start of three servers."""
    return scenario(START_OF_THREE.format(release=release) + text).packets
