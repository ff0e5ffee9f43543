"""Byte streams whose beginning can be looked at before it is read."""

from __future__ import annotations

from typing import Protocol


class Readable(Protocol):
    """Something to read bytes from, a piece at a time."""

    def read(self, size: int, /) -> bytes:
        """Return some bytes, about `size` at most, as soon as there are any; none at the end."""


class RawFile(Protocol):
    """An unbuffered file."""

    def fileno(self) -> int:
        """Return the number of the open file."""

    def read(self, size: int, /) -> bytes | None:
        """Return some bytes, `size` at most; None if there are none yet, no bytes at the end."""

    def close(self) -> None:
        """Close the file."""


class PeekableStream:
    """A stream that can show its next bytes without using them up, and counts what was read."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._ahead = b""
        self.bytes_read = 0
        """Bytes that `read` returned so far."""

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes or more, or all that are left; a later `read` returns them again."""
        while len(self._ahead) < size:
            data = self._source.read(size)
            if not data:
                break
            self._ahead += data
        return self._ahead

    def read(self, size: int, /) -> bytes:
        """Return some bytes as soon as there are any; none at the end."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
        else:
            data = self._source.read(size)
        self.bytes_read += len(data)
        return data
