"""What servers said in a capture as a transcript that can be edited, and written as packets again.

    talk = transcript("s1-canon-0.18.1.pcap")
    second = talk.find("AppendEntries", 1, sender=3, entries=1)
    second.set(prev_log_term=9)
    analyze(talk.packets()), talk.frame(second)

A transcript keeps every byte that was said, and when each message was complete; how TCP carried it is made anew: each
connection is opened, its bytes are acknowledged, and it ends as it did. Retransmissions and other traffic are gone.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from raft_dissect import wire
from raft_dissect.dissection import Dissection
from raft_dissect.values import Endpoint, Message, Packet, StreamOpened, TransportEvent
from raft_dissect.wire import table
from tests import captures
from tests.capture_files import pcap
from tests.packets import ACK, ETHERNET, FIN, RST, Address, Connection, pieces
from tests.transformations import Flows, numbered, tcp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from raft_dissect.values import Stream

SEGMENT = 1448
"""Bytes in a full segment: an MTU of 1500 without the headers and the timestamps of TCP."""
DELAY = 50_000
"""Nanoseconds from a packet to its answer by TCP."""
_ENTRY = struct.Struct("<QB3sI")


class EntryBytes(NamedTuple):
    """An entry of AppendEntries with all of its bytes."""

    term: int
    type: int
    data: bytes
    unused: bytes = bytes(3)


class Ending(NamedTuple):
    """How a connection ended."""

    kind: Literal["fin", "rst"]
    time_ns: int
    by_client: bool


class Channel:
    """A TCP connection of a transcript, of which `client` is the side that speaks Raft."""

    __slots__ = ("client", "ending", "number", "opened_ns", "receiver", "sender", "server")

    def __init__(self, client: Endpoint, server: Endpoint, number: int, opened_ns: int | None) -> None:
        self.client = client
        self.server = server
        self.number = number
        """Different for each connection of the transcript."""
        self.opened_ns = opened_ns
        """When the client sent its SYN; None when the connection begins before the capture."""
        self.ending: Ending | None = None
        self.sender: int | None = None
        """Id of the client; None when nothing says it."""
        self.receiver: int | None = None
        """Id of the server on the other side; None when nothing says it."""

    def copy(self) -> Channel:
        other = Channel(self.client, self.server, self.number, self.opened_ns)
        other.ending, other.sender, other.receiver = self.ending, self.sender, self.receiver
        return other


class Utterance:
    """The opening bytes of a connection, or a message: `data` is all of it, and may be anything."""

    __slots__ = ("backwards", "captured", "channel", "data", "opening", "time_ns")

    def __init__(
        self, channel: Channel, time_ns: int, data: bytes, *, opening: bool = False, backwards: bool = False
    ) -> None:
        self.channel = channel
        self.time_ns = time_ns
        """When its last byte was captured."""
        self.data = data
        self.opening = opening
        """Whether it is what stands before the first message: a handshake, perhaps behind the head of HTTP."""
        self.backwards = backwards
        """Whether the connection's server side says it."""
        self.captured = True
        """Whether the capture has its packets."""

    def __repr__(self) -> str:
        try:
            what = "opening" if self.opening else f"{self.name} {self.fields}"
        except ValueError:
            what = f"{self.name} of {len(self.data)} bytes"
        return f"<{what} {self.sender} -> {self.receiver}>"

    # What it says.

    @property
    def sender(self) -> int | None:
        """Id of the server that says it; None when nothing tells."""
        return self.channel.receiver if self.backwards else self.channel.sender

    @property
    def receiver(self) -> int | None:
        """Id of the server that it is said to; None when nothing tells."""
        return self.channel.sender if self.backwards else self.channel.receiver

    @property
    def type(self) -> int:
        return self.data[0]

    @property
    def name(self) -> str:
        return wire.MESSAGE_NAMES.get(self.type, str(self.type))

    @property
    def version(self) -> int:
        return self.data[2]

    @property
    def header_length(self) -> int:
        return int.from_bytes(self.data[8:16], "little")

    @property
    def header(self) -> bytes:
        return self.data[16 : 16 + self.header_length]

    @property
    def payload(self) -> bytes:
        return self.data[16 + self.header_length :]

    @property
    def decoded(self) -> wire.Header:
        return wire.decode_header(self.type, self.version, self.header)

    @property
    def fields(self) -> dict[str, int]:
        return self.decoded.fields

    @property
    def entries(self) -> list[EntryBytes]:
        """The entries of AppendEntries with their data and unused bytes."""
        start, end = self._middle("entries")
        found = []
        position = 0
        for term, type_, unused, size in _ENTRY.iter_unpack(self.data[start:end]):
            found.append(EntryBytes(term, type_, self.payload[position : position + size], unused))
            position += size
        return found

    @property
    def configuration(self) -> tuple[wire.Server, ...]:
        """The configuration of InstallSnapshot."""
        start, end = self._middle("configuration")
        return wire.decode_configuration(self.data[start:end])

    @property
    def handshake(self) -> wire.Handshake:
        """What an opening says; raises ValueError when it is none."""
        return _handshake(self.data)[1]

    # Changing it: each of these gives the utterance itself.

    def patch(self, offset: int, data: bytes) -> Utterance:
        """Write raw bytes over the message, of which byte 0 is its type; from its end with a negative offset."""
        start = offset if offset >= 0 else len(self.data) + offset
        if not 0 <= start <= len(self.data) - len(data):
            raise IndexError(f"{len(data)} bytes at {offset} are not within the {len(self.data)} of {self!r}")
        self.data = self.data[:start] + data + self.data[start + len(data) :]
        return self

    def set(self, **fields: int) -> Utterance:
        """Write fields by their documented names; all other bytes stay, with them layout and version.

        Raises KeyError for a field that this form of the message does not have. A length or a count changes alone: what
        it counts stays.
        """
        for name, value in fields.items():
            offset, field = self._field(name)
            if field.kind == "bits":
                bit = field.bits.index(name)
                word = int.from_bytes(self.data[offset : offset + field.size], "little") & ~(1 << bit)
                value = word | bool(value) << bit
            self.patch(offset, int(value).to_bytes(field.size, "little"))
        return self

    def set_entries(self, entries: Iterable[EntryBytes]) -> Utterance:
        """Let AppendEntries carry these entries; the trailer stays."""
        entries = list(entries)
        start, end = self._middle("entries")
        packed = b"".join(_ENTRY.pack(each.term, each.type, each.unused, len(each.data)) for each in entries)
        self._put(start, end, packed, b"".join(each.data for each in entries))
        return self.set(n_entries=len(entries))

    def set_entry(
        self, position: int, *, term: int | None = None, type: int | None = None, data: bytes | None = None
    ) -> Utterance:
        """Change one entry of AppendEntries; `data` may be `wire.encode_configuration(...)`."""
        entries = self.entries
        old = entries[position]
        entries[position] = EntryBytes(
            old.term if term is None else term,
            old.type if type is None else type,
            old.data if data is None else data,
            old.unused,
        )
        return self.set_entries(entries)

    def set_configuration(self, configuration: Iterable[wire.Server] | bytes) -> Utterance:
        """Let InstallSnapshot carry this configuration, or these bytes in place of one."""
        start, end = self._middle("configuration")
        packed = configuration if isinstance(configuration, bytes) else wire.encode_configuration(configuration)
        self._put(start, end, packed, self.payload)
        return self.set(conf_length=len(packed))

    def set_snapshot(self, data: bytes) -> Utterance:
        """Let InstallSnapshot carry this snapshot."""
        self.data = self.data[: 16 + self.header_length] + data
        return self.set(data_length=len(data))

    def set_handshake(
        self, *, id: int | None = None, address: str | None = None, kind: wire.handshake.HandshakeKind | None = None
    ) -> Utterance:
        """Write another handshake into an opening."""
        start, old = _handshake(self.data)
        new = wire.encode_handshake(
            kind or old.kind, old.id if id is None else id, old.address if address is None else address, old.protocol
        )
        self.data = self.data[:start] + new + self.data[start + old.length :]
        return self

    def _middle(self, kind: str) -> tuple[int, int]:
        """Where the entries or the configuration begin and end."""
        for start, end, field in self._spans():
            if field.kind == kind:
                return start, end
        raise KeyError(f"{self.name} has no {kind}")

    def _field(self, name: str) -> tuple[int, table.Field]:
        """Where a field of this name begins, or the one that has this bit."""
        for start, _, field in self._spans():
            if name == field.name or name in field.bits:
                return start, field
        raise KeyError(f"this {self.name} has no field {name}")

    def _spans(self) -> Iterator[tuple[int, int, table.Field]]:
        """Each field of the message's form, with its first byte and the one after its last."""
        start = 16
        value = 0
        for field in self._form().fields:
            size = value * table.ENTRY_LENGTH if field.kind == "entries" else field.size
            size = value if field.kind == "configuration" else size
            yield start, start + size, field
            value = int.from_bytes(self.data[start : start + size], "little") if field.size else 0
            start += size

    def _form(self) -> table.Form:
        """The newest form of this version and length."""
        forms = next(message.forms for message in table.MESSAGES if message.number == self.type)
        if any(not field.size for field in forms[-1].fields):
            return forms[-1]
        for form in reversed(forms):
            if form.version == self.version and sum(field.size for field in form.fields) == self.header_length:
                return form
        raise KeyError(f"no release writes {self.name} with version {self.version} and {self.header_length} bytes")

    def _put(self, start: int, end: int, middle: bytes, payload: bytes) -> None:
        header = self.data[16:start] + middle + self.data[end : 16 + self.header_length]
        self.data = self.data[:8] + len(header).to_bytes(8, "little") + header + payload


def _handshake(data: bytes) -> tuple[int, wire.Handshake]:
    """The handshake of an opening, and where it begins."""
    start = 0
    opening = wire.recognise(data)
    while opening.kind in ("http", "upgrade") and opening.length:
        start += opening.length
        opening = wire.recognise(data[start:])
    if opening.handshake is None:
        raise ValueError(f"no handshake in {data!r}")
    return start, opening.handshake


class Written(NamedTuple):
    """A transcript as packets."""

    packets: list[Packet]
    frames: dict[Utterance, int]
    """The frame that completes each utterance."""


class Transcript:
    """All that was said, in the order of time."""

    def __init__(self, channels: Sequence[Channel] = (), utterances: Sequence[Utterance] = ()) -> None:
        self.channels = list(channels)
        self.utterances = list(utterances)
        self.others: list[tuple[int, bytes]] = []
        """Frames that carry no Raft, with their times; none when it was read from a capture."""

    def copy(self) -> Transcript:
        """A transcript of its own that says the same."""
        channels = {channel: channel.copy() for channel in self.channels}
        utterances = [
            Utterance(channels[each.channel], each.time_ns, each.data, opening=each.opening, backwards=each.backwards)
            for each in self.utterances
        ]
        for copy, each in zip(utterances, self.utterances, strict=True):
            copy.captured = each.captured
        talk = Transcript(list(channels.values()), utterances)
        talk.others = list(self.others)
        return talk

    @property
    def messages(self) -> list[Utterance]:
        """What is no opening."""
        return [each for each in self.utterances if not each.opening]

    @property
    def openings(self) -> list[Utterance]:
        return [each for each in self.utterances if each.opening]

    def all(
        self,
        name: str | None = None,
        *,
        sender: int | None = None,
        receiver: int | None = None,
        entries: int | None = None,
        after: Utterance | None = None,
        where: Callable[[Utterance], bool] | None = None,
        **fields: int,
    ) -> list[Utterance]:
        """The messages of this name, between these servers, with so many entries and these values of fields."""
        if entries is not None:
            name, fields["n_entries"] = "AppendEntries", entries
        start = 0 if after is None else self.utterances.index(after) + 1
        return [
            each
            for each in self.utterances[start:]
            if not each.opening
            and name in (None, each.name)
            and sender in (None, each.sender)
            and receiver in (None, each.receiver)
            and (not fields or fields.items() <= each.fields.items())
            and (where is None or where(each))
        ]

    def find(
        self,
        name: str | None = None,
        nth: int = 0,
        *,
        sender: int | None = None,
        receiver: int | None = None,
        entries: int | None = None,
        after: Utterance | None = None,
        where: Callable[[Utterance], bool] | None = None,
        **fields: int,
    ) -> Utterance:
        """One of the messages that `all` gives, counted from 0, or from the last one with a negative number.

        Raises LookupError when there are fewer.
        """
        found = self.all(name, sender=sender, receiver=receiver, entries=entries, after=after, where=where, **fields)
        if not -len(found) <= nth < len(found):
            raise LookupError(
                f"there are {len(found)} messages {name} {sender} -> {receiver} {fields}, no number {nth}"
            )
        return found[nth]

    def opening(self, sender: int, receiver: int, nth: int = 0) -> Utterance:
        """The opening bytes of one of the connections between two servers."""
        return [each for each in self.openings if (each.sender, each.receiver) == (sender, receiver)][nth]

    def insert(
        self,
        data: bytes,
        sender: int,
        receiver: int,
        *,
        after: Utterance | None = None,
        time_ns: int | None = None,
        opening: bool = False,
        backwards: bool = False,
    ) -> Utterance:
        """Let one server say something more to another, at this time, or else right after another utterance.

        `data` may come from `wire.encode_message`. It goes over the connection from `sender` to `receiver` that is open
        then, `backwards` over the one from `receiver` to `sender`; the dissector takes bytes that come backwards for
        Raft when they begin with a handshake, an `opening`. Raises LookupError when there is no such connection.
        """
        if time_ns is None:
            if after is None:
                raise ValueError("neither a time nor an utterance says when")
            time_ns = after.time_ns
        channel = self._open_channel((receiver, sender) if backwards else (sender, receiver), time_ns)
        return self._add(Utterance(channel, time_ns, data, opening=opening, backwards=backwards), after)

    def say(self, channel: Channel, data: bytes, time_ns: int) -> Utterance:
        """Let the client of a connection say something."""
        return self._add(Utterance(channel, time_ns, data), None)

    def connect(
        self, sender: int, receiver: int, client: Endpoint, server: Endpoint, time_ns: int, handshake: bytes | None
    ) -> Channel:
        """Open another connection, complete with its handshake at this time; without one it begins before the capture.

        The transcript knows the two servers by these ids from now on.
        """
        number = 1 + max((channel.number for channel in self.channels), default=-1)
        channel = Channel(client, server, number, None if handshake is None else time_ns - 2 * DELAY)
        channel.sender, channel.receiver = sender, receiver
        self.channels.append(channel)
        if handshake is not None:
            self._add(Utterance(channel, time_ns, handshake, opening=True), None)
        return channel

    def drop(self, utterance: Utterance) -> None:
        """Let it never have been said."""
        self.utterances.remove(utterance)

    def lose(self, utterance: Utterance) -> None:
        """Let it have been said, but not captured: it has no frame."""
        utterance.captured = False

    def duplicate(
        self, utterance: Utterance, *, delay_ns: int = 0, sender: int | None = None, receiver: int | None = None
    ) -> Utterance:
        """Let it be said again, by the same server or another, to the same or another."""
        time_ns = utterance.time_ns + delay_ns
        if sender is None and receiver is None:
            copy = Utterance(utterance.channel, time_ns, utterance.data, backwards=utterance.backwards)
            return self._add(copy, utterance)
        sender = utterance.sender if sender is None else sender
        receiver = utterance.receiver if receiver is None else receiver
        if sender is None or receiver is None:
            raise LookupError(f"it is not known between whom {utterance!r} is")
        return self.insert(utterance.data, sender, receiver, after=utterance, time_ns=time_ns)

    def move(self, utterance: Utterance, time_ns: int) -> None:
        """Let it be said at another time, and so before or after other messages of its connection."""
        utterance.time_ns = time_ns
        self._sort()

    def written(self) -> Written:
        """The packets, and which of them complete what."""
        return _written(self)

    def packets(self) -> list[Packet]:
        return self.written().packets

    def frame(self, utterance: Utterance) -> int:
        """The frame that completes an utterance in the packets as they would be now."""
        return self.written().frames[utterance]

    def write(self, path: Path) -> None:
        """Write a capture file; its times are microseconds."""
        path.write_bytes(pcap(*self.packets()))

    def _open_channel(self, ends: tuple[int, int], time_ns: int) -> Channel:
        between = [channel for channel in self.channels if (channel.sender, channel.receiver) == ends]
        for channel in between:
            begun = min((each.time_ns for each in self.utterances if each.channel is channel), default=0)
            if begun <= time_ns and (channel.ending is None or time_ns <= channel.ending.time_ns):
                return channel
        raise LookupError(f"none of {len(between)} connections from {ends[0]} to {ends[1]} is open then")

    def _add(self, utterance: Utterance, after: Utterance | None) -> Utterance:
        if after is None or utterance.time_ns != after.time_ns:
            times = [each.time_ns for each in self.utterances]
            self.utterances.insert(bisect_right(times, utterance.time_ns), utterance)
        else:
            self.utterances.insert(self.utterances.index(after) + 1, utterance)
        return utterance

    def _sort(self) -> None:
        self.utterances.sort(key=lambda each: each.time_ns)


# --- Reading ---


@lru_cache(maxsize=4)
def _read(file: str) -> Transcript:
    return transcript_of(captures.packets(file))


def transcript(file: str) -> Transcript:
    """What was said in a capture of `pcaps/`, to be changed at will."""
    return _read(file).copy()


def transcript_of(packets: Sequence[Packet]) -> Transcript:
    """What was said in a capture in clear text; messages of which bytes are missing are left out."""
    packets = numbered(packet._replace(file=0) for packet in packets)
    reader = _Reader(packets)
    for event in Dissection(packets, keep_payload=True):
        if isinstance(event, StreamOpened):
            reader.open(event)
        elif isinstance(event, Message):
            reader.say(event)
        elif isinstance(event, TransportEvent):
            reader.end(event)
    return reader.transcript()


class _Reader:
    """Makes a transcript of the events of a capture."""

    def __init__(self, packets: Sequence[Packet]) -> None:
        self._packets = packets
        self._flows = Flows(packets)
        self._channels: dict[int, Channel] = {}
        self._clients: dict[Channel, bytes] = {}
        """How packets of the client are known."""
        self._handshakes: dict[Channel, wire.Handshake] = {}
        self._utterances: list[Utterance] = []
        self._last: dict[Stream, int] = {}

    def open(self, event: StreamOpened) -> None:
        handshake = event.stream.handshake
        assert handshake is not None
        channel = self._channel(event.stream, event.place.frame)
        self._handshakes[channel] = handshake
        self._add(event.stream, event.place.time_ns, self._opening(event.place.frame, handshake), opening=True)

    def say(self, message: Message) -> None:
        if message.payload is None or message.partial:
            return
        preamble = wire.encode_preamble(message.type, message.preamble.version, message.preamble.header_length)
        self._channel(message.stream, message.first.frame)
        self._add(message.stream, message.place.time_ns, preamble + message.header + message.payload)

    def end(self, event: TransportEvent) -> None:
        channel = self._channels.get(event.stream.number // 2)
        if channel is None or event.kind not in ("closed", "reset"):
            return
        by_client = self._flows.of_frame[event.place.frame].key == self._clients[channel]
        channel.ending = Ending("fin" if event.kind == "closed" else "rst", event.place.time_ns, by_client)

    def transcript(self) -> Transcript:
        channels = list(self._channels.values())
        for channel, handshake in self._handshakes.items():
            channel.sender = handshake.id
        ids = self._ids()
        for channel in channels:
            channel.sender = channel.sender or ids.get(channel.client.host)
            channel.receiver = ids.get(str(channel.server)) or ids.get(channel.server.host)
        return Transcript(channels, sorted(self._utterances, key=lambda each: each.time_ns))

    def _ids(self) -> dict[str, int]:
        """Who listens at an advertised address, and who is alone on a host."""
        found: dict[str, set[int]] = {}
        for channel, handshake in self._handshakes.items():
            for name in (handshake.address, channel.client.host):
                found.setdefault(name, set()).add(handshake.id)
        return {name: ids.pop() for name, ids in found.items() if len(ids) == 1}

    def _channel(self, stream: Stream, frame: int) -> Channel:
        """The connection of a stream, of which a packet is known."""
        channel = self._channels.get(stream.number // 2)
        if channel is None:
            opened = None if stream.opening is None else stream.opening.asked.time_ns
            channel = Channel(stream.source, stream.destination, stream.number // 2, opened)
            self._channels[channel.number] = channel
            self._clients[channel] = self._flows.of_frame[frame].key
        return channel

    def _add(self, stream: Stream, time_ns: int, data: bytes, *, opening: bool = False) -> None:
        """Order within a stream is the order of its bytes, whatever clocks say."""
        time_ns = self._last[stream] = max(time_ns, self._last.get(stream, time_ns))
        channel = self._channels[stream.number // 2]
        backwards = stream.source != channel.client
        self._utterances.append(Utterance(channel, time_ns, data, opening=opening, backwards=backwards))

    def _opening(self, frame: int, handshake: wire.Handshake) -> bytes:
        """The bytes up to the end of the handshake; with zero padding where the SYN was not captured."""
        made = wire.encode_handshake(handshake.kind, handshake.id, handshake.address, handshake.protocol)
        flow = self._flows.of_frame[frame]
        if flow.origin is None:
            return made
        stream = bytearray()
        for start, _, number in sorted(flow.pieces):
            if start > len(stream):
                break
            segment = tcp_of(self._packets[number - 1])
            assert segment is not None
            stream[start:] = segment.data
            if len(stream) > len(made) + wire.handshake.MAX_HTTP_HEAD:
                break
        start, found = _handshake(bytes(stream))
        return bytes(stream[: start + found.length])


# --- Writing ---


class _Frame(NamedTuple):
    time_ns: int
    rank: int
    """The order of what is at the same time."""
    data: bytes
    completes: Utterance | None = None


def _written(talk: Transcript) -> Written:
    said: dict[Channel, list[tuple[int, Utterance]]] = {channel: [] for channel in talk.channels}
    for rank, utterance in enumerate(sorted(talk.utterances, key=lambda each: each.time_ns)):
        said[utterance.channel].append((rank, utterance))
    frames = [frame for channel, ranked in said.items() if ranked for frame in _carried(channel, ranked)]
    frames += [_Frame(time_ns, len(talk.utterances), data) for time_ns, data in talk.others]
    frames.sort(key=lambda frame: frame[:2])
    packets = [
        Packet(frame.data, frame.time_ns, ETHERNET, len(frame.data), number) for number, frame in enumerate(frames, 1)
    ]
    completed = {frame.completes: number for number, frame in enumerate(frames, 1) if frame.completes is not None}
    return Written(packets, completed)


def _carried(channel: Channel, ranked: Sequence[tuple[int, Utterance]]) -> Iterator[_Frame]:
    """The packets of one connection; those at the same time in the order in which they are given."""
    # Connections between the same ports need other sequence numbers, or they would be the same connection.
    isn = (channel.number + 1) * 10_000_019
    connection = Connection(Address(*channel.client), Address(*channel.server), client_isn=isn, server_isn=isn + 5000)
    (first_rank, first), (last_rank, last) = ranked[0], ranked[-1]
    end_ns = None if channel.ending is None else max(channel.ending.time_ns, last.time_ns)
    if channel.opened_ns is not None:
        opened_ns = min(channel.opened_ns, first.time_ns)
        answered_ns = min(opened_ns + DELAY, first.time_ns)
        yield _Frame(opened_ns, first_rank, connection.syn())
        yield _Frame(answered_ns, first_rank, connection.syn_ack())
        yield _Frame(answered_ns, first_rank, connection.data(0, b""))
    sent = {False: 0, True: 0}
    for rank, utterance in ranked:
        backwards, start = utterance.backwards, sent[utterance.backwards]
        sent[backwards] += len(utterance.data)
        for offset, piece in pieces(utterance.data, (SEGMENT,)):
            send = connection.reply if backwards else connection.data
            last_one = offset + len(piece) == len(utterance.data)
            data = send(start + offset, piece)
            if utterance.captured:
                yield _Frame(utterance.time_ns, rank, data, utterance if last_one else None)
        if not backwards:
            answered_ns = utterance.time_ns + DELAY
            answered_ns = answered_ns if end_ns is None else min(answered_ns, end_ns)
            yield _Frame(answered_ns, rank, connection.reply(sent[True], b"", received=sent[False]))
    if channel.ending is not None and end_ns is not None:
        yield from _ended(connection, channel.ending, end_ns, last_rank, sent[False], sent[True])


def _ended(
    connection: Connection, ending: Ending, end_ns: int, rank: int, by_client: int, by_server: int
) -> Iterator[_Frame]:
    """FIN of both sides, or RST, behind so many bytes of each."""
    if ending.kind == "rst":
        reset = connection.rst(by_client) if ending.by_client else connection.reply(by_server, b"", RST)
        yield _Frame(end_ns, rank, reset)
        return
    client = connection.fin(by_client)
    server = connection.reply(by_server, b"", FIN | ACK, received=by_client)
    first, second = (client, server) if ending.by_client else (server, client)
    yield _Frame(end_ns, rank, first)
    yield _Frame(end_ns + DELAY, rank, second)
