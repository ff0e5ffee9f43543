"""Opens capture files and standard input, and merges them by time into one capture."""

from __future__ import annotations

import heapq
from itertools import chain
from typing import TYPE_CHECKING

from raft_dissect.capture.errors import CaptureError
from raft_dissect.capture.source import STANDARD_INPUT, Source
from raft_dissect.columns import PacketBlock
from raft_dissect.values import TlsSecrets

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from raft_dissect.capture.records import Item
    from raft_dissect.values import CaptureProblem, Packet

_AFTER_ALL_TIMES = 2**63


def open_capture(paths: Sequence[str], *, follow: bool = False) -> Capture:
    """Open the files at `paths` as one capture; `-` is standard input.

    Every file is opened and its format looked at before this returns. Raises `CaptureError` for the first
    one that is missing, not readable, empty or no capture.

    With `follow` a plain regular file, one alone, is waited for at its end, also while it is still empty: a packet
    comes within a fifth of a second of being written. It ends when the file is removed or `stop_following` is
    called, and with a `CaptureProblem` when the file becomes shorter. Standard input and pipes end as they always
    do. Raises `CaptureError` for several files and for a compressed one.
    """
    if follow and len(paths) > 1:
        raise CaptureError(paths[1], "only one file can be followed; leave this one out")
    if paths.count(STANDARD_INPUT) > 1:
        raise CaptureError(STANDARD_INPUT, "it can be read only once; name it once")
    sources = [Source(path, index, follow=follow) for index, path in enumerate(paths)]
    try:
        for source in sources:
            source.open(keep_open=len(sources) == 1)
    except BaseException:
        for source in sources:
            source.close()
        raise
    return Capture(sources)


class Capture:
    """One capture out of one file or several, to be iterated over once, and a context manager.

    It yields every `Packet`, and a `CaptureProblem` at each place where a file is damaged or cut, whether or not
    reading goes on behind it.
    Several files are merged by capture time; the packets of one file keep their order whatever their times
    are, and of packets with the same time those of the earlier file come first. Files whose turn has not
    come are not held open, so a rotation may have any number of parts.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        """Made by `open_capture`."""
        self._sources = sources
        self._items = sources[0].items() if len(sources) == 1 else _merge(sources)
        self._packets = _one_by_one(self._items)

    @property
    def files(self) -> list[str]:
        """The paths as they were given; `Packet.file` is an index into this list."""
        return [source.path for source in self._sources]

    @property
    def size(self) -> int | None:
        """Bytes of all files on disk; None when one is no regular file or is followed."""
        sizes = [source.size for source in self._sources if source.size is not None]
        return sum(sizes) if len(sizes) == len(self._sources) else None

    @property
    def bytes_read(self) -> int:
        """Bytes read so far, counted as `size` counts them: compressed where a file is."""
        return sum(source.bytes_read for source in self._sources)

    def __iter__(self) -> Iterator[Packet | CaptureProblem]:
        return self._packets

    def blocks(self) -> Iterator[Item]:
        """Yield the same in blocks of packets, each of which is valid until the next item is asked for.

        Among them are the secrets of TLS connections that a file holds.
        """
        return self._items

    def stop_following(self) -> None:
        """Wait for a followed file no longer: iteration ends within a fifth of a second with what was read by then.

        It may be called by a signal handler or another thread. Any other capture ends as it always does.
        """
        for source in self._sources:
            source.stop_following()

    def close(self) -> None:
        """Close all files; nothing more can be read."""
        self._packets.close()
        self._items.close()
        for source in self._sources:
            source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _one_by_one(items: Iterator[Item]) -> Generator[Packet | CaptureProblem, None, None]:
    for item in items:
        if isinstance(item, PacketBlock):
            yield from item
        elif not isinstance(item, TlsSecrets):
            yield item


def _merge(sources: Sequence[Source]) -> Generator[Item, None, None]:
    """Yield the items of all sources by time, each source's own in their order."""
    no_item: Item | None = None
    turns = [(source.first_time_ns, source.index, source.items(), no_item) for source in sources]
    heapq.heapify(turns)
    while turns:
        time_ns, index, items, item = heapq.heappop(turns)
        end_of_turn = turns[0][:2] if turns else (_AFTER_ALL_TIMES, 0)
        for each in items if item is None else chain((item,), items):
            if not isinstance(each, PacketBlock):
                yield each
                continue
            begin, time_ns = _in_turn(each, end_of_turn, index)
            if begin > each.begin:
                yield each.part(each.begin, begin)
            if begin < each.end:
                heapq.heappush(turns, (time_ns, index, items, each.part(begin, each.end)))
                break


def _in_turn(block: PacketBlock, end_of_turn: tuple[int, int], source: int) -> tuple[int, int]:
    """The index of the first packet of a block of a source that comes after the end of its turn, and its time."""
    times = block.columns.times
    time_ns = 0
    for index in range(block.begin, block.end):
        time_ns = times[index]
        if (time_ns, source) > end_of_turn:
            return index, time_ns
    return block.end, time_ns
