"""From a capture to its report: the stages put together."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from raft_dissect.cluster import Analysis, Clusters
from raft_dissect.diagnosis import diagnose
from raft_dissect.dissection import Dissection
from raft_dissect.report.model import MAX_DIAGNOSTICS, CaptureFacts, Report
from raft_dissect.values import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Collection

    from raft_dissect.columns import MessageBatch
    from raft_dissect.dissection import Path, Source


class ReportBuilder:
    """Takes the batches of a dissection, and makes the report of them."""

    def __init__(self) -> None:
        self._clusters = Clusters(Analysis)
        self._messages = 0
        self._partial = 0
        self._diagnosed: Counter[str] = Counter()
        self._diagnostics: list[Diagnostic] = []

    def feed(self, batch: MessageBatch) -> None:
        """Take a batch of events."""
        self._clusters.feed_batch(batch)
        self._messages += len(batch)
        self._partial += batch.partial
        for _, event in batch.others:
            if isinstance(event, Diagnostic):
                self._diagnosed[event.kind] += 1
                if len(self._diagnostics) < MAX_DIAGNOSTICS:
                    self._diagnostics.append(event)

    def report(self, dissection: Dissection) -> Report:
        """The report of all batches that were fed, which came from this dissection."""
        statistics = dissection.statistics
        other = {kind: n for kind, n in sorted(statistics.streams.items()) if kind != "raft"}
        capture = CaptureFacts(
            tuple(dissection.capture.files) if dissection.capture is not None else (),
            statistics.packets,
            statistics.bytes,
            statistics.first_ns,
            statistics.last_ns,
            statistics.streams["raft"],
            other,
            self._messages,
            self._partial,
            statistics.cut_packets,
            dict(sorted(statistics.skipped.items())),
            dict(sorted(self._diagnosed.items())),
            tuple(self._diagnostics),
            tuple(port for port, _ in statistics.tls_ports.most_common()),
        )
        found = (analysis.facts(statistics.last_ns or 0) for analysis in self._clusters.clusters())
        clusters = tuple(facts for facts in found if facts is not None)
        return Report(capture, clusters, diagnose(clusters), dissection.sealed())


def analyze(
    source: Source,
    *,
    ports: Collection[int] | None = None,
    layout: str | None = None,
    tls_keys: Path | None = None,
    via_tshark: bool = False,
) -> Report:
    """Say what happened in the clusters whose traffic was captured; the arguments are those of `messages`.

    Raises CaptureError when a file cannot be read; what is damaged inside a file is in the report's diagnostics.
    """
    dissection = Dissection(
        source, ports=ports, layout=layout, tls_keys=tls_keys, via_tshark=via_tshark, watch_sealed=True
    )
    builder = ReportBuilder()
    for batch in dissection.batches():
        builder.feed(batch)
    return builder.report(dissection)
