"""Scenarios told in words: the audit finds in each what it says, where it says, and accuses nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_dissect.auditing import audit
from tests.scenarios import SCENARIOS, load

if TYPE_CHECKING:
    from raft_dissect.audit import Finding
    from tests.scenarios import Expectation


def _level(finding: Finding) -> str:
    return finding.severity if finding.verdict == "observation" else finding.verdict


def _meets(finding: Finding, expected: Expectation) -> bool:
    wanted = (expected.kind, expected.rule, expected.server, expected.term, expected.frame)
    there = (_level(finding), finding.rule.id, finding.server, finding.term, finding.place.frame)
    return all(want in (None, have) for want, have in zip(wanted, there, strict=True))


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios_are_judged_as_they_say(name: str) -> None:
    one = load(name)
    findings = audit(one.packets).findings
    expectations = [expected for expected in one.expectations if expected.kind != "none"]
    for expected in expectations:
        assert [finding for finding in findings if _meets(finding, expected)], expected
    accused = {(f.rule.id, f.server, f.term) for f in findings if f.verdict != "observation"}
    convicting = (expected for expected in expectations if expected.kind in ("violation", "suspect"))
    assert accused == {(expected.rule, expected.server, expected.term) for expected in convicting}
