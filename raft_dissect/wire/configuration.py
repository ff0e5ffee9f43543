"""Decode and encode a configuration: the servers of a cluster with their roles, in snapshots and change entries."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.wire.errors import MalformedError
from raft_dissect.wire.table import CONFIGURATION_FORMAT, ROLES

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEAD = struct.Struct("<BQ")
_ID = struct.Struct("<Q")
_SMALLEST_SERVER = _ID.size + 2


class Server(NamedTuple):
    """One server of a configuration."""

    id: int
    address: str
    """As advertised, usually host:port. Bytes that are not printable text stand as backslash escapes."""
    role: int
    """0 standby, 1 voter, 2 spare; releases before v0.9.13 wrote a boolean here, which reads the same."""

    @property
    def role_name(self) -> str | int:
        """The role's name, or its number if it has none."""
        return ROLES.get(self.role, self.role)


def printable(raw: bytes) -> str:
    """Text from the wire that is safe to show: what is not printable UTF-8 becomes backslash escapes."""
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def decode_configuration(data: bytes) -> tuple[Server, ...]:
    """Decode a configuration, format 1 (protocol document, section 4.4).

    Bytes after the last server are padding of any content. Roles without a name, duplicate servers and an id of 0
    are given as they are: real servers refuse them, a dissector shows them.
    Raises MalformedError when the bytes end before the last server does, or for another format.
    """
    return _decode(data)[0]


def configuration_length(data: bytes) -> int:
    """Bytes of a configuration without the padding behind its last server; raises as `decode_configuration` does."""
    return _decode(data)[1]


def _decode(data: bytes) -> tuple[tuple[Server, ...], int]:
    if len(data) < _HEAD.size:
        raise MalformedError(f"a configuration of {len(data)} bytes is shorter than its first two fields")
    format_, n_servers = _HEAD.unpack_from(data)
    if format_ != CONFIGURATION_FORMAT:
        raise MalformedError(f"configuration format {format_}, not 1")
    if n_servers > (len(data) - _HEAD.size) // _SMALLEST_SERVER:
        raise MalformedError(f"{n_servers} servers do not fit into a configuration of {len(data)} bytes", 1)
    servers = []
    offset = _HEAD.size
    for _ in range(n_servers):
        server, offset = _decode_server(data, offset)
        servers.append(server)
    return tuple(servers), offset


def _decode_server(data: bytes, offset: int) -> tuple[Server, int]:
    start = offset + _ID.size
    end = data.find(b"\0", start) if start <= len(data) else -1
    if end < 0 or end + 1 >= len(data):
        raise MalformedError("the configuration ends inside a server", offset)
    (id_,) = _ID.unpack_from(data, offset)
    return Server(id_, printable(data[start:end]), data[end + 1]), end + 2


def encode_configuration(servers: Iterable[Server]) -> bytes:
    """Encode a configuration, format 1, padded with zeros to a multiple of 8 bytes as cowsql/raft v0.22.1 does."""
    encoded = [_ID.pack(s.id) + s.address.encode() + b"\0" + bytes([s.role]) for s in servers]
    return pad(_HEAD.pack(CONFIGURATION_FORMAT, len(encoded)) + b"".join(encoded))


def pad(data: bytes) -> bytes:
    """Append zeros up to a multiple of 8 bytes."""
    return data + bytes(-len(data) % 8)
