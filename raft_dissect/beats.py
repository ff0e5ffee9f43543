"""Capture time in beats: packets cut where an interval ends, and the times at which it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.columns import PacketBlock
from raft_dissect.values import CaptureProblem, Packet, TimePassed, TlsSecrets, Undecrypted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOST = 600
"""Beats between two packets; what waits for time to pass does not wait for longer, so the others are left out."""


Item = PacketBlock | Packet | CaptureProblem | TimePassed | TlsSecrets | Undecrypted


class _Clock:
    """Knows the next beat."""

    def __init__(self, every_ns: int) -> None:
        self._every = every_ns
        self.next_ns = -1
        """Before the first packet there is none."""

    def pass_to(self, time_ns: int) -> list[TimePassed]:
        """The beats up to a time, that one included."""
        last = time_ns // self._every * self._every
        first, self.next_ns = self.next_ns, max(self.next_ns, last + self._every)
        if first < 0 or first > last:
            return []
        times = range(first, last + self._every, self._every)
        return [TimePassed(time) for time in (times if len(times) <= _MOST else (*times[: _MOST - 1], last))]


def in_beats(items: Iterable[Item], every_ns: int) -> Iterator[Item]:
    """Yield the same items, and a beat for each multiple of `every_ns` between them, which cuts blocks there.

    Beats in what comes say that time has passed without a packet, and become multiples themselves. Packets out of
    order belong to the interval in which they come.
    """
    clock = _Clock(every_ns)
    for item in items:
        if isinstance(item, PacketBlock):
            yield from _cut(item, clock)
            continue
        if isinstance(item, (Packet, TimePassed)):
            yield from clock.pass_to(item.time_ns)
        if not isinstance(item, TimePassed):
            yield item


def _cut(block: PacketBlock, clock: _Clock) -> Iterator[Item]:
    times, begin = block.columns.times, block.begin
    while begin < block.end:
        yield from clock.pass_to(times[begin])
        end = begin + 1
        if max(times[begin : block.end]) < clock.next_ns:
            end = block.end
        while end < block.end and times[end] < clock.next_ns:
            end += 1
        yield block.part(begin, end)
        begin = end
