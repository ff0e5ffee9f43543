"""What each server is known to have on disk of what is committed: it can never lose this again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.audit.knowledge.bounded import put_highest
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect.audit.knowledge.log import Committed, Log
    from raft_dissect.audit.knowledge.reigns import Reigns
    from raft_dissect.audit.step import Step
    from raft_dissect.values import Place

VERIFYING = frozenset({"w-0.20.0", "w-0.22.1"})
"""Layouts of the releases that acknowledge no more than a leader has sent (protocol document section 7.5)."""


class Acknowledged(NamedTuple):
    """Up to where a server acknowledged the log of a leader."""

    log_index: int
    place: Place
    sure: bool


class Durable:
    """The entries that servers acknowledged, as far as these are known to be committed.

    An acknowledgement of a term was given before anything that the same server does in a later one, and whatever a
    leader of the same term or of one before said to be committed stays in all logs that have it. So terms alone say
    what a server must have: the order of packets does not matter.
    """

    def __init__(self, reigns: Reigns, log: Log) -> None:
        self._reigns = reigns
        self._log = log
        self._acknowledged: dict[int, dict[int, Acknowledged]] = {}  # by server and term

    def message(self, step: Step) -> None:
        """Learn from a result, before its connection does.

        Releases that acknowledge all that they have on disk may have entries there that the leader has not. What grows
        from one acknowledgement to the next in the same term came from this leader.
        """
        fields = step.fields
        if step.type != table.APPEND_ENTRIES_RESULT or fields.get("rejected") != 0 or "last_log_index" not in fields:
            return
        sent = self._reigns.sent(step.receiver, step.sender, step.term)
        last, line = fields["last_log_index"], step.line
        if sent is None or step.sender is None or step.term is None or last > sent.highest:
            return
        if not (step.layouts and step.layouts <= VERIFYING) and not (
            line.matched_term == step.term and line.matched < last
        ):
            return
        terms = self._acknowledged.setdefault(step.sender, {})
        known = terms.get(step.term)
        if known is None or last > known.log_index:
            put_highest(terms, step.term, Acknowledged(last, step.place, step.sure))

    def has(self, server: int, term: int) -> tuple[Committed, Acknowledged] | None:
        """The last committed entry that a server is known to have before it reached a term; None if none is known."""
        best: tuple[Committed, Acknowledged] | None = None
        for reached, acknowledged in self._acknowledged.get(server, {}).items():
            if reached >= term:
                continue
            committed = self._log.committed_before(reached + 1)
            if committed is not None and committed.log_index > acknowledged.log_index:
                committed = self._log.committed(acknowledged.log_index)
            if committed is None or committed.leader_term > reached:
                continue
            if best is None or committed.log_index > best[0].log_index:
                best = committed, acknowledged
        return best
