"""What a view of live traffic is told: happenings, findings, messages, and at each beat the present state."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raft_dissect.audit import Finding
    from raft_dissect.auditing import Whereabouts
    from raft_dissect.cluster.facts import Snapshot as Facts
    from raft_dissect.cluster.present import ClusterState
    from raft_dissect.columns import MessageBatch
    from raft_dissect.values import Stream
    from raft_dissect.watch import Happening


class SourceState(NamedTuple):
    """One interface that is captured, or one file that is read."""

    name: str
    received: int
    """Packets, since the beginning."""
    dropped: int
    """Packets that the kernel had no room for."""


class SnapshotInFlight(NamedTuple):
    """A snapshot that a leader is sending."""

    fact: Facts
    """Who sends it to whom, up to which index, how large it is, and when its first packet came."""
    stream: Stream
    received: int
    """Bytes of its data that have passed, those that the capture lacks included."""
    last_ns: int
    """Time of the last packet that brought some of them."""


class Snapshot(NamedTuple):
    """What is known at a beat."""

    now_ns: int
    """The time of the beat, in nanoseconds since the epoch."""
    begun_ns: int
    """Time of the first packet."""
    clusters: tuple[ClusterState, ...]
    """Empty at a beat where no view wants them."""
    sources: tuple[SourceState, ...]
    packets: int
    """All counts are since the beginning."""
    bytes: int
    happened: Counter[str]
    """Happenings by their kind."""
    findings: Counter[tuple[str, str]]
    """Findings of the audit by rule and verdict."""
    gaps: int
    late_seconds: float
    """How far the analysis is behind the packets; 0 where they come from a file."""
    arriving: tuple[SnapshotInFlight, ...]
    """The snapshots that are being sent."""

    @property
    def messages(self) -> Counter[str]:
        """Messages of all clusters by their name."""
        found: Counter[str] = Counter()
        for cluster in self.clusters:
            for traffic in cluster.traffic:
                found.update(traffic.messages)
        return found


class View:
    """Shows what a loop over packets tells; a view overrides what it needs, and returns soon: packets are waiting."""

    wants_messages = False
    """Whether `batch` is to be called."""
    wants_state = True
    """Whether snapshots need their clusters at each beat; without it they have them in the end."""

    def begin(self, whereabouts: Callable[[Stream], Whereabouts | None]) -> None:
        """Packets are about to come; `whereabouts` says between whom a stream is, to whoever is called here."""

    def batch(self, batch: MessageBatch) -> None:
        """Messages came; the batch is valid until this returns."""

    def happened(self, happenings: Sequence[Happening]) -> None:
        """Something has become certain."""

    def found(self, finding: Finding) -> None:
        """The audit has found something, once for each finding."""

    def beat(self, snapshot: Snapshot) -> None:
        """A tenth of a second of capture time has passed."""

    def finish(self, snapshot: Snapshot) -> None:
        """No more packets will come."""
