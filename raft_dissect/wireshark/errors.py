"""Why the dissector could not be put into Wireshark, or a capture not be read with it."""

from __future__ import annotations


class WiresharkError(Exception):
    """The root of these errors; `str()` is one line for the user that says what is wrong and what to do about it."""


class TsharkMissingError(WiresharkError):
    """tshark is not installed, or it does not say what it should."""


class TsharkTooOldError(WiresharkError):
    """tshark is older than the oldest release that the dissector was tried with."""


class ForeignScriptError(WiresharkError):
    """A file of this name is there already, and it is not ours: it is left as it is."""


class NotLoadedError(WiresharkError):
    """The script is in its place, but tshark does not load it; it was taken away again."""


class TsharkFailedError(WiresharkError):
    """tshark or dumpcap ended with an error: a file that is cut off, a filter or an interface that does not exist."""


class DissectorError(WiresharkError):
    """The dissector failed at a packet, which may hold messages that are not shown."""


class PysharkMissingError(WiresharkError):
    """pyshark is not installed, or not whole."""


class PysharkTooOldError(WiresharkError):
    """pyshark is older than the oldest release that the captures were tried with."""
