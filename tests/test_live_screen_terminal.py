"""The full-screen view in a real terminal, which tmux is: what it shows, how it ends, and what it says it needs."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from raft_dissect.live.screen.needs import what_is_missing
from tests import captures
from tests.command import ROOT, environment
from tests.screens import shown, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KILLS = "s2-cowsql-0.22.1.pcap"
SECONDS = 12
needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, socket: Path) -> None:
        self._tmux = ["tmux", "-u", "-S", str(socket), "-f", "/dev/null"]

    def tmux(self, *arguments: str) -> str:
        run = subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, timeout=30, check=False)
        return run.stdout

    def start(self, command: str, size: tuple[int, int]) -> None:
        width, height = map(str, size)
        shell = f"{command}; echo code $?; sleep 600"
        subprocess.run(
            [*self._tmux, "new-session", "-d", "-x", width, "-y", height, shell],
            env={**environment(), "LC_ALL": "C.UTF-8"},
            cwd=ROOT,
            timeout=30,
            check=True,
        )

    def lines(self, *options: str) -> list[str]:
        return [line.rstrip() for line in self.tmux("capture-pane", "-p", *options).split("\n")[:-1]]

    def wait_for(self, is_there: Callable[[str], object]) -> list[str]:
        """The lines of the screen once they are as they are wanted, and have not changed for a moment."""
        deadline = time.monotonic() + 60
        before: list[str] = []
        while time.monotonic() < deadline:
            lines = self.lines()
            if lines == before and is_there("\n".join(lines)):
                return lines
            before = lines
            time.sleep(0.3)
        raise AssertionError("\n".join(before))

    @property
    def pid(self) -> int:
        """Of the program itself, which the terminal's shell has started."""
        shell = self.tmux("display-message", "-p", "#{pane_pid}").strip()
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", shell], capture_output=True, text=True, check=True)
        return int(children.stdout.split()[0])


@contextmanager
def terminal(folder: Path, command: str, size: tuple[int, int] = (80, 24)) -> Iterator[Terminal]:
    opened = Terminal(folder / "tmux")
    opened.start(command, size)
    try:
        yield opened
    finally:
        opened.tmux("kill-server")


def program(*arguments: str) -> str:
    return shlex.join([sys.executable, "-m", "tests.screens", *arguments])


def is_drawn(text: str) -> bool:
    return "leader 1, term 6" in text and "q quit" in text


async def expected(size: tuple[int, int]) -> list[str]:
    """What the view shows where there is no terminal that could tear it."""
    packets = captures.packets(KILLS)
    async with shown(packets, within(packets, SECONDS), size=size) as view:
        return view.lines


@needs_tmux
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_nothing_is_torn(tmp_path: Path, size: tuple[int, int]) -> None:
    with terminal(tmp_path, program(KILLS, str(SECONDS)), size) as opened:
        lines = opened.wait_for(is_drawn)
        assert len(lines) == size[1]
        wanted = asyncio.run(expected(size))
        bars = next(number for number, line in enumerate(wanted) if line.startswith("messages/s"))
        assert lines[:bars] + lines[bars + 1 :] == wanted[:bars] + wanted[bars + 1 :]
        # The bars are block characters here, and as many as they were there.
        assert len(lines[bars]) == len(wanted[bars])
        assert re.search("[▁▂▃▄▅▆▇█]{11}", lines[bars])


@needs_tmux
@pytest.mark.parametrize("how", ["q", "C-c", "SIGTERM", "SIGINT"])
def test_leaving_gives_the_terminal_back(tmp_path: Path, how: str) -> None:
    with terminal(tmp_path, f"echo before; {program(KILLS, str(SECONDS))}") as opened:
        opened.wait_for(is_drawn)
        if how.startswith("SIG"):
            number = signal.Signals[how]
            os.kill(opened.pid, number)
        else:
            number = None
            opened.tmux("send-keys", how)
        lines = opened.wait_for(lambda text: "code" in text)
        told = None if number is None else int(number)
        packets = within(captures.packets(KILLS), SECONDS)
        assert [line for line in lines if line] == ["before", f"ended with {packets} packets, signal {told}", "code 0"]


@needs_tmux
def test_a_terminal_that_goes_away_ends_the_program(tmp_path: Path) -> None:
    with terminal(tmp_path, program(KILLS, str(SECONDS))) as opened:
        opened.wait_for(is_drawn)
        pid = opened.pid
        opened.tmux("kill-server")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        pytest.fail("it goes on without a terminal")


@needs_tmux
def test_keys_come_from_the_terminal_where_standard_input_is_something_else(tmp_path: Path) -> None:
    with terminal(tmp_path, f"{program(KILLS, str(SECONDS))} </dev/null") as opened:
        opened.wait_for(is_drawn)
        opened.tmux("send-keys", "?")
        opened.wait_for(lambda text: "leave; what the capture showed" in text)
        opened.tmux("send-keys", "Escape")
        opened.wait_for(is_drawn)
        opened.tmux("send-keys", "q")
        opened.wait_for(lambda text: "code 0" in text)


@needs_tmux
def test_without_colours_everything_is_still_told(tmp_path: Path) -> None:
    with terminal(tmp_path, f"NO_COLOR=1 {program(KILLS, str(SECONDS))}") as opened:
        lines = opened.wait_for(is_drawn)
        codes = {
            code
            for line in opened.lines("-e")
            for found in re.findall(r"\x1b\[([\d;]*)m", line)
            for code in found.split(";")
        }
        # Bold, dim, reverse, and back to what is usual: no colour of text or background.
        assert codes <= {"", "0", "1", "2", "7", "22", "27", "39", "49"}
        assert any("LEADER" in line for line in lines)
        assert any("[==1 t6=]" in line for line in lines)


@needs_tmux
@pytest.mark.parametrize(
    ("before", "size", "said"),
    [
        ("", (70, 20), "needs a terminal of 80x24, and this is 70x20"),
        ("TERM=dumb", (80, 24), "TERM is dumb"),
        ("TERM=", (80, 24), "TERM is not set"),
    ],
)
def test_a_terminal_that_cannot_is_told_what_is_needed(
    tmp_path: Path, before: str, size: tuple[int, int], said: str
) -> None:
    with terminal(tmp_path, f"{before} {program(KILLS)}", size) as opened:
        lines = opened.wait_for(lambda text: "code" in text)
        text = " ".join(line.strip() for line in lines if line)
        assert said in re.sub(r" +", " ", "".join(lines)) or said in text
        assert "leave --screen out" in text
        assert "code 1" in lines


def test_without_a_terminal_it_says_so() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.screens", KILLS],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment(),
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert run.stderr == (
        "the full-screen view needs a terminal as standard output and error; leave --screen out for lines\n"
    )
    assert run.returncode == 1


def test_without_textual_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textual", None)
    assert "pip install 'raft_dissect[live]'" in (what_is_missing() or "")


def test_textual_is_imported_only_when_the_view_is_run() -> None:
    code = "import sys, raft_dissect.live.screen; print('textual' in sys.modules, 'rich' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), cwd=ROOT, check=True
    )
    assert run.stdout == "False False\n"
