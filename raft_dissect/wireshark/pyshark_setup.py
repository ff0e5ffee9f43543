"""pyshark with the C-Raft dissector: what must be installed is checked, and its captures are set up."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from raft_dissect.wireshark.errors import (
    NotLoadedError,
    PysharkMissingError,
    PysharkTooOldError,
    TsharkMissingError,
)
from raft_dissect.wireshark.plugin import SCRIPT, check_version, installed_version, problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from raft_dissect.wireshark.pyshark_captures import RaftFileCapture, RaftLiveCapture

OLDEST_PYSHARK = (0, 6)
"""The oldest release of pyshark that this was tried with."""
_INSTALL = f"{os.path.basename(sys.executable) or 'python3'} -m pip install 'raft_dissect[pyshark]'"
_LUA_ERRORS = '(_ws.lua.error && _ws.expert.message contains "craft.lua")'
"""Packets at which our script failed are shown whatever the filter is, so that nothing is lost in silence."""
_REFUSED = {
    "use_json": "pyshark's JSON mode keeps one message of each frame",
    "use_ek": "pyshark's EK mode does not know the fields of Lua dissectors",
    "include_raw": "it needs pyshark's JSON mode, which keeps one message of each frame",
    "only_summaries": "summaries hold no messages",
    "capture_filter": "the name of it is bpf_filter",
    "eventloop": "these captures use none",
    "tshark_path": "the name of it is tshark",
}
"""Options of pyshark that are not taken, with the reason."""


class Tshark(NamedTuple):
    """The tshark that captures use."""

    path: str
    version: str

    def dumpcap(self) -> str:
        """The dumpcap beside it, or else on the path. Raises TsharkMissingError."""
        found = shutil.which("dumpcap", path=os.path.dirname(self.path)) or shutil.which("dumpcap")
        if found is None:
            raise TsharkMissingError("dumpcap is not installed; on Debian and Ubuntu it comes with tshark")
        return found


def file_capture(
    path: str | os.PathLike[str],
    *,
    ports: Collection[int] = (),
    tls_ports: Collection[int] = (),
    tls_keys: str | os.PathLike[str] | None = None,
    display_filter: str | None = "craft",
    tshark: str = "tshark",
    **options: Any,
) -> RaftFileCapture:
    """Give a pyshark.FileCapture of a capture file that knows C-Raft; use it in a `with` statement.

    `ports` are TCP ports of servers and `tls_ports` those on which Raft is inside TLS, both needed only where content
    does not tell; `tls_keys` is a key log file. Only packets that `display_filter` lets pass are given: those of
    C-Raft, or all with None. `options` are those of pyshark.FileCapture; packets are not kept unless `keep_packets` is
    given. Nothing is read before the capture is iterated over.

    Raises PysharkMissingError, PysharkTooOldError, TsharkMissingError, TsharkTooOldError; NotLoadedError when tshark
    does not load the dissector; ValueError for a port that does not exist and for an option that would lose messages;
    FileNotFoundError. Iterating raises TsharkFailedError when tshark ends with an error, which includes a file that is
    cut off, behind the packets before; DissectorError when the dissector itself fails.
    """
    found, loading = _prepare(tshark)
    prepared = _options(loading, _preferences(ports, tls_ports, tls_keys), display_filter, options)
    from raft_dissect.wireshark.pyshark_captures import RaftFileCapture  # it imports pyshark, which is slow

    return RaftFileCapture(found, path, {"keep_packets": False, **prepared})


def live_capture(
    interface: str | Sequence[str],
    *,
    ports: Collection[int] = (),
    tls_ports: Collection[int] = (),
    tls_keys: str | os.PathLike[str] | None = None,
    bpf_filter: str | None = None,
    display_filter: str | None = "craft",
    monitor_mode: bool = False,
    tshark: str = "tshark",
    **options: Any,
) -> RaftLiveCapture:
    """Give a pyshark.LiveCapture of one interface or several that knows C-Raft; use it in a `with` statement.

    `bpf_filter` says in libpcap's words what is captured, `monitor_mode` is for Wi-Fi. The other arguments are those of
    `file_capture`, and so are the errors; an interface that cannot be captured on is a TsharkFailedError when the
    capture is iterated over.
    """
    found, loading = _prepare(tshark)
    found.dumpcap()
    prepared = _options(loading, _preferences(ports, tls_ports, tls_keys), display_filter, options)
    from raft_dissect.wireshark.pyshark_captures import RaftLiveCapture  # it imports pyshark, which is slow

    interfaces = [interface] if isinstance(interface, str) else list(interface)
    return RaftLiveCapture(found, interfaces, bpf_filter, monitor_mode, prepared)


def _prepare(tshark: str) -> tuple[Tshark, list[str]]:
    """Check all that is needed; returns which tshark there is, and how it loads the dissector."""
    _check_pyshark()
    version = check_version(tshark)
    path = shutil.which(tshark)
    assert path is not None  # it said its version
    return Tshark(path, version), _loading(tshark)


def _check_pyshark() -> None:
    from importlib.metadata import PackageNotFoundError, version  # slow, and needed here alone

    try:
        found = version("pyshark")
        import pyshark  # noqa: F401 - only whether it can be imported
    except (PackageNotFoundError, ImportError) as error:
        raise PysharkMissingError(_missing(error)) from error
    if tuple(map(int, re.findall(r"\d+", found)[:2])) < OLDEST_PYSHARK:
        oldest = ".".join(map(str, OLDEST_PYSHARK))
        raise PysharkTooOldError(f"pyshark is version {found}; {oldest} or later is needed: {_INSTALL}")


def _missing(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name != "pyshark":
        return f"pyshark does not work, since {error.name} is not installed: {_INSTALL}"
    if sys.version_info >= (3, 14):
        return "pyshark is not installed; its last release was made for Python up to 3.13: use such a one"
    return f"pyshark is not installed: {_INSTALL}"


def _loading(tshark: str) -> list[str]:
    """The arguments by which tshark loads the dissector: none where this release of it is installed as a plugin."""
    given = ["-X", f"lua_script:{SCRIPT}"]
    trouble = problem(tshark, *given)
    if trouble is None:
        return given
    from raft_dissect import __version__  # the package imports its parts when it is imported itself

    if installed_version(tshark) == __version__ and problem(tshark) is None:
        return []
    raise NotLoadedError(f"{tshark} does not load {SCRIPT}: {trouble}")


def _preferences(
    ports: Collection[int], tls_ports: Collection[int], tls_keys: str | os.PathLike[str] | None
) -> dict[str, str]:
    preferences = {"craft.heuristic": "TRUE"}
    for name, numbers in (("craft.tcp_ports", ports), ("craft.tls_ports", tls_ports)):
        if not all(0 < number < 65536 for number in numbers):
            raise ValueError(f"TCP ports are 1 to 65535, not {sorted(numbers)}")
        if numbers:
            preferences[name] = ",".join(map(str, sorted(numbers)))
    if tls_keys is not None:
        if not os.path.isfile(tls_keys):  # tshark would say nothing
            raise FileNotFoundError(f"there is no key log file {os.fspath(tls_keys)}")
        preferences["tls.keylog_file"] = os.path.abspath(tls_keys)
    return preferences


def _options(
    loading: Sequence[str], preferences: Mapping[str, str], display_filter: str | None, options: dict[str, Any]
) -> dict[str, Any]:
    """The options of pyshark's captures."""
    for name, reason in _REFUSED.items():
        if options.get(name):
            raise ValueError(f"{name} is not taken: {reason}")
    given = options.get("custom_parameters") or []
    flat = [each for pair in given.items() for each in pair] if isinstance(given, dict) else list(given)
    return {
        **options,
        "display_filter": f"({display_filter}) || {_LUA_ERRORS}" if display_filter else None,
        "override_prefs": {**preferences, **(options.get("override_prefs") or {})},
        "custom_parameters": [*loading, *flat],
    }
