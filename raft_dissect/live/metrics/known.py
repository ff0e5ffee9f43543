"""What the metrics are read from: the state at the last beat, without anything that the analysis goes on to change."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Mapping

    from raft_dissect.cluster.present import ClusterState, ServerState
    from raft_dissect.live.metrics.counts import Key
    from raft_dissect.live.view import Snapshot
    from raft_dissect.spread import Cumulated, Histogram

    Acknowledged = Mapping[tuple[int, str, str], Cumulated]
    Committed = Mapping[tuple[int, str], Cumulated]

GONE_NS = 600_000_000_000
"""Nanoseconds after which a server that neither sends nor is sent anything has no series any more, if the
configuration in force does not name it."""
MOST_SERVERS = 100
"""Servers of one cluster that have series, and peers of each in the series of pairs."""
MOST_CLUSTERS = 32

K = TypeVar("K", bound="Hashable")


class Beat(NamedTuple):
    """What there is at a beat; nobody changes it afterwards."""

    snapshot: Snapshot | None
    """None before the first beat."""
    counts: Mapping[Key, int]
    acknowledged: Acknowledged
    """Nanoseconds by cluster, leader and follower."""
    committed: Committed
    """Nanoseconds by cluster and leader."""
    is_over: bool
    """Whether no more packets will come."""


class Known:
    """A beat as it is shown when somebody asks."""

    def __init__(self, beat: Beat, now_ns: int | None, rules_off: Collection[str]) -> None:
        """`now_ns` is the present time in nanoseconds since the epoch; None where that of the capture counts."""
        self.snapshot = beat.snapshot
        self.counts = beat.counts
        self.acknowledged = beat.acknowledged
        self.committed = beat.committed
        self.is_over = beat.is_over
        self.rules_off = rules_off
        clusters = () if beat.snapshot is None else beat.snapshot.clusters[:MOST_CLUSTERS]
        beat_ns, begun_ns = (0, 0) if beat.snapshot is None else (beat.snapshot.now_ns, beat.snapshot.begun_ns)
        self.now_ns = beat_ns if now_ns is None else now_ns
        self.servers = {cluster.number: len(cluster.servers) for cluster in clusters}
        """How many servers each cluster has, by its number."""
        self.clusters = tuple(_shown(cluster, beat_ns, begun_ns) for cluster in clusters)
        """With the servers that have series, and the pairs and the traffic of those alone."""


def _shown(cluster: ClusterState, now_ns: int, begun_ns: int) -> ClusterState:
    """A cluster without the servers that have left, and without the least known of too many."""

    def alive_ns(server: ServerState) -> int:
        return max(server.seen_ns or 0, server.heard_ns or 0, begun_ns)

    def weight(server: ServerState) -> tuple[bool, bool, int]:
        return server.role is not None, isinstance(server.name, int), alive_ns(server)

    here = [one for one in cluster.servers if one.role is not None or now_ns - alive_ns(one) < GONE_NS]
    most = set(sorted(here, key=weight, reverse=True)[:MOST_SERVERS])
    names = {server.name for server in most}
    return cluster._replace(
        servers=tuple(server for server in here if server in most),
        pairs=tuple(pair for pair in cluster.pairs if {pair.leader, pair.follower} <= names),
        traffic=tuple(one for one in cluster.traffic if {one.sender, one.receiver} <= names),
    )


class Waits:
    """Histograms of the analysis in fixed buckets: what has not changed since the last beat is not counted again."""

    def __init__(self, bounds: Iterable[float]) -> None:
        """`bounds` are those of the buckets, in seconds."""
        self._bounds = [bound * 1e9 for bound in bounds]
        self._known: dict[Hashable, tuple[list[Histogram], Cumulated]] = {}

    def cumulated(self, histograms: Iterable[tuple[K, Histogram]]) -> dict[K, Cumulated]:
        """What is counted under each key; a server that was known by other names before may have several histograms."""
        found: defaultdict[K, list[Histogram]] = defaultdict(list)
        for key, histogram in histograms:
            found[key].append(histogram)
        known = self._known
        self._known = {key: (parts, self._sum(parts, known.get(key))) for key, parts in found.items()}
        return {key: self._known[key][1] for key in found}

    def _sum(self, parts: list[Histogram], known: tuple[list[Histogram], Cumulated] | None) -> Cumulated:
        if known is not None and known[0] == parts and known[1].samples == sum(part.samples for part in parts):
            return known[1]
        first, *others = (part.cumulated(self._bounds) for part in parts)
        for other in others:
            first = first.plus(other)
        return first
