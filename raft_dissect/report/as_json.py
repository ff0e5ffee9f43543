"""The report as one JSON object, schema 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.report import sealed
from raft_dissect.report.fact_records import FactRecords
from raft_dissect.report.model import SCHEMA
from raft_dissect.report.records import Records

if TYPE_CHECKING:
    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.diagnosis.findings import Finding
    from raft_dissect.report.fact_records import Record
    from raft_dissect.report.model import CaptureFacts, Report
    from raft_dissect.report.times import Clock
    from raft_dissect.sealed import SealedFacts
    from raft_dissect.values import Place


def report_record(report: Report, clock: Clock) -> Record:
    """The whole report; times are ISO 8601 in the clock's time zone, durations seconds, sizes bytes."""
    writer = _Writer(report.capture.files, clock)
    return {
        "schema": SCHEMA,
        "capture": writer.capture(report.capture),
        "findings": [writer.finding(finding) for finding in report.findings],
        "clusters": [writer.cluster(cluster) for cluster in report.clusters],
        "sealed": [writer.sealed(facts) for facts in report.sealed],
    }


class _Writer:
    """Makes the records of one report."""

    def __init__(self, files: tuple[str, ...], clock: Clock) -> None:
        self._clock = clock
        self._facts = FactRecords(files, clock)
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

    def sealed(self, facts: SealedFacts) -> Record:
        return sealed.record(facts, self._facts)

    def finding(self, finding: Finding) -> Record:
        places = [self._facts.place(place) for place in finding.evidence]
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
            "servers": [self._facts.server(server) for server in facts.servers],
            "terms": self._terms(facts),
            "leaders": [self._facts.leadership(leadership) for leadership in facts.leaders],
            "leaderless": [self._facts.leaderless(interval) for interval in facts.leaderless],
            "unseen_leaders": [self._facts.unseen_leader(one) for one in facts.unseen_leaders],
            "leader_unknown": [self._facts.leader_unknown(one) for one in facts.leader_unknown],
            "elections": [self._facts.election(election) for election in facts.elections],
            "term_changes": [self._facts.term_change(change) for change in facts.term_changes],
            "rejections": [self._facts.rejection(rejection) for rejection in facts.rejections],
            "snapshots": [self._facts.snapshot(snapshot) for snapshot in facts.snapshots],
            "transfers": [self._facts.transfer(transfer) for transfer in facts.transfers],
            "configurations": [self._facts.configuration(configuration) for configuration in facts.configurations],
            "traffic": [self._facts.traffic(traffic) for traffic in facts.traffic],
            "incompatible": [self._facts.incompatibility(pair) for pair in facts.incompatible],
            "paths": [self._facts.path(path) for path in facts.paths],
            "replication": [self._facts.replication(fact) for fact in facts.replication],
            "catch_ups": [self._facts.catch_up(catch_up) for catch_up in facts.catch_ups],
            "truncations": [self._facts.truncation(truncation) for truncation in facts.truncations],
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
            {**self._facts.place(place), "term": term, "leaders": leaders.get(term, [])}
            for term, place in sorted(first.items())
        ]
