"""The report in the Trace Event Format, which ui.perfetto.dev and chrome://tracing show as a timeline.

Source: "Trace Event Format" of the Chromium project, its JSON object format.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

from raft_dissect.report.escape import wire_text
from raft_dissect.report.words import LEADERLESS_CAUSES, REASONS, REJECTIONS, SNAPSHOT_OUTCOMES, TERM_CAUSES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.report.model import Report
    from raft_dissect.report.times import Clock
    from raft_dissect.values import Place

Event = dict[str, Any]


class Slice(NamedTuple):
    """Something that lasts."""

    begin_ns: int
    end_ns: int
    name: str
    arguments: Event


def report_trace(report: Report, clock: Clock) -> Event:
    """The whole report as one JSON object; its times are microseconds from the begin of the capture."""
    begin_ns = report.capture.first_ns or 0
    several = len(report.capture.files) > 1
    events: list[Event] = []
    for number, facts in enumerate(report.clusters, start=1):
        events += _Process(facts, number, begin_ns, several).events()
    return {  # without displayTimeUnit, which Perfetto took for the unit of the times until 2022
        "traceEvents": events,
        "otherData": {"begin": clock.iso(begin_ns), "files": ", ".join(report.capture.files)},
    }


class _Process:
    """The events of one cluster, which is a process with a thread for each server."""

    def __init__(self, facts: ClusterFacts, number: int, begin_ns: int, several: bool) -> None:
        self._facts = facts
        self._number = number
        self._begin_ns = begin_ns
        self._several = several
        self._threads: dict[ServerName, int] = {}
        self._names: list[str] = []
        for server in facts.servers:
            self._threads[server.name] = self._thread(f"server {_name(server.name)}")

    def events(self) -> Iterator[Event]:
        """All events, the names of process and threads first."""
        events = [*self._roles(), *self._tracks(), *self._instants(), *self._counters()]
        yield self._metadata("process_name", 0, {"name": f"cluster {self._number}"})
        for thread, name in enumerate(self._names, start=1):
            yield self._metadata("thread_name", thread, {"name": name})
            yield self._metadata("thread_sort_index", thread, {"sort_index": thread})
        yield from sorted(events, key=lambda event: event["ts"])

    def _thread(self, name: str) -> int:
        self._names.append(name)
        return len(self._names)

    def _server(self, name: ServerName) -> int:
        """The thread of a server, also of one that is in no list of servers."""
        if name not in self._threads:
            self._threads[name] = self._thread(f"server {_name(name)}")
        return self._threads[name]

    def _metadata(self, name: str, thread: int, arguments: Event) -> Event:
        return {"ph": "M", "name": name, "pid": self._number, "tid": thread, "args": arguments}

    def _event(self, kind: str, name: str, time_ns: int, thread: int, arguments: Event) -> Event:
        ts = (time_ns - self._begin_ns) / 1000
        return {
            "ph": kind,
            "name": name,
            "cat": "raft",
            "ts": ts,
            "pid": self._number,
            "tid": thread,
            "args": arguments,
        }

    def _slice(self, slice_: Slice, thread: int) -> Event:
        event = self._event("X", slice_.name, slice_.begin_ns, thread, slice_.arguments)
        event["dur"] = max(slice_.end_ns - slice_.begin_ns, 0) / 1000
        return event

    def _frame(self, place: Place) -> int | str:
        return f"{place.file + 1}:{place.frame}" if self._several else place.frame

    # Slices on the threads of servers: what each one was, one thing at a time

    def _roles(self) -> Iterator[Event]:
        for server in self._facts.servers:
            if server.first_seen is None or server.last_seen is None:
                continue
            thread = self._server(server.name)
            for role in self._roles_of(server.name, server.first_seen, server.last_seen):
                yield self._slice(role, thread)

    def _roles_of(self, name: ServerName, first: Place, last: Place) -> Iterator[Slice]:
        """The roles of a server, cut where another one begins or its term changes."""
        facts = self._facts
        spans = [
            Slice(
                leader.first.time_ns,
                leader.last.time_ns,
                f"leader, term {leader.term}",
                {"term": leader.term, "frame": self._frame(leader.first), "last_frame": self._frame(leader.last)},
            )
            for leader in facts.leaders
            if leader.leader == name
        ]
        spans += [
            Slice(
                election.place.time_ns,
                election.place.time_ns + round(election.seconds * 1e9),
                f"candidate, term {election.term}" + (", pre-vote" if election.pre_vote else ""),
                {"term": election.term, "frame": self._frame(election.place)},
            )
            for election in facts.elections
            if election.candidate == name
        ]
        terms = [(change.place, change.new) for change in facts.term_changes if change.server == name]
        terms.sort(key=lambda one: one[0].time_ns)
        if not terms or terms[0][0].time_ns > first.time_ns:
            terms.insert(0, (first, -1))
        # A leader's slice ends before it is a candidate again, and a late answer does not prolong a candidacy.
        spans = _one_at_a_time(sorted(spans, key=lambda span: span[:2]))
        cuts = [place.time_ns for place, _ in terms]
        yield from spans
        for begin, end in _between_spans(spans, first.time_ns, last.time_ns, cuts):
            place, term = terms[bisect_right(cuts, begin) - 1]
            text = "follower" if term < 0 else f"follower, term {term}"
            yield Slice(begin, end, text, {"term": None if term < 0 else term, "frame": self._frame(place)})

    # Slices on threads of their own, as many as it takes for those that overlap

    def _tracks(self) -> Iterator[Event]:
        for title, slices in (
            ("no leader", self._leaderless()),
            ("elections", self._elections()),
            ("snapshots", self._snapshots()),
            ("catch-ups", self._catch_ups()),
        ):
            lanes: list[tuple[int, int]] = []  # the end of its last slice, and its thread
            for slice_ in sorted(slices, key=lambda one: one[:2]):
                lane = next((n for n, (end, _) in enumerate(lanes) if end <= slice_.begin_ns), None)
                if lane is None:
                    lane = len(lanes)
                    lanes.append((0, self._thread(title if lane == 0 else f"{title} ({lane + 1})")))
                lanes[lane] = max(slice_.end_ns, slice_.begin_ns + 1), lanes[lane][1]
                yield self._slice(slice_, lanes[lane][1])

    def _leaderless(self) -> Iterator[Slice]:
        for interval in self._facts.leaderless:
            arguments = {
                "because": LEADERLESS_CAUSES[interval.cause],
                "elections": interval.elections,
                "frame": self._frame(interval.first),
                "last_frame": self._frame(interval.last),
            }
            yield Slice(interval.first.time_ns, interval.last.time_ns, "no leader", arguments)

    def _elections(self) -> Iterator[Slice]:
        for election in self._facts.elections:
            kind = "pre-vote" if election.pre_vote else "vote"
            arguments = {
                "outcome": election.outcome,
                "asked": _all(election.requests),
                "granted": _all(election.granted),
                "refused": ", ".join(
                    dict.fromkeys(f"{_name(no.voter)}: {REASONS[no.reason]}" for no in election.refused)
                ),
                "cause": election.cause,
                "frame": self._frame(election.place),
            }
            begin = election.place.time_ns
            name = f"{kind} for {_name(election.candidate)}, term {election.term}: {election.outcome}"
            yield Slice(begin, begin + round(election.seconds * 1e9), name, arguments)

    def _snapshots(self) -> Iterator[Slice]:
        for snapshot in self._facts.snapshots:
            end = snapshot.answered or snapshot.finished or snapshot.started
            arguments = {
                "last_index": snapshot.last_index,
                "bytes": snapshot.bytes,
                "outcome": SNAPSHOT_OUTCOMES[snapshot.outcome],
                "frame": self._frame(snapshot.started),
                "last_frame": self._frame(end),
            }
            name = f"snapshot {_name(snapshot.leader)} > {_name(snapshot.follower)}"
            yield Slice(snapshot.started.time_ns, end.time_ns, name, arguments)

    def _catch_ups(self) -> Iterator[Slice]:
        for fact in self._facts.catch_ups:
            end = fact.finished or fact.place
            arguments = {
                "rejections": fact.rejections,
                "behind": fact.behind,
                "snapshot": fact.snapshot,
                "frame": self._frame(fact.place),
                "last_frame": self._frame(end),
            }
            name = f"catch-up {_name(fact.leader)} > {_name(fact.follower)}"
            yield Slice(fact.place.time_ns, end.time_ns, name, arguments)

    # Instants, and counters

    def _instants(self) -> Iterator[Event]:
        facts = self._facts
        for change in facts.term_changes:
            old = "?" if change.old is None else change.old
            cause = {"cause": TERM_CAUSES[change.cause]}
            yield self._instant(f"term {old} > {change.new}", change.place, change.server, cause)
        for rejection in facts.rejections:
            name = f"rejects {REJECTIONS[rejection.kind]} of {_name(rejection.of)}: {REASONS[rejection.reason]}"
            refused = {"term": rejection.term, "rejected": rejection.rejected}
            yield self._instant(name, rejection.place, rejection.by, refused)
        for transfer in facts.transfers:
            name = f"transfer to {_name(transfer.target)}: {transfer.outcome}"
            yield self._instant(name, transfer.place, transfer.leader, {"term": transfer.term})
        for fact in facts.truncations:
            replaced = {"term": fact.term, "first_index": fact.first_index, "entries": fact.entries}
            yield self._instant(f"gives up {fact.entries} entries", fact.place, fact.follower, replaced)
        for server in facts.servers:
            for place in server.restarts:
                yield self._instant("started anew", place, server.name, {})

    def _instant(self, name: str, place: Place, server: ServerName, arguments: Event) -> Event:
        arguments["frame"] = self._frame(place)
        event = self._event("i", name, place.time_ns, self._server(server), arguments)
        event["s"] = "t"
        return event

    def _counters(self) -> Iterator[Event]:
        """The lag of each follower. A counter's arguments are its curves, so that there is no place for a frame."""
        for fact in self._facts.replication:
            name = f"lag {_name(fact.leader)} > {_name(fact.follower)}"
            for lag in fact.lag:
                yield self._event("C", name, lag.place.time_ns, 0, {"entries": lag.entries})


def _name(server: ServerName) -> str:
    return wire_text(str(server))


def _all(servers: Sequence[ServerName]) -> str:
    return ", ".join(map(_name, servers))


def _one_at_a_time(spans: Sequence[Slice]) -> list[Slice]:
    """The spans, each cut where the next one begins."""
    begins = [span.begin_ns for span in spans[1:]]
    ends = [span.end_ns for span in spans[-1:]]
    return [span._replace(end_ns=min(span.end_ns, end)) for span, end in zip(spans, begins + ends, strict=True)]


def _between_spans(spans: Sequence[Slice], first: int, last: int, cuts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The time from `first` to `last` that is in no span, cut at some times, which are in order."""
    begin = first
    for end, after in [*((span.begin_ns, span.end_ns) for span in spans), (last, last)]:
        for place in [*cuts[bisect_right(cuts, begin) : bisect_left(cuts, end)], end]:
            if place > begin:
                yield begin, place
                begin = place
        begin = max(begin, after)
