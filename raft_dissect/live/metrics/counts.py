"""Which happenings are counted, under which labels."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from raft_dissect.cluster.facts import Election, Rejection, Snapshot, Transfer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from raft_dissect.cluster.present import ClusterState
    from raft_dissect.watch import Happening

Key = tuple[str, int, tuple[str, ...]]
"""The name of a metric, the number of a cluster, and the labels behind that."""

ELECTIONS = "raft_dissect_elections_total"
ELECTIONS_ENDED = "raft_dissect_elections_ended_total"
LEADERSHIPS = "raft_dissect_leaderships_total"
REJECTIONS = "raft_dissect_rejections_total"
SNAPSHOTS = "raft_dissect_snapshots_total"
SNAPSHOT_BYTES = "raft_dissect_snapshot_bytes_total"
SNAPSHOTS_ENDED = "raft_dissect_snapshots_ended_total"
TRANSFERS_ENDED = "raft_dissect_transfers_ended_total"


class Counts:
    """Counts the happenings of each cluster."""

    def __init__(self) -> None:
        self._counts: Counter[Key] = Counter()
        self._new: Counter[Key] = Counter()
        """Since it was last asked for: under the numbers that clusters have now."""
        self._addresses: dict[int, frozenset[str]] = {}
        """Of the servers of each cluster when it was last asked for."""

    def note(self, happenings: Iterable[Happening]) -> None:
        """Count happenings."""
        for happening in happenings:
            counted = _counted(happening)
            if counted is not None:
                name, labels, amount = counted
                self._new[name, happening.cluster, labels] += amount

    def present(self, clusters: Sequence[ClusterState]) -> Counter[Key]:
        """What was counted so far, of the clusters that there are now; who asks gets a copy."""
        addresses = {one.number: frozenset(server.address for server in one.servers) for one in clusters}
        if len(addresses) < len(self._addresses):
            self._renumber(addresses)
        self._addresses = addresses
        self._counts.update(self._new)
        self._new.clear()
        return self._counts.copy()

    def _renumber(self, addresses: Mapping[int, frozenset[str]]) -> None:
        """Clusters turned out to be parts of others: count what they did for the one that has their servers now."""
        heirs = {
            number: max(addresses, key=lambda now: len(addresses[now] & before), default=number)
            for number, before in self._addresses.items()
        }
        counts: Counter[Key] = Counter()
        for (name, number, labels), times in self._counts.items():
            counts[name, heirs.get(number, number), labels] += times
        self._counts = counts


def _counted(happening: Happening) -> tuple[str, tuple[str, ...], int] | None:
    """The metric that counts a happening, the labels behind its cluster, and how much it adds."""
    match happening.kind, happening.fact:
        case "election_begun", Election() as election:
            return ELECTIONS, (_kind(election),), 1
        case "election_ended", Election() as election:
            return ELECTIONS_ENDED, (_kind(election), election.outcome), 1
        case "leader", _:
            return LEADERSHIPS, (), 1
        case "rejection", Rejection() as rejection:
            return REJECTIONS, (rejection.kind, rejection.reason), 1
        case "snapshot_begun", _:
            return SNAPSHOTS, (), 1
        case "snapshot_sent", Snapshot() as snapshot:
            return SNAPSHOT_BYTES, (), snapshot.bytes or 0
        case "snapshot_ended", Snapshot() as snapshot:
            return SNAPSHOTS_ENDED, (snapshot.outcome,), 1
        case "transfer_ended", Transfer() as transfer:
            return TRANSFERS_ENDED, (transfer.outcome,), 1
    return None


def _kind(election: Election) -> str:
    return "pre_vote" if election.pre_vote else "vote"
