"""What the layers of a stream have in common: how they follow one another, preamble and layouts of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from scapy.config import conf
from scapy.layers.inet import TCP

from raft_dissect import wire
from raft_dissect.layers.structure import Structure, by_name
from raft_dissect.wire import table

if TYPE_CHECKING:
    from scapy.fields import AnyField
    from scapy.packet import Packet

    from raft_dissect.values import Message

MAX_CHAIN = 50
"""Layers that are dissected from one segment; Scapy handles layers by recursion, so more would exhaust the stack."""
PREAMBLE = {(f"preamble_{field.name}" if field.kind == "unused" else field.name): field for field in table.PREAMBLE}
"""The preamble's fields; its reserved bytes have a longer name, because RequestVoteResult has reserved bytes too."""


WITH_SUMMARY: list[type[Packet]] = []
"""Every layer that has a summary of its own; Scapy shows the others by name when a layer above has one."""


class Raft(Structure):
    """What a C-Raft stream consists of; `Raft(data)` finds out which layer some bytes are.

    `Raft in packet` asks for any of them. `evidence` is what a session knows of the message: where it was seen.
    """

    name = "Raft"
    match_subclass = True
    __slots__ = ["evidence"]

    @classmethod
    def dispatch_hook(cls, _pkt: bytes = b"", *args: Any, **fields: Any) -> type[Packet]:  # noqa: ARG003 - Scapy's
        """Scapy's hook: the layer of bytes that may be anything."""
        from raft_dissect.layers.openings import classify  # openings are layers, which are made from this class

        return classify(bytes(_pkt)) if _pkt else cls

    @classmethod
    def tcp_reassemble(cls, data: bytes, metadata: dict[str, Any], session: dict[str, Any]) -> Packet | None:  # noqa: ARG003
        """Scapy's hook for TCPSession: the first whole layer of a stream's bytes, None while it is not whole."""
        from raft_dissect.layers.openings import first_whole  # as above

        packet, wanted = first_whole(data)
        if wanted:
            metadata["tcp_min_len"] = wanted
        return packet

    def __init__(self, _pkt: bytes = b"", *args: Any, **fields: Any) -> None:
        self.evidence: Message | None = None
        super().__init__(_pkt, *args, **fields)

    @property
    def frame(self) -> int | None:
        """Number of the packet that completed the message, as Wireshark counts; None when no session found it."""
        return self.evidence.place.frame if self.evidence else None

    @property
    def stream(self) -> int | None:
        """Number of the stream, one direction of a TCP connection; half of it is Wireshark's tcp.stream."""
        return self.evidence.stream.number if self.evidence else None

    @property
    def src(self) -> str | None:
        """Address and port that sent the message."""
        return str(self.evidence.stream.source) if self.evidence else None

    @property
    def dst(self) -> str | None:
        """Address and port to which the message was sent."""
        return str(self.evidence.stream.destination) if self.evidence else None

    def copy(self) -> Any:
        """A deep copy, with the same evidence."""
        clone = super().copy()
        clone.evidence = self.evidence
        return clone

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        """Scapy's hook: another message, or bytes."""
        return next_message(payload) if self.depth() < MAX_CHAIN else conf.raw_layer

    def depth(self) -> int:
        """How many of our layers there are up to this one, itself included."""
        depth = 1
        below = self.underlayer
        while isinstance(below, Raft):
            depth += 1
            below = below.underlayer
        return depth

    def __init_subclass__(cls) -> None:
        WITH_SUMMARY.append(cls)

    def line(self) -> str:
        """What mysummary() says, without where it was seen."""
        return str(self.name)

    def mysummary(self) -> Any:
        """Scapy's hook: one line, with the addresses if a session found this message."""
        where = f"{self.src} > {self.dst} " if self.evidence else ""
        return where + self.line(), [TCP, *WITH_SUMMARY]


BY_NUMBER: dict[int, type[RaftMessage]] = {}
"""The class of each message type."""


def next_message(data: bytes) -> type[Packet]:
    """The layer of bytes at a place where a message must begin, or Raw."""
    preamble = wire.decode_preamble(data)
    if preamble is None or not preamble.reserved_zero:
        return conf.raw_layer
    if not 0 < preamble.header_length <= table.MAX_HEADER_LENGTH:
        return conf.raw_layer
    return BY_NUMBER.get(preamble.type, conf.raw_layer)


def certain_message(data: bytes) -> type[Packet]:
    """The layer of bytes of which it is not known whether a message begins there, or Raw."""
    preamble = wire.decode_preamble(data)
    if preamble is None or preamble.type not in BY_NUMBER:
        return conf.raw_layer
    header = data[table.PREAMBLE_LENGTH : table.PREAMBLE_LENGTH + preamble.header_length]
    if len(header) < smallest_header(preamble.type) or not wire.is_consistent(preamble, header):
        return conf.raw_layer
    return BY_NUMBER[preamble.type]


def smallest_header(type_: int) -> int:
    """Bytes that every header of a type has; fewer prove nothing."""
    forms = [form for message in table.MESSAGES if message.number == type_ for form in message.forms]
    return min((sum(f.size for f in form.fields if f.kind != "unused") for form in forms), default=0)


class RaftMessage(Raft):
    """An RPC message: the preamble, the header that it announces, and the payload that the header announces.

    `RaftMessage(data)` gives the layer of a message that is known to begin there, even one that no server would send.

    `layout` decides which fields a message has when it is built, by default those of the newest layout. `version`,
    `header_length` and every other length and count only say what is written: they follow from the rest unless they
    are set. `extra` is what a header holds after the fields that its layout has.
    """

    name = "RaftMessage"
    __slots__ = ["asked"]
    numbers: ClassVar[tuple[int, ...]] = ()
    """The message types that the class stands for."""
    by_layout: ClassVar[dict[str, table.Form]] = {"": table.Form((), 0, ())}
    """The form of the header in each layout that has the message, oldest first."""
    sizes_by_layout: ClassVar[dict[str, dict[str, table.Field]]] = {"": {}}
    header_fields: ClassVar[list[AnyField]] = []
    """The Scapy fields of all forms together."""

    @classmethod
    def dispatch_hook(cls, _pkt: bytes = b"", *args: Any, **fields: Any) -> type[Packet]:  # noqa: ARG003 - Scapy's
        """Scapy's hook: the layer of bytes that are a message."""
        return next_message(bytes(_pkt)) if _pkt else cls

    def __init__(self, _pkt: bytes = b"", *args: Any, **fields: Any) -> None:
        self.asked: str | None = fields.pop("layout", None) if _pkt else None
        super().__init__(_pkt, *args, **fields)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        forms = [form for m in table.MESSAGES if m.number in cls.numbers for form in m.forms]
        forms = forms or [table.Form(tuple(layout.label for layout in table.LAYOUTS), 0, ())]
        labels = [layout.label for layout in table.LAYOUTS]
        cls.by_layout = {label: form for label in labels for form in forms if label in form.layouts}
        cls.sizes_by_layout = {label: by_name(form.fields) for label, form in cls.by_layout.items()}
        names = {name for fields in cls.sizes_by_layout.values() for name in fields}
        cls.header_fields = [field for field in cls.fields_desc if field.name in names]
        BY_NUMBER.update(dict.fromkeys(cls.numbers, cls))

    @property
    def form(self) -> table.Form:
        """The shape of the header: that of the layout that was asked for or found, by default the newest."""
        return self.by_layout[self._label()]

    def _label(self) -> str:
        found = self.getfieldval("layout")
        return next(reversed(self.by_layout)) if found is None else str(found)

    def width(self, name: str) -> int:
        """The size of a field in bytes, which may depend on the layout."""
        return (self.sizes_by_layout[self._label()].get(name) or PREAMBLE[name]).size

    def has(self, name: str) -> bool:
        """Whether the layout has this field."""
        return name in self.sizes_by_layout[self._label()] or all(f.name != name for f in self.header_fields)

    def header(self) -> bytes:
        """The header's bytes."""
        return self.built([*self.header_fields, self.get_field("extra")])

    def do_dissect(self, s: bytes) -> bytes:
        """Scapy's hook: set the fields, return what follows the message."""
        self.explicit = 1
        s = self.read((self.get_field(name) for name in PREAMBLE), s)
        header_length = self.value("header_length")
        header = s[: header_length or 0]
        self.fields["layout"] = self._choose(header_length, header)
        self.fields["extra"] = self.read(self.header_fields, header)
        payload = s[len(header) :]
        size = self.payload_length(header) if len(header) == header_length else None
        self.take(payload[: size or 0])
        return payload[size or 0 :]

    def payload_length(self, header: bytes) -> int | None:
        """What a whole header says of the payload's length; None when it contradicts itself or its type is reserved."""
        try:
            return wire.payload_length(self.numbers[0], header) if self.header_fields else None
        except wire.MalformedError:
            return None

    def take(self, payload: bytes) -> None:
        """Set the fields that hold the payload."""

    def variable_length(self, header: bytes) -> int:  # noqa: ARG002 - only one message has such a part
        """Bytes of the header's part of variable size, as far as it bears on which layout the header has."""
        return 0

    def _choose(self, header_length: int | None, header: bytes) -> str:
        """The newest layout of this version and length; of an odd length, the longest of this version."""
        newest_first = list(reversed(self.by_layout))
        if header_length is None:
            return newest_first[0]
        fixed = header_length - self.variable_length(header)
        version = self.value("version")
        lengths = {label: sum(f.size for f in form.fields) for label, form in self.by_layout.items()}
        exact = [n for n in newest_first if lengths[n] == fixed and self.by_layout[n].version == version]
        if self.asked in exact:
            return self.asked
        fitting = [label for label in newest_first if lengths[label] <= fixed]
        same_version = [label for label in fitting if self.by_layout[label].version == version]
        longest_first = sorted(same_version or fitting, key=lengths.__getitem__, reverse=True)
        return (exact or longest_first or newest_first[-1:])[0]

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        """Scapy's hook: another message; a doubtful one is Raw where this message did not say where it ends."""
        if self.payload_length(self.header()) is None:
            return certain_message(payload) if self.depth() < MAX_CHAIN else conf.raw_layer
        return super().guess_payload_class(payload)

    def line(self) -> str:
        """What mysummary() says, without where the message was seen."""
        return f"{self.shown('type')} term {self.shown('term')}"

    def flagged(self) -> str:
        """The flags that are set, for the end of a summary line."""
        names = [name for name in self.shown("flags").split("+") if name not in ("", "?")]
        if self.value("disrupt_leader"):
            names.append("disrupt_leader")
        return "".join(f" {name.replace('_', '-')}" for name in names)
