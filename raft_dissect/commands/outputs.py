"""Files that a command writes beside its result, or on standard output instead of it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from raft_dissect.capture.formats import HEAD_SIZE, reader_class
from raft_dissect.commands.exits import usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from raft_dissect.report.times import Clock

R = TypeVar("R")


class Output(NamedTuple, Generic[R]):
    """Something that is written beside the result of a command, or instead of it."""

    writer: Callable[[R, Clock, TextIO], None]
    path: str | None
    """None is standard output."""

    def write(self, result: R, clock: Clock) -> None:
        """Write it, all at once."""
        if self.path is None:
            self.writer(result, clock, sys.stdout)
            return
        with open(self.path, "w", encoding="utf-8", newline="") as file:
            self.writer(result, clock, file)


def path_of(file: str) -> str | None:
    """The path of a file that an option names; None for standard output."""
    return None if file == "-" else file


def check_target(path: str, captures: Sequence[str]) -> None:
    """Refuse to write over a capture: one more file name on the line is easily taken for the one to read.

    Raises OSError for a folder that does not exist, so that nobody waits for the analysis to be told of it.
    """
    os.stat(os.path.dirname(path) or os.curdir)
    if not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        is_capture = reader_class(file.read(HEAD_SIZE)) is not None
    if is_capture or any(os.path.exists(name) and os.path.samefile(path, name) for name in captures):
        usage(f"{path} is a capture; it is not written over")
