"""Packets and messages as columns, which is how stages pass many at a time; objects are made of them on demand.

A column is a list of integers, or where this module is compiled an array of 64-bit integers.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, cast
from zlib import crc32

from raft_dissect import wire
from raft_dissect.values import Message, Packet, Place
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raft_dissect.values import Event, Stream

COMPILED = not __file__.endswith(".py")
_ROOM = 4096
WORDS = 5
"""Words of a header that have columns; no fixed form of any message has more."""
_WORD = 8
_LARGEST = 2**63 - 1
_LONGEST = 2**31 - 1
_MOST_PREAMBLES = 4096
_APPEND_ENTRIES = table.APPEND_ENTRIES


def column(room: int, code: str = "q") -> list[int]:
    """A column of zeros; `Q` is the code of one without a sign."""
    return cast("list[int]", array(code, bytes(room * 8))) if COMPILED else [0] * room


def _grown(column: list[int], code: str = "q") -> list[int]:
    """A column with twice the room."""
    if not COMPILED:
        return column + [0] * len(column)
    content = memoryview(cast("array[int]", column)).tobytes()
    return cast("list[int]", array(code, content + bytes(len(content))))


class PacketColumns:
    """Where a reader keeps the records of the bytes that it was fed last; it is written anew each time."""

    __slots__ = ("captured", "originals", "room", "starts", "times")

    def __init__(self) -> None:
        self.room = _ROOM
        self.starts = column(_ROOM)
        """Where in the buffer each packet begins."""
        self.captured = column(_ROOM)
        self.originals = column(_ROOM)
        self.times = column(_ROOM)

    def longest(self, begin: int, end: int) -> int:
        """Captured bytes of the longest packet of some rows; 0 if there is none."""
        if not COMPILED:
            return max(self.captured[begin:end], default=0)
        longest = 0
        for row in range(begin, end):
            longest = max(longest, self.captured[row])
        return longest

    def size(self, begin: int, end: int) -> int:
        """Captured bytes of the packets of some rows."""
        if not COMPILED:
            return sum(self.captured[begin:end])
        size = 0
        for row in range(begin, end):
            size += self.captured[row]
        return size

    def grow(self) -> None:
        """Make room for twice as many packets."""
        self.room *= 2
        self.starts = _grown(self.starts)
        self.captured = _grown(self.captured)
        self.originals = _grown(self.originals)
        self.times = _grown(self.times)


class PacketBlock:
    """Packets that follow one another in one file, valid until the file's reader is fed again."""

    __slots__ = ("begin", "buffer", "columns", "end", "file", "frame", "link_type", "losing")

    def __init__(
        self, columns: PacketColumns, begin: int, end: int, buffer: bytes, link_type: int, frame: int, file: int
    ) -> None:
        self.columns = columns
        self.begin = begin
        self.end = end
        """The packets are those of the columns from `begin` on, before `end`."""
        self.buffer = buffer
        self.link_type = link_type
        self.frame = frame
        """Number of the first packet."""
        self.file = file
        self.losing = False
        """Whether packets were dropped shortly before these, or among them."""

    def __len__(self) -> int:
        return self.end - self.begin

    def __iter__(self) -> Iterator[Packet]:
        return map(self.packet, range(self.begin, self.end))

    def packet(self, index: int) -> Packet:
        """The packet at an index of the columns."""
        columns = self.columns
        start = columns.starts[index]
        data = self.buffer[start : start + columns.captured[index]]
        frame = self.frame + index - self.begin
        return Packet(data, columns.times[index], self.link_type, columns.originals[index], frame, self.file)

    def part(self, begin: int, end: int) -> PacketBlock:
        """The packets at some indexes of the columns."""
        frame = self.frame + begin - self.begin
        part = PacketBlock(self.columns, begin, end, self.buffer, self.link_type, frame, self.file)
        part.losing = self.losing
        return part


class MessageBatch:
    """The messages that became complete with one block of packets, and what else became certain meanwhile.

    It is valid until the engine is fed again; what is made of it (messages, lists) stays valid.
    """

    __slots__ = (
        "_kept",
        "_layout",
        "_others",
        "buffer",
        "digest_entries",
        "file",
        "frames",
        "headers",
        "offsets",
        "partial",
        "payloads",
        "room",
        "rows",
        "shapes",
        "streams",
        "times",
        "view",
        "word0",
        "word1",
        "word2",
        "word3",
        "word4",
    )

    def __init__(self, layout: str | None, room: int = _ROOM, digest_entries: bool = False) -> None:
        self._layout = layout
        self.digest_entries = digest_entries
        """Whether entries have digests, for which the data of those with a place in the buffer is all there."""
        self._kept: dict[int, Message] = {}
        self._others: list[tuple[int, Event]] = []
        self.buffer = b""
        self.view = self.buffer
        """The same, for loops that are compiled."""
        self.file = 0
        self.rows = 0
        """Messages so far."""
        self.partial = 0
        """Those of them that a gap or a short snaplen cut."""
        self.room = room
        self.streams: list[Stream | None] = [None] * room
        self.shapes = column(room)
        """The first word of the preamble, and from bit 32 on the length of the header."""
        self.headers = column(room)
        """Where in the buffer each header begins."""
        self.offsets = column(room)
        """Of each message in its stream; -1 when the start of the stream was not seen."""
        self.frames = column(room)
        self.times = column(room)
        self.payloads = column(room)
        """Length of each payload; -1 when it is unknown."""
        self.word0 = column(room, "Q")
        self.word1 = column(room, "Q")
        self.word2 = column(room, "Q")
        self.word3 = column(room, "Q")
        self.word4 = column(room, "Q")

    @staticmethod
    def of(events: Sequence[Event]) -> MessageBatch:
        """A batch of what exists as objects."""
        batch = MessageBatch(None, max(len(events), 1))
        for event in events:
            batch.add(event)
        return batch

    def begin(self, buffer: bytes, file: int) -> None:
        """Forget everything, for the messages of another block."""
        self._kept.clear()
        self._others.clear()
        self.buffer = self.view = buffer
        self.file = file
        self.rows = self.partial = 0

    def grow(self) -> None:
        """Make room for twice as many messages."""
        self.streams += [None] * self.room
        self.room *= 2
        self.shapes = _grown(self.shapes)
        self.headers = _grown(self.headers)
        self.offsets = _grown(self.offsets)
        self.frames = _grown(self.frames)
        self.times = _grown(self.times)
        self.payloads = _grown(self.payloads)
        self.word0 = _grown(self.word0, "Q")
        self.word1 = _grown(self.word1, "Q")
        self.word2 = _grown(self.word2, "Q")
        self.word3 = _grown(self.word3, "Q")
        self.word4 = _grown(self.word4, "Q")

    def add(self, event: Event) -> None:
        """Take what exists as an object already."""
        if not isinstance(event, Message):
            self._others.append((self.rows, event))
            return
        if self.rows == self.room:
            self.grow()
        row = self.rows
        self.rows += 1
        self.partial += event.partial
        self._kept[row] = event
        preamble = event.preamble
        self.streams[row] = event.stream
        self.shapes[row] = shape_column(preamble)
        self.headers[row] = -1
        self.offsets[row] = -1 if event.offset is None else event.offset
        self.frames[row] = event.place.frame
        self.times[row] = event.place.time_ns
        self.payloads[row] = -1 if event.payload_length is None else min(event.payload_length, _LARGEST)
        header = event.header[: WORDS * _WORD].ljust(WORDS * _WORD, b"\0")
        words = [int.from_bytes(header[at : at + _WORD], "little") for at in range(0, WORDS * _WORD, _WORD)]
        self.word0[row], self.word1[row], self.word2[row], self.word3[row], self.word4[row] = words

    @property
    def others(self) -> list[tuple[int, Event]]:
        """What is no message, each with the number of messages that come before it."""
        return self._others

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[Event]:
        """Every event in the order in which it became certain."""
        row = 0
        for before, event in self._others:
            while row < before:
                yield self.message(row)
                row += 1
            yield event
        while row < self.rows:
            yield self.message(row)
            row += 1

    def preamble(self, row: int) -> wire.Preamble:
        """The preamble of the message at a row."""
        kept = self._kept.get(row)
        if kept is not None:
            return kept.preamble
        shape = self.shapes[row]
        preamble = _PREAMBLES.get(shape)
        if preamble is None:
            if len(_PREAMBLES) == _MOST_PREAMBLES:
                _PREAMBLES.clear()
            preamble = _PREAMBLES[shape] = wire.Preamble(shape & 0xFF, shape >> 16 & 0xFF, shape >> 32, True)
        return preamble

    def is_whole(self, row: int) -> bool:
        """Whether the message at a row is all there."""
        return self.headers[row] >= 0 or not self._kept[row].partial

    def message(self, row: int) -> Message:
        """The message at a row."""
        kept = self._kept.get(row)
        if kept is not None:
            return kept
        preamble = self.preamble(row)
        stream = self.streams[row]
        assert stream is not None
        offset: int | None = self.offsets[row]
        if offset == -1:
            offset = None
        message = Message(stream, offset, Place(self.times[row], self.frames[row], self.file), preamble, self._layout)
        at = self.headers[row]
        message.header = self.buffer[at : at + preamble.header_length]
        message.payload_length = self.payloads[row]
        if self.digest_entries and message.payload_length and preamble.type == _APPEND_ENTRIES:
            self._digest(message, at + preamble.header_length)
        return message

    def _digest(self, message: Message, at: int) -> None:
        """Note the digests of the entries, whose data begins at a place of the buffer and is all there."""
        digests = []
        for entry in message.entries:
            digests.append(crc32(self.buffer[at : at + entry.size]))
            at += entry.size
        message.digests = tuple(digests)


def shape_column(preamble: wire.Preamble) -> int:
    """What stands in the column of shapes for messages with this preamble; lengths beyond 2 GiB look alike."""
    return preamble.type | preamble.version << 16 | min(preamble.header_length, _LONGEST) << 32


_PREAMBLES: dict[int, wire.Preamble] = {}
"""By shape: messages of one shape share their preamble."""
