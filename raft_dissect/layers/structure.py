"""The common ground of all layers, and the structures inside messages: entries, servers, configurations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from scapy.fields import RawVal
from scapy.packet import Packet

from raft_dissect import wire
from raft_dissect.layers.fields import ABSENT, Blob, Content, Part, Several, TerminatedText, part
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from scapy.fields import AnyField


def by_name(fields: Iterable[table.Field]) -> dict[str, table.Field]:
    """The table's fields by their names."""
    return {field.name: field for field in fields}


class Structure(Packet):
    """A structure of the wire table.

    Whatever bytes it is given, it takes what is there and never raises; a field that is not there reads as None. What
    it has dissected it builds again from its fields, byte for byte, so a change in any of them takes effect.
    """

    sizes: ClassVar[Mapping[str, table.Field]] = {}
    """The table's fields by the names that they have here."""

    def width(self, name: str) -> int:
        """The size of a field in bytes."""
        return self.sizes[name].size

    def has(self, name: str) -> bool:  # noqa: ARG002 - messages look at their layout
        """Whether the structure has this field at all."""
        return True

    def ends_in(self, name: str) -> bool:  # noqa: ARG002 - structures of variable size look at it
        """Whether the bytes ended inside this field, which was just read."""
        return False

    def read(self, fields: Iterable[AnyField], s: bytes) -> bytes:
        """Set the fields from bytes, and return what is left; what comes after an absent field is absent too."""
        cut = False
        for field in fields:
            if not self.has(field.name):
                continue
            value: Any = [] if field.islist else ABSENT
            if not cut:
                s, value = field.getfield(self, s)
            self.fields[field.name] = value
            cut = cut or value is ABSENT or self.ends_in(field.name)
        return s

    def do_dissect(self, s: bytes) -> bytes:
        """Scapy's hook: set the fields, return the rest."""
        self.explicit = 1
        return self.read(self.fields_desc, s)

    def value(self, name: str) -> Any:
        """A field's value, or None when it is not there; unlike an attribute it never comes from the next layer."""
        found = self.getfieldval(name) if name in self.fieldtype and self.has(name) else None
        return None if found is ABSENT else found

    def built(self, fields: Iterable[AnyField]) -> bytes:
        """The bytes of some fields."""
        found = b""
        for field in fields:
            value = self.getfieldval(field.name)
            if isinstance(value, RawVal):
                found += bytes(value)
            else:
                found = field.addfield(self, found, value)
        return found

    def built_length(self, *names: str) -> int:
        """How many bytes some fields take."""
        return len(self.built(self.get_field(name) for name in names))

    def shown(self, name: str) -> str:
        """A field's value as show() prints it, with a question mark when it is not there."""
        found = self.value(name)
        if found is None:
            return "?"
        if isinstance(found, bytes):
            return wire.printable(found)
        return str(self.get_field(name).i2repr(self, found))


class Inner(Structure):
    """A structure inside a message, in which no other layer begins."""

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes | None]:
        """Scapy's hook: what is left is no payload."""
        return b"", s


class Element(Inner):
    """One of several structures that follow one another."""

    @classmethod
    def end_of(cls, s: bytes, start: int) -> int:
        """Where the structure that begins at `start` ends, 0 if the bytes end before it does."""
        raise NotImplementedError


class Server(Element):
    """One server of a configuration: `Server(id=1, address="10.0.0.1:9001", role="voter")`."""

    name = "Server"
    sizes = by_name(table.SERVER)
    fields_desc: ClassVar[list[AnyField]] = [
        part(sizes["id"]),
        Part(TerminatedText("address")),
        part(sizes["role"], names=table.ROLES, default=1),
    ]

    @classmethod
    def end_of(cls, s: bytes, start: int) -> int:
        """Where the server that begins at `start` ends, 0 if the bytes end before it does."""
        nul = s.find(b"\0", start + cls.sizes["id"].size)
        return nul + 2 if 0 <= nul < len(s) - 1 else 0

    def mysummary(self) -> str:
        """One line: id, address, role."""
        return f"server {self.shown('id')} at {self.shown('address')} {self.shown('role')}"


def _padding(packet: Structure) -> bytes:
    """Zeros up to a multiple of 8 bytes, as cowsql/raft v0.22.1 writes them."""
    return bytes(-len(packet.built(packet.fields_desc[:-1])) % 8)


class Configuration(Inner):
    """The servers of a cluster: `Configuration(servers=[Server(id=1, address="10.0.0.1:9001")])`."""

    name = "Configuration"
    sizes = by_name(table.CONFIGURATION)
    fields_desc: ClassVar[list[AnyField]] = [
        part(sizes["format"]),
        part(sizes["n_servers"], compute=lambda packet: len(packet.getfieldval("servers"))),
        Several("servers", Server, lambda packet: packet.value("n_servers")),
        Part(Blob("padding", None, _padding)),
    ]

    def mysummary(self) -> str:
        """One line: the number of servers and each server."""
        servers = self.value("servers")
        text = ", ".join(server.mysummary() for server in servers)
        return f"configuration of {len(servers)} servers" + (f": {text}" if text else "")


def as_configuration(data: bytes) -> Configuration | bytes:
    """A configuration as a packet if it decodes, otherwise the bytes."""
    try:
        wire.decode_configuration(data)
    except wire.MalformedError:
        return data
    return Configuration(data)


class Entry(Element):
    """One log entry: `Entry(term=3, type="command", data=b"...")`.

    Its own bytes are the 16 of the entry header; `data` travels in the payload of the message that holds the entry.
    """

    name = "Entry"
    sizes = by_name(table.ENTRY)
    fields_desc: ClassVar[list[AnyField]] = [
        part(sizes["term"]),
        part(sizes["type"], names=table.ENTRY_TYPES, default=1),
        part(sizes["unused"]),
        part(sizes["size"], compute=lambda packet: len(packet.content())),
        Content("data", b""),
    ]

    @classmethod
    def end_of(cls, s: bytes, start: int) -> int:
        """Where the entry header that begins at `start` ends, 0 if the bytes end before it does."""
        return start + table.ENTRY_LENGTH if len(s) >= start + table.ENTRY_LENGTH else 0

    def do_dissect(self, s: bytes) -> bytes:
        """Scapy's hook: the data is not here."""
        self.explicit = 1
        return self.read(self.fields_desc[:-1], s)

    def self_build(self) -> bytes:
        """Scapy's hook: the entry header alone."""
        return self.built(self.fields_desc[:-1])

    def content(self) -> bytes:
        """The entry's data as bytes."""
        return self.built(self.fields_desc[-1:])

    def take(self, data: bytes) -> None:
        """Set the data; that of a change is shown as the configuration that it is."""
        self.fields["data"] = as_configuration(data) if self.value("type") == table.CHANGE else data

    def mysummary(self) -> str:
        """One line: type, term, size."""
        return f"{self.shown('type')} of term {self.shown('term')}, {len(self.content())} bytes"
