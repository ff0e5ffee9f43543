"""Requests of a leader that wait for their results, which carry no request number and come on another connection.

What a result answers follows from its index and from the order in which servers answer (protocol document, section
7.5). A request that gives a follower nothing to write is answered at once. One with new entries is answered when they
are written, with the index of the last of them, so results of the former overtake those of the latter, and then carry
a lower index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raft_dissect.cluster.extents import Words

_MAX_WAITING = 1024
"""Requests of either sort that wait at most; the oldest are given up first."""
_MAX_SEARCHED = 64
_MAX_LEFT = 256
"""Requests that have left and are still in memory."""


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


class Queue:
    """Requests in their order, of which the first leave first; compiled code is faster with a list than with deque."""

    __slots__ = ("_begin", "_requests")

    def __init__(self) -> None:
        self._requests: list[Request] = []
        self._begin = 0  # those before have left

    def __len__(self) -> int:
        return len(self._requests) - self._begin

    def __iter__(self) -> Iterator[Request]:
        return iter(self._requests[self._begin :])

    def at(self, number: int) -> Request | None:
        """The request with so many before it; None when there are not so many."""
        number += self._begin
        return self._requests[number] if number < len(self._requests) else None

    def add(self, request: Request) -> None:
        """Add one behind all others."""
        self._requests.append(request)

    def pop(self) -> None:
        """Let the first one leave."""
        self._begin += 1
        if self._begin >= _MAX_LEFT:
            del self._requests[: self._begin]
            self._begin = 0

    def remove(self, request: Request) -> None:
        """Let one leave, wherever it stands."""
        del self._requests[: self._begin]
        self._begin = 0
        self._requests.remove(request)

    def clear(self) -> None:
        """Let all leave."""
        self._requests.clear()
        self._begin = 0


class Waiting:
    """The requests of a leader to one follower that wait for their results."""

    __slots__ = ("_excused", "_quick", "_writes", "number", "overdue")

    def __init__(self) -> None:
        self._quick = Queue()
        """With nothing that the follower would have to write, so far as is known."""
        self._writes = Queue()
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
        waiting.add(request)
        if len(waiting) > _MAX_WAITING:
            self._pass(waiting)

    def holds(self, request: Request) -> bool:
        """Whether a request waits."""
        return any(each is request for waiting in (self._writes, self._quick) for each in waiting)

    def reaching(self, term: int, index: int, before_ns: int) -> Request | None:
        """The first that was sent before a time, in nanoseconds since the epoch, and has the entry of an index."""
        return next(
            (
                request
                for waiting in (self._writes, self._quick)
                for request in waiting
                if request.term == term and request.index < index <= request.end and request.time_ns <= before_ns
            ),
            None,
        )

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
            self._quick.pop()
        return quick

    def _first(self, waiting: Queue, term: int) -> Request | None:
        """The first that waits for a success in a term; those of earlier terms get none any more."""
        request = waiting.at(0)
        while request is not None and request.term < term:
            waiting.pop()
            request = waiting.at(0)
        return None if request is None or request.term != term else request

    def _wrote(self, write: Request, quick: Request, index: int) -> bool:
        """Whether a success is for entries, and not for one of the other requests that wait."""
        if write.end == index or quick.end == index:
            return write.end == index and (quick.end != index or write.number < quick.number)
        return write.number < quick.number or self._waits_for(index)

    def _waits_for(self, index: int) -> bool:
        """Whether one of the first requests with entries ends at an index."""
        for number in range(_MAX_SEARCHED):
            request = self._writes.at(number)
            if request is None:
                return False
            if request.end == index:
                return True
        return False

    def _written(self, index: int) -> Request | None:
        """The first request whose last entry is the one that was written last, or else simply the first."""
        writes, quick = self._writes, self._quick
        request = writes.at(0)
        if request is not None and request.end != index and self._waits_for(index):
            while request is not None and request.end != index:
                self._pass(writes)
                request = writes.at(0)
        writes.pop()
        overtaken = quick.at(0)
        while request is not None and overtaken is not None and overtaken.number < request.number:
            self._pass(quick)
            overtaken = quick.at(0)
        return request

    def refused(self, term: int, index: int) -> Request | None:
        """What a rejection of an index answers, or None: the first request that names it, or the one after it."""
        waiting: list[Request] = sorted((*self._quick, *self._writes), key=_number)
        for before in (index, index - 1):
            for request in waiting:
                if request.index == before and request.term <= term:
                    (self._writes if request in self._writes else self._quick).remove(request)
                    return request
        return None

    def _pass(self, waiting: Queue) -> None:
        """The first of those that wait gets no answer any more."""
        request = waiting.at(0)
        waiting.pop()
        if request is not None and request.due and request.number > self._excused:
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
