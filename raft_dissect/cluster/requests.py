"""Requests of a leader that wait for their results, which carry no request number and come on another connection.

What a result answers follows from its index and from the order in which servers answer (protocol document, section
7.5). A request that gives a follower nothing to write is answered at once. One with new entries is answered when they
are written, with the index of the last of them, so results of the former overtake those of the latter, and then carry
a lower index.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.cluster.extents import Words

_MAX_WAITING = 1024
"""Requests of either sort that wait at most; the oldest are given up first."""
_MAX_SEARCHED = 64


class Request:
    """An AppendEntries message that waits for its result."""

    __slots__ = ("due", "end", "file", "frame", "index", "index_term", "number", "term", "time_ns", "words")

    number: int
    """Counts the requests to this follower."""
    term: int
    index: int
    """Of the entry before the first one."""
    index_term: int
    words: Sequence[Words]
    end: int
    """Index of its last entry, or of the one that it would follow."""
    due: bool
    """Whether nothing allows to leave it without an answer."""
    time_ns: int
    """Of its last packet, as are `frame` and `file`."""
    frame: int
    file: int


class Waiting:
    """The requests of a leader to one follower that wait for their results."""

    __slots__ = ("_excused", "_quick", "_writes", "number", "overdue")

    def __init__(self) -> None:
        self._quick: deque[Request] = deque()
        """With nothing that the follower would have to write, so far as is known."""
        self._writes: deque[Request] = deque()
        self.number = 0
        """Requests so far."""
        self._excused = 0  # requests up to this number may have lost their answers, or may never get any
        self.overdue = 0
        """Requests of which it is certain that they get no answer any more, although one was due."""

    def __len__(self) -> int:
        return len(self._quick) + len(self._writes)

    def add(
        self,
        term: int,
        index: int,
        index_term: int,
        words: Sequence[Words],
        writes: bool,
        due: bool,
        time_ns: int,
        frame: int,
        file: int,
    ) -> None:
        """Wait for the result of a request; `writes` says whether it has entries that were not sent before."""
        self.number += 1
        request = Request()
        request.number = self.number
        request.term = term
        request.index = index
        request.index_term = index_term
        request.words = words
        request.end = index + len(words)
        request.due = due
        request.time_ns = time_ns
        request.frame = frame
        request.file = file
        waiting = self._writes if writes else self._quick
        waiting.append(request)
        if len(waiting) > _MAX_WAITING:
            self._pass(waiting)

    def excuse(self) -> None:
        """What waits may never be answered."""
        self._excused = self.number

    def clear(self) -> None:
        """Wait no more: the results may never be seen."""
        self._quick.clear()
        self._writes.clear()

    def answered(self, term: int, index: int) -> Request | None:
        """What a success answers, or None."""
        quick = self._first(self._quick, term)
        write = self._first(self._writes, term)
        if write is not None and write.end <= index and (quick is None or self._wrote(write, quick, index)):
            return self._written(index)
        if quick is not None:
            self._quick.popleft()
        return quick

    def _first(self, waiting: deque[Request], term: int) -> Request | None:
        """The first that waits for a success in a term; those of earlier terms get none any more."""
        while waiting:
            request = waiting[0]
            if request.term >= term:
                return request if request.term == term else None
            waiting.popleft()
        return None

    def _wrote(self, write: Request, quick: Request, index: int) -> bool:
        """Whether a success is for entries, and not for one of the other requests that wait."""
        if write.end == index or quick.end == index:
            return write.end == index and (quick.end != index or write.number < quick.number)
        return write.number < quick.number or self._waits_for(index)

    def _waits_for(self, index: int) -> bool:
        """Whether one of the first requests with entries ends at an index."""
        for at in range(min(len(self._writes), _MAX_SEARCHED)):
            request = self._writes[at]
            if request.end == index:
                return True
        return False

    def _written(self, index: int) -> Request:
        """The first request whose last entry is the one that was written last, or else simply the first."""
        writes, quick = self._writes, self._quick
        if writes[0].end != index and self._waits_for(index):
            while writes[0].end != index:
                self._pass(writes)
        request = writes.popleft()
        while quick and quick[0].number < request.number:
            self._pass(quick)
        return request

    def refused(self, term: int, index: int) -> Request | None:
        """What a rejection of an index answers, or None: the first request that names it, or the one after it."""
        waiting = sorted([*self._quick, *self._writes], key=_number)
        for before in (index, index - 1):
            for request in waiting:
                if request.index == before and request.term <= term:
                    (self._writes if request in self._writes else self._quick).remove(request)
                    return request
        return None

    def _pass(self, waiting: deque[Request]) -> None:
        """The first of those that wait gets no answer any more."""
        request = waiting.popleft()
        if request.due and request.number > self._excused:
            self.overdue += 1

    def due_before(self, time_ns: int) -> int:
        """How many requests from before a time wait for an answer that is due."""
        return sum(
            request.due and request.number > self._excused and request.time_ns < time_ns
            for waiting in (self._quick, self._writes)
            for request in waiting
        )


def _number(request: Request) -> int:
    return request.number
