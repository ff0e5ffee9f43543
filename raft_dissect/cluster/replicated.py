"""The facts about replication: what was learned between servers, under the names that they have in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.cluster.facts import ReplicationFact, Truncation
from raft_dissect.cluster.lags import merged
from raft_dissect.spread import Histogram
from raft_dissect.values import Place
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from raft_dissect.cluster.facts import CatchUp, ServerName
    from raft_dissect.cluster.progress import Progress
    from raft_dissect.cluster.servers import Server
    from raft_dissect.spread import Spread
    from raft_dissect.values import Diagnostic

_NS = 1e9


def loses_messages(diagnostic: Diagnostic) -> bool:
    """Whether messages may be missing where the capture has this to say of a stream."""
    if diagnostic.kind == "gap":
        return diagnostic.gap is None or diagnostic.gap.cost in ("framing", "unframed")
    malformed = diagnostic.malformed
    if malformed is not None:
        return malformed.part in ("preamble", "header")  # of what else is malformed the message is there
    return diagnostic.kind == "limit"


def replicated(
    progresses: Sequence[Progress], end: Place, round_trips: Mapping[tuple[ServerName, ServerName], float] | None = None
) -> tuple[ReplicationFact, ...]:
    """What each leader replicated to each follower, in the order of the capture; `end` is its end.

    `round_trips` are the shortest round trips of TCP from the place of the capture by (leader, follower), in seconds.
    """
    pairs: dict[tuple[Server, Server], list[Progress]] = {}
    for progress in progresses:
        if progress.requests:
            pairs.setdefault((progress.leader.resolved, progress.follower.resolved), []).append(progress)
    first_ns = min((progress.first_ns for parts in pairs.values() for progress in parts), default=end.time_ns)
    trips = round_trips or {}
    facts = [
        _fact(parts, first_ns, end.time_ns, trips.get((leader.name, follower.name)))
        for (leader, follower), parts in pairs.items()
    ]
    return tuple(sorted(facts, key=lambda fact: fact.place))


def catch_ups(progresses: Iterable[Progress]) -> tuple[CatchUp, ...]:
    """How followers were brought up to date, in the order of the capture."""
    found = (catching.fact() for progress in progresses for catching in progress.catching)
    return tuple(sorted(found, key=lambda catch_up: catch_up.place))


def truncations(progresses: Iterable[Progress]) -> tuple[Truncation, ...]:
    """What followers gave up for other entries, in the order of the capture."""
    found = (
        Truncation(r.follower.name, r.leader.name, r.term, r.first_index, r.entries, r.place)
        for progress in progresses
        for r in progress.replaced
    )
    return tuple(sorted(found, key=lambda truncation: truncation.place))


def _fact(parts: Sequence[Progress], first_ns: int, end_ns: int, network: float | None) -> ReplicationFact:
    leader, follower = parts[0].leader, parts[0].follower
    ack = _spread(part.times for part in parts)
    logs = {id(part.log): part.log for part in parts}
    return ReplicationFact(
        leader.name,
        follower.name,
        sum(part.requests for part in parts),
        sum(part.heartbeats for part in parts),
        sum(part.answered for part in parts),
        sum(part.unanswered(end_ns) for part in parts),
        sum(part.entries for part in parts),
        sum(part.bytes for part in parts),
        sum(part.again for part in parts),
        _types(parts),
        _spread((part.sizes for part in parts), 1.0),
        _spread(part.intervals for part in parts),
        ack,
        network,
        ack.less(network) if ack is not None and network is not None else None,
        _spread(log.seconds for log in logs.values()),
        merged((part.lags for part in parts), first_ns, end_ns),
        min(Place(part.first_ns, part.first_frame, part.first_file) for part in parts),
        max(Place(part.last_ns, part.last_frame, part.last_file) for part in parts),
    )


def _spread(histograms: Iterable[Histogram], unit: float = _NS) -> Spread | None:
    together = Histogram()
    for histogram in histograms:
        together.merge(histogram)
    return together.spread(unit)


def _types(parts: Iterable[Progress]) -> dict[str, int]:
    """Entries by the name of their type, or its number if it has none."""
    types: dict[str, int] = {}
    for part in parts:
        for kind, count in {table.COMMAND: part.commands, **part.other_types}.items():
            if count:
                name = str(table.ENTRY_TYPES.get(kind, kind))
                types[name] = types.get(name, 0) + count
    return dict(sorted(types.items()))
