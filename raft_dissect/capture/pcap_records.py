"""What a record of a classic pcap file looks like, and what cannot be one."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.capture.records import LARGEST_RECORD
from raft_dissect.capture.recovery import ENOUGH_RECORDS, Rules

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGICS = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
"""First four bytes of a file: its byte order, and the nanoseconds in one unit of a timestamp's fraction."""

FILE_HEADER_SIZE = 24
HEADER_SIZE = 16
"""Bytes of a record's header."""

DAY = 86_400
"""Seconds between packets that follow one another, at most, where nothing is odd."""

_ANY = rb"[\x00-\xff]"
_NO_ZERO_FOLLOWS = rb"(?!\x00{4})"


class Header(NamedTuple):
    """The header of one record."""

    seconds: int
    fraction: int
    captured: int
    original: int

    @property
    def record_length(self) -> int:
        """Bytes of the record with this header."""
        return HEADER_SIZE + self.captured


class RecordFormat:
    """How the records of one file are written, by its file header."""

    __slots__ = ("fraction_ns", "fractions", "largest", "lengths_may_be_swapped", "order", "struct")

    def __init__(self, order: str, fraction_ns: int, largest: int, *, lengths_may_be_swapped: bool) -> None:
        self.order = order
        self.struct = struct.Struct(order + "IIII")
        self.fraction_ns = fraction_ns
        self.fractions = 1_000_000_000 // fraction_ns
        """Units of a timestamp's fraction in a second."""
        self.largest = largest
        """Bytes that a packet has at most."""
        self.lengths_may_be_swapped = lengths_may_be_swapped

    def header(self, buffer: bytes, position: int) -> Header:
        """Return the header of the record at `position`."""
        header = Header._make(self.struct.unpack_from(buffer, position))
        if self.lengths_may_be_swapped and header.captured > header.original:
            return header._replace(captured=header.original, original=header.captured)
        return header

    def impossible(self, header: Header) -> str | None:
        """Say why no record has this header; None if one may have it."""
        if header.captured > self.largest:
            return f"claims {header.captured} captured bytes; at most {self.largest} are plausible"
        return None if any(header) else "has a header of zeros only"

    def oddities(self, header: Header, seconds_before: int | None) -> set[str]:
        """Say what is odd about a possible record; `seconds_before` is the time of the one before it."""
        odd = set()
        if header.fraction >= self.fractions:
            odd.add("has a fraction of a second that is a second or more")
        if header.captured > header.original:
            odd.add("claims more captured bytes than its packet had")
        if header.original == 0:
            odd.add("is of a packet of no bytes")
        if seconds_before is not None and abs(header.seconds - seconds_before) > DAY:
            odd.add("is more than a day from the packet before it")
        return odd


class Suspicion(NamedTuple):
    """What became of an odd record: damage, or more bytes that must be there to say; neither if it is accepted.

    Damage is not certain when the file ends where it could be told.
    """

    damage: str | None = None
    needed: int = 0
    is_certain: bool = True


def examine(
    records: RecordFormat, buffer: bytes, position: int, seconds_before: int | None, *, at_end: bool
) -> Suspicion:
    """Judge the odd record at `position` by the two that follow it.

    Clocks jump, and some programs write odd records; but those that follow are then odd in no other way.
    """
    start = position
    header = records.header(buffer, position)
    damage = records.impossible(header)
    allowed = records.oddities(header, seconds_before)
    oddity = " and ".join(sorted(allowed)) + ", and none follows it"
    for _ in range(ENOUGH_RECORDS - 1):
        if damage:
            return Suspicion(damage)
        seconds_before = header.seconds
        position += header.record_length
        if len(buffer) - position < HEADER_SIZE:
            if not at_end:
                return Suspicion(needed=position + HEADER_SIZE - start)
            return Suspicion() if position == len(buffer) else Suspicion(oddity, is_certain=False)
        header = records.header(buffer, position)
        if records.impossible(header) or not records.oddities(header, seconds_before) <= allowed:
            damage = oddity
    return Suspicion(damage)


def search_rules(records: RecordFormat, seconds: int | None) -> Rules:
    """Return how records are found again behind damage; `seconds` is the time of the last packet, if there is one."""
    pattern, lead = _pattern(records, seconds)
    return Rules(pattern, lead, HEADER_SIZE, lambda: _Chain(records, seconds), _begins_capture, FILE_HEADER_SIZE)


class _Chain:
    """Judges the records behind damage, where nothing odd is accepted."""

    def __init__(self, records: RecordFormat, seconds: int | None) -> None:
        self._records = records
        self._seconds = seconds

    def length(self, buffer: bytes, position: int) -> int:
        header = self._records.header(buffer, position)
        if self._seconds is None:
            self._seconds = header.seconds
        plausible = (
            0 < header.captured <= self._records.largest
            and header.captured <= header.original <= LARGEST_RECORD
            and header.fraction < self._records.fractions
            and abs(header.seconds - self._seconds) <= DAY
        )
        return header.record_length if plausible else 0

    def accept(self, buffer: bytes, position: int, length: int) -> bool:  # noqa: ARG002 - the header says it all
        return True


def _begins_capture(buffer: bytes, position: int) -> bool:
    """Say whether a pcap file header of major version 2 ends at `position`."""
    header = buffer[position - FILE_HEADER_SIZE : position]
    if header[:4] not in MAGICS:
        return False
    order, _fraction_ns = MAGICS[header[:4]]
    return header[4:6] == struct.pack(order + "H", 2)


def _pattern(records: RecordFormat, seconds: int | None) -> tuple[re.Pattern[bytes], int]:
    """Return a pattern for the headers that `_Chain` accepts, and the bytes before what it matches."""
    order = records.order
    captured = LARGEST_RECORD if records.lengths_may_be_swapped else records.largest
    classes = [
        *([_ANY] * 4 if seconds is None else _number(order, max(seconds - DAY, 0), min(seconds + DAY, 2**32 - 1))),
        *_number(order, 0, records.fractions - 1),
        *_number(order, 0, captured),
        *_number(order, 0, LARGEST_RECORD),
    ]
    # Without this every place in a stretch of zeros would match.
    classes[8] = _NO_ZERO_FOLLOWS + classes[8]
    lead = 0
    # The search is several times faster for a pattern that does not begin with any byte.
    while classes[lead] == _ANY:
        lead += 1
    return re.compile(b"".join(classes[lead:]), re.DOTALL), lead


def _number(order: str, low: int, high: int) -> Sequence[bytes]:
    """Return patterns for the bytes of a 32-bit number from `low` to `high`; they match a few others too."""
    top = low >> 24, high >> 24
    second = (low >> 16 & 0xFF, high >> 16 & 0xFF) if top[0] == top[1] else (0, 0xFF)
    classes = [_byte(*top), _byte(*second), _ANY, _ANY]
    return classes if order == ">" else classes[::-1]


def _byte(low: int, high: int) -> bytes:
    return b"[\\x%02x-\\x%02x]" % (low, high)
