"""Follows a file that is still being written: waits at its end for more."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raft_dissect.capture.stream import RawFile

_POLL_SECONDS = 0.2


class FollowedFile:
    """An unbuffered regular file whose `read` waits for data until the file is removed.

    A file that is renamed is followed further.
    """

    def __init__(self, file: RawFile) -> None:
        self._file = file
        self._position = 0
        self.stopped = False
        """Whether `stop` was called."""

    def stop(self) -> None:
        """Wait no longer: what was read so far is all; a signal handler may call it during `read`."""
        self.stopped = True

    def read(self, size: int, /) -> bytes:
        """Return some bytes as soon as there are any; none once the file is removed and read to its end, or stopped.

        Raises `OSError` when the file becomes shorter than what was read of it.
        """
        while not self.stopped:
            # Looked at before reading, so that what was written before the removal is not missed.
            status = os.fstat(self._file.fileno())
            data = self._file.read(size) or b""
            self._position += len(data)
            if data or status.st_nlink == 0:
                return data
            if status.st_size < self._position:
                raise OSError("it became shorter while it was followed; if it is written anew, read it again")
            time.sleep(_POLL_SECONDS)
        return b""
