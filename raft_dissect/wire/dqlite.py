"""Decode and encode what dqlite and cowsql put into entries and snapshots (protocol document, sections 5 and 6)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.wire.configuration import pad, printable
from raft_dissect.wire.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORMAT = 1
_HEAD = struct.Struct("<BB6x")
_FRAMES = struct.Struct("<QIBxHIHxx")
_COUNT = struct.Struct("<Q")
_SIZES = struct.Struct("<QQ")
_SNAPSHOT = struct.Struct("<QQ")
COMMANDS: dict[int, str] = {1: "OPEN", 2: "FRAMES", 3: "UNDO", 4: "CHECKPOINT"}


class Command(NamedTuple):
    """One command entry of dqlite; what a type does not carry has its default."""

    type: int
    """1 OPEN, 2 FRAMES, 3 UNDO, 4 CHECKPOINT."""
    filename: str = ""
    tx_id: int = 0
    truncate: int = 0
    is_commit: int = 0
    page_size: int = 0
    """Bytes."""
    page_numbers: tuple[int, ...] = ()
    pages: tuple[bytes, ...] = ()


class Database(NamedTuple):
    """One database of a dqlite snapshot."""

    filename: str
    main: bytes
    """The SQLite database file; without the WAL it may be incomplete before dqlite v1.17.0."""
    wal: bytes
    """The SQLite WAL file, empty since dqlite v1.17.0."""


def _text(data: bytes, offset: int) -> tuple[str, int]:
    end = data.find(b"\0", offset)
    if end < 0:
        raise MalformedError("a text has no end", offset)
    return printable(data[offset:end]), offset + (end - offset + 8) // 8 * 8


def _encode_text(text: str) -> bytes:
    return pad(text.encode() + b"\0")


def decode_command(data: bytes) -> Command:
    """Decode the data of a command entry; raises MalformedError when it is not one of dqlite's."""
    if len(data) < _HEAD.size:
        raise MalformedError(f"{len(data)} bytes are too short for a dqlite command")
    format_, type_ = _HEAD.unpack_from(data)
    if format_ != _FORMAT or type_ not in COMMANDS:
        raise MalformedError(f"no dqlite command: format {format_}, type {type_}")
    if COMMANDS[type_] == "UNDO":
        _need(data, _HEAD.size + _COUNT.size)
        return Command(type_, tx_id=_COUNT.unpack_from(data, _HEAD.size)[0])
    filename, offset = _text(data, _HEAD.size)
    if COMMANDS[type_] != "FRAMES":
        return Command(type_, filename)
    _need(data, offset + _FRAMES.size)
    tx_id, truncate, is_commit, _, n_pages, page_size = _FRAMES.unpack_from(data, offset)
    offset += _FRAMES.size
    _need(data, offset + n_pages * (_COUNT.size + page_size))
    numbers = struct.unpack_from(f"<{n_pages}Q", data, offset)
    offset += n_pages * _COUNT.size
    pages = tuple(data[offset + i * page_size : offset + (i + 1) * page_size] for i in range(n_pages))
    return Command(type_, filename, tx_id, truncate, is_commit, page_size, numbers, pages)


def _need(data: bytes, size: int) -> None:
    if len(data) < size:
        raise MalformedError(f"{len(data)} bytes of {size}", len(data))


def encode_command(command: Command) -> bytes:
    """Encode the data of a command entry as dqlite since v1.9.1 does."""
    head = _HEAD.pack(_FORMAT, command.type)
    if COMMANDS[command.type] == "UNDO":
        return head + _COUNT.pack(command.tx_id)
    body = head + _encode_text(command.filename)
    if COMMANDS[command.type] != "FRAMES":
        return body
    n_pages = len(command.page_numbers)
    frames = _FRAMES.pack(command.tx_id, command.truncate, command.is_commit, 0, n_pages, command.page_size)
    return body + frames + struct.pack(f"<{n_pages}Q", *command.page_numbers) + b"".join(command.pages)


def decode_snapshot(data: bytes) -> tuple[Database, ...]:
    """Decode the payload of a dqlite snapshot; raises MalformedError when it is none or is cut."""
    _need(data, _SNAPSHOT.size)
    format_, n_databases = _SNAPSHOT.unpack_from(data)
    if format_ != _FORMAT:
        raise MalformedError(f"dqlite snapshot format {format_}, not 1")
    databases = []
    offset = _SNAPSHOT.size
    for _ in range(n_databases):
        filename, offset = _text(data, offset)
        _need(data, offset + _SIZES.size)
        main_size, wal_size = _SIZES.unpack_from(data, offset)
        offset += _SIZES.size
        _need(data, offset + main_size + wal_size)
        wal = offset + main_size
        databases.append(Database(filename, data[offset:wal], data[wal : wal + wal_size]))
        offset = wal + wal_size
    return tuple(databases)


def encode_snapshot(databases: Sequence[Database]) -> bytes:
    """Encode the payload of a dqlite snapshot."""
    parts = [_SNAPSHOT.pack(_FORMAT, len(databases))]
    for database in databases:
        sizes = _SIZES.pack(len(database.main), len(database.wal))
        parts += [_encode_text(database.filename), sizes, database.main, database.wal]
    return b"".join(parts)
