"""What servers forget: the audit tells lost terms and lost entries from what Raft lets them drop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raft_dissect.auditing import audit
from tests import captures
from tests.audits import accusations, of_scenario, times_held

if TYPE_CHECKING:
    from raft_dissect.audit import Finding

START = "include start-of-three\n"
RESTARTED = """
    at 950ms 1 -> 2,3 AppendEntries term=7 prev=5/1 commit=5
    at 951ms 2,3 -> 1 AppendEntriesResult term=7 last=5
    at 960ms kill 2
    at 1950ms 2 -> 1,3 RequestVote term={term} last={last}
    at 2050ms 2 -> 1,3 RequestVote term={term} last={last} pre
    at 6s silence
"""


def three(text: str, *rules: str, release: str = "canonical-0.18.1") -> list[Finding]:
    """What is found behind the start of three servers, of which server 1 leads term 1 with a log up to 5."""
    return of_scenario(f"cluster 1 2 3 release {release}\n{START}{text}", *rules)


@pytest.mark.parametrize(
    ("term", "last", "severities"),
    [
        (8, "5/1", []),
        (6, "5/1", ["error"]),
        (2, "1/1", ["warning"]),  # an empty log: the server was made anew
    ],
)
def test_a_restart_keeps_the_term(term: int, last: str, severities: list[str]) -> None:
    found = [f for f in three(RESTARTED.format(term=term, last=last), "MON-04") if f.server == 2]
    assert sorted(finding.severity for finding in found) == severities


def test_a_server_that_names_less_than_it_acknowledged_has_lost_it() -> None:
    text = """
        at 1000ms 1 -> 2 AppendEntries term=1 prev=5/1 commit=5 entries=command
        at 1002ms 2 -> 1 AppendEntriesResult term=1 last=6
        at 1100ms 1 -> 2 AppendEntries term=1 prev=6/1 commit={commit}
        at 2300ms 2 -> 3 RequestVote term=2 last=5/1
    """
    (finding,) = three(text.replace("{commit}", "6"), "MON-04")
    assert (finding.verdict, finding.server, finding.log_index) == ("violation", 2, 6)
    assert not three(text.replace("{commit}", "5"), "MON-04")  # another leader may have removed the entry


SHRINKS = """
    at 950ms  1 -> 2 RequestVote term=2 last=5/1
    at 951ms  2 -> 1 RequestVoteResult term=2 granted
    at 953ms  1 -> 2 AppendEntries term=2 prev=5/1 commit=5
    at 1000ms 1 -> 2 AppendEntries term=2 prev=5/1 commit=5 entries=command,command,command,command
    at 1002ms 2 -> 1 AppendEntriesResult term=2 last=9
    at 1050ms 1 -> 2 AppendEntries term=2 prev=9/2 commit=9
    at 1052ms 2 -> 1 AppendEntriesResult term=2 last={last}
    at 1100ms 1 -> 2 AppendEntries term=2 prev=9/2 commit=9
    at 1101ms 2 -> 1 AppendEntriesResult term=2 last=9
    at 1200ms 1 -> 2 AppendEntries term=2 prev=9/2 commit=9
"""


@pytest.mark.parametrize(
    ("release", "last", "severities"),
    [
        ("canonical-0.18.1", 9, []),
        ("canonical-0.18.1", 7, ["warning"]),
        ("cowsql-0.22.1", 7, ["error"]),
        ("cowsql-0.22.1", 0, []),  # the answer to a snapshot that it has already
        ("cowsql-0.22.1", 5, []),  # up to there a request has gone
    ],
)
def test_what_is_acknowledged_does_not_shrink(release: str, last: int, severities: list[str]) -> None:
    found = three(SHRINKS.replace("{last}", str(last)), "MON-05", release=release)
    assert [finding.severity for finding in found] == severities


@pytest.mark.parametrize("file", captures.CLEAR)
def test_real_servers_lose_nothing(file: str) -> None:
    verdicts = audit(captures.packets(file))
    assert [f.message for f in verdicts.findings if f.rule.id in ("MON-04", "MON-05")] == []
    assert not [found for found in accusations(verdicts) if found.rule.startswith("MON")]


def test_rules_are_asked_in_real_captures() -> None:
    for rule in ("MON-04", "MON-05"):
        assert times_held(audit(captures.packets("s2-cowsql-0.22.1.pcap")), rule), rule
