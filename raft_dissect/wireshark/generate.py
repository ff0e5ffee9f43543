"""Make the Wireshark dissector, craft.lua: the tables of it from the wire table, the rest from the parts in lua/.

python -m raft_dissect.wireshark.generate            write craft.lua
python -m raft_dissect.wireshark.generate --check    exit with 1 if it is not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FOLDER = Path(__file__).parent
SCRIPT = FOLDER / "craft.lua"
PARTS = (
    "head",
    "octets",
    "protocol",
    "headers",
    "openings",
    "answers",
    "framing",
    "words",
    "tree",
    "dissector",
    "statistics",
)
"""In this order, each a file in lua/; the tables stand behind the first."""

_VARIABLE = ("entries", "configuration", "address")
_NAMES: Mapping[str, tuple[str, Mapping[int, str]]] = {
    "craft.type": ("MESSAGE_NAMES", table.MESSAGE_NAMES),
    "craft.entry.type": ("ENTRY_TYPES", table.ENTRY_TYPES),
    "craft.server.role": ("ROLES", table.ROLES),
    "craft.handshake.type": ("DQLITE_REQUESTS", table.DQLITE_REQUESTS),
}
"""Of fields whose values have names: what their table is called."""


class Filter(NamedTuple):
    """One field as Wireshark knows it."""

    name: str
    """As display filters spell it."""
    type: str
    """As Lua's ProtoField spells it."""
    meaning: str
    where: str
    """The messages or structures that have it."""
    title: str = ""

    @property
    def label(self) -> str:
        """The field's name for people."""
        words = self.name.rpartition(".")[2].replace("_", " ").split()
        words = ["number", "of", *words[1:]] if words[0] == "n" else words
        spelled = ["ID" if word == "id" else word for word in words]
        return self.title or " ".join([spelled[0][0].upper() + spelled[0][1:], *spelled[1:]])


class Expert(NamedTuple):
    """One remark, Wireshark's expert info."""

    name: str
    """As display filters spell it."""
    key: str
    """What the parts in lua/ call it."""
    group: str
    severity: str
    meaning: str


GENERATED = (
    Filter("craft.layouts", "string", "labels of the layouts that can have written the message", "every message"),
    Filter("craft.dialect", "string", "canonical or cowsql, where the two write different bytes", "every message"),
    Filter("craft.payload_length", "uint64", "bytes that follow the header", "every message"),
    Filter("craft.partial", "bool", "whether the message goes on where it cannot be seen", "a message that is cut"),
    Filter("craft.sender_id", "uint64", "id of the server that sent the message, from its handshake", "every message"),
    Filter(
        "craft.receiver_id",
        "uint64",
        "id of the server that listens at the message's destination, from its own handshake",
        "every message",
    ),
    Filter("craft.response_in", "framenum", "frame of the result of this request", "requests", "Response in"),
    Filter("craft.response_to", "framenum", "frame of the request of this result", "results", "Response to"),
    Filter("craft.response_time", "relative_time", "from the request to this result", "results"),
    Filter("craft.extra", "bytes", "what the header holds behind the fields of its layout", "a header of odd length"),
    Filter("craft.data", "bytes", "the snapshot", "InstallSnapshot", "Snapshot"),
    Filter("craft.entry", "none", "one entry with everything of it", "AppendEntries"),
    Filter("craft.entry.index", "uint64", "index of the entry: prev_log_index and its place", "AppendEntries"),
    Filter("craft.entry.data", "bytes", "the entry's data", "AppendEntries"),
    Filter("craft.configuration", "none", "the servers of the cluster", "InstallSnapshot, changes"),
    Filter("craft.configuration.padding", "bytes", "bytes behind the last server", "configuration"),
    Filter("craft.server", "none", "one server", "configuration"),
    Filter("craft.handshake", "string", "raft or dqlite", "handshake"),
    Filter("craft.handshake.padding", "bytes", "bytes behind the address", "handshake"),
    Filter("craft.client", "uint8", "first request of a client of dqlite on the same port", "no Raft"),
    Filter("craft.http", "string", "first line of the HTTP request or answer before the handshake", "HTTP upgrade"),
    Filter("craft.passed_over", "uint64", "bytes passed over in search of a message", "where framing was lost"),
    Filter("craft.gap", "uint64", "bytes that are missing before this segment", "where the capture has a hole"),
    Filter("craft.payload_of", "framenum", "frame that has the header of the message that goes on here", "payload"),
)
"""What the dissector says beside the fields of the wire table."""

EXPERTS = (
    Expert("craft.malformed", "malformed", "malformed", "error", "What no release writes like this"),
    Expert("craft.malformed_handshake", "refused_handshake", "malformed", "error", "A handshake that no server takes"),
    Expert("craft.rejection", "rejected", "response_code", "warn", "The follower rejects entries or a snapshot"),
    Expert("craft.refusal", "not_granted", "response_code", "note", "The vote is not granted"),
    Expert("craft.stale", "stale", "security", "chat", "Unused bytes that carry memory of the sender"),
    Expert("craft.reserved", "reserved", "protocol", "warn", "Reserved bytes of the preamble that are not zero"),
    Expert("craft.reserved_type", "reserved_type", "undecoded", "warn", "A type of message that no release sends"),
    Expert("craft.odd_length", "odd_length", "protocol", "warn", "A header of a length that no release writes"),
    Expert("craft.odd_value", "odd_value", "protocol", "warn", "A value that no release writes"),
    Expert("craft.unaligned", "unaligned", "protocol", "warn",
           "Receivers take the entries behind this one from the wrong place"),
    Expert("craft.partial.note", "partial", "reassemble", "note", "The message is not all here"),
    Expert("craft.gap.note", "gap", "sequence", "warn", "Bytes are missing before this segment"),
    Expert("craft.passed_over.note", "passed_over", "sequence", "note",
           "Bytes were passed over before this message, since framing was lost"),
    Expert("craft.transfer", "transfer", "sequence", "chat", "The leader hands its leadership over"),
    Expert("craft.many", "many", "undecoded", "note", "More entries or servers than the tree can hold"),
)  # fmt: skip
"""What the dissector remarks."""

_GENERATED_NAMES: Mapping[str, tuple[str, Mapping[int, str]]] = {
    "craft.client": _NAMES["craft.handshake.type"],
}


def _abbreviation(prefix: str, field: table.Field) -> str:
    return f"{prefix}.{field.name}"


def _preamble(field: table.Field) -> str:
    """The reserved bytes of the preamble have a longer name, because results have reserved bytes too."""
    return _abbreviation("craft.preamble" if field.kind == "unused" else "craft", field)


_STRUCTURES = (
    ("craft.entry", "entry", table.ENTRY),
    ("craft.configuration", "configuration", table.CONFIGURATION),
    ("craft.server", "configuration", table.SERVER),
    ("craft.handshake", "raft handshake", table.RAFT_HANDSHAKE),
    ("craft.handshake", "dqlite handshake", table.DQLITE_HANDSHAKE),
)


def _places() -> Iterator[tuple[str, str, table.Field]]:
    """Every field of the wire table with its name in filters and where it stands."""
    for field in table.PREAMBLE:
        yield _preamble(field), "every message", field
    for message in table.MESSAGES:
        for form in message.forms:
            for field in form.fields:
                yield _abbreviation("craft", field), message.name, field
    for prefix, where, fields in _STRUCTURES:
        for field in fields:
            yield _abbreviation(prefix, field), where, field


def _type_of(fields: Iterable[table.Field]) -> str:
    kinds = {field.kind for field in fields}
    sizes = {field.size for field in fields}
    if kinds == {"address"}:
        return "string"
    if kinds == {"unused"}:
        return "bytes"
    if "boolean" in kinds:
        return "bool"
    if kinds == {"bits"}:
        return "hex"
    (size,) = sizes if len(sizes) == 1 else (8,)
    return f"uint{size * 8}"


def filters() -> list[Filter]:
    """All fields, those of the wire table first."""
    by_name: dict[str, list[tuple[str, table.Field]]] = {}
    for name, where, field in _places():
        if field.kind not in ("entries", "configuration"):
            by_name.setdefault(name, []).append((where, field))
        for bit in field.bits:
            meanings = dict(part.split(": ", 1) for part in field.meaning.split("; ") if ": " in part)
            boolean = table.Field(bit, field.size, meanings[bit], "boolean")
            by_name.setdefault(f"craft.{bit}", []).append((where, boolean))
    found = []
    for name, places in by_name.items():
        meanings_of = dict.fromkeys(field.meaning for _, field in places)
        wheres = dict.fromkeys(where for where, _ in places)
        kind = _type_of([field for _, field in places])
        found.append(Filter(name, kind, "; or ".join(meanings_of), ", ".join(wheres)))
    return [*found, *GENERATED]


def experts() -> tuple[Expert, ...]:
    """All remarks."""
    return EXPERTS


# Lua's spelling


def _quoted(text: str) -> str:
    assert text.isascii()
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\{ord(c):03}" for c in text) + '"'


def _names(name: str, values: Mapping[int, str]) -> str:
    inside = ", ".join(f"[{number}] = {_quoted(text)}" for number, text in values.items())
    return f"local {name} = {{ {inside} }}\n"


def _fields(name: str, fields: Iterable[table.Field]) -> Iterator[str]:
    """The fields of a structure, one a line."""
    for field in fields:
        spelled = _preamble(field) if name == "preamble" else _abbreviation(name, field)
        bits = ", ".join(map(_quoted, field.bits))
        more = f", bits = {{ {bits} }}" if bits else ""
        yield f"{{ name = {_quoted(spelled)}, size = {field.size}, kind = {_quoted(field.kind)}{more} }},"


def _structure(name: str, prefix: str, fields: Iterable[table.Field]) -> str:
    return f"local {name} = {{\n" + "".join(f"  {line}\n" for line in _fields(prefix, fields)) + "}\n"


def _form(form: table.Form) -> Iterator[str]:
    """One form; its fields are in two parts, before and behind the one of variable size."""
    variable = [place for place, field in enumerate(form.fields) if field.kind in _VARIABLE]
    split = variable[0] if variable else len(form.fields)
    head, tail = form.fields[:split], form.fields[split + 1 :]
    labels = [layout for layout in table.LAYOUTS if layout.label in form.layouts]
    dialects = {layout.dialect for layout in labels}
    stale = [layout.label for layout in labels if layout.zeroed == "nothing"]
    yield "{"
    yield f"  version = {form.version},"
    yield f"  layouts = {_quoted(' '.join(layout.label for layout in labels))},"
    yield f"  stale = {_quoted(' '.join(stale))},"
    if len(dialects) == 1:
        yield f"  dialect = {_quoted(dialects.pop())},"
    if variable:
        yield f"  variable = {_quoted(form.fields[split].kind)},"
    for name, fields in (("head", head), ("tail", tail)):
        yield f"  {name}_size = {sum(field.size for field in fields)},"
        yield f"  {name} = {{"
        yield from (f"    {line}" for line in _fields("craft", fields))
        yield "  },"
    yield "},"


def _messages() -> str:
    lines = ["local MESSAGES = {"]
    for message in table.MESSAGES:
        lines.append(f"  [{message.number}] = {{")
        lines.append(f"    name = {_quoted(message.name)},")
        lines.append("    forms = {")
        lines += [f"      {line}" for form in message.forms for line in _form(form)]
        lines.append("    },")
        lines.append("  },")
    return "\n".join([*lines, "}\n"])


def _filters() -> str:
    lines = ["local FIELDS = {"]
    for each in filters():
        named = {**_NAMES, **_GENERATED_NAMES}.get(each.name)
        values = f", values = {named[0]}" if named else ""
        lines.append(
            f"  {{ name = {_quoted(each.name)}, type = {_quoted(each.type)}, title = {_quoted(each.label)}{values},"
        )
        lines.append(f"    meaning = {_quoted(each.meaning)} }},")
    return "\n".join([*lines, "}\n"])


def _experts() -> str:
    lines = ["local EXPERTS = {"]
    for each in EXPERTS:
        lines.append(
            f"  {{ name = {_quoted(each.name)}, key = {_quoted(each.key)}, group = {_quoted(each.group.upper())},"
        )
        lines.append(f"    severity = {_quoted(each.severity.upper())}, meaning = {_quoted(each.meaning)} }},")
    return "\n".join([*lines, "}\n"])


def tables() -> str:
    """The wire table in Lua."""
    constants = {
        "APPEND_ENTRIES": table.APPEND_ENTRIES,
        "APPEND_ENTRIES_RESULT": table.APPEND_ENTRIES_RESULT,
        "REQUEST_VOTE": table.REQUEST_VOTE,
        "REQUEST_VOTE_RESULT": table.REQUEST_VOTE_RESULT,
        "INSTALL_SNAPSHOT": table.INSTALL_SNAPSHOT,
        "TIMEOUT_NOW": table.TIMEOUT_NOW,
        "PREAMBLE_LENGTH": table.PREAMBLE_LENGTH,
        "ENTRY_LENGTH": table.ENTRY_LENGTH,
        "MAX_HEADER_LENGTH": table.MAX_HEADER_LENGTH,
        "CHANGE": table.CHANGE,
        "COMMAND": table.COMMAND,
        "CONFIGURATION_FORMAT": table.CONFIGURATION_FORMAT,
        "DQLITE_CONNECT": table.DQLITE_CONNECT,
    }
    parts = ["-- The wire table.\n", f"local VERSION = {_quoted(_version())}\n"]
    parts += [f"local {name} = {value}\n" for name, value in constants.items()]
    protocols = (table.DQLITE_PROTOCOL, table.DQLITE_PROTOCOL_LEGACY)
    words = ", ".join(_bytes(number.to_bytes(8, "little")) for number in protocols)
    parts.append(f"local PROTOCOLS = {{ {words} }}\n")
    for name, values in {**_NAMES, **_GENERATED_NAMES}.values():
        spelled = _names(name, values)
        if spelled not in parts:
            parts.append(spelled)
    labels = ", ".join(_quoted(layout.label) for layout in table.LAYOUTS)
    parts.append(f"local LAYOUTS = {{ {labels} }}\n")
    parts.append(_structure("PREAMBLE", "preamble", table.PREAMBLE))
    for name, prefix, fields in (
        ("ENTRY", "craft.entry", table.ENTRY),
        ("CONFIGURATION", "craft.configuration", table.CONFIGURATION),
        ("SERVER", "craft.server", table.SERVER),
        ("RAFT_HANDSHAKE", "craft.handshake", table.RAFT_HANDSHAKE),
        ("DQLITE_HANDSHAKE", "craft.handshake", table.DQLITE_HANDSHAKE),
    ):
        parts.append(_structure(name, prefix, fields))
    parts.append(_messages())
    parts += [_filters(), _experts()]
    return "\n".join(parts)


def _bytes(data: bytes) -> str:
    return '"' + "".join(f"\\{byte:03}" for byte in data) + '"'


def _version() -> str:
    from raft_dissect import __version__  # the package imports its parts when it is imported itself

    return __version__


def script() -> str:
    """The whole of craft.lua."""
    first, *others = ((FOLDER / "lua" / f"{name}.lua").read_text() for name in PARTS)
    return "\n".join([first, tables(), *others])


def main() -> int:
    """Write craft.lua, or check that it is current."""
    fresh = script()
    current = SCRIPT.read_text() if SCRIPT.exists() else ""
    if fresh == current:
        return 0
    if "--check" in sys.argv:
        print(f"{SCRIPT.name} is not up to date")
        return 1
    SCRIPT.write_text(fresh)
    print(f"{SCRIPT.name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
