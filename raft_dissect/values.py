"""The plain values that one stage of the pipeline gives to the next: packets, streams, messages, diagnostics."""

from __future__ import annotations

from typing import Literal, NamedTuple

from raft_dissect import wire
from raft_dissect.spread import Histogram


class Packet(NamedTuple):
    """One captured packet, as a capture file, a pipe or an interface gives it.

    `link_type` is a LINKTYPE_ number of the pcap link-layer header registry (1 is Ethernet).
    """

    data: bytes
    """The captured bytes, from the link-layer header on."""
    time_ns: int
    """Capture time in integer nanoseconds since the Unix epoch, UTC; 0 when the capture does not say.

    Times are within 2**62 of the epoch, which is 146 years.
    """
    link_type: int
    original_length: int
    """Length on the wire in bytes; more than `len(data)` when the snaplen cut the packet."""
    frame: int
    """Number of the packet within its file, 1-based, as Wireshark counts."""
    file: int = 0
    """Index of the file within the capture's list of files."""


class CaptureProblem(NamedTuple):
    """What is wrong with a capture at one place: a file that is damaged or ends early, or an interface.

    Everything before the place was read. Behind damage reading goes on where records are found again; `detail` says
    where. `dropped` are packets of an interface for which the kernel had no room; `interface_down` and `interface_gone`
    say that nothing comes from an interface for now, and no more.
    """

    kind: Literal["file_damaged", "file_truncated", "dropped", "interface_down", "interface_gone"]
    file: int
    """Index of the file, or of what is captured on, within the capture's list of files."""
    frame: int
    """Number of the last packet that was read whole; 0 when there was none."""
    offset: int
    """Byte offset of the damage within the (decompressed) file; 0 of an interface."""
    detail: str
    """What is wrong there, in one line."""
    size: int | None = None
    """Packets that were dropped; None of anything else."""


class TimePassed(NamedTuple):
    """Nothing was captured for a while, and no packet from before this time is still to come."""

    time_ns: int
    """Nanoseconds since the Unix epoch, UTC."""


class TlsSecrets(NamedTuple):
    """Secrets of TLS connections that a capture file holds, for packets that come after them."""

    lines: bytes
    """Lines of a key log, as NSS writes it."""


class Place(NamedTuple):
    """Where in the capture something was seen: the evidence that a person can open in Wireshark."""

    time_ns: int
    """Nanoseconds since the Unix epoch, UTC."""
    frame: int
    file: int = 0


class Undecrypted(NamedTuple):
    """From some place on nothing more of one direction of a TLS connection is decrypted."""

    key: bytes
    """Addresses and ports of the direction, as a segment has them."""
    before: Place
    """The last packet before what is missing."""
    place: Place
    """The first packet behind it."""
    reason: str
    """Why, in a few words."""


class Endpoint(NamedTuple):
    """One end of a TCP connection."""

    host: str
    """IPv4 or IPv6 address in its usual text form."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Opening(NamedTuple):
    """How a TCP connection was opened."""

    asked: Place
    """The first SYN."""
    answered: Place
    """The first packet that shows that it was answered: the SYN with ACK, if that was captured."""
    attempts: int
    """SYNs that were sent for it, copies of the capture not counted."""


class Stream:
    """One direction of one TCP connection."""

    __slots__ = ("destination", "handshake", "number", "opening", "round_trips", "segments", "source")

    def __init__(self, number: int, source: Endpoint, destination: Endpoint) -> None:
        self.number = number
        """Counts the directions of all TCP connections from 0; `number // 2` is Wireshark's tcp.stream."""
        self.source = source
        self.destination = destination
        self.handshake: wire.Handshake | None = None
        """Once its handshake has been seen: what the sender says of itself."""
        self.opening: Opening | None = None
        """Of the side that opened the connection; None when that was not seen."""
        self.segments = 0
        """Segments with data so far, copies of the capture not counted."""
        self.round_trips: Histogram | None = None
        """From a segment with data to its acknowledgement, in nanoseconds; None as long as there was none.

        Segments whose bytes were sent again are left out (RFC 6298, section 3: Karn's algorithm). One segment is timed
        at a time, and none within 20 ms of the beginning of the one before.
        """

    def count_round_trip(self, elapsed_ns: int) -> None:
        """Take note of a segment that was acknowledged after so long."""
        if self.round_trips is None:
            self.round_trips = Histogram()
        self.round_trips.add(elapsed_ns)


class StreamOpened(NamedTuple):
    """A stream showed the handshake of a Raft server."""

    stream: Stream
    place: Place


STREAM_KINDS: dict[str, str] = {
    "raft": "Raft",
    "dqlite_client": "dqlite's client protocol",
    "http": "HTTP",
    "upgrade": "HTTP",
    "tls": "TLS",
    "unknown": "something that is not Raft",
    "empty": "no data",
}
"""What a connection can carry, with the words for it."""

StreamEnd = Literal["fin", "rst", "reused", "capture_end", "limit"]


class StreamClosed(NamedTuple):
    """A Raft stream ended.

    `reused` means that a new connection took the same addresses and ports, `limit` that too many others were open.
    """

    stream: Stream
    place: Place
    reason: StreamEnd


TransportEventKind = Literal["refused", "unanswered", "closed", "reset", "retransmission", "zero_window"]


class TransportEvent(NamedTuple):
    """Something that TCP did on a connection, beside carrying bytes.

    `refused` and `unanswered` are told of all connections, since those were never used: a SYN that was answered with
    RST, and one that was not answered before its connection was forgotten or the capture ended, a second later at
    least. The others are told of Raft alone: the first FIN or RST of either side, a segment whose bytes had all been
    sent before, and a window of zero.
    """

    stream: Stream
    """The one whose data it is about: of the side that opened the connection, that sent again, that has to wait."""
    kind: TransportEventKind
    place: Place
    last: Place
    """The last SYN of `unanswered`, the RST of `refused`; otherwise the same as `place`."""
    attempts: int = 1
    """SYNs of `refused` and `unanswered`, copies of the capture not counted."""


class Message:
    """One RPC message, found in a stream.

    The header is decoded when somebody asks for `fields`, `entries` or `configuration`.
    """

    __slots__ = (
        "_decoded",
        "changes",
        "digests",
        "first",
        "header",
        "layout",
        "missing",
        "offset",
        "payload",
        "payload_length",
        "payload_sha256",
        "place",
        "preamble",
        "stream",
    )

    def __init__(
        self,
        stream: Stream,
        offset: int | None,
        first: Place,
        preamble: wire.Preamble,
        layout: str | None = None,
    ) -> None:
        self.stream = stream
        self.offset = offset
        """Byte offset in the stream, handshake included; None when the start of the stream was not seen."""
        self.first = first
        """Where the message's first byte was seen."""
        self.place = first
        """Where the message was complete: the last packet that was needed."""
        self.preamble = preamble
        self.layout = layout
        self.header = b""
        """What was captured of the header."""
        self.payload_length: int | None = None
        """Bytes; None when the part of the header that says so was not captured."""
        self.missing: int | None = 0
        """Bytes of the message that the capture does not have; None when their number is unknown."""
        self.payload: bytes | None = None
        """The payload when it was asked for and is whole."""
        self.payload_sha256: str | None = None
        """Hexadecimal, when it was asked for and the payload is whole."""
        self.changes: dict[int, bytes] = {}
        """The data of the entries that are changes, by their position in `entries`, as far as they are whole."""
        self.digests: tuple[int | None, ...] | None = None
        """The CRC-32 of each entry's data, or of the snapshot's, when it was asked for; None of what is not whole."""
        self._decoded: wire.Header | None = None

    @property
    def type(self) -> int:
        """The message's number in the preamble."""
        return self.preamble.type

    @property
    def name(self) -> str:
        """The message's name, such as AppendEntries."""
        return wire.MESSAGE_NAMES[self.preamble.type]

    @property
    def partial(self) -> bool:
        """Whether a gap or a short snaplen cut the message."""
        return self.missing != 0

    @property
    def decoded(self) -> wire.Header:
        """The header as the wire table reads it."""
        if self._decoded is None:
            preamble = self.preamble
            self._decoded = wire.decode_header(
                preamble.type, preamble.version, self.header, preamble.header_length, self.layout
            )
        return self._decoded

    @property
    def fields(self) -> dict[str, int]:
        """The message's own fields by their documented names; a field that was not captured is absent."""
        return self.decoded.fields

    @property
    def entries(self) -> tuple[wire.Entry, ...]:
        """The entries of AppendEntries."""
        return self.decoded.entries

    @property
    def configuration(self) -> tuple[wire.Server, ...] | None:
        """The configuration of InstallSnapshot."""
        return self.decoded.configuration

    def keep_change(self, number: int, data: bytes) -> None:
        """Remember the data of the entry at position `number`, which is a change."""
        self.changes[number] = data

    def change(self, number: int) -> tuple[wire.Server, ...] | None:
        """The configuration in the entry at position `number`; None if it is no whole configuration."""
        data = self.changes.get(number)
        if data is None:
            return None
        try:
            return wire.decode_configuration(data)
        except wire.MalformedError:
            return None


class Arrival(NamedTuple):
    """A message whose payload is still coming."""

    message: Message
    """Its `place` is that of the last packet that brought some of it."""
    received: int
    """Bytes of the payload that have passed, those that the capture lacks included."""


DiagnosticKind = Literal[
    "gap",
    "resync",
    "malformed",
    "unfinished",
    "limit",
    "file_damaged",
    "file_truncated",
    "not_raft",
    "dropped",
    "interface_down",
    "interface_gone",
]


GapCost = Literal["partial", "framing", "unframed", "handshake"]


class Gap(NamedTuple):
    """What is known of bytes that the capture does not have, beside their place and number."""

    before: Place
    """The last packet of the stream before them; the diagnostic's own place is the first one behind them."""
    cost: GapCost
    """`partial`: they lie inside one message, and nothing else is lost. `handshake`: the same of the handshake.
    `framing`: where the next message begins had to be found again, and messages may be lost up to there. `unframed`: it
    was not found again."""
    message: str | None
    """The name of the message that they cut, if it is one that is given in part."""
    message_offset: int | None
    """Its offset in the stream."""
    passed_over: int | None
    """Bytes behind them, up to the next message, that are of no use; None if there is nothing to find again."""


MalformedPart = Literal["protocol", "address", "preamble", "header", "configuration"]


class Malformed(NamedTuple):
    """What no release writes like this."""

    part: MalformedPart
    """`protocol` and `address` of the handshake, the preamble of a message, its header, or the configuration in it."""
    preamble: wire.Preamble | None
    """What stands where a message must begin; None where the handshake does."""


class Diagnostic(NamedTuple):
    """Something about the capture that a reader must know to trust the rest."""

    kind: DiagnosticKind
    place: Place
    stream: Stream | None
    offset: int | None
    """Byte offset in the stream, or in the file for `file_damaged` and `file_truncated`."""
    size: int | None
    """Bytes concerned; None when unknown."""
    detail: str
    message: Message | None = None
    """Of `unfinished`: what was there of the message."""
    gap: Gap | None = None
    """Of `gap`: which packets stand around it, and what it cost."""
    malformed: Malformed | None = None
    """Of `malformed`: what is."""


Event = Message | Diagnostic | StreamOpened | StreamClosed | TransportEvent
"""What the stream engine gives, in the order in which it becomes certain."""
