"""Dissect, analyze and report the RPC traffic between C-Raft servers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raft_dissect.capture import CaptureError
    from raft_dissect.dissection import Dissection, messages
    from raft_dissect.pipeline import analyze
    from raft_dissect.report import Report
    from raft_dissect.scapy_session import RaftSession
    from raft_dissect.streams import Engine
    from raft_dissect.values import Diagnostic, Message, Packet

__version__ = "0.1.0"

__all__ = [
    "CaptureError",
    "Diagnostic",
    "Dissection",
    "Engine",
    "Message",
    "Packet",
    "RaftSession",
    "Report",
    "analyze",
    "bind",
    "messages",
    "scapy_ext",
    "unbind",
]

_HOMES = {
    "CaptureError": "capture",
    "Diagnostic": "values",
    "Dissection": "dissection",
    "Engine": "streams",
    "Message": "values",
    "Packet": "values",
    "RaftSession": "scapy_session",
    "Report": "report",
    "analyze": "pipeline",
    "messages": "dissection",
}
"""The module of each public name, imported when the name is first used: RaftSession needs Scapy, which is slow."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"raft_dissect.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def bind(port: int, *ports: int) -> None:
    """Let Scapy dissect what goes to and comes from these TCP ports as C-Raft, from now on.

    Raises ValueError for a number that is no port.
    """
    from raft_dissect import layers  # here because it imports Scapy

    layers.bind(port, *ports)


def unbind(port: int, *ports: int) -> None:
    """Undo `bind`; a port that is not bound stays as it is.

    Raises ValueError for a number that is no port.
    """
    from raft_dissect import layers  # here because it imports Scapy

    layers.unbind(port, *ports)


def scapy_ext(ext: Any) -> None:
    """What Scapy calls for `conf.exts.load("raft_dissect")`; `load_contrib("raft_dissect")` works after it.

    `ext` is a scapy.config.ScapyExt, whose methods have no types.
    """
    from pathlib import Path

    ext.config("raft_dissect", __version__)
    shim = Path(__file__).with_name("scapy_contrib.py")
    ext.register("raft_dissect", ext.MODE.CONTRIB, shim, default=False)
