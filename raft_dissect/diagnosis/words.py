"""Parts of the sentences of findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.cluster.facts import RefusalReason, ServerName
    from raft_dissect.values import Place

REASONS: dict[RefusalReason, str] = {
    "log_behind": "its log is behind",
    "has_leader": "the voter has a leader",
    "already_voted": "the voter voted for another",
    "stale_term": "its term is old",
    "not_a_voter": "the other is no voter",
    "busy": "the voter is busy",
    "no_such_entry": "the entry before is missing",
    "term_mismatch": "the entry before is of another term",
    "write_failed": "the write failed",
    "unknown": "no reason that packets show",
}


def server(name: ServerName) -> str:
    """A server in a sentence, such as server 3."""
    return f"server {name}"


def servers(names: Sequence[ServerName]) -> str:
    """One or more servers in a sentence, such as servers 1, 2 and 3."""
    if len(names) == 1:
        return server(names[0])
    return f"servers {', '.join(str(name) for name in names[:-1])} and {names[-1]}"


def capital(sentence: str) -> str:
    """The same with a capital at its beginning."""
    return sentence[:1].upper() + sentence[1:]


def seconds_between(first: Place, last: Place) -> float:
    """Seconds from one packet to another."""
    return (last.time_ns - first.time_ns) / 1e9
