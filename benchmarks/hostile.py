"""Hostile traffic beside a working cluster, which a reader must get through with bounded memory."""

from __future__ import annotations

import random
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from traffic import LEADER, MSS, Flow, handshake, host_of, small_messages, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from traffic import Packets

_STRANGER = 9
"""The server that the hostile traffic claims to be."""
_SEGMENTS = 25_000
"""Segments of each stream that never get completed."""


class Hostile(NamedTuple):
    """Hostile traffic of one kind."""

    summary: str
    packets: Callable[[float], Packets]
    """What it sends at a scale."""
    amount: int
    """How many packets that are at scale 1, about."""


def half_open(scale: float) -> Packets:
    """A thousand connections per scale that are never established or never say a whole handshake."""
    opening = handshake(_STRANGER)
    for number in range(int(1000 * scale)):
        flow = Flow(bytes((10, 1, number >> 8 & 255, number & 255)), host_of(LEADER), 20_000 + number % 40_000, number)
        yield flow.syn(), 0
        if number % 3:
            yield flow.syn_ack(), 0
        if number % 3 == 2:
            yield flow.packet(opening[:20]), 0


def never_ending(scale: float) -> Packets:
    """A hundred thousand segments per scale, of which each stands behind a hole that nobody fills.

    There are four streams per scale, all at once, of three kinds: full segments behind one hole; tiny ones with a hole
    before each; and small ones that come last first.
    """
    block = random.Random(3).randbytes(MSS)
    flows = []
    for number in range(max(1, int(4 * scale))):
        flow = Flow(bytes((10, 2, 0, number & 255)), host_of(LEADER), 20_000 + number, 1000 * number)
        yield flow.syn(), 0
        yield flow.packet(handshake(_STRANGER)), 0
        flows.append(flow)
    for turn in range(int(min(1, 4 * scale) * _SEGMENTS)):
        for number, flow in enumerate(flows):
            if number % 3 == 0:
                yield flow.at(MSS * (turn + 1), block), 0
            elif number % 3 == 1:
                yield flow.at(20 * (turn + 1), block[:10]), 0
            else:
                yield flow.at(100 * (_SEGMENTS - turn), block[:100]), 0


def huge(scale: float) -> Packets:
    """One snapshot of 50 MB per scale."""
    flow = Flow(host_of(_STRANGER), host_of(LEADER), 20_000, 77)
    yield flow.syn(), 0
    yield flow.packet(handshake(_STRANGER)), 0
    block = random.Random(3).randbytes(1_000_000)
    for number, data in enumerate(snapshot(1, block, int(50_000_000 * scale), MSS)):
        yield flow.packet(data), number == 0
        if number % 3 == 2:
            yield flow.acknowledgement(), 0


KINDS = {
    "halfopen": Hostile("half-open connections, 10,000 at scale 10", half_open, 2000),
    "neverending": Hostile("segments that are never completed, 1,000,000 at scale 10", never_ending, 100_000),
    "huge": Hostile("one snapshot, of 500 MB at scale 10", huge, 46_000),
}
"""Each kind by name."""


def working_cluster(scale: float) -> Packets:
    """The cluster that goes on working meanwhile."""
    return small_messages(int(10_000 * scale))


def beside(kind: Hostile, scale: float) -> Packets:
    """Hostile traffic of this kind, spread evenly among that of the working cluster."""
    cluster, attack = working_cluster(scale), kind.packets(scale)
    turn = max(1, kind.amount // 20_000)
    every = max(1, 20_000 // kind.amount)
    for number, packet in enumerate(cluster):
        yield packet
        if number % every == 0:
            yield from islice(attack, turn)
    yield from chain(cluster, attack)
