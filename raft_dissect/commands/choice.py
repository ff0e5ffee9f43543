"""The messages and diagnostics of a run that were asked for, and printing them a few at a time."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING

from raft_dissect.values import Diagnostic, Message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raft_dissect.commands.run import Run
    from raft_dissect.report.records import Records
    from raft_dissect.selection import Selection
    from raft_dissect.values import Event

_AHEAD = 1000
"""Events that are looked ahead in files, to know who is who before a line is printed."""


class Choice:
    """The messages and diagnostics that were asked for."""

    def __init__(self, selection: Selection, run: Run, records: Records) -> None:
        self._selection = selection
        self._run = run
        self._records = records
        self._messages = 0
        self.chosen = 0
        """How many there were so far."""

    def events(self) -> Iterator[Message | Diagnostic]:
        """Go through the capture once."""
        selection, run, identities = self._selection, self._run, self._records.identities
        selective = any(selection)
        for event in _learning(run, self._records):
            if isinstance(event, Message):
                self._messages += 1
            elif not isinstance(event, Diagnostic):
                continue
            if selective and not selection.wants(event, identities, run.begin_ns):
                continue
            self.chosen += 1
            yield event

    def say_nothing_found(self) -> None:
        """Say why there is nothing to show, if there is not."""
        if not self.chosen or not self._messages:
            self._run.say_nothing_found(self._messages)


def _learning(run: Run, records: Records) -> Iterator[Event]:
    """The events of a run, some time after it was learnt from them who is who: a receiver may speak later."""
    waiting: deque[Event] = deque()
    ahead = _AHEAD if run.reads_files else 0
    for event in run.events():
        records.learn(event)
        waiting.append(event)
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting


class Printer:
    """Prints lines, so many at a time; the last ones when the `with` statement is left, in whatever way."""

    def __init__(self, block: int) -> None:
        self._block = block
        self._lines: list[str] = []

    def __enter__(self) -> Printer:
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    def print(self, line: str) -> None:
        """Print a line, perhaps later."""
        self._lines.append(line)
        if len(self._lines) >= self._block:
            self._write()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            lines.append("")
            sys.stdout.write("\n".join(lines))
            if self._block == 1:
                sys.stdout.flush()  # somebody waits for it
