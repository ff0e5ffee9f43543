"""Transparent decompression: gzip, xz, bzip2, zstd and lz4, recognised by their first bytes.

One small stream for the five formats, instead of the file objects of their libraries, because those lose
the data before a damaged place, do not all notice a cut, and bound no memory.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    import zlib
    from collections.abc import Callable

    import zstandard

    from raft_dissect.capture.stream import Readable

    _Loaded = tuple[Callable[[], "_Decompressor"], type[Exception]]
    """What makes a decompressor for one member, and what that raises at damage."""

_INPUT_SIZE = 16 * 1024
"""Compressed bytes per step; what one step gives is lost when there is damage in it."""

_XZ_MEMORY = 256 * 1024 * 1024
"""Bytes that an xz file may ask for its dictionary; `xz -9` needs 65 MiB."""


class CompressionError(Exception):
    """Compressed data that is damaged, or ends too early; the message says which and where.

    `kind` is the kind of `CaptureProblem` that it makes of the file.
    """

    def __init__(self, kind: Literal["file_damaged", "file_truncated"], detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class MissingPackageError(Exception):
    """The package that decompresses a format is not installed; the message says how to install it."""


class _Decompressor(Protocol):
    """Decompresses one member of a file, like the classes of `bz2`, `lzma` and `lz4`."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Compression(NamedTuple):
    """A compressed format."""

    name: str
    magic: bytes
    load: Callable[[], _Loaded]
    """Imports what decompresses it."""


def detect_compression(head: bytes) -> Compression | None:
    """Return the compressed format that a file beginning with `head` (6 bytes or more) has, if any."""
    return next((each for each in _COMPRESSIONS if head.startswith(each.magic)), None)


class DecompressedStream:
    """The content of a compressed file; several members in one file are one content.

    `read` raises `CompressionError` where the compressed data is damaged or ends too early,
    after it returned what comes before that place; at damage all but what the last 16 KiB of input gave.
    """

    def __init__(self, source: Readable, compression: Compression) -> None:
        """Raise `MissingPackageError` if the format needs a package that is not installed."""
        self._source = source
        self._name = compression.name
        self._new_decompressor, self._error = compression.load()
        self._decompressor = self._new_decompressor()
        self._bytes_in = 0

    def read(self, size: int, /) -> bytes:
        """Return some bytes, about `size` at most; none at the end."""
        while True:
            if self._decompressor.eof:
                rest = self._next_member()
                if not rest:
                    return b""
                data = self._decompress(rest, size)
            elif self._decompressor.needs_input:
                data = self._decompress(self._input(), size)
            else:
                data = self._decompress(b"", size)
            if data:
                return data

    def _next_member(self) -> bytes:
        """Begin the member after the one that ended; return its first bytes, none if it was the last."""
        rest = (self._decompressor.unused_data or b"").lstrip(b"\0")
        while not rest:
            more = self._read_source()
            if not more:
                return b""
            rest = more.lstrip(b"\0")
        self._decompressor = self._new_decompressor()
        return rest

    def _input(self) -> bytes:
        data = self._read_source()
        if not data:
            raise CompressionError(
                "file_truncated",
                f"the {self._name} data ends too early, after {self._bytes_in} compressed bytes",
            )
        return data

    def _read_source(self) -> bytes:
        data = self._source.read(_INPUT_SIZE)
        self._bytes_in += len(data)
        return data

    def _decompress(self, data: bytes, size: int) -> bytes:
        try:
            return self._decompressor.decompress(data, size)
        except self._error as error:
            raise CompressionError(
                "file_damaged",
                f"the {self._name} data cannot be decompressed up to compressed byte {self._bytes_in}: {error}; "
                "what follows is lost",
            ) from error


class _GzipDecompressor:
    """`zlib` with the interface of `bz2`."""

    def __init__(self, member: zlib._Decompress) -> None:
        self._member = member
        self._output_waits = False

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def needs_input(self) -> bool:
        return not self._output_waits

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        output = self._member.decompress(self._member.unconsumed_tail + data, max_length)
        self._output_waits = len(output) >= max_length
        return output


class _ZstdDecompressor:
    """`zstandard` with the interface of `bz2`; holds up to 32 MiB of output that was not asked for yet.

    It knows no limit, so it gets its input in small pieces: 1024 bytes can hold 256 blocks of 128 KiB.
    """

    def __init__(self, member: zstandard.ZstdDecompressionObj) -> None:
        self._member = member
        self._input = b""
        self._output = b""
        self._returned = 0

    @property
    def eof(self) -> bool:
        return self._member.eof and not self._output

    @property
    def needs_input(self) -> bool:
        return not self._input and not self._output

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data + self._input

    def decompress(self, data: bytes, max_length: int) -> bytes:
        self._input += data
        if not self._output:
            self._output = self._decompress_input(max_length)
            self._returned = 0
        piece = self._output[self._returned : self._returned + max_length]
        self._returned += len(piece)
        if self._returned == len(self._output):
            self._output = b""
        return piece

    def _decompress_input(self, wanted: int) -> bytes:
        position = 0
        size = 0
        pieces: list[bytes] = []
        while position < len(self._input) and size < wanted and not self._member.eof:
            pieces.append(self._member.decompress(self._input[position : position + 1024]))
            position += 1024
            size += len(pieces[-1])
        self._input = self._input[position:]
        return b"".join(pieces)


def _gzip() -> _Loaded:
    import zlib

    return lambda: _GzipDecompressor(zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)), zlib.error


def _xz() -> _Loaded:
    import lzma

    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY), lzma.LZMAError


def _bzip2() -> _Loaded:
    import bz2

    return bz2.BZ2Decompressor, OSError


def _lz4() -> _Loaded:
    try:
        # lz4 has no type information, so the class that is taken from it gets its type here.
        frame = importlib.import_module("lz4.frame")
    except ImportError as error:
        raise MissingPackageError(_advice("lz4")) from error
    return cast("type[_Decompressor]", frame.LZ4FrameDecompressor), RuntimeError


def _zstd() -> _Loaded:
    try:
        import zstandard
    except ImportError as error:
        raise MissingPackageError(_advice("zstd")) from error

    return lambda: _ZstdDecompressor(zstandard.ZstdDecompressor().decompressobj()), zstandard.ZstdError


def _advice(extra: str) -> str:
    return f"it is {extra}-compressed and needs a package more: pip install 'raft_dissect[{extra}]'"


_COMPRESSIONS = (
    Compression("gzip", b"\x1f\x8b", _gzip),
    Compression("xz", b"\xfd7zXZ\x00", _xz),
    Compression("bzip2", b"BZh", _bzip2),
    Compression("zstd", b"\x28\xb5\x2f\xfd", _zstd),
    Compression("lz4", b"\x04\x22\x4d\x18", _lz4),
)
