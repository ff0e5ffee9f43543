"""Replication: followers that are slow, silent or never up to date, failing disks, snapshots that do not arrive."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from raft_dissect.diagnosis.findings import Finding
from raft_dissect.diagnosis.words import capital, seconds_between, server
from raft_dissect.units import counted, duration, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from raft_dissect.cluster.facts import ClusterFacts, ReplicationFact, ServerName, Snapshot

_SILENT_SECONDS = 1.0
"""For how long a leader sends before a follower that answers nothing is told of."""
_SLOW_SECONDS = 0.02
"""Answers that take less are not slow, whatever others take."""
_SLOW_TIMES = 3.0
"""How many times the others' median makes a follower slow."""
_FEW_ANSWERS = 20
"""Fewer say nothing about how fast a follower is."""
_CATCH_UP_SECONDS = 5.0
"""After which catching up is told of."""
_LAG_ENTRIES = 1000
_REPEATED = 3
"""Snapshots of one leader to one follower from which on they are repeated."""


def silent_followers(facts: ClusterFacts) -> Iterator[Finding]:
    """Followers that answer nothing, though the capture would show it."""
    for pair in facts.replication:
        if not is_silent(facts, pair) or seconds_between(pair.place, pair.last) < _SILENT_SECONDS:
            continue
        yield Finding(
            "warning",
            "silent_follower",
            f"{capital(server(pair.follower))} answered none of {counted(pair.requests, 'request')} of "
            f"{server(pair.leader)} in {duration(seconds_between(pair.place, pair.last))}.",
            f"Look whether {server(pair.follower)} is running, and whether it can connect to {server(pair.leader)}: "
            "answers travel on a connection of their own.",
            (pair.follower, pair.leader),
            (pair.place, pair.last),
        )


def is_silent(facts: ClusterFacts, pair: ReplicationFact) -> bool:
    """Whether a follower answered nothing, and the capture would show it if it had.

    That is so when the follower's TCP acknowledged what it was sent, and other followers' answers to this leader are
    in the capture. Else answers may be what is missing from it.
    """
    acknowledged = any(
        path.round_trip_seconds is not None
        for path in facts.paths
        if (path.sender, path.receiver) == (pair.leader, pair.follower)
    )
    others = any(other.answered for other in facts.replication if other.leader == pair.leader)
    return not pair.answered and acknowledged and others


def slow_followers(facts: ClusterFacts) -> Iterator[Finding]:
    """Followers that take much longer to answer than the others of the same leader, and what takes the time."""
    for pair in facts.replication:
        others = [
            other.ack_seconds.p50
            for other in facts.replication
            if other.leader == pair.leader and other.follower != pair.follower and other.ack_seconds is not None
        ]
        spread = pair.ack_seconds
        if spread is None or spread.samples < _FEW_ANSWERS or spread.p50 < _SLOW_SECONDS or not others:
            continue
        if spread.p50 >= _SLOW_TIMES * _median(others):
            where, advice = _what_is_slow(pair)
            yield Finding(
                "warning",
                "slow_follower",
                f"{capital(server(pair.follower))} takes {duration(spread.p50)} to answer {server(pair.leader)}, "
                f"half of the time more; the others {duration(_median(others))}{where}.",
                advice,
                (pair.follower, pair.leader),
                (pair.place,),
            )


def _what_is_slow(pair: ReplicationFact) -> tuple[str, str]:
    if pair.network_seconds is None or pair.follower_seconds is None:
        return "", f"Look at the disk of {server(pair.follower)} and at the network to it."
    network, own = pair.network_seconds, pair.follower_seconds.p50
    split = f": {duration(network)} in the network, {duration(own)} in the follower"
    if network > own:
        return split, f"Look at the network between {server(pair.leader)} and {server(pair.follower)}."
    return split, f"Look at the disk of {server(pair.follower)}, which syncs each write before it answers."


def never_caught_up(facts: ClusterFacts) -> Iterator[Finding]:
    """Followers that refused entries and were not up to date for long, or never."""
    requested = {(pair.leader, pair.follower) for pair in facts.replication}
    for catch_up in facts.catch_ups:
        if (catch_up.leader, catch_up.follower) not in requested:
            continue  # the capture has refusals alone, and would not show that others were accepted
        end = catch_up.finished or facts.end
        if end is None or seconds_between(catch_up.place, end) < _CATCH_UP_SECONDS:
            continue
        took = duration(seconds_between(catch_up.place, end))
        done = f"after {took}" if catch_up.finished else f"not within the {took} that were captured"
        yield Finding(
            "warning" if catch_up.finished else "problem",
            "slow_catch_up",
            f"{capital(server(catch_up.follower))} was up to date {done}: it refused "
            f"{catch_up.rejections} times{_behind(catch_up.behind)}"
            f"{', and was sent a snapshot' if catch_up.snapshot else ''}.",
            f"Compare how fast entries come with how fast {server(catch_up.follower)} acknowledges them.",
            (catch_up.follower, catch_up.leader),
            (catch_up.place, *((catch_up.finished,) if catch_up.finished else ())),
        )


def _behind(entries: int | None) -> str:
    return "" if entries is None else f", {entries:,} entries behind"


def lagging_followers(facts: ClusterFacts) -> Iterator[Finding]:
    """Followers that are far behind when the capture ends."""
    for pair in facts.replication:
        if not pair.lag or pair.lag[-1].entries < _LAG_ENTRIES or not pair.answered:
            continue
        last = pair.lag[-1]
        of_size = "" if last.bytes is None else f" ({size(last.bytes)})"
        yield Finding(
            "warning",
            "lagging_follower",
            f"{capital(server(pair.follower))} is {last.entries:,} entries{of_size} behind {server(pair.leader)} at "
            "the end of the capture.",
            f"Look at the time that {server(pair.follower)} takes to acknowledge: its disk, or the network to it.",
            (pair.follower, pair.leader),
            (last.place,),
        )


def failed_writes(facts: ClusterFacts) -> Iterator[Finding]:
    """Followers that could not store what they were sent."""
    failed = [one for one in facts.rejections if one.reason == "write_failed"]
    for follower, count in Counter(one.by for one in failed).items():
        yield Finding(
            "problem",
            "write_failed",
            f"{capital(server(follower))} could not write {counted(count, 'request')} to its disk.",
            f"Look at the disk of {server(follower)}: full, read-only or failing.",
            (follower,),
            tuple(one.place for one in failed if one.by == follower)[:10],
        )


def _pairs(snapshots: Iterable[Snapshot]) -> dict[tuple[ServerName, ServerName], list[Snapshot]]:
    pairs: dict[tuple[ServerName, ServerName], list[Snapshot]] = {}
    for snapshot in snapshots:
        pairs.setdefault((snapshot.leader, snapshot.follower), []).append(snapshot)
    return pairs


def repeated_snapshots(facts: ClusterFacts) -> Iterator[Finding]:
    """Followers that were sent snapshots again and again."""
    for (leader, follower), snapshots in _pairs(facts.snapshots).items():
        if len(snapshots) < _REPEATED:
            continue
        total = sum(snapshot.bytes or 0 for snapshot in snapshots)
        outcomes = Counter(snapshot.outcome for snapshot in snapshots)
        yield Finding(
            "warning",
            "repeated_snapshots",
            f"{capital(server(leader))} sent {len(snapshots)} snapshots to {server(follower)}, {size(total)} in all; "
            f"installed: {outcomes['installed']}.",
            "A follower that falls behind the log again while it installs a snapshot needs a longer trailing log; one "
            "that never answers needs a look at its own log.",
            (follower, leader),
            tuple(snapshot.started for snapshot in snapshots[:10]),
        )


def failed_snapshots(facts: ClusterFacts) -> Iterator[Finding]:
    """Snapshots that did not arrive, or were refused or never answered."""
    words = {"cut": "cut off", "refused": "refused", "unanswered": "without an answer"}
    for (leader, follower), snapshots in _pairs(facts.snapshots).items():
        failed = [snapshot for snapshot in snapshots if snapshot.outcome in words]
        if not failed:
            continue
        outcomes = Counter(snapshot.outcome for snapshot in failed)
        how = ", ".join(f"{times} {words[outcome]}" for outcome, times in outcomes.items())
        yield Finding(
            "warning",
            "failed_snapshots",
            f"Of {counted(len(snapshots), 'snapshot')} from {server(leader)} to {server(follower)}: {how}.",
            f"Look at the connections between them at this time, and at the log of {server(follower)}.",
            (follower, leader),
            tuple(snapshot.started for snapshot in failed[:10]),
        )


def truncated_logs(facts: ClusterFacts) -> Iterator[Finding]:
    """Entries that followers had and that a new leader replaced: normal after a change of leaders, if uncommitted."""
    for one in facts.truncations:
        yield Finding(
            "note",
            "log_truncated",
            f"{capital(server(one.follower))} dropped its log from index {one.first_index} on ({one.entries} known), "
            f"which {server(one.leader)}, leader of term {one.term}, replaced.",
            "That is how Raft resolves conflicts, and harmless unless a client was told that these entries are stored.",
            (one.follower, one.leader),
            (one.place,),
        )


def _median(values: Sequence[float]) -> float:
    middle = len(values) // 2
    ordered = sorted(values)
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


RULES: tuple[Callable[[ClusterFacts], Iterator[Finding]], ...] = (
    silent_followers,
    slow_followers,
    never_caught_up,
    lagging_followers,
    failed_writes,
    repeated_snapshots,
    failed_snapshots,
    truncated_logs,
)
