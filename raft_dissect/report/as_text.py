"""The report as text for a terminal, at its best from 80 columns on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.report.model import MAX_DIAGNOSTICS
from raft_dissect.report.terminal import Style, table, wrapped
from raft_dissect.report.words import (
    ELECTION_CAUSES,
    LEADER_ENDS,
    REASONS,
    REJECTIONS,
    SKIPPED,
    SNAPSHOT_OUTCOMES,
    TERM_CAUSES,
    Names,
    counted,
    duration,
    other_connections,
    size,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raft_dissect import wire
    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.cluster.facts import Election, Leaderless, Leadership, Rejection, ServerFact, Snapshot
    from raft_dissect.report.model import CaptureFacts, Report
    from raft_dissect.report.times import Clock
    from raft_dissect.values import Place

_NOTABLE_NS = 100_000_000
"""Nanoseconds without a leader that are worth a line; shorter ones come with every change of leader."""
_MAX_DIAGNOSTICS = 10
"""Lines of what is missing from the capture; the JSON report has more of them."""
_MAX_ROWS = 40
"""Rows of one table; the JSON report has them all."""


def report_text(report: Report, clock: Clock, style: Style, width: int | None = None) -> Iterator[str]:
    """The lines of the report; `width` is where they end, None for no end."""
    first, *others = _capture(report.capture, clock)
    yield from wrapped(first, width, "")
    for sentence in others:
        yield from wrapped(sentence, width)
    for facts in report.clusters:
        names = Names(server.name for server in facts.servers)
        yield from _Cluster(facts, clock, style, names, width, several=len(report.capture.files) > 1).lines()


def _capture(facts: CaptureFacts, clock: Clock) -> Iterator[str]:
    name = ", ".join(facts.files) or "the capture"
    if len(facts.files) > 1:
        name = ", ".join(f"{number} {file}" for number, file in enumerate(facts.files, start=1))
    yield f"{name}: {counted(facts.packets, 'packet')}, {size(facts.bytes)}"
    if facts.first_ns is not None and facts.last_ns is not None:
        seconds = (facts.last_ns - facts.first_ns) / 1e9
        yield f"{duration(seconds)} from {clock.day(facts.first_ns)}"
    also = other_connections(facts.other_streams)
    if facts.raft_streams:
        yield f"{counted(facts.raft_streams, 'Raft connection')}, {counted(facts.messages, 'message')}{also}"
    else:
        yield f"No Raft traffic found{also}."
    yield from _missing(facts, clock)


def _missing(facts: CaptureFacts, clock: Clock) -> Iterator[str]:
    """What keeps the report from being complete."""
    if facts.partial:
        yield f"{counted(facts.partial, 'message')} only in part in the capture"
    if facts.cut_packets:
        yield f"{counted(facts.cut_packets, 'packet')} cut by the snaplen: capture with -s 0 for all of it"
    if facts.skipped:
        reasons = ", ".join(f"{count:,} {SKIPPED.get(reason, reason)}" for reason, count in facts.skipped.items())
        yield f"passed over, as they hold no TCP: {reasons}"
    for diagnostic in facts.diagnostics[:_MAX_DIAGNOSTICS]:
        where = f" on {diagnostic.stream.source} > {diagnostic.stream.destination}" if diagnostic.stream else ""
        amount = f" {size(diagnostic.size)}:" if diagnostic.size is not None else ""
        yield f"{diagnostic.kind} at {clock.time(diagnostic.place.time_ns, 3)}{where}:{amount} {diagnostic.detail}"
    more = sum(facts.diagnosed.values()) - min(len(facts.diagnostics), _MAX_DIAGNOSTICS)
    if more > 0:
        yield f"and {counted(more, 'more such place')}; --json lists the first {MAX_DIAGNOSTICS:,}"


class _Cluster:
    """Writes the facts about one cluster."""

    def __init__(
        self, facts: ClusterFacts, clock: Clock, style: Style, names: Names, width: int | None, several: bool
    ) -> None:
        self._facts = facts
        self._clock = clock
        self._style = style
        self._short = names.short
        self._width = width
        self._several = several
        """Whether a frame number says nothing without the number of its file."""

    def lines(self) -> Iterator[str]:
        """All sections that have something to say."""
        facts = self._facts
        yield from self._section("Servers", self._servers(facts.servers))
        yield from self._section("Leaders", self._leaders(facts.leaders))
        yield from self._section("Without a leader", self._leaderless(facts.leaderless))
        yield from self._section("Term changes", self._term_changes())
        yield from self._section("Elections", self._elections(facts.elections))
        yield from self._section("Rejections", self._rejections(facts.rejections))
        yield from self._section("Snapshots", self._snapshots(facts.snapshots))
        yield from self._section("Leadership transfers", self._transfers())
        yield from self._section("Configurations", self._configurations())

    def _section(self, title: str, lines: Sequence[str]) -> Iterator[str]:
        if len(lines) < 2:  # only the head of a table
            return
        yield ""
        yield self._style.paint(title, "bold")
        yield from lines[: _MAX_ROWS + 1]
        if len(lines) > _MAX_ROWS + 1:
            yield f"  and {len(lines) - _MAX_ROWS - 1:,} more; --json has them all"

    def _table(
        self, head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = (), flexible: int = 0
    ) -> list[str]:
        return table(head, rows, self._style, frozenset(right), width=self._width, flexible=flexible)

    def _time(self, place: Place | None) -> str:
        return "-" if place is None else self._clock.time(place.time_ns, 3)

    def _frame(self, place: Place) -> str:
        return f"{place.file + 1}:{place.frame}" if self._several else str(place.frame)

    def _servers(self, servers: Sequence[ServerFact]) -> list[str]:
        rows = []
        configurations = self._facts.configurations
        last_configuration = {server.id for server in configurations[-1].servers} if configurations else set()
        for server in servers:
            role = str(server.roles[-1]) if server.roles else "-"
            if server.roles and server.name not in last_configuration:
                role = "removed"
            seen = f"{self._time(server.first_seen)} - {self._time(server.last_seen)}" if server.first_seen else "never"
            rows.append((self._short(server.name), " ".join(server.addresses), role, server.family, seen))
        lines = self._table(("id", "address", "role", "family", "sent messages"), rows, flexible=1)
        for server in servers:
            if self._short(server.name) != str(server.name):
                lines.append(f"  {self._short(server.name)} is {server.name}")
        releases: dict[str, list[str]] = {}
        for server in servers:
            if server.releases:
                releases.setdefault(server.releases, []).append(self._short(server.name))
        for text, names in releases.items():
            start = f"  {' '.join(names)} write{'s' if len(names) == 1 else ''} like "
            first, *others = text.split(", ")
            lines.append(start + first)
            lines += ["or ".rjust(len(start)) + other for other in others]
        return lines

    def _leaders(self, leaders: Sequence[Leadership]) -> list[str]:
        rows = [
            (
                str(leadership.term),
                self._short(leadership.leader),
                self._time(leadership.first),
                self._time(leadership.last),
                duration((leadership.last.time_ns - leadership.first.time_ns) / 1e9),
                LEADER_ENDS[leadership.ended_by],
                self._frame(leadership.first),
            )
            for leadership in leaders
        ]
        head = ("term", "leader", "from", "to", "for", "then", "frame")
        return self._table(head, rows, (0, 4, 6), flexible=5)

    def _leaderless(self, intervals: Sequence[Leaderless]) -> list[str]:
        notable = [i for i in intervals if i.last.time_ns - i.first.time_ns >= _NOTABLE_NS]
        rows = [
            (self._time(i.first), self._time(i.last), duration((i.last.time_ns - i.first.time_ns) / 1e9))
            for i in notable
        ]
        return self._table(("from", "to", "for"), rows, (2,))

    def _term_changes(self) -> list[str]:
        rows = [
            (
                self._time(change.place),
                self._short(change.server),
                f"{'?' if change.old is None else change.old} > {change.new}",
                TERM_CAUSES[change.cause] if change.old is not None or change.cause == "election" else "first seen",
                self._frame(change.place),
            )
            for change in self._facts.term_changes
        ]
        return self._table(("time", "server", "term", "why", "frame"), rows, (4,), flexible=3)

    def _elections(self, elections: Sequence[Election]) -> list[str]:
        rows = [
            (
                self._time(election.place),
                self._short(election.candidate),
                str(election.term),
                "pre-vote" if election.pre_vote else "vote",
                ELECTION_CAUSES[election.cause],
                f"{'?' if election.unread else len(election.granted)} of {len(election.requests)}",
                election.outcome,
                self._frame(election.place),
            )
            for election in elections
        ]
        head = ("time", "server", "term", "round", "because of", "granted", "outcome", "frame")
        return self._table(head, rows, (2, 7), flexible=4)

    def _rejections(self, rejections: Sequence[Rejection]) -> list[str]:
        """Rejections of one kind and reason between two servers in one term are one line."""
        groups: dict[tuple[str | int, ...], list[Rejection]] = {}
        for rejection in rejections:
            key = (rejection.kind, rejection.by, rejection.of, rejection.term, rejection.reason)
            groups.setdefault(key, []).append(rejection)
        rows = []
        for same in groups.values():
            first = same[0]
            rows.append(
                (
                    self._time(first.place),
                    f"{len(same):,}",
                    f"{self._short(first.by)} > {self._short(first.of)}",
                    str(first.term),
                    REJECTIONS[first.kind],
                    _indexes(same),
                    REASONS[first.reason],
                    self._frame(first.place),
                )
            )
        head = ("time", "n", "who", "term", "rejected", "index", "because", "frame")
        return self._table(head, rows, (1, 3, 7), flexible=6)

    def _snapshots(self, snapshots: Sequence[Snapshot]) -> list[str]:
        rows = [
            (
                self._time(snapshot.started),
                f"{self._short(snapshot.leader)} > {self._short(snapshot.follower)}",
                f"{snapshot.last_index}/{snapshot.last_term}",
                "?" if snapshot.bytes is None else size(snapshot.bytes),
                "-" if snapshot.seconds is None else duration(snapshot.seconds),
                "-" if snapshot.answered is None else duration(_between(snapshot.started, snapshot.answered)),
                SNAPSHOT_OUTCOMES[snapshot.outcome],
                self._frame(snapshot.started),
            )
            for snapshot in snapshots
        ]
        head = ("time", "who", "up to", "size", "sent in", "answer", "outcome", "frame")
        return self._table(head, rows, (3, 4, 5, 7), flexible=6)

    def _transfers(self) -> list[str]:
        rows = [
            (
                self._time(transfer.place),
                f"{self._short(transfer.leader)} > {self._short(transfer.target)}",
                str(transfer.term),
                transfer.outcome,
                "-" if transfer.seconds is None else duration(transfer.seconds),
                self._frame(transfer.place),
            )
            for transfer in self._facts.transfers
        ]
        head = ("time", "who", "term", "outcome", "took", "frame")
        return self._table(head, rows, (2, 4, 5))

    def _configurations(self) -> list[str]:
        rows = [
            (
                self._time(fact.place),
                str(fact.conf_index),
                fact.change or "-",
                self._roles(fact.servers),
                self._frame(fact.place),
            )
            for fact in self._facts.configurations
        ]
        head = ("time", "index", "change", "servers", "frame")
        return self._table(head, rows, (1, 4), flexible=3)

    def _roles(self, servers: Sequence[wire.Server]) -> str:
        """The servers of a configuration by role, in the order in which the roles first come."""
        by_role: dict[str, list[str]] = {}
        for server in servers:
            by_role.setdefault(str(server.role_name), []).append(self._short(server.id))
        return ", ".join(f"{role} {' '.join(names)}" for role, names in by_role.items())


def _indexes(rejections: Sequence[Rejection]) -> str:
    indexes = [rejection.rejected for rejection in rejections if rejection.rejected is not None]
    if not indexes:
        return "-"
    low, high = min(indexes), max(indexes)
    return str(low) if low == high else f"{low}-{high}"


def _between(first: Place, last: Place) -> float:
    return (last.time_ns - first.time_ns) / 1e9
