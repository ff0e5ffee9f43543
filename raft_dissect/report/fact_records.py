"""The facts about a cluster as JSON objects, the same wherever they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raft_dissect.report.records import configuration_record

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        Snapshot,
        TermChange,
        Traffic,
        Transfer,
        Truncation,
        UnseenLeader,
    )
    from raft_dissect.report.times import Clock
    from raft_dissect.spread import Spread
    from raft_dissect.values import Place

Record = dict[str, Any]


class FactRecords:
    """Makes the records of facts; times are ISO 8601 in the clock's time zone, durations seconds, sizes bytes."""

    def __init__(self, files: Sequence[str], clock: Clock) -> None:
        self._clock = clock
        self._files = files if len(files) > 1 else ()

    def place(self, place: Place) -> Record:
        """Frame and time of a packet, and its file where there are several."""
        record: Record = {"frame": place.frame, "time": self._clock.iso(place.time_ns)}
        if self._files:
            record["file"] = self._files[place.file]
        return record

    def _time(self, place: Place | None) -> str | None:
        return None if place is None else self._clock.iso(place.time_ns)

    def server(self, server: ServerFact) -> Record:
        """The record of this fact."""
        first = server.first_seen
        return {
            **({"frame": None, "time": None} if first is None else self.place(first)),
            "id": server.name if isinstance(server.name, int) else None,
            "name": server.name,
            "addresses": list(server.addresses),
            "roles": list(server.roles),
            "implementation": {"family": server.family, "releases": server.releases},
            "first_seen": self._time(first),
            "last_seen": self._time(server.last_seen),
            "known_by": server.known_by,
            "restarts": [self.place(place) for place in server.restarts],
        }

    def leadership(self, leadership: Leadership) -> Record:
        """The record of this fact."""
        return {
            **self.place(leadership.first),
            "term": leadership.term,
            "leader": leadership.leader,
            "from": self._time(leadership.first),
            "to": self._time(leadership.last),
            "ended_by": leadership.ended_by,
        }

    def leaderless(self, interval: Leaderless) -> Record:
        """The record of this fact."""
        return {
            **self.place(interval.first),
            "from": self._clock.iso(interval.first.time_ns),
            "to": self._clock.iso(interval.last.time_ns),
            "seconds": _seconds(interval.first, interval.last),
            "cause": interval.cause,
            "ended_by": interval.ended_by,
            "elections": interval.elections,
        }

    def unseen_leader(self, unseen: UnseenLeader) -> Record:
        """The record of this fact."""
        return {
            **self.place(unseen.first),
            "term": unseen.term,
            "leader": unseen.leader,
            "from": self._time(unseen.first),
            "to": self._time(unseen.last),
        }

    def leader_unknown(self, unknown: LeaderUnknown) -> Record:
        """The record of this fact."""
        return {
            **self.place(unknown.first),
            "from": self._time(unknown.first),
            "to": self._time(unknown.last),
            "seconds": _seconds(unknown.first, unknown.last),
            "cause": unknown.cause,
        }

    def election(self, election: Election) -> Record:
        """The record of this fact."""
        return {
            **self.place(election.place),
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

    def term_change(self, change: TermChange) -> Record:
        """The record of this fact."""
        return {
            **self.place(change.place),
            "server": change.server,
            "old": change.old,
            "new": change.new,
            "cause": change.cause,
        }

    def rejection(self, rejection: Rejection) -> Record:
        """The record of this fact."""
        return {
            **self.place(rejection.place),
            "kind": rejection.kind,
            "by": rejection.by,
            "of": rejection.of,
            "term": rejection.term,
            "reason": rejection.reason,
            "rejected": rejection.rejected,
            "last_log_index": rejection.last_log_index,
        }

    def snapshot(self, snapshot: Snapshot) -> Record:
        """The record of this fact."""
        seconds, size = snapshot.seconds, snapshot.bytes
        return {
            **self.place(snapshot.started),
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

    def transfer(self, transfer: Transfer) -> Record:
        """The record of this fact."""
        return {
            **self.place(transfer.place),
            "leader": transfer.leader,
            "target": transfer.target,
            "term": transfer.term,
            "outcome": transfer.outcome,
            "reason": transfer.reason,
            "refused": _refusals(transfer.refused),
            "seconds": transfer.seconds,
        }

    def configuration(self, fact: ConfigurationFact) -> Record:
        """The record of this fact."""
        return {
            **self.place(fact.place),
            "index": fact.conf_index,
            "term": fact.term,
            "servers": configuration_record(fact.servers),
            "change": fact.change,
            "committed": fact.committed,
            "decided_at": None if fact.decided_at is None else self.place(fact.decided_at),
        }

    def traffic(self, traffic: Traffic) -> Record:
        """The record of this fact."""
        return {
            **self.place(traffic.first),
            "sender": traffic.sender,
            "receiver": traffic.receiver,
            "messages": dict(sorted(traffic.messages.items())),
            "bytes": traffic.bytes,
        }

    def incompatibility(self, pair: Incompatibility) -> Record:
        """The record of this fact."""
        return {
            **self.place(pair.place),
            "writer": pair.writer,
            "reader": pair.reader,
            "messages": list(pair.messages),
            "consequence": pair.consequence,
            "certain": pair.certain,
        }

    def path(self, path: PathFact) -> Record:
        """The record of this fact."""
        round_trip = path.round_trip_seconds
        return {
            **self.place(path.place),
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
                    **self.place(event.place),
                    "kind": event.kind,
                    "times": event.times,
                    "to": self._time(event.last),
                    "stream": event.stream,
                }
                for event in path.events
            ],
        }

    def replication(self, fact: ReplicationFact) -> Record:
        """The record of this fact."""
        return {
            **self.place(fact.place),
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
            "lag": [{**self.place(lag.place), "entries": lag.entries, "bytes": lag.bytes} for lag in fact.lag],
        }

    def catch_up(self, catch_up: CatchUp) -> Record:
        """The record of this fact."""
        return {
            **self.place(catch_up.place),
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

    def truncation(self, truncation: Truncation) -> Record:
        """The record of this fact."""
        return {
            **self.place(truncation.place),
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
