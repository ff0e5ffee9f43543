"""The gaps of one stream, each told once it is known what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.values import Diagnostic, Gap

if TYPE_CHECKING:
    from raft_dissect.values import Event, GapCost, Message, Place, Stream

MAX_PASSED = 1024 * 1024
"""Bytes that are passed over in search of framing before a gap is told without knowing where framing will be found."""
_MAX_WAITING = 100
"""Gaps that wait; of a stream that may yet turn out to be Raft no more are told."""
_INDEXES = (("prev_log_index", "entries after index"), ("last_index", "up to index"), ("last_log_index", "last index"))


class Hole:
    """A gap whose cost may still be unknown."""

    __slots__ = ("before", "message", "offset", "place", "reason", "size", "skipped")

    def __init__(
        self, offset: int | None, size: int | None, before: Place, place: Place, reason: str | None = None
    ) -> None:
        self.offset = offset
        """In the stream; None when its start was not seen."""
        self.size = size
        """Bytes; None when it goes on to the end of the stream."""
        self.reason = reason
        """Why nothing is known of the stream from here on, if that is so."""
        self.before = before
        """The last packet of the stream before it."""
        self.place = place
        """The first packet behind it."""
        self.message: Message | None = None
        """The message that it cut."""
        self.skipped = 0
        """Bytes that had been passed over in search of framing when it came."""


class Gaps:
    """Takes the gaps of a stream as they are found, and gives them in their order."""

    __slots__ = ("_events", "_stream", "_waiting", "is_raft")

    def __init__(self, stream: Stream, events: list[Event]) -> None:
        self._stream = stream
        self._events = events
        self._waiting: list[Hole] = []
        self.is_raft = False
        """Whether the stream is known to be Raft; of others no gap is told."""

    def inside(self, hole: Hole, cost: GapCost = "partial") -> None:
        """Take one that lies within one message, or within the handshake: nothing behind it is lost."""
        self._tell(hole, cost)

    def outside(self, hole: Hole, skipped: int) -> None:
        """Take one behind which framing is lost; `skipped` counts the bytes that were passed over up to it."""
        hole.skipped = skipped
        if len(self._waiting) >= _MAX_WAITING:
            if not self.is_raft:
                return
            self.not_found(skipped)
        self._waiting.append(hole)

    def found(self, skipped: int, message: Message | None = None) -> None:
        """Framing is known again; `message` is the one whose end has proven it, if it was cut itself."""
        waiting, self._waiting = self._waiting, []
        for hole in waiting:
            if message is not None and hole.message is message:
                self._tell(hole, "partial")
            else:
                self._tell(hole, "framing", skipped - hole.skipped)

    def rejected(self, message: Message) -> None:
        """What was cut is no message after all."""
        for hole in self._waiting:
            if hole.message is message:
                hole.message = None

    def passed(self, skipped: int) -> None:
        """So many bytes were passed over, and framing is not known yet."""
        if self.is_raft and self._waiting and skipped - self._waiting[0].skipped > MAX_PASSED:
            self.not_found(skipped)

    def not_found(self, skipped: int) -> None:
        """Nobody will wait any longer for framing to be known again."""
        waiting, self._waiting = self._waiting, []
        for hole in waiting:
            self._tell(hole, "unframed", skipped - hole.skipped)

    def _tell(self, hole: Hole, cost: GapCost, passed: int | None = None) -> None:
        if not self.is_raft:
            return
        message = hole.message
        name, offset = (None, None) if message is None else (message.name, message.offset)
        gap = Gap(hole.before, cost, name, offset, passed)
        detail = f"missing {_between(hole.before, hole.place)}, {_consequence(cost, message, passed)}"
        if hole.reason is not None:
            detail = f"not decrypted from frame {hole.place.frame} on: {hole.reason}; {_lost_from(message)}"
        self._events.append(Diagnostic("gap", hole.place, self._stream, hole.offset, hole.size, detail, gap=gap))


def _between(before: Place, after: Place) -> str:
    if before.file != after.file:
        return f"between frames {before.file + 1}:{before.frame} and {after.file + 1}:{after.frame}"
    return f"between frames {before.frame} and {after.frame}"


def _consequence(cost: GapCost, message: Message | None, passed: int | None) -> str:
    if cost == "handshake":
        return "inside the handshake: no message is lost"
    if cost == "partial":
        return f"inside {_described(message)}: it is partial, and no other message is lost"
    lost = _lost_from(message)
    if cost == "unframed":
        return f"{lost}: none was found in the {passed} bytes behind the gap"
    if not passed:
        return f"{lost}: the next one begins right behind the gap"
    return f"{lost}: {passed} bytes behind the gap were passed over up to the next one"


def _lost_from(message: Message | None) -> str:
    return "messages may be lost" if message is None else f"from inside {_described(message)} on messages may be lost"


def _described(message: Message | None) -> str:
    if message is None:
        return "a message"
    fields = message.fields
    words = [message.name]
    if "term" in fields:
        words.append(f"of term {fields['term']}")
    for name, meaning in _INDEXES:
        if name in fields:
            words.append(f"with {meaning} {fields[name]}" if name == "prev_log_index" else f"{meaning} {fields[name]}")
            break
    return " ".join(words)
