"""Which entries at the indexes of configurations are known to be committed, and so which configurations are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raft_dissect import wire
    from raft_dissect.cluster.commits import LeaderLog
    from raft_dissect.values import Message, Place

_NEVER = 2**64
"""More than any index."""
_MAX_WAITING = 256
"""Indexes that wait for a decision; the one that has waited longest is given up first."""
_MAX_DECIDED = 4096
"""Decisions that are remembered; the oldest are forgotten first."""


def configurations_of(message: Message) -> Iterator[tuple[int, int, tuple[wire.Server, ...]]]:
    """Index, term and servers of each configuration among the entries of AppendEntries."""
    for number in sorted(message.changes):
        servers = message.change(number)
        if servers is not None and number < len(message.entries):
            yield message.fields["prev_log_index"] + 1 + number, message.entries[number].term, servers


class Decisions:
    """Waits, for each index at which a configuration was seen, until packets prove which entry is committed there.

    A leader's log holds the same entries as long as it leads its term, so what it says to be committed there (its
    `leader_commit`) is what it is known to hold there: because it sent that entry in this term, or because it sent a
    later one that follows on it in all logs (log matching, Raft paper section 5.3). At one index no other entry is
    ever committed. That the leader of a later term has another entry there proves nothing (figure 8 of the paper).
    """

    def __init__(self) -> None:
        self.awaited = _NEVER
        """The lowest index that waits."""
        self._waiting: dict[int, dict[LeaderLog, tuple[int, int]]] = {}  # who sent in which term an entry of a term
        self._decided: dict[int, tuple[int, Place]] = {}

    def sent(self, log: LeaderLog, leader_term: int, index: int, term: int, commit: int, place: Place) -> None:
        """A leader sent, in its term, the configuration of a term at an index, and what it says to be committed."""
        if index in self._decided:
            return
        if commit >= index or (log.term == leader_term and log.told >= index):
            self._decide(index, term, place)
            return
        self._waiting.setdefault(index, {})[log] = (leader_term, term)
        if len(self._waiting) > _MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self.awaited = min(self._waiting)

    def settle(self, log: LeaderLog, place: Place) -> None:
        """A leader said what is committed, or more became known of its log."""
        for index in [index for index in self._waiting if index <= log.told]:
            term = log.holding.term_at(index) if index <= log.end else None
            if term is None:
                sent_in, sent = self._waiting[index].get(log, (None, None))
                term = sent if sent_in == log.term else None
            if term is not None:
                self._decide(index, term, place)

    def _decide(self, index: int, term: int, place: Place) -> None:
        self._decided[index] = term, place
        if len(self._decided) > _MAX_DECIDED:
            del self._decided[next(iter(self._decided))]
        self._waiting.pop(index, None)
        self.awaited = min(self._waiting, default=_NEVER)

    def of(self, index: int, term: int | None) -> tuple[bool, Place] | None:
        """Whether the entry of a term at an index is the committed one, and the first packet that proves it."""
        if term is None or index not in self._decided:
            return None
        committed, place = self._decided[index]
        return committed == term, place
