"""Captures of made-up clusters in which a rule does not hold, as files that the command line can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.capture_files import pcap
from tests.scripts import Script, command

if TYPE_CHECKING:
    from pathlib import Path


def cluster() -> Script:
    """Server 1 is elected in term 2 by both others, and sends them one entry, which both acknowledge."""
    script = Script()
    script.ask(1, 2, 2).vote(2, 1, 2, 1).ask(1, 3, 2).vote(3, 1, 2, 1)
    script.append(1, 2, 2, (1, 1), command(2)).append(1, 3, 2, (1, 1), command(2))
    return script.result(2, 1, 2, 2).result(3, 1, 2, 2)


def falling_term(times: int = 1) -> Script:
    """Server 2 has reached term 5, and then answers with term 4, so many times: terms only grow (Raft 5.1)."""
    script = cluster().result(2, 1, 5, 2)
    for _ in range(times):
        script.result(2, 1, 4, 2)
    return script


def write(script: Script, folder: Path, name: str = "made.pcap") -> str:
    """The name of a file with what a script says."""
    path = folder / name
    path.write_bytes(pcap(*script.packets()))
    return str(path)
