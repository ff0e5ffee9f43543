"""What one server asked of another as a leader, in whatever term, and what it was answered."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.audit.knowledge.bounded import put_highest
from raft_dissect.audit.knowledge.indexes import Indexes
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect.audit.step import Step
    from raft_dissect.values import Place

_MAX_PAIRS = 4096
"""Pairs that are remembered; those that were not heard of for the longest time are forgotten first."""
_MAX_RECENT = 256
"""Latest acknowledgements and commit indexes of one pair that are remembered one by one."""


class Refusal(NamedTuple):
    """A follower lacked an entry of its leader."""

    log_index: int
    place: Place


class Told(NamedTuple):
    """An index that one of a pair told the other in a term."""

    term: int
    log_index: int
    place: Place


class Pair:
    """A leader and one follower. An answer counts whether or not the request was seen."""

    __slots__ = (
        "acked_last",
        "acks",
        "asked",
        "brought",
        "commits",
        "forgotten_acks",
        "from_nothing",
        "lowest_term",
        "refusals",
        "vague_answer",
        "vague_request",
    )

    def __init__(self) -> None:
        self.asked = Indexes()
        """The latest values of prev_log_index and of snapshots' last_index."""
        self.brought = Indexes()
        """The same of prev_log_index before entries alone."""
        self.from_nothing: int | None = None
        """The lowest term in which prev_log_index was 0: whoever refuses that says the same as who acknowledges."""
        self.lowest_term: int | None = None
        """Of all requests."""
        self.acks: dict[int, int] = {}
        """The highest index that was acknowledged, by term."""
        self.forgotten_acks = -1
        """The highest term of which that is forgotten."""
        self.acked_last: deque[Told] = deque(maxlen=_MAX_RECENT)
        """The latest acknowledgements."""
        self.commits: deque[Told] = deque(maxlen=_MAX_RECENT)
        """The latest commit indexes, where they grew."""
        self.refusals: dict[int, Refusal] = {}
        """The refusal of the lowest index, by term."""
        self.vague_request: Place | None = None
        """The last request of which fields are missing."""
        self.vague_answer: Place | None = None

    def acked(self, term: int) -> int:
        """The highest index that was acknowledged in a term; -1 if none was."""
        return self.acks.get(term, -1)

    def asks_run(self, first: int, last: int, place: Place, *, brings: bool) -> None:
        """The leader sent AppendEntries with all values of prev_log_index from one to another, behind a place."""
        self.asked.put_run(first, last, place)
        if brings:
            self.brought.put_run(first, last, place)

    @property
    def forgotten(self) -> bool:
        """Whether there were more requests than are remembered."""
        return self.asked.forgets or self.brought.forgets

    def commits_run(self, term: int, commit: int, place: Place) -> None:
        """The leader said in several messages what is committed, in the last one up to `commit`."""
        if not self.commits or (term, commit) > self.commits[-1][:2]:
            self.commits.append(Told(term, commit, place))

    def accepts(self, term: int, last: int, place: Place) -> None:
        """The follower acknowledged in several messages, in the last one up to `last`."""
        self.acked_last.append(Told(term, last, place))
        self._acks(term, last)

    def request(self, step: Step) -> None:
        """The leader sent AppendEntries or InstallSnapshot."""
        fields, place = step.fields, step.place
        index = fields.get("prev_log_index" if step.type == table.APPEND_ENTRIES else "last_index")
        if index is None or step.term is None or (step.type == table.APPEND_ENTRIES and "n_entries" not in fields):
            self.vague_request = place if self.vague_request is None else max(self.vague_request, place)
            return
        self.asked.put(index, place)
        if fields.get("n_entries"):
            self.brought.put(index, place)
        if not index and (self.from_nothing is None or step.term < self.from_nothing):
            self.from_nothing = step.term
        if self.lowest_term is None or step.term < self.lowest_term:
            self.lowest_term = step.term
        commit, commits = fields.get("leader_commit"), self.commits
        if commit is not None and (not commits or (step.term, commit) > commits[-1][:2]):
            commits.append(Told(step.term, commit, place))

    def answer(self, step: Step) -> None:
        """The follower sent AppendEntriesResult."""
        fields, place = step.fields, step.place
        last = fields.get("last_log_index")
        if last is None or step.term is None or "rejected" not in fields:
            self.vague_answer = place if self.vague_answer is None else max(self.vague_answer, place)
            return
        if fields["rejected"]:
            self._refuses(step.term, fields["rejected"], place)
            return
        self.acked_last.append(Told(step.term, last, place))
        self._acks(step.term, last)

    def _acks(self, term: int, last: int) -> None:
        if last > self.acks.get(term, -1):
            forgotten = put_highest(self.acks, term, last)
            if forgotten is not None:
                self.forgotten_acks = max(forgotten, self.forgotten_acks)

    def _refuses(self, term: int, index: int, place: Place) -> None:
        known = self.refusals.get(term)
        if known is None or index <= known.log_index:
            put_highest(self.refusals, term, Refusal(index, place))

    def acked_before_told(self, term: int, index: int, margin_ns: int | None) -> bool:
        """Whether the follower may have acknowledged an index before it was told that the index is committed.

        It has not when it acknowledged less after it was told, and more only then; all of this is seen on the
        connections of two servers to each other, whose order is certain but for `margin_ns` (None: unknown).
        """
        told = next((each.place for each in self.commits if each.term == term and each.log_index >= index), None)
        until = None if told is None or margin_ns is None else told.time_ns + margin_ns
        less = False
        for each in self.acked_last:
            if each.term != term:
                continue
            if each.log_index >= index:
                return until is None or each.place.time_ns <= until or not less
            less = less or (until is not None and each.place.time_ns > until)
        return self.acked(term) >= index


class Pairs:
    """All pairs of servers."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[int, int], Pair] = {}

    def of(self, leader: int, follower: int) -> Pair | None:
        """What is known of a leader and a follower; None if nothing is."""
        return self._pairs.get((leader, follower))

    def message(self, step: Step) -> None:
        """Learn from a request or a result."""
        if step.sender is None or step.receiver is None:
            return
        if step.type in (table.APPEND_ENTRIES, table.INSTALL_SNAPSHOT):
            self._pair(step.sender, step.receiver).request(step)
        elif step.type == table.APPEND_ENTRIES_RESULT:
            self._pair(step.receiver, step.sender).answer(step)

    def _pair(self, leader: int, follower: int) -> Pair:
        key = leader, follower
        pair = self._pairs.get(key)
        if pair is None:
            pair = self._pairs[key] = Pair()
            if len(self._pairs) > _MAX_PAIRS:
                del self._pairs[next(iter(self._pairs))]
        return pair
