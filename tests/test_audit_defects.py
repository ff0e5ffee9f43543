"""Known defects: each is told of what has it, and never named where the servers' releases exclude it."""

from __future__ import annotations

import pytest

from raft_dissect.audit import RULES, Finding
from raft_dissect.audit.defects import DEFECTS, Explanation, explanations
from raft_dissect.audit.rule import Rule
from raft_dissect.auditing import audit
from raft_dissect.wire import LAYOUTS
from tests.audit_captures import falling_term
from tests.made import at
from tests.scripts import PORT, Script

LABELS = frozenset(layout.label for layout in LAYOUTS)


def finding(rule: str, server: int | None = 2, peer: int | None = 1) -> Finding:
    what = Rule(rule, "", "error", "", "", "", "", "")
    return Finding(what, "error", "violation", at(1), (at(1),), server, peer, 1, None, "")


def named(rule: str, *labels: str, peer: tuple[str, ...] = ()) -> list[tuple[str, bool]]:
    """The defects that explain a finding about a server with these layouts, and whether it must have them."""
    wrote = {2: frozenset(labels), 1: frozenset(peer)}
    return [(known.defect.id, known.certain) for known in explanations(finding(rule), wrote.__getitem__)]


def test_rules_that_defects_name_exist() -> None:
    assert {rule for defect in DEFECTS for rule in defect.explains} <= {rule.id for rule in RULES}


def test_entries_are_whole() -> None:
    assert [defect.id for defect in DEFECTS] == [f"B{number}" for number in range(1, 27) if number != 25]
    for defect in DEFECTS:
        assert defect.explains
        assert defect.layouts | defect.perhaps
        assert defect.layouts | defect.perhaps <= LABELS
        assert not defect.layouts & defect.perhaps
        assert not defect.title.endswith(".")


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.id)
def test_releases_in_words_agree_with_the_layouts(defect: object) -> None:
    """A lineage is in the words exactly if one of its layouts is in the entry; c-0.18.0 is of all three lineages."""
    entry = next(one for one in DEFECTS if one is defect)
    labels = entry.layouts | entry.perhaps
    assert ("cowsql" in entry.releases) == any(label.startswith("w-") for label in labels)
    assert ("canonical" in entry.releases) == bool(labels & {"c-0.9.0", "c-0.9.15", "c-0.9.21", "c-0.11.3"})


def test_vote_that_was_given_twice_has_different_causes_by_release() -> None:
    """Catalogue: B3 is in v0.9.23..v0.11.2, B4 from v0.9.22 on and in cowsql before v0.19.0, B2 before v0.18.0."""
    assert [id_ for id_, _ in named("EL-02", "c-0.9.21")] == ["B3", "B4", "B2"]
    assert named("EL-02", "c-0.11.3") == [("B4", True), ("B2", True)]
    assert named("EL-02", "c-0.18.0") == [("B4", True)]
    assert named("EL-02", "w-0.17.4") == [("B4", False)]
    assert named("EL-02", "w-0.22.1") == []


def test_server_that_may_run_a_release_without_it_is_not_explained() -> None:
    assert named("EL-02", "c-0.18.0", "w-0.22.1") == []
    assert named("CM-03", "c-0.11.3", "c-0.18.0") == []
    assert named("CM-03", "c-0.9.21", "c-0.11.3") == [("B5", False)]
    assert named("CM-03") == []


def test_layouts_that_cannot_show_it_do_not_count() -> None:
    """Pre-votes, which B6 and B14 are about, came with v0.9.21; older vote requests have the same size."""
    assert named("EL-08", "c-0.9.15", "c-0.9.21") == [("B14", False)]
    assert named("EL-08", "c-0.9.15") == []
    assert named("EL-06", "c-0.9.0", "c-0.9.15", "c-0.9.21") == [("B6", True)]


def test_defect_of_the_other_side_is_looked_for_there() -> None:
    """B24: the receiver is too old for the version byte; B10: the receiver reads beyond the end of an old request."""
    assert named("ENC-08", "w-0.22.1", peer=("c-0.9.21",)) == [("B24", True)]
    assert named("ENC-08", "c-0.9.21", peer=("w-0.22.1",)) == []
    assert named("ENC-13", "c-0.9.0", peer=("w-0.22.1",)) == [("B10", True)]
    assert named("ENC-13", "w-0.22.1", peer=("c-0.9.15",)) == [("B24", True)]
    assert named("ENC-13", "c-0.9.0") == []


def test_rule_without_known_defects_has_no_explanation() -> None:
    assert named("MON-01", *LABELS) == []


def two_votes(layout: str) -> Script:
    """Server 3 asks for votes in term 4, and then grants its vote of term 5 to both others."""
    script = Script(layout).ask(3, 1, 4).vote(1, 3, 4, 0).ask(3, 2, 4).vote(2, 3, 4, 0)
    return script.ask(1, 3, 5).vote(3, 1, 5, 1).ask(2, 3, 5).vote(3, 2, 5, 1)


def found(script: Script) -> tuple[Explanation, ...]:
    (told,) = (told for told in audit(script.packets(), ports=[PORT]).findings if told.rule.id == "EL-02")
    return told.defects


def test_finding_is_explained_by_what_its_server_writes() -> None:
    """B2 is in canonical/raft before v0.18.0. A vote request of 32 bytes is from v0.9.0..v0.9.14 alone."""
    (known,) = found(two_votes("c-0.9.0"))
    assert (known.defect.id, known.certain) == ("B2", True)
    assert found(two_votes("w-0.22.1")) == ()


def test_upgrade_afterwards_changes_no_explanation() -> None:
    script = two_votes("c-0.9.0").wait(4000).ask(1, 2, 6).vote(2, 1, 6, 0)
    script.layout = "w-0.22.1"
    (known,) = found(script.ask(3, 2, 7).vote(2, 3, 7, 1))
    assert known.defect.id == "B2"


def test_late_results_explain_no_message_of_a_leader() -> None:
    """B20 is about who sends results: in REPL-06 that is the server that told the leader of the higher term."""
    assert named("MON-06", *LABELS) == []
    assert named("REPL-06", "w-0.22.1", peer=("c-0.9.21",)) == [("B20", True)]
    assert named("REPL-06", "c-0.9.21", peer=("w-0.22.1",)) == []


def test_what_is_off_is_not_among_the_tallies() -> None:
    verdicts = audit(falling_term().packets(), ports=[PORT], off=["MON-01"])
    assert [tally.rule.id for tally in verdicts.tallies] == [rule.id for rule in RULES if rule.id != "MON-01"]
    assert (verdicts.clusters, verdicts.messages) == (1, 10)
