"""Each rule of the audit finds its fault in a real capture, where it is, and no other rule calls it an error."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import pytest

from raft_dissect.audit import RULES, SEVERITIES
from raft_dissect.auditing import audit
from tests.audits import accusations
from tests.capture_files import pcap
from tests.mutants import MUTANTS, WITHOUT
from tests.mutations import transcript

if TYPE_CHECKING:
    from pathlib import Path

    from raft_dissect.audit import Finding, Verdicts
    from tests.mutants import Mutant

SEVERITY = {rule.id: rule.severity for rule in RULES}


@lru_cache(maxsize=4)
def unchanged(capture: str) -> Verdicts:
    return audit(transcript(capture).packets())


def of(verdicts: Verdicts, rule: str) -> list[Finding]:
    return [finding for finding in verdicts.findings if finding.rule.id == rule]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_one_rule_finds_the_fault(mutant: Mutant, tmp_path: Path) -> None:
    before = unchanged(mutant.capture)
    assert accusations(before) == []
    # A figure is told of healthy clusters too: with the fault it is another one.
    known = {finding.message for finding in of(before, mutant.rule)}
    assert SEVERITY[mutant.rule] == "chat" or not known

    talk = transcript(mutant.capture)
    utterance = mutant.mutate(talk)
    packets, frames = talk.written()
    path = tmp_path / "mutant.pcap"
    path.write_bytes(pcap(*packets))
    verdicts = audit(str(path))

    least = SEVERITIES.index(SEVERITY[mutant.rule])
    new = (each for each in of(verdicts, mutant.rule) if each.message not in known)
    first = next(each for each in new if SEVERITIES.index(each.severity) <= least)
    assert first.place.frame == frames[utterance]
    assert first.server is None or {first.server, first.peer} & {utterance.sender, utterance.receiver}
    if first.severity == "error":
        assert {(each.rule, each.verdict) for each in accusations(verdicts)} == {(mutant.rule, "violation")}
    else:
        assert accusations(verdicts) == []


def test_every_rule_has_a_fault_that_it_finds() -> None:
    assert {mutant.rule for mutant in MUTANTS} | set(WITHOUT) == {rule.id for rule in RULES}


def test_faults_are_declared_once_and_in_words() -> None:
    assert len({(mutant.id, mutant.capture) for mutant in MUTANTS}) == len(MUTANTS)
    assert [mutant.id for mutant in MUTANTS if not mutant.what.endswith(".")] == []
