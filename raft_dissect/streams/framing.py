"""From the byte stream of one direction to its handshake and messages, with their packets as evidence."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from raft_dissect import wire
from raft_dissect.streams.gaps import Gaps, Hole
from raft_dissect.streams.payload import sink_for
from raft_dissect.streams.reassembly import UNKNOWN
from raft_dissect.values import Diagnostic, Malformed, Message, StreamClosed, StreamOpened
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect.streams.payload import PayloadSink
    from raft_dissect.streams.reassembly import Chunk
    from raft_dissect.values import DiagnosticKind, Event, MalformedPart, Place, Stream, StreamEnd

_PREAMBLE = table.PREAMBLE_LENGTH
_TERM = 8
"""Bytes; every header begins with a term."""
_PREAMBLE_PATTERN = re.compile(rb"(?=[\x01-\x06]\0[\0\x02]\0{5}.{4}\0{4})", re.DOTALL)
"""Every place where a preamble can begin: types 1 to 6, version 0 or 2, a header below 4 GiB; cheap to search for."""
_ZEROS_AT = 3
_PREAMBLE_ZEROS = bytes(5)
"""What stands there in every preamble, and can be found much faster where there is none."""
_MAX_SOUGHT_HEADER = 4 * 1024 * 1024
"""Bytes; a longer header is not believed where framing was lost (dqlite main refuses longer ones everywhere)."""
_FIRST_LOOK = 1024
"""Bytes of a long header that are judged first."""
_MAX_OPENING = 8192
"""Bytes at the start of a stream begun midway in which a handshake must end."""
_MOST_REMAINING = 2**64 - 1
"""Bytes; of a longer message nobody will ever see the end."""
_MAX_FIXED_HEADER = 4096
"""Bytes; the longest header of a message without entries or configuration has 40."""
_SHORT = frozenset(table.MESSAGE_NAMES) - {table.APPEND_ENTRIES, table.INSTALL_SNAPSHOT}
"""Messages of a few words without entries or configuration: little in them tells them from other numbers."""
_END_WORDS: dict[StreamEnd, str] = {
    "fin": "the connection was closed",
    "rst": "the connection was reset",
    "reused": "a new connection took its place",
    "capture_end": "the capture ends",
    "limit": "it is forgotten for the sake of newer connections",
}

# What the framer is doing.
_OPENING = 0  # waiting for the first bytes to say what the stream is
MESSAGES = 1  # at a message's first byte, or waiting for the rest of its header
PAYLOAD = 2  # inside the payload of a message
_LOST = 3  # looking for a message's first byte
_UNSURE = 4  # after a message that was found while lost, waiting for what follows to confirm it
_MIDWAY = 5  # at the first bytes that were captured of a stream whose SYN was not
OTHER = 6  # no Raft: passing over everything


class FramerOptions:
    """What a user asks of every message."""

    __slots__ = ("digest_data", "hash_payload", "keep_payload", "layout")

    def __init__(
        self,
        layout: str | None = None,
        keep_payload: bool = False,
        hash_payload: bool = False,
        digest_data: bool = False,
    ) -> None:
        self.layout = layout
        """A layout of the wire table to prefer where the same bytes belong to several."""
        self.keep_payload = keep_payload
        self.hash_payload = hash_payload
        self.digest_data = digest_data


class Framer:
    """Finds the messages of one stream.

    It starts by recognising what the stream is. In a Raft stream messages follow one another without a gap, so each one
    says where the next begins. Where that chain breaks (a hole outside a payload, a capture begun midway, bytes that
    contradict themselves) it looks for the next message that is consistent in itself, and believes in it only when what
    follows fits too: another preamble, or the end of a segment. A message of a few words could be any array of numbers
    (page numbers of a database, for one), so another message that is consistent must follow it; in a stream that has
    shown to be Raft a hole or the stream's end will do.
    """

    __slots__ = (
        "_buffer",
        "_cut_end",
        "_events",
        "_gaps",
        "_held",
        "_hint",
        "_hint_term",
        "_judged",
        "_last_order",
        "_marks",
        "_options",
        "_position",
        "_quiet",
        "_searched",
        "_skipped",
        "kind",
        "message",
        "origin",
        "remaining",
        "sink",
        "state",
        "stream",
    )

    def __init__(self, stream: Stream, options: FramerOptions, events: list[Event]) -> None:
        self.stream = stream
        self.kind = "unknown"
        """What the stream turned out to be: raft, dqlite_client, http, upgrade, tls or unknown."""
        self._options = options
        self._events = events
        self._buffer = bytearray()
        self.origin = UNKNOWN
        """Position of the stream's first byte, if its SYN was seen."""
        self._position = 0  # of the buffer's first byte
        self._marks: deque[tuple[int, int, Place]] = deque()  # (position, order, place) of each chunk in the buffer
        self.state = _OPENING
        """What it is doing."""
        self.message: Message | None = None
        """The message whose payload is passing."""
        self.remaining = 0
        """Bytes of its payload that are still to come."""
        self.sink: PayloadSink | None = None
        """What takes the payload that is passing, when anything of it is to be kept."""
        self._last_order = -1  # of the last packet that it needed so far
        self._held = False  # whether it is still to be confirmed by what follows
        self._searched = 0  # bytes of the buffer in which no message begins
        self._judged = 0  # bytes of the header at the buffer's start that were found consistent
        self._cut_end = -1  # position after what the snaplen has just cut off
        self._hint = -1  # position after the last segment that began like a message and was cut short
        self._hint_term = b""  # its term
        self._gaps = Gaps(stream, events)
        self._skipped = 0  # bytes passed over since framing was lost
        self._quiet = False  # whether framing was lost only because the snaplen cuts packets

    @property
    def is_raft(self) -> bool:
        """Whether a handshake or a confirmed message was found."""
        return self.kind == "raft"

    @property
    def is_easy(self) -> bool:
        """Whether the next bytes in order need no more than a look at the headers of ordinary messages."""
        if self.state == OTHER:
            return True
        if self._buffer or self._options.keep_payload or self._options.hash_payload:
            return False
        if self.state == PAYLOAD:
            message = self.message
            ordinary = message is None or (message.payload_length is not None and message.type not in table.RESERVED)
            return ordinary and not self._held
        return self.state == MESSAGES

    @property
    def arriving(self) -> Message | None:
        """The message whose header is whole and whose payload is passing; None while it may be none."""
        message = self.message
        if self.state != PAYLOAD or self._held or message is None or message.payload_length is None:
            return None
        return message

    @property
    def buffered(self) -> int:
        """Bytes that wait for others."""
        return len(self._buffer)

    def give_up(self) -> None:
        """Drop the bytes that wait for others; what comes next may begin anywhere."""
        if self.state == _OPENING:
            self._ignore()
        elif self._buffer:
            self._lose(cut=False)

    def start(self, position: int) -> None:
        """Know the position of the stream's first byte."""
        self.origin = position

    def midway(self) -> None:
        """The stream's SYN was not seen: nothing but a handshake or a message can say what it is."""
        if self.state == _OPENING:
            self.state = _MIDWAY

    def data(self, chunk: Chunk) -> None:
        """Take the next bytes of the stream."""
        if self.state == OTHER:
            return
        position, content, _, order, place = chunk
        if self.state == PAYLOAD and not self._buffer:
            taken = min(self.remaining, len(content))
            self._pass_payload(content[:taken], order, place)
            content = content[taken:]
            position += taken
        if content:
            if not self._buffer:
                self._position = position
            # The mark stands at the segment's start, also when a payload took the first of its bytes.
            self._marks.append((chunk.position, order, place))
            self._buffer += content
        while self._step():
            pass

    def hole(self, position: int, size: int, before: Place, place: Place, cut: bool) -> None:
        """Take note of bytes that the capture does not have; `cut` if the snaplen is to blame.

        They are missing between the packets `before` and `place`.
        """
        if self.state == OTHER:
            return
        self._cut_end = position + size if cut else -1
        self._decide(size)
        hole = None if cut else Hole(self._offset(position), size, before, place)
        if self.state == MESSAGES and len(self._buffer) >= _PREAMBLE:
            self._begin_cut_message(hole)
        if self.state == PAYLOAD:
            self._hole_in_payload(size, cut, hole)
        elif self.state != OTHER:
            self._lose(cut, hole)

    def seal(self, before: Place, place: Place, reason: str) -> None:
        """Know that no more of the stream will be in clear; what is missing begins between the packets."""
        if self.state == OTHER:
            return
        self._cut_end = -1
        self._decide(0)
        hole = Hole(None, None, before, place, reason)
        if self.state == MESSAGES and len(self._buffer) >= _PREAMBLE:
            self._begin_cut_message(hole)
        if self.state == PAYLOAD and not self._held and self.message is not None:
            hole.message = self.message
            if self.message.missing is not None:
                self.message.missing += self.remaining
            self._emit(self.message)
        self._gaps.outside(hole, self._skipped + len(self._buffer))
        self._gaps.not_found(self._skipped + len(self._buffer))
        self._ignore()

    def end(self, place: Place, reason: StreamEnd) -> None:
        """The stream is over; say what was left unfinished."""
        self._cut_end = -1
        self._decide(0)
        if self.state == PAYLOAD and self._held and self.message is not None:
            # Nothing follows that could contradict it.
            self._held = False
            self._found(self.message.first, self.message.offset, PAYLOAD)
        self._gaps.not_found(self._skipped + len(self._buffer))
        if self.is_raft:
            self._report_unfinished(place, reason)
            self._events.append(StreamClosed(self.stream, place, reason))
        self._ignore()

    def _step(self) -> bool:
        """Go on as far as the buffer allows; whether there may be more to do."""
        if not self._buffer and self.state != _UNSURE:
            return False
        if self.state == MESSAGES:
            return self._next_message()
        if self.state == PAYLOAD:
            return self._payload_from_buffer()
        if self.state == _LOST:
            return self._search(final=False)
        if self.state == _UNSURE:
            return self._confirm(final=False)
        if self.state == _MIDWAY:
            return self._open_midway(final=False)
        return self.state == _OPENING and self._open(0)

    def _decide(self, missing: int) -> None:
        """The next bytes will not come: judge by those that are there. `missing` bytes of them are known to exist."""
        if self.state == _OPENING and self._buffer:
            self._open(missing, final=True)
        if self.state == _MIDWAY and self._buffer:
            self._open_midway(final=True)
        while (self.state == _UNSURE and self._confirm(final=True)) or (
            self.state == _LOST and self._buffer and self._search(final=True)
        ):
            while self._step():
                pass

    # What the first bytes say

    def _open(self, missing: int, final: bool = False) -> bool:
        opening = wire.recognise(bytes(self._buffer), missing)
        if opening.handshake is not None:
            self._introduce(opening.handshake)
            return True
        if opening.kind == "more":
            return False
        if opening.kind != "unknown":
            self.kind = opening.kind
        if opening.kind in ("unknown", "dqlite_client"):
            return self._open_broken(final)
        if opening.kind == "http":
            # The dqlite protocol may follow, once the other side has agreed to it.
            self._drop(opening.length)
            return True
        self._ignore()
        return False

    def _open_broken(self, final: bool) -> bool:
        """Take a handshake that is none, if a message follows it: else this is not Raft.

        With an id like 1 its first bytes are the same as those of a client of dqlite.
        """
        broken = wire.broken_handshake(bytes(self._buffer[:_MAX_OPENING]))
        follows = None if broken == "more" else broken is not None and self._message_stands(broken.length)
        if follows is None and not final:
            return False
        if broken is None or broken == "more" or not follows:
            self._ignore()
            return False
        self._recognised()
        self._tell_malformed(f"handshake: {broken.detail}", broken.part, None)
        self._go_on_after_opening(broken.length)
        return True

    def _message_stands(self, start: int) -> bool | None:
        """Whether a message that is consistent stands at this place of the buffer; None to wait for its header."""
        preamble = wire.decode_preamble(self._buffer, start)
        if preamble is None:
            return None if _can_begin(bytes(self._buffer[start:])) else False
        if not wire.is_plausible(preamble.type, preamble.version, preamble.header_length):
            return False
        start += _PREAMBLE
        size = min(preamble.header_length, _FIRST_LOOK)
        header = bytes(self._buffer[start : start + size])
        return None if len(header) < size else wire.is_consistent(preamble, header)

    def _open_midway(self, final: bool) -> bool:
        """Begin with a handshake if there is one at the buffer's start, else look for a message from there on."""
        preamble = wire.decode_preamble(self._buffer)
        if preamble is None and not final:
            return False
        # The first bytes of an AppendEntries message can look like a handshake: its preamble is the stronger claim.
        message = preamble is not None and wire.is_plausible(preamble.type, preamble.version, preamble.header_length)
        opening = wire.recognise(bytes(self._buffer[:_MAX_OPENING]))
        if not message and opening.handshake is not None:
            self._introduce(opening.handshake)
        elif not message and opening.kind == "more" and not final and len(self._buffer) < _MAX_OPENING:
            return False
        else:
            self._seek(cut=False)
        return True

    def _introduce(self, handshake: wire.Handshake) -> None:
        """Take the handshake at the buffer's start."""
        self._recognised()
        self.stream.handshake = handshake
        self._events.append(StreamOpened(self.stream, self._marks[-1][2]))
        self._go_on_after_opening(handshake.length)

    def _go_on_after_opening(self, length: int) -> None:
        """Step over the handshake, of which the end may be cut off: then what is left of it passes like a payload."""
        self.state = MESSAGES
        cut = length - len(self._buffer)
        self._drop(min(length, len(self._buffer)))
        if cut > 0:
            self.message, self.remaining, self.state = None, cut, PAYLOAD

    def _recognised(self) -> None:
        """Know that this is Raft, so that its gaps are worth telling."""
        self.kind = "raft"
        self._gaps.is_raft = True

    def _ignore(self) -> None:
        self.state = OTHER
        self.message = None
        self.sink = None
        self._buffer.clear()
        self._marks.clear()

    # Messages, one after the other

    def _next_message(self) -> bool:
        preamble = wire.decode_preamble(self._buffer)
        if preamble is None:
            return False
        if not _acceptable(preamble):
            detail = f"no message: type {preamble.type}, header of {preamble.header_length} bytes"
            self._malformed(detail, "preamble", preamble)
            return True
        if len(self._buffer) < _PREAMBLE + preamble.header_length:
            return False
        self._take(preamble, held=False)
        return True

    def _take(self, preamble: wire.Preamble, held: bool) -> None:
        """Begin the message at the buffer's start, whose header is complete."""
        size = _PREAMBLE + preamble.header_length
        message = self._new_message(preamble)
        message.header = bytes(self._buffer[_PREAMBLE:size])
        try:
            message.payload_length = wire.payload_length(preamble.type, message.header)
        except wire.MalformedError as error:
            self._malformed(f"{message.name}: {error.detail}", "header", preamble)
            return
        if message.type in table.RESERVED:
            message.payload_length = None
        if message.type == table.INSTALL_SNAPSHOT and message.configuration is None:
            detail = "InstallSnapshot: the configuration does not decode"
            self._tell_malformed(detail, "configuration", preamble)
        self._begin(message, size, message.payload_length or 0, held)

    def _cut_message(self) -> Message | None:
        """The message at the buffer's start, of whose header the end is missing; None if it contradicts itself."""
        preamble = wire.decode_preamble(self._buffer)
        assert preamble is not None
        message = self._new_message(preamble)
        message.header = bytes(self._buffer[_PREAMBLE:])
        try:
            message.payload_length = message.decoded.payload_length
        except wire.MalformedError as error:
            self._malformed(f"{message.name}: {error.detail}", "header", preamble)
            return None
        return message

    def _begin_cut_message(self, hole: Hole | None) -> None:
        message = self._cut_message()
        if message is None:
            return
        if hole is not None:
            hole.message = message
        remaining = 0
        if message.payload_length is not None:
            remaining = message.preamble.header_length - len(message.header) + message.payload_length
        self._begin(message, len(self._buffer), remaining, held=False)
        self.sink = None

    def _new_message(self, preamble: wire.Preamble) -> Message:
        return Message(self.stream, self._offset(self._position), self._marks[0][2], preamble, self._options.layout)

    def _begin(self, message: Message, size: int, remaining: int, held: bool) -> None:
        """Step over `size` bytes of the message that are in the buffer; then the `remaining` ones pass."""
        self.message = message
        self._held = held
        self._last_order = -1
        end = self._position + size
        for position, order, place in self._marks:
            if position < end:
                self._needs(order, place)
        self._drop(size)
        options = self._options
        self.sink = sink_for(message, options.keep_payload, options.hash_payload, options.digest_data)
        self.remaining = min(remaining, _MOST_REMAINING)
        self.state = PAYLOAD
        if not remaining:
            self._complete()

    def _payload_from_buffer(self) -> bool:
        while self.remaining and self._buffer:
            end = self._marks[1][0] if len(self._marks) > 1 else self._position + len(self._buffer)
            piece = min(self.remaining, end - self._position)
            _, order, place = self._marks[0]
            content = bytes(self._buffer[:piece])
            self._drop(piece)
            self._pass_payload(content, order, place)
        return bool(self._buffer)

    def _pass_payload(self, content: bytes, order: int, place: Place) -> None:
        self.remaining -= len(content)
        self._needs(order, place)
        if self.sink is not None:
            self.sink.feed(content)
        if not self.remaining:
            self._complete()

    def _needs(self, order: int, place: Place) -> None:
        """The current message needs this packet: the last of them all completes it."""
        if self.message is not None and order > self._last_order:
            self._last_order = order
            self.message.place = place

    def _hole_in_payload(self, size: int, cut: bool, hole: Hole | None) -> None:
        """The missing bytes count off what is still to come, so that framing goes on behind the payload."""
        message = self.message
        taken = min(size, self.remaining)
        self.remaining -= taken
        if hole is not None:
            self._tell_hole_in_payload(hole, size == taken)
        if message is not None and message.missing is not None:
            message.missing += taken
        if self.sink is not None:
            self.sink.skip(taken)
        if not self.remaining:
            self._complete()
        if size > taken:
            self._decide(0)
            self._lose(cut, hole)

    def _tell_hole_in_payload(self, hole: Hole, whole: bool) -> None:
        """Tell of a hole of which the `whole` is in the payload; if it is not, what is behind it will be lost."""
        message = self.message
        if not self._held:
            hole.message = message
            if whole:
                self._gaps.inside(hole, "partial" if message is not None else "handshake")
        elif whole and message is not None:
            # If the message is not confirmed all of it will have been passed over.
            hole.message = message
            size = _PREAMBLE + len(message.header) + (message.payload_length or 0) - self.remaining
            self._gaps.outside(hole, self._skipped + size)

    def _complete(self) -> None:
        if self.sink is not None:
            self.sink.finish()
            self.sink = None
        if self._held:
            self.state = _UNSURE
            return
        self.state = MESSAGES
        if self.message is not None:
            self._emit(self.message)

    def _emit(self, message: Message) -> None:
        self.message = None
        self._events.append(message)
        if message.type in table.RESERVED:
            # Nobody knows how long the payload of such a message is.
            self._seek(cut=True)
        elif message.payload_length is None:
            message.missing = None

    # Finding framing again

    def _lose(self, cut: bool, hole: Hole | None = None) -> None:
        """What comes next, behind a hole if it is one, may begin anywhere in a message; the buffer is of no use."""
        lost = self.state == _LOST
        quiet = self._quiet or not lost
        skipped = len(self._buffer) + (self._skipped if lost else 0)
        self._drop(len(self._buffer))
        self._seek(cut and quiet)
        self._skipped = skipped
        if hole is not None:
            self._gaps.outside(hole, skipped)

    def _seek(self, cut: bool) -> None:
        """Look for a message from the buffer's start on."""
        self.message = None
        self._held = False
        self._searched = 0
        self._judged = 0
        self._skipped = 0
        self._quiet = cut
        self.state = _LOST

    def _malformed(self, detail: str, part: MalformedPart, preamble: wire.Preamble) -> None:
        """The bytes at the buffer's start contradict themselves; the stream goes on at the next message."""
        self._tell_malformed(detail, part, preamble)
        self._seek(cut=False)
        self._searched = 1

    def _search(self, final: bool) -> bool:
        """Look for a message in the buffer; `final` if the bytes after it will not come."""
        zeros = self._buffer.find(_PREAMBLE_ZEROS, self._searched + _ZEROS_AT)
        match = _PREAMBLE_PATTERN.search(self._buffer, zeros - _ZEROS_AT) if zeros >= 0 else None
        start = match.start() if match else max(len(self._buffer) - _PREAMBLE + 1, 0)
        if start or self._searched:
            self._judged = 0
        self._skip(start)
        self._searched = 0
        preamble = wire.decode_preamble(self._buffer) if match else None
        verdict = self._judge(preamble, final) if preamble is not None else None
        if verdict is None:
            return False
        if not verdict:
            self._searched = 1
        return True

    def _skip(self, size: int) -> None:
        self._skipped += size
        self._drop(size)
        self._gaps.passed(self._skipped)

    def _judge(self, preamble: wire.Preamble, final: bool) -> bool | None:
        """Whether a message begins at the buffer's start, in which case it is taken; None to wait for more bytes."""
        size = _PREAMBLE + preamble.header_length
        if preamble.header_length > _MAX_SOUGHT_HEADER or not self._header_consistent(preamble, final):
            return False
        if len(self._buffer) < size:
            if final and self._cut_header_believed():
                self._found(self._marks[0][2], self._offset(self._position))
                return True
            return False if final else None
        payload = wire.payload_length(preamble.type, bytes(self._buffer[_PREAMBLE:size]))
        if size + payload > len(self._buffer):
            self._take(preamble, held=True)
            return True
        follows = self._message_follows(preamble.type, size + payload, final)
        if follows:
            self._found(self._marks[0][2], self._offset(self._position))
            self._take(preamble, held=False)
        return follows

    def _header_consistent(self, preamble: wire.Preamble, final: bool) -> bool:
        """Judge what there is of the header at the buffer's start: a short part first, and no part of it often."""
        there = min(len(self._buffer) - _PREAMBLE, preamble.header_length)
        if not final and there < min(preamble.header_length, self._judged * 2):
            return True
        size = 0
        while True:
            size = min(max(size * 2, self._judged, _FIRST_LOOK), there)
            if not wire.is_consistent(preamble, bytes(self._buffer[_PREAMBLE : _PREAMBLE + size])):
                return False
            if size == there:
                self._judged = there
                return True

    def _cut_header_believed(self) -> bool:
        """Whether the header at the buffer's start, of which no more will come, is one.

        It must be at the start of a segment that the snaplen cut. In a stream that has not shown to be Raft there must
        have been another, in the segment just before or with the same term.
        """
        start = self._marks[0][0]
        if self._cut_end < 0 or start != self._position:
            return False
        term = bytes(self._buffer[_PREAMBLE : _PREAMBLE + _TERM])
        believed = self.is_raft or start == self._hint or (len(term) == _TERM and term == self._hint_term)
        self._hint, self._hint_term = self._cut_end, term
        return believed

    def _message_follows(self, type_: int, end: int, final: bool) -> bool | None:
        """Whether what stands at this place of the buffer agrees that a message ended there; None to wait."""
        position = self._position + end
        if type_ not in _SHORT:
            boundary = end == len(self._buffer) or any(mark[0] == position for mark in self._marks)
            return boundary or self._preamble_follows(end, final)
        preamble = wire.decode_preamble(self._buffer, end)
        if preamble is None:
            begins = _can_begin(bytes(self._buffer[end:]))
            return begins and self.is_raft if final else (None if begins else False)
        start = end + _PREAMBLE
        header = bytes(self._buffer[start : start + min(preamble.header_length, _FIRST_LOOK)])
        if not wire.is_consistent(preamble, header):
            return False
        if final or len(header) >= min(preamble.header_length, _FIRST_LOOK):
            return True
        return None

    def _preamble_follows(self, end: int, final: bool) -> bool | None:
        """Whether a preamble stands at this place of the buffer; None to wait for its end."""
        preamble = wire.decode_preamble(self._buffer, end)
        if preamble is not None:
            return preamble.reserved_zero and wire.is_plausible(preamble.type, preamble.version, preamble.header_length)
        return _can_begin(bytes(self._buffer[end:])) if final else None

    def _confirm(self, final: bool) -> bool:
        """Believe the message that has just passed, or not, by what follows it."""
        message = self.message
        assert message is not None
        follows = self._message_follows(message.type, 0, final)
        if follows is None:
            return False
        self._held = False
        if follows:
            self._found(message.first, message.offset)
            self._emit(message)
        else:
            skipped = self._skipped + _PREAMBLE + len(message.header) + (message.payload_length or 0)
            self._gaps.rejected(message)
            self._seek(self._quiet)
            self._skipped = skipped
        return True

    def _found(self, place: Place, offset: int | None, state: int = MESSAGES) -> None:
        """Framing is known again, from the message at this place on."""
        if not self.is_raft:
            self._recognised()
        self._gaps.found(self._skipped, self.message)
        if self._skipped and not self._quiet:
            self._report("resync", place, offset, self._skipped, "bytes passed over before framing was found again")
        self._skipped = 0
        self.state = state

    # Books

    def _drop(self, size: int) -> None:
        """Remove bytes from the buffer's start, and the marks of packets that are used up."""
        del self._buffer[:size]
        self._position += size
        marks = self._marks
        if not self._buffer:
            marks.clear()
        while len(marks) > 1 and marks[1][0] <= self._position:
            marks.popleft()

    def _offset(self, position: int) -> int | None:
        return None if self.origin == UNKNOWN else position - self.origin

    def _report_unfinished(self, place: Place, reason: StreamEnd) -> None:
        message = self.message
        size: int | None = self.remaining
        if message is not None and self.state == PAYLOAD and not self._held:
            message.missing = (message.missing or 0) + self.remaining
            total = _PREAMBLE + message.preamble.header_length + (message.payload_length or 0)
            detail = f"{message.name}: {total - self.remaining} of {total} bytes, then {_END_WORDS[reason]}"
            offset = message.offset
        elif self.state == MESSAGES and self._buffer:
            size, offset = None, self._offset(self._position)
            message = self._cut_message() if len(self._buffer) >= _PREAMBLE else None
            name = message.name if message else "a preamble"
            detail = f"{name}: {len(self._buffer)} bytes of its header, then {_END_WORDS[reason]}"
        else:
            return
        self._events.append(Diagnostic("unfinished", place, self.stream, offset, size, detail, message))

    def _tell_malformed(self, detail: str, part: MalformedPart, preamble: wire.Preamble | None) -> None:
        """Tell what is wrong with the bytes at the buffer's start."""
        place, offset = self._marks[0][2], self._offset(self._position)
        malformed = Malformed(part, preamble)
        self._events.append(Diagnostic("malformed", place, self.stream, offset, None, detail, malformed=malformed))

    def _report(self, kind: DiagnosticKind, place: Place, offset: int | None, size: int | None, detail: str) -> None:
        self._events.append(Diagnostic(kind, place, self.stream, offset, size, detail))


def _acceptable(preamble: wire.Preamble) -> bool:
    """Whether a message can begin like this where one must: lenient, as real receivers are."""
    if preamble.type in (table.APPEND_ENTRIES, table.INSTALL_SNAPSHOT):
        return 0 < preamble.header_length <= table.MAX_HEADER_LENGTH
    return preamble.type in table.MESSAGE_NAMES and 0 < preamble.header_length <= _MAX_FIXED_HEADER


def _can_begin(prefix: bytes) -> bool:
    """Whether a preamble can begin with these bytes, of which there are fewer than 16."""
    types = (*table.MESSAGE_NAMES,)
    allowed = (types, (0,), (0, 2), (0,), (0,), (0,), (0,), (0,))
    return all(byte in values for byte, values in zip(prefix, allowed, strict=False)) and not any(prefix[12:])
