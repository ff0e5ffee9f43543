"""What the capture has of each connection: whether it was there from the start, what is missing, and up to when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect.audit.knowledge.terms import Terms
    from raft_dissect.audit.knowledge.votes import Asked
    from raft_dissect.audit.step import Step
    from raft_dissect.audit.verdicts import Reason
    from raft_dissect.values import Place, Stream, StreamEnd

_MAX_OVER = 64
"""Connections of one server to another that are over and still remembered."""
_LATE_NS = 1_000_000_000
"""How late packets may have been captured in a capture that shows some to be late."""
_MAX_UNKNOWN = 4096
"""Connections that are remembered although it is not known between whom they are."""
_NEVER_NS = -(2**63)
_ALWAYS_NS = 2**63
_SYNCHRONOUS = 2
"""Messages that follow one another, after which it is certain that the next one begins where the last one ends."""


class Line:
    """One stream, as far as it was captured."""

    __slots__ = (
        "appended_ns",
        "appended_term",
        "asked",
        "commit",
        "commit_place",
        "commit_term",
        "end",
        "ends",
        "ends_place",
        "ends_term",
        "first",
        "first_term",
        "framed",
        "from_start",
        "highest_place",
        "highest_term",
        "last",
        "lost",
        "lowest_place",
        "lowest_term",
        "matched",
        "matched_place",
        "matched_term",
        "messages",
        "named",
        "next_offset",
        "reason",
        "receiver",
        "sender",
        "stream",
        "unbroken",
        "voted",
    )

    def __init__(self, stream: Stream, place: Place) -> None:
        self.stream = stream
        self.sender: int | None = None
        self.receiver: int | None = None
        self.from_start = stream.handshake is not None
        """Whether its first message is known to be the first one."""
        self.named = stream.handshake is not None
        """Whether its handshake says who sends."""
        self.next_offset = None if stream.handshake is None else stream.handshake.length
        """Where in the stream the next message must begin; None when that is not known."""
        self.framed = 0 if stream.handshake is None else _SYNCHRONOUS
        """Messages that followed one another without a break, up to the last; a handshake counts as enough."""
        self.unbroken = stream.handshake is not None
        """Whether all messages since its handshake followed one another."""
        self.first = place
        self.last = place
        """The latest packet that completed a message: all that was sent before it is known, or `lost`."""
        self.lost: Place | None = None
        """The last place at which messages may be missing."""
        self.first_term: int | None = None
        """The term of its first message, if that was captured."""
        self.highest_term = 0
        """The highest term that its sender has shown on it; the terms of pre-votes are none."""
        self.highest_place = place
        self.appended_term: int | None = None
        """The term of its last AppendEntries, as is `commit_term`."""
        self.appended_ns = 0
        """When that was complete."""
        self.lowest_term: int | None = None
        """The lowest term that its sender has shown on it, as the highest one."""
        self.lowest_place = place
        self.matched_term: int | None = None
        """The term of the last AppendEntriesResult that accepts."""
        self.matched = -1
        """The highest last_log_index of those in that term."""
        self.matched_place = place
        self.commit_term: int | None = None
        """The term of its last AppendEntries."""
        self.commit = -1
        """The highest leader_commit in that term."""
        self.commit_place = place
        self.ends_term: int | None = None
        """The same for the highest index up to which AppendEntries brought entries, or that they would follow."""
        self.ends = -1
        self.ends_place = place
        self.messages = 0
        self.asked: list[Asked | None] = []
        """Its requests for votes, in their order; None where it is not known who asks what."""
        self.voted = 0
        """Its results of such requests."""
        self.end: Place | None = None
        self.reason: StreamEnd | None = None

    def synchronous(self, offset: int | None) -> bool:
        """Whether a message must begin at this offset of the stream, so that other bytes there are nobody's mistake."""
        return self.framed >= _SYNCHRONOUS and (offset is None or offset == self.next_offset)


class Lines:
    """All connections of a cluster."""

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        self._between: dict[tuple[int, int], list[Line]] = {}
        self._unknown: dict[int, Line] = {}  # those of which an end is not known
        self._forgotten_ns: dict[tuple[int, int], int] = {}  # when the last one between two servers was over
        self._forgotten_unknown_ns = _NEVER_NS  # when the last one was over of which an end was not known
        self._unordered_ns = 0  # by how much the times of messages of one connection fall at most

    def line(self, stream: Stream, place: Place, sender: int | None, receiver: int | None) -> Line:
        """What is known of a stream, on which something was seen at a place."""
        line = self._lines.get(stream.number)
        if line is None:
            line = self._lines[stream.number] = self._unknown[stream.number] = Line(stream, place)
            if len(self._unknown) > _MAX_UNKNOWN:
                self._forget_unknown()
        if (line.sender, line.receiver) != (sender, receiver):
            self._join(line, sender, receiver)
        return line

    def _join(self, line: Line, sender: int | None, receiver: int | None) -> None:
        if line.sender is not None and line.receiver is not None:
            self._between[line.sender, line.receiver].remove(line)
        line.sender, line.receiver = sender, receiver
        if sender is not None and receiver is not None:
            self._unknown.pop(line.stream.number, None)
            lines = self._between.setdefault((sender, receiver), [])
            lines.append(line)
            if len(lines) > _MAX_OVER:
                self._forget((sender, receiver), lines)

    def _forget(self, pair: tuple[int, int], lines: list[Line]) -> None:
        """Forget the oldest one that is over."""
        for line in lines:
            if line.end is not None:
                lines.remove(line)
                self._lines.pop(line.stream.number, None)
                self._forgotten_ns[pair] = max(line.end.time_ns, self._forgotten_ns.get(pair, _NEVER_NS))
                return

    def _forget_unknown(self) -> None:
        """Forget the oldest one that is over, or else that the oldest one may be between two servers."""
        number, line = next(
            ((number, line) for number, line in self._unknown.items() if line.end is not None),
            next(iter(self._unknown.items())),
        )
        del self._unknown[number]
        if line.end is None:
            self._forgotten_unknown_ns = _ALWAYS_NS
        else:
            del self._lines[number]
            self._forgotten_unknown_ns = max(line.end.time_ns, self._forgotten_unknown_ns)

    def nameless(self) -> list[Line]:
        """The connections of which it is not known who speaks or who listens."""
        return list(self._unknown.values())

    def known(self, stream: Stream) -> Line | None:
        """What is known of a stream, if anything was seen on it."""
        return self._lines.get(stream.number)

    def between(self, sender: int, receiver: int) -> list[Line]:
        """The connections of one server to another, those that are over included."""
        return self._between.get((sender, receiver), [])

    def of(self, sender: int) -> list[Line]:
        """The connections of one server to all others, those that are over included."""
        return [line for (from_, _), lines in self._between.items() if from_ == sender for line in lines]

    def said(self, line: Line, step: Step) -> None:
        """A message was complete."""
        place, term = step.place, step.term if step.real else None
        line.messages += 1
        if _passes_over(line, step):
            self.unheard(line, place)
        _frames(line, step)
        if place < line.last and line.messages > 1:
            self._unordered_ns = max(self._unordered_ns, line.last.time_ns - place.time_ns, 1)
        line.last = max(line.last, place)
        if line.messages == 1:
            line.first_term = term
        if term is not None and (term > line.highest_term or line.messages == 1):
            line.highest_term, line.highest_place = term, place
        if term is not None and (line.lowest_term is None or term < line.lowest_term):
            line.lowest_term, line.lowest_place = term, place
        if step.type == table.APPEND_ENTRIES:
            _appends(line, step)
        elif step.type == table.APPEND_ENTRIES_RESULT and step.fields.get("rejected") == 0:
            _accepts(line, step)

    def lost(self, line: Line, place: Place) -> None:
        """Messages may be missing before a place."""
        self.unheard(line, place)
        line.framed, line.unbroken = 0, False

    def unheard(self, line: Line, place: Place) -> None:
        """A message could not be learned from."""
        line.lost = place if line.lost is None else max(line.lost, place)

    def lost_everywhere(self, place: Place) -> None:
        """The capture itself is damaged."""
        for line in self._lines.values():
            if line.end is None:
                self.lost(line, place)

    def closed(self, line: Line, place: Place, reason: StreamEnd) -> None:
        """A connection ended, or nothing more of it is in the capture."""
        if reason == "limit":
            self.lost(line, place)
        if reason != "capture_end":
            line.end, line.reason = place, reason
            if None in (line.sender, line.receiver) and line.stream.number not in self._unknown:
                self._lines.pop(line.stream.number, None)

    def misses(self, sender: int, receiver: int, began_ns: int, until: Place) -> Reason | None:
        """Why it is not known all that a server sent to another from a time to some place; None if it is.

        A connection must have been there all the while: where there was none, another one may not be in the capture.
        """
        if self.forgets(sender, receiver, began_ns):
            return "forgotten"
        lines = [line for line in self.between(sender, receiver) if line.end is None or line.end.time_ns >= began_ns]
        reasons = [_misses(line, began_ns, until) for line in lines]
        if not any(line.last.time_ns > until.time_ns and line.first.time_ns <= until.time_ns for line in lines):
            reasons.append("other_direction" if not lines else "capture_end")
        return next((reason for reason in reasons if reason is not None), None)

    def forget_past(self) -> None:
        """Forget the connections that are over."""
        for lines in self._between.values():
            for line in [line for line in lines if line.end is not None]:
                lines.remove(line)
                self._lines.pop(line.stream.number, None)

    def hides(self, terms: Terms, sender: int, receiver: int, term: int, until: Place) -> Reason | None:
        """Why it is not known all that a server sent to another in a term, before some place; None if it is.

        That needs to have seen the server in a lower term, or standing for this one; every connection from there on
        without a loss; and on each something later, which proves that nothing is missing at its end.
        """
        if not self.between(sender, receiver):
            return "other_direction"
        if terms.forgotten(sender, term):
            return "forgotten"
        if not terms.began(sender, term):
            return "begun_midway"
        began = terms.first(sender, term)
        began_ns = until.time_ns if began is None else began.time_ns
        return self._hidden(sender, receiver, began_ns, until, term)

    def hides_since(self, sender: int, receiver: int, since: Place, until: Place) -> Reason | None:
        """Why it is not known all that a server sent to another between two places; None if it is."""
        return self._hidden(sender, receiver, since.time_ns, until, None)

    def margin_ns(self, sender: int, receiver: int) -> int | None:
        """How much later than a message another one back must be seen to be later for sure; None if it is unknown.

        Where the two directions are captured with different clocks, round trips of TCP are as much longer for the one
        whose clock is behind. Where packets are captured late, times fall on connections.
        """
        spreads = [
            line.stream.round_trips.spread()
            for line in self.between(sender, receiver)
            if line.stream.round_trips is not None
        ]
        trips = [spread.min for spread in spreads if spread is not None]
        if not trips:
            return None
        late_ns = max(_LATE_NS, 2 * self._unordered_ns) if self._unordered_ns else 0
        return max(int(min(trips)), late_ns)

    def _hidden(self, sender: int, receiver: int, began_ns: int, until: Place, term: int | None) -> Reason | None:
        if self.forgets(sender, receiver, began_ns):
            return "forgotten"
        lines = self.between(sender, receiver)
        alive = [line for line in lines if line.end is None or line.end.time_ns >= began_ns]
        if not alive:
            return "other_direction"
        for line in alive:
            reason = _hides(line, term, began_ns, until)
            if reason is not None:
                return reason
        return "unknown_server" if self._may_be_others(sender, receiver, began_ns) else None

    def forgets(self, sender: int, receiver: int, began_ns: int = _NEVER_NS) -> bool:
        """Whether a connection of one server to another is forgotten, that was there after a time."""
        until_ns = self._forgotten_ns.get((sender, receiver))
        return until_ns is not None and until_ns >= began_ns

    def _may_be_others(self, sender: int, receiver: int, began_ns: int) -> bool:
        """Whether some connection may be one between two servers although that is not known."""
        return self._forgotten_unknown_ns >= began_ns or any(
            line.sender in (None, sender)
            and line.receiver in (None, receiver)
            and (line.end is None or line.end.time_ns >= began_ns)
            for line in self._unknown.values()
        )


def _passes_over(line: Line, step: Step) -> bool:
    """Whether messages may be missing around this one: what a snaplen cuts off is no gap of the stream."""
    message = step.message
    if message.offset is None:
        return message.partial
    behind = line.next_offset is not None and message.offset > line.next_offset
    return behind or message.payload_length is None


def _frames(line: Line, step: Step) -> None:
    message = step.message
    follows = message.offset is None or message.offset == line.next_offset
    line.framed = line.framed + 1 if follows else 1
    line.unbroken = line.unbroken and follows
    size = message.payload_length
    if size is None:
        line.framed, line.unbroken, line.next_offset = 0, False, None
    elif message.offset is not None:
        line.next_offset = message.offset + table.PREAMBLE_LENGTH + message.preamble.header_length + size


def _misses(line: Line, began_ns: int, until: Place) -> Reason | None:
    if line.lost is not None and line.lost.time_ns >= began_ns:
        return "gap"
    if not line.from_start and line.first.time_ns > began_ns:
        return "begun_midway"
    if line.last.time_ns > until.time_ns or line.first.time_ns > until.time_ns:
        return None
    return None if line.reason == "fin" else "capture_end"


def _appends(line: Line, step: Step) -> None:
    commit, ends = step.fields.get("leader_commit", -1), step.ends
    line.appended_term, line.appended_ns = step.term, step.place.time_ns
    if step.term != line.commit_term or commit > line.commit:
        line.commit_term, line.commit, line.commit_place = step.term, commit, step.place
    if ends is not None and (step.term != line.ends_term or ends > line.ends):
        line.ends_term, line.ends, line.ends_place = step.term, ends, step.place


def _accepts(line: Line, step: Step) -> None:
    last = step.fields.get("last_log_index", -1)
    if step.term != line.matched_term or last > line.matched:
        line.matched_term, line.matched, line.matched_place = step.term, last, step.place


def _hides(line: Line, term: int | None, began_ns: int, until: Place) -> Reason | None:
    if line.lost is not None and line.lost.time_ns >= began_ns:
        return "gap"
    if not line.from_start and (
        line.first.time_ns > began_ns if term is None else line.first_term is None or line.first_term >= term
    ):
        return "begun_midway"
    if line.last.time_ns > until.time_ns or line.first.time_ns > until.time_ns:
        return None
    return None if line.reason == "fin" else "capture_end"
