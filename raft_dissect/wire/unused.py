"""The bytes of a message that have no meaning, in which some releases send what was in their memory before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from raft_dissect.wire import table
from raft_dissect.wire.configuration import configuration_length
from raft_dissect.wire.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raft_dissect.wire.codec import Preamble

UnusedKind = Literal["trailer", "entry", "configuration", "reserved"]


class Unused(NamedTuple):
    """Unused bytes of one kind in one message."""

    kind: UnusedKind
    """`trailer` the last word of a header, `entry` those of all entry headers, `configuration` behind its last server,
    `reserved` in the results of cowsql/raft."""
    data: bytes


def _size(fields: tuple[table.Field, ...]) -> int:
    return sum(field.size for field in fields)


def _unused_span(fields: tuple[table.Field, ...]) -> tuple[tuple[int, int], ...]:
    spans = []
    offset = 0
    for field in fields:
        if field.kind == "unused":
            spans.append((offset, offset + field.size))
        offset += field.size
    return tuple(spans)


_ENTRIES = _size(table.MESSAGES[table.APPEND_ENTRIES - 1].forms[0].fields) - 8
"""Where the entries of AppendEntries begin: all other fields but the trailer stand before them."""
_COUNT = slice(_ENTRIES - 8, _ENTRIES)
_CONFIGURATION = _size(table.MESSAGES[table.INSTALL_SNAPSHOT - 1].forms[0].fields) - 8
"""The same of the configuration of InstallSnapshot, behind which only the length of the snapshot stands."""
_LENGTH = slice(_CONFIGURATION - 8, _CONFIGURATION)
((_FIRST, _LAST),) = _unused_span(table.ENTRY)
_RESERVED = {
    (message.number, form.version, _size(form.fields)): _unused_span(form.fields)
    for message in table.MESSAGES
    for form in message.forms
    if message.number not in (table.APPEND_ENTRIES, table.INSTALL_SNAPSHOT)
}


def unused_bytes(preamble: Preamble, header: bytes) -> Iterator[Unused]:
    """The unused bytes of a complete header that does not contradict itself."""
    if preamble.type == table.APPEND_ENTRIES:
        end = _ENTRIES + int.from_bytes(header[_COUNT], "little") * table.ENTRY_LENGTH
        if end > _ENTRIES:
            step = table.ENTRY_LENGTH
            columns = (header[start:end:step] for start in range(_ENTRIES + _FIRST, _ENTRIES + _LAST))
            yield Unused("entry", b"".join(columns))
        yield Unused("trailer", header[end:])
    elif preamble.type == table.INSTALL_SNAPSHOT:
        length = int.from_bytes(header[_LENGTH], "little")
        yield Unused("configuration", configuration_padding(header[_CONFIGURATION : _CONFIGURATION + length]))
        yield Unused("trailer", header[_CONFIGURATION + length + 8 :])
    else:
        spans = _RESERVED.get((preamble.type, preamble.version, preamble.header_length), ())
        if spans:
            yield Unused("reserved", b"".join(header[start:end] for start, end in spans))


def configuration_padding(data: bytes) -> bytes:
    """What stands behind the last server of a configuration; nothing where it does not decode."""
    try:
        return data[configuration_length(data) :]
    except MalformedError:
        return b""
