"""The snapshots that leaders sent, and what their followers answered: an answer is an ordinary AppendEntriesResult."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raft_dissect.audit.knowledge.lines import Line
    from raft_dissect.audit.step import Step
    from raft_dissect.values import Place

_MAX_PENDING = 64
"""Snapshots of one leader to one follower that wait for an answer; the oldest are given up first."""

_MAX_PAIRS = 4096
"""Pairs of a leader and a follower that are remembered; those that were learned first are forgotten first."""

Answer = Literal["installed", "refused"]


class Transfer:
    """One snapshot on its way from a leader to a follower."""

    __slots__ = (
        "answer",
        "answer_line",
        "answered",
        "appends",
        "asked_votes",
        "fields",
        "first",
        "line",
        "place",
        "whole",
    )

    def __init__(self, step: Step) -> None:
        self.fields = step.fields
        self.first = step.message.first
        """Its first packet."""
        self.place = step.place
        """The packet that completed it."""
        self.whole = step.message.missing == 0
        """Whether all of it was captured, so that it is known when it was complete."""
        self.line: Line = step.line
        self.appends: Place | None = None
        """The leader's first AppendEntries behind it on the same connection."""
        self.answered: Place | None = None
        self.answer: Answer | None = None
        """`installed` also when the follower had it already."""
        self.answer_line: Line | None = None
        self.asked_votes: Place | None = None
        """The follower's first vote request before it answered."""

    @property
    def last_index(self) -> int:
        """The last entry that it holds; -1 when that was not captured."""
        return self.fields.get("last_index", -1)

    @property
    def term(self) -> int:
        """Of its leader."""
        return self.fields.get("term", 0)


class Snapshots:
    """All snapshots that are of interest still: those without an answer, and the last one of each pair of servers."""

    def __init__(self) -> None:
        self._pending: dict[tuple[int, int], list[Transfer]] = {}
        self._last: dict[tuple[int, int], Transfer] = {}
        self._leaders: dict[int, set[int]] = {}  # who sent one to a follower
        self._unfollowed: dict[tuple[int, int], list[Transfer]] = {}  # those with nothing behind them

    def pending(self, leader: int, follower: int) -> list[Transfer]:
        """Those without an answer, the first ones first."""
        return self._pending.get((leader, follower), [])

    def unanswered(self) -> Iterator[tuple[int, int, Transfer]]:
        """All without an answer, each with its leader and its follower."""
        for (leader, follower), waiting in self._pending.items():
            for transfer in waiting:
                yield leader, follower, transfer

    def last(self, leader: int, follower: int) -> Transfer | None:
        """The last one that a leader sent to a follower."""
        return self._last.get((leader, follower))

    def message(self, step: Step) -> None:
        """Learn from InstallSnapshot, and from what both sides send behind it."""
        if step.sender is None or step.receiver is None:
            return
        if step.type == table.INSTALL_SNAPSHOT:
            self._install(step, step.sender, step.receiver)
        elif self._last:
            self._behind(step, step.sender, step.receiver)

    def _install(self, step: Step, leader: int, follower: int) -> None:
        transfer = self._last[leader, follower] = Transfer(step)
        if len(self._last) > _MAX_PAIRS:
            self._forget(next(iter(self._last)))
        self._leaders.setdefault(follower, set()).add(leader)
        for transfers in (self._pending, self._unfollowed):
            waiting = transfers.setdefault((leader, follower), [])
            waiting.append(transfer)
            del waiting[:-_MAX_PENDING]

    def _forget(self, pair: tuple[int, int]) -> None:
        del self._last[pair]
        self._pending.pop(pair, None)
        self._unfollowed.pop(pair, None)
        self._leaders[pair[1]].discard(pair[0])

    def _behind(self, step: Step, sender: int, receiver: int) -> None:
        if step.type == table.APPEND_ENTRIES:
            for transfer in self._unfollowed.pop((sender, receiver), ()):
                if transfer.line is step.line:
                    transfer.appends = step.place
        elif step.type == table.APPEND_ENTRIES_RESULT:
            self._result(step, self._pending.get((receiver, sender), []))
        elif step.type == table.REQUEST_VOTE:
            for leader in self._leaders.get(sender, ()):
                for transfer in self.pending(leader, sender):
                    transfer.asked_votes = transfer.asked_votes or step.place

    def _result(self, step: Step, waiting: list[Transfer]) -> None:
        for transfer in list(waiting):
            answer = answers(step, transfer)
            if answer is not None:
                transfer.answer, transfer.answered, transfer.answer_line = answer, step.place, step.line
                waiting.remove(transfer)


def answers(step: Step, transfer: Transfer) -> Answer | None:
    """What a result says about a snapshot; None if it may be about something else.

    A follower that installs one drops copies of it without an answer, so that one result is about all of them.
    """
    rejected, last = step.fields.get("rejected"), step.fields.get("last_log_index")
    if rejected is None or last is None or step.term is None or step.term < transfer.term:
        return None
    if rejected:
        return "refused" if rejected == transfer.last_index else None
    if step.term > transfer.term:
        return "refused" if not last else None
    return "installed" if 0 <= transfer.last_index <= last else None
