"""Runs a loop over packets in a thread, and its full-screen view in the terminal, until somebody leaves."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.live.screen.needs import keyboard
from raft_dissect.report.terminal import Style, can_write_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from raft_dissect.live.screen.view import ScreenView
    from raft_dissect.live.view import Snapshot

_PATIENCE = 5.0
"""Seconds that the loop may take to end once it was asked to."""


class Ended(NamedTuple):
    """How a full-screen view ended."""

    last: Snapshot | None
    """What the loop knew at its end; None if it had not ended in time."""
    signal: int | None
    """The signal that ended the view; None if somebody left it by a key."""


class _Runner:
    """A loop in a thread of its own."""

    def __init__(self, run: Callable[[], Snapshot]) -> None:
        self._run = run
        self.last: Snapshot | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._go, name="packets", daemon=True)

    def _go(self) -> None:
        try:
            self.last = self._run()
        except BaseException as error:  # whatever it is, the terminal is put in order before anybody hears of it
            self.error = error


def run_screen(view: ScreenView, run: Callable[[], Snapshot], stop: Callable[[], None]) -> Ended:
    """Show a view until somebody leaves it; `run` is the loop that tells it, `stop` ends its packets.

    Both must be made for another thread than this, which must be the main one. When the packets end by themselves the
    view stays until somebody leaves. What the loop raises is raised here, with the terminal as it was before. Ask
    `what_is_missing` first.
    """
    from raft_dissect.live.screen.app import ScreenApp  # here because importing Textual takes a while

    runner = _Runner(run)
    style = Style(blocks=can_write_blocks(sys.__stderr__.encoding if sys.__stderr__ else None))
    app = ScreenApp(view, style=style, failed=lambda: runner.error is not None, takes_signals=True)
    runner.thread.start()
    with _signals_as_before(), keyboard():
        app.run(mouse=False)  # so that text can be marked and copied as in any terminal
    stop()
    runner.thread.join(_PATIENCE)
    if runner.error is not None:
        raise runner.error
    return Ended(runner.last, app.ended_by)


@contextmanager
def _signals_as_before() -> Iterator[None]:
    """Put the handlers of signals back that the view changes."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGCONT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # it was not set from Python, so it was not changed from there either
                signal.signal(number, handler)
