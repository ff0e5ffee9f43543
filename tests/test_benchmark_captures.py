"""The captures of the benchmarks hold what is said of them, and are the same every time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raft_dissect import messages
from raft_dissect.dissection import Dissection
from raft_dissect.values import Diagnostic, Message

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SCALE = "0.02"


def make(directory: Path, seed: str, *names: str, scale: str = SCALE) -> dict[str, dict[str, Any]]:
    """Make the captures that are named, or all; what is said of each, by name."""
    command = [sys.executable, str(BENCHMARKS / "captures.py"), "--scale", scale, str(directory), *names]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    made = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    return {record["name"]: record for record in map(json.loads, made.splitlines())}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return make(tmp_path_factory.mktemp("captures"), "1")


def digests(made: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: hashlib.sha256(Path(record["path"]).read_bytes()).hexdigest() for name, record in made.items()}


def test_every_capture_is_the_same_the_second_time(made: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    assert digests(made) == digests(make(tmp_path, "2"))


def whole_messages(record: dict[str, Any]) -> int:
    return sum(not message.partial for message in messages(record["path"], ports=[9001]))


def test_every_message_that_is_said_to_be_captured_is_there(made: dict[str, dict[str, Any]]) -> None:
    said = {name: record["captured"] for name, record in made.items()}
    assert {name: whole_messages(record) for name, record in made.items()} == said


@pytest.mark.parametrize(("name", "size"), [("snapshots", 1448 * (2_097_152 // 1448)), ("huge", 1_000_000)])
def test_snapshots_are_as_large_as_they_are_meant_to_be(made: dict[str, dict[str, Any]], name: str, size: int) -> None:
    events = list(Dissection(made[name]["path"], ports=[9001]))
    snapshots = [event for event in events if isinstance(event, Message) and event.name == "InstallSnapshot"]
    assert [snapshot.payload_length for snapshot in snapshots] == [size]
    assert not [event for event in events if isinstance(event, Diagnostic)]


def test_what_is_missing_from_a_capture_is_said(tmp_path: Path) -> None:
    """One packet in a thousand of some 5,000 is lost, and a message has 24 packets on average."""
    gappy = make(tmp_path, "1", "gappy", scale="0.5")["gappy"]
    assert 0 < gappy["messages"] - gappy["captured"] < 15
    assert whole_messages(gappy) == gappy["captured"]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("name", ["small", "appends", "offload", "halfopen", "huge"])
def test_the_baseline_finds_the_messages_that_are_said_to_be_there(made: dict[str, dict[str, Any]], name: str) -> None:
    """Tshark with the Lua dissector of the benchmarks, on captures in which nothing is missing or late."""
    record = made[name]
    base = ["tshark", "-r", record["path"], "-X", f"lua_script:{BENCHMARKS / 'baseline.lua'}"]
    fields = ["-T", "fields", "-e", "frame.number"]
    types = subprocess.run(
        [*base, "-Y", "craft", *fields, "-e", "craft.type"], capture_output=True, text=True, check=True
    ).stdout
    assert sum(len(line.split("\t")[1].split(",")) for line in types.splitlines()) == record["messages"]
    packets = subprocess.run([*base, *fields], capture_output=True, text=True, check=True).stdout
    assert len(packets.splitlines()) == record["packets"]
