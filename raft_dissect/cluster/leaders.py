"""Who led when: leaders by term, how each one's time ended, and the times without a leader."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.cluster.facts import Leaderless, Leadership, UnseenLeader
from raft_dissect.cluster.terms import proven_term
from raft_dissect.values import Place
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raft_dissect.cluster.facts import Election, LeaderEnd, LeaderlessCause, LeaderlessEnd
    from raft_dissect.cluster.servers import Server
    from raft_dissect.values import Message

FROM_LEADERS = (table.APPEND_ENTRIES, table.INSTALL_SNAPSHOT, table.TIMEOUT_NOW)
"""Types of the messages that only leaders send."""
_QUIET_NS = 1_000_000_000
"""Nanoseconds of silence before the capture's end that do not yet mean that a leader stopped."""


class Reign:
    """One server's time as leader of one term, while it is being seen."""

    __slots__ = (
        "closed",
        "first",
        "last_file",
        "last_frame",
        "last_ns",
        "leader",
        "longest_ns",
        "missed",
        "over",
        "pauses",
        "term",
    )

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
        self.missed = False
        """Whether somebody asked for votes because nobody had heard of the leader since its last message."""
        self.pauses: list[tuple[Place, Place]] = []
        """The times in which it was missed, each up to its next message."""

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
        if self.missed:
            self.missed = False
            self.pauses.append((self.last, Place(time_ns, frame, file)))
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
        self._from_start = True

    def message(self, message: Message, sender: Server) -> None:
        """Learn from one message."""
        if self._began is None:
            self._began = message.first
        if message.stream.handshake is None and not self._reigns:
            self._from_start = False
        term = message.fields.get("term")
        if term is None:
            return
        if message.type == table.REQUEST_VOTE or proven_term(message) is not None:
            self._shows(sender, term, message.place)
        if message.type in FROM_LEADERS:
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

    def missed(self, leader: Server, silence_ns: int, place: Place) -> None:
        """A follower asks for votes, after it did not hear of its leader for so long.

        If others did not hear of the leader either, for most of that time, nobody did.
        """
        reign = self._current.get(leader)
        if reign is not None and 2 * (place.time_ns - reign.last_ns) >= silence_ns:
            reign.missed = True

    def forget(self, before_ns: int) -> None:
        """Forget those who led before a time, but for the last one, and those who may still lead."""
        last = max(self._reigns.values(), key=_last_of, default=None)
        kept = {id(reign) for reign in (last, *self._current.values())}
        for key, reign in list(self._reigns.items()):
            reign.pauses = [pause for pause in reign.pauses if pause[1].time_ns >= before_ns]
            if id(reign) not in kept and reign.last_ns < before_ns:
                del self._reigns[key]
                if self._of_term.get(reign.term) is reign:
                    del self._of_term[reign.term]
        if self._began is not None and self._began.time_ns < before_ns:
            self._began = min((reign.first for reign in self._reigns.values()), default=self._began)

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

    def latest(self) -> Reign | None:
        """The reign of the highest term of those that may go on."""
        return max(self._current.values(), key=_term_of, default=None)

    def last_of(self, server: Server) -> Place | None:
        """The last message of a server that may still lead."""
        reign = self._current.get(server)
        return reign.last if reign is not None else None

    def leads(self, server: Server, term: int) -> bool:
        """Whether a server was seen to lead a term."""
        return (term, server) in self._reigns

    def unseen(self, answers: Iterable[tuple[int, Server, Place, Place]]) -> tuple[UnseenLeader, ...]:
        """The leaders that were answered and not heard of.

        `answers` are term, leader, first and last place of answers to requests that are not in the capture.
        """
        found: dict[tuple[int, Server], tuple[Place, Place]] = {}
        for term, leader, first, last in answers:
            if term not in self._of_term:
                key = (term, leader.resolved)
                before = found.get(key, (first, last))
                found[key] = (min(first, before[0]), max(last, before[1]))
        unseen = (UnseenLeader(term, leader.name, *places) for (term, leader), places in found.items())
        return tuple(sorted(unseen, key=lambda one: one.first))

    def leaderships(self, unseen: Sequence[UnseenLeader], end: Place) -> tuple[Leadership, ...]:
        """Every leadership in the order in which they began; `end` is the end of the capture."""
        reigns = sorted(self._merged(), key=lambda reign: reign.first)
        successors = _successors(reigns)
        found = []
        for reign in reigns:
            later = [one.first for one in unseen if one.term > reign.term]
            seen = successors[reign.term]
            successor = min(later if seen is None else [*later, seen], default=None)
            word, ended = _ended_by(reign, successor, end)
            found.append(Leadership(reign.term, reign.leader.name, reign.first, reign.last, word, ended))
        return tuple(found)

    def _merged(self) -> list[Reign]:
        """The reigns of servers that turned out to be one, together."""
        merged: dict[tuple[int, Server], Reign] = {}
        for (term, server), reign in self._reigns.items():
            key = (term, server.resolved)
            other = merged.setdefault(key, reign)
            other.first = min(other.first, reign.first)
            if other is not reign:
                other.pauses = sorted({*other.pauses, *reign.pauses})
            if reign.last > other.last:
                other.last_ns, other.last_frame, other.last_file = reign.last
        return list(merged.values())

    def leaderless(
        self, leaderships: Sequence[Leadership], elections: Sequence[Election], end: Place
    ) -> tuple[Leaderless, ...]:
        """The times in which no leader was heard of, from the first message on; `end` is the end of the capture.

        They lie between the last message of one leader and the first of the next, or between two messages of a leader
        that was missed in the meantime.
        """
        if self._began is None:
            return ()
        found = []
        heard, reign = self._began, None
        for presence in self._presences():
            if presence.first > heard:
                word: LeaderlessEnd = "elected" if presence.first == presence.reign.first else "returned"
                found.append(self._without(heard, presence.first, reign, elections, word))
            if reign is None or presence.last >= heard:
                heard, reign = max(heard, presence.last), presence.reign
        if (not leaderships or leaderships[-1].ended_by != "capture_end") and end.time_ns > heard.time_ns:
            found.append(self._without(heard, end, reign, elections, "capture_end"))
        return tuple(found)

    def _presences(self) -> list[_Presence]:
        """The times in which leaders were heard of, without their pauses, in the order in which they began.

        Who comes back after a pause when another leads a later term by then is no leader any more.
        """
        found = []
        reigns = self._merged()
        successors = _successors(reigns)
        for reign in reigns:
            first = reign.first
            successor = successors[reign.term]
            for last, next_ in reign.pauses:
                if successor is not None and successor < next_:
                    found.append(_Presence(first, last, reign))
                    break
                found.append(_Presence(first, last, reign))
                first = next_
            else:
                found.append(_Presence(first, reign.last, reign))
        return sorted(found, key=lambda presence: presence.first)

    def _without(
        self, first: Place, last: Place, reign: Reign | None, elections: Sequence[Election], word: LeaderlessEnd
    ) -> Leaderless:
        inside = [e for e in elections if first <= e.place and e.place.time_ns <= last.time_ns]
        if reign is None:
            cause: LeaderlessCause = "start" if self._from_start else "unknown"
        else:
            cause = _why_silent(reign, inside, last)
        return Leaderless(first, last, cause, word, sum(not election.pre_vote for election in inside), reign is None)


class _Presence(NamedTuple):
    """A time in which a leader was heard of."""

    first: Place
    last: Place
    reign: Reign


def _why_silent(reign: Reign, elections: Sequence[Election], last: Place) -> LeaderlessCause:
    """Why a leader was heard of no more until `last`, as the first thing shows that was seen then."""
    if any(election.cause == "transfer" for election in elections):
        return "transfer"
    seen: list[tuple[Place, LeaderlessCause]] = []
    if reign.closed is not None and reign.closed <= last:
        seen.append((reign.closed, "connection_lost"))
    if reign.over is not None and reign.over <= last:
        seen.append((reign.over, "step_down"))
    for election in elections:
        cause = election.cause
        if election.leader == reign.leader.name and (cause == "heartbeats_absent" or cause == "connection_lost"):
            seen.append((election.place, cause))
    return min(seen)[1] if seen else "unknown"


def _successors(reigns: list[Reign]) -> dict[int, Place | None]:
    """By term: the first message of any leader of a later term."""
    found: dict[int, Place | None] = {}
    first: Place | None = None
    for term, same in groupby(sorted(reigns, key=_term_of, reverse=True), _term_of):
        found[term] = first
        firsts = [reign.first for reign in same]
        first = min(firsts if first is None else [first, *firsts])
    return found


def _last_of(reign: Reign) -> int:
    return reign.last_ns


def _term_of(reign: Reign) -> int:
    return reign.term


def _ended_by(reign: Reign, successor: Place | None, end: Place) -> tuple[LeaderEnd, Place | None]:
    """What was seen first after the leader's last message, and where."""
    seen: list[tuple[Place | None, LeaderEnd]] = [
        (reign.closed, "connection_lost"),
        (reign.over, "step_down"),
        (successor, "new_leader"),
    ]
    ends = [(place, word) for place, word in seen if place is not None]
    if ends:
        place, word = min(ends)
        return word, place
    silence = end.time_ns - reign.last.time_ns
    return ("capture_end" if silence <= max(2 * reign.longest_ns, _QUIET_NS) else "unknown"), None
