"""Decode and encode how a connection begins: the raft handshake, dqlite's, its client protocol, HTTP upgrade, TLS."""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple

from raft_dissect.wire import table
from raft_dissect.wire.configuration import pad, printable

HandshakeKind = Literal["raft", "dqlite"]
_RAFT = struct.Struct("<QQQ")
_DQLITE = struct.Struct("<QIBBHQ")
_CLIENT = struct.Struct("<QIBBH")
_MAX_PROTOCOL = 256
"""A larger number is no version of the protocol that somebody may have made up."""
_MAX_ADDRESS = 4096
"""Bytes. No release limits an address; the longest that resolves is NI_MAXHOST + NI_MAXSERV = 1057 bytes."""
MAX_HTTP_HEAD = 64 * 1024
"""Bytes of an HTTP request's head that are looked through for its end."""


class Handshake(NamedTuple):
    """What a connecting server says of itself, once, before its first message (protocol document, section 1)."""

    kind: HandshakeKind
    protocol: int
    id: int
    address: str
    """The server's own advertised address, as text; not where the connection comes from."""
    length: int
    """Bytes on the wire."""
    stale: bytes = b""
    """What stands behind the address's NUL, if it is not all zero: memory of the sender, of no meaning."""


class Opening(NamedTuple):
    """What the first bytes of a stream say about the whole stream."""

    kind: Literal["handshake", "dqlite_client", "http", "upgrade", "tls", "unknown", "more"]
    """`more` when more bytes are needed; `http` is a request, `upgrade` go-dqlite's answer to it."""
    handshake: Handshake | None = None
    length: int = 0
    """Bytes to skip before what follows: of the handshake, or of the HTTP head."""


class BrokenHandshake(NamedTuple):
    """What has the shape of a handshake, and is one that every receiver refuses or cannot read."""

    part: Literal["protocol", "address"]
    detail: str
    """What is wrong with it."""
    length: int
    """Bytes on the wire: a message may follow them."""


_MORE = Opening("more")
_UNKNOWN = Opening("unknown")
_PROTOCOLS = (table.DQLITE_PROTOCOL, table.DQLITE_PROTOCOL_LEGACY)
_HTTP_METHODS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"CONNECT ", b"DELETE ", b"PATCH ")


def recognise(data: bytes, missing: int = 0) -> Opening:
    """Say what a stream is from its first bytes; never wrong by guessing: `unknown` is an answer.

    `missing` bytes after `data` are known to exist but were not captured; a handshake whose address ends in them has an
    empty address here.

    A dqlite client whose first request is CLIENT looks like a raft handshake in its first 24 bytes, so an address must
    be a printable, NUL-terminated text of the length that is announced.
    """
    if len(data) < 8:
        return _recognise_short(data)
    (protocol,) = struct.unpack_from("<Q", data)
    if protocol in _PROTOCOLS:
        return _recognise_protocol(data, protocol, missing)
    return _recognise_other(data)


def _recognise_short(data: bytes) -> Opening:
    starts = [struct.pack("<Q", protocol) for protocol in _PROTOCOLS]
    starts += [
        *_HTTP_METHODS,
        table.HTTP_UPGRADE_RESPONSE[:8],
        *(bytes((0x16, 3, minor)) for minor in range(5)),
    ]
    return _MORE if any(start.startswith(data) or data.startswith(start) for start in starts) else _UNKNOWN


def _recognise_other(data: bytes) -> Opening:
    if data[0] == 0x16 and data[1] == 3 and data[2] <= 4:
        return Opening("tls")
    if data.startswith(b"HTTP/1."):
        return _http_head("upgrade", data)
    if data.startswith(_HTTP_METHODS):
        return _http_head("http", data)
    return _UNKNOWN


def _http_head(kind: Literal["http", "upgrade"], data: bytes) -> Opening:
    end = data.find(b"\r\n\r\n", 0, MAX_HTTP_HEAD)
    if end >= 0:
        return Opening(kind, length=end + 4)
    return _MORE if len(data) < MAX_HTTP_HEAD else _UNKNOWN


def _recognise_protocol(data: bytes, protocol: int, missing: int) -> Opening:
    if len(data) < _CLIENT.size:
        return _MORE
    _, words, request, schema, extra = _CLIENT.unpack_from(data)
    candidates = []
    if request == table.DQLITE_CONNECT:
        candidates.append(_decode_dqlite(data, missing))
    if protocol == table.RAFT_PROTOCOL:
        candidates.append(_decode_raft(data, missing))
    for found in candidates:
        if found.kind != "unknown":
            return found
    client = request in table.DQLITE_REQUESTS and request != table.DQLITE_CONNECT
    if client and schema <= 1 and extra == 0 and 0 < words <= 1 << 27:
        return Opening("dqlite_client")
    return _UNKNOWN


def _decode_dqlite(data: bytes, missing: int) -> Opening:
    if len(data) < _DQLITE.size:
        return _MORE
    protocol, words, _, _, _, id_ = _DQLITE.unpack_from(data)
    cut = Handshake("dqlite", protocol, id_, "", words * 8 + 16)
    return _with_address(data, cut, _DQLITE.size, missing)


def _decode_raft(data: bytes, missing: int) -> Opening:
    if len(data) < _RAFT.size:
        return _MORE
    protocol, id_, address_length = _RAFT.unpack_from(data)
    cut = Handshake("raft", protocol, id_, "", _RAFT.size + address_length)
    return _with_address(data, cut, _RAFT.size, missing)


def _with_address(data: bytes, cut: Handshake, start: int, missing: int) -> Opening:
    """Complete a handshake with its address, which begins at `start`."""
    length = cut.length - start
    if not 8 <= length <= _MAX_ADDRESS or length % 8:
        return _UNKNOWN
    address, nul, padding = data[start : cut.length].partition(b"\0")
    text = printable(address)
    if not address.isascii() or "\\" in text or (nul and not address):
        return _UNKNOWN
    if len(data) < cut.length:
        return Opening("handshake", cut, cut.length) if len(data) + missing >= cut.length else _MORE
    if not nul or length - len(address) > 8:
        return _UNKNOWN
    stale = padding if any(padding) else b""
    return Opening("handshake", cut._replace(address=text, stale=stale), cut.length)


def broken_handshake(data: bytes) -> BrokenHandshake | Literal["more"] | None:
    """Say what is wrong with a handshake that `recognise` does not know; `more` when more bytes are needed.

    Many numbers have its shape, so it is one only if a message stands behind it.
    """
    (protocol,) = struct.unpack_from("<Q", data.ljust(8, b"\0"))
    if protocol >= _MAX_PROTOCOL and protocol not in _PROTOCOLS:
        return None
    if len(data) < _RAFT.size:
        return "more"
    _, words, request, _, _, _ = _DQLITE.unpack_from(data.ljust(_DQLITE.size, b"\0"))
    _, _, address_length = _RAFT.unpack_from(data)
    if request == table.DQLITE_CONNECT and 1 < words <= _MAX_ADDRESS // 8:
        start, length = _DQLITE.size, words * 8 + 16
    elif 0 < address_length <= _MAX_ADDRESS:
        start, length = _RAFT.size, _RAFT.size + address_length
    else:
        return None
    if len(data) < length:
        return "more"
    if protocol not in _PROTOCOLS:
        return BrokenHandshake("protocol", f"protocol {protocol}, not 1", length)
    return BrokenHandshake("address", _wrong_address(data[start:length]), length)


def _wrong_address(data: bytes) -> str:
    """What is wrong with the bytes of an address that `recognise` does not take for one."""
    address, nul, _ = data.partition(b"\0")
    if not nul:
        return f"an address of {len(data)} bytes without a NUL at its end"
    if len(data) % 8:
        return f"an address of {len(data)} bytes, no multiple of 8"
    if not address:
        return "an address without a character"
    return f"an address of {len(address)} characters in {len(data)} bytes, or one that is no text"


def encode_handshake(kind: HandshakeKind, id_: int, address: str, protocol: int = 1) -> bytes:
    """Encode a handshake with zero padding; raises struct.error when the id is no unsigned 64-bit integer."""
    padded = pad(address.encode() + b"\0")
    if kind == "raft":
        return _RAFT.pack(protocol, id_, len(padded)) + padded
    return _DQLITE.pack(protocol, len(padded) // 8 + 1, table.DQLITE_CONNECT, 0, 0, id_) + padded
