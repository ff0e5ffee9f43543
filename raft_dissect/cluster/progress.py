"""What a leader replicates to one follower: what is counted, how long it takes, how far the follower is behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raft_dissect.cluster.catchups import Catching
from raft_dissect.cluster.extents import Extent
from raft_dissect.cluster.lags import Lags
from raft_dissect.cluster.requests import Waiting
from raft_dissect.spread import Histogram
from raft_dissect.values import Place
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.cluster.commits import LeaderLog
    from raft_dissect.cluster.extents import Words
    from raft_dissect.cluster.requests import Request
    from raft_dissect.cluster.servers import Server

_MAX_UNREQUESTED = 1024
"""Terms of which it is remembered that there were answers without requests."""
_MAX_EARLY = 64
"""Results that are remembered because their requests may yet come out of a stream with a hole."""
_MIN_WAIT_NS = 1_000_000_000
"""Nanoseconds before the capture's end in which an answer may still be on its way."""
_COMMAND = table.COMMAND


class Replaced:
    """Entries that a follower had and gave up for others."""

    __slots__ = ("entries", "first_index", "follower", "leader", "place", "term")

    def __init__(self, leader: Server, follower: Server, replaced: tuple[int, int], request: Request) -> None:
        self.leader = leader
        self.follower = follower
        self.term = request.term
        self.first_index, self.entries = replaced
        self.place = Place(request.time_ns, request.frame, request.file)


class Progress:
    """What one server, as leader, replicates to another."""

    __slots__ = (
        "_early",
        "_heard_ns",
        "_sent",
        "_sure",
        "again",
        "answered",
        "bytes",
        "catching",
        "commands",
        "entries",
        "first_file",
        "first_frame",
        "first_ns",
        "follower",
        "hears",
        "heartbeats",
        "holding",
        "intervals",
        "lags",
        "last_file",
        "last_frame",
        "last_ns",
        "leader",
        "log",
        "match",
        "other_types",
        "pending",
        "replaced",
        "requests",
        "sent_ns",
        "sizes",
        "term",
        "times",
        "unread",
        "unrequested",
        "waiting",
    )

    def __init__(self, leader: Server, follower: Server, log: LeaderLog, holding: Extent, pending: list[Any]) -> None:
        self.leader = leader
        self.follower = follower
        self.log = log
        self.holding = holding
        """The entries that the follower is known to have, from any leader."""
        self.pending = pending
        """Snapshots that it may be installing."""
        self.term = -1
        """The term of the latest requests; -1 before the first."""
        self.match = -1
        """How far the follower has what the leader has; -1 while that is unknown in this term."""
        self.requests = self.heartbeats = self.answered = 0
        self.entries = self.bytes = self.again = self.commands = 0
        self.other_types: dict[int, int] = {}
        self.sizes = Histogram()
        self.intervals = Histogram()
        """Nanoseconds between one request and the next."""
        self.times = Histogram()
        """Nanoseconds from a request to its answer."""
        self.lags = Lags()
        self.catching: list[Catching] = []
        self.replaced: list[Replaced] = []
        self.waiting = Waiting()
        self.unread = 0
        """Requests that wait for an answer, and of which too little was captured to know it by its index."""
        self.unrequested: dict[int, tuple[Place, Place]] = {}
        """By term: the first and the last success that answers no request in the capture."""
        self.hears = False
        """Whether answers are being captured."""
        self.first_ns = self.first_frame = self.first_file = 0
        self.last_ns = self.last_frame = self.last_file = 0
        self._sent = Extent()
        self.sent_ns = -1
        """When the last request of this term was sent, in nanoseconds since the epoch; -1 while that is unknown."""
        self._heard_ns = -1
        self._sure = False
        """Whether no answers can come to requests that were not seen."""
        self._early: list[tuple[int, int, int]] = []

    def append(
        self,
        term: int,
        index: int,
        index_term: int,
        commit: int,
        words: Sequence[Words],
        time_ns: int,
        frame: int,
        file: int,
    ) -> None:
        """The leader sent AppendEntries with the entries that follow an index, where one of a term is."""
        if term != self.term:
            self._begin(term)
        self.count(words, time_ns, frame, file)
        if self.sent_ns >= 0 and time_ns >= self.sent_ns:
            self.intervals.add(time_ns - self.sent_ns)
        self.sent_ns = time_ns
        log = self.log
        log.sent(index, index_term, commit, words, time_ns, frame, file)
        again = self._sent.put(index, words) if words else 0
        self.again += again
        if self.match >= 0:
            self.lags.note(log, self.match, time_ns, frame, file)
        waiting = self.waiting
        if not self._sure and self._heard_ns >= 0 and not len(waiting):
            self._sure = True
        writes = len(words) > again
        due = time_ns >= self._heard_ns and not (words and self.pending)
        waiting.add(term, index, index_term, words, writes, due, time_ns, frame, file)
        if self._early:
            self._answered_early(time_ns)

    def count(self, words: Sequence[Words], time_ns: int, frame: int, file: int) -> None:
        """Count a request and its entries."""
        if not self.requests or time_ns < self.first_ns:
            self.first_ns, self.first_frame, self.first_file = time_ns, frame, file
        if not self.requests or time_ns > self.last_ns or (time_ns == self.last_ns and frame > self.last_frame):
            self.last_ns, self.last_frame, self.last_file = time_ns, frame, file
        self.requests += 1
        if not words:
            self.heartbeats += 1
        for _, kind, size in words:
            self.entries += 1
            self.bytes += size
            self.sizes.add(size)
            if kind == _COMMAND:
                self.commands += 1
            else:
                self.other_types[kind] = self.other_types.get(kind, 0) + 1

    def late(self, term: int, index: int, index_term: int, words: tuple[Words, ...], place: Place) -> None:
        """Count a request of a term that is over: it tells nothing of the leader's log, and will be refused."""
        self.count(words, *place)
        time_ns, frame, file = place
        self.waiting.add(term, index, index_term, words, False, False, time_ns, frame, file)

    def count_cut(self, entries: int, size: int, place: Place) -> None:
        """Count a request with so many entries, of which too little was captured to know its result by the index."""
        self.count((), *place)
        self.heartbeats -= entries > 0
        self.entries += entries
        self.bytes += size
        self.unread += 1
        self.lost()

    def _begin(self, term: int) -> None:
        """Go on in another term."""
        self.term = term
        self.match = -1
        self.sent_ns = -1
        self.waiting.excuse()
        if self.catching:
            self.catching[-1].over = True
        if self.log.term != term:
            self.log.begin(term)

    def success(self, term: int, index: int, first_ns: int, time_ns: int, frame: int, file: int) -> None:
        """The follower answered a request, and has everything up to an index."""
        self.hears = True
        if time_ns > self._heard_ns:
            self._heard_ns = time_ns
        request = self.waiting.answered(term, index)
        if request is None:
            self._unmatched(term, index, first_ns, Place(time_ns, frame, file))
        else:
            self.answered += 1
            end = request.end
            if index >= end:
                self._has(request)
            if index == end and request.words:
                self._sure = True
            if self._sure and index <= end and first_ns >= request.time_ns:
                self.times.add(first_ns - request.time_ns)
        if term == self.term:
            self._reached(request, index, time_ns, frame, file)

    def _has(self, request: Request) -> None:
        """The follower has the entries of a request, and the one before them."""
        holding = self.holding
        holding.replaced = None
        holding.holds(request.index, request.index_term)
        if request.words:
            holding.put(request.index, request.words)
        if holding.replaced is not None:
            self.replaced.append(Replaced(self.leader, self.follower, holding.replaced, request))

    def _reached(self, request: Request | None, index: int, time_ns: int, frame: int, file: int) -> None:
        """The follower has everything up to an index in the present term."""
        log = self.log
        if log.term != self.term:
            return
        if index > log.end:
            index = log.end
        if index > self.match:
            self.match = index
            log.acknowledged(index, time_ns)
        if self.catching and not self.catching[-1].over:
            accepted = None if request is None else request.index
            self.catching[-1].accepted(accepted, self.match, log.end, Place(time_ns, frame, file))

    def _unmatched(self, term: int, index: int, first_ns: int, place: Place) -> None:
        """A success answers no request that was seen so far."""
        if self.unread:
            self.unread -= 1
            self.answered += 1
        else:
            if index and (term in self.unrequested or len(self.unrequested) < _MAX_UNREQUESTED):
                first, last = self.unrequested.get(term, (place, place))
                self.unrequested[term] = (min(first, place), max(last, place))
            self._early.append((term, index, first_ns))
            del self._early[:-_MAX_EARLY]

    def _answered_early(self, time_ns: int) -> None:
        """A request comes out of its stream after results that were captured later: one may be its answer."""
        self._early = [result for result in self._early if result[2] >= time_ns]
        for result in self._early:
            request = self.waiting.answered(result[0], result[1])
            if request is not None:
                self.answered += 1
                if result[1] >= request.end:
                    self._has(request)
                self._early.remove(result)
                return

    def rejected(self, term: int, index: int, first_ns: int, place: Place) -> None:
        """The follower refused a request, naming an index."""
        self.hears = True
        self._heard_ns = max(self._heard_ns, place.time_ns)
        request = self.waiting.refused(term, index)
        if request is None:
            if self.unread:
                self.unread -= 1
                self.answered += 1
        else:
            self.answered += 1
            if self._sure and first_ns >= request.time_ns:
                self.times.add(first_ns - request.time_ns)
        one_sided = not self.requests
        if one_sided or (request is not None and request.term == term):
            if not self.catching or self.catching[-1].over:
                self.catching.append(Catching(self.leader, self.follower, term, place))
            self.catching[-1].refused()

    def cut_result(self) -> None:
        """The follower answered, but the part of its answer that says what was not captured."""
        self.hears = True
        if self.unread:
            self.unread -= 1
            self.answered += 1
        elif len(self.waiting):
            self.answered += 1
            self.forget()

    def installed(self, index: int, index_term: int | None, place: Place) -> None:
        """The follower has what a snapshot holds, up to an index."""
        self.hears = True
        self._heard_ns = max(self._heard_ns, place.time_ns)
        self._sure = False
        if index_term is not None:
            self.holding.holds(index, index_term)
        if self.log.term == self.term and self.log.end >= 0:
            self.match = max(self.match, min(index, self.log.end))
            if self.catching and not self.catching[-1].over:
                self.catching[-1].accepted(index, self.match, self.log.end, place)

    def snapshot(self) -> None:
        """The leader sent a snapshot."""
        if self.catching and not self.catching[-1].over:
            self.catching[-1].snapshot = True

    def opened(self) -> None:
        """The leader opened a connection to the follower."""
        self.forget()
        self._sure = not self.requests

    def closed(self) -> None:
        """The leader's connection ended, and perhaps before all that it sent had arrived."""
        self.waiting.excuse()
        self._sure = False

    def forget(self) -> None:
        """Answers may be missing from the capture, or may never arrive."""
        self.waiting.clear()
        self._sure = False

    def forget_before(self, before_ns: int) -> None:
        """Forget the catch-ups that are over and the entries that were replaced before a time."""
        self.catching = [one for one in self.catching if not one.over or one.place.time_ns >= before_ns]
        self.replaced = [one for one in self.replaced if one.place.time_ns >= before_ns]

    def unheard(self) -> None:
        """Nothing more will be heard of the follower, or something was not."""
        self.forget()
        self.hears = False

    def lost(self) -> None:
        """Requests may be missing from the capture."""
        self.forget()
        self.sent_ns = -1

    def unanswered(self, end_ns: int) -> int:
        """Requests without an answer that was due, when the capture ends at a time."""
        overdue = self.waiting.overdue
        return overdue + self.waiting.due_before(end_ns - _MIN_WAIT_NS) if self.hears else overdue
