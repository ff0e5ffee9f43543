"""The Wireshark dissector: where it is, how it gets into the user's Wireshark and out of it, and pyshark with it."""

from raft_dissect.wireshark.errors import (
    DissectorError,
    ForeignScriptError,
    NotLoadedError,
    PysharkMissingError,
    PysharkTooOldError,
    TsharkFailedError,
    TsharkMissingError,
    TsharkTooOldError,
    WiresharkError,
)
from raft_dissect.wireshark.plugin import SCRIPT, install, installed_version, path, plugin_folder, remove
from raft_dissect.wireshark.pyshark_messages import ShownMessage, messages
from raft_dissect.wireshark.pyshark_setup import file_capture, live_capture

__all__ = [
    "SCRIPT",
    "DissectorError",
    "ForeignScriptError",
    "NotLoadedError",
    "PysharkMissingError",
    "PysharkTooOldError",
    "ShownMessage",
    "TsharkFailedError",
    "TsharkMissingError",
    "TsharkTooOldError",
    "WiresharkError",
    "file_capture",
    "install",
    "installed_version",
    "live_capture",
    "messages",
    "path",
    "plugin_folder",
    "remove",
]
