"""The happenings in the facts about one cluster: which can be told at a time, and which packet proves each."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.cluster.facts import Snapshot
from raft_dissect.watch.happenings import Connection, Restart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raft_dissect.cluster.facts import ClusterFacts, Leadership, ServerName, Transfer
    from raft_dissect.cluster.servers import Servers
    from raft_dissect.values import Message, Place
    from raft_dissect.watch.happenings import Fact

_SILENCE_NS = 1_000_000_000
"""Nanoseconds without anything new after which a round without a winner, or a leader without a message, is over."""
_ANSWER_NS = 30_000_000_000
"""Nanoseconds that a follower may take to install a snapshot before it is said to have left it unanswered."""
_TRANSFER_NS = 5_000_000_000
"""Nanoseconds after which the target of a transfer will not lead because of it any more."""
_PATHS = {
    "opened": "connection_opened",
    "closed": "connection_closed",
    "reset": "connection_reset",
    "refused": "connection_refused",
    "unanswered": "connection_unanswered",
}


class News(NamedTuple):
    """What can be told."""

    kind: str
    place: Place
    fact: Fact
    key: tuple[object, ...]
    """What tells it from all others of its kind."""
    name: tuple[object, ...] = ()
    """What it has in common with the same at a later place: a stream with a hole is held back, and so what was told can
    turn out to be proven by an earlier packet."""


class Ended(NamedTuple):
    """A leadership of which it was told that it has ended."""

    leader: ServerName
    last: Place
    """The last message before that."""
    is_final: bool
    """Whether another server leads, or the leader has stepped down: then it does not matter what is heard of it yet."""


Endings = dict[tuple[int, "Place"], Ended]
"""By term and first message of a leader, as they were when that was told."""


def news(facts: ClusterFacts, now_ns: int, endings: Endings) -> Iterator[News]:
    """Everything that can be told at a time, in nanoseconds since the epoch; most of it was told before.

    `endings` are those that were told before, and is brought up to date.
    """
    yield from _servers(facts)
    yield from _connections(facts)
    for change in facts.term_changes:
        yield News("term_change", change.place, change, (change.place, change.new), (change.server, change.new))
    yield from _elections(facts, now_ns)
    yield from _leaders(facts, now_ns, endings)
    seen: Counter[Place] = Counter()  # one packet can hold many answers
    for rejection in facts.rejections:
        seen[rejection.place] += 1
        yield News("rejection", rejection.place, rejection, (rejection.place, seen[rejection.place]))
    yield from _replication(facts)
    yield from _snapshots(facts, now_ns)
    for transfer in facts.transfers:
        yield News("transfer_begun", transfer.place, transfer, (transfer.place,))
        if _is_over(transfer, now_ns):
            yield News("transfer_ended", transfer.led or transfer.place, transfer, (transfer.place,))
    for configuration in facts.configurations:
        key = (configuration.conf_index, configuration.term, configuration.servers)
        name = (configuration.conf_index, configuration.servers)
        yield News("configuration", configuration.place, configuration, key, name)
        if configuration.committed is not None and configuration.decided_at is not None:
            kind = "configuration_committed" if configuration.committed else "configuration_rolled_back"
            yield News(kind, configuration.decided_at, configuration, key, name)


def _servers(facts: ClusterFacts) -> Iterator[News]:
    for server in facts.servers:
        if server.first_seen is not None:
            yield News("server", server.first_seen, server, (server.name, server.first_seen))
        for place in server.restarts:
            yield News("restart", place, Restart(server.name, place), (place,))


def _connections(facts: ClusterFacts) -> Iterator[News]:
    for path in facts.paths:
        for event in path.events:
            kind = _PATHS.get(event.kind)
            if kind is not None:
                connection = Connection(path.sender, path.receiver, event)
                yield News(kind, event.place, connection, (event.place, event.stream))


def _elections(facts: ClusterFacts, now_ns: int) -> Iterator[News]:
    latest: dict[object, Place] = {}  # by candidate: its last round
    for election in facts.elections:
        latest[election.candidate] = election.place
    led = {leadership.term for leadership in facts.leaders}
    for election in facts.elections:
        key = (election.place, election.term, election.pre_vote)
        yield News("election_begun", election.place, election, key)
        last = election.last or election.place
        again = latest[election.candidate] > election.place
        decided = election.outcome == "won" or (election.term in led and not election.pre_vote)
        if election.outcome != "unknown" and (decided or again or now_ns - last.time_ns >= _SILENCE_NS):
            yield News("election_ended", last, election, key)


def _leaders(facts: ClusterFacts, now_ns: int, endings: Endings) -> Iterator[News]:
    newest = max((leadership.term for leadership in facts.leaders), default=0)
    for leadership in facts.leaders:
        key = (leadership.term, leadership.first)
        yield News("leader", leadership.first, leadership, key, (leadership.term, leadership.leader))
        key = _told_as(leadership, endings)
        ended = endings.get(key)
        if ended is not None and ended.is_final:
            continue
        if ended is not None and leadership.last > ended.last:
            del endings[key]
            ended = None
            yield News("leader_returned", leadership.last, leadership, (*key, leadership.last))
        is_final = leadership.term < newest or leadership.ended_by in ("new_leader", "step_down")
        is_silent = leadership.ended_by != "capture_end" and now_ns - leadership.last.time_ns >= _SILENCE_NS
        if is_final or (is_silent and ended is None):
            endings[key] = Ended(leadership.leader, leadership.last, is_final)
        if ended is None and (is_final or is_silent):
            place = leadership.ended if is_final and leadership.ended is not None else leadership.last
            yield News("leader_ended", place, leadership, (*key, leadership.last, is_final))


def _told_as(leadership: Leadership, endings: Endings) -> tuple[int, Place]:
    """The key of a leadership among those that were told to have ended: its first message may have come late."""
    for (term, first), ended in endings.items():
        if term == leadership.term and first > leadership.first and ended.leader == leadership.leader:
            return term, first
    return leadership.term, leadership.first


def _replication(facts: ClusterFacts) -> Iterator[News]:
    for catch_up in facts.catch_ups:
        yield News("catch_up_begun", catch_up.place, catch_up, (catch_up.place,))
        if catch_up.finished is not None:
            yield News("catch_up_ended", catch_up.finished, catch_up, (catch_up.place,))
    for truncation in facts.truncations:
        yield News("truncation", truncation.place, truncation, (truncation.place, truncation.first_index))


def _snapshots(facts: ClusterFacts, now_ns: int) -> Iterator[News]:
    for snapshot in facts.snapshots:
        key = (snapshot.started,)
        yield News("snapshot_begun", snapshot.started, snapshot, key)
        if snapshot.finished is not None:
            yield News("snapshot_sent", snapshot.finished, snapshot, key)
        last = snapshot.answered or snapshot.finished or snapshot.started
        waits = snapshot.outcome == "unanswered" and now_ns - last.time_ns < _ANSWER_NS
        if snapshot.outcome != "in_progress" and not waits:
            yield News("snapshot_ended", last, snapshot, key)


def begun_snapshot(message: Message, servers: Servers) -> Snapshot:
    """The fact about an InstallSnapshot message that is still coming."""
    fields = message.fields
    return Snapshot(
        servers.sender(message.stream).name,
        servers.receiver(message.stream).name,
        fields.get("term", 0),
        fields.get("last_index"),
        fields.get("last_term"),
        message.payload_length,
        message.first,
        None,
        None,
        "in_progress",
    )


def _is_over(transfer: Transfer, now_ns: int) -> bool:
    """Whether the outcome of a transfer will not change any more."""
    if transfer.outcome in ("unknown", "done"):
        return transfer.outcome == "done"
    proven = transfer.outcome == "failed" and transfer.reason != "unknown"
    return proven or now_ns - transfer.place.time_ns >= _TRANSFER_NS
