"""What an audit says of captures and scenarios, in the few words that a test compares."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.auditing import AuditBuilder, audit
from raft_dissect.dissection import Dissection
from tests.captures import PCAPS
from tests.scenarios import scenario

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from raft_dissect.audit import Finding, Reason, Tally, Verdicts
    from raft_dissect.values import Packet
    from tests.mutations import Transcript, Utterance

    Capture: TypeAlias = str | list[Packet]
    """The name of a file in `pcaps/`, or packets."""
    ErrorAt: TypeAlias = tuple[str, str, int]
    """Rule, verdict and frame."""

THREE = "cluster 1 2 3 release canonical-0.18.1\ninclude start-of-three\n"
"""Three voters with the log 1..5 of term 1, all of it committed; leader 1 sends heartbeats every 100 ms, to 906 ms."""


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


class Said(NamedTuple):
    """A finding: the rule, its verdict and severity, and the frame."""

    rule: str
    verdict: str
    severity: str
    frame: int


def said(finding: Finding) -> Said:
    return Said(finding.rule.id, finding.verdict, finding.severity, finding.place.frame)


def findings(packets: Sequence[Packet], *rules: str) -> list[Finding]:
    """What is found in packets, of these rules or of all; figures of a healthy cluster are left out."""
    found = (finding for finding in audit(packets).findings if finding.severity != "chat")
    return [finding for finding in found if not rules or finding.rule.id in rules]


def of_scenario(text: str, *rules: str) -> list[Finding]:
    """What is found in a scenario, of these rules or of all."""
    return findings(scenario(text).packets, *rules)


def accusations(verdicts: Verdicts) -> list[Said]:
    """Violations and suspicions."""
    return [said(finding) for finding in verdicts.findings if finding.verdict != "observation"]


def accused(talk: Transcript) -> list[Said]:
    """Violations and suspicions in a transcript."""
    return accusations(audit(talk.packets()))


def violation(rule: str, talk: Transcript, utterance: Utterance) -> Said:
    """That an utterance of a transcript violates a rule for sure."""
    return Said(rule, "violation", "error", talk.frame(utterance))


def times_held(verdicts: Verdicts, rule: str) -> int:
    """How often a rule held."""
    return next(tally.held for tally in verdicts.tallies if tally.rule.id == rule)


def errors_at(packets: Sequence[Packet]) -> list[ErrorAt]:
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


def after_start(text: str, release: str = "canonical-0.18.1") -> list[Packet]:
    """The packets of a scenario that goes on behind the start of three servers."""
    return scenario(THREE.replace("canonical-0.18.1", release) + text).packets


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


def of_packets(packets: Sequence[Packet], *, digested: bool = True) -> Audited:
    """The audit of packets, as of a dissection that was not asked to look at what messages carry if not `digested`."""
    if digested:
        return Audited(audit(list(packets)), {})
    dissection = Dissection(list(packets))
    builder = AuditBuilder()
    for batch in dissection.batches():
        builder.feed(batch)
    return Audited(builder.verdicts(dissection), {})
