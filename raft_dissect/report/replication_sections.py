"""The sections of a text report that say how replication went: speed, lag, repairs, and the TCP paths under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.report.rates import data_unknown, leading_seconds, per_second, rate
from raft_dissect.report.terminal import room
from raft_dissect.report.words import maybe
from raft_dissect.units import duration, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.cluster.facts import Lag, PathFact, ReplicationFact
    from raft_dissect.report.page import Page
    from raft_dissect.spread import Spread

_SPARKS = 20
"""Characters of a sparkline where there is room for it."""
_FEW_PATHS = 6
"""Paths that are all shown; of more than these, those with trouble."""


def replication(facts: ClusterFacts, page: Page) -> list[str]:
    """What each leader sent to each follower, how fast, and how far the follower was behind."""
    numbers = [_amounts(fact, facts, page) for fact in facts.replication]
    head = ("who", "entries", "per s", "data", "per s", "again", "lag", "frame")
    sparks, title = _sparks(head, numbers, page)
    begin, end = _extent(facts.replication)
    rows = [
        (*row[:-1], page.style.sparkline(_over_time(fact.lag, begin, end, sparks)), row[-1]) if sparks else row
        for fact, row in zip(facts.replication, numbers, strict=True)
    ]
    if sparks:
        lines = page.table((*head[:-1], title, head[-1]), rows, (1, 2, 3, 4, 5, 6, 8))
    else:
        lines = page.table(head, rows, range(1, 8))
    if rows:
        text = (
            "per s: entries and their data per second that the leader led; again: entries that had been sent before; "
        )
        text += "lag: entries behind at most" + (", each sparkline up to its own largest" if sparks else "")
        lines += page.note(text, "  ")
    return lines


def _amounts(fact: ReplicationFact, facts: ClusterFacts, page: Page) -> tuple[str, ...]:
    seconds = leading_seconds(fact, facts.leaders)
    data = None if data_unknown(fact) else per_second(fact.bytes, seconds)
    return (
        page.who(fact.leader, fact.follower),
        f"{fact.entries:,}",
        rate(per_second(fact.entries, seconds)),
        "-" if data_unknown(fact) else size(fact.bytes),
        "-" if data is None else size(round(data)),
        f"{fact.again:,}",
        f"{max((lag.entries for lag in fact.lag), default=0):,}",
        page.frame(fact.place),
    )


def _sparks(head: Sequence[str], rows: Sequence[Sequence[str]], page: Page) -> tuple[int, str]:
    """How many characters sparklines have beside the other columns, and the title for which that is enough."""
    wide, narrow = room(head, rows, page.width)
    for characters, title in ((wide, "lag over time"), (narrow, "lag over time"), (narrow, "over time")):
        if characters >= len(title):
            return min(characters, _SPARKS), title
    return 0, ""


def heartbeats(facts: ClusterFacts, page: Page) -> list[str]:
    """How regularly each leader let each follower hear of it."""
    rows = [
        (
            page.who(fact.leader, fact.follower),
            f"{fact.requests:,}",
            f"{fact.heartbeats:,}",
            *(_at(fact.heartbeat_seconds, part) for part in ("p50", "p95", "p99", "max")),
            page.frame(fact.place),
        )
        for fact in facts.replication
    ]
    head = ("who", "sent", "empty", "p50", "p95", "p99", "longest", "frame")
    lines = page.table(head, rows, range(1, 8))
    if rows:
        lines += page.note(
            "sent: AppendEntries messages; empty: those without entries; p50 to longest: from one of them to the "
            "next in the same term; the further p99 and longest are above p50, the more jitter",
            "  ",
        )
    return lines


def answers(facts: ClusterFacts, page: Page) -> list[str]:
    """How long followers took to answer: in all, on the network, and for themselves."""
    rows = [
        (
            page.who(fact.leader, fact.follower),
            f"{fact.answered:,}",
            f"{fact.unanswered:,}",
            _at(fact.ack_seconds, "p50"),
            _at(fact.ack_seconds, "p99"),
            "-" if fact.network_seconds is None else duration(fact.network_seconds),
            _at(fact.follower_seconds, "p50"),
            _at(fact.follower_seconds, "p99"),
            _at(fact.commit_seconds, "p50"),
        )
        for fact in facts.replication
    ]
    head = ("who", "answers", "none", "p50", "p99", "network", "self p50", "self p99", "commit")
    lines = page.table(head, rows, range(1, 9))
    if rows:
        lines += page.note(
            "p50, p99: until the answer; network: the part of it that is TCP's shortest round trip; self: the rest, "
            "which is the follower's own, its disk's above all; commit: p50 until an entry is committed",
            "  ",
        )
    return lines


def catch_ups(facts: ClusterFacts, page: Page) -> list[str]:
    """Followers that had to be brought up to date."""
    rows = [
        (
            page.time(fact.place),
            page.who(fact.leader, fact.follower),
            str(fact.term),
            f"{fact.rejections:,}",
            maybe(fact.matched, "-"),
            "-" if fact.behind is None else f"{fact.behind:,}",
            "snapshot" if fact.snapshot else "entries",
            "not seen" if fact.seconds is None else duration(fact.seconds),
            page.frame(fact.place),
        )
        for fact in facts.catch_ups
    ]
    head = ("time", "who", "term", "steps", "matched", "behind", "by", "took", "frame")
    return page.table(head, rows, (2, 3, 4, 5, 7, 8), flexible=1)


def truncations(facts: ClusterFacts, page: Page) -> list[str]:
    """Entries that followers had to give up."""
    rows = [
        (
            page.time(fact.place),
            page.who(fact.leader, fact.follower),
            str(fact.term),
            _range(fact.first_index, fact.entries),
            f"{fact.entries:,}",
            page.frame(fact.place),
        )
        for fact in facts.truncations
    ]
    return page.table(("time", "who", "term", "replaced", "entries", "frame"), rows, (2, 4, 5), flexible=1)


def _range(first: int, count: int) -> str:
    return str(first) if count <= 1 else f"{first}-{first + count - 1}"


def paths(facts: ClusterFacts, page: Page) -> list[str]:
    """The TCP connections between servers; of many, only those with trouble."""
    shown = facts.paths if len(facts.paths) <= _FEW_PATHS else [path for path in facts.paths if has_trouble(path)]
    rows = [
        (
            page.who(path.sender, path.receiver),
            *(_count(n) for n in (path.opened, path.refused, path.unanswered, path.resets, path.closed)),
            _share(path.retransmissions, path.segments),
            _count(path.zero_windows),
            _at(path.round_trip_seconds, "p50"),
            _at(path.round_trip_seconds, "p99"),
            page.frame(path.place),
        )
        for path in shown
    ]
    head = ("who", "open", "refused", "silent", "reset", "end", "resent", "full", "rtt p50", "p99", "frame")
    lines = page.table(head, rows, range(1, 11))
    if rows:
        lines += page.note(
            "attempts refused or left silent, connections reset or ended, segments sent again, full: windows of 0", "  "
        )
    if hidden := len(facts.paths) - len(shown):
        text = f"and {hidden:,} without trouble" if shown else f"all {hidden:,} without trouble"
        lines.append(f"  {text}")
    return lines


def has_trouble(path: PathFact) -> bool:
    """Whether anything but opening, sending and closing happened on a path."""
    return any((path.refused, path.unanswered, path.resets, path.retransmissions, path.zero_windows))


def _count(number: int) -> str:
    return f"{number:,}" if number else "-"


def _share(part: int, whole: int) -> str:
    if not part:
        return "-"
    return f"{part:,} {100 * part / whole:.2g}%" if whole else f"{part:,}"


def _at(spread: Spread | None, percentile: str) -> str:
    return "-" if spread is None else duration(getattr(spread, percentile))


def _extent(facts: Sequence[ReplicationFact]) -> tuple[int, int]:
    """From the first request of any leader to the last one, in nanoseconds, so that sparklines have one scale."""
    return min((f.place.time_ns for f in facts), default=0), max((f.last.time_ns for f in facts), default=0)


def _over_time(lags: Sequence[Lag], begin: int, end: int, count: int) -> list[float | None]:
    """The largest lag in each of so many equal parts of the time; None where nothing is known."""
    parts: list[float | None] = [None] * count
    for lag in lags:
        part = (lag.place.time_ns - begin) * count // max(end - begin, 1)
        part = min(max(part, 0), count - 1)
        parts[part] = max(lag.entries, parts[part] or 0)
    return parts
