"""The captures of real clusters in `pcaps/`, what their servers logged, and the stream engine run over packets."""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from raft_dissect.capture import open_capture
from raft_dissect.streams import Engine
from raft_dissect.values import Diagnostic, Message, Packet
from tests.packets import Address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raft_dissect.streams import Statistics
    from raft_dissect.values import DiagnosticKind, Event

PCAPS = Path(__file__).parent.parent / "pcaps"
RUNS = sorted((path.name.removesuffix(".truth.json") for path in PCAPS.glob("*.truth.json")), key=len, reverse=True)
"""Names of all runs; `NAME.truth.json` is what the servers logged, `NAME.pcap` the whole traffic if it is there."""
FILES = sorted(path.name for path in PCAPS.iterdir() if path.suffix in (".pcap", ".pcapng"))
"""Names of all capture files."""


def run_of(file: str) -> str:
    """The name of the run that a capture file belongs to."""
    return next(run for run in RUNS if file.startswith(f"{run}."))


@lru_cache
def truth(run: str) -> dict[str, Any]:
    """What the servers of a run logged."""
    loaded: dict[str, Any] = json.loads((PCAPS / f"{run}.truth.json").read_text())
    return loaded


@lru_cache(maxsize=8)
def packets(*files: str) -> list[Packet]:
    """All packets of these files as one capture."""
    with open_capture([str(PCAPS / file) for file in files]) as opened:
        return [item for item in opened if isinstance(item, Packet)]


class Result:
    """What the stream engine gave for some packets."""

    def __init__(self, events: Sequence[Event], statistics: Statistics) -> None:
        self.events = events
        self.statistics = statistics
        self.messages = [event for event in events if isinstance(event, Message)]
        self.diagnostics = [event for event in events if isinstance(event, Diagnostic)]

    def of_kind(self, kind: DiagnosticKind) -> list[Diagnostic]:
        return [diagnostic for diagnostic in self.diagnostics if diagnostic.kind == kind]

    @property
    def counts(self) -> Counter[str]:
        """Number of messages by name."""
        return Counter(message.name for message in self.messages)


def run(source: Iterable[Packet], ports: Iterable[int] | None = None, **options: Any) -> Result:
    """Run the stream engine over packets; `options` are those of `Engine`."""
    engine = Engine(None if ports is None else frozenset(ports), **options)
    events: list[Event] = []
    for packet in source:
        events += engine.feed(packet)
    events += engine.close()
    return Result(events, engine.statistics)


@lru_cache(maxsize=8)
def run_file(*files: str) -> Result:
    """Run the stream engine over capture files, with SHA-256 of payloads."""
    return run(packets(*files), hash_payload=True)


def content(message: Message, *, offset: bool = True) -> tuple[object, ...]:
    """Everything that a message says but when and in which packets: equal for the same message seen another time."""
    changes = [message.change(number) for number, entry in enumerate(message.entries) if entry.type == 3]
    return (
        message.stream.source,
        message.stream.destination,
        message.stream.handshake if offset else None,
        message.offset if offset else None,
        message.preamble,
        message.header,
        message.payload_length,
        message.missing,
        message.payload,
        message.payload_sha256,
        tuple(changes),
    )


def contents(messages: Iterable[Message], *, offset: bool = True) -> Counter[tuple[object, ...]]:
    """The messages as a bag: two captures of the same traffic give the same."""
    return Counter(content(message, offset=offset) for message in messages)


def length(message: Message) -> int:
    """Bytes of a whole message in its stream."""
    assert message.payload_length is not None
    return 16 + message.preamble.header_length + message.payload_length


class ClientStream(NamedTuple):
    """What the client of one TCP connection sent, from the first byte to the last."""

    client: Address
    server: Address
    data: bytes


@lru_cache(maxsize=8)
def client_streams(file: str) -> list[ClientStream]:
    """The client's stream of every connection of an Ethernet and IPv4 capture that holds all of their packets.

    A plain reassembly of its own: each payload is written at its place.
    """
    found: dict[bytes, tuple[int, bytearray, ClientStream]] = {}
    for packet in packets(file):
        network = packet.data[14:]
        if packet.data[12:14] != b"\x08\x00" or network[9] != 6:
            continue
        segment = network[20 : int.from_bytes(network[2:4], "big")]
        key = network[12:20] + segment[:4]
        sequence = int.from_bytes(segment[4:8], "big")
        if segment[13] & 0b10010 == 0b10:
            ports = [int.from_bytes(segment[place : place + 2], "big") for place in (0, 2)]
            hosts = [".".join(map(str, network[place : place + 4])) for place in (12, 16)]
            client, server = (Address(host, port) for host, port in zip(hosts, ports, strict=True))
            found[key] = sequence + 1, bytearray(), ClientStream(client, server, b"")
        elif key in found:
            start, stream, _ = found[key]
            place = (sequence - start) % 2**32
            payload = segment[(segment[12] >> 4) * 4 :]
            if payload and place < 2**31:
                stream.extend(bytes(max(0, place - len(stream))))
                stream[place : place + len(payload)] = payload
    return [stream._replace(data=bytes(data)) for _, data, stream in found.values() if data]
