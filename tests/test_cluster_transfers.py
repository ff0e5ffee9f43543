"""Why transfers of leadership are not done; what a target must be to take over is in protocol document section 7.8."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from raft_dissect import analyze
from raft_dissect.cluster.facts import Refusal
from raft_dissect.report.as_json import report_record
from raft_dissect.report.as_text import report_text
from raft_dissect.report.terminal import Style
from raft_dissect.report.times import Clock
from tests.scripts import STANDBY, VOTER, Script, change, command
from tests.test_cluster_scenarios import beat, elect

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_dissect.cluster.facts import Transfer


def led() -> Script:
    """Server 1 leads term 2, and all have its only entry."""
    return elect(Script(), 1, 2)


def handed_over(script: Script, last: int = 1) -> Script:
    """Server 1 asks 2 at one second to take over, with a log up to an index."""
    fields = {"term": 2, "last_log_index": last, "last_log_term": 1 if last == 1 else 2}
    return script.at(1000).say(1, 2, "TimeoutNow", fields)


def transfer(script: Script) -> Transfer:
    (fact,) = script.facts().transfers
    return fact


def behind() -> Script:
    """The defect of canonical releases before 0.18.0: the target has not acknowledged entry 2 when it is asked."""
    return handed_over(led().append(1, 2, 2, (1, 1), command(2)), 2).result(2, 1, 2, 2)


def demoted() -> Script:
    roles = {1: VOTER, 2: STANDBY, 3: VOTER}
    return handed_over(led().append(1, 2, 2, (1, 1), change(2, roles)).result(2, 1, 2, 2), 2)


def ahead() -> Script:
    """Server 2 voted for 3 in term 3, of which the old leader knows nothing."""
    return handed_over(led().at(500).ask(3, 2, 3, (0, 0)).vote(2, 3, 3, 0))


def answers_are_missing() -> Script:
    """The target says nothing of its log: all that is seen of it is its vote."""
    script = Script().ask(1, 2, 2).vote(2, 1, 2, 1).append(1, 2, 2, (1, 1))
    return handed_over(script.append(1, 2, 2, (1, 1), command(2)), 2)


IGNORED: dict[str, tuple[Callable[[], Script], str]] = {
    "log_behind": (behind, "had not acknowledged the whole log"),
    "not_a_voter": (demoted, "it is no voter"),
    "stale_term": (ahead, "its own term was later"),
    "connection_lost": (lambda: handed_over(led()).kill(2), "the connection between them ended"),
    "unknown": (lambda: handed_over(led()), "it did not campaign."),
}


@pytest.mark.parametrize("reason", IGNORED)
def test_target_that_ignores_a_transfer_does_so_for_a_reason(reason: str) -> None:
    happens, words = IGNORED[reason]
    script = happens().at(4000).append(1, 3, 2, (1, 1))
    assert transfer(script)[3:5] == ("ignored", None)
    assert transfer(script).reason == reason
    (finding,) = [one for one in analyze(script.packets()).findings if one.kind == "failed_transfer"]
    assert words in finding.text


def test_answers_that_the_capture_does_not_have_prove_no_log_that_is_behind() -> None:
    assert transfer(answers_are_missing().at(4000).append(1, 3, 2, (2, 2))).reason == "unknown"


def test_connection_that_ends_much_later_does_not_explain_it() -> None:
    assert transfer(handed_over(led()).at(3000).kill(2).at(4000).append(1, 3, 2, (1, 1))).reason == "unknown"


def test_transfer_to_a_server_of_which_the_capture_has_nothing_is_not_known_to_be_ignored() -> None:
    """Whether it asked for votes would not be in this capture."""
    script = handed_over(Script().append(1, 2, 2, (1, 1)).append(1, 3, 2, (1, 1)).result(3, 1, 2, 1))
    fact = transfer(script.at(4000).append(1, 3, 2, (1, 1)))
    assert (fact.outcome, fact.reason) == ("unknown", None)


def test_transfer_is_done_although_the_requests_for_votes_are_missing() -> None:
    fact = transfer(handed_over(led()).at(1500).append(2, 3, 3, (1, 1)).at(9000).result(3, 2, 3, 1))
    assert (fact.outcome, fact.seconds, fact.reason) == ("done", 0.5, None)


def test_leader_that_the_target_becomes_long_after_it_was_asked_is_none_by_the_transfer() -> None:
    fact = transfer(handed_over(led()).at(3500).append(2, 3, 3, (1, 1)).at(9000).result(3, 2, 3, 1))
    assert (fact.outcome, fact.reason) == ("ignored", "unknown")


def campaigned(pre: int = 0) -> Script:
    return handed_over(led()).ask(2, 1, 3, disrupt=1, pre=pre).ask(2, 3, 3, disrupt=1, pre=pre)


def outvoted() -> Script:
    """Both others have entry 2 of term 2, and the target has not."""
    script = led().append(1, 3, 2, (1, 1), command(2)).result(3, 1, 2, 2)
    script = handed_over(script, 2).ask(2, 1, 3, disrupt=1).ask(2, 3, 3, disrupt=1)
    return script.vote(3, 2, 3, 0).vote(1, 2, 3, 0).at(4000)


def test_target_that_more_voters_refuse_than_elect_fails_for_their_reasons() -> None:
    script = outvoted()
    fact = transfer(script)
    assert (fact.outcome, fact.reason) == ("failed", "refused")
    assert fact.refused == (Refusal(3, "log_behind"), Refusal(1, "log_behind"))
    (finding,) = [one for one in analyze(script.packets()).findings if one.kind == "failed_transfer"]
    assert "servers 3 and 1 refused (its log is behind)" in finding.text


def test_old_leader_goes_on_where_a_heartbeat_undoes_the_transfer() -> None:
    """Releases 0.9.21 to 0.10.1 with pre-vote: a pre-vote with the flag, and then the old leader again."""
    script = campaigned(pre=1)
    for step in range(5):
        beat(script.at(1100 + 100 * step), 1, 2)
    fact = transfer(script.at(4000).result(2, 1, 2, 1))
    assert (fact.outcome, fact.reason) == ("failed", "old_leader_went_on")


def test_what_the_old_leader_had_in_its_queue_does_not_mean_that_it_went_on() -> None:
    fact = transfer(campaigned().append(1, 3, 2, (1, 1)).at(4000).result(3, 1, 2, 1))
    assert (fact.outcome, fact.reason) == ("failed", "unknown")


def test_another_server_may_be_elected_instead() -> None:
    script = campaigned().at(2500).ask(3, 1, 4).vote(1, 3, 4, 1).append(3, 1, 4, (1, 1)).at(4000).result(1, 3, 4, 1)
    assert (transfer(script).outcome, transfer(script).reason) == ("failed", "other_leader")


def test_campaign_that_the_capture_ends_in_has_not_failed() -> None:
    fact = transfer(campaigned())
    assert (fact.outcome, fact.reason) == ("unknown", None)
    assert transfer(campaigned().vote(3, 2, 3, 1).append(2, 3, 3, (1, 1))).reason is None


def test_json_and_text_say_the_same() -> None:
    report = analyze(outvoted().packets())
    (record,) = json.loads(json.dumps(report_record(report, Clock())))["clusters"][0]["transfers"]
    assert (record["outcome"], record["reason"], record["seconds"]) == ("failed", "refused", None)
    reasons = [{"voter": 3, "reason": "log_behind"}, {"voter": 1, "reason": "log_behind"}]
    assert record["refused"] == reasons
    text = "\n".join(report_text(report, Clock(), Style()))
    (row,) = text.split("\nLeadership transfers\n")[1].split("\n\n")[0].splitlines()[1:]
    assert "failed  refused by 1 3 (log is behind)" in row
