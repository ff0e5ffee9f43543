"""Which format a file has, by its first bytes; and what a file is that is no capture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.capture.pcap import PcapReader
from raft_dissect.capture.pcap_records import MAGICS as PCAP_MAGICS
from raft_dissect.capture.pcapng import PcapngReader
from raft_dissect.capture.pcapng_blocks import MAGIC as PCAPNG_MAGIC

if TYPE_CHECKING:
    from raft_dissect.capture.records import RecordReader

HEAD_SIZE = 24
"""Bytes that are looked at: no capture has fewer, so a pipe has at least as many."""

MAGIC_SIZE = 6
"""Bytes that tell captures and compressed files from all others."""

_CONVERT = "convert it: editcap -F pcapng OLD NEW"
_UNPACK = "unpack it and give the captures inside"
_TEXT_MODE = "transfer it again in binary mode"

_RELATIVES = (
    (b"snoop\0\0\0", "a Solaris snoop capture", _CONVERT),
    (b"\xa1\xb2\xcd\x34", "a modified pcap capture", _CONVERT),
    (b"\x34\xcd\xb2\xa1", "a modified pcap capture", _CONVERT),
    (b"RTSS", "a Microsoft Network Monitor capture", _CONVERT),
    (b"GMBU", "a Microsoft Network Monitor capture", _CONVERT),
    (b"\n\r\n", "a pcapng capture damaged by a transfer in text mode", _TEXT_MODE),
    (b"\r\n\r\r\r\n", "a pcapng capture damaged by a transfer in text mode", _TEXT_MODE),
    (b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"\x1f\x9d", "compressed by compress", "unpack it: uncompress FILE"),
)
"""What is met where a capture is expected: its first bytes, what it is, what to do."""


def reader_class(head: bytes) -> type[RecordReader] | None:
    """Return the reader for a file that begins with `head`, or None if it is no capture."""
    if head[:4] in PCAP_MAGICS:
        return PcapReader
    if head[:4] == PCAPNG_MAGIC:
        return PcapngReader
    return None


def describe_unknown(head: bytes) -> str:
    """Say in one line what a file is that begins with `head` and is no capture, and what to do."""
    for magic, what, advice in _RELATIVES:
        if head.startswith(magic):
            return f"it is {what}; {advice}"
    start = head[:HEAD_SIZE]
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "it is a web page, not a capture; the download may have failed or wanted a login"
    if _is_text(start):
        # Its words are not shown: the file that was named by mistake may hold secrets.
        return "it is text, not a capture; tcpdump -w FILE writes a capture"
    if len(start) < 4:
        return f"it has {len(start)} bytes, too few for a capture; copy or record it again"
    return f"it is no capture (it begins {start[:4].hex(' ')}); pcap and pcapng are read, also compressed"


def _is_text(start: bytes) -> bool:
    return start.isascii() and all(byte >= 0x20 or byte in b"\t\r\n\f" for byte in start)
