"""The errors of captures that cannot be read at all, or not be made."""

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


class UnavailableError(CaptureError):
    """Something outside is missing: a permission, a directory to write to, or what only another system has."""

    def __init__(self, path: str, problem: str, advice: tuple[str, ...] = ()) -> None:
        super().__init__(path, problem)
        self.advice = advice
        """What to do about it: ways of which each is enough, with the exact commands."""
