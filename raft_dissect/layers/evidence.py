"""Make a Scapy packet of a message that the stream engine found."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from scapy.utils import EDecimal

from raft_dissect import wire
from raft_dissect.layers.base import BY_NUMBER, RaftMessage

if TYPE_CHECKING:
    from raft_dissect.values import Message


def from_message(message: Message) -> RaftMessage:
    """The message as a layer, as far as it was captured; `evidence` is the message itself.

    `time` is when the message was complete. Of a payload that was not kept or is not whole, nothing is there.
    """
    type_, version, header_length, _ = message.preamble
    data = wire.encode_preamble(type_, version, header_length) + message.header + (message.payload or b"")
    packet = BY_NUMBER[type_](data, layout=message.layout)
    packet.time = EDecimal(Decimal(message.place.time_ns).scaleb(-9))
    packet.evidence = message
    return packet
