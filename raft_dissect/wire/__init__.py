"""What the bytes between C-Raft servers mean: one declarative table, and decoding and encoding driven by it."""

from raft_dissect.wire.codec import (
    DecodedMessage,
    Entry,
    Header,
    Preamble,
    decode_header,
    decode_message,
    decode_preamble,
    encode_message,
    encode_preamble,
    form_of,
    is_consistent,
    is_plausible,
    payload_length,
    writers,
)
from raft_dissect.wire.configuration import Server, decode_configuration, encode_configuration, printable
from raft_dissect.wire.errors import MalformedError
from raft_dissect.wire.handshake import (
    BrokenHandshake,
    Handshake,
    Opening,
    broken_handshake,
    encode_handshake,
    recognise,
)
from raft_dissect.wire.table import LAYOUTS, MESSAGE_NAMES, MESSAGE_NUMBERS, MESSAGES
from raft_dissect.wire.unused import Unused, configuration_padding, unused_bytes

__all__ = [
    "LAYOUTS",
    "MESSAGES",
    "MESSAGE_NAMES",
    "MESSAGE_NUMBERS",
    "BrokenHandshake",
    "DecodedMessage",
    "Entry",
    "Handshake",
    "Header",
    "MalformedError",
    "Opening",
    "Preamble",
    "Server",
    "Unused",
    "broken_handshake",
    "configuration_padding",
    "decode_configuration",
    "decode_header",
    "decode_message",
    "decode_preamble",
    "encode_configuration",
    "encode_handshake",
    "encode_message",
    "encode_preamble",
    "form_of",
    "is_consistent",
    "is_plausible",
    "payload_length",
    "printable",
    "recognise",
    "unused_bytes",
    "writers",
]
