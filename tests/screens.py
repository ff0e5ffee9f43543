"""The full-screen view run over captures: in Textual's pilot, or as a program in a terminal.

As a program it takes a capture and for how many of its seconds packets come; without a number they come to their end.
"""

from __future__ import annotations

import asyncio
import html
import re
import sys
import threading
from contextlib import asynccontextmanager
from itertools import islice
from typing import TYPE_CHECKING

from raft_dissect.dissection import Dissection
from raft_dissect.live.loop import Loop
from raft_dissect.live.screen import ScreenView, run_screen, what_is_missing
from raft_dissect.live.screen.app import ScreenApp
from raft_dissect.live.screen.panels import List, Panel
from tests import captures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from textual.pilot import Pilot

    from raft_dissect.live.view import Snapshot, SourceState
    from raft_dissect.values import Packet

_CELL = re.compile(r'<text class="[^"]*" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>')
_WIDTH, _HEIGHT = 12.2, 24.4


class Tap:
    """Packets that come until a place, and then only when somebody lets them."""

    def __init__(self, packets: Sequence[Packet], first: int | None = None) -> None:
        """The `first` packets come at once, all of them without a number."""
        self._packets = packets
        self._first = len(packets) if first is None else first
        self._open = threading.Event()
        self._stopped = False
        self.reached = threading.Event()

    def __iter__(self) -> Iterator[Packet]:
        yield from islice(self._packets, self._first)
        if self._first < len(self._packets):
            self.reached.set()
            self._open.wait()
        if not self._stopped:
            yield from islice(self._packets, self._first, None)

    def open(self) -> None:
        """Let the others come."""
        self._open.set()

    def stop(self) -> None:
        """End it where it is."""
        self._stopped = True
        self._open.set()


def within(packets: Sequence[Packet], seconds: float) -> int:
    """How many packets come in the first seconds of a capture."""
    return sum(packet.time_ns - packets[0].time_ns < seconds * 1e9 for packet in packets)


class Shown:
    """A view in a terminal that exists in memory only."""

    def __init__(self, app: ScreenApp, pilot: Pilot[None], tap: Tap, thread: threading.Thread) -> None:
        self.app = app
        self.pilot = pilot
        self.tap = tap
        self.thread = thread

    def panel(self, name: str) -> list[str]:
        """The lines of one part."""
        return self.app.query_one(f"#{name}", Panel).text.splitlines()

    def of(self, name: str) -> List:
        """One of the lists."""
        return self.app.query_one(f"#{name}", List)

    @property
    def lines(self) -> list[str]:
        """The lines of the whole screen, as they are drawn."""
        width, height = self.app.size
        cells = [[" "] * width for _ in range(height)]
        for found in _CELL.finditer(self.app.export_screenshot()):
            x, y, text = float(found[1]), float(found[2]), html.unescape(found[3]).replace("\xa0", " ")
            row, column = round(y / _HEIGHT - 0.75), round(x / _WIDTH)
            for at, character in enumerate(text):
                if 0 <= row < height and column + at < width:
                    cells[row][column + at] = character
        return ["".join(row).rstrip() for row in cells]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def write(self, text: str) -> None:
        """Type a text, and Enter."""
        names = {" ": "space", "=": "equals_sign", ".": "full_stop"}
        await self.press(*(names.get(character, character) for character in text), "enter")

    async def drawn(self) -> None:
        """Wait until the latest picture is drawn."""
        await self.pilot.pause(0.5)

    async def end(self) -> None:
        """Let all other packets come, and wait until the last picture is drawn."""
        self.tap.open()
        await asyncio.to_thread(self.thread.join)
        await self.drawn()


@asynccontextmanager
async def shown(
    packets: Sequence[Packet],
    first: int | None = None,
    size: tuple[int, int] = (80, 24),
    sources: Sequence[SourceState] = (),
) -> AsyncIterator[Shown]:
    """The view over the first of these packets, or over all of them."""
    tap = Tap(packets, first)
    view = ScreenView()
    loop = Loop(Dissection(tap, digest_data=True), [view], sources=lambda: tuple(sources))
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    if first is None:
        thread.join()
    else:
        assert tap.reached.wait(60)
    app = ScreenApp(view)
    try:
        async with app.run_test(size=size) as pilot:
            await pilot.pause(0.3)
            yield Shown(app, pilot, tap, thread)
    finally:
        tap.stop()
        thread.join()


def main(arguments: Sequence[str]) -> int:
    """Show a capture on the terminal."""
    missing = what_is_missing()
    if missing is not None:
        print(missing, file=sys.stderr)
        return 1
    packets = captures.packets(arguments[0])
    tap = Tap(packets, within(packets, float(arguments[1])) if arguments[1:] else None)
    view = ScreenView()

    def run() -> Snapshot:
        return Loop(Dissection(tap, digest_data=True), [view]).run()

    ended = run_screen(view, run, tap.stop)
    told = "nothing" if ended.last is None else f"{ended.last.packets} packets"
    print(f"ended with {told}, signal {ended.signal}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
