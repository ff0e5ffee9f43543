"""One capture of what passes some interfaces now: opened, merged by time, told of what goes wrong."""

from __future__ import annotations

import select
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.capture.errors import UnavailableError
from raft_dissect.capture.interfaces.names import Names
from raft_dissect.values import CaptureProblem, TimePassed

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from raft_dissect.capture.interfaces.devices import Devices
    from raft_dissect.capture.interfaces.sources import Change, Source
    from raft_dissect.columns import PacketBlock

RING_SIZE = 64 * 1024 * 1024
"""Bytes of all rings together."""

_POLL_MILLISECONDS = 100
_QUIET_SECONDS = 0.25
_COUNT_SECONDS = 1.0
_LOOK_SECONDS = 3.0
_LEAST_BETWEEN_LOOKS = 0.2
_STOP_SECONDS = 2.0
"""How long the rest is waited for when it was stopped; the kernel gives it after a fifth of a second."""
_SETTLE_SECONDS = 0.02
"""How long another processor may take to put a packet that passed the filter into the ring."""
_HOLD_NS = 250_000_000
"""Twice the time after which the kernel gives a block, and some more: what is older is in a ring that can be read."""
_AFTER_ALL_TIMES = 2**63 - 1


class SourceStatistics(NamedTuple):
    """What the kernel has counted since the capture was opened."""

    name: str
    """An interface, or patterns, as they were given."""
    received: int
    """Packets that passed the kernel's filter and were taken."""
    dropped: int
    """Packets that passed the filter and for which there was no room."""


class InterfaceStatistics(NamedTuple):
    """What was captured on one interface since the capture was opened."""

    number: int
    """The one that its packets have."""
    received: int
    """Packets that were read."""
    dropped: int | None
    """Packets that the kernel had to drop; None where it does not say of which interface they were."""


def open_interfaces(
    names: Sequence[str],
    ports: Collection[int] | None = None,
    *,
    ring_size: int = RING_SIZE,
    promiscuous: bool = True,
) -> LiveCapture:
    """Begin to capture TCP on interfaces: names, shell patterns such as `veth*`, or `any` alone for all.

    With `ports` only what goes from or to one of them is captured, and fragments. `ring_size` is in bytes and is
    divided among the names, of which all patterns together count as one; the memory is the kernel's from the begin on.
    `promiscuous` shows what a bridge forwards between others, too. `any` captures as libpcap's device of that name
    does: with a header of LINKTYPE_LINUX_SLL2, and not promiscuously.
    Raises UnavailableError where capturing is not allowed or not possible, CaptureError for an interface that does not
    exist or when there is no memory.
    """
    if not sys.platform.startswith("linux"):
        raise UnavailableError(names[0], "interfaces can be captured on under Linux alone; pipe a capture in instead")
    # Only Linux has what these need.
    from raft_dissect.capture.interfaces.devices import Devices
    from raft_dissect.capture.interfaces.sources import Options, open_sources

    devices, known = Devices(), Names()
    try:
        given = list(dict.fromkeys(names))
        sources = open_sources(given, Options(ports, ring_size, promiscuous), devices.now(), known)
    except BaseException:
        devices.close()
        raise
    return LiveCapture(sources, devices, known)


class LiveCapture:
    """What passes some interfaces, to be iterated over once, and a context manager.

    The kernel has captured since it was opened. Packets of several interfaces are merged by time, and numbered in that
    order whatever interface they are of; for that they are held back for a quarter of a second, unless a ring fills.
    """

    def __init__(self, sources: Sequence[Source], devices: Devices, names: Names) -> None:
        """Made by `open_interfaces`."""
        self.names = names
        """The interfaces by the numbers that packets have."""
        self.frame = 0
        """Number of the last packet that was given."""
        self._sources = sources
        self._devices = devices
        self._stopping = False
        self._closed = False
        self._counts = [SourceStatistics(source.name, 0, 0) for source in sources]
        now = time.monotonic()
        self._next_look = now
        self._looked = 0.0
        self._next_count = now + _COUNT_SECONDS
        self._poll = select.poll()
        for source in sources:
            self._poll.register(source.ring.fileno(), select.POLLIN)
        if devices.changes is not None:
            self._poll.register(devices.changes, select.POLLIN)
        self._items = self._all_items()

    @property
    def files(self) -> list[str]:
        """What is captured on, as it was given, all patterns as one; `PacketBlock.file` is an index into this list."""
        return [source.name for source in self._sources]

    def blocks(self) -> Iterator[PacketBlock | CaptureProblem | TimePassed]:
        """Yield packets as they come, in blocks each of which is valid until the next item is asked for.

        When there were none for a quarter of a second a `TimePassed` comes instead, and again and again. A
        `CaptureProblem` says what the kernel had to drop, that an interface was set down, or that it is gone, which
        comes behind its last packets. It ends when the last interface is gone, or with what was captured before `stop`.
        """
        return self._items

    def stop(self) -> None:
        """Capture no more: `blocks` ends within half a second with what was captured by now.

        It may be called by a signal handler or another thread.
        """
        self._stopping = True

    def statistics(self) -> list[SourceStatistics]:
        """What the kernel has counted of each of `files`; it is also known after `close`."""
        if not self._closed:
            counts = ((source.name, source.ring.counts()) for source in self._sources)
            self._counts = [SourceStatistics(name, each.taken, each.dropped) for name, each in counts]
        return self._counts

    def interface_statistics(self) -> list[InterfaceStatistics]:
        """What was captured on each interface."""
        each = []
        for file, source in enumerate(self.statistics()):
            numbers = self.names.of(file)
            dropped = source.dropped if len(numbers) == 1 or not source.dropped else None
            each += [InterfaceStatistics(number, self.names.received.get(number, 0), dropped) for number in numbers]
        return each

    @property
    def link_types(self) -> set[int]:
        """The LINKTYPE_ numbers of the packets that come from the interfaces that there are now."""
        return set().union(*(source.link_types for source in self._sources))

    def close(self) -> None:
        """Close all interfaces; nothing more can be read."""
        if self._closed:
            return
        self.statistics()
        self._closed = True
        self._items.close()
        for source in self._sources:
            source.close()
        self._devices.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _all_items(self) -> Generator[PacketBlock | CaptureProblem | TimePassed, None, None]:
        quiet_since = time.monotonic()
        while not self._stopping and not all(source.is_over for source in self._sources):
            yield from self._problems()
            now_ns = time.time_ns()
            block = self._next_block(now_ns)
            now = time.monotonic()
            if block is not None:
                quiet_since = now
                yield block
            elif now - quiet_since >= _QUIET_SECONDS:
                quiet_since = now
                yield TimePassed(now_ns - _HOLD_NS)
            else:
                self._wait()
        yield from self._rest()
        yield from self._problems(at_end=True)

    def _rest(self) -> Generator[PacketBlock, None, None]:
        """Yield what was captured before it was stopped."""
        for source in self._sources:
            source.stop()
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < _STOP_SECONDS:
            block = self._next_block(time.time_ns())
            if block is not None:
                yield block
                begun = time.monotonic()  # what was made of it may have taken long
            elif passed > _SETTLE_SECONDS and all(source.is_empty for source in self._sources):
                break
            else:
                time.sleep(_SETTLE_SECONDS / 2)

    def _next_block(self, now_ns: int) -> PacketBlock | None:
        """The next packets in order of time, if all that come before them are there."""
        block = self._sources[0].pop_all() if len(self._sources) == 1 else self._merged(now_ns)
        if block is not None:
            block.frame = self.frame + 1
            self.frame += len(block)
        return block

    def _merged(self, now_ns: int) -> PacketBlock | None:
        """Packets of the source whose turn it is, up to the turn of the next one."""
        times = [(_time(head), number) for number, source in enumerate(self._sources) if (head := source.head())]
        if not times:
            return None
        time_ns, number = min(times)
        turn = self._sources[number]
        until_ns = min((other for other, each in times if each != number), default=_AFTER_ALL_TIMES)
        # Of a source that has none now older packets may still come, unless the clock was set back.
        is_certain = len(times) == len(self._sources) or turn.ring.is_pressed or time_ns > now_ns + _HOLD_NS
        if not is_certain:
            until_ns = min(until_ns, now_ns - _HOLD_NS)
        return turn.pop_until(until_ns) if time_ns <= until_ns else None

    def _wait(self) -> None:
        if any(source.head() is not None for source in self._sources):
            time.sleep(_SETTLE_SECONDS)  # it is held back: waiting for more would end at once
            return
        for number, event in self._poll.poll(_POLL_MILLISECONDS):
            if number == self._devices.changes:
                self._next_look = max(time.monotonic(), self._looked + _LEAST_BETWEEN_LOOKS)
            elif event & ~select.POLLIN:
                self._next_look = 0.0
                for source in self._sources:
                    source.ring.error()

    def _problems(self, *, at_end: bool = False) -> Generator[CaptureProblem, None, None]:
        """Look what went wrong, as often as it is worth it."""
        now = time.monotonic()
        if now >= self._next_look or at_end:
            self._looked, self._next_look = now, now + _LOOK_SECONDS
            present = self._devices.now()
            for source in self._sources:
                source.look(present)
        for file, source in enumerate(self._sources):
            for change in source.changes():
                yield self._changed(file, change)
        if now >= self._next_count or at_end:
            self._next_count = now + _COUNT_SECONDS
            for file, source in enumerate(self._sources):
                if dropped := source.new_drops():
                    detail = f"the kernel dropped {dropped} packets of {source.name}, for which its ring had no room"
                    yield CaptureProblem("dropped", file, self.frame, 0, detail, dropped)

    def _changed(self, file: int, change: Change) -> CaptureProblem:
        if change.is_gone:
            return CaptureProblem("interface_gone", file, self.frame, 0, f"{change.interface} is gone")
        detail = f"{change.interface} is down; it is captured on as soon as it is up again"
        return CaptureProblem("interface_down", file, self.frame, 0, detail)


def _time(block: PacketBlock) -> int:
    """The time of the first packet of a block."""
    return block.columns.times[block.begin]
