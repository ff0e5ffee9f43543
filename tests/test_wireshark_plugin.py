"""Putting the dissector into Wireshark: the folder, versions, what is refused; and packets looked at in any order."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from raft_dissect import wireshark
from tests.captures import PCAPS
from tests.wireshark import needs_tshark

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has never used Wireshark."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "WIRESHARK_PLUGIN_DIR", "WIRESHARK_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def listed(home: Path) -> int:
    """Messages that a plain tshark finds in a capture, without being told of any script."""
    command = ["tshark", "-r", str(PCAPS / "odd100-canon-0.9.0.pcap"), "-Y", 'frame.protocols contains "craft"']
    run = subprocess.run(command, capture_output=True, text=True, check=True, env={"HOME": str(home), "PATH": PATH})
    return len(run.stdout.splitlines())


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@needs_tshark
def test_what_is_installed_is_loaded_by_tshark_until_it_is_removed(home: Path) -> None:
    assert (wireshark.installed_version(), wireshark.remove()) == (None, None)
    assert listed(home) == 0
    target = wireshark.install()
    assert target.parent == wireshark.plugin_folder()
    assert target.is_relative_to(home)
    assert wireshark.installed_version() is not None
    assert listed(home) > 10
    assert wireshark.remove() == target
    assert listed(home) == 0


@needs_tshark
@pytest.mark.usefixtures("home")
def test_an_older_one_of_ours_is_replaced() -> None:
    target = wireshark.install()
    target.write_text(target.read_text().replace('local VERSION = "', 'local VERSION = "0.0.1-'))
    assert (wireshark.installed_version() or "").startswith("0.0.1-")
    assert wireshark.install() == target
    assert target.read_bytes() == wireshark.path().read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["craft.lua"]


@needs_tshark
@pytest.mark.usefixtures("home")
def test_a_file_that_is_not_ours_is_left_alone() -> None:
    folder = wireshark.plugin_folder()
    folder.mkdir(parents=True)
    theirs = folder / "craft.lua"
    theirs.write_text("-- a script about boats\n")
    with pytest.raises(wireshark.ForeignScriptError, match="not ours: move it away"):
        wireshark.install()
    with pytest.raises(wireshark.ForeignScriptError, match="not ours"):
        wireshark.remove()
    assert theirs.read_text() == "-- a script about boats\n"


@needs_tshark
@pytest.mark.usefixtures("home")
def test_when_tshark_does_not_load_it_everything_is_as_before() -> None:
    folder = wireshark.plugin_folder()
    folder.mkdir(parents=True)
    (folder / "another.lua").write_text('Proto("craft", "C-Raft")\n')  # takes the name first
    with pytest.raises(wireshark.NotLoadedError, match="does not load"):
        wireshark.install()
    assert [path.name for path in folder.iterdir()] == ["another.lua"]


def program(folder: Path, output: str) -> str:
    """A program that prints something, whatever it is asked."""
    path = folder / "tshark"
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\n")
    path.chmod(0o755)
    return str(path)


def test_a_tshark_that_is_missing_too_old_or_another_program_is_said(tmp_path: Path) -> None:
    with pytest.raises(wireshark.TsharkMissingError, match="not installed"):
        wireshark.install(str(tmp_path / "tshark"))
    with pytest.raises(wireshark.TsharkTooOldError, match=r"version 3\.6\.2; 4\.0 or later"):
        wireshark.install(program(tmp_path, "TShark (Wireshark) 3.6.2 (Git v3.6.2 packaged as 3.6.2-2)"))
    with pytest.raises(wireshark.TsharkMissingError, match="does not say its version"):
        wireshark.install(program(tmp_path, "hello"))
    with pytest.raises(wireshark.TsharkMissingError, match="without Lua"):
        wireshark.plugin_folder(program(tmp_path, "TShark (Wireshark) 4.2.0\nTemp: /tmp"))


# --- Packets in any order, as Wireshark's window asks for them ---


class Sharkd:
    """Wireshark's engine without its window."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["sharkd", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, method: str, **parameters: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())["result"]

    def close(self) -> None:
        self._process.communicate(timeout=10)


def craft_tree(nodes: list[dict[str, Any]]) -> list[str]:
    """All lines of the trees of our protocol."""
    found = []
    for node in nodes:
        if str(node.get("f", node.get("fn", ""))).startswith("craft"):
            found += lines(node)
    return found


def lines(node: dict[str, Any]) -> list[str]:
    return [node["l"], *(line for child in node.get("n", ()) for line in lines(child))]


@needs_tshark
@pytest.mark.skipif(shutil.which("sharkd") is None, reason="sharkd is not installed")
@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("file", ["s4-64k-canon-0.9.0.pcap", "s1-cowsql-0.20.0.pcap"])
def test_packets_look_the_same_in_whatever_order_they_are_looked_at(file: str) -> None:
    wireshark.install()
    sharkd = Sharkd()
    try:
        assert sharkd.ask("load", file=str(PCAPS / file))["status"] == "OK"
        frames = [frame["num"] for frame in sharkd.ask("frames", filter="craft")]
        in_order = {frame: craft_tree(sharkd.ask("frame", frame=frame, proto=True)["tree"]) for frame in frames}
        random.Random(5).shuffle(frames)
        for frame in frames:
            assert craft_tree(sharkd.ask("frame", frame=frame, proto=True)["tree"]) == in_order[frame]
    finally:
        sharkd.close()
    assert all(in_order.values())
    named = sum(line.startswith("C-Raft ") for tree in in_order.values() for line in tree)
    assert named >= len(frames)
