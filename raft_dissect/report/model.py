"""The whole result of an analysis: what was captured, and the clusters that were found in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.diagnosis.findings import Finding
    from raft_dissect.sealed import SealedFacts
    from raft_dissect.values import Diagnostic

MAX_DIAGNOSTICS = 10_000
"""Diagnostics that a report keeps one by one; more are only counted."""
SCHEMA = 1
"""Number of the JSON schema; keys may be added to it, and are never renamed or dropped."""


class CaptureFacts(NamedTuple):
    """What was captured, and how much of it could be used."""

    files: tuple[str, ...]
    packets: int
    bytes: int
    """Captured bytes of all packets."""
    first_ns: int | None
    """Nanoseconds since the Unix epoch; None when there was no packet."""
    last_ns: int | None
    raft_streams: int
    """Connections that carry Raft."""
    other_streams: Mapping[str, int]
    """Connections that do not, by what they carry."""
    messages: int
    partial: int
    """Messages that a gap or a short snaplen cut."""
    cut_packets: int
    """Packets of which the snaplen cut the end."""
    skipped: Mapping[str, int]
    """Packets that are not TCP or could not be read, by reason."""
    diagnosed: Mapping[str, int]
    """How many diagnostics of each kind there were."""
    diagnostics: tuple[Diagnostic, ...]
    """The first ones: what is missing or does not make sense, in the order in which it was noticed."""
    tls_ports: tuple[int, ...] = ()
    """Ports that connections with TLS go to, most of them first."""


class Report(NamedTuple):
    """What `analyze` gives."""

    capture: CaptureFacts
    clusters: tuple[ClusterFacts, ...]
    findings: tuple[Finding, ...] = ()
    """What went wrong, most severe first."""
    sealed: tuple[SealedFacts, ...] = ()
    """What is estimated of servers whose TLS was not decrypted."""
