"""How much a leader replicated per second of the time that it led."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.cluster.facts import Leadership, ReplicationFact

_LEAST_SECONDS = 0.01
"""Less than any interval of heartbeats: what a leader sent at once says nothing of how much it sends in a second."""


def leading_seconds(fact: ReplicationFact, leaders: Sequence[Leadership]) -> float:
    """Seconds from the first request to the last one, less the time between in which the leader did not lead."""
    first, last = fact.place.time_ns, fact.last.time_ns
    led = sum(
        max(0, min(last, reign.last.time_ns) - max(first, reign.first.time_ns))
        for reign in leaders
        if reign.leader == fact.leader
    )
    return (led or last - first) / 1e9


def data_unknown(fact: ReplicationFact) -> bool:
    """Whether there were entries, and their data was not captured, as with a short snaplen."""
    return bool(fact.entries) and not fact.bytes


def per_second(amount: int, seconds: float) -> float | None:
    """An amount per second; None where too little time has passed to divide by."""
    return amount / seconds if seconds >= _LEAST_SECONDS else None


def rate(amount: float | None, unknown: str = "-") -> str:
    """A number per second, such as 0.25, 12.5 or 1,250."""
    if amount is None:
        return unknown
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"
