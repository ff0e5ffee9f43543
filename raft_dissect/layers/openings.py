"""How a connection begins, as Scapy layers, and what the bytes of a segment are."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from scapy.config import conf

from raft_dissect import wire
from raft_dissect.layers.base import Raft, RaftMessage, certain_message, smallest_header
from raft_dissect.layers.fields import Blob, Part, Text, part
from raft_dissect.layers.structure import Structure, by_name
from raft_dissect.wire import table

if TYPE_CHECKING:
    from scapy.fields import AnyField
    from scapy.packet import Packet


def _padding(packet: Structure) -> bytes:
    """The NUL byte that ends the address, and zeros up to a multiple of 8 bytes."""
    return b"\0" * (8 - packet.built_length("address") % 8)


def _address_length(packet: Structure) -> int:
    return packet.built_length("address", "padding")


class _Handshake(Raft):
    """What a connecting server says of itself, once, before its first message."""

    def do_dissect(self, s: bytes) -> bytes:
        """Scapy's hook: set the fields, return what follows the handshake."""
        self.explicit = 1
        s = self.read(self.fields_desc[:-2], s)
        length = max(self.announced_length(), 0)
        self.read(self.fields_desc[-2:], s[:length])
        return s[length:]

    def announced_length(self) -> int:
        """Bytes of the address with its padding."""
        raise NotImplementedError

    def line(self) -> str:
        """Who connects."""
        return f"{self.name} server {self.shown('id')} at {self.shown('address')}"


class RaftHandshake(_Handshake):
    """The handshake of raft's own transport: `RaftHandshake(id=1, address="10.0.0.1:9001")`."""

    name = "RaftHandshake"
    sizes = by_name(table.RAFT_HANDSHAKE)
    fields_desc: ClassVar[list[AnyField]] = [
        part(sizes["protocol"]),
        part(sizes["id"]),
        part(sizes["address_length"], compute=_address_length),
        Part(Text("address")),
        Part(Blob("padding", None, _padding)),
    ]

    def announced_length(self) -> int:
        """Bytes of the address with its padding."""
        return self.value("address_length") or 0


_PROTOCOLS = {table.DQLITE_PROTOCOL_LEGACY: "legacy"}


class DqliteHandshake(_Handshake):
    """The handshake of dqlite and cowsql: `DqliteHandshake(id=1, address="10.0.0.1:9001")`."""

    name = "DqliteHandshake"
    sizes = by_name(table.DQLITE_HANDSHAKE)
    fields_desc: ClassVar[list[AnyField]] = [
        part(sizes["protocol"], names=_PROTOCOLS),
        part(sizes["words"], compute=lambda packet: 1 - -_address_length(packet) // 8),
        part(sizes["type"], names=table.DQLITE_REQUESTS, default=table.DQLITE_CONNECT),
        part(sizes["schema"]),
        part(sizes["extra"]),
        part(sizes["id"]),
        Part(Text("address")),
        Part(Blob("padding", None, _padding)),
    ]

    def announced_length(self) -> int:
        """Bytes of the address with its padding."""
        return (self.value("words") or 0) * 8 - self.sizes["id"].size


class DqliteClient(Raft):
    """The first request of a dqlite client, which talks to the port of the Raft servers but not Raft."""

    name = "DqliteClient"
    sizes = by_name(table.DQLITE_HANDSHAKE[:5])
    fields_desc: ClassVar[list[AnyField]] = [
        part(sizes["protocol"], names=_PROTOCOLS),
        part(sizes["words"], compute=lambda packet: -(-packet.built_length("body") // 8)),
        part(sizes["type"], names=table.DQLITE_REQUESTS),
        part(sizes["schema"]),
        part(sizes["extra"]),
        Part(Blob("body")),
    ]

    def do_dissect(self, s: bytes) -> bytes:
        """Scapy's hook: set the fields, return what follows the request."""
        self.explicit = 1
        s = self.read(self.fields_desc[:-1], s)
        length = (self.value("words") or 0) * 8
        self.fields["body"] = s[:length]
        return s[length:]

    def guess_payload_class(self, payload: bytes) -> type[Packet]:  # noqa: ARG002 - Scapy's signature
        """Scapy's hook: more requests, which are not ours to read."""
        return conf.raw_layer

    def line(self) -> str:
        """The request's name."""
        return f"{self.name} {self.shown('type')}"


def classify(data: bytes) -> type[Packet]:
    """The layer of the first bytes of a segment or a stream: a message, a handshake, a dqlite request, or Raw."""
    found = certain_message(data)
    if found is not conf.raw_layer:
        return found
    opening = wire.recognise(data)
    if opening.handshake is not None:
        return RaftHandshake if opening.handshake.kind == "raft" else DqliteHandshake
    return DqliteClient if opening.kind == "dqlite_client" and _whole_requests(data) else conf.raw_layer


def _whole_requests(data: bytes) -> bool:
    """Whether nothing but requests follows the protocol word: one alone could as well be a broken AppendEntries."""
    fields = table.DQLITE_HANDSHAKE
    start = fields[0].size
    head = sum(field.size for field in fields[1:5])
    while start + head <= len(data):
        words = int.from_bytes(data[start : start + fields[1].size], "little")
        if data[start + fields[1].size] not in table.DQLITE_REQUESTS:
            return False
        start += head + words * 8
    return start == len(data)


def first_whole(data: bytes) -> tuple[Packet | None, int]:
    """The first layer of a stream's bytes, with the rest as padding; or None and how many bytes it needs, 0 if unknown.

    Bytes that cannot become anything of ours are given as Raw.
    """
    layer = classify(data)
    if issubclass(layer, RaftMessage):
        length = _message_length(data)
        return (None, length) if len(data) < length else (_with_rest(layer, data, length), 0)
    opening = wire.recognise(data)
    if opening.length:
        return _with_rest(layer, data, opening.length), 0
    if layer is DqliteClient:
        return layer(data), 0
    if opening.kind == "more" or _may_become_message(data):
        return None, 0
    return layer(data), 0


def _with_rest(layer: type[Packet], data: bytes, length: int) -> Packet:
    packet = layer(data[:length])
    if len(data) > length:
        packet.add_payload(conf.padding_layer(data[length:]))
    return packet


def _message_length(data: bytes) -> int:
    """Bytes of the message that begins here, or of its preamble and header while the header is not all there."""
    preamble = wire.decode_preamble(data)
    end = table.PREAMBLE_LENGTH + (preamble.header_length if preamble else 0)
    if preamble is None or len(data) < end:
        return end
    return end + wire.payload_length(preamble.type, data[table.PREAMBLE_LENGTH : end])


def _may_become_message(data: bytes) -> bool:
    """Whether a header begins here of which too little is there to be certain."""
    preamble = wire.decode_preamble(data)
    if preamble is None:
        return True
    type_, version, header_length, reserved_zero = preamble
    return (
        reserved_zero
        and wire.is_plausible(type_, version, header_length)
        and len(data) < table.PREAMBLE_LENGTH + smallest_header(type_)
    )
