"""The record layer of TLS: where each record of a stream begins and ends, and what stands in clear at its beginning.

Sources: RFC 8446 (TLS 1.3), sections 4.1.2 and 5.1; RFC 5246 (TLS 1.2), section 6.2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, HEARTBEAT = range(20, 25)
_KINDS = frozenset({CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, HEARTBEAT})
HEADER = 5
"""Bytes before the content of a record."""
_LONGEST = (1 << 14) + 2048
"""Bytes of a record's content, at most."""
_CLIENT_HELLO, SERVER_HELLO = 1, 2
_RANDOM_AT = HEADER + 6
_RANDOM = 32


class Record(NamedTuple):
    """One record as it stands in the stream."""

    kind: int
    """Content type; of a record of TLS 1.3 that is encrypted it is APPLICATION_DATA whatever is inside."""
    data: bytes
    """With its header."""
    end: int
    """Position after it."""


class NotTlsError(Exception):
    """Bytes that are no record where one must begin."""


def is_begin(data: bytes) -> bool:
    """Whether a stream that begins with these bytes is TLS, as far as they say: a handshake record comes first."""
    return data[:3] in (b"\x16\x03\x00", b"\x16\x03\x01", b"\x16\x03\x02", b"\x16\x03\x03") or (
        0 < len(data) < 3 and b"\x16\x03".startswith(data)
    )


def is_record(data: bytes | bytearray) -> bool:
    """Whether these bytes can be the begin of any record."""
    if len(data) < HEADER:
        return False
    return data[0] in _KINDS and data[1] == 3 and data[2] <= 4 and 0 < (data[3] << 8 | data[4]) <= _LONGEST


def client_random(data: bytes) -> bytes | None:
    """The random of the client in a record with a ClientHello; None where there is none, or not all of it."""
    if len(data) < _RANDOM_AT + _RANDOM or data[0] != HANDSHAKE or data[HEADER] != _CLIENT_HELLO:
        return None
    return data[_RANDOM_AT : _RANDOM_AT + _RANDOM]


class RecordStream:
    """Cuts the bytes of one direction, which come in order, into records."""

    __slots__ = ("_buffer", "_position")

    def __init__(self, position: int) -> None:
        """`position` is that of the first byte."""
        self._buffer = bytearray()
        self._position = position

    @property
    def begun(self) -> bytes:
        """What is there of a record that is not whole."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> Iterator[Record]:
        """Yield the records that these bytes complete; raises NotTlsError where none can begin."""
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= HEADER:
                if not is_record(buffer[at : at + HEADER]):
                    raise NotTlsError
                stop = at + HEADER + (buffer[at + 3] << 8 | buffer[at + 4])
                if stop > len(buffer):
                    break
                record = Record(buffer[at], bytes(buffer[at:stop]), self._position + stop)
                at = stop
                yield record
        finally:
            del buffer[:at]
            self._position += at
