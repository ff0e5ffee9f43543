"""What the readers of the capture formats share: bytes are fed in, blocks of packets come out; no I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, NamedTuple

from raft_dissect.capture.recovery import ENOUGH_RECORDS, MOST_STEPS, STEPS_PER_SEARCH, Search
from raft_dissect.columns import PacketBlock, PacketColumns
from raft_dissect.values import CaptureProblem, TlsSecrets

if TYPE_CHECKING:
    from raft_dissect.capture.recovery import Rules

Item = PacketBlock | CaptureProblem | TlsSecrets
"""What a reader gives."""

MIN_LARGEST_RECORD = 256 * 1024
"""Bytes that one packet may always have: the snaplen that capture tools set when nobody asks for another."""

LARGEST_RECORD = 16 * 1024 * 1024
"""Bytes that one record or block may have at most, whatever its file says, so memory stays bounded."""


class _Damage(NamedTuple):
    """A damaged place behind which records are searched."""

    offset: int
    frame: int
    detail: str
    search: Search
    is_certain: bool
    """If not, it is a record after all when none is found behind it."""


class RecordReader(ABC):
    """A reader of one capture file that is fed the file's bytes in pieces of any size.

    `feed` never raises for what the bytes are. Damage is a `CaptureProblem` among the blocks: it comes before
    the packets behind it, once it is known where those begin. What cannot be read on is the last item of the file.
    However the file is divided into pieces, the packets and problems are the same. What is given is valid until more
    is fed.
    """

    def __init__(self, file: int = 0) -> None:
        """`file` is the index of the file within its capture."""
        self.file = file
        self.frame = 0
        """Number of the last packet that was read whole."""
        self.offset = 0
        """Byte offset of the first record that was not read yet."""
        self.stopped = False
        """True once whatever follows is not looked at."""
        self._at_end = False
        self._longest = 0
        """Length of the longest record so far."""
        self._damage: _Damage | None = None
        self._accepted = -1
        """Byte offset of the record that was in doubt and is to be read."""
        self._steps = MOST_STEPS
        self._pending = bytearray()
        self._needed = 1
        self._columns = PacketColumns()
        self._begun = 0
        """Row of the columns with the first packet that is in no block yet."""
        self._rows = 0
        """Rows of the columns that are filled."""
        self._link_type = 0
        """Of the packets that are in no block yet."""

    def feed(self, data: bytes) -> list[Item]:
        """Return the packets that `data`, the next bytes of the file, completes, in blocks."""
        if self.stopped:
            return []
        if len(self._pending) + len(data) < self._needed:
            self._pending += data
            return []
        return self._read(bytes(self._pending) + data)

    def close(self) -> list[Item]:
        """Say that the file ended; return what that decides, and a problem when it was inside a record."""
        items = self._read_to_end()
        if self._pending:
            detail = (
                f"the file ends inside a record: {len(self._pending)} of at least {self._needed} bytes are there "
                "(perhaps the capture was still being written, or its copy is incomplete)"
            )
            items.append(self._stop("file_truncated", 0, detail))
        return items

    def stop(self, kind: Literal["file_damaged", "file_truncated"], detail: str) -> list[Item]:
        """Say that no more bytes come, and why; return what that decides, and the problem that it is."""
        return [*self._read_to_end(), self._stop(kind, 0, detail)]

    @abstractmethod
    def _read_records(self, buffer: bytes, position: int, items: list[Item]) -> int:
        """Take what the whole records of `buffer` from `position` on hold; return where they end.

        Packets go into the columns, and in blocks into `items`. Sets `_needed` to the number of bytes that the next
        record needs at least, and `_longest`. At damage it calls `_search_behind`, or appends the result of `_stop`,
        and returns. A record at `_accepted` is no damage where it was not certain.
        """

    def _end_block(self, buffer: bytes, items: list[Item]) -> None:
        """Append the packets that are in no block yet, the last of which is the last frame so far, as a block."""
        begin, end = self._begun, self._rows
        if end > begin:
            first = self.frame - (end - begin) + 1
            items.append(PacketBlock(self._columns, begin, end, buffer, self._link_type, first, self.file))
            self._begun = end

    def _stop(self, kind: Literal["file_damaged", "file_truncated"], position: int, detail: str) -> CaptureProblem:
        """Return the problem that ends this file at `position` of the current buffer."""
        self.stopped = True
        self._pending.clear()
        return CaptureProblem(kind, self.file, self.frame, self.offset + position, detail)

    def _search_behind(self, position: int, detail: str, first: int, rules: Rules, *, is_certain: bool = True) -> None:
        """Begin to search, at `first` of the current buffer, behind the damage at `position`.

        That it is damage may be uncertain only at the file's end.
        """
        reach = min(self._longest, MIN_LARGEST_RECORD) if self.frame else MIN_LARGEST_RECORD
        fewest = 1 if is_certain else ENOUGH_RECORDS
        search = Search(rules, self.offset + first, reach, fewest=fewest, steps=self._steps)
        self._damage = _Damage(self.offset + position, self.frame, detail, search, is_certain)

    def _read_to_end(self) -> list[Item]:
        if self.stopped:
            return []
        self._at_end = True
        return self._read(bytes(self._pending))

    def _read(self, buffer: bytes) -> list[Item]:
        items: list[Item] = []
        self._begun = self._rows = 0
        position = 0 if self._damage else self._read_records(buffer, 0, items)
        while damage := self._damage:
            behind = self._go_on(damage, buffer, items)
            if behind is None:
                position = damage.search.keep - self.offset
                break
            position = self._read_records(buffer, behind - self.offset, items)
        self.offset += position
        self._pending = bytearray() if self.stopped else bytearray(buffer[position:])
        return items

    def _go_on(self, damage: _Damage, buffer: bytes, items: list[Item]) -> int | None:
        """Return the byte offset at which reading goes on, if it is known and any; append the problem once it is."""
        search = damage.search
        found = search.run(buffer, self.offset, at_end=self._at_end)
        if not found and not damage.is_certain:
            self._damage = None
            self._accepted = damage.offset
            return damage.offset
        if found:
            passed = search.position - damage.offset
            behind = f"{passed} bytes were passed over, and reading goes on at byte {search.position}"
        elif search.steps <= 0:
            behind = "the search behind it was given up, for too much of the file is damaged"
            self.stopped = True
        elif self._at_end:
            behind = "nothing behind it could be read"
            self.stopped = True
        else:
            self._needed = search.position - search.keep + search.needed
            return None
        self._damage = None
        self._steps = search.steps - STEPS_PER_SEARCH
        detail = f"{damage.detail}; {behind}"
        items.append(CaptureProblem("file_damaged", self.file, damage.frame, damage.offset, detail))
        return search.position if found else None
