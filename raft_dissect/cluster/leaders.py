"""Who led when: leaders by term, how each one's time ended, and the times without a leader."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from raft_dissect.cluster.facts import Leaderless, Leadership
from raft_dissect.cluster.terms import proven_term
from raft_dissect.values import Place
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect.cluster.facts import LeaderEnd
    from raft_dissect.cluster.servers import Server
    from raft_dissect.values import Message

_FROM_LEADERS = (table.APPEND_ENTRIES, table.INSTALL_SNAPSHOT, table.TIMEOUT_NOW)
_QUIET_NS = 1_000_000_000
"""Nanoseconds of silence before the capture's end that do not yet mean that a leader stopped."""


class Reign:
    """One server's time as leader of one term, while it is being seen."""

    __slots__ = ("closed", "first", "last_file", "last_frame", "last_ns", "leader", "longest_ns", "over", "term")

    def __init__(self, term: int, leader: Server, place: Place) -> None:
        self.term = term
        self.leader = leader
        self.first = place
        self.last_ns, self.last_frame, self.last_file = place
        self.longest_ns = 0
        """The longest silence between two of its messages."""
        self.closed: Place | None = None
        """When a connection of the leader ended after its last message."""
        self.over: Place | None = None
        """When the leader showed that it leads no more: with a later term, or by asking for votes."""

    @property
    def last(self) -> Place:
        """The leader's last message."""
        return Place(self.last_ns, self.last_frame, self.last_file)

    def heard(self, time_ns: int, frame: int, file: int) -> None:
        """Take note of a message of the leader, which leads still."""
        silence = time_ns - self.last_ns
        if silence < 0 or (not silence and (frame, file) <= (self.last_frame, self.last_file)):
            return
        if silence > self.longest_ns:
            self.longest_ns = silence
        self.last_ns = time_ns
        self.last_frame = frame
        self.last_file = file
        self.closed = None


class Leaders:
    """The leaders that messages show: only a leader sends AppendEntries, InstallSnapshot or TimeoutNow."""

    def __init__(self) -> None:
        self._reigns: dict[tuple[int, Server], Reign] = {}
        self._of_term: dict[int, Reign] = {}  # the first of each term
        self._current: dict[Server, Reign] = {}  # of those who may still lead
        self._shown: dict[Server, int] = {}  # the highest term that a server had or asked votes for
        self._began: Place | None = None

    def message(self, message: Message, sender: Server) -> None:
        """Learn from one message."""
        if self._began is None:
            self._began = message.first
        term = message.fields.get("term")
        if term is None:
            return
        if message.type == table.REQUEST_VOTE or proven_term(message) is not None:
            self._shows(sender, term, message.place)
        if message.type in _FROM_LEADERS:
            self._leads(sender, term, message.place)

    def _shows(self, sender: Server, term: int, place: Place) -> None:
        """A server has a term, or campaigns for it: it no longer leads an earlier one."""
        if term <= self._shown.get(sender, 0):
            return
        self._shown[sender] = term
        reign = self._current.pop(sender, None)
        if reign is not None:
            reign.over = place

    def _leads(self, sender: Server, term: int, place: Place) -> None:
        reign = self._reigns.get((term, sender))
        if reign is None:
            reign = self._reigns[term, sender] = Reign(term, sender, place)
            self._of_term.setdefault(term, reign)
            if term == self._shown.get(sender):
                self._current[sender] = reign
        reign.first = min(reign.first, place)
        # What was queued for an unreachable server may leave long after the leader stepped down.
        if reign is self._current.get(sender):
            reign.heard(place.time_ns, place.frame, place.file)

    def closed(self, sender: Server, place: Place) -> None:
        """One of a server's own connections ended."""
        reign = self._current.get(sender)
        if reign is not None and reign.closed is None:
            reign.closed = place

    @property
    def any_seen(self) -> bool:
        """Whether any leader was seen so far."""
        return bool(self._reigns)

    def first_of(self, term: int) -> tuple[Server, Place] | None:
        """The leader of a term and its first message, as far as it was seen."""
        reign = self._of_term.get(term)
        return (reign.leader, reign.first) if reign is not None else None

    def current(self, server: Server) -> Reign | None:
        """The reign of a server that may still lead."""
        return self._current.get(server)

    def last_of(self, server: Server) -> Place | None:
        """The last message of a server that may still lead."""
        reign = self._current.get(server)
        return reign.last if reign is not None else None

    def leads(self, server: Server, term: int) -> bool:
        """Whether a server was seen to lead a term."""
        return (term, server) in self._reigns

    def leaderships(self, end: Place) -> tuple[Leadership, ...]:
        """Every leadership in the order in which they began; `end` is the end of the capture."""
        reigns = sorted(self._merged(), key=lambda reign: reign.first)
        successors = _successors(reigns)
        return tuple(
            Leadership(r.term, r.leader.name, r.first, r.last, _ended_by(r, successors[r.term], end)) for r in reigns
        )

    def _merged(self) -> list[Reign]:
        """The reigns of servers that turned out to be one, together."""
        merged: dict[tuple[int, Server], Reign] = {}
        for (term, server), reign in self._reigns.items():
            key = (term, server.resolved)
            other = merged.setdefault(key, reign)
            other.first = min(other.first, reign.first)
            if reign.last > other.last:
                other.last_ns, other.last_frame, other.last_file = reign.last
        return list(merged.values())

    def leaderless(self, leaderships: tuple[Leadership, ...], end: Place) -> tuple[Leaderless, ...]:
        """The times between the last message of one leader and the first of the next, from the first message on."""
        if self._began is None:
            return ()
        found = []
        heard = self._began
        for leadership in leaderships:
            if leadership.first > heard:
                found.append(Leaderless(heard, leadership.first))
            heard = max(heard, leadership.last)
        if (not leaderships or leaderships[-1].ended_by != "capture_end") and end.time_ns > heard.time_ns:
            found.append(Leaderless(heard, end))
        return tuple(found)


def _successors(reigns: list[Reign]) -> dict[int, Place | None]:
    """By term: the first message of any leader of a later term."""
    found: dict[int, Place | None] = {}
    first: Place | None = None
    for term, same in groupby(sorted(reigns, key=_term_of, reverse=True), _term_of):
        found[term] = first
        firsts = [reign.first for reign in same]
        first = min(firsts if first is None else [first, *firsts])
    return found


def _term_of(reign: Reign) -> int:
    return reign.term


def _ended_by(reign: Reign, successor: Place | None, end: Place) -> LeaderEnd:
    """What was seen first after the leader's last message."""
    seen: list[tuple[Place | None, LeaderEnd]] = [
        (reign.closed, "connection_lost"),
        (reign.over, "step_down"),
        (successor, "new_leader"),
    ]
    ends = [(place, word) for place, word in seen if place is not None]
    if ends:
        return min(ends)[1]
    silence = end.time_ns - reign.last.time_ns
    return "capture_end" if silence <= max(2 * reign.longest_ns, _QUIET_NS) else "unknown"
