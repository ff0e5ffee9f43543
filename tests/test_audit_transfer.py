"""Leadership transfers that go wrong: to whom TimeoutNow goes, when, and what the leader and its target do then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_dissect.auditing import audit
from tests import captures
from tests.audits import accusations, findings, of_scenario, times_held
from tests.scenarios import load

if TYPE_CHECKING:
    from raft_dissect.audit import Finding

REAL = "s5-canon-0.18.1.pcap"
OLD = "s5-canon-0.10.0.pcap"
RULES = ["LT-01", "LT-02", "LT-03", "LT-04", "LT-05"]
ELECTED = """
    at 952ms 2 -> 1,3 RequestVote term=2 last=5/1 disrupt
    at 953ms 1,3 -> 2 RequestVoteResult term=2 granted
    at 955ms 2 -> 1,3 AppendEntries term=2 prev=5/1 commit=5
    at 957ms 1,3 -> 2 AppendEntriesResult term=2 last=5
"""
LED_ON = """
    at 1006ms..1906ms every 100ms 1 -> 2,3 AppendEntries term=1 prev={end}/1 commit=5
    at 1007ms..1907ms every 100ms 2,3 -> 1 AppendEntriesResult term=1 last={end}
"""


def three(text: str, *rules: str, release: str = "canonical-0.18.1") -> list[Finding]:
    """What is found behind the start of three servers, of which server 1 leads term 1 with a log up to 5."""
    return of_scenario(f"cluster 1 2 3 release {release}\ninclude start-of-three\n{text}", *rules)


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    return finding


def test_a_transfer_as_it_should_be_is_right() -> None:
    assert not three(f"at 950ms 1 -> 2 TimeoutNow term=1 last=5/1{ELECTED}")


def test_nobody_hands_over_to_a_server_that_is_no_voter() -> None:
    text = """
        at 910ms 1 -> 2,3 AppendEntries term=1 prev=5/1 commit=5 entries=change(1 voter, 2 voter, 3 standby)
        at 912ms 2,3 -> 1 AppendEntriesResult term=1 last=6
        at 950ms 1 -> 3   TimeoutNow term=1 last=6/1
    """
    finding = only(three(text, "LT-01"))
    assert (finding.verdict, finding.server, finding.peer, finding.term) == ("violation", 1, 3, 1)


UNSTORED = """
    at 948ms 1 -> 2,3 AppendEntries term=1 prev=5/1 commit=5 entries=command
    at 949ms 1 -> 2   TimeoutNow term=1 last=6/1
    at 950ms 3 -> 1   AppendEntriesResult term=1 last=6
"""


def test_a_target_that_stands_before_it_has_stored_the_log_was_told_too_early() -> None:
    """Releases before v0.18.0 send TimeoutNow right behind the entries."""
    finding = only(three(UNSTORED + ELECTED.replace("last=5/1", "last=6/1"), "LT-02", release="canonical-0.17.1"))
    assert (finding.severity, finding.server, finding.peer, finding.log_index) == ("warning", 1, 2, 6)


def test_an_acknowledgement_may_cross_timeout_now() -> None:
    stored = "\nat 951ms 2 -> 1 AppendEntriesResult term=1 last=6"
    assert not three(UNSTORED + stored + ELECTED.replace("last=5/1", "last=6/1"), "LT-02")


def test_a_target_that_does_nothing_ignores_the_transfer() -> None:
    (finding,) = findings(load("ignored-transfer").packets)
    assert (finding.rule.id, finding.severity, finding.peer) == ("LT-03", "warning", 2)
    assert finding.message == "Server 2 ignores TimeoutNow of leader 1 in term 1."


def test_a_target_that_still_writes_ignores_the_transfer() -> None:
    found = three(UNSTORED + LED_ON.format(end=5) + "\nat 5s silence", "LT-02", "LT-03")
    assert [finding.rule.id for finding in found] == ["LT-02", "LT-03"]
    assert found[1].message.endswith("it has acknowledged only up to entry 5 of 6.")


def test_a_transfer_that_pre_votes_and_a_heartbeat_undo_is_told_apart() -> None:
    """Releases v0.9.21 to v0.10.1 with pre-votes: the old leader goes on."""
    text = """
        at 950ms 1 -> 2 TimeoutNow term=1 last=5/1
        at 951ms 2 -> 1,3 RequestVote term=2 last=5/1 pre disrupt
    """
    found = three(text + LED_ON.format(end=5) + "\nat 5s silence", "LT-03", "EL-08", release="canonical-0.10.0")
    assert {finding.rule.id for finding in found} == {"EL-08", "LT-03"}
    assert found[0].message.endswith("with pre-votes only.")


def test_a_leader_that_goes_on_serving_clients_during_a_transfer_is_noted() -> None:
    text = """
        at 950ms 1 -> 2   TimeoutNow term=1 last=5/1
        at {when} 1 -> 2,3 AppendEntries term=1 prev=5/1 commit=5 entries=command
        at 5s silence
    """
    finding = only(three(text.replace("{when}", "960ms"), "LT-04"))
    assert (finding.severity, finding.server, finding.log_index) == ("warning", 1, 6)
    assert not three(text.replace("{when}", "2100ms"), "LT-04")  # the transfer was given up


@pytest.mark.parametrize(("when", "found"), [("960ms", 1), ("2010ms", 0)])
def test_two_targets_at_once_are_found(when: str, found: int) -> None:
    text = (
        f"at 950ms 1 -> 2 TimeoutNow term=1 last=5/1{LED_ON.format(end=5)}\nat {when} 1 -> 3 TimeoutNow term=1 last=5/1"
    )
    assert len(three(text, "LT-05")) == found


def test_flags_that_were_cut_off_do_not_make_a_target_ignore_anything() -> None:
    packets = [packet._replace(data=packet.data[:96]) for packet in captures.packets(REAL)]
    assert findings(packets, *RULES) == []


def test_a_capture_that_ends_behind_timeout_now_tells_nothing() -> None:
    assert not three(
        "at 950ms 1 -> 2 TimeoutNow term=1 last=5/1\nat 960ms 2 -> 1 AppendEntriesResult term=1 last=5", "LT-03"
    )


@pytest.mark.parametrize("file", captures.CLEAR)
def test_real_transfers_are_as_raft_says(file: str) -> None:
    verdicts = audit(captures.packets(file))
    assert [finding.message for finding in verdicts.findings if finding.rule.id in RULES] == []
    assert [found for found in accusations(verdicts) if found.rule in RULES] == []


@pytest.mark.parametrize("file", [REAL, OLD])
@pytest.mark.parametrize("rule", RULES)
def test_rules_are_asked_in_real_captures(rule: str, file: str) -> None:
    assert times_held(audit(captures.packets(file)), rule) == 4
