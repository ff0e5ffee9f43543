"""What an audit says of a scenario, or of packets: verdicts by rule, for tests that read like the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.dissection import Dissection
from raft_dissect.pipeline import AuditBuilder, audit
from tests.scenarios import scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.audit import Finding, Tally, Verdicts
    from raft_dissect.values import Packet

THREE = "cluster 1 2 3 release canonical-0.18.1\ninclude start-of-three\n"
"""Three voters with the log 1..5 of term 1, all of it committed; leader 1 sends heartbeats every 100 ms, to 906 ms."""


class Audited(NamedTuple):
    """The verdicts, and the frames of the places that have names in the scenario."""

    verdicts: Verdicts
    frames: dict[str, int]

    def of(self, rule: str) -> list[Finding]:
        """What a rule found."""
        return [finding for finding in self.verdicts.findings if finding.rule.id == rule]

    def one(self, rule: str) -> Finding:
        """The only thing that a rule found."""
        (finding,) = self.of(rule)
        return finding

    def tally(self, rule: str) -> Tally:
        """How often a rule was evaluated."""
        (tally,) = [tally for tally in self.verdicts.tallies if tally.rule.id == rule]
        return tally

    @property
    def convicting(self) -> set[str]:
        """The rules that found a violation or suspect one."""
        return {finding.rule.id for finding in self.verdicts.findings if finding.verdict != "observation"}


def audited(text: str) -> Audited:
    """The audit of a scenario; lines that end with `expect ... at NAME` make the frames of names known."""
    names = [word for line in text.splitlines() for word in line.partition(" as ")[2].split()[:1]]
    one = scenario(text + "".join(f"\nexpect violation AA-00 at {name}" for name in names))
    frames = {name: expected.frame or 0 for name, expected in zip(names, one.expectations, strict=True)}
    return Audited(audit(one.packets), frames)


def of_packets(packets: Sequence[Packet], *, hashed: bool = False) -> Audited:
    """The audit of packets; `hashed` with hashes of what messages carry."""
    if not hashed:
        return Audited(audit(list(packets)), {})
    dissection = Dissection(list(packets), hash_payload=True)
    builder = AuditBuilder()
    for batch in dissection.batches():
        builder.feed(batch)
    return Audited(builder.verdicts(dissection), {})
