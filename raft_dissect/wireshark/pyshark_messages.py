"""The messages in a packet of pyshark, from the bytes that the dissector shows of them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from raft_dissect import wire
from raft_dissect.values import Endpoint, Message, Place, Stream
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ADDRESSES = ("ip", "ipv6")


class ShownMessage(Message):
    """A message as Wireshark shows it, with what it knows from other packets.

    A packet tells nothing of the one in which a message began: `first` is the same as `place`, `offset` is None, and
    the stream has no handshake. Its number is Wireshark's tcp.stream times two, plus one for the direction from the
    lower port to the higher.
    """

    __slots__ = ("receiver_id", "response_in", "response_time_ns", "response_to", "sender_id")

    sender_id: int | None
    """Id of the server that sent it; None as long as its handshake was not seen."""
    receiver_id: int | None
    """Id of the server that listens at its destination."""
    response_in: int | None
    """Frame of the result of this request; known when tshark goes through the capture twice (`-2`)."""
    response_to: int | None
    """Frame of the request that this result answers."""
    response_time_ns: int | None
    """Nanoseconds since that request."""


def messages(packet: Any, *, layout: str | None = None) -> list[ShownMessage]:
    """The messages that end in a packet of pyshark, in their order.

    `layout` is the label of a layout of the wire table, to prefer where the same bytes belong to several.
    Raises ValueError for a packet of pyshark's JSON and EK modes and for a summary.
    """
    return list(_messages(packet, layout))


def _messages(packet: Any, layout: str | None) -> Iterator[ShownMessage]:
    source = destination = ""
    transport: Mapping[str, Any] = {}
    for layer in _layers(packet):
        name, fields = layer.layer_name, layer._all_fields  # the public accessors compare all names each time
        if name in _ADDRESSES:
            source, destination = str(fields[f"{name}.src"]), str(fields[f"{name}.dst"])
        elif name == "tcp":
            transport = fields
        elif name == "craft" and ("craft.layouts" in fields or "craft.payload_length" in fields):
            yield _message(fields, _stream(transport, source, destination), _place(packet), layout)


def _layers(packet: Any) -> list[Any]:
    from pyshark.packet.layers.xml_layer import XmlLayer  # pyshark is slow to import; whoever has a packet has it

    layers: list[Any] = getattr(packet, "layers", None) or [None]
    if not all(isinstance(layer, XmlLayer) for layer in layers):
        raise ValueError("messages are read from pyshark's packets in XML mode, which is its usual one")
    return layers


def _place(packet: Any) -> Place:
    return Place(int(Decimal(packet.sniff_timestamp) * 10**9), int(packet.number))


def _stream(transport: Mapping[str, Any], source: str, destination: str) -> Stream:
    ends = [Endpoint(host, int(transport[f"tcp.{port}"])) for host, port in
            ((source, "srcport"), (destination, "dstport"))]  # fmt: skip
    is_upward = (ends[0].port, ends[0].host) < (ends[1].port, ends[1].host)
    return Stream(int(transport["tcp.stream"]) * 2 + is_upward, *ends)


def _message(fields: Mapping[str, Any], stream: Stream, place: Place, layout: str | None) -> ShownMessage:
    shown = _shown(fields)
    preamble = wire.decode_preamble(shown)
    assert preamble is not None  # the dissector shows no message without one
    message = ShownMessage(stream, None, place, preamble, layout)
    start = table.PREAMBLE_LENGTH
    stop = start + preamble.header_length
    message.header = shown[start:stop]
    is_whole = len(message.header) == preamble.header_length
    decoded = message.decoded.payload_length
    message.payload_length = wire.payload_length(preamble.type, message.header) if is_whole else decoded
    message.missing = None if message.payload_length is None else stop + message.payload_length - len(shown)
    if message.missing == 0:
        message.payload = shown[stop:]
    _keep_changes(message, shown[stop:])
    for name in ("sender_id", "receiver_id", "response_in", "response_to"):
        value = fields.get(f"craft.{name}")
        setattr(message, name, None if value is None else int(value))
    elapsed = fields.get("craft.response_time")
    message.response_time_ns = None if elapsed is None else int(Decimal(elapsed) * 10**9)
    return message


def _shown(fields: Mapping[str, Any]) -> bytes:
    """The bytes of a message from its first one on, as far as fields stand for them without a hole.

    Each field says where its bytes stand among those that Wireshark has put together, and which they are.
    """
    start = int(fields["craft.type"].pos)
    pieces = sorted(
        (int(field.pos) - start, bytes.fromhex(field.raw_value))
        for container in fields.values()
        for field in container.all_fields
        if field.raw_value and field.name.startswith("craft.")
    )
    shown = bytearray()
    for place, data in pieces:
        if place > len(shown):
            break
        shown += data[len(shown) - place :]
    return bytes(shown)


def _keep_changes(message: Message, payload: bytes) -> None:
    at = 0
    for number, entry in enumerate(message.entries):
        if entry.type == table.CHANGE and at + entry.size <= len(payload):
            message.keep_change(number, payload[at : at + entry.size])
        at += entry.size
