"""Make the pictures of docs/wireshark.md: Wireshark on real captures, in a display of its own.

It needs the packages `wireshark`, `xvfb`, `openbox`, `xdotool` and `imagemagick` of Debian.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from raft_dissect import wireshark  # noqa: E402 (the checkout must be found first)

IMAGES = ROOT / "docs" / "images"
SIZE = "1280x800"
DISPLAY = ":97"
LARGEST = 150_000
"""Bytes of a picture."""
PROGRAMS = ("Xvfb", "openbox", "wireshark", "tshark", "xdotool", "import", "convert")
PREFERENCES = """\
gui.column.format: "No.", "%m", "Time", "%t", "Source", "%s", "Destination", "%d", "Protocol", "%p", "Info", "%i"
gui.layout_type: 1
gui.layout_content_3: NONE
gui.update.enabled: FALSE
gui.ask_unsaved: FALSE
tcp.reassemble_out_of_order: TRUE
"""
RECENT = """\
gui.geometry_main_maximized: TRUE
gui.geometry_main_upper_pane: 200
gui.geometry_main_lower_pane: 530
column.width: %m, 60, %t, 75, %s, 90, %d, 90, %p, 65, %i, 900
"""


def wait_for(title: str, seconds: float = 60) -> str:
    """The number of the window with a title; ends the program when there is none."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = subprocess.run(
            ["xdotool", "search", "--onlyvisible", "--name", title], capture_output=True, text=True, check=False
        ).stdout.split()
        if found:
            return found[-1]
        time.sleep(0.5)
    sys.exit(f"no window {title!r}")


def press(*keys: str) -> None:
    """Press keys, one after the other, in the window that has the focus."""
    for key in keys:
        subprocess.run(["xdotool", "key", "--clearmodifiers", key], check=True)
        time.sleep(0.4)


def click(x: int, y: int) -> None:
    """Click at a place of the screen."""
    subprocess.run(["xdotool", "mousemove", str(x), str(y), "click", "1"], check=True)
    time.sleep(1)


def shoot(name: str, window: str = "root") -> None:
    """Take a picture of a window in few colours."""
    time.sleep(2)
    target = IMAGES / f"{name}.png"
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.png"
        subprocess.run(["import", "-window", window, str(whole)], check=True)
        few = ["-strip", "+dither", "-colors", "64", "-define", "png:compression-level=9"]
        subprocess.run(["convert", str(whole), *few, str(target)], check=True)
    size = target.stat().st_size
    if size > LARGEST:
        sys.exit(f"{name}: {size:,} bytes are too many")
    print(f"docs/images/{name}.png: {size:,} bytes")


def open_capture(capture: str, frame: int, display_filter: str = "") -> subprocess.Popen[bytes]:
    """Wireshark with a capture, at a frame."""
    command = ["wireshark", "-r", str(ROOT / "pcaps" / capture), "-g", str(frame)]
    if display_filter:
        command += ["-Y", display_filter]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    window = wait_for(capture)
    subprocess.run(["xdotool", "windowactivate", "--sync", window], check=True)
    time.sleep(4)
    return process


def close(process: subprocess.Popen[bytes]) -> None:
    """End a program that was started here."""
    process.terminate()
    process.wait()


def pictures() -> None:
    """All pictures, one after the other."""
    shown = open_capture("s4-64k-canon-0.18.1.pcap", 415, "craft")
    click(200, 378)  # our protocol's line in the tree
    press("shift+Right")
    shoot("wireshark")
    click(260, 29)  # the menu Analyze, of which the last item is the expert information
    press("Up", "Return")
    expert = wait_for("Expert Information")
    subprocess.run(["xdotool", "windowsize", "--sync", expert, "760", "440"], check=True)
    subprocess.run(["xdotool", "mousemove", "--window", expert, "22", "41", "click", "1"], check=True)
    shoot("wireshark-expert", expert)
    press("Escape")
    click(325, 29)  # the menu Statistics
    click(400, 255)  # and our item in it
    shoot("wireshark-types", wait_for("messages by type"))
    close(shown)


def main() -> int:
    """Make all pictures, in a home directory and a display of their own."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home, DISPLAY=DISPLAY, XDG_RUNTIME_DIR=home, QT_QPA_PLATFORM="xcb", LC_ALL="C.UTF-8")
        settings = Path(home) / ".config" / "wireshark"
        settings.mkdir(parents=True)
        (settings / "preferences").write_text(PREFERENCES)
        (settings / "recent_common").write_text(RECENT)
        (settings / "recent").write_text(RECENT)
        wireshark.install()
        server = subprocess.Popen(["Xvfb", DISPLAY, "-screen", "0", f"{SIZE}x24"], stderr=subprocess.DEVNULL)
        time.sleep(2)
        manager = subprocess.Popen(["openbox"], stderr=subprocess.DEVNULL)
        try:
            pictures()
        finally:
            close(manager)
            close(server)
    return 0


if __name__ == "__main__":
    sys.exit(main())
