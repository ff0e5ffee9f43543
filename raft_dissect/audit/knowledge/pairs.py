"""What one server asked of another as a leader, in whatever term, and what it was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect.audit.step import Step
    from raft_dissect.values import Place

_MAX_PAIRS = 4096
"""Pairs that are remembered; those that were not heard of for the longest time are forgotten first."""
_MAX_INDEXES = 1024
"""Indexes that are remembered of one pair."""
_MAX_TERMS = 64
"""Terms of which acknowledgements are remembered; the lowest are forgotten first."""


class Ack:
    """The highest index that a follower acknowledged in one term."""

    __slots__ = ("index", "place")

    def __init__(self, index: int, place: Place) -> None:
        self.index = index
        self.place = place


class Pair:
    """A leader and one follower. An answer counts whether or not the request was seen."""

    __slots__ = (
        "acks",
        "asked",
        "brought",
        "forgotten",
        "from_nothing",
        "lowest_term",
        "vague_answer",
        "vague_request",
    )

    def __init__(self) -> None:
        self.asked: dict[int, Place] = {}
        """The latest values of prev_log_index and of snapshots' last_index, the last ones last."""
        self.brought: dict[int, Place] = {}
        """The same of prev_log_index before entries alone."""
        self.forgotten = False
        """Whether there were more of them."""
        self.from_nothing: int | None = None
        """The lowest term in which prev_log_index was 0: whoever refuses that says the same as who acknowledges."""
        self.lowest_term: int | None = None
        """Of all requests."""
        self.acks: dict[int, Ack] = {}
        """By term."""
        self.vague_request: Place | None = None
        """The last request of which fields are missing."""
        self.vague_answer: Place | None = None

    def acked(self, term: int) -> int:
        """The highest index that was acknowledged in a term; -1 if none was."""
        ack = self.acks.get(term)
        return -1 if ack is None else ack.index

    def _asks(self, index: int, place: Place, known: dict[int, Place]) -> None:
        known.pop(index, None)
        known[index] = place
        if len(known) > _MAX_INDEXES:
            del known[next(iter(known))]
            self.forgotten = True

    def request(self, step: Step) -> None:
        """The leader sent AppendEntries or InstallSnapshot."""
        fields, place = step.fields, step.place
        index = fields.get("prev_log_index" if step.type == table.APPEND_ENTRIES else "last_index")
        if index is None or step.term is None or (step.type == table.APPEND_ENTRIES and "n_entries" not in fields):
            self.vague_request = place if self.vague_request is None else max(self.vague_request, place)
            return
        self._asks(index, place, self.asked)
        if fields.get("n_entries"):
            self._asks(index, place, self.brought)
        if not index and (self.from_nothing is None or step.term < self.from_nothing):
            self.from_nothing = step.term
        if self.lowest_term is None or step.term < self.lowest_term:
            self.lowest_term = step.term

    def answer(self, step: Step) -> None:
        """The follower sent AppendEntriesResult."""
        fields, place = step.fields, step.place
        last = fields.get("last_log_index")
        if last is None or step.term is None or "rejected" not in fields:
            self.vague_answer = place if self.vague_answer is None else max(self.vague_answer, place)
            return
        if fields["rejected"]:
            return
        ack = self.acks.get(step.term)
        if ack is None:
            self.acks[step.term] = Ack(last, place)
            if len(self.acks) > _MAX_TERMS:
                del self.acks[min(self.acks)]
        elif last > ack.index:
            ack.index, ack.place = last, place


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
