"""What a timeline shows of each server: its roles, its terms, and what it did and answered."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Literal, NamedTuple

from raft_dissect.report.html.presence import united
from raft_dissect.report.words import ELECTION_CAUSES, REASONS, REJECTIONS, SNAPSHOT_OUTCOMES
from raft_dissect.units import duration, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.cluster.facts import Election, ServerFact, ServerName, Snapshot
    from raft_dissect.report.html.context import Context
    from raft_dissect.report.html.presence import Interval
    from raft_dissect.values import Place

MarkKind = Literal[
    "won",
    "lost",
    "pre-vote",
    "transfer",
    "restart",
    "granted",
    "refused",
    "rejected",
    "truncated",
    "configuration",
    "gap",
]
_SILENCE_NS = 1_000_000_000
"""A server that sends nothing for longer than this, although there is a leader, is not seen."""
_HEARTBEATS = 4
"""And for more than so many heartbeats."""

_CANDIDATE_NS = 6_000_000_000
"""A candidate tries again within twice the election timeout, which is 3 s where it is longest by default."""


class Mark(NamedTuple):
    """Something that happened at one moment."""

    time_ns: int
    kind: MarkKind
    text: str
    place: Place


class Stretch(NamedTuple):
    """Something that lasted."""

    first_ns: int
    last_ns: int
    text: str
    place: Place | None
    label: str = ""


class Lane(NamedTuple):
    """One server in the course of time."""

    server: ServerName
    seen: list[Stretch]
    candidate: list[Stretch]
    leader: list[Stretch]
    terms: list[Mark]
    """Each time that it entered a term; the text is the term's number."""
    did: list[Mark]
    """What it did of itself: elections, transfers, restarts."""
    answered: list[Mark]
    """What it answered: votes, rejections, entries that it gave up."""
    snapshots: list[Stretch]
    """That were sent to it."""


class Link(NamedTuple):
    """Something that goes from one server to another at one moment."""

    time_ns: int
    source: ServerName
    target: ServerName
    kind: Literal["transfer", "snapshot"]
    text: str
    place: Place


def silence_limit(facts: ClusterFacts) -> int:
    """Nanoseconds of silence that are more than what an idle server shows."""
    heartbeats = [fact.heartbeat_seconds.p95 for fact in facts.replication if fact.heartbeat_seconds is not None]
    return max(_SILENCE_NS, round(_HEARTBEATS * max(heartbeats, default=0) * 1e9))


def lanes(
    facts: ClusterFacts, presence: Mapping[ServerName, list[Interval]], context: Context, last_ns: int
) -> list[Lane]:
    """One lane for each server; `last_ns` is where the capture ends."""
    made: dict[ServerName, Lane] = {}
    limit = silence_limit(facts)
    nobody = united((interval.first.time_ns, interval.last.time_ns) for interval in facts.leaderless)
    for server in facts.servers:
        intervals = _seen(server, presence.get(server.name), nobody, limit, last_ns)
        name = context.server(server.name)
        seen = [Stretch(first, last, f"server {name} was seen to send messages", None) for first, last in intervals]
        made[server.name] = Lane(server.name, seen, [], [], [], [], [], [])
    _add_terms(made, facts, context)
    _add_elections(made, facts, context)
    _add_events(made, facts, context)
    _add_snapshots(made, facts.snapshots, context)
    return list(made.values())


def _seen(
    server: ServerFact, presence: Sequence[Interval] | None, nobody: Sequence[Interval], limit: int, last_ns: int
) -> list[Interval]:
    """When a server counts as seen: silences are bridged that are short, or in which there was no leader to answer."""
    if presence is None:
        if server.first_seen is None or server.last_seen is None:
            return []
        presence = [(server.first_seen.time_ns, server.last_seen.time_ns)]
    result: list[Interval] = []
    for first, last in united([*presence, (last_ns, last_ns)]):
        if result:
            silent_from = result[-1][1]
            silence = first - silent_from
            if silence <= limit or silence - _common(nobody, silent_from, first) <= limit:
                result[-1] = (result[-1][0], last)
                continue
        if first < last_ns:
            result.append((first, last))
    return result


def _common(intervals: Sequence[Interval], first: int, last: int) -> int:
    """How much of the time from `first` to `last` lies in some intervals, which follow one another."""
    begin = max(bisect_left(intervals, (first, 0)) - 1, 0)
    end = bisect_left(intervals, (last, 0))
    return sum(max(0, min(last, until) - max(first, since)) for since, until in intervals[begin:end])


def _add_terms(made: Mapping[ServerName, Lane], facts: ClusterFacts, context: Context) -> None:
    for change in facts.term_changes:
        if change.server in made:
            kind: MarkKind = "configuration"
            made[change.server].terms.append(Mark(change.place.time_ns, kind, str(change.new), change.place))
    for leadership in facts.leaders:
        if leadership.leader in made:
            text = f"server {context.server(leadership.leader)} leads term {leadership.term}"
            first, last = leadership.first.time_ns, leadership.last.time_ns
            label = f"leader, term {leadership.term}"
            made[leadership.leader].leader.append(Stretch(first, last, text, leadership.first, label))


def election_text(election: Election, context: Context) -> str:
    """An election in one sentence."""
    round_ = "pre-vote" if election.pre_vote else "election"
    granted = "?" if election.unread else str(len(election.granted))
    return (
        f"{round_} of server {context.server(election.candidate)} for term {election.term}: {election.outcome}, "
        f"{granted} of {len(election.requests)} votes granted; because of: {ELECTION_CAUSES[election.cause]}"
    )


def _add_elections(made: Mapping[ServerName, Lane], facts: ClusterFacts, context: Context) -> None:
    until = _CandidateEnds(facts)
    for election in facts.elections:
        place = election.place
        text = election_text(election, context)
        lane = made.get(election.candidate)
        if lane is not None:
            won: MarkKind = "won" if election.outcome == "won" else "lost"
            lane.did.append(Mark(place.time_ns, "pre-vote" if election.pre_vote else won, text, place))
            lane.candidate.append(Stretch(place.time_ns, until(election), text, place))
        what = f"{'pre-vote' if election.pre_vote else 'vote'} for server {context.server(election.candidate)}"
        for voter in election.granted:
            if voter in made:
                made[voter].answered.append(
                    Mark(place.time_ns, "granted", f"{what} in term {election.term} granted", place)
                )
        for refusal in election.refused:
            if refusal.voter in made:
                reason = f"{what} in term {election.term} refused: {REASONS[refusal.reason]}"
                made[refusal.voter].answered.append(Mark(place.time_ns, "refused", reason, place))


class _CandidateEnds:
    """Says until when candidates were candidates: they are, until they win, follow somebody, or learn of another term.

    Where the packets show none of that the last answer is the end, which is less than what is true.
    """

    def __init__(self, facts: ClusterFacts) -> None:
        self._leaders = sorted((leader.first.time_ns, leader.term) for leader in facts.leaders)
        self._turns: dict[ServerName, list[int]] = {}
        """When each server tried again, or took over another's term."""
        for election in facts.elections:
            self._turns.setdefault(election.candidate, []).append(election.place.time_ns)
        for change in facts.term_changes:
            if change.cause != "election":
                self._turns.setdefault(change.server, []).append(change.place.time_ns)
        for turns in self._turns.values():
            turns.sort()

    def __call__(self, election: Election) -> int:
        begin = election.place.time_ns
        turns = self._turns[election.candidate]
        turn = bisect_right(turns, begin)
        later = range(bisect_right(self._leaders, (begin, 2**64)), len(self._leaders))
        led = next((row for row in later if self._leaders[row][1] >= election.term), None)
        ends = turns[turn : turn + 1] if led is None else [*turns[turn : turn + 1], self._leaders[led][0]]
        end = min(ends, default=2**63)
        return end if end - begin <= _CANDIDATE_NS else begin + round(election.seconds * 1e9)


def _add_events(made: Mapping[ServerName, Lane], facts: ClusterFacts, context: Context) -> None:
    for server in facts.servers:
        text = f"server {context.server(server.name)} was started anew"
        for place in server.restarts:
            made[server.name].did.append(Mark(place.time_ns, "restart", text, place))
    for transfer in facts.transfers:
        text = f"server {context.server(transfer.leader)} hands leadership to server "
        text += f"{context.server(transfer.target)}: {transfer.outcome}"
        if transfer.leader in made:
            made[transfer.leader].did.append(Mark(transfer.place.time_ns, "transfer", text, transfer.place))
    for rejection in facts.rejections:
        text = f"rejected {REJECTIONS[rejection.kind]} of server {context.server(rejection.of)}: "
        text += REASONS[rejection.reason]
        if rejection.by in made and rejection.kind in ("append_entries", "install_snapshot"):
            made[rejection.by].answered.append(Mark(rejection.place.time_ns, "rejected", text, rejection.place))
    for truncation in facts.truncations:
        text = f"gave up {truncation.entries:,} entries from index {truncation.first_index} on"
        mark = Mark(truncation.place.time_ns, "truncated", text, truncation.place)
        if truncation.follower in made:
            made[truncation.follower].answered.append(mark)


def _add_snapshots(made: Mapping[ServerName, Lane], snapshots: Sequence[Snapshot], context: Context) -> None:
    for snapshot in snapshots:
        if snapshot.follower not in made:
            continue
        amount = "of unknown size" if snapshot.bytes is None else f"of {size(snapshot.bytes)}"
        text = f"snapshot {amount} from server {context.server(snapshot.leader)}: {SNAPSHOT_OUTCOMES[snapshot.outcome]}"
        first = snapshot.started.time_ns
        last = (snapshot.answered or snapshot.finished or snapshot.started).time_ns
        if last > first:
            text += f" after {duration((last - first) / 1e9)}"
        made[snapshot.follower].snapshots.append(Stretch(first, last, text, snapshot.started))


def links(facts: ClusterFacts, context: Context) -> list[Link]:
    """What goes from one server to another, and is worth an arrow."""
    found = []
    for transfer in facts.transfers:
        text = f"transfer to server {context.server(transfer.target)}: {transfer.outcome}"
        place = transfer.place
        found.append(Link(place.time_ns, transfer.leader, transfer.target, "transfer", text, place))
    for snapshot in facts.snapshots:
        text = f"snapshot for server {context.server(snapshot.follower)}: {SNAPSHOT_OUTCOMES[snapshot.outcome]}"
        place = snapshot.started
        found.append(Link(place.time_ns, snapshot.leader, snapshot.follower, "snapshot", text, place))
    return found
