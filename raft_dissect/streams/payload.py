"""What is kept of a message's payload while it passes: changes always, the whole or its hash when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.wire import table

if TYPE_CHECKING:
    import hashlib

    from raft_dissect.values import Message

MAX_KEPT = 64 * 1024 * 1024
"""Bytes of one payload that are kept at most when payloads are asked for."""
MAX_CHANGE = 1024 * 1024
"""Bytes of the change entries of one message that are kept at most; a server of a configuration takes some 30."""
_CHANGE = 3
_FIRST_TYPE = 48
"""Offset of the first entry's type in an AppendEntries header: five words and the entry's term."""


class PayloadSink:
    """Takes the payload of one message piece by piece and leaves in the message what is to be kept."""

    __slots__ = ("_change", "_changes", "_hash", "_kept", "_message", "_offset", "_whole")

    def __init__(self, message: Message, keep: bool, digest: bool) -> None:
        self._message = message
        self._offset = 0
        self._whole = True
        size = message.payload_length or 0
        self._kept = bytearray() if keep and size <= MAX_KEPT else None
        self._hash = _sha256() if digest else None
        self._changes = _changes(message)
        self._change = 0  # number of the first of them that has not passed

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._kept is not None:
            self._kept += data
        if self._hash is not None:
            self._hash.update(data)
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

    def finish(self) -> None:
        """Give the message what was kept, as far as it is whole."""
        message = self._message
        if self._whole and self._kept is not None:
            message.payload = bytes(self._kept)
        if self._whole and self._hash is not None:
            message.payload_sha256 = self._hash.hexdigest()
        for first, last, number, kept in self._changes:
            if len(kept) == last - first:
                message.keep_change(number, bytes(kept))


def _sha256() -> hashlib._Hash:
    import hashlib  # here because few ask for it, and start-up counts

    return hashlib.sha256()


def sink_for(message: Message, keep: bool, digest: bool) -> PayloadSink | None:
    """A sink when there is anything to keep, else None."""
    if not message.payload_length:
        if keep:
            message.payload = b""
        return None
    return PayloadSink(message, keep, digest) if keep or digest or _has_change(message) else None


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
