"""The captures of real clusters in `pcaps/`, what their servers logged, and the stream engine run over packets."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from raft_dissect.capture import open_capture
from raft_dissect.columns import PacketBlock, PacketColumns
from raft_dissect.streams import Engine, Statistics
from raft_dissect.values import Diagnostic, Message, Packet
from tests.packets import Address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raft_dissect.values import DiagnosticKind, Event

PCAPS = Path(__file__).parent.parent / "pcaps"
RUNS = sorted((path.name.removesuffix(".truth.json") for path in PCAPS.glob("*.truth.json")), key=len, reverse=True)
"""Names of all runs; `NAME.truth.json` is what the servers logged, `NAME.pcap` the whole traffic if it is there."""
FILES = sorted(path.name for path in PCAPS.iterdir() if path.suffix in (".pcap", ".pcapng"))
"""Names of all capture files."""
CLEAR = [file for file in FILES if file.partition("-")[0] != "tls13" or file.endswith("plain1.pcap")]
"""Captures of clear text."""
WHOLE = [file for file in CLEAR if "snaplen96" not in file]
"""Those with whole packets."""


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
    """Run the stream engine over packets; `options` are those of `Engine`.

    They are fed one by one and in blocks of several sizes, which must give the same.
    """
    asked = None if ports is None else frozenset(ports)
    engine, other = Engine(asked, **options), Engine(asked, **options)
    events: list[Event] = []
    of_blocks: list[Event] = []
    waiting: list[Packet] = []
    sizes = itertools.cycle([1, 20, 3, 300])
    size = next(sizes)
    for packet in source:
        events += engine.feed(packet)
        if waiting and (len(waiting) == size or not _follows(waiting[-1], packet)):
            of_blocks += other.feed_block(block(waiting))
            waiting.clear()
            size = next(sizes)
        waiting.append(packet)
    if waiting:
        of_blocks += other.feed_block(block(waiting))
    events += engine.close()
    of_blocks += other.close()
    assert list(map(told, of_blocks)) == list(map(told, events))
    assert carried(of_blocks) == carried(events)
    for name in Statistics.__slots__:
        of_blocks_one, one = getattr(other.statistics, name), getattr(engine.statistics, name)
        assert of_blocks_one == one, f"{name}: {of_blocks_one} in blocks, {one} one by one"
    return Result(events, engine.statistics)


def _follows(before: Packet, packet: Packet) -> bool:
    return (packet.link_type, packet.file, packet.frame) == (before.link_type, before.file, before.frame + 1)


def block(packets: Sequence[Packet]) -> PacketBlock:
    """A block of packets that follow one another in one file."""
    columns = PacketColumns()
    start = 0
    for row, packet in enumerate(packets):
        columns.starts[row] = start
        columns.captured[row] = len(packet.data)
        columns.originals[row] = packet.original_length
        columns.times[row] = packet.time_ns
        start += len(packet.data)
    first = packets[0]
    data = b"".join(packet.data for packet in packets)
    return PacketBlock(columns, 0, len(packets), data, first.link_type, first.frame, first.file)


def told(event: Event) -> tuple[object, ...]:
    """Everything that an event says."""
    if isinstance(event, Message):
        return event.stream.number, *content(event), event.first, event.place, event.layout
    if isinstance(event, Diagnostic):
        stream = None if event.stream is None else event.stream.number
        inner = None if event.message is None else told(event.message)
        return (*event[:2], stream, *event[3:6], inner, event.gap)
    return type(event), event.stream.number, *event[1:]


def carried(events: Iterable[Event]) -> list[tuple[object, ...]]:
    """What is known in the end of how TCP carried each stream, in the order in which events first are of them."""
    streams = {id(event.stream): event.stream for event in events if event.stream is not None}
    return [
        (stream.number, stream.opening, stream.segments, stream.round_trips and stream.round_trips.spread())
        for stream in streams.values()
    ]


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
