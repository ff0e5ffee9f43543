"""Make the pictures of docs/live_screen.md: the full-screen view over real captures, drawn by Textual and Chromium.

It needs what `screenshots.py` needs, and Textual, which the extra `test` brings.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import tempfile
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from screenshots import IMAGES, LARGEST, ROOT, WIDTH, open_browser

from raft_dissect.capture import open_capture
from raft_dissect.dissection import Dissection
from raft_dissect.live.loop import Loop
from raft_dissect.live.screen import ScreenView
from raft_dissect.live.screen.app import ScreenApp
from raft_dissect.live.view import SourceState
from raft_dissect.report.terminal import Style
from raft_dissect.values import Packet

if TYPE_CHECKING:
    from raft_dissect.live.view import Snapshot


class Shot(NamedTuple):
    """One picture."""

    capture: str
    seconds: float
    """Of the capture, after which the picture is taken."""
    size: tuple[int, int]
    """Columns and lines of the terminal."""
    keys: tuple[str, ...] = ()
    """Pressed before it is taken."""


SHOTS = {
    "live": Shot("s8-reorder10-canon-0.18.1.pcap", 10.35, (104, 34)),
    "live-80x24": Shot("s2-cowsql-0.22.1.pcap", 12, (80, 24)),
    "live-midway": Shot("s1-mid-cowsql-0.22.1.mid.pcap", 1.5, (80, 24)),
    "live-message": Shot("s4-64k-canon-0.18.1.pcap", 30, (80, 24), ("f", *"rejected", "enter", "up", "up", "enter")),
}


class Unended(ScreenView):
    """A view of packets that would go on."""

    def finish(self, snapshot: Snapshot) -> None:
        """Go on."""


async def draw(shot: Shot) -> str:
    """The picture as SVG."""
    with open_capture([str(ROOT / "pcaps" / shot.capture)]) as opened:
        packets = [item for item in opened if isinstance(item, Packet)]
    end = packets[0].time_ns + round(shot.seconds * 1e9)
    known = list(takewhile(lambda packet: packet.time_ns < end, packets))
    view = Unended()
    sources = (SourceState("raft0", len(known), 0),)
    Loop(Dissection(known, digest_data=True), [view], sources=lambda: sources).run()
    app = ScreenApp(view, style=Style(blocks=True))
    async with app.run_test(size=shot.size) as pilot:
        await pilot.pause(0.5)
        await pilot.press(*shot.keys)
        await pilot.pause(0.5)
        return app.export_screenshot(title="raft-dissect live --screen")


def shoot(driver: Any, svg: str, folder: Path) -> bytes:
    """The same as PNG: pictures with text look alike everywhere only when they have no fonts."""
    width, height = map(float, svg.split('viewBox="0 0 ', 1)[1].split('"', 1)[0].split())
    page = folder / "page.html"
    page.write_text(f'<meta charset="utf-8"><body style="margin: 0; width: {width}px; height: {height}px">{svg}')
    driver.get(page.as_uri())
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": min(WIDTH / width, 1)}
    answer = driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    return base64.b64decode(answer["data"])


def main() -> int:
    """Make all pictures."""
    driver = open_browser()
    driver.execute_cdp_cmd("Emulation.setDefaultBackgroundColorOverride", {"color": {"r": 0, "g": 0, "b": 0, "a": 0}})
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, shot in SHOTS.items():
                picture = shoot(driver, asyncio.run(draw(shot)), Path(folder))
                if len(picture) > LARGEST:
                    sys.exit(f"{name}: {len(picture):,} bytes are too many")
                (IMAGES / f"{name}.png").write_bytes(picture)
                print(f"docs/images/{name}.png: {len(picture):,} bytes")
    finally:
        driver.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
