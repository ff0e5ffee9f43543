"""The Wireshark dissector: where it is, and how it gets into the user's Wireshark and out of it."""

from raft_dissect.wireshark.errors import (
    ForeignScriptError,
    NotLoadedError,
    TsharkMissingError,
    TsharkTooOldError,
    WiresharkError,
)
from raft_dissect.wireshark.plugin import SCRIPT, install, installed_version, path, plugin_folder, remove

__all__ = [
    "SCRIPT",
    "ForeignScriptError",
    "NotLoadedError",
    "TsharkMissingError",
    "TsharkTooOldError",
    "WiresharkError",
    "install",
    "installed_version",
    "path",
    "plugin_folder",
    "remove",
]
