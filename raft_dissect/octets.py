"""Integers in bytes, for the loops that are compiled; the compiled form of each is in `octets.pxd`.

Reading beyond the end of the bytes raises IndexError. Uncompiled code reads whole headers with `struct`, which is
faster there.
"""

from __future__ import annotations


def u16be(data: bytes | memoryview, at: int) -> int:
    """Read 16 bits in network byte order."""
    return data[at] << 8 | data[at + 1]


def u32be(data: bytes | memoryview, at: int) -> int:
    """Read 32 bits in network byte order."""
    return data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]


def u32le(data: bytes | memoryview, at: int) -> int:
    """Read 32 bits in little-endian order."""
    return data[at + 3] << 24 | data[at + 2] << 16 | data[at + 1] << 8 | data[at]


def u64le(data: bytes | memoryview, at: int) -> int:
    """Read 64 bits in little-endian order."""
    return u32le(data, at + 4) << 32 | u32le(data, at)
