"""The facts as tables; each row names the frame that proves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.report.html.context import NOTHING
from raft_dissect.report.html.markup import append, element
from raft_dissect.report.rates import data_unknown, leading_seconds, per_second, rate
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
)
from raft_dissect.units import counted, duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from xml.etree.ElementTree import Element

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.cluster.facts import Refusal, Rejection, Transfer
    from raft_dissect.report.html.context import Context
    from raft_dissect.report.html.markup import Child
    from raft_dissect.report.model import CaptureFacts
    from raft_dissect.spread import Spread

_MOST_ROWS = 300
"""Rows of one table; the JSON report has them all."""
_MOST_NOTES = 100
"""Sentences below one table; the JSON report has them all."""
_LONG = 12
"""Rows from which on a table scrolls in a window of its own."""
_TIMES = ("time", "first seen", "last seen")
"""Titles of columns that hold times of day."""


class Column(NamedTuple):
    """One column of a table."""

    title: str
    kind: str | None = None
    """The class of its cells: numbers stand at the right, and neither they nor times are broken into lines."""


class Section(NamedTuple):
    """One table with its heading."""

    key: str
    title: str
    content: list[Element]


_Row = tuple["Child", ...]


def _columns(text: str) -> list[Column]:
    """Columns by their titles, which are separated by commas; `#` before a title marks numbers."""
    return [_column(title.strip()) for title in text.split(",")]


def _column(title: str) -> Column:
    if title.startswith("#"):
        return Column(title.removeprefix("#"), "number")
    return Column(title, "time" if title in _TIMES else None)


def table(columns: str, rows: Sequence[_Row], caption: str) -> Element:
    """A table; the first cell of each row is its header."""
    titles = _columns(columns)
    head = element("tr", *(element("th", column.title, scope="col", class_=column.kind) for column in titles))
    body = element("tbody")
    for row in rows[:_MOST_ROWS]:
        cells = element("tr")
        for number, (column, content) in enumerate(zip(titles, row, strict=True)):
            tag, scope = ("td", None) if number else ("th", "row")
            append(cells, [element(tag, content, scope=scope, class_=column.kind)])
        append(body, [cells])
    made = element("table", element("caption", caption, class_="hidden"), element("thead", head), body)
    if len(rows) <= _LONG:
        return element("div", made, class_="scroll")
    # A long table is a window that the keyboard can scroll, too.
    return element("div", made, class_="scroll long", tabindex=0, role="region", aria_label=caption)


class Tables:
    """Makes the tables of one cluster."""

    def __init__(self, facts: ClusterFacts, context: Context) -> None:
        self._facts = facts
        self._context = context

    def sections(self) -> Iterator[Section]:
        """All tables that have rows."""
        for key, title, columns, rows in (
            ("servers", "Servers", "id, addresses, role, family, first seen, last seen, restarts, known by, #frame",
             self._servers()),
            ("leaders", "Leaders", "#term, leader, from, to, #for, then, #frame", self._leaders()),
            ("leaderless", "Without a leader", "from, to, #for, because of, ended by, #elections, #frame",
             self._leaderless()),
            ("elections", "Elections",
             "time, candidate, #term, round, because of, asked, granted by, refused by, outcome, #took, #frame",
             self._elections()),
            ("terms", "Term changes", "time, server, #old, #new, why, #frame", self._term_changes()),
            ("rejections", "Rejections", "time, #times, by, of, #term, what, #index, because, #frame",
             self._rejections()),
            ("replication", "Replication",
             "leader, follower, #entries, #per second, #data, #per second, #sent again, #most behind, #frame",
             self._replication()),
            ("heartbeats", "Heartbeats",
             "leader, follower, #requests, #without entries, #p50, #p95, #p99, #longest, #frame", self._heartbeats()),
            ("answers", "Answer times",
             "leader, follower, #answers, #none, #p50, #p99, #network, #follower p50, #p99, #commit p50, #p99, #frame",
             self._answers()),
            ("catchups", "Catch-ups",
             "time, leader, follower, #term, #rejections, #matched index, #entries behind, snapshot, #took, #frame",
             self._catch_ups()),
            ("truncations", "Entries that were given up",
             "time, follower, leader, #term, #from index, #entries, #frame", self._truncations()),
            ("snapshots", "Snapshots",
             "time, leader, follower, #up to, #size, #sent in, #answered after, outcome, #frame", self._snapshots()),
            ("transfers", "Leadership transfers", "time, leader, target, #term, outcome, because of, #took, #frame",
             self._transfers()),
            ("configurations", "Configurations",
             "time, #index, #term, change, voters, standbys, spares, committed, #known by, #frame",
             self._configurations()),
            ("paths", "Connections",
             "from, to, #opened, #refused, #unanswered, #reset, #closed, #segments, #sent again, #zero windows, "
             "#round trip p50, #p99, #frame",
             self._paths()),
            ("traffic", "Messages", "from, to, messages, #bytes, #frame", self._traffic()),
        ):  # fmt: skip
            notes = self._notes(key, bool(rows))
            if rows or notes:
                content = [table(columns, rows, title)] if rows else []
                if len(rows) > _MOST_ROWS:
                    more = f"and {len(rows) - _MOST_ROWS:,} more; the JSON report (report --json) has them all"
                    content.append(element("p", more, class_="note"))
                yield Section(key, title, content + notes)

    def _notes(self, key: str, there: bool) -> list[Element]:
        """What stands below a table; `there` says whether it has rows."""
        if key in _NOTES:
            return [element("p", _NOTES[key], class_="note")] if there else []
        sentences = {"servers": self._releases, "leaders": self._unseen, "leaderless": self._unknown}.get(key)
        return [] if sentences is None else [element("p", *parts, class_="note") for parts in sentences()]

    def _unseen(self) -> Iterator[list[Child]]:
        """Leaders that were answered, and that are not in the capture."""
        context = self._context
        for fact in self._facts.unseen_leaders[:_MOST_NOTES]:
            text = (
                f"Server {context.server(fact.leader)} led term {fact.term}: followers answered it from "
                f"{context.time(fact.first)} to {context.time(fact.last)}; its own messages are not in the capture: "
                "frame "
            )
            yield [text, context.frame(fact.first, row=True)]

    def _unknown(self) -> Iterator[list[Child]]:
        """Times in which a leader may be missing from the capture."""
        context = self._context
        for fact in self._facts.leader_unknown[:_MOST_NOTES]:
            yield [
                f"The capture does not show whether anybody led from {context.time(fact.first)} for "
                f"{context.between(fact.first, fact.last)}: {LEADER_UNKNOWN[fact.cause]}."
            ]

    def _releases(self) -> Iterator[list[Child]]:
        """What releases servers may run."""
        by_releases: dict[str, list[str]] = {}
        for server in self._facts.servers:
            if server.releases:
                by_releases.setdefault(server.releases, []).append(self._context.server(server.name))
        for releases, names in by_releases.items():
            who = f"Server {names[0]} writes" if len(names) == 1 else f"Servers {', '.join(names)} write"
            yield [f"{who} like {releases.replace(', ', ' or ')}."]

    def _servers(self) -> list[_Row]:
        context = self._context
        last = self._facts.configuration
        configured = {server.id for server in last.servers} if last is not None else set()
        rows: list[_Row] = []
        for server in self._facts.servers:
            role = str(server.roles[-1]) if server.roles else NOTHING
            if server.roles and server.name not in configured:
                role = "removed"
            full = str(server.name) if context.server(server.name) != str(server.name) else None
            restarts = [context.frame(place, row=True) for place in server.restarts[:10]]
            rows.append(
                (
                    element("span", context.server(server.name), title=full),
                    " ".join(server.addresses) or NOTHING,
                    role,
                    server.family,
                    context.time(server.first_seen) if server.first_seen else "never",
                    context.time(server.last_seen),
                    element("span", *_separated(restarts)) if restarts else NOTHING,
                    server.known_by or NOTHING,
                    context.frame(server.first_seen, row=True),
                )
            )
        return rows

    def _leaders(self) -> list[_Row]:
        context = self._context
        return [
            (
                str(fact.term),
                context.server(fact.leader),
                context.time(fact.first),
                context.time(fact.last),
                context.between(fact.first, fact.last),
                _worded(LEADER_ENDS, fact.ended_by),
                context.frame(fact.first, row=True),
            )
            for fact in self._facts.leaders
        ]

    def _leaderless(self) -> list[_Row]:
        context = self._context
        return [
            (
                context.time(fact.first),
                context.time(fact.last),
                context.between(fact.first, fact.last),
                LEADERLESS_CAUSES[fact.cause],
                LEADERLESS_ENDS[fact.ended_by],
                str(fact.elections),
                context.frame(fact.first, row=True),
            )
            for fact in self._facts.leaderless
        ]

    def _elections(self) -> list[_Row]:
        context = self._context
        rows: list[_Row] = []
        for fact in self._facts.elections:
            cause = _worded(ELECTION_CAUSES, fact.cause)
            if fact.silent_seconds is not None:
                cause += f" for {duration(fact.silent_seconds)}"
            rows.append(
                (
                    context.time(fact.place),
                    context.server(fact.candidate),
                    str(fact.term),
                    "pre-vote" if fact.pre_vote else "vote",
                    cause,
                    context.servers(fact.requests),
                    context.servers(fact.granted) + (f", unread {context.servers(fact.unread)}" if fact.unread else ""),
                    self._refused(fact.refused) or NOTHING,
                    fact.outcome,
                    duration(fact.seconds) if fact.seconds else NOTHING,
                    context.frame(fact.place, row=True),
                )
            )
        return rows

    def _term_changes(self) -> list[_Row]:
        context = self._context
        return [
            (
                context.time(fact.place),
                context.server(fact.server),
                NOTHING if fact.old is None else str(fact.old),
                str(fact.new),
                "first seen" if fact.old is None and fact.cause != "election" else _worded(TERM_CAUSES, fact.cause),
                context.frame(fact.place, row=True),
            )
            for fact in self._facts.term_changes
        ]

    def _rejections(self) -> list[_Row]:
        """Rejections of one kind and reason between two servers in one term are one row."""
        context = self._context
        groups: dict[tuple[str | int, ...], list[Rejection]] = {}
        for fact in self._facts.rejections:
            groups.setdefault((fact.kind, fact.by, fact.of, fact.term, fact.reason), []).append(fact)
        rows: list[_Row] = []
        for same in groups.values():
            first = same[0]
            indexes = [fact.rejected for fact in same if fact.rejected is not None]
            index = (
                NOTHING if not indexes else f"{min(indexes)}" + (f"-{max(indexes)}" if len(set(indexes)) > 1 else "")
            )
            rows.append(
                (
                    context.time(first.place),
                    f"{len(same):,}",
                    context.server(first.by),
                    context.server(first.of),
                    str(first.term),
                    _worded(REJECTIONS, first.kind),
                    index,
                    _worded(REASONS, first.reason),
                    context.frame(first.place, row=True),
                )
            )
        return rows

    def _replication(self) -> list[_Row]:
        context = self._context
        rows: list[_Row] = []
        for fact in self._facts.replication:
            seconds = leading_seconds(fact, self._facts.leaders)
            data = None if data_unknown(fact) else per_second(fact.bytes, seconds)
            rows.append(
                (
                    context.server(fact.leader),
                    context.server(fact.follower),
                    f"{fact.entries:,}",
                    rate(per_second(fact.entries, seconds), NOTHING),
                    NOTHING if data_unknown(fact) else size(fact.bytes),
                    NOTHING if data is None else size(round(data)),
                    f"{fact.again:,}",
                    f"{max(lag.entries for lag in fact.lag):,}" if fact.lag else NOTHING,
                    context.frame(fact.place, row=True),
                )
            )
        return rows

    def _heartbeats(self) -> list[_Row]:
        context = self._context
        return [
            (
                context.server(fact.leader),
                context.server(fact.follower),
                f"{fact.requests:,}",
                f"{fact.heartbeats:,}",
                *_parts(fact.heartbeat_seconds, "p50", "p95", "p99", "max"),
                context.frame(fact.place, row=True),
            )
            for fact in self._facts.replication
        ]

    def _answers(self) -> list[_Row]:
        context = self._context
        return [
            (
                context.server(fact.leader),
                context.server(fact.follower),
                f"{fact.answered:,}",
                f"{fact.unanswered:,}",
                *_middle_and_end(fact.ack_seconds),
                NOTHING if fact.network_seconds is None else duration(fact.network_seconds),
                *_middle_and_end(fact.follower_seconds),
                *_middle_and_end(fact.commit_seconds),
                context.frame(fact.place, row=True),
            )
            for fact in self._facts.replication
        ]

    def _catch_ups(self) -> list[_Row]:
        context = self._context
        return [
            (
                context.time(fact.place),
                context.server(fact.leader),
                context.server(fact.follower),
                str(fact.term),
                f"{fact.rejections:,}",
                _known(fact.matched),
                _known(fact.behind),
                "yes" if fact.snapshot else "no",
                NOTHING if fact.seconds is None else duration(fact.seconds),
                context.frame(fact.place, row=True),
            )
            for fact in self._facts.catch_ups
        ]

    def _truncations(self) -> list[_Row]:
        context = self._context
        return [
            (
                context.time(fact.place),
                context.server(fact.follower),
                context.server(fact.leader),
                str(fact.term),
                str(fact.first_index),
                f"{fact.entries:,}",
                context.frame(fact.place, row=True),
            )
            for fact in self._facts.truncations
        ]

    def _snapshots(self) -> list[_Row]:
        context = self._context
        return [
            (
                context.time(fact.started),
                context.server(fact.leader),
                context.server(fact.follower),
                f"{_known(fact.last_index)}/{_known(fact.last_term)}",
                NOTHING if fact.bytes is None else size(fact.bytes),
                NOTHING if fact.seconds is None else duration(fact.seconds),
                context.between(fact.started, fact.answered),
                _worded(SNAPSHOT_OUTCOMES, fact.outcome),
                context.frame(fact.started, row=True),
            )
            for fact in self._facts.snapshots
        ]

    def _transfers(self) -> list[_Row]:
        context = self._context
        return [
            (
                context.time(fact.place),
                context.server(fact.leader),
                context.server(fact.target),
                str(fact.term),
                fact.outcome,
                self._because(fact),
                NOTHING if fact.seconds is None else duration(fact.seconds),
                context.frame(fact.place, row=True),
            )
            for fact in self._facts.transfers
        ]

    def _because(self, fact: Transfer) -> str:
        if fact.reason is None:
            return NOTHING
        return TRANSFER_REASONS[fact.reason] + (f" by {self._refused(fact.refused)}" if fact.refused else "")

    def _refused(self, refused: Sequence[Refusal]) -> str:
        # A candidate that asks again is refused again.
        reasons = dict.fromkeys((one.voter, one.reason) for one in refused)
        return ", ".join(f"{self._context.server(voter)} ({_worded(REASONS, reason)})" for voter, reason in reasons)

    def _configurations(self) -> list[_Row]:
        context = self._context
        rows: list[_Row] = []
        for fact in self._facts.configurations:
            by_role: dict[str, list[str]] = {}
            for server in fact.servers:
                by_role.setdefault(str(server.role_name), []).append(context.server(server.id))
            others = [f"{name} (role {role})" for role, ids in by_role.items() for name in ids if role not in _ROLES]
            names = [" ".join(by_role.get(role, ())) or NOTHING for role in _ROLES]
            names[-1] = " ".join(part for part in (names[-1].strip(NOTHING), *others) if part) or NOTHING
            rows.append(
                (
                    context.time(fact.place),
                    str(fact.conf_index),
                    _known(fact.term),
                    fact.change or NOTHING,
                    *names,
                    COMMITTED[fact.committed],
                    context.frame(fact.decided_at),
                    context.frame(fact.place, row=True),
                )
            )
        return rows

    def _paths(self) -> list[_Row]:
        context = self._context
        return [
            (
                context.server(fact.sender),
                context.server(fact.receiver),
                *(f"{count:,}" for count in (fact.opened, fact.refused, fact.unanswered, fact.resets, fact.closed)),
                *(f"{count:,}" for count in (fact.segments, fact.retransmissions, fact.zero_windows)),
                *_middle_and_end(fact.round_trip_seconds),
                context.frame(fact.place, row=True),
            )
            for fact in self._facts.paths
        ]

    def _traffic(self) -> list[_Row]:
        context = self._context
        return [
            (
                context.server(fact.sender),
                context.server(fact.receiver),
                ", ".join(f"{count:,} {name}" for name, count in sorted(fact.messages.items())),
                size(fact.bytes),
                context.frame(fact.first, row=True),
            )
            for fact in self._facts.traffic
        ]


def missing(facts: CaptureFacts, context: Context) -> Iterator[Element]:
    """What keeps the report from being complete."""
    sentences = []
    if facts.partial:
        sentences.append(f"{counted(facts.partial, 'message')} only in part in the capture")
    if facts.cut_packets:
        sentences.append(f"{counted(facts.cut_packets, 'packet')} cut by the snaplen: capture with -s 0 for all of it")
    sentences += [f"{count:,} of kind {kind}" for kind, count in facts.diagnosed.items()]
    if sentences:
        yield element("ul", *(element("li", sentence) for sentence in sentences))
    else:
        yield element("p", "Nothing: no gap, no packet that was cut, no message in part.")
    rows: list[_Row] = [
        (
            context.time(diagnostic.place),
            diagnostic.kind,
            f"{diagnostic.stream.source} > {diagnostic.stream.destination}" if diagnostic.stream else NOTHING,
            NOTHING if diagnostic.size is None else size(diagnostic.size),
            diagnostic.detail,
            context.frame(diagnostic.place, row=True),
        )
        for diagnostic in facts.diagnostics
    ]
    if rows:
        yield table("time, what, connection, #size, in words, #frame", rows, "What is missing in the capture")
    if len(rows) > _MOST_ROWS:
        yield element("p", f"and {len(rows) - _MOST_ROWS:,} more", class_="note")


_NOTES: dict[str, str] = {
    "replication": "Per second: of the time that the leader led, from its first request to the follower to the last "
    "one. Sent again: entries that had been sent before. Most behind: entries, at most.",
    "heartbeats": "Requests are AppendEntries messages; the times are those from one to the next in the same term. "
    "The further p99 and longest are above p50, the more jitter.",
    "answers": "The first p50 and p99 are of the time from a request to its answer. Network: the part of it that is "
    "TCP's shortest round trip. Follower: the rest, which is its own, its disk's above all. Commit: from the first "
    "sending of an entry until it is committed.",
}
"""What the columns of some tables mean."""
_ROLES = ("voter", "standby", "spare")


def _worded(words: dict[str, str], word: str) -> str:
    return words.get(word, word.replace("_", " "))


def _known(number: int | None) -> str:
    return NOTHING if number is None else str(number)


def _middle_and_end(spread: Spread | None) -> list[str]:
    return _parts(spread, "p50", "p99")


def _parts(spread: Spread | None, *names: str) -> list[str]:
    return [NOTHING if spread is None else duration(getattr(spread, name)) for name in names]


def _separated(parts: Sequence[Element | str]) -> Iterator[Element | str]:
    for number, part in enumerate(parts):
        if number:
            yield " "
        yield part
