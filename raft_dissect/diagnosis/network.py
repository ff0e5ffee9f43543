"""The network below Raft: connections that are refused or reset, segments sent again, receivers that take no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.diagnosis.findings import Finding
from raft_dissect.diagnosis.visibility import is_seen
from raft_dissect.diagnosis.words import capital, server
from raft_dissect.units import counted, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from raft_dissect.cluster.facts import ClusterFacts, PathFact
    from raft_dissect.values import Place

_FEW = 3
"""Fewer failures than that happen when a server starts."""
_LOSS = 0.01
"""Share of the segments from which on retransmissions are told of: throughput of TCP falls below that already."""
_FEW_SEGMENTS = 10
_STALL_SECONDS = 0.2


def failed_connections(facts: ClusterFacts) -> Iterator[Finding]:
    """Servers that could not connect to others."""
    for path in facts.paths:
        unanswered = path.unanswered if is_seen(facts, path.receiver) else 0
        failed = path.refused + unanswered
        if failed < _FEW:
            continue
        how = " and ".join(
            text
            for times, text in (
                (path.refused, f"{path.refused} times refused"),
                (unanswered, f"{unanswered} times without an answer"),
            )
            if times
        )
        never = ", and never got through" if not path.opened and not path.segments else ""
        yield Finding(
            "warning",
            "failed_connections",
            f"{capital(server(path.sender))} could not connect to {server(path.receiver)}: {how}{never}.",
            f"Refused means that nothing listens there, so look whether {server(path.receiver)} is running; no answer "
            "means that packets are lost or filtered.",
            (path.sender, path.receiver),
            _evidence(path, "refused", "unanswered"),
        )


def lost_segments(facts: ClusterFacts) -> Iterator[Finding]:
    """Paths that lose segments."""
    for path in facts.paths:
        if path.retransmissions < _FEW_SEGMENTS or path.retransmissions < _LOSS * path.segments:
            continue
        share = 100 * path.retransmissions / max(path.segments, 1)
        yield Finding(
            "warning",
            "retransmissions",
            f"{path.retransmissions:,} of {counted(path.segments, 'segment')} from {server(path.sender)} to "
            f"{server(path.receiver)} ({share:.2g} %) were sent again.",
            "Look at the network between them: errors, drops and queues of its interfaces.",
            (path.sender, path.receiver),
            _evidence(path, "retransmissions"),
        )


def stalled_receivers(facts: ClusterFacts) -> Iterator[Finding]:
    """Receivers that did not take what was sent to them."""
    for path in facts.paths:
        if not path.zero_windows:
            continue
        yield Finding(
            "warning",
            "zero_window",
            f"{capital(server(path.receiver))} took no more from {server(path.sender)} {path.zero_windows} times "
            "(TCP window 0).",
            f"The process of {server(path.receiver)} does not read: look whether its main loop is blocked, by its disk "
            "for instance.",
            (path.receiver, path.sender),
            _evidence(path, "zero_window"),
        )


def slow_network(facts: ClusterFacts) -> Iterator[Finding]:
    """Paths whose round trip is long against election timeouts."""
    for path in facts.paths:
        spread = path.round_trip_seconds
        if spread is None or spread.samples < _FEW_SEGMENTS or spread.p95 < _STALL_SECONDS:
            continue
        yield Finding(
            "warning",
            "slow_network",
            f"Segments from {server(path.sender)} to {server(path.receiver)} are acknowledged after "
            f"{duration(spread.p50)}, 5 % after more than {duration(spread.p95)}.",
            "That is long against C-Raft's default election timeout of one second: look at queues and load on the way.",
            (path.sender, path.receiver),
            (path.place,),
        )


def _evidence(path: PathFact, *kinds: str) -> tuple[Place, ...]:
    return tuple(event.place for event in path.events if event.kind in kinds)[:10]


RULES: tuple[Callable[[ClusterFacts], Iterator[Finding]], ...] = (
    failed_connections,
    lost_segments,
    stalled_receivers,
    slow_network,
)
