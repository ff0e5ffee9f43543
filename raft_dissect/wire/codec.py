"""Decode and encode RPC messages, driven by the wire table."""

from __future__ import annotations

import struct
from functools import cache
from itertools import starmap
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.wire import table
from raft_dissect.wire.configuration import Server, decode_configuration, encode_configuration
from raft_dissect.wire.errors import MalformedError
from raft_dissect.wire.table import APPEND_ENTRIES, APPEND_ENTRIES_RESULT, INSTALL_SNAPSHOT, Dialect, Field, Form

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PREAMBLE_STRUCT = struct.Struct("<BBB5sQ")
ENTRY_STRUCT = struct.Struct("<QB3xI")
_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Preamble(NamedTuple):
    """The 16 bytes before every message's header (protocol document, section 2)."""

    type: int
    version: int
    header_length: int
    """Bytes."""
    reserved_zero: bool
    """Whether the reserved bytes are zero, as every release writes them."""


class Entry(NamedTuple):
    """One entry header of an AppendEntries message (protocol document, section 4.1)."""

    term: int
    type: int
    """1 command, 2 barrier, 3 change."""
    size: int
    """Bytes of data in the payload."""

    @property
    def type_name(self) -> str | int:
        """The type's name, or its number if it has none."""
        return table.ENTRY_TYPES.get(self.type, self.type)


_size_of = attrgetter("size")


class Header(NamedTuple):
    """A decoded message header."""

    fields: dict[str, int]
    """The message's own fields by their documented names; booleans are bool. Bytes that were not there are absent."""
    entries: tuple[Entry, ...] = ()
    """Of AppendEntries."""
    configuration: tuple[Server, ...] | None = None
    """Of InstallSnapshot; None when it does not decode or is not all there."""
    payload_length: int | None = 0
    """Bytes that follow the header; None when the part of the header that says so was not there."""
    dialect: Dialect | None = None
    """None where both dialects write the same bytes."""


class DecodedMessage(NamedTuple):
    """A whole message with its payload."""

    preamble: Preamble
    header: Header
    payload: bytes
    length: int
    """Bytes of preamble, header and payload together."""


class _Plan:
    """A form of the wire table, prepared for decoding and encoding."""

    __slots__ = (
        "bits",
        "booleans",
        "dialect",
        "fixed",
        "form",
        "head",
        "head_fields",
        "head_names",
        "tail",
        "tail_fields",
        "variable",
    )

    def __init__(self, form: Form) -> None:
        variable = [i for i, field in enumerate(form.fields) if field.kind in ("entries", "configuration")]
        split = variable[0] if variable else len(form.fields)
        self.form = form
        self.variable = form.fields[split].kind if variable else ""
        self.head_fields = form.fields[:split]
        self.tail_fields = form.fields[split + 1 :]
        self.head = _compile(self.head_fields)
        self.tail = _compile(self.tail_fields)
        self.fixed = self.head.size + self.tail.size
        self.head_names = tuple(field.name for field in self.head_fields if field.kind != "unused")
        self.booleans = tuple(field.name for field in self.head_fields if field.kind == "boolean")
        self.bits = tuple(field for field in self.head_fields if field.kind == "bits")
        dialects = {layout.dialect for layout in table.LAYOUTS if layout.label in form.layouts}
        self.dialect = dialects.pop() if len(dialects) == 1 else None


def _compile(fields: Iterable[Field]) -> struct.Struct:
    """A struct that reads the fields with a meaning and skips unused bytes."""
    return struct.Struct("<" + "".join(f"{f.size}x" if f.kind == "unused" else _FORMATS[f.size] for f in fields))


_PLANS: dict[int, tuple[_Plan, ...]] = {
    message.number: tuple(_Plan(form) for form in message.forms) for message in table.MESSAGES
}
APPEND_ENTRIES_HEAD = _PLANS[APPEND_ENTRIES][0].head
"""Of AppendEntries in every form: term, prev_log_index, prev_log_term, leader_commit, n_entries; the entries follow."""
APPEND_ENTRIES_RESULT_HEAD = _PLANS[APPEND_ENTRIES_RESULT][0].head
"""Of AppendEntriesResult in every form: term, rejected, last_log_index."""
_ENTRIES_START = APPEND_ENTRIES_HEAD.size
_VERSIONS = {number: {plan.form.version for plan in plans} for number, plans in _PLANS.items()}


_STALE_TRAILERS = frozenset(layout.label for layout in table.LAYOUTS if layout.zeroed == "nothing")


def _index_by_length() -> dict[tuple[int, int, int], _Plan]:
    """The newest form of each (type, version, header length); forms of variable size are not in it."""
    index: dict[tuple[int, int, int], _Plan] = {}
    for number, plans in _PLANS.items():
        for plan in plans:
            if not plan.variable:
                index[number, plan.form.version, plan.fixed] = plan
    return index


_BY_LENGTH = _index_by_length()


def decode_preamble(data: bytes | bytearray, offset: int = 0) -> Preamble | None:
    """Decode the 16 bytes at `offset`; None when there are fewer."""
    if len(data) - offset < table.PREAMBLE_LENGTH:
        return None
    type_, reserved1, version, reserved2, header_length = PREAMBLE_STRUCT.unpack_from(data, offset)
    return Preamble(type_, version, header_length, reserved1 == 0 and reserved2 == b"\0\0\0\0\0")


def encode_preamble(type_: int, version: int, header_length: int) -> bytes:
    """Encode a preamble with zero reserved bytes."""
    return PREAMBLE_STRUCT.pack(type_, 0, version, bytes(5), header_length)


def payload_length(type_: int, header: bytes) -> int:
    """Bytes that follow a complete header.

    Raises MalformedError when the header contradicts itself, which includes being too short for its type.
    """
    if type_ == APPEND_ENTRIES:
        n_entries = _count_entries(header)
        if not n_entries:
            return 0
        start = _PLANS[type_][0].head.size
        return sum(
            size for _, _, size in ENTRY_STRUCT.iter_unpack(header[start : start + ENTRY_STRUCT.size * n_entries])
        )
    if type_ == INSTALL_SNAPSHOT:
        return _data_length(header)
    plans = _PLANS.get(type_, ())
    if plans and len(header) < plans[0].fixed:
        raise MalformedError(f"a header of {len(header)} bytes is too short for {table.MESSAGE_NAMES[type_]}")
    return 0


def _count_entries(header: bytes) -> int:
    """The number of entries of a complete AppendEntries header."""
    start = _PLANS[APPEND_ENTRIES][0].head.size
    if len(header) < start:
        raise MalformedError(f"a header of {len(header)} bytes is too short for AppendEntries")
    n_entries = int.from_bytes(header[start - 8 : start], "little")
    if n_entries * ENTRY_STRUCT.size > len(header) - start:
        raise MalformedError(f"{n_entries} entries do not fit into a header of {len(header)} bytes", start - 8)
    return n_entries


def _data_length(header: bytes) -> int:
    """The size of the snapshot of a complete InstallSnapshot header."""
    start = _PLANS[INSTALL_SNAPSHOT][0].head.size
    conf_length = int.from_bytes(header[start - 8 : start], "little")
    if len(header) < start or start + conf_length + 8 > len(header):
        raise MalformedError(
            f"a configuration of {conf_length} bytes does not fit into a header of {len(header)} bytes",
            start - 8,
        )
    return int.from_bytes(header[start + conf_length : start + conf_length + 8], "little")


def decode_header(
    type_: int, version: int, header: bytes, header_length: int | None = None, layout: str | None = None
) -> Header:
    """Decode a header, of which the end may be missing.

    `header_length` is what the preamble says (bytes), by default the length of `header`. `layout` asks for one of
    the table's layouts; it is followed where the bytes fit it, otherwise the newest layout that fits is taken. A
    header that is longer than any known form is read like the longest one, as real receivers do.
    Raises MalformedError when a complete header contradicts itself or is too short for its type.
    """
    if header_length is None:
        header_length = len(header)
    plan = _BY_LENGTH.get((type_, version, header_length)) if layout is None else None
    if plan is None:
        plan = _select(type_, version, header_length, header, layout)
    if plan is None:
        return Header({}, payload_length=None)
    if len(header) < header_length:
        return _decode_part(plan, header, header_length)
    if not plan.variable:
        return Header(_decode_head(plan, header), (), None, 0, plan.dialect)
    if plan.variable == "entries":
        n_entries = _count_entries(header)
        entries = _decode_entries(header, plan.head.size, n_entries) if n_entries else ()
        return Header(_decode_head(plan, header), entries, None, sum(map(_size_of, entries)), plan.dialect)
    size = payload_length(type_, header)
    fields = _decode_head(plan, header)
    start = plan.head.size
    servers = _servers_or_none(header[start : start + fields.pop("conf_length")])
    return Header(fields, (), servers, size, plan.dialect)


def form_of(
    type_: int, version: int, header: bytes, header_length: int | None = None, layout: str | None = None
) -> Form | None:
    """The form of the wire table by which `decode_header` reads a header; None of a message whose layout is unknown."""
    plan = _select(type_, version, len(header) if header_length is None else header_length, header, layout)
    return None if plan is None else plan.form


def _select(type_: int, version: int, header_length: int, header: bytes, layout: str | None) -> _Plan | None:
    plans = _PLANS.get(type_, ())
    if not plans:
        return None
    if plans[0].variable:
        return _select_variable(plans, header)
    if layout is not None:
        for plan in plans:
            if layout in plan.form.layouts and plan.form.version == version and plan.fixed == header_length:
                return plan
    return _BY_LENGTH.get((type_, version, header_length)) or _longest(plans, type_, version, header_length)


def _longest(plans: tuple[_Plan, ...], type_: int, version: int, header_length: int) -> _Plan:
    """For a length that no release writes: the longest form that is there, of this version if there is one."""
    there = [plan for plan in plans if plan.fixed <= header_length]
    if not there:
        raise MalformedError(f"a header of {header_length} bytes is too short for {table.MESSAGE_NAMES[type_]}")
    of_version = [plan for plan in there if plan.form.version == version]
    longest = max(plan.fixed for plan in of_version or there)
    return [plan for plan in of_version or there if plan.fixed == longest][-1]


def _select_variable(plans: tuple[_Plan, ...], header: bytes) -> _Plan:
    """The form whose tail has the size that is left after the variable part, else the newest."""
    head = plans[0].head.size
    if len(plans) > 1 and len(header) >= head:
        left = len(header) - head - int.from_bytes(header[head - 8 : head], "little")
        for plan in plans:
            if plan.tail.size == left:
                return plan
    return plans[-1]


def _decode_head(plan: _Plan, header: bytes) -> dict[str, int]:
    fields: dict[str, int] = dict(zip(plan.head_names, plan.head.unpack_from(header), strict=True))
    for name in plan.booleans:
        fields[name] = fields[name] != 0
    for field in plan.bits:
        word = fields.pop(field.name)
        for bit, name in enumerate(field.bits):
            fields[name] = bool(word >> bit & 1)
    return fields


@cache
def _part(plan: _Plan, captured: int) -> _Plan:
    """The fields of a form's head that are whole within the bytes that were captured of it."""
    known: list[Field] = []
    size = 0
    for field in plan.head_fields:
        if size + field.size > captured:
            break
        known.append(field)
        size += field.size
    return _Plan(Form(plan.form.layouts, plan.form.version, tuple(known)))


def _decode_part(plan: _Plan, header: bytes, header_length: int) -> Header:
    """What a header whose end is missing still says."""
    fields = _decode_head(_part(plan, min(len(header), plan.head.size)), header)
    fields.pop("conf_length", None)
    if plan.variable == "configuration":
        return Header(fields, (), None, None, plan.dialect)
    if plan.variable == "entries":
        n_entries = fields.get("n_entries", 0 if header_length < plan.fixed + ENTRY_STRUCT.size else -1)
        captured = min((len(header) - plan.head.size) // ENTRY_STRUCT.size, n_entries)
        entries = _decode_entries(header, plan.head.size, max(captured, 0))
        complete = n_entries == len(entries)
        return Header(fields, entries, None, sum(e.size for e in entries) if complete else None, plan.dialect)
    return Header(fields, dialect=plan.dialect)


def _decode_entries(header: bytes, start: int, n_entries: int) -> tuple[Entry, ...]:
    end = start + n_entries * ENTRY_STRUCT.size
    return tuple(starmap(Entry, ENTRY_STRUCT.iter_unpack(header[start:end])))


def plain_head(type_: int, version: int, header_length: int) -> struct.Struct | None:
    """What reads the words of a header as `Header.fields` has them, where all layouts have them in the same way.

    None where fields are not plain integers, or the length is one that no release writes. Of AppendEntries it reads
    what stands before the entries.
    """
    if type_ == APPEND_ENTRIES:
        return APPEND_ENTRIES_HEAD
    plan = _BY_LENGTH.get((type_, version, header_length))
    return None if plan is None or plan.booleans or plan.bits else plan.head


def entry_words(header: bytes, n_entries: int) -> Iterable[tuple[int, int, int]]:
    """(term, type, size) of each entry of an AppendEntries header that holds so many of them."""
    if n_entries == 1:
        return (ENTRY_STRUCT.unpack_from(header, _ENTRIES_START),)
    return ENTRY_STRUCT.iter_unpack(header[_ENTRIES_START : _ENTRIES_START + n_entries * ENTRY_STRUCT.size])


def entry_terms(header: bytes, n_entries: int) -> Sequence[int]:
    """The terms of the entries of an AppendEntries header that holds so many of them, without decoding the rest."""
    if n_entries == 1:
        return (ENTRY_STRUCT.unpack_from(header, _ENTRIES_START)[0],)
    return [term for term, _, _ in entry_words(header, n_entries)]


def _servers_or_none(data: bytes) -> tuple[Server, ...] | None:
    try:
        return decode_configuration(data)
    except MalformedError:
        return None


def decode_message(data: bytes, offset: int = 0, layout: str | None = None) -> DecodedMessage | None:
    """Decode the whole message at `offset`; None when its end is not there yet.

    Raises MalformedError as `decode_header` does, and for a message type that no release knows.
    """
    preamble = decode_preamble(data, offset)
    if preamble is None:
        return None
    if preamble.type not in table.MESSAGE_NAMES:
        raise MalformedError(f"message type {preamble.type} does not exist")
    start = offset + table.PREAMBLE_LENGTH
    end = start + preamble.header_length
    if len(data) < end:
        return None
    header = decode_header(preamble.type, preamble.version, data[start:end], layout=layout)
    size = header.payload_length or 0
    if len(data) < end + size:
        return None
    return DecodedMessage(preamble, header, data[end : end + size], end + size - offset)


def is_consistent(preamble: Preamble, header: bytes) -> bool:
    """Whether preamble and header are exactly what some release writes, in every byte with a meaning.

    This is what finds framing again in the middle of a stream, so it is stricter than decoding: it wants zero reserved
    bytes, a version byte and a length that go together, only known flags, terms that are not 0, and for entries and
    configurations that they are what servers send. `header` may end early; what is there is judged.
    """
    type_, version, header_length, reserved_zero = preamble
    if not (reserved_zero and is_plausible(type_, version, header_length)):
        return False
    try:
        decoded = decode_header(type_, version, header, header_length)
    except MalformedError:
        return False
    fields = decoded.fields
    if fields.get("term") == 0 or fields.get("candidate_id") == 0:
        return False
    if type_ == APPEND_ENTRIES:
        return _entries_consistent(decoded, header_length)
    if fields.get("last_term", 0) > fields.get("term", 0):
        return False
    if len(header) < header_length:
        return True
    if type_ == INSTALL_SNAPSHOT:
        return bool(decoded.configuration)
    return _flags_known(_BY_LENGTH[type_, version, header_length], header)


def is_plausible(type_: int, version: int, header_length: int) -> bool:
    """Whether some release writes this type with this version byte and a header of this many bytes."""
    if version not in _VERSIONS.get(type_, ()) or header_length > table.MAX_HEADER_LENGTH:
        return False
    if type_ == APPEND_ENTRIES:
        return header_length >= 40 and header_length % 16 in (0, 8)
    if type_ == INSTALL_SNAPSHOT:
        return header_length >= 48 and header_length % 8 == 0
    return (type_, version, header_length) in _BY_LENGTH


def _entries_consistent(decoded: Header, header_length: int) -> bool:
    fields = decoded.fields
    if "n_entries" in fields and header_length - ENTRY_STRUCT.size * fields["n_entries"] not in (40, 48):
        return False
    term = fields.get("term", 0)
    return fields.get("prev_log_term", 0) <= term and all(
        0 < entry.term <= term and entry.type in table.ENTRY_TYPES for entry in decoded.entries
    )


def _flags_known(plan: _Plan, header: bytes) -> bool:
    values = dict(zip(plan.head_names, plan.head.unpack_from(header), strict=True))
    return all(values[name] <= 1 for name in plan.booleans) and all(
        values[field.name] >> len(field.bits) == 0 for field in plan.bits
    )


def writers(preamble: Preamble, header: bytes) -> frozenset[str]:
    """The layouts that can have written a message, by the shape of its header and by its unused bytes.

    Nothing is excluded by bytes that are zero, because stale memory may be zero too.
    """
    type_, version, header_length, _ = preamble
    plans = _PLANS.get(type_, ())
    if not plans:
        return frozenset()
    if plans[0].variable:
        labels = _select_variable(plans, header).form.layouts
        trailer = header[-8:] if len(header) == header_length else b""
        return frozenset(_STALE_TRAILERS.intersection(labels) if any(trailer) else labels)
    return frozenset(
        label
        for plan in plans
        if plan.form.version == version and plan.fixed == header_length
        for label in plan.form.layouts
    )


def encode_message(
    type_: int,
    fields: Mapping[str, int],
    *,
    layout: str = table.LAYOUTS[-1].label,
    entries: Sequence[tuple[int, int, bytes]] = (),
    configuration: Iterable[Server] = (),
    data: bytes = b"",
) -> bytes:
    """Encode a whole message as the releases of `layout` do, with every unused byte zero.

    `fields` are those of `Header.fields`; what is absent is 0. `entries` are (term, type, data) of AppendEntries,
    `configuration` and `data` the servers and bytes of InstallSnapshot. Lengths and counts follow from them.
    Raises KeyError when the layout does not have this message, struct.error when a value does not fit its field.
    """
    plan = _plan_of(type_, layout)
    values = dict(fields)
    values["n_entries"] = len(entries)
    middle, payload = b"", data
    if plan.variable == "entries":
        middle = b"".join(ENTRY_STRUCT.pack(term, kind, len(content)) for term, kind, content in entries)
        payload = b"".join(content for _, _, content in entries)
    elif plan.variable == "configuration":
        middle = encode_configuration(configuration)
    values["conf_length"], values["data_length"] = len(middle), len(data)
    header = _pack(plan.head, plan.head_fields, values) + middle + _pack(plan.tail, plan.tail_fields, values)
    return encode_preamble(type_, plan.form.version, len(header)) + header + payload


def _plan_of(type_: int, layout: str) -> _Plan:
    for plan in _PLANS.get(type_, ()):
        if layout in plan.form.layouts:
            return plan
    raise KeyError(f"layout {layout} has no message of type {type_}")


def _pack(packer: struct.Struct, fields: Iterable[Field], values: Mapping[str, int]) -> bytes:
    return packer.pack(*(_word(field, values) for field in fields if field.kind != "unused"))


def _word(field: Field, values: Mapping[str, int]) -> int:
    if field.kind == "bits":
        return sum(bool(values.get(name, 0)) << bit for bit, name in enumerate(field.bits))
    return int(values.get(field.name, 0))
