"""The report as one JSON object, schema 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raft_dissect.report.model import SCHEMA
from raft_dissect.report.records import Records, configuration_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.cluster.facts import (
        CatchUp,
        ConfigurationFact,
        Election,
        Incompatibility,
        Leaderless,
        Leadership,
        LeaderUnknown,
        PathFact,
        Refusal,
        Rejection,
        ReplicationFact,
        ServerFact,
        ServerName,
        Snapshot,
        TermChange,
        Traffic,
        Transfer,
        Truncation,
        UnseenLeader,
    )
    from raft_dissect.diagnosis.findings import Finding
    from raft_dissect.report.model import CaptureFacts, Report
    from raft_dissect.report.times import Clock
    from raft_dissect.spread import Spread
    from raft_dissect.values import Place

Record = dict[str, Any]


def report_record(report: Report, clock: Clock) -> Record:
    """The whole report; times are ISO 8601 in the clock's time zone, durations seconds, sizes bytes."""
    writer = _Writer(report.capture.files, clock)
    return {
        "schema": SCHEMA,
        "capture": writer.capture(report.capture),
        "findings": [writer.finding(finding) for finding in report.findings],
        "clusters": [writer.cluster(cluster) for cluster in report.clusters],
    }


class _Writer:
    """Makes the records of one report."""

    def __init__(self, files: tuple[str, ...], clock: Clock) -> None:
        self._clock = clock
        self._files = files if len(files) > 1 else ()
        self._records = Records(files, clock)

    def capture(self, facts: CaptureFacts) -> Record:
        diagnosed = facts.diagnosed
        return {
            "files": list(facts.files),
            "packets": facts.packets,
            "bytes": facts.bytes,
            "first": None if facts.first_ns is None else self._clock.iso(facts.first_ns),
            "last": None if facts.last_ns is None else self._clock.iso(facts.last_ns),
            "messages": facts.messages,
            "partial": facts.partial,
            "raft_streams": facts.raft_streams,
            "other_streams": dict(facts.other_streams),
            "gaps": diagnosed.get("gap", 0),
            "malformed": diagnosed.get("malformed", 0),
            "unfinished": diagnosed.get("unfinished", 0),
            "cut_packets": facts.cut_packets,
            "skipped": dict(facts.skipped),
            "diagnosed": dict(diagnosed),
            "diagnostics": [self._records.diagnostic(diagnostic) for diagnostic in facts.diagnostics],
        }

    def finding(self, finding: Finding) -> Record:
        places = [self._place(place) for place in finding.evidence]
        return {
            **(places[0] if places else {"frame": None, "time": None}),
            "severity": finding.severity,
            "kind": finding.kind,
            "text": finding.text,
            "advice": finding.advice,
            "cluster": finding.cluster,
            "servers": list(finding.servers),
            "evidence": places,
        }

    def cluster(self, facts: ClusterFacts) -> Record:
        return {
            "servers": [self._server(server) for server in facts.servers],
            "terms": self._terms(facts),
            "leaders": [self._leadership(leadership) for leadership in facts.leaders],
            "leaderless": [self._interval(interval) for interval in facts.leaderless],
            "unseen_leaders": [self._unseen_leader(one) for one in facts.unseen_leaders],
            "leader_unknown": [self._unknown(one) for one in facts.leader_unknown],
            "elections": [self._election(election) for election in facts.elections],
            "term_changes": [self._term_change(change) for change in facts.term_changes],
            "rejections": [self._rejection(rejection) for rejection in facts.rejections],
            "snapshots": [self._snapshot(snapshot) for snapshot in facts.snapshots],
            "transfers": [self._transfer(transfer) for transfer in facts.transfers],
            "configurations": [self._configuration(configuration) for configuration in facts.configurations],
            "traffic": [self._traffic(traffic) for traffic in facts.traffic],
            "incompatible": [self._incompatibility(pair) for pair in facts.incompatible],
            "paths": [self._path(path) for path in facts.paths],
            "replication": [self._replication(fact) for fact in facts.replication],
            "catch_ups": [self._catch_up(catch_up) for catch_up in facts.catch_ups],
            "truncations": [self._truncation(truncation) for truncation in facts.truncations],
        }

    def _place(self, place: Place) -> Record:
        record: Record = {"frame": place.frame, "time": self._clock.iso(place.time_ns)}
        if self._files:
            record["file"] = self._files[place.file]
        return record

    def _time(self, place: Place | None) -> str | None:
        return None if place is None else self._clock.iso(place.time_ns)

    def _server(self, server: ServerFact) -> Record:
        first = server.first_seen
        return {
            **({"frame": None, "time": None} if first is None else self._place(first)),
            "id": server.name if isinstance(server.name, int) else None,
            "name": server.name,
            "addresses": list(server.addresses),
            "roles": list(server.roles),
            "implementation": {"family": server.family, "releases": server.releases},
            "first_seen": self._time(first),
            "last_seen": self._time(server.last_seen),
            "known_by": server.known_by,
            "restarts": [self._place(place) for place in server.restarts],
        }

    def _terms(self, facts: ClusterFacts) -> list[Record]:
        """Each term that a server proved, from the first packet of it."""
        first: dict[int, Place] = {}
        for change in facts.term_changes:
            first[change.new] = min(change.place, first.get(change.new, change.place))
        leaders: dict[int, list[ServerName]] = {}
        for leadership in facts.leaders:
            leaders.setdefault(leadership.term, []).append(leadership.leader)
        return [
            {**self._place(place), "term": term, "leaders": leaders.get(term, [])}
            for term, place in sorted(first.items())
        ]

    def _leadership(self, leadership: Leadership) -> Record:
        return {
            **self._place(leadership.first),
            "term": leadership.term,
            "leader": leadership.leader,
            "from": self._time(leadership.first),
            "to": self._time(leadership.last),
            "ended_by": leadership.ended_by,
        }

    def _interval(self, interval: Leaderless) -> Record:
        return {
            **self._place(interval.first),
            "from": self._clock.iso(interval.first.time_ns),
            "to": self._clock.iso(interval.last.time_ns),
            "seconds": _seconds(interval.first, interval.last),
            "cause": interval.cause,
            "ended_by": interval.ended_by,
            "elections": interval.elections,
        }

    def _unseen_leader(self, unseen: UnseenLeader) -> Record:
        return {
            **self._place(unseen.first),
            "term": unseen.term,
            "leader": unseen.leader,
            "from": self._time(unseen.first),
            "to": self._time(unseen.last),
        }

    def _unknown(self, unknown: LeaderUnknown) -> Record:
        return {
            **self._place(unknown.first),
            "from": self._time(unknown.first),
            "to": self._time(unknown.last),
            "seconds": _seconds(unknown.first, unknown.last),
            "cause": unknown.cause,
        }

    def _election(self, election: Election) -> Record:
        return {
            **self._place(election.place),
            "term": election.term,
            "candidate": election.candidate,
            "pre_vote": election.pre_vote,
            "requests": list(election.requests),
            "granted": list(election.granted),
            "refused": _refusals(election.refused),
            "unread": list(election.unread),
            "outcome": election.outcome,
            "seconds": election.seconds,
            "cause": election.cause,
            "leader": election.leader,
            "silent_seconds": election.silent_seconds,
            "retransmissions": election.retransmissions,
        }

    def _term_change(self, change: TermChange) -> Record:
        return {
            **self._place(change.place),
            "server": change.server,
            "old": change.old,
            "new": change.new,
            "cause": change.cause,
        }

    def _rejection(self, rejection: Rejection) -> Record:
        return {
            **self._place(rejection.place),
            "kind": rejection.kind,
            "by": rejection.by,
            "of": rejection.of,
            "term": rejection.term,
            "reason": rejection.reason,
            "rejected": rejection.rejected,
            "last_log_index": rejection.last_log_index,
        }

    def _snapshot(self, snapshot: Snapshot) -> Record:
        seconds, size = snapshot.seconds, snapshot.bytes
        return {
            **self._place(snapshot.started),
            "leader": snapshot.leader,
            "follower": snapshot.follower,
            "term": snapshot.term,
            "last_index": snapshot.last_index,
            "last_term": snapshot.last_term,
            "bytes": size,
            "started": self._time(snapshot.started),
            "finished": self._time(snapshot.finished),
            "answered": self._time(snapshot.answered),
            "seconds": seconds,
            "bytes_per_second": round(size / seconds) if size is not None and seconds else None,
            "outcome": snapshot.outcome,
        }

    def _transfer(self, transfer: Transfer) -> Record:
        return {
            **self._place(transfer.place),
            "leader": transfer.leader,
            "target": transfer.target,
            "term": transfer.term,
            "outcome": transfer.outcome,
            "reason": transfer.reason,
            "refused": _refusals(transfer.refused),
            "seconds": transfer.seconds,
        }

    def _configuration(self, fact: ConfigurationFact) -> Record:
        return {
            **self._place(fact.place),
            "index": fact.conf_index,
            "term": fact.term,
            "servers": configuration_record(fact.servers),
            "change": fact.change,
            "committed": fact.committed,
            "decided_at": None if fact.decided_at is None else self._place(fact.decided_at),
        }

    def _traffic(self, traffic: Traffic) -> Record:
        return {
            **self._place(traffic.first),
            "sender": traffic.sender,
            "receiver": traffic.receiver,
            "messages": dict(sorted(traffic.messages.items())),
            "bytes": traffic.bytes,
        }

    def _incompatibility(self, pair: Incompatibility) -> Record:
        return {
            **self._place(pair.place),
            "writer": pair.writer,
            "reader": pair.reader,
            "messages": list(pair.messages),
            "consequence": pair.consequence,
            "certain": pair.certain,
        }

    def _path(self, path: PathFact) -> Record:
        round_trip = path.round_trip_seconds
        return {
            **self._place(path.place),
            "sender": path.sender,
            "receiver": path.receiver,
            "opened": path.opened,
            "refused": path.refused,
            "unanswered": path.unanswered,
            "resets": path.resets,
            "closed": path.closed,
            "segments": path.segments,
            "retransmissions": path.retransmissions,
            "zero_windows": path.zero_windows,
            "round_trip_seconds": None if round_trip is None else round_trip._asdict(),
            "events": [
                {
                    **self._place(event.place),
                    "kind": event.kind,
                    "times": event.times,
                    "to": self._time(event.last),
                    "stream": event.stream,
                }
                for event in path.events
            ],
        }

    def _replication(self, fact: ReplicationFact) -> Record:
        return {
            **self._place(fact.place),
            "leader": fact.leader,
            "follower": fact.follower,
            "last": self._time(fact.last),
            "requests": fact.requests,
            "heartbeats": fact.heartbeats,
            "answered": fact.answered,
            "unanswered": fact.unanswered,
            "entries": fact.entries,
            "bytes": fact.bytes,
            "again": fact.again,
            "types": dict(fact.types),
            "sizes": _spread(fact.sizes),
            "heartbeat_seconds": _spread(fact.heartbeat_seconds),
            "ack_seconds": _spread(fact.ack_seconds),
            "network_seconds": fact.network_seconds,
            "follower_seconds": _spread(fact.follower_seconds),
            "commit_seconds": _spread(fact.commit_seconds),
            "lag": [{**self._place(lag.place), "entries": lag.entries, "bytes": lag.bytes} for lag in fact.lag],
        }

    def _catch_up(self, catch_up: CatchUp) -> Record:
        return {
            **self._place(catch_up.place),
            "leader": catch_up.leader,
            "follower": catch_up.follower,
            "term": catch_up.term,
            "rejections": catch_up.rejections,
            "matched": catch_up.matched,
            "behind": catch_up.behind,
            "snapshot": catch_up.snapshot,
            "seconds": catch_up.seconds,
            "finished": self._time(catch_up.finished),
        }

    def _truncation(self, truncation: Truncation) -> Record:
        return {
            **self._place(truncation.place),
            "follower": truncation.follower,
            "leader": truncation.leader,
            "term": truncation.term,
            "first_index": truncation.first_index,
            "entries": truncation.entries,
        }


def _refusals(refused: Sequence[Refusal]) -> list[Record]:
    return [{"voter": refusal.voter, "reason": refusal.reason} for refusal in refused]


def _spread(spread: Spread | None) -> Record | None:
    return None if spread is None else spread._asdict()


def _seconds(first: Place, last: Place) -> float:
    return (last.time_ns - first.time_ns) / 1e9
