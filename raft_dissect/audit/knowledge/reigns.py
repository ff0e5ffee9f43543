"""What each leader has shown in each term: how far its log reaches, its commit index, what it sent to whom."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from raft_dissect.audit.knowledge.bounded import of_term
from raft_dissect.audit.knowledge.indexes import Indexes
from raft_dissect.audit.knowledge.runs import Runs
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raft_dissect.audit.step import Step
    from raft_dissect.values import Place

_RECENT = 16
"""Leaders of which it is remembered which indexes they named; those that began first are forgotten first."""
_MAX_LEADERS = 64
"""Leaders of one term that are remembered; two are too many already."""


class Sent:
    """What one leader sent to one follower in its term."""

    __slots__ = (
        "acknowledged",
        "end",
        "end_place",
        "ends",
        "first",
        "heard",
        "last",
        "matched",
        "previous",
        "snapshot",
    )

    def __init__(self, place: Place) -> None:
        self.first = place
        self.last = place
        self.end = -1
        """The highest index that they brought, or that they would follow."""
        self.end_place: Place | None = None
        self.previous = Indexes()
        """The latest values of prev_log_index."""
        self.ends = Indexes()
        """The latest indexes of the last entries that they brought, or that they would follow."""
        self.snapshot = -1
        """The highest last_index of snapshots."""
        self.matched = -1
        """The highest last_log_index with which the follower acknowledged."""
        self.acknowledged: Place | None = None
        """The packet that did."""
        self.heard: Place | None = None
        """The follower's last result in this term."""

    @property
    def highest(self) -> int:
        """The highest index that the follower can have from this leader; -1 if none is known."""
        return max(self.end, self.snapshot)


class Reign:
    """What one server showed as leader of one term."""

    __slots__ = (
        "commit",
        "commit_place",
        "committed",
        "end",
        "end_place",
        "first",
        "last",
        "leader",
        "low",
        "low_place",
        "old",
        "own",
        "sent",
        "sure",
        "term",
        "terms",
    )

    def __init__(self, leader: int, term: int, place: Place) -> None:
        self.leader = leader
        self.term = term
        self.first = place
        """Its first message as leader."""
        self.last = place
        self.sure = False
        """Whether a message proves it whose sender is known for sure."""
        self.end = -1
        """The highest index that it is known to have in its log."""
        self.end_place: Place | None = None
        self.commit = -1
        """Its highest leader_commit."""
        self.commit_place: Place | None = None
        self.committed = -1
        """Up to here its entries were told to the log as committed."""
        self.sent: dict[int, Sent] = {}
        """By follower."""
        self.terms = Runs()
        """The terms of the entries that it is known to have in its log."""
        self.low: int | None = None
        """Its lowest leader_commit: what it knew to be committed when it began, or something behind that."""
        self.low_place = place
        self.old = -1
        """The highest index of its log that is known to have the term of an earlier leader."""
        self.own: int | None = None
        """The lowest one that is known to have its own."""

    def forget_indexes(self) -> None:
        """Forget which indexes were named to whom."""
        for sent in self.sent.values():
            sent.previous.forget()
            sent.ends.forget()

    def has(self, index: int, term: int) -> None:
        """Its log has an entry."""
        self.terms.put(index, term)
        if term < self.term:
            self.old = max(self.old, index)
        elif self.own is None or index < self.own:
            self.own = index


_NONE: dict[int, Reign] = {}


class Reigns:
    """All leaders of all terms."""

    def __init__(self) -> None:
        self._reigns: dict[int, dict[int, Reign]] = {}  # by term and leader
        self._recent: deque[Reign] = deque()

    def of(self, leader: int, term: int) -> Reign | None:
        """What a server showed as leader of a term; None if it showed nothing."""
        return self._reigns.get(term, _NONE).get(leader)

    def in_term(self, term: int) -> Iterator[Reign]:
        """All leaders of a term: more than one violates Election Safety."""
        return iter(self._reigns.get(term, _NONE).values())

    def sent(self, leader: int | None, follower: int | None, term: int | None) -> Sent | None:
        """What a leader sent to a follower in a term; None if nothing is known of it."""
        if leader is None or follower is None or term is None:
            return None
        reign = self.of(leader, term)
        return None if reign is None else reign.sent.get(follower)

    def message(self, step: Step) -> None:
        """Learn from a message of a leader, or from a result."""
        if not step.known or step.term is None:
            return
        if step.type == table.APPEND_ENTRIES:
            self._append(step)
        elif step.type == table.INSTALL_SNAPSHOT:
            self._snapshot(step)
        elif step.type == table.TIMEOUT_NOW:
            self._reign(step, step.fields.get("last_log_index", -1))
        elif step.type == table.APPEND_ENTRIES_RESULT:
            self._result(step)

    def _reign(self, step: Step, index: int) -> Reign:
        assert step.sender is not None
        assert step.term is not None
        reigns, forgotten = of_term(self._reigns, step.term)
        reign = reigns.get(step.sender)
        if reign is None:
            reign = Reign(step.sender, step.term, step.place)
            if len(reigns) < _MAX_LEADERS and forgotten != step.term:
                reigns[step.sender] = reign
                self._begins(reign)
        reign.first, reign.last = min(reign.first, step.place), max(reign.last, step.place)
        reign.sure = reign.sure or step.sure
        if index > reign.end:
            reign.end, reign.end_place = index, step.place
        return reign

    def _begins(self, reign: Reign) -> None:
        self._recent.append(reign)
        if len(self._recent) > _RECENT:
            self._recent.popleft().forget_indexes()

    def _sent(self, step: Step, reign: Reign) -> Sent:
        assert step.receiver is not None
        sent = reign.sent.setdefault(step.receiver, Sent(step.place))
        sent.last = max(sent.last, step.place)
        return sent

    def _append(self, step: Step) -> None:
        ends = step.ends
        reign = self._reign(step, -1 if ends is None else ends)
        sent = self._sent(step, reign)
        if ends is not None:
            sent.previous.put(step.fields["prev_log_index"], step.place)
            sent.ends.put(ends, step.place)
            if ends > sent.end:
                sent.end, sent.end_place = ends, step.place
        commit = step.fields.get("leader_commit", -1)
        if commit >= 0 and (reign.low is None or commit < reign.low):
            reign.low, reign.low_place = commit, step.place
        if commit > reign.commit:
            reign.commit, reign.commit_place = commit, step.place

    def _snapshot(self, step: Step) -> None:
        index = step.fields.get("last_index", -1)
        sent = self._sent(step, self._reign(step, index))
        sent.snapshot = max(sent.snapshot, index)

    def _result(self, step: Step) -> None:
        fields = step.fields
        sent = self.sent(step.receiver, step.sender, step.term)
        if sent is not None and (sent.heard is None or step.place > sent.heard):
            sent.heard = step.place
        if sent is None or "rejected" not in fields or "last_log_index" not in fields:
            return
        if not fields["rejected"] and fields["last_log_index"] > sent.matched:
            sent.matched, sent.acknowledged = fields["last_log_index"], step.place
