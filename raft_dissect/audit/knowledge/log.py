"""The entries that leaders sent, by index and term, and which of them are known to be committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raft_dissect.values import Place

_MAX_ENTRIES = 65_536
"""Entries that are remembered, and as many committed ones; those that were learned first are forgotten first."""


class Entry(NamedTuple):
    """One log entry, as a leader sent it."""

    log_index: int
    term: int
    type: int | None
    """None when only its term is known, from what stands before other entries."""
    size: int | None
    digest: int | None
    """Of its data; None when that was not looked at."""
    leader: int
    """Who sent it first."""
    leader_term: int
    """In which term."""
    place: Place


class Committed(NamedTuple):
    """An entry that is known to be committed."""

    log_index: int
    term: int
    leader: int
    """Whose commit index says so."""
    leader_term: int
    """The term of that leader: all leaders of later terms must have the entry."""
    place: Place


class Log:
    """The log of a cluster, with those entries that were sent and never committed."""

    def __init__(self) -> None:
        self._entries: dict[tuple[int, int], Entry] = {}  # by index and term
        self._terms: dict[int, list[int]] = {}  # the terms that are known of each index
        self._committed: dict[int, Committed] = {}
        self.forgotten = 0
        """Entries up to this index may have been forgotten."""
        self.committed_forgotten = 0
        """The same of committed ones."""
        self.highest_committed: Committed | None = None

    def entry(self, index: int, term: int) -> Entry | None:
        """The entry with an index and a term, if a leader has sent it."""
        return self._entries.get((index, term))

    def at(self, index: int) -> Iterator[Entry]:
        """The entries that were sent with an index, one for each term."""
        return (self._entries[index, term] for term in self._terms.get(index, ()))

    def committed(self, index: int) -> Committed | None:
        """The entry that is known to be committed at an index."""
        return self._committed.get(index)

    def learn(self, entry: Entry) -> None:
        """An entry was sent; what was known of the same before stays."""
        key = entry.log_index, entry.term
        known = self._entries.get(key)
        if known is None:
            self._entries[key] = entry
            self._terms.setdefault(entry.log_index, []).append(entry.term)
            if len(self._entries) > _MAX_ENTRIES:
                self._forget()
        elif known.type is None or (known.digest is None and entry.digest is not None):
            self._entries[key] = entry._replace(
                leader=known.leader, leader_term=known.leader_term, place=min(known.place, entry.place)
            )

    def commit(self, committed: Committed) -> None:
        """An entry is known to be committed; the earliest leader's term that says so counts."""
        known = self._committed.get(committed.log_index)
        if known is not None and known.leader_term <= committed.leader_term:
            return
        self._committed[committed.log_index] = committed
        if self.highest_committed is None or committed.log_index > self.highest_committed.log_index:
            self.highest_committed = committed
        if len(self._committed) > _MAX_ENTRIES:
            first = next(iter(self._committed))
            self.committed_forgotten = max(self.committed_forgotten, first)
            del self._committed[first]

    def _forget(self) -> None:
        index, term = next(iter(self._entries))
        del self._entries[index, term]
        self._terms[index].remove(term)
        if not self._terms[index]:
            del self._terms[index]
        self.forgotten = max(self.forgotten, index)
