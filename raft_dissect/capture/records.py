"""What the readers of the capture formats share: bytes are fed in, packets come out; no I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from raft_dissect.values import CaptureProblem, Packet

MIN_LARGEST_RECORD = 256 * 1024
"""Bytes that one packet may always have: the snaplen that capture tools set when nobody asks for another."""

LARGEST_RECORD = 16 * 1024 * 1024
"""Bytes that one record or block may have at most, whatever its file says, so memory stays bounded."""


class RecordReader(ABC):
    """A reader of one capture file that is fed the file's bytes in pieces of any size.

    `feed` never raises for what the bytes are: damage is a `CaptureProblem`, the last item of the file.
    """

    def __init__(self, file: int = 0) -> None:
        """`file` is the index of the file within its capture."""
        self.file = file
        self.frame = 0
        """Number of the last packet that was read whole."""
        self.offset = 0
        """Byte offset of the first record that was not read yet."""
        self.stopped = False
        """True after damage: whatever follows is not looked at."""
        self._pending = bytearray()
        self._needed = 1

    def feed(self, data: bytes) -> list[Packet | CaptureProblem]:
        """Return the packets that `data`, the next bytes of the file, completes."""
        if self.stopped:
            return []
        self._pending += data
        if len(self._pending) < self._needed:
            return []
        buffer = bytes(self._pending)
        items: list[Packet | CaptureProblem] = []
        consumed = self._read_records(buffer, items)
        self.offset += consumed
        self._pending = bytearray(buffer[consumed:])
        return items

    def close(self) -> list[Packet | CaptureProblem]:
        """Say that the file ended: a problem when that was inside a record, else nothing."""
        if self.stopped or not self._pending:
            return []
        detail = (
            f"the file ends inside a record: {len(self._pending)} of at least {self._needed} bytes are there "
            "(perhaps the capture was still being written, or its copy is incomplete)"
        )
        return [self.stop("file_truncated", detail)]

    def stop(self, kind: Literal["file_damaged", "file_truncated"], detail: str) -> CaptureProblem:
        """Return the problem that ends this file at the first record that was not read."""
        self.stopped = True
        self._pending.clear()
        return CaptureProblem(kind, self.file, self.frame, self.offset, detail)

    @abstractmethod
    def _read_records(self, buffer: bytes, items: list[Packet | CaptureProblem]) -> int:
        """Append what the whole records at the start of `buffer` hold; return how many bytes they have.

        Sets `_needed` to the number of bytes that the next record needs at least. At damage it appends
        the result of `_damage`; recovery would go on from the position that `_damage` gets.
        """

    def _damage(self, position: int, detail: str) -> CaptureProblem:
        """Return the problem for an implausible record at `position` of the current buffer."""
        self.stopped = True
        return CaptureProblem("file_damaged", self.file, self.frame, self.offset + position, detail)
