"""What is captured on: one interface, all that match patterns, or any, each with a ring of its own."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.capture.errors import CaptureError
from raft_dissect.capture.interfaces.devices import is_pattern, matches
from raft_dissect.capture.interfaces.kernel_filter import MOST_INTERFACES, cooked_filter, device_filter, empty_filter
from raft_dissect.capture.interfaces.ring import Ring
from raft_dissect.capture.interfaces.ring_scan import LINK_COOKED

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from raft_dissect.capture.interfaces.devices import Device
    from raft_dissect.capture.interfaces.names import Names
    from raft_dissect.columns import PacketBlock

_GONE_SECONDS = 1.0
"""When an interface is told of as gone at the latest; before that its last packets are waited for."""


ANY = "any"
"""What stands for all interfaces."""


class Options(NamedTuple):
    """How each source captures."""

    ports: Collection[int] | None
    """Of TCP; None takes all."""
    ring_size: int
    """Bytes."""
    promiscuous: bool
    """Whether to see what is not for this machine."""


class Change(NamedTuple):
    """Something that happened to an interface."""

    is_gone: bool
    """Otherwise it was set down."""
    interface: str


class _Leaving(NamedTuple):
    """An interface that is gone, of which there may still be packets in the ring."""

    device: Device
    mark: int
    """Packets that had been taken when it was seen to be gone."""
    deadline: float
    """When it is told of in any case, in monotonic seconds."""


class Source(ABC):
    """One ring, and what it captures on; the packets of one come in the order of the kernel."""

    def __init__(self, name: str, file: int, ring: Ring, numbers: dict[int, int] | None, names: Names) -> None:
        self.name = name
        """As the user gave it."""
        self.ring = ring
        self._file = file
        self._names = names
        self._numbers = numbers
        self._scan = ring.scan(numbers, names.received)
        self._blocks: list[PacketBlock] = []
        self._delivered = self._dropped = 0
        self._leaving: list[_Leaving] = []
        self._down: set[int] = set()
        self._changes: list[Change] = []

    @property
    @abstractmethod
    def link_types(self) -> set[int]:
        """The LINKTYPE_ numbers that packets have, as far as there are interfaces."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether there is no interface any more, and no packet of one."""

    @abstractmethod
    def look(self, devices: dict[str, Device]) -> None:
        """See what became of the interfaces."""

    @property
    def is_empty(self) -> bool:
        """Whether all packets that the kernel has taken were taken from here, too."""
        return not self._blocks and self._delivered >= self.ring.counts().taken

    def head(self) -> PacketBlock | None:
        """The next packets; None if there are none yet."""
        if not self._blocks:
            self._delivered = self.ring.passed
            while not self._blocks and self.ring.is_ready:
                self._blocks = self.ring.take(self._scan, self._file)
        return self._blocks[0] if self._blocks else None

    def pop_all(self) -> PacketBlock | None:
        """Take the next packets; None if there are none yet."""
        return None if self.head() is None else self._blocks.pop(0)

    def pop_until(self, time_ns: int) -> PacketBlock:
        """Take the next packets, which are there, up to a time, but one at least."""
        block = self._blocks[0]
        times = block.columns.times
        end = block.end if times[block.end - 1] <= time_ns else block.begin + 1
        while end < block.end and times[end] <= time_ns:
            end += 1
        if end == block.end:
            return self._blocks.pop(0)
        self._blocks[0] = block.part(end, block.end)
        return block.part(block.begin, end)

    def new_drops(self) -> int:
        """Packets that the kernel had to drop since this was asked last."""
        dropped = self.ring.counts().dropped
        new, self._dropped = dropped - self._dropped, dropped
        return new

    def changes(self) -> list[Change]:
        """What happened to interfaces, once all that was captured on them before was taken from here."""
        now = time.monotonic()
        while self._leaving and (self._delivered >= self._leaving[0].mark or now >= self._leaving[0].deadline):
            gone = self._leaving.pop(0)
            self._forget(gone.device.ifindex)
            self._changes.append(Change(True, gone.device.name))
        changes, self._changes = self._changes, []
        return changes

    def stop(self) -> None:
        """Let no more packets come."""
        self.ring.attach(empty_filter())

    def close(self) -> None:
        """Give everything back."""
        self._blocks.clear()
        self._scan.ring.release()
        self.ring.close()

    def _leaves(self, device: Device) -> None:
        self._down.discard(device.ifindex)
        deadline = time.monotonic() + _GONE_SECONDS
        self._leaving.append(_Leaving(device, self.ring.counts().taken, deadline))

    def _forget(self, ifindex: int) -> None:
        number = None if self._numbers is None else self._numbers.pop(ifindex, None)
        if number is not None:
            self._names.leave(number)

    def _look_whether_up(self, device: Device) -> None:
        if device.is_up:
            self._down.discard(device.ifindex)
        elif device.ifindex not in self._down:
            self._down.add(device.ifindex)
            self._changes.append(Change(False, device.name))


class OneInterface(Source):
    """A single interface; when it is made anew while others are captured on, it is captured on again."""

    def __init__(self, name: str, file: int, options: Options, names: Names) -> None:
        numbers: dict[int, int] = {}
        super().__init__(name, file, Ring(name, options.ring_size), numbers, names)
        self.ring.attach(device_filter(options.ports))
        self._indexes = numbers
        self._device: Device | None = None
        self._see_all = options.promiscuous

    @property
    def is_over(self) -> bool:
        """Whether there is no interface any more, and no packet of one."""
        return self._device is None and not self._leaving

    @property
    def link_types(self) -> set[int]:
        """The one of the interface."""
        return set() if self._device is None else {self._device.link_type}

    def look(self, devices: dict[str, Device]) -> None:
        """See what became of the interface."""
        before, device = self._device, devices.get(self.name)
        if before is not None and (device is None or device.ifindex != before.ifindex):
            self._leaves(before)
            self._device = None
        elif before is None and device is not None and not self._leaving:
            self._begin(device)
        if device is not None and self._device is not None:
            self._look_whether_up(device)

    def _begin(self, device: Device) -> None:
        self._indexes[device.ifindex] = self._names.number(self.name, self._file)
        try:
            self.ring.bind(self.name)
        except CaptureError:
            return  # it is gone again
        self._device = device
        if self._see_all:
            self.ring.see_all(device.ifindex)


class MatchingInterfaces(Source):
    """All interfaces whose names match patterns and that are not captured on by their names."""

    def __init__(
        self, patterns: Sequence[str], others: Collection[str], file: int, options: Options, names: Names
    ) -> None:
        name = " ".join(patterns)
        numbers: dict[int, int] = {}
        super().__init__(name, file, Ring(name, options.ring_size, all_devices=True), numbers, names)
        self._indexes = numbers
        self._patterns = patterns
        self._others = others
        self._ports = options.ports
        self._see_all = options.promiscuous
        self._present: dict[int, Device] = {}

    @property
    def is_over(self) -> bool:
        """Whether there is no interface any more, and no packet of one."""
        return not self._present and not self._leaving

    @property
    def link_types(self) -> set[int]:
        """Those of all interfaces that match."""
        return {device.link_type for device in self._present.values()}

    def look(self, devices: dict[str, Device]) -> None:
        """See which interfaces match, and what became of those that did."""
        matching = [
            device for name, device in devices.items() if name not in self._others and matches(name, self._patterns)
        ]
        present = {device.ifindex: device for device in matching[:MOST_INTERFACES]}
        gone, new = self._present.keys() - present.keys(), present.keys() - self._present.keys()
        for ifindex in gone:
            self._leaves(self._present[ifindex])
        for ifindex in new:
            self._indexes[ifindex] = self._names.number(present[ifindex].name, self._file)
            if self._see_all:
                self.ring.see_all(ifindex)
        if gone or new:
            self.ring.attach(device_filter(self._ports, present))
        self._present = present
        for device in present.values():
            self._look_whether_up(device)


class AllInterfaces(Source):
    """The packets of all interfaces, as libpcap's device `any` gives them; there is no end to it."""

    def __init__(self, name: str, file: int, options: Options, names: Names) -> None:
        super().__init__(name, file, Ring(name, options.ring_size, cooked=True, all_devices=True), None, names)
        names.number(name, file)
        self.ring.attach(cooked_filter(options.ports))

    @property
    def is_over(self) -> bool:
        """Whether there is no interface any more, and no packet of one."""
        return False

    @property
    def link_types(self) -> set[int]:
        """The one that they all get."""
        return {LINK_COOKED}

    def look(self, devices: dict[str, Device]) -> None:
        """The kernel does."""


def open_sources(given: Sequence[str], options: Options, present: dict[str, Device], names: Names) -> list[Source]:
    """Begin to capture on what was given by names or patterns; `options.ring_size` is divided among the sources.

    Raises UnavailableError without the permission, CaptureError for what does not exist or when there is no memory.
    """
    if ANY in given and len(given) > 1:
        raise CaptureError(ANY, "it is all interfaces; leave the others out")
    plain = [name for name in given if not is_pattern(name)]
    patterns = [name for name in given if is_pattern(name)]
    for name in plain:
        if name not in present and name != ANY:
            raise CaptureError(name, f"there is no such interface; there are {', '.join(present)}")
    if not plain and not any(matches(name, patterns) for name in present):
        raise CaptureError(" ".join(patterns), f"no interface has such a name; there are {', '.join(present)}")
    options = options._replace(ring_size=options.ring_size // (len(plain) + bool(patterns)))
    sources: list[Source] = []
    try:
        for name in plain:
            kind = AllInterfaces if name == ANY else OneInterface
            sources.append(kind(name, len(sources), options, names))
        if patterns:
            sources.append(MatchingInterfaces(patterns, plain, len(sources), options, names))
        for source in sources:
            source.look(present)
    except BaseException:
        for source in sources:
            source.close()
        raise
    return sources
