"""One capture file or standard input: opened, decompressed, recognised, and read to its end."""

from __future__ import annotations

import os
import select
import stat
import sys
from typing import TYPE_CHECKING

from raft_dissect.capture.compression import (
    CompressionError,
    DecompressedStream,
    MissingPackageError,
    detect_compression,
)
from raft_dissect.capture.errors import CaptureError
from raft_dissect.capture.follow import FollowedFile
from raft_dissect.capture.formats import HEAD_SIZE, MAGIC_SIZE, describe_unknown, reader_class
from raft_dissect.capture.stream import PeekableStream
from raft_dissect.columns import PacketBlock
from raft_dissect.values import CaptureProblem

if TYPE_CHECKING:
    from collections.abc import Generator

    from raft_dissect.capture.records import Item, RecordReader
    from raft_dissect.capture.stream import RawFile

STANDARD_INPUT = "-"

BEFORE_ALL_TIMES = -(2**63)
"""Nanoseconds; no capture time is before it."""

_CHUNK_SIZE = 1024 * 1024
_LARGE_BLOCK = 16 * _CHUNK_SIZE
_FIRST_LOOK_SIZE = 4096
_FIRST_LOOK_LIMIT = 1024 * 1024
"""Bytes of a file's content in which its first packet is looked for before a merge begins."""


class Source:
    """One file of a capture, or standard input.

    Of several files the regular ones are closed again until their turn comes; a pipe stays open, for it can
    be read only once.
    """

    def __init__(self, path: str, index: int, *, follow: bool = False) -> None:
        self.path = path
        self.index = index
        self._follow = follow
        self.size: int | None = None
        self.first_time_ns = BEFORE_ALL_TIMES
        """Capture time of the first packet; before all times if it is not known before the file is read."""
        self._opened: _OpenFile | None = None

    @property
    def bytes_read(self) -> int:
        """Bytes of the file itself, before decompression, that were read so far."""
        return self._opened.bytes_read if self._opened else 0

    def open(self, *, keep_open: bool) -> None:
        """Open the file and look what it is; raise `CaptureError` if it cannot be read or is no capture."""
        # The C library of most Linux systems gives back each large block that is freed to the system, until a larger
        # one was freed: then the pieces that are read need no new pages. This one is never touched, so it has none.
        bytes(_LARGE_BLOCK)
        self._opened = _OpenFile(self.path, follow=self._follow)
        self.size = self._opened.size
        if self.size is not None and self.path != STANDARD_INPUT and not keep_open:
            self.first_time_ns = _first_time(self._opened)
            self._opened.close()
            self._opened = None

    def close(self) -> None:
        """Close the file if it is open."""
        if self._opened:
            self._opened.close()

    def stop_following(self) -> None:
        """Take what was read so far for all of a followed file; any other ends as it always does."""
        if self._opened:
            self._opened.stop_following()

    def items(self) -> Generator[Item, None, None]:
        """Yield what the file holds, and close it; a block is valid until the next item is asked for."""
        try:
            opened = self._opened = self._opened or _OpenFile(self.path, follow=self._follow)
        except CaptureError as error:
            # It could be read before, so this is no wrong name but a file that changed under way.
            yield CaptureProblem("file_damaged", self.index, 0, 0, error.problem)
            return
        reader = opened.reader_class(self.index)
        try:
            while not reader.stopped and (data := opened.content.read(_CHUNK_SIZE)):
                yield from reader.feed(data)
            for item in reader.close():
                # Of a file that is still being written the last record may be there in part.
                if not (opened.was_stopped and isinstance(item, CaptureProblem) and item.kind == "file_truncated"):
                    yield item
        except CompressionError as error:
            yield from reader.stop(error.kind, str(error))
        except OSError as error:
            yield from reader.stop("file_damaged", f"reading stopped: {_reason(error)}")
        finally:
            opened.close()


class _WaitingFile:
    """An unbuffered file whose `read` waits for data even when the file is in non-blocking mode."""

    def __init__(self, file: RawFile) -> None:
        self._file = file

    def read(self, size: int, /) -> bytes:
        while (data := self._file.read(size)) is None:
            select.select([self._file], [], [])
        return data


class _OpenFile:
    """One opened file or standard input, and what it holds once it is decompressed."""

    def __init__(self, path: str, *, follow: bool) -> None:
        """Raise `CaptureError` if it cannot be read or is no capture.

        With `follow` a regular file is waited for at its end, and has no size.
        """
        self._path = path
        self._file = _standard_input() if path == STANDARD_INPUT else _open(path)
        try:
            size = _regular_size(self._file)
            self._followed = FollowedFile(self._file) if follow and size is not None else None
            self.size = None if self._followed else size
            self._raw = PeekableStream(self._followed or _WaitingFile(self._file))
            self.content = self._open_content()
            self.reader_class = self._detect_format()
        except BaseException:
            self.close()
            raise

    @property
    def bytes_read(self) -> int:
        return self._raw.bytes_read

    @property
    def was_stopped(self) -> bool:
        return self._followed is not None and self._followed.stopped

    def stop_following(self) -> None:
        if self._followed:
            self._followed.stop()

    def close(self) -> None:
        if self._path != STANDARD_INPUT:
            self._file.close()

    @property
    def _head_size(self) -> int:
        # A followed file that is no capture may never have more bytes.
        return MAGIC_SIZE if self._followed else HEAD_SIZE

    def _open_content(self) -> PeekableStream:
        try:
            compression = detect_compression(self._raw.peek(self._head_size))
            if compression is None:
                return self._raw
            if self._followed:
                raise CaptureError(
                    self._path, f"it is {compression.name}-compressed; only a plain file can be followed"
                )
            return PeekableStream(DecompressedStream(self._raw, compression))
        except OSError as error:
            raise CaptureError(self._path, _reason(error)) from error
        except MissingPackageError as error:
            raise CaptureError(self._path, str(error)) from error

    def _detect_format(self) -> type[RecordReader]:
        try:
            head = self.content.peek(self._head_size)
        except CompressionError as error:
            raise CaptureError(self._path, f"{error}; copy it again") from error
        except OSError as error:
            raise CaptureError(self._path, _reason(error)) from error
        if not head:
            raise CaptureError(self._path, "it is empty; was anything captured?")
        found = reader_class(head)
        if found is None:
            inside = "" if self.content is self._raw else "what is compressed in it is no capture: "
            raise CaptureError(self._path, inside + describe_unknown(head))
        return found


def _first_time(opened: _OpenFile) -> int:
    """Return the capture time of a file's first packet, or a time before all others if none is found soon."""
    reader = opened.reader_class()
    looked_at = 0
    try:
        while looked_at < _FIRST_LOOK_LIMIT and (data := opened.content.read(_FIRST_LOOK_SIZE)):
            looked_at += len(data)
            for item in reader.feed(data):
                return item.columns.times[item.begin] if isinstance(item, PacketBlock) else BEFORE_ALL_TIMES
    except (CompressionError, OSError):
        # Reported at its place when the file is read.
        return BEFORE_ALL_TIMES
    return BEFORE_ALL_TIMES


def _open(path: str) -> RawFile:
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise CaptureError(path, _reason(error)) from error
    except ValueError as error:
        raise CaptureError(path, "no file can have this name") from error


def _standard_input() -> RawFile:
    if sys.stdin is None or sys.stdin.closed:
        raise CaptureError(STANDARD_INPUT, "it is closed; pipe a capture into it")
    if sys.stdin.isatty():
        raise CaptureError(STANDARD_INPUT, "it is a terminal; pipe a capture into it")
    buffered = sys.stdin.buffer
    # Without its buffer a pipe gives at once what has arrived, which live capture needs.
    raw: RawFile = getattr(buffered, "raw", buffered)
    return raw


def _regular_size(file: RawFile) -> int | None:
    try:
        status = os.fstat(file.fileno())
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _reason(error: OSError) -> str:
    """Say what an error of the operating system means for a capture file, and what to do."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file; check the name"
    if isinstance(error, PermissionError):
        return "no permission to read it; change its mode or read it as the user who owns it"
    if isinstance(error, IsADirectoryError):
        return "it is a directory; give the capture files in it"
    return f"it cannot be read: {error.strerror or error}"
