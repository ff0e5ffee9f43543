"""Writes what is captured into files, one or a rotation, each of which is a whole capture at any time."""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from raft_dissect.capture.errors import CaptureError, UnavailableError
from raft_dissect.capture.record_writing import rows_before
from raft_dissect.capture.written_formats import Format, Pcap, Pcapng

if TYPE_CHECKING:
    from raft_dissect.capture.interfaces.live import LiveCapture
    from raft_dissect.capture.interfaces.ring_scan import RingColumns
    from raft_dissect.columns import PacketBlock

_PCAP, _PCAPNG = ".pcap", ".pcapng"
_ETHERNET = 1
_NO_LIMIT = 2**62
_SECOND = 1_000_000_000
_MODE = 0o600
"""As Wireshark does it: packets hold what others must not read."""


class Rotation(NamedTuple):
    """When the next file is begun, and how many are kept; None is no limit."""

    size: int | None = None
    """Bytes of a file at most, but one packet at least; the statistics at its end are not counted."""
    seconds: float | None = None
    """Of capture time from the first packet of a file to the next file."""
    files: int | None = None
    """Older ones are removed; it needs one of the others."""


NO_ROTATION = Rotation()


class CaptureWriter:
    """Writes the packets of a live capture into a file, or into one file after the other.

    Files of a rotation have a number and the time of their begin, in UTC, in their names:
    `c.pcapng` becomes `c-00001-20260131T235959Z.pcapng`. No file is written over, and only files that were begun here
    are removed. Packets are in a file as soon as `write` returns.
    """

    def __init__(
        self, path: str, capture: LiveCapture, rotation: Rotation = NO_ROTATION, *, application: str = "raft_dissect"
    ) -> None:
        """Begin the first file; whether it is pcapng or pcap says its name: .pcapng or .pcap.

        Raises UnavailableError when it cannot be written by the user as whom the process runs, CaptureError for another
        name, for .pcap with interfaces of several link types, for a rotation that has no end of a file, and for a file
        that exists.
        """
        if rotation.files is not None and rotation.size is None and rotation.seconds is None:
            raise CaptureError(path, "how many files to keep needs a size or a time at which the next one is begun")
        self._path = Path(path)
        self._rotation = rotation
        self._format = _format(path, capture, application)
        self._kept: deque[Path] = deque(maxlen=rotation.files or 1)
        self._begun = 0
        self._size = 0
        self._since_ns: int | None = None
        """Time of the first packet of the file; None before it."""
        self._last_ns = time.time_ns()
        self._file = -1
        self._has_left_out = False
        try:
            self._begin()
        except OSError as error:
            raise _cannot_write(path, error) from error

    @property
    def path(self) -> Path:
        """The file that is being written, or was last."""
        return self._kept[-1]

    @property
    def is_writing(self) -> bool:
        """Whether packets are still written: not after `close`, nor after a file could not be written."""
        return self._file != -1

    def write(self, block: PacketBlock) -> str | None:
        """Write the packets of a block; say in one line what is wrong when some, or from now on all, are left out.

        It says that once. After an error of the file, which then ends behind the last packet that is there as a whole,
        nothing is written any more, and the capture can go on.
        """
        if not self.is_writing:
            return None
        if not self._format.takes(block.link_type):
            return self._leave_out(block.link_type)
        try:
            row = block.begin
            while row < block.end:
                row = self._some(block, row)
        except OSError as error:
            return self._give_up(error)
        return None

    def close(self) -> str | None:
        """End the file; say in one line what is wrong when that is not possible."""
        if not self.is_writing:
            return None
        try:
            self._end()
        except OSError as error:
            return self._give_up(error)
        return None

    def _some(self, block: PacketBlock, row: int) -> int:
        """Write as many packets from a row on as go into the file, or begin the next one; give the row behind them."""
        columns = cast("RingColumns", block.columns)
        is_first = self._since_ns is None
        if self._since_ns is None:
            self._since_ns = columns.times[row]
        room, until_ns = self._room(columns.times[row], self._since_ns)
        end = rows_before(columns, row, block.end, self._format.around, room, until_ns)
        if end == row and not is_first:
            self._end()
            self._last_ns = columns.times[row]
            self._begin()
            return row
        records, behind = self._format.records(block, row, max(end, row + 1))
        self._put(records)
        self._last_ns = columns.times[behind - 1]
        return behind

    def _room(self, time_ns: int, since_ns: int) -> tuple[int, int]:
        """Bytes that the file has room for, and the time before which it ends; packets at `time_ns` come next."""
        size, seconds, _files = self._rotation
        room = _NO_LIMIT if size is None else size - self._size
        if seconds is None:
            return room, _NO_LIMIT
        span_ns = round(seconds * _SECOND)
        # When the clock is set back, the file would be written for longer than was asked for.
        return room, since_ns + span_ns if time_ns > since_ns - span_ns else time_ns

    def _begin(self) -> None:
        """Begin the next file, and remove the oldest of too many."""
        oldest = self._kept[0] if len(self._kept) == self._rotation.files else None
        path = self._next_path()
        self._file = _create(path)
        self._kept.append(path)
        self._size = 0
        self._since_ns = None
        self._put(self._format.begin())
        if oldest is not None:
            oldest.unlink(missing_ok=True)

    def _next_path(self) -> Path:
        self._begun += 1
        if self._rotation.size is None and self._rotation.seconds is None:
            return self._path
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._last_ns // _SECOND))
        return self._path.with_name(f"{self._path.stem}-{self._begun:05}-{moment}{self._path.suffix}")

    def _end(self) -> None:
        self._put(self._format.end(self._last_ns))
        file, self._file = self._file, -1
        os.close(file)

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self._size += len(data)

    def _give_up(self, error: OSError) -> str:
        """Leave the file as it was before what could not be written."""
        file, self._file = self._file, -1
        if file != -1:
            with suppress(OSError):
                os.ftruncate(file, self._size)
            with suppress(OSError):
                os.close(file)
            if not self._size:
                self.path.unlink(missing_ok=True)
        path = error.filename or self.path
        return f"{path}: {error.strerror}: no more packets are written; the capture goes on without it"

    def _leave_out(self, link_type: int) -> str | None:
        if self._has_left_out:
            return None
        self._has_left_out = True
        return (
            f"{self.path}: packets of link type {link_type} are not written, for a .pcap file has only one link type; "
            "write .pcapng"
        )


def _format(path: str, capture: LiveCapture, application: str) -> Format:
    suffix = Path(path).suffix
    if suffix == _PCAPNG:
        return Pcapng(capture, application)
    if suffix != _PCAP:
        raise CaptureError(path, f"its name must end in {_PCAPNG} or {_PCAP}, which is the format")
    link_types = capture.link_types
    if len(link_types) > 1:
        raise CaptureError(path, "a .pcap file has one link type, and the interfaces have several; write .pcapng")
    return Pcap(next(iter(link_types), _ETHERNET))


def _create(path: Path) -> int:
    """Open a new file, or one that is no regular file, such as a named pipe."""
    flags = os.O_WRONLY | os.O_CLOEXEC
    if path.exists() and not path.is_file():
        return os.open(path, flags)
    return os.open(path, flags | os.O_CREAT | os.O_EXCL, _MODE)


def _cannot_write(path: str, error: OSError) -> CaptureError:
    if isinstance(error, FileExistsError):
        return CaptureError(path, "it exists, and captures are not written over; give another name or remove it")
    directory = Path(path).absolute().parent
    if isinstance(error, FileNotFoundError):
        return UnavailableError(path, f"there is no directory {directory}; make it first")
    if isinstance(error, PermissionError):
        return _not_permitted(path, directory)
    return UnavailableError(path, f"it cannot be written: {error.strerror}")


def _not_permitted(path: str, directory: Path) -> UnavailableError:
    """Say who may not write where, and what to do."""
    from raft_dissect.capture.interfaces.privileges import user_name  # only Linux has it

    user = user_name(os.geteuid())
    return UnavailableError(
        path,
        f"user {user} may not write to the directory {directory}",
        (f"give a directory that {user} may write to", f"or make one: sudo install -d -o {user} DIRECTORY"),
    )
