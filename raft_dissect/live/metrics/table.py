"""The metrics: one declarative table, from which they are collected and documented."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import TYPE_CHECKING, Literal, NamedTuple

from raft_dissect import __version__
from raft_dissect.audit import RULES
from raft_dissect.live.metrics import counts
from raft_dissect.report.escape import visible, wire_text
from raft_dissect.watch import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from raft_dissect.cluster.present import ClusterState, ServerState
    from raft_dissect.live.metrics.known import Known
    from raft_dissect.live.view import SourceState
    from raft_dissect.spread import Cumulated

    Labels = tuple[str, ...]
    Sample = tuple[Labels, float]
    Series = tuple[Labels, Cumulated]

BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of histograms, in seconds; the last bucket has none."""
STATES = ("leader", "follower", "candidate", "unknown")
_VOTE_REFUSALS = ("log_behind", "has_leader", "already_voted", "stale_term", "not_a_voter", "unknown")
_REFUSALS = {
    "append_entries": ("stale_term", "no_such_entry", "term_mismatch", "write_failed"),
    "request_vote": (*_VOTE_REFUSALS, "busy"),
    "pre_vote": _VOTE_REFUSALS,
    "install_snapshot": ("stale_term", "write_failed"),
}


class Metric(NamedTuple):
    """One metric, or rather all series of that name."""

    name: str
    type: Literal["gauge", "counter"]
    help: str
    labels: Labels
    read: Callable[[Known], Iterable[Sample]]
    """Gives the values of the labels with the value of each series."""


class HistogramMetric(NamedTuple):
    """One histogram in the buckets of `BUCKETS`."""

    name: str
    help: str
    labels: Labels
    read: Callable[[Known], Iterable[Series]]
    """Gives the values of the labels with what was counted; nanoseconds."""
    type: Literal["histogram"] = "histogram"


def _one(value: Callable[[Known], float | None]) -> Callable[[Known], Iterator[Sample]]:
    """A metric without labels; no series while there is no value."""

    def read(known: Known) -> Iterator[Sample]:
        found = value(known)
        if found is not None:
            yield (), found

    return read


def _of_clusters(value: Callable[[ClusterState], float | None]) -> Callable[[Known], Iterator[Sample]]:
    """A metric with a series for each cluster of which there is a value."""

    def read(known: Known) -> Iterator[Sample]:
        for cluster in known.clusters:
            found = value(cluster)
            if found is not None:
                yield (label_of(cluster),), found

    return read


def _of_servers(value: Callable[[ServerState, Known], float | None]) -> Callable[[Known], Iterator[Sample]]:
    """A metric with a series for each server of which there is a value."""

    def read(known: Known) -> Iterator[Sample]:
        for cluster in known.clusters:
            for server in cluster.servers:
                found = value(server, known)
                if found is not None:
                    yield (label_of(cluster), str(server.name)), found

    return read


def _counted(name: str, *begin: Labels) -> Callable[[Known], Iterator[Sample]]:
    """A metric that counts happenings; the series that can be foreseen begin with 0, so that the first one shows."""

    def read(known: Known) -> Iterator[Sample]:
        for cluster in known.clusters:
            found = dict.fromkeys(begin, 0)
            found |= {key[2]: times for key, times in known.counts.items() if key[:2] == (name, cluster.number)}
            for labels, times in found.items():
                yield (label_of(cluster), *labels), times

    return read


def _age(at_ns: int | None, known: Known) -> float | None:
    """Seconds since a time."""
    return None if at_ns is None else max(known.now_ns - at_ns, 0) / 1e9


def _infos(known: Known) -> Iterator[Sample]:
    for cluster in known.clusters:
        for server in cluster.servers:
            role = "unknown" if server.role is None else str(server.role)
            yield (label_of(cluster), str(server.name), wire_text(server.address), role), 1


def _states(known: Known) -> Iterator[Sample]:
    for cluster in known.clusters:
        for server, state in product(cluster.servers, STATES):
            yield (label_of(cluster), str(server.name), state), server.state == state


def _servers(known: Known) -> Iterator[Sample]:
    for cluster in known.clusters:
        yield (label_of(cluster),), known.servers[cluster.number]


def _messages(known: Known) -> Iterator[Sample]:
    for cluster in known.clusters:
        for one in cluster.traffic:
            for name, times in one.messages.items():
                yield (label_of(cluster), str(one.sender), str(one.receiver), name), times


def _message_bytes(known: Known) -> Iterator[Sample]:
    for cluster in known.clusters:
        for one in cluster.traffic:
            yield (label_of(cluster), str(one.sender), str(one.receiver)), one.bytes


def _events(known: Known) -> Iterator[Sample]:
    happened = known.snapshot.happened if known.snapshot is not None else {}
    return (((kind,), happened.get(kind, 0)) for kind in KINDS)


def _findings(known: Known) -> Iterator[Sample]:
    """Rules that are not asked have no series, for 0 would say that they hold."""
    found: dict[Labels, int] = {}
    for rule in RULES:
        if rule.id not in known.rules_off:
            verdicts = ("violation", "suspect") if rule.severity == "error" else ("observation",)
            found |= dict.fromkeys(product([rule.id], verdicts), 0)
    if known.snapshot is not None:
        for key, times in known.snapshot.findings.items():
            found[key] = times
    return iter(found.items())


def _of_sources(value: Callable[[SourceState], int]) -> Callable[[Known], Iterable[Sample]]:
    """A metric with a series for each interface or file; one that is given twice counts twice."""

    def read(known: Known) -> Iterable[Sample]:
        found: Counter[Labels] = Counter()
        for source in known.snapshot.sources if known.snapshot is not None else ():
            found[(visible(source.name),)] += value(source)
        return found.items()

    return read


def _acknowledged(known: Known) -> Iterator[Series]:
    for cluster in known.clusters:
        for leader, follower in sorted(_shown_pairs(cluster)):
            waited = known.acknowledged.get((cluster.number, leader, follower))
            if waited is not None:
                yield (label_of(cluster), leader, follower), waited


def _committed(known: Known) -> Iterator[Series]:
    for cluster in known.clusters:
        for server in cluster.servers:
            waited = known.committed.get((cluster.number, str(server.name)))
            if waited is not None:
                yield (label_of(cluster), str(server.name)), waited


def _shown_pairs(cluster: ClusterState) -> set[tuple[str, str]]:
    return {(str(pair.leader), str(pair.follower)) for pair in cluster.pairs}


def label_of(cluster: ClusterState) -> str:
    """The label of a cluster: they are counted from 1, as in the lines of events."""
    return str(cluster.number + 1)


_CLUSTER = ("cluster",)
_SERVER = ("cluster", "server")

METRICS: tuple[Metric | HistogramMetric, ...] = (
    # The servers
    Metric(
        "raft_dissect_server_info",
        "gauge",
        "1 for each server, with the address that it advertises or speaks from, and its role in the configuration in "
        "force: voter, standby, spare, or unknown where none was seen or it does not stand in it.",
        (*_SERVER, "address", "role"),
        _infos,
    ),
    Metric(
        "raft_dissect_server_state",
        "gauge",
        "1 for the state that the server showed last, 0 for the others: leader, follower, candidate, unknown.",
        (*_SERVER, "state"),
        _states,
    ),
    Metric(
        "raft_dissect_server_term",
        "gauge",
        "The highest term that the server has proven.",
        _SERVER,
        _of_servers(lambda server, _: server.term),
    ),
    Metric(
        "raft_dissect_server_last_index",
        "gauge",
        "Index of the last entry that the server is known to have.",
        _SERVER,
        _of_servers(lambda server, _: server.last_index),
    ),
    Metric(
        "raft_dissect_server_commit_index",
        "gauge",
        "Index of the last entry that the server knows to be committed.",
        _SERVER,
        _of_servers(lambda server, _: server.commit),
    ),
    Metric(
        "raft_dissect_server_lag_entries",
        "gauge",
        "Entries that the server lacks of what the leader has sent to anybody; none of the leader itself.",
        _SERVER,
        _of_servers(lambda server, _: server.behind),
    ),
    Metric(
        "raft_dissect_server_heartbeat_age_seconds",
        "gauge",
        "Time since a leader last sent the server anything; of the leader, since it last sent anything to anybody.",
        _SERVER,
        _of_servers(lambda server, known: _age(server.heard_ns, known)),
    ),
    Metric(
        "raft_dissect_server_seen_age_seconds",
        "gauge",
        "Time since the server was last seen to send anything.",
        _SERVER,
        _of_servers(lambda server, known: _age(server.seen_ns, known)),
    ),
    # The clusters
    Metric(
        "raft_dissect_clusters",
        "gauge",
        "Clusters that are known, also those that are too many to have series.",
        (),
        _one(lambda known: None if known.snapshot is None else len(known.snapshot.clusters)),
    ),
    Metric(
        "raft_dissect_cluster_servers",
        "gauge",
        "Servers of the cluster that are known, also those that are too many, or gone too long, to have series.",
        _CLUSTER,
        _servers,
    ),
    Metric(
        "raft_dissect_cluster_has_leader",
        "gauge",
        "Whether the cluster has a leader: 0 where none is known, or where it has been silent for 1.5 seconds.",
        _CLUSTER,
        _of_clusters(lambda cluster: cluster.leader is not None),
    ),
    Metric(
        "raft_dissect_cluster_term",
        "gauge",
        "The highest term that any server has proven.",
        _CLUSTER,
        _of_clusters(lambda cluster: cluster.term),
    ),
    # What happened
    Metric(
        counts.ELECTIONS,
        "counter",
        "Rounds in which a server asked for votes, or for pre-votes.",
        (*_CLUSTER, "kind"),
        _counted(counts.ELECTIONS, ("vote",), ("pre_vote",)),
    ),
    Metric(
        counts.ELECTIONS_ENDED,
        "counter",
        "Such rounds by their outcome: won, lost, split, abandoned.",
        (*_CLUSTER, "kind", "outcome"),
        _counted(counts.ELECTIONS_ENDED, *product(("vote", "pre_vote"), ("won", "lost", "split", "abandoned"))),
    ),
    Metric(
        counts.LEADERSHIPS,
        "counter",
        "Terms in which a leader was seen.",
        _CLUSTER,
        _counted(counts.LEADERSHIPS, ()),
    ),
    Metric(
        counts.REJECTIONS,
        "counter",
        "Requests that were answered with a no: append_entries, request_vote, pre_vote, install_snapshot; and why.",
        (*_CLUSTER, "kind", "reason"),
        _counted(counts.REJECTIONS, *((kind, reason) for kind, reasons in _REFUSALS.items() for reason in reasons)),
    ),
    Metric(
        counts.SNAPSHOTS,
        "counter",
        "Snapshots that a leader began to send.",
        _CLUSTER,
        _counted(counts.SNAPSHOTS, ()),
    ),
    Metric(
        counts.SNAPSHOT_BYTES,
        "counter",
        "Size of the snapshots of which all was sent.",
        _CLUSTER,
        _counted(counts.SNAPSHOT_BYTES, ()),
    ),
    Metric(
        counts.SNAPSHOTS_ENDED,
        "counter",
        "Snapshots by their outcome: installed, already_had, refused, cut, unanswered.",
        (*_CLUSTER, "outcome"),
        _counted(counts.SNAPSHOTS_ENDED, ("installed",), ("already_had",), ("refused",), ("cut",), ("unanswered",)),
    ),
    Metric(
        counts.TRANSFERS_ENDED,
        "counter",
        "Transfers of leadership by their outcome: done, ignored, failed.",
        (*_CLUSTER, "outcome"),
        _counted(counts.TRANSFERS_ENDED, ("done",), ("ignored",), ("failed",)),
    ),
    Metric(
        "raft_dissect_events_total",
        "counter",
        "What happened in all clusters, by the kinds of the command events.",
        ("kind",),
        _events,
    ),
    Metric(
        "raft_dissect_audit_findings_total",
        "counter",
        "What the audit has found, by rule and verdict: violation, suspect, observation. Rules that are not asked have "
        "no series.",
        ("rule", "verdict"),
        _findings,
    ),
    # What was sent
    Metric(
        "raft_dissect_messages_total",
        "counter",
        "Messages from one server to another.",
        (*_CLUSTER, "sender", "receiver", "message"),
        _messages,
    ),
    Metric(
        "raft_dissect_message_bytes_total",
        "counter",
        "Size of all messages from one server to another.",
        (*_CLUSTER, "sender", "receiver"),
        _message_bytes,
    ),
    HistogramMetric(
        "raft_dissect_acknowledge_seconds",
        "Time from a request of the leader to the follower's answer, at the place of the capture.",
        (*_CLUSTER, "leader", "follower"),
        _acknowledged,
    ),
    HistogramMetric(
        "raft_dissect_commit_seconds",
        "Time from when the leader first sent an entry to anybody until packets prove that it is committed.",
        (*_CLUSTER, "leader"),
        _committed,
    ),
    # The capture
    Metric(
        "raft_dissect_packets_total",
        "counter",
        "Packets that were analyzed.",
        (),
        _one(lambda known: 0 if known.snapshot is None else known.snapshot.packets),
    ),
    Metric(
        "raft_dissect_packet_bytes_total",
        "counter",
        "What was captured of them.",
        (),
        _one(lambda known: 0 if known.snapshot is None else known.snapshot.bytes),
    ),
    Metric(
        "raft_dissect_received_packets_total",
        "counter",
        "Packets that came from an interface or file.",
        ("interface",),
        _of_sources(lambda source: source.received),
    ),
    Metric(
        "raft_dissect_dropped_packets_total",
        "counter",
        "Packets that the kernel had no room for.",
        ("interface",),
        _of_sources(lambda source: source.dropped),
    ),
    Metric(
        "raft_dissect_gaps_total",
        "counter",
        "Gaps in the streams of Raft: bytes that the capture does not have.",
        (),
        _one(lambda known: 0 if known.snapshot is None else known.snapshot.gaps),
    ),
    Metric(
        "raft_dissect_capturing",
        "gauge",
        "1 while packets may come, 0 at the end of the capture.",
        (),
        _one(lambda known: not known.is_over),
    ),
    Metric(
        "raft_dissect_last_update_timestamp_seconds",
        "gauge",
        "Capture time up to which all is told here, in seconds since the epoch.",
        (),
        _one(lambda known: None if known.snapshot is None else known.snapshot.now_ns / 1e9),
    ),
    Metric(
        "raft_dissect_late_seconds",
        "gauge",
        "How far the analysis is behind the present: about 0.1 where it keeps up, more where packets come too fast; 0 "
        "where they come from a file.",
        (),
        _one(lambda known: _age(None if known.snapshot is None else known.snapshot.now_ns, known)),
    ),
    Metric(
        "raft_dissect_build_info",
        "gauge",
        "1, with the version of raft-dissect.",
        ("version",),
        lambda _: [((__version__,), 1)],
    ),
)
"""All metrics, in the order in which they are given."""
