"""Scapy fields that read and write the fields of the wire table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scapy.compat import bytes_encode
from scapy.fields import ConditionalField, EnumField, Field, FlagsField, PacketListField
from scapy.packet import Packet
from scapy.volatile import RandBin

from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_dissect.layers.structure import Element, Structure

_FORMATS = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}
_SHOWN = 32
"""Bytes of an entry's data or of a snapshot that show() prints."""
MAX_ELEMENTS = 1 << 16
"""Entries or servers of one message that become packets, about 2 KB each; what is beyond them stays bytes."""
YES_NO = {0: "no", 1: "yes"}
_DEFAULTS = {"term": 1, "candidate_id": 1, "id": 1, "protocol": 1, "format": 1}
"""What no server would accept as 0; every other number starts at 0."""


class _Absent:
    """The value of a field whose bytes are not there."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()


def _pack(name: str, number: int, width: int) -> bytes:
    if not 0 <= number < 1 << 8 * width:
        raise OverflowError(f"{name} is {number}, which does not fit into {width} bytes")
    return number.to_bytes(width, "little")


class Integer(EnumField[int]):
    """A little-endian unsigned integer of the size that the wire table gives it, shown by name if it has one."""

    __slots__ = ["compute"]

    def __init__(
        self,
        field: table.Field,
        *,
        names: dict[int, str] | None = None,
        default: int | None = None,
        compute: Callable[[Any], int] | None = None,
    ) -> None:
        self.compute = compute
        if default is None and compute is None:
            default = _DEFAULTS.get(field.name, 0)
        super().__init__(field.name, default, names or {}, _FORMATS[field.size])

    def any2i_one(self, pkt: Packet | None, x: Any) -> int:
        """The number that a name stands for; raises ValueError for a name that there is not."""
        if isinstance(x, str) and x not in (self.s2i or ()):
            known = ", ".join(self.s2i or ()) or "only numbers"
            raise ValueError(f"{self.name} cannot be {x!r}; it can be: {known}")
        return super().any2i_one(pkt, x)

    def i2m(self, pkt: Packet | None, x: Any) -> int:
        """The number to write, worked out from the rest of the packet when nobody has set it."""
        if x is None:
            return self.compute(pkt) if self.compute else 0
        return int(x)

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        """Append the number; raises OverflowError when it does not fit."""
        return s + _pack(self.name, self.i2m(pkt, val), pkt.width(self.name))

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        """Read the number, or ABSENT when its bytes are not all there."""
        width = pkt.width(self.name)
        if len(s) < width:
            return s, ABSENT
        return s[width:], int.from_bytes(s[:width], "little")


class TypeNumber(Integer):
    """The number that says what a message is, which fuzz() leaves alone."""

    def randval(self) -> Any:
        """No random value: a message of a random type would not be that message."""
        return None


class Bits(FlagsField):
    """Named bits in a little-endian word."""

    def __init__(self, field: table.Field) -> None:
        names = [*field.bits, *(f"bit_{bit}" for bit in range(len(field.bits), 64))]
        super().__init__(field.name, 0, 8 * field.size, names)

    def addfield(self, pkt: Any, s: Any, val: Any) -> bytes:
        """Append the word; raises OverflowError when a bit does not fit."""
        return bytes(s) + _pack(self.name, int(val or 0), pkt.width(self.name))

    def getfield(self, pkt: Any, s: Any) -> tuple[bytes, Any]:
        """Read the word, or ABSENT when its bytes are not all there."""
        width = pkt.width(self.name)
        if len(s) < width:
            return s, ABSENT
        return s[width:], self.m2i(pkt, int.from_bytes(s[:width], "little"))


class Blob(Field[Any, bytes]):
    """Bytes up to the end of what is dissected; worked out from the rest of the packet when None."""

    __slots__ = ["compute"]

    def __init__(self, name: str, default: Any = b"", compute: Callable[[Any], bytes] | None = None) -> None:
        self.compute = compute
        super().__init__(name, default, "0s")

    def any2i(self, pkt: Packet | None, x: Any) -> Any:  # noqa: ARG002 - Scapy's signature
        """Accept text as well as bytes."""
        return bytes_encode(x) if isinstance(x, str | bytearray | memoryview) else x

    def i2m(self, pkt: Packet | None, x: Any) -> bytes:
        """The bytes to write."""
        if x is None:
            return self.compute(pkt) if self.compute else b""
        return bytes(x)

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        """Append the bytes."""
        return s + self.i2m(pkt, val)

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, Any]:  # noqa: ARG002 - Scapy's signature
        """Take everything."""
        return b"", s

    def i2repr(self, pkt: Packet | None, x: Any) -> str:
        """The start of the bytes, and how many there are if that is not all."""
        if isinstance(x, bytes) and len(x) > _SHOWN:
            return f"{x[:_SHOWN]!r}... ({len(x)} bytes)"
        return super().i2repr(pkt, x)

    def randval(self) -> Any:
        """No random value: fuzz() leaves alone what receivers ignore."""
        return None


class Text(Blob):
    """Text up to a NUL byte, which belongs to the padding that follows."""

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, Any]:  # noqa: ARG002 - Scapy's signature
        """Take what is before the NUL byte, or everything."""
        text = s.partition(b"\0")[0]
        return s[len(text) :], text


class TerminatedText(Blob):
    """Text with the NUL byte that ends it, which is not part of the value."""

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        """Append the text and a NUL byte."""
        return s + self.i2m(pkt, val) + b"\0"

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, Any]:  # noqa: ARG002 - Scapy's signature
        """Take what is before the NUL byte, or ABSENT when there is none."""
        text, nul, rest = s.partition(b"\0")
        return (rest, text) if nul else (s, ABSENT)


class Unused(Blob):
    """Bytes without a meaning, of the size that the wire table gives them."""

    def __init__(self, field: table.Field, name: str) -> None:
        super().__init__(name, bytes(field.size))

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        """Take the bytes, or ABSENT when they are not all there."""
        width = pkt.width(self.name)
        return (s[width:], s[:width]) if len(s) >= width else (s, ABSENT)

    def i2repr(self, pkt: Packet | None, x: Any) -> str:
        """Hexadecimal digits."""
        return x.hex() if isinstance(x, bytes) else super().i2repr(pkt, x)


class Content(Blob):
    """Bytes that may be a structure of their own: then the value is that structure's packet."""

    holds_packets = 1
    ismutable = True

    def randval(self) -> Any:
        """Random bytes, but only in the place of bytes."""
        return None if isinstance(self.default, Packet) else RandBin()


class Several(PacketListField):
    """As many structures as a count says, or fewer when the bytes end."""

    __slots__ = ["count", "element"]

    def __init__(self, name: str, element: type[Element], count: Callable[[Any], int | None]) -> None:
        self.element = element
        self.count = count
        super().__init__(name, [], element)

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, Any]:
        """Take the structures that are whole, up to MAX_ELEMENTS of them."""
        found: list[Packet] = []
        count = min(self.count(pkt) or 0, MAX_ELEMENTS)
        start = 0
        end = self.element.end_of(s, start)
        while len(found) < count and end:
            found.append(self.element(s[start:end], _parent=pkt))
            start = end
            end = self.element.end_of(s, start)
        return s[start:], found


class Layout(Field[Any, bytes]):
    """Which of the table's layouts a message has; no byte on the wire, but it decides which fields there are."""

    def __init__(self) -> None:
        super().__init__("layout", None, "0s")

    def any2i(self, pkt: Any, x: Any) -> Any:
        """Accept a layout of this message; raises ValueError for any other."""
        if pkt is not None and x is not None and x not in pkt.by_layout:
            raise ValueError(f"{pkt.name} has no layout {x!r}; it has: {', '.join(pkt.by_layout)}")
        return x

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:  # noqa: ARG002 - Scapy's signature
        """Append nothing."""
        return s

    def i2repr(self, pkt: Any, x: Any) -> str:  # noqa: ARG002 - Scapy's signature
        """All layouts that share the message's fields, as ranges."""
        labels = [layout.label for layout in table.LAYOUTS]
        shared = [label in pkt.form.layouts for label in labels]
        starts = [i for i, here in enumerate(shared) if here and not (i and shared[i - 1])]
        ranges = []
        for start in starts:
            end = start
            while end + 1 < len(labels) and shared[end + 1]:
                end += 1
            ranges.append(labels[start] if start == end else f"{labels[start]}..{labels[end]}")
        return ", ".join(ranges)

    def randval(self) -> Any:
        """Nothing random."""
        return None


class Part(ConditionalField):
    """A field that a structure may lack.

    Its layout may not have it, its bytes may not have been there, or somebody set it to None to leave it out. In the
    packet's own dictionary it is ABSENT then; who reads it as an attribute gets None.
    """

    def __init__(self, fld: Field[Any, Any]) -> None:
        super().__init__(fld, self._there)

    def _there(self, pkt: Any) -> bool:
        return pkt.has(self.fld.name) and pkt.getfieldval(self.fld.name) is not ABSENT

    def any2i(self, pkt: Packet | None, x: Any) -> Any:
        """None leaves the field out, unless the field is one that works out its own value."""
        if x is ABSENT or (x is None and getattr(self.fld, "compute", None) is None):
            return ABSENT
        return self.fld.any2i(pkt, x)

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, Any]:
        """Read the field, whether or not there is a value yet."""
        return self.fld.getfield(pkt, s)


class Leftover(Part):
    """Bytes that show() prints only when they say something: when they are there and are not all zero."""

    def _there(self, pkt: Any) -> bool:
        value = pkt.getfieldval(self.fld.name)
        return bool(value) and value is not ABSENT and any(bytes(value))

    def i2h(self, pkt: Packet | None, val: Any) -> Any:
        """The bytes, also when they are not shown."""
        return None if val is ABSENT else self.fld.i2h(pkt, val)

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        """Append the bytes, also when they are not shown."""
        return s if val is ABSENT else self.fld.addfield(pkt, s, val)


def part(
    field: table.Field,
    *,
    names: dict[int, str] | None = None,
    default: int | None = None,
    compute: Callable[[Structure], int] | None = None,
) -> Part:
    """The Scapy field for a field of fixed size."""
    if field.kind == "bits":
        return Part(Bits(field))
    if field.kind == "unused":
        return Part(Unused(field, field.name))
    if field.kind == "boolean":
        names = YES_NO
    return Part(Integer(field, names=names, default=default, compute=compute))
