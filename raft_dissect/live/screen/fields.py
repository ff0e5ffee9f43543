"""A message field by field: where each one stands, its bytes, its value and its meaning, from the wire table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect import wire
from raft_dissect.report.escape import wire_text
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raft_dissect.live.screen.picture import Seen

_MOST = 64
"""Entries or servers that are shown one by one."""


class FieldLine(NamedTuple):
    """One field; a line without a name is a remark."""

    offset: int | None
    """From the first byte of the message."""
    size: int
    """Bytes."""
    name: str
    value: str
    meaning: str


def fields(seen: Seen) -> list[FieldLine]:
    """Preamble and header of a message, as far as they are known."""
    preamble = seen.preamble
    words = (preamble.type, None, preamble.version, None, preamble.header_length)
    lines = []
    offset = 0
    for field, word in zip(table.PREAMBLE, words, strict=True):
        value = "not zero" if not preamble.reserved_zero else "0"
        lines.append(FieldLine(offset, field.size, field.name, value if word is None else str(word), field.meaning))
        offset += field.size
    try:
        form = wire.form_of(preamble.type, preamble.version, seen.header, preamble.header_length, seen.layout)
    except wire.MalformedError as error:
        return [*lines, _remark(str(error))]
    if form is None:
        return [*lines, _remark(f"the layout of {seen.name} is not known")]
    lines += _header(form, seen)
    if len(seen.header) < preamble.header_length:
        lines.append(_remark(f"only {len(seen.header):,} of {preamble.header_length:,} bytes of the header are here"))
    if seen.payload_length:
        at = table.PREAMBLE_LENGTH + preamble.header_length
        lines.append(FieldLine(at, seen.payload_length, "payload", f"{seen.payload_length:,} bytes", ""))
    if seen.missing != 0:
        missing = "bytes" if seen.missing is None else f"{seen.missing:,} bytes"
        lines.append(_remark(f"{missing} of this message are not in the capture"))
    return lines


def _header(form: table.Form, seen: Seen) -> Iterator[FieldLine]:
    header, at = seen.header, 0
    size = 0  # of the part of variable size, which a field before it says
    for field in form.fields:
        if field.kind == "entries":
            yield from _entries(header[at : at + size * table.ENTRY_LENGTH], at, size)
            at += size * table.ENTRY_LENGTH
            continue
        if field.kind == "configuration":
            yield from _servers(header[at : at + size], at, size)
            at += size
            continue
        data = header[at : at + field.size]
        if len(data) < field.size:
            return
        if field.kind in ("count", "length"):
            size = int.from_bytes(data, "little")
        yield FieldLine(table.PREAMBLE_LENGTH + at, field.size, field.name, _value(field, data), field.meaning)
        at += field.size


def _value(field: table.Field, data: bytes) -> str:
    number = int.from_bytes(data, "little")
    if field.kind == "unused":
        return "0" if not number else f"0x{data.hex()}"
    if field.kind == "boolean":
        return "true" if number else "false"
    if field.kind == "bits":
        names = [name for bit, name in enumerate(field.bits) if number >> bit & 1]
        return f"{number} ({', '.join(names)})" if names else str(number)
    return str(number)


def _entries(data: bytes, at: int, count: int) -> Iterator[FieldLine]:
    size = table.ENTRY_LENGTH
    whole = min(len(data) // size, _MOST)
    for number in range(whole):
        here = data[number * size : (number + 1) * size]
        term, type_, length = (int.from_bytes(here[a:b], "little") for a, b in ((0, 8), (8, 9), (12, 16)))
        kind = table.ENTRY_TYPES.get(type_, str(type_))
        told = f"term {term}, {kind}, {length:,} bytes"
        yield FieldLine(table.PREAMBLE_LENGTH + at + number * size, size, f"entry {number + 1}", told, "")
    if count > whole:
        yield _remark(f"and {count - whole:,} more entries")


def _servers(data: bytes, at: int, size: int) -> Iterator[FieldLine]:
    try:
        servers: Sequence[wire.Server] = wire.decode_configuration(data)
    except wire.MalformedError as error:
        servers = ()
        yield _remark(f"configuration: {error}" if len(data) == size else "the configuration is not whole")
    yield FieldLine(table.PREAMBLE_LENGTH + at, size, "configuration", f"{len(servers)} servers", "")
    for server in servers[:_MOST]:
        told = f"{server.id} {wire_text(server.address)} {server.role_name}"
        yield FieldLine(None, 0, "server", told, "id, address and role")
    if len(servers) > _MOST:
        yield _remark(f"and {len(servers) - _MOST:,} more servers")


def _remark(text: str) -> FieldLine:
    return FieldLine(None, 0, "", text, "")
