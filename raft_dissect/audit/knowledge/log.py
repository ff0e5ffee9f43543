"""The entries that leaders sent, by index and term, and which of them are known to be committed."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple, cast

from raft_dissect.audit.knowledge.bounded import put_highest
from raft_dissect.values import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPILED = not __file__.endswith(".py")
_FIRST_ROOM = 256
_MOST_ROOM = 65_536
"""Entries that are remembered: of those whose indexes differ by a multiple of it the later one is."""
_MOST_REPLACED = 1024
"""Entries that are remembered of which another one has the same index."""
LARGEST = 2**62
"""Indexes and terms from here on are no log's, and are not remembered."""
_UNKNOWN = -1


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

    @property
    def position(self) -> tuple[int, int]:
        """(term, index), as candidates compare the ends of their logs."""
        return self.term, self.log_index


def _column(room: int, value: int = 0) -> list[int]:
    return cast("list[int]", array("q", [value]) * room) if COMPILED else [value] * room


class _Entries:
    """What is known of one entry for each place of a ring, as columns."""

    __slots__ = ("digest", "file", "frame", "index", "kind", "leader", "leader_term", "room", "term", "time_ns")

    def __init__(self, room: int) -> None:
        self.room = room
        self.index = _column(room, _UNKNOWN)
        self.term = _column(room)
        self.kind = _column(room)
        """Type and size: the latter in the lower 32 bits; -1 when they are not known."""
        self.digest = _column(room)
        """-1 when it is not known."""
        self.leader = _column(room)
        self.leader_term = _column(room)
        self.time_ns = _column(room)
        self.frame = _column(room)
        self.file = _column(room)

    def copy(self, slot: int, other: _Entries, to: int) -> None:
        """Copy one row to another ring."""
        other.index[to] = self.index[slot]
        other.term[to] = self.term[slot]
        other.kind[to] = self.kind[slot]
        other.digest[to] = self.digest[slot]
        other.leader[to] = self.leader[slot]
        other.leader_term[to] = self.leader_term[slot]
        other.time_ns[to] = self.time_ns[slot]
        other.frame[to] = self.frame[slot]
        other.file[to] = self.file[slot]

    def entry(self, slot: int) -> Entry:
        """A row as a value."""
        kind, digest = self.kind[slot], self.digest[slot]
        return Entry(
            self.index[slot],
            self.term[slot],
            None if kind < 0 else kind >> 32,
            None if kind < 0 else kind & 0xFFFFFFFF,
            None if digest < 0 else digest,
            self.leader[slot],
            self.leader_term[slot],
            Place(self.time_ns[slot], self.frame[slot], self.file[slot]),
        )


class Log:
    """The log of a cluster, with those entries that were sent and never committed."""

    def __init__(self) -> None:
        self._sent = _Entries(_FIRST_ROOM)
        self._committed = _Entries(_FIRST_ROOM)
        self._replaced: dict[tuple[int, int], Entry] = {}
        self.forgotten = 0
        """Entries up to this index may have been forgotten."""
        self.committed_forgotten = 0
        """The same of committed ones."""
        self.highest_committed = 0
        """The highest index that is known to be committed, of an entry whose term is known; 0 when none is."""
        self._highest: dict[int, Committed] = {}  # by the term of the leader that says so

    def entry(self, index: int, term: int) -> Entry | None:
        """The entry with an index and a term, if a leader has sent it."""
        slot = index % self._sent.room
        if self._sent.index[slot] == index and self._sent.term[slot] == term:
            return self._sent.entry(slot)
        return self._replaced.get((index, term))

    def at(self, index: int) -> Iterator[Entry]:
        """The entries that were sent with an index, one for each term."""
        slot = index % self._sent.room
        if self._sent.index[slot] == index:
            yield self._sent.entry(slot)
        yield from [entry for (known, _), entry in self._replaced.items() if known == index]

    def committed(self, index: int) -> Committed | None:
        """The entry that is known to be committed at an index."""
        ring, slot = self._committed, index % self._committed.room
        if ring.index[slot] != index:
            return None
        place = Place(ring.time_ns[slot], ring.frame[slot], ring.file[slot])
        return Committed(index, ring.term[slot], ring.leader[slot], ring.leader_term[slot], place)

    def committed_before(self, term: int) -> Committed | None:
        """The last entry that is known to be committed by what leaders of lower terms said."""
        found = (committed for before, committed in self._highest.items() if before < term)
        return max(found, default=None, key=_index_of)

    def learn(self, entry: Entry) -> None:
        """An entry was sent; of what was known of the same before only what was not known is replaced."""
        if entry.log_index >= LARGEST or entry.term >= LARGEST or entry.leader_term >= LARGEST:
            return
        slot = self._slot(entry.log_index)
        ring = self._sent
        if ring.index[slot] > entry.log_index:
            return
        if ring.index[slot] == entry.log_index:
            if ring.term[slot] == entry.term:
                self._complete(slot, entry)
                return
            self._replace(ring.entry(slot))
        elif ring.index[slot] > self.forgotten:
            self.forgotten = ring.index[slot]
        ring.index[slot] = entry.log_index
        ring.term[slot] = entry.term
        ring.leader[slot] = min(entry.leader, LARGEST)
        ring.leader_term[slot] = entry.leader_term
        ring.time_ns[slot], ring.frame[slot], ring.file[slot] = entry.place
        ring.kind[slot] = ring.digest[slot] = _UNKNOWN
        self._complete(slot, entry)

    def _complete(self, slot: int, entry: Entry) -> None:
        ring = self._sent
        if ring.kind[slot] < 0 and entry.type is not None and entry.size is not None:
            ring.kind[slot] = entry.type << 32 | entry.size
        if ring.digest[slot] < 0 and entry.digest is not None:
            ring.digest[slot] = entry.digest

    def _replace(self, entry: Entry) -> None:
        self._replaced[entry.log_index, entry.term] = entry
        if len(self._replaced) > _MOST_REPLACED:
            first = next(iter(self._replaced))
            del self._replaced[first]
            self.forgotten = max(self.forgotten, first[0])

    def _slot(self, index: int) -> int:
        ring = self._sent
        slot = index % ring.room
        while ring.room < _MOST_ROOM and ring.index[slot] >= 0 and ring.index[slot] != index:
            self._sent = ring = _grown(ring)
            slot = index % ring.room
        return slot

    def append(
        self,
        index: int,
        term: int,
        kind: int,
        digest: int,
        leader: int,
        leader_term: int,
        time_ns: int,
        frame: int,
        file: int,
    ) -> bool:
        """Learn an entry behind all others from what its columns hold; false if it is no such entry."""
        ring = self._sent
        slot = index % ring.room
        known = ring.index[slot]
        if known >= index or (known >= 0 and ring.room < _MOST_ROOM):
            return False
        self.forgotten = max(self.forgotten, known)
        ring.index[slot] = index
        ring.term[slot] = term
        ring.kind[slot] = kind
        ring.digest[slot] = digest
        ring.leader[slot] = leader
        ring.leader_term[slot] = leader_term
        ring.time_ns[slot] = time_ns
        ring.frame[slot] = frame
        ring.file[slot] = file
        return True

    def holds(self, index: int, term: int, kind: int, digest: int) -> bool:
        """Whether an entry is known, and is the same."""
        ring = self._sent
        slot = index % ring.room
        return (
            ring.index[slot] == index
            and ring.term[slot] == term
            and ring.kind[slot] == kind
            and ring.digest[slot] == digest
        )

    def commit_run(self, first: int, last: int, term: int, leader: int, leader_term: int, place: Place) -> None:
        """The entries from one index to another, which are of one term, are known to be committed."""
        ring = self._committed
        index = first
        time_ns, frame, file = place
        while index < last:
            slot = index % ring.room
            known = ring.index[slot]
            if known > index or (known >= 0 and known != index and ring.room < _MOST_ROOM):
                break
            if known != index or ring.leader_term[slot] > leader_term:
                if known != index:
                    self.committed_forgotten = max(self.committed_forgotten, known)
                ring.index[slot] = index
                ring.term[slot] = term
                ring.leader[slot] = leader
                ring.leader_term[slot] = leader_term
                ring.time_ns[slot] = time_ns
                ring.frame[slot] = frame
                ring.file[slot] = file
            index += 1
        while index <= last:
            self.commit(Committed(index, term, leader, leader_term, place))
            index += 1

    def commit(self, committed: Committed) -> None:
        """An entry is known to be committed; the earliest leader's term that says so counts."""
        index = committed.log_index
        if index >= LARGEST or committed.term >= LARGEST or committed.leader_term >= LARGEST:
            return
        ring, slot = self._committed, index % self._committed.room
        while ring.room < _MOST_ROOM and ring.index[slot] >= 0 and ring.index[slot] != index:
            self._committed = ring = _grown(ring)
            slot = index % ring.room
        known = ring.index[slot]
        if known > index or (known == index and ring.leader_term[slot] <= committed.leader_term):
            return
        if known != index:
            self.committed_forgotten = max(self.committed_forgotten, known)
        ring.index[slot] = index
        ring.term[slot] = committed.term
        ring.leader[slot] = min(committed.leader, LARGEST)
        ring.leader_term[slot] = committed.leader_term
        ring.time_ns[slot], ring.frame[slot], ring.file[slot] = committed.place
        self.highest_committed = max(self.highest_committed, index)
        highest = self._highest.get(committed.leader_term)
        if highest is None or index > highest.log_index:
            put_highest(self._highest, committed.leader_term, committed)


def _grown(ring: _Entries) -> _Entries:
    """The same entries with four times the room."""
    grown = _Entries(ring.room * 4)
    for slot in range(ring.room):
        if ring.index[slot] >= 0:
            ring.copy(slot, grown, ring.index[slot] % grown.room)
    return grown


def _index_of(committed: Committed) -> int:
    return committed.log_index
