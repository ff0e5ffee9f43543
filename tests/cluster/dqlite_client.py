"""A client of dqlite nodes, in the client protocol of dqlite (docs/protocol.md of dqlite)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from types import TracebackType
    from typing import Self

VERSION = 1
ROLES = ("voter", "standby", "spare")
"""By their numbers in this protocol, which are not those of Raft's configurations."""

LEADER, CLIENT, OPEN, EXECUTE, QUERY, ADD, ASSIGN, REMOVE, DUMP, CLUSTER, TRANSFER = (
    0,
    1,
    3,
    8,
    9,
    12,
    13,
    14,
    15,
    16,
    17,
)
FAILURE, NODE, WELCOME, NODES, DATABASE, RESULT, ROWS, EMPTY, FILES = 0, 1, 2, 3, 4, 6, 7, 8, 9
INTEGER, FLOAT, TEXT, BLOB, NULL = 1, 2, 3, 4, 5
ROWS_END = b"\xff" * 8
ROWS_GO_ON = b"\xee" * 8

Value = int | float | str | bytes | None


class DqliteError(Exception):
    """A request that a node refused: its code and its message."""


class Client:
    """A connection to one node, for one database at a time. Raises DqliteError when the node refuses something."""

    def __init__(self, connected: socket.socket, id_: int = 1) -> None:
        """Takes the socket over; `id_` is what the client calls itself."""
        self._socket = connected
        self._input = connected.makefile("rb")
        self._database = 0
        self._socket.sendall(_u64(VERSION))
        self._ask(CLIENT, _u64(id_), WELCOME)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._input.close()
        self._socket.close()

    def leader(self) -> tuple[int, str]:
        """The id and the address of the leader that this node knows; 0 and nothing when it knows none."""
        answer = self._ask(LEADER, _u64(0), NODE)
        return answer.u64(), answer.text()

    def nodes(self) -> list[tuple[int, str, str]]:
        """Id, address and role of each node, as the configuration of this one has them."""
        answer = self._ask(CLUSTER, _u64(1), NODES)
        return [(answer.u64(), answer.text(), ROLES[answer.u64()]) for _ in range(answer.u64())]

    def open(self, database: str) -> None:
        """Use a database of this name from now on, which is made if there is none."""
        self._database = self._ask(OPEN, _text(database) + _u64(0) + _text(""), DATABASE).u32()

    def execute(self, sql: str, *values: Value) -> int:
        """Run a statement, with values for its question marks; gives the number of rows that it changed."""
        answer = self._ask(EXECUTE, _u64(self._database) + _text(sql) + _parameters(values), RESULT)
        answer.u64()
        return answer.u64()

    def query(self, sql: str, *values: Value) -> list[tuple[Value, ...]]:
        """The rows of a SELECT, with values for its question marks."""
        rows: list[tuple[Value, ...]] = []
        answer = self._ask(QUERY, _u64(self._database) + _text(sql) + _parameters(values), ROWS)
        while not self._take_rows(answer, rows):
            answer = self._answer(ROWS)
        return rows

    def dump(self, database: str) -> dict[str, bytes]:
        """The files of a database as this node has them: the database itself, and its write-ahead log."""
        answer = self._ask(DUMP, _text(database), FILES)
        return {answer.text(): answer.take(answer.u64()) for _ in range(answer.u64())}

    def add(self, id_: int, address: str) -> None:
        """Have this node, which leads, add another one as a spare."""
        self._ask(ADD, _u64(id_) + _text(address), EMPTY)

    def assign(self, id_: int, role: str) -> None:
        """Have this node, which leads, make another one a `voter`, a `standby` or a `spare`."""
        self._ask(ASSIGN, _u64(id_) + _u64(ROLES.index(role)), EMPTY)

    def remove(self, id_: int) -> None:
        """Have this node, which leads, remove another one."""
        self._ask(REMOVE, _u64(id_), EMPTY)

    def transfer(self, id_: int) -> None:
        """Have this node, which leads, make another voter the leader."""
        self._ask(TRANSFER, _u64(id_), EMPTY)

    def _ask(self, kind: int, body: bytes, expected: int) -> _Body:
        self._socket.sendall(struct.pack("<IBBH", len(body) // 8, kind, 0, 0) + body)
        return self._answer(expected)

    def _answer(self, expected: int) -> _Body:
        words, kind, _, _ = struct.unpack("<IBBH", self._read(8))
        body = _Body(self._read(words * 8))
        if kind == FAILURE:
            raise DqliteError(body.u64(), body.text())
        if kind != expected:
            raise DqliteError(kind, f"an answer of this type, where {expected} was expected")
        return body

    def _read(self, length: int) -> bytes:
        data = self._input.read(length)
        if len(data) != length:
            raise ConnectionResetError("the node closed the connection")
        return data

    @staticmethod
    def _take_rows(answer: _Body, rows: list[tuple[Value, ...]]) -> bool:
        """Whether these were the last ones."""
        columns = answer.u64()
        for _ in range(columns):
            answer.text()
        while (end := answer.peek(8)) not in (ROWS_END, ROWS_GO_ON):
            head = answer.take((columns + 15) // 16 * 8)
            types = [head[number // 2] >> 4 * (number % 2) & 15 for number in range(columns)]
            rows.append(tuple(answer.value(type_) for type_ in types))
        return end == ROWS_END


class _Body:
    """Reads one field of a message's body after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def peek(self, length: int) -> bytes:
        return self._data[self._place : self._place + length]

    def take(self, length: int) -> bytes:
        data = self.peek(length)
        self._place += length
        return data

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def text(self) -> str:
        text = self._data[self._place : self._data.index(b"\0", self._place)]
        self.take(len(text) // 8 * 8 + 8)
        return text.decode()

    def value(self, type_: int) -> Value:
        if type_ == TEXT:
            return self.text()
        if type_ == BLOB:
            length = self.u64()
            return self.take((length + 7) // 8 * 8)[:length]
        word = self.take(8)
        if type_ == INTEGER:
            return int.from_bytes(word, "little", signed=True)
        if type_ == FLOAT:
            number: float = struct.unpack("<d", word)[0]
            return number
        return None


def _u64(number: int) -> bytes:
    return number.to_bytes(8, "little", signed=number < 0)


def _text(text: str) -> bytes:
    data = text.encode()
    return data + bytes(8 - len(data) % 8)


def _parameters(values: tuple[Value, ...]) -> bytes:
    if not values:
        return b""
    encoded: list[tuple[int, bytes]] = [_parameter(value) for value in values]
    head = bytes([len(values), *(type_ for type_, _ in encoded)])
    return head + bytes(-len(head) % 8) + b"".join(data for _, data in encoded)


def _parameter(value: Any) -> tuple[int, bytes]:
    if value is None:
        return NULL, bytes(8)
    if isinstance(value, str):
        return TEXT, _text(value)
    if isinstance(value, bytes):
        return BLOB, _u64(len(value)) + value + bytes(-len(value) % 8)
    if isinstance(value, float):
        return FLOAT, struct.pack("<d", value)
    return INTEGER, _u64(value)
