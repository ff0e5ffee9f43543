"""What a full-screen view needs of the terminal, and a keyboard where standard input is the capture."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LEAST_WIDTH, LEAST_HEIGHT = 80, 24
"""Columns and lines of the smallest terminal in which everything has its place."""
_DUMB = ("", "dumb", "unknown")


def what_is_missing(environment: Mapping[str, str] = os.environ) -> str | None:
    """One sentence that says what a full-screen view needs and does not have here; None when nothing is missing."""
    if not _has_textual():
        return "the full-screen view needs Textual: pip install 'raft_dissect[live]'; or leave --screen out"
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return "the full-screen view needs a terminal as standard output and error; leave --screen out for lines"
    if not sys.stdin.isatty() and not _has_keyboard():
        return "the full-screen view needs a terminal to read keys from; leave --screen out for lines"
    if environment.get("TERM", "") in _DUMB:
        told = environment.get("TERM") or "not set"
        return f"the full-screen view needs a terminal that can move its cursor, and TERM is {told}; leave --screen out"
    width, height = shutil.get_terminal_size()
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return (
            f"the full-screen view needs a terminal of {LEAST_WIDTH}x{LEAST_HEIGHT}, and this is {width}x{height}: "
            "make it larger, or leave --screen out"
        )
    return None


def _has_textual() -> bool:
    try:
        import_module("textual")
    except ImportError:
        return False
    return True


def _has_keyboard() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


@contextmanager
def keyboard() -> Iterator[None]:
    """Have keys read from the terminal itself where standard input is something else, such as a capture in a pipe."""
    if sys.__stdin__ is not None and sys.__stdin__.isatty():
        yield
        return
    before = sys.__stdin__
    with open("/dev/tty", encoding="utf-8", errors="replace") as terminal:
        sys.__stdin__ = terminal  # type: ignore[misc] # this is where Textual reads keys from
        try:
            yield
        finally:
            sys.__stdin__ = before  # type: ignore[misc] # as above
