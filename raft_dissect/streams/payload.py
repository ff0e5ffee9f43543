"""What is kept of a message's payload while it passes: changes always, all or its digests when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from raft_dissect.wire import table

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Sequence

    from raft_dissect.values import Message

MAX_KEPT = 64 * 1024 * 1024
"""Bytes of one payload that are kept at most when payloads are asked for."""
MAX_CHANGE = 1024 * 1024
"""Bytes of the change entries of one message that are kept at most; a server of a configuration takes some 30."""
_CHANGE = 3
_WITH_DATA = (table.APPEND_ENTRIES, table.INSTALL_SNAPSHOT)
_FIRST_TYPE = 48
"""Offset of the first entry's type in an AppendEntries header: five words and the entry's term."""


class PayloadSink:
    """Takes the payload of one message piece by piece and leaves in the message what is to be kept."""

    __slots__ = ("_change", "_changes", "_digests", "_hash", "_kept", "_message", "_offset", "_whole")

    def __init__(self, message: Message, keep: bool, hashed: bool, digest: bool) -> None:
        self._message = message
        self._offset = 0
        self._whole = True
        size = message.payload_length or 0
        self._kept = bytearray() if keep and size <= MAX_KEPT else None
        self._hash = _sha256() if hashed else None
        self._digests = Digests(_sizes(message)) if digest and message.type in _WITH_DATA else None
        self._changes = _changes(message)
        self._change = 0  # number of the first of them that has not passed

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._kept is not None:
            self._kept += data
        if self._hash is not None:
            self._hash.update(data)
        if self._digests is not None:
            self._digests.feed(data)
        start = self._offset
        self._offset += len(data)
        while self._change < len(self._changes):
            first, last, _, kept = self._changes[self._change]
            if first >= self._offset:
                break
            if start < last:
                kept += data[max(first - start, 0) : last - start]
            if last > self._offset:
                break
            self._change += 1

    def skip(self, size: int) -> None:
        """Pass over bytes that the capture does not have."""
        self._whole = False
        self._kept = None
        self._offset += size
        if self._digests is not None:
            self._digests.skip(size)

    def finish(self) -> None:
        """Give the message what was kept, as far as it is whole."""
        message = self._message
        if self._whole and self._kept is not None:
            message.payload = bytes(self._kept)
        if self._whole and self._hash is not None:
            message.payload_sha256 = self._hash.hexdigest()
        if self._digests is not None:
            message.digests = self._digests.digests()
        for first, last, number, kept in self._changes:
            if len(kept) == last - first:
                message.keep_change(number, bytes(kept))


class Digests:
    """The CRC-32 of each part of a payload, of which pieces pass."""

    __slots__ = ("_crc", "_done", "_left", "_sizes", "_torn")

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self._done: list[int | None] = []
        self._crc = 0
        self._torn = False  # whether something of the current part is missing
        self._left = self._sizes[0] if self._sizes else 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        at = 0
        while len(self._done) < len(self._sizes):
            piece = data[at : at + self._left]
            self._crc = crc32(piece, self._crc)
            at += len(piece)
            self._left -= len(piece)
            if self._left:
                return
            self._next()

    def skip(self, size: int) -> None:
        """Pass over bytes that the capture does not have."""
        while size and len(self._done) < len(self._sizes):
            taken = min(size, self._left)
            self._torn = self._torn or taken > 0
            size -= taken
            self._left -= taken
            if self._left:
                return
            self._next()

    def _next(self) -> None:
        self._done.append(None if self._torn else self._crc)
        self._crc, self._torn = 0, False
        self._left = self._sizes[len(self._done)] if len(self._done) < len(self._sizes) else 0

    def digests(self) -> tuple[int | None, ...]:
        """One for each part; None of those that are not whole."""
        missing: list[int | None] = [None] * (len(self._sizes) - len(self._done))
        return (*self._done, *missing)


def _sha256() -> hashlib._Hash:
    import hashlib  # here because few ask for it, and start-up counts

    return hashlib.sha256()


def sink_for(message: Message, keep: bool, hashed: bool, digest: bool) -> PayloadSink | None:
    """A sink when there is anything to keep, else None."""
    if not message.payload_length:
        if keep:
            message.payload = b""
        return None
    wanted = keep or hashed or (digest and message.type in _WITH_DATA) or _has_change(message)
    return PayloadSink(message, keep, hashed, digest) if wanted else None


def _sizes(message: Message) -> list[int]:
    """Bytes of each entry, or of the snapshot."""
    if message.type == table.INSTALL_SNAPSHOT:
        return [message.payload_length or 0]
    return [entry.size for entry in message.entries]


def _has_change(message: Message) -> bool:
    if message.type != table.APPEND_ENTRIES:
        return False
    return _CHANGE in message.header[_FIRST_TYPE :: table.ENTRY_LENGTH]


def _changes(message: Message) -> list[tuple[int, int, int, bytearray]]:
    """Of each change entry: where its data begins and ends in the payload, its number, and room for it."""
    changes = []
    offset = 0
    room = MAX_CHANGE
    for number, entry in enumerate(message.entries):
        if entry.type == _CHANGE and entry.size <= room:
            changes.append((offset, offset + entry.size, number, bytearray()))
            room -= entry.size
        offset += entry.size
    return changes
