"""Make the pictures of docs/report.md: pages of real captures in Chromium, 1280 pixels wide.

It needs the packages `chromium` and `chromium-driver` of Debian, and Selenium, which the extra `test` brings.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
WIDTH = 1280
LARGEST = 300_000
"""Bytes of a picture."""
SHOTS = {
    "killed-leaders": ("s2-cowsql-0.22.1.pcap", "", "timeline", "light"),
    "ladder": ("s2-cowsql-0.22.1.pcap", "ladder", "ladder", "light"),
    "snapshot": ("s4-64k-canon-0.18.1.pcap", "", "timeline", "light"),
    "partitions": ("s7-canon-0.18.1-pv.pcap", "timeline", "timeline", "dark"),
}
"""By name: the capture, the first section to show (none is the top of the page) and the last one, and the colours."""


def open_browser() -> Any:
    """Chromium without a window; ends the program when it is not there."""
    from selenium import webdriver

    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        sys.exit("chromium or chromium-driver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # in a container there is often nobody but root
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    driver.set_window_size(WIDTH, 1000)
    return driver


def shoot(driver: Any, page: Path, first: str, last: str, colours: str) -> bytes:
    """A page from the beginning of a section to the end of another, as PNG."""
    scheme = {"name": "prefers-color-scheme", "value": colours}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen", "features": [scheme]})
    driver.get(page.as_uri())
    edge = "return document.getElementById(arguments[0]).getBoundingClientRect()[arguments[1]]"
    top = driver.execute_script(edge, first, "top") if first else 0
    bottom = driver.execute_script(edge, last, "bottom") + 12
    clip = {"x": 0, "y": top, "width": WIDTH, "height": bottom - top, "scale": 1}
    answer = driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    return base64.b64decode(answer["data"])


def main() -> int:
    """Make all pictures."""
    IMAGES.mkdir(exist_ok=True)
    driver = open_browser()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, (capture, first, last, colours) in SHOTS.items():
                page = Path(folder) / f"{name}.html"
                command = [sys.executable, "-m", "raft_dissect", "report", "--html", str(page), capture]
                environment = {**os.environ, "PYTHONPATH": str(ROOT)}
                subprocess.run(command, cwd=ROOT / "pcaps", env=environment, stdout=subprocess.DEVNULL, check=True)
                picture = shoot(driver, page, first, last, colours)
                if len(picture) > LARGEST:
                    sys.exit(f"{name}: {len(picture):,} bytes are too many")
                (IMAGES / f"{name}.png").write_bytes(picture)
                print(f"docs/images/{name}.png: {len(picture):,} bytes")
    finally:
        driver.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
