"""Put the dissector into the folder from which Wireshark loads Lua scripts, check that it loads, and remove it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from raft_dissect.wireshark.errors import ForeignScriptError, NotLoadedError, TsharkMissingError, TsharkTooOldError

SCRIPT = Path(__file__).parent / "craft.lua"
OLDEST = (4, 0)
"""The oldest release of Wireshark that the dissector was tried with."""
_MARK = "-- raft_dissect: "
"""What our script begins with."""
_VERSION = re.compile(r'^local VERSION = "([^"]*)"$', re.MULTILINE)
_FOLDER = "Personal Lua Plugins"
_PATIENCE = 60
"""Seconds that tshark may take to start."""


def path() -> Path:
    """The script as it is shipped, for `tshark -X lua_script:FILE`, which needs no installation."""
    return SCRIPT


def plugin_folder(tshark: str = "tshark") -> Path:
    """The folder from which Wireshark loads the user's own Lua scripts; it may not be there yet.

    Raises TsharkMissingError and TsharkTooOldError.
    """
    check_version(tshark)
    for line in _run(tshark, "-G", "folders").stdout.splitlines():
        name, _, folder = line.partition(":")
        if name == _FOLDER and folder.strip():
            return Path(folder.strip())
    raise TsharkMissingError(f"{tshark} knows no folder of {_FOLDER}: it was built without Lua")


def installed_version(tshark: str = "tshark") -> str | None:
    """The release of the script in that folder; None when ours is not there. Raises as `plugin_folder` does."""
    return _version_of(plugin_folder(tshark) / SCRIPT.name)


def install(tshark: str = "tshark") -> Path:
    """Copy the script into that folder, over an older one of ours, and check that tshark loads it; returns its path.

    Raises as `plugin_folder` does; ForeignScriptError when another file has its name; NotLoadedError when tshark does
    not load it, in which case everything is as before; OSError when the folder cannot be written.
    """
    target = plugin_folder(tshark) / SCRIPT.name
    before = target.read_bytes() if target.exists() else None
    if before is not None and _version_of(target) is None:
        raise ForeignScriptError(f"{target} is not ours: move it away first")
    target.parent.mkdir(parents=True, exist_ok=True)
    _write(target, SCRIPT.read_bytes())
    trouble = problem(tshark)
    if trouble is not None:
        if before is None:
            target.unlink()
        else:
            _write(target, before)
        raise NotLoadedError(f"{tshark} does not load {target}: {trouble}")
    return target


def remove(tshark: str = "tshark") -> Path | None:
    """Remove the script from that folder; returns where it was, None when there was none.

    Raises as `plugin_folder` does, ForeignScriptError when the file is not ours, and OSError.
    """
    target = plugin_folder(tshark) / SCRIPT.name
    if not target.exists():
        return None
    if _version_of(target) is None:
        raise ForeignScriptError(f"{target} is not ours: it is left as it is")
    target.unlink()
    return target


def check_version(tshark: str) -> str:
    """The version of tshark, such as 4.0.17. Raises TsharkMissingError and TsharkTooOldError."""
    found = re.search(r"\b(\d+)\.(\d+)\.\d+", _run(tshark, "--version").stdout.partition("\n")[0])
    if found is None:
        raise TsharkMissingError(f"{tshark} does not say its version: is it Wireshark's?")
    if (int(found[1]), int(found[2])) < OLDEST:
        raise TsharkTooOldError(f"{tshark} is version {found[0]}; {OLDEST[0]}.{OLDEST[1]} or later is needed")
    return found[0]


def problem(tshark: str, *options: str) -> str | None:
    """Why tshark does not load the script, with these options; None if it does.

    tshark itself ends with 0 even where a script is broken. Raises TsharkMissingError.
    """
    run = _run(tshark, "-G", "protocols", *options)
    complaints = [line.strip() for line in run.stderr.splitlines() if SCRIPT.name in line]
    if complaints:
        return complaints[0]
    if run.returncode:
        return f"it ended with {run.returncode} when it was asked which protocols it knows"
    if any(line.split("\t")[-1] == "craft" for line in run.stdout.splitlines()):
        return None
    return "are Lua scripts switched off (disable_lua in init.lua, or for root)?"


def _run(tshark: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(tshark) is None:
        raise TsharkMissingError(f"{tshark} is not installed; on Debian and Ubuntu it is the package tshark")
    try:
        return subprocess.run(
            [tshark, *arguments], capture_output=True, text=True, errors="replace", check=False, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TsharkMissingError(f"{tshark} does not run: {error}") from error


def _version_of(target: Path) -> str | None:
    """The release of a script of ours; None for any other file and for none."""
    try:
        text = target.read_text(errors="replace")
    except FileNotFoundError:
        return None
    found = _VERSION.search(text)
    return found[1] if found and text.startswith(_MARK) else None


def _write(target: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all."""
    fresh = target.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(target)
