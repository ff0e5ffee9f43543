"""The sections of a text report that say who is in the cluster, who led, who was elected and what was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.report.escape import wire_text
from raft_dissect.report.words import (
    COMMITTED,
    ELECTION_CAUSES,
    LEADER_ENDS,
    LEADER_UNKNOWN,
    LEADERLESS_CAUSES,
    LEADERLESS_ENDS,
    REASONS,
    REJECTIONS,
    SNAPSHOT_OUTCOMES,
    TERM_CAUSES,
    TRANSFER_REASONS,
    between,
    maybe,
)
from raft_dissect.units import counted, duration, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect import wire
    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.cluster.facts import Election, Refusal, Rejection, ServerFact, ServerName, Transfer
    from raft_dissect.report.page import Page

_NOTABLE_NS = 100_000_000
"""Nanoseconds without a leader that are worth a line; shorter ones come with every change of leader."""


def servers(facts: ClusterFacts, page: Page) -> list[str]:
    """Who is in the cluster, and which release each server seems to run."""
    rows = []
    configuration = facts.configuration
    members = {server.id for server in configuration.servers} if configuration else set()
    for server in facts.servers:
        role = str(server.roles[-1]) if server.roles else "-"
        if server.roles and configuration and server.name not in members:
            role = "removed"
        seen = f"{page.time(server.first_seen)} - {page.time(server.last_seen)}" if server.first_seen else "never"
        addresses = " ".join(map(wire_text, server.addresses))
        rows.append((page.short(server.name), addresses, role, server.family, seen))
    lines = page.table(("id", "address", "role", "family", "sent messages"), rows, flexible=1)
    for server in facts.servers:
        lines += _server_notes(server, page)
    return lines + _releases(facts.servers, page)


def _server_notes(server: ServerFact, page: Page) -> list[str]:
    short = page.short(server.name)
    lines = [f"  {short} is {server.name}"] if isinstance(server.name, int) and short != str(server.name) else []
    if server.restarts:
        when = ", ".join(f"{page.time(place)} (frame {page.frame(place)})" for place in server.restarts)
        lines += page.note(f"{short} was started anew at {when}", "  ")
    return lines


def _releases(servers: Sequence[ServerFact], page: Page) -> list[str]:
    releases: dict[str, list[str]] = {}
    for server in servers:
        if server.releases:
            releases.setdefault(server.releases, []).append(page.short(server.name))
    lines = []
    for text, names in releases.items():
        start = f"  {' '.join(names)} write{'s' if len(names) == 1 else ''} like "
        first, *others = text.split(", ")
        if page.width is not None and len(start) + len(first) > page.width:
            lines += page.note(start.strip() + " " + " or ".join((first, *others)), "  ")
            continue
        lines.append(start + first)
        lines += ["or ".rjust(len(start)) + other for other in others]
    return lines


def leaders(facts: ClusterFacts, page: Page) -> list[str]:
    """Who led when, and who was answered as leader and is not in the capture."""
    rows = [
        (
            str(leadership.term),
            page.short(leadership.leader),
            page.time(leadership.first),
            page.time(leadership.last),
            duration(between(leadership.first, leadership.last)),
            LEADER_ENDS[leadership.ended_by],
            page.frame(leadership.first),
        )
        for leadership in facts.leaders
    ]
    lines = page.table(("term", "leader", "from", "to", "for", "then", "frame"), rows, (0, 4, 6), flexible=5)
    notes = [
        f"{page.short(unseen.leader)} led term {unseen.term}: answered from {page.time(unseen.first)} to "
        f"{page.time(unseen.last)}, frame {page.frame(unseen.first)}"
        for unseen in facts.unseen_leaders
    ]
    return _with_notes(lines, "Leaders whose own messages are not in the capture:", notes, page)


def _with_notes(lines: list[str], head: str, notes: Sequence[str], page: Page) -> list[str]:
    """A table and what it lacks; of a table without rows nothing but that."""
    if not notes:
        return lines
    told = [line for note in notes for line in page.note(note)]
    return [*(lines if len(lines) > 1 else ()), *page.note(head, "  "), *told]


def leaderless(facts: ClusterFacts, page: Page) -> list[str]:
    """When nobody led, why, and how it ended; and when that cannot be known."""
    rows = [
        (
            page.time(interval.first),
            duration(between(interval.first, interval.last)),
            LEADERLESS_CAUSES[interval.cause],
            str(interval.elections),
            LEADERLESS_ENDS[interval.ended_by],
            page.frame(interval.first),
        )
        for interval in facts.leaderless
        if interval.last.time_ns - interval.first.time_ns >= _NOTABLE_NS
    ]
    lines = page.table(("from", "for", "because", "votes", "ended by", "frame"), rows, (1, 3, 5), flexible=2)
    notes = [
        f"from {page.time(unknown.first)} for {duration(between(unknown.first, unknown.last))}: "
        f"{LEADER_UNKNOWN[unknown.cause]}"
        for unknown in facts.leader_unknown
        if unknown.last.time_ns - unknown.first.time_ns >= _NOTABLE_NS
    ]
    return _with_notes(lines, "The capture does not show whether anybody led:", notes, page)


def term_changes(facts: ClusterFacts, page: Page) -> list[str]:
    """Which server went to which term, and why."""
    rows = [
        (
            page.time(change.place),
            page.short(change.server),
            f"{maybe(change.old)} > {change.new}",
            TERM_CAUSES[change.cause] if change.old is not None or change.cause == "election" else "first seen",
            page.frame(change.place),
        )
        for change in facts.term_changes
    ]
    return page.table(("time", "server", "term", "why", "frame"), rows, (4,), flexible=3)


def elections(facts: ClusterFacts, page: Page) -> list[str]:
    """Every round of votes; below it who refused or did not answer, and how long the leader had been silent."""
    rows = [
        (
            page.time(election.place),
            page.short(election.candidate),
            str(election.term),
            "pre-vote" if election.pre_vote else "vote",
            ELECTION_CAUSES[election.cause],
            f"{'?' if election.unread else len(election.granted)} of {len(election.requests)}",
            election.outcome,
            page.frame(election.place),
        )
        for election in facts.elections
    ]
    columns = ("time", "server", "term", "round", "because of", "granted", "outcome", "frame")
    head, *lines = page.table(columns, rows, (2, 7), flexible=4)
    told = [head]
    for line, election in zip(lines, facts.elections, strict=True):
        told += [line, *_votes(election, page)]
    return told


def _votes(election: Election, page: Page) -> list[str]:
    """What a row does not say of an election; nothing when everybody granted the vote."""
    asked = _sorted(election.requests)
    parts = []
    if election.refused or len(election.granted) < len(asked):
        parts.append(f"asked {page.all(asked)}")
        if election.granted:
            parts.append(f"granted by {page.all(_sorted(election.granted))}")
        parts += _refusals(election.refused, page)
        answered = {*election.granted, *election.unread, *(refusal.voter for refusal in election.refused)}
        if silent := [voter for voter in asked if voter not in answered]:
            parts.append(f"no answer from {page.all(silent)}")
    if election.unread:
        parts.append(f"the answer of {page.all(election.unread)} was not captured whole")
    if election.silent_seconds is not None and election.leader is not None:
        again = f", which sent {counted(election.retransmissions, 'segment')} again" if election.retransmissions else ""
        parts.append(
            f"{duration(election.silent_seconds)} after the last message of leader {page.short(election.leader)}{again}"
        )
    return page.note("; ".join(parts)) if parts else []


def _refusals(refused: Sequence[Refusal], page: Page) -> list[str]:
    """Who refused, for each reason; a candidate that asks again is refused again."""
    by_reason: dict[str, set[str]] = {}
    for refusal in refused:
        by_reason.setdefault(REASONS[refusal.reason], set()).add(page.short(refusal.voter))
    return [f"refused by {' '.join(sorted(voters))} ({reason})" for reason, voters in sorted(by_reason.items())]


def _sorted(names: Sequence[ServerName]) -> list[ServerName]:
    """Servers in the order of their names, ids first."""
    return sorted(names, key=lambda name: (isinstance(name, str), name))


def rejections(facts: ClusterFacts, page: Page) -> list[str]:
    """Rejections of one kind and reason between two servers in one term are one line.

    Votes that stand below their election already are left out.
    """
    told = {(refusal.voter, election.candidate) for election in facts.elections for refusal in election.refused}
    groups: dict[tuple[str | int, ...], list[Rejection]] = {}
    for rejection in facts.rejections:
        if rejection.kind in ("request_vote", "pre_vote") and (rejection.by, rejection.of) in told:
            continue
        key = (rejection.kind, rejection.by, rejection.of, rejection.term, rejection.reason)
        groups.setdefault(key, []).append(rejection)
    rows = []
    for same in groups.values():
        first = same[0]
        rows.append(
            (
                page.time(first.place),
                f"{len(same):,}",
                page.who(first.by, first.of),
                str(first.term),
                REJECTIONS[first.kind],
                _indexes(same),
                REASONS[first.reason],
                page.frame(first.place),
            )
        )
    head = ("time", "n", "who", "term", "rejected", "index", "because", "frame")
    return page.table(head, rows, (1, 3, 7), flexible=6)


def _indexes(rejections: Sequence[Rejection]) -> str:
    indexes = [rejection.rejected for rejection in rejections if rejection.rejected is not None]
    if not indexes:
        return "-"
    low, high = min(indexes), max(indexes)
    return str(low) if low == high else f"{low}-{high}"


def snapshots(facts: ClusterFacts, page: Page) -> list[str]:
    """Every InstallSnapshot and what became of it."""
    rows = [
        (
            page.time(snapshot.started),
            page.who(snapshot.leader, snapshot.follower),
            f"{maybe(snapshot.last_index)}/{maybe(snapshot.last_term)}",
            "?" if snapshot.bytes is None else size(snapshot.bytes),
            "-" if snapshot.seconds is None else duration(snapshot.seconds),
            "-" if snapshot.answered is None else duration(between(snapshot.started, snapshot.answered)),
            SNAPSHOT_OUTCOMES[snapshot.outcome],
            page.frame(snapshot.started),
        )
        for snapshot in facts.snapshots
    ]
    head = ("time", "who", "up to", "size", "sent in", "answer", "outcome", "frame")
    return page.table(head, rows, (3, 4, 5, 7), flexible=6)


def transfers(facts: ClusterFacts, page: Page) -> list[str]:
    """Every leadership transfer and what became of it."""
    rows = [
        (
            page.time(transfer.place),
            page.who(transfer.leader, transfer.target),
            str(transfer.term),
            transfer.outcome,
            _because(transfer, page),
            "-" if transfer.seconds is None else duration(transfer.seconds),
            page.frame(transfer.place),
        )
        for transfer in facts.transfers
    ]
    return page.table(("time", "who", "term", "outcome", "because", "took", "frame"), rows, (2, 5, 6), flexible=4)


def _because(transfer: Transfer, page: Page) -> str:
    if transfer.reason is None:
        return "-"
    refusals = _refusals(transfer.refused, page)
    return ", ".join(refusals) if refusals else TRANSFER_REASONS[transfer.reason]


def configurations(facts: ClusterFacts, page: Page) -> list[str]:
    """Every configuration that was seen, and whether it is known to be committed."""
    rows = [
        (
            page.time(fact.place),
            str(fact.conf_index),
            fact.change or "-",
            _roles(fact.servers, page),
            COMMITTED[fact.committed],
            page.frame(fact.place),
        )
        for fact in facts.configurations
    ]
    return page.table(("time", "index", "change", "servers", "committed", "frame"), rows, (1, 5), flexible=3)


def _roles(servers: Sequence[wire.Server], page: Page) -> str:
    """The servers of a configuration by role, in the order in which the roles first come."""
    by_role: dict[str, list[str]] = {}
    for server in servers:
        by_role.setdefault(str(server.role_name), []).append(page.short(server.id))
    return ", ".join(f"{role} {' '.join(names)}" for role, names in by_role.items())
