"""From a capture to its audit: the stages put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.audit.auditor import ClusterAudit, together
from raft_dissect.cluster import Clusters
from raft_dissect.dissection import Dissection

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from raft_dissect.audit import Finding, Verdicts
    from raft_dissect.cluster import Analysis
    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.columns import MessageBatch
    from raft_dissect.dissection import Path, Source
    from raft_dissect.values import Stream


class Whereabouts(NamedTuple):
    """Between whom a stream is, as far as it is known."""

    cluster: int
    """Number of the cluster, in the order in which they were seen, from 0."""
    sender: ServerName
    receiver: ServerName


class AuditBuilder:
    """Takes the batches of a dissection, and judges the clusters in them.

    The data of entries and of snapshots is compared when the dissection was made with `digest_data`.
    """

    def __init__(self, off: Collection[str] = (), told: Callable[[Finding], None] | None = None) -> None:
        """`off` are the ids of rules that are not asked; `told` is called with the findings of each batch."""
        self._off = frozenset(off)
        self._told = told
        self._found: list[tuple[ClusterAudit, Finding]] = []
        self._clusters = Clusters(self._new)

    def feed(self, batch: MessageBatch) -> None:
        """Take a batch of events."""
        self._clusters.feed_batch(batch)
        self._tell()

    def present(self) -> tuple[Analysis, ...]:
        """What is known of each cluster so far; the rules ask these."""
        return tuple(audit_.analysis for audit_ in self._clusters.present())

    def holding(self, stream: Stream) -> Analysis | None:
        """What is known of the cluster that a stream belongs to."""
        audit_ = self._clusters.holding(stream)
        return None if audit_ is None else audit_.analysis

    def whereabouts(self, stream: Stream) -> Whereabouts | None:
        """Between whom an open stream is; None when it belongs to no cluster."""
        found = self._clusters.find(stream)
        if found is None:
            return None
        number, audit_ = found
        return Whereabouts(number, *audit_.analysis.servers.names(stream))

    def verdicts(self, dissection: Dissection) -> Verdicts:
        """What became of all batches that were fed, which came from this dissection."""
        audits = self._clusters.clusters()
        for audit_ in audits:
            audit_.finish(dissection.statistics.last_ns or 0)
        self._tell()
        return together(audits, self._off)

    def _new(self) -> ClusterAudit:
        def found(finding: Finding) -> None:
            self._found.append((audit_, finding))

        audit_ = ClusterAudit(self._off, found if self._told is not None else None)
        return audit_

    def _tell(self) -> None:
        """Tell what was found, with the clusters as they are numbered now; what joined ones did is judged anew."""
        found, self._found = self._found, []
        for audit_, finding in found:
            number = self._clusters.number(audit_)
            if self._told is not None and number is not None:
                self._told(finding._replace(cluster=number))


def audit(
    source: Source,
    *,
    ports: Collection[int] | None = None,
    layout: str | None = None,
    off: Collection[str] = (),
    tls_keys: Path | None = None,
    via_tshark: bool = False,
) -> Verdicts:
    """Check the clusters whose traffic was captured against the rules of Raft and of C-Raft's protocol.

    `off` are the ids of rules that are not asked; the other arguments and the errors are those of `messages`.
    """
    dissection = Dissection(
        source, ports=ports, layout=layout, digest_data=True, tls_keys=tls_keys, via_tshark=via_tshark
    )
    builder = AuditBuilder(off)
    for batch in dissection.batches():
        builder.feed(batch)
    return builder.verdicts(dissection)
