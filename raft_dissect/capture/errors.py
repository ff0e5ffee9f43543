"""The error of a capture that cannot be read at all."""

from __future__ import annotations


class CaptureError(Exception):
    """A capture that cannot be opened, or that is no capture; `str()` is one line for the user.

    A capture that begins well and is damaged or cut later is no error:
    that place is a `CaptureProblem` among the packets.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        """The path as the user gave it; `-` for standard input."""
        self.problem = problem
        """What is wrong and what to do about it, in one line."""

    def __str__(self) -> str:
        name = "standard input" if self.path == "-" else self.path
        return f"{name}: {self.problem}"
