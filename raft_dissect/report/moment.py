"""Who led at one time, as a sentence and as a JSON record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raft_dissect.cluster.questions import leader_at
from raft_dissect.report.words import Names

if TYPE_CHECKING:
    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.report.model import Report
    from raft_dissect.report.page import Page
    from raft_dissect.report.times import Clock


def leader_sentence(report: Report, time_ns: int, clock: Clock) -> str:
    """Who led at a time, in nanoseconds since the Unix epoch, and how that is known."""
    page = _page(report, clock)
    when = f"At {clock.time(time_ns, 3)}"
    capture = report.capture
    if not report.clusters:
        return f"{when}: no Raft traffic found."
    if capture.first_ns is None or capture.last_ns is None or not capture.first_ns <= time_ns <= capture.last_ns:
        begin, end = (clock.day(ns) for ns in (capture.first_ns or 0, capture.last_ns or 0))
        return f"{when}, on {clock.day(time_ns)[:10]}, nothing was captured: the capture is from {begin} to {end}."
    told = [_told(facts, time_ns, page) for facts in report.clusters]
    if len(told) > 1:
        told = [f"(cluster {number}) {sentence}" for number, sentence in enumerate(told, start=1)]
    return f"{when} {'; '.join(told)}."


def _page(report: Report, clock: Clock) -> Page:
    from raft_dissect.report.page import Page
    from raft_dissect.report.terminal import Style

    names = Names(server.name for facts in report.clusters for server in facts.servers)
    return Page(clock, Style(), names, None, len(report.capture.files) > 1)


def _told(facts: ClusterFacts, time_ns: int, page: Page) -> str:
    leading = leader_at(facts, time_ns)
    if leading is not None:
        return (
            f"{page.short(leading.leader)} led, in term {leading.term}: "
            f"from {page.time(leading.first)} (frame {page.frame(leading.first)}) "
            f"to {page.time(leading.last)} (frame {page.frame(leading.last)})"
        )
    parts = ["no leader was heard of"]
    before = [leader for leader in facts.leaders if leader.last.time_ns < time_ns]
    after = [leader for leader in facts.leaders if leader.first.time_ns > time_ns]
    if before:
        last = max(before, key=lambda leader: leader.last.time_ns)
        until = f"until {page.time(last.last)} (frame {page.frame(last.last)})"
        parts.append(f"the last one was {page.short(last.leader)}, in term {last.term}, {until}")
    if after:
        following = min(after, key=lambda leader: leader.first.time_ns)
        begin = f"from {page.time(following.first)} (frame {page.frame(following.first)})"
        parts.append(f"the next one was {page.short(following.leader)}, in term {following.term}, {begin}")
    return "; ".join(parts)


def leader_record(report: Report, time_ns: int, clock: Clock) -> dict[str, Any]:
    """The same as one record; the leader is null when packets show none.

    Of several clusters there is a record for each, in their order, under `clusters`.
    """
    record: dict[str, Any] = {"time": clock.iso(time_ns), "time_ns": time_ns}
    if len(report.clusters) > 1:
        return {**record, "clusters": [_leading(facts, time_ns, clock) for facts in report.clusters]}
    nobody = {"leader": None, "term": None}
    return {**record, **(_leading(report.clusters[0], time_ns, clock) if report.clusters else nobody)}


def _leading(facts: ClusterFacts, time_ns: int, clock: Clock) -> dict[str, Any]:
    leading = leader_at(facts, time_ns)
    if leading is None:
        return {"leader": None, "term": None}
    return {
        "leader": leading.leader,
        "term": leading.term,
        "frame": leading.first.frame,
        "to": clock.iso(leading.last.time_ns),
        "from": clock.iso(leading.first.time_ns),
    }
