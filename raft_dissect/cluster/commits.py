"""What a leader sent to anybody in its term, when it first sent it, and when packets prove that it is committed."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, cast

from raft_dissect.spread import Histogram
from raft_dissect.values import Place
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect import wire
    from raft_dissect.cluster.decisions import Decisions
    from raft_dissect.cluster.extents import Extent, Words
    from raft_dissect.cluster.progress import Progress
    from raft_dissect.cluster.servers import Server

COMPILED = not __file__.endswith(".py")
_FIRST_ROOM = 64
_MOST_ROOM = 65536
"""Entries of a leader of which times and sizes are remembered; older ones are forgotten first."""
_MAX_CONFIGURATIONS = 64
_NOBODY: frozenset[int] = frozenset()


def _column(room: int) -> list[int]:
    return cast("list[int]", array("q", bytes(8 * room))) if COMPILED else [0] * room


class Voters:
    """The voters of the configuration in force, as far as the capture proves that there is no later one."""

    __slots__ = ("_known", "covered", "last")

    def __init__(self) -> None:
        self._known: list[tuple[int, int | None, frozenset[int]]] = []  # index, term and ids, in the order of the log
        self.last = -1
        """The index of the last configuration; -1 when none is known."""
        self.covered = -1
        """All entries behind that one were seen up to this index."""

    def snapshot(self, conf_index: int, last_index: int, servers: Sequence[wire.Server]) -> None:
        """A snapshot has the configuration that is in force at its end."""
        if last_index > self.covered:
            self._known = [(conf_index, None, _voters(servers))]
            self.last = conf_index
            self.covered = last_index

    def entries(self, index: int, words: Sequence[Words]) -> None:
        """The entries that follow an index were seen."""
        end = index + len(words)
        while index < self.last <= end and self._known[-1][1] not in (None, words[self.last - index - 1][0]):
            self._known.pop()
            self.last = self._known[-1][0] if self._known else -1
            self.covered = end if self._known else -1
        if index <= self.covered < end:
            self.covered = end

    def change(self, index: int, term: int, end: int, servers: Sequence[wire.Server]) -> None:
        """The entry at an index is a configuration, in a message with entries up to `end`."""
        if index <= self.last:
            return
        if index > self.covered:
            self._known.clear()
            self.covered = end
        self._known.append((index, term, _voters(servers)))
        del self._known[:-_MAX_CONFIGURATIONS]
        self.last = index

    def at(self, end: int) -> frozenset[int]:
        """The ids of those that decide for a leader whose log reaches to an index; empty when they are not known."""
        if end > self.covered:
            return _NOBODY
        for index, _, ids in reversed(self._known):
            if index <= end:
                return ids
        return _NOBODY


def _voters(servers: Sequence[wire.Server]) -> frozenset[int]:
    return frozenset(server.id for server in servers if server.role == table.VOTER)


class LeaderLog:
    """The log of one leader as it sends it, in its latest term."""

    __slots__ = (
        "_asked",
        "_base",
        "_count",
        "_done",
        "_ids",
        "_mask",
        "_needed",
        "_own",
        "_sizes",
        "_sum",
        "_times",
        "_voting",
        "committed",
        "decisions",
        "end",
        "followers",
        "holding",
        "leader",
        "seconds",
        "term",
        "told",
        "voters",
    )

    def __init__(self, leader: Server, holding: Extent, voters: Voters, decisions: Decisions) -> None:
        self.leader = leader
        self.holding = holding
        """The entries that the leader is known to have, as leader or not."""
        self.voters = voters
        self.decisions = decisions
        self.followers: list[Progress] = []
        self.seconds = Histogram()
        """Nanoseconds from when an entry was first sent until it was committed."""
        self._mask = _FIRST_ROOM - 1
        self._times = _column(_FIRST_ROOM)
        self._sizes = _column(_FIRST_ROOM)
        self.begin(0)

    def begin(self, term: int) -> None:
        """Forget what was sent, and follow another term."""
        self.term = term
        self.end = -1
        """The last index that the leader is known to have; -1 before its first message."""
        self.committed = -1
        """The last entry that is known to be committed: followers acknowledged it, or the leader said so."""
        self.told = -1
        """The last entry that the leader itself said to be committed."""
        self._base = -1
        """Times and sizes are known of the entries after this index, which are numbered from 1."""
        self._count = 0
        self._done = 0  # the last of them that is known to be committed
        self._own = -1
        """The first entry of this term; only those from there on are committed because a majority has them."""
        self._sum = 0
        self._ids = _NOBODY
        self._asked = 0
        self._needed = 0
        self._voting: list[Progress] = []

    def sent(
        self, index: int, term: int, commit: int, words: Sequence[Words], time_ns: int, frame: int, file: int
    ) -> None:
        """The leader sent the entries that follow an index, where one of a term is."""
        news = commit > self.told
        if news:
            self.told = commit
            if commit > self.committed:
                self._commit(commit, time_ns)
        if index > self.end:
            news = True
            self.holding.holds(index, term)
            self._base = self.end = index
            self._count = self._done = 0
            self._sizes[0] = self._sum
        if words:
            self.voters.entries(index, words)
            end = self.end
            if index == end:
                self._extend(words, time_ns)
            elif index + len(words) > end:
                self._extend(words[end - index :], time_ns)
            if self.told > end:
                news = True
        if news and self.told >= self.decisions.awaited:
            self.decisions.settle(self, Place(time_ns, frame, file))

    def _extend(self, words: Sequence[Words], time_ns: int) -> None:
        index = self.end
        self.holding.put(index, words)
        count = self._count
        if count + len(words) > self._mask and self._mask < _MOST_ROOM - 1:
            self._grow(count + len(words))
        for word in words:
            count += 1
            slot = count & self._mask
            self._sum += word[2]
            self._times[slot] = time_ns
            self._sizes[slot] = self._sum
            if self._own < 0 and word[0] == self.term:
                self._own = self._base + count
        self._count = count
        self.end = index + len(words)

    def _grow(self, needed: int) -> None:
        room = self._mask + 1
        while room <= needed and room < _MOST_ROOM:
            room *= 2
        times, sizes = _column(room), _column(room)
        for number in range(max(0, self._count - self._mask), self._count + 1):
            times[number & room - 1] = self._times[number & self._mask]
            sizes[number & room - 1] = self._sizes[number & self._mask]
        self._mask, self._times, self._sizes = room - 1, times, sizes

    def bytes_after(self, index: int) -> int | None:
        """Bytes of all entries that were sent after an index; None when their sizes are not known."""
        if index < self._base or self.end - index > self._mask:
            return None
        return self._sum - self._sizes[index - self._base & self._mask]

    def ask_anew(self) -> None:
        """Who is which server may have become known, so find out again who decides on what is committed."""
        self._ids = _NOBODY

    def _prepare(self, ids: frozenset[int]) -> None:
        self._ids = ids
        self._asked = len(self.followers)
        self._needed = len(ids) // 2 + 1 - (self.leader.id in ids)
        self._voting = [follower for follower in self.followers if follower.follower.id in ids]

    def acknowledged(self, index: int, time_ns: int) -> None:
        """A follower has everything up to an index: see how far a majority is."""
        if index <= self.committed or self._own < 0:
            return
        ids = self.voters.at(self.end)
        if not ids:
            return
        if ids is not self._ids or len(self.followers) != self._asked:
            self._prepare(ids)
        needed = self._needed
        matches = [follower.match for follower in self._voting if follower.term == self.term]
        if needed <= 0 or len(matches) < needed:
            return
        matches.sort(reverse=True)
        majority = matches[needed - 1]
        if majority > self.committed and majority >= self._own:
            self._commit(majority, time_ns)

    def _commit(self, index: int, time_ns: int) -> None:
        self.committed = index
        last = self._count if index >= self.end else max(index, self._base) - self._base
        for number in range(max(self._done, self._count - self._mask - 1) + 1, last + 1):
            elapsed = time_ns - self._times[number & self._mask]
            if elapsed >= 0:
                self.seconds.add(elapsed)
        self._done = max(self._done, last)
