"""Pages opened in Chromium without a window, and what it says about them."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 1280


class Box(NamedTuple):
    """Where an element is drawn, in pixels of the page, and what it says."""

    left: float
    top: float
    right: float
    bottom: float
    text: str

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2

    def overlaps(self, other: Box) -> bool:
        """Whether they share more than their edges; letters do not fill the line that they stand on."""
        across = min(self.right, other.right) - max(self.left, other.left)
        return across > 1 and min(self.bottom, other.bottom) - max(self.top, other.top) > 3

    def within(self, other: Box, slack: float = 1) -> bool:
        return (
            other.left - slack <= self.left
            and self.right <= other.right + slack
            and other.top - slack <= self.top
            and self.bottom <= other.bottom + slack
        )


_BOXES = """
return Array.from(document.querySelectorAll(arguments[0])).map(function (found) {
  const box = found.getBoundingClientRect();
  return [box.left + scrollX, box.top + scrollY, box.right + scrollX, box.bottom + scrollY, found.textContent];
});
"""


class Browser:
    """Chromium with one page."""

    def __init__(self, *, scripts: bool = True) -> None:
        chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
        if chromium is None or chromedriver is None:
            pytest.skip("chromium or chromium-driver is not installed")
        webdriver = pytest.importorskip("selenium.webdriver")
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in (
            "--headless=new",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
        ):
            options.add_argument(argument)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # in a container there is often nobody but root
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        if not scripts:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        self.driver: Any = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
        self.driver.set_window_size(WIDTH, 1000)

    def close(self) -> None:
        self.driver.quit()

    def open(self, page: Path) -> None:
        """Open a page, and forget what was said about the one before."""
        self.driver.get("about:blank")
        self.complaints()
        self.requests()
        self.driver.get(page.as_uri())

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def boxes(self, selector: str) -> list[Box]:
        """Where all elements that a CSS selector names are drawn."""
        return [Box(*found) for found in self.run(_BOXES, selector)]

    def box(self, selector: str) -> Box:
        (found,) = self.boxes(selector)
        return found

    def complaints(self) -> list[str]:
        """What stands on the console."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """What was asked for, by the page or for it."""
        said = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [one["params"]["request"]["url"] for one in said if one["method"] == "Network.requestWillBeSent"]
