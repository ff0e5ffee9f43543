"""The facts about a cluster that the analysis gives: plain values, each with its evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from raft_dissect import wire
    from raft_dissect.values import Place

ServerName = int | str
"""A server's id, or the host that it speaks from as long as its id is unknown."""

TermCause = Literal["election", "vote_request", "append_entries", "result", "snapshot", "restart", "unknown"]
ElectionCause = Literal["heartbeats_absent", "transfer", "start", "connection_lost", "unknown"]
RefusalReason = Literal[
    "log_behind",
    "has_leader",
    "already_voted",
    "stale_term",
    "not_a_voter",
    "busy",
    "no_such_entry",
    "term_mismatch",
    "write_failed",
    "unknown",
]
ElectionOutcome = Literal["won", "lost", "split", "abandoned", "unknown"]
SnapshotOutcome = Literal["installed", "already_had", "refused", "cut", "unanswered", "in_progress"]
TransferOutcome = Literal["done", "ignored", "failed", "unknown"]
LeaderEnd = Literal["new_leader", "step_down", "connection_lost", "capture_end", "unknown"]
ConfigurationChange = Literal["bootstrap", "added", "promoted", "demoted", "removed", "several"]
RejectionKind = Literal["append_entries", "request_vote", "pre_vote", "install_snapshot"]


class ServerFact(NamedTuple):
    """One server of the cluster."""

    name: ServerName
    addresses: tuple[str, ...]
    """What it advertises, or else where it was seen."""
    roles: tuple[str | int, ...]
    """In the configurations that were seen, oldest first."""
    family: Literal["canonical", "cowsql", "dqlite", "unknown"]
    """Of its layouts; cowsql/raft v0.17.2 and v0.17.3 write like canonical/raft v0.18 and are not told from it."""
    releases: str
    """The releases that write what it wrote, as far as the bytes can tell them apart; empty if it wrote nothing."""
    first_seen: Place | None
    """None when it was never seen to send anything: it stands in a configuration, or others write to it."""
    last_seen: Place | None


class TermChange(NamedTuple):
    """A server's own term, as its messages prove it; a pre-vote proves none."""

    server: ServerName
    old: int | None
    """None when the server was not seen before."""
    new: int
    cause: TermCause
    place: Place
    """The first packet that proves the new term."""


class Leadership(NamedTuple):
    """One server's time as leader of a term."""

    term: int
    leader: ServerName
    first: Place
    """Its first message as leader."""
    last: Place
    """Its last one."""
    ended_by: LeaderEnd


class Leaderless(NamedTuple):
    """A time in which no leader was heard of."""

    first: Place
    last: Place


class Refusal(NamedTuple):
    """A vote that was not granted."""

    voter: ServerName
    reason: RefusalReason


class Election(NamedTuple):
    """One round of one candidate: a pre-vote or a real vote."""

    term: int
    candidate: ServerName
    pre_vote: bool
    requests: tuple[ServerName, ...]
    """The servers that were asked."""
    granted: tuple[ServerName, ...]
    refused: tuple[Refusal, ...]
    unread: tuple[ServerName, ...]
    """The servers whose answer is in the capture, but not the part of it that holds the vote."""
    outcome: ElectionOutcome
    seconds: float
    """From the first request to the last answer, or to the first message of the leader."""
    cause: ElectionCause
    place: Place


class Rejection(NamedTuple):
    """A request that was answered with a no."""

    kind: RejectionKind
    by: ServerName
    of: ServerName
    term: int
    """In the answer."""
    reason: RefusalReason
    rejected: int | None
    """The index that is refused; None for votes."""
    last_log_index: int | None
    place: Place


class Snapshot(NamedTuple):
    """One InstallSnapshot message and what became of it."""

    leader: ServerName
    follower: ServerName
    term: int
    last_index: int | None
    last_term: int | None
    bytes: int | None
    """Size of the snapshot; None when the part of the message that says so was not captured."""
    started: Place
    finished: Place | None
    """None when its end was never seen."""
    answered: Place | None
    outcome: SnapshotOutcome

    @property
    def seconds(self) -> float | None:
        """From the first to the last packet of the message."""
        return None if self.finished is None else (self.finished.time_ns - self.started.time_ns) / 1e9


class Transfer(NamedTuple):
    """One leadership transfer: a TimeoutNow message and what became of it."""

    leader: ServerName
    target: ServerName
    term: int
    outcome: TransferOutcome
    seconds: float | None
    """Until the target's first message as leader."""
    place: Place


class ConfigurationFact(NamedTuple):
    """A configuration that was seen, in a change entry or in a snapshot."""

    conf_index: int
    """Index of the log entry that holds it."""
    term: int | None
    """Of that entry; None when it was seen in a snapshot only."""
    servers: tuple[wire.Server, ...]
    change: ConfigurationChange | None
    """Against the configuration before it; None when that is unknown."""
    place: Place


class Traffic(NamedTuple):
    """What one server sent to another."""

    sender: ServerName
    receiver: ServerName
    messages: dict[str, int]
    bytes: int
    first: Place


class ClusterFacts(NamedTuple):
    """All that is known about one cluster."""

    servers: tuple[ServerFact, ...]
    leaders: tuple[Leadership, ...]
    leaderless: tuple[Leaderless, ...]
    elections: tuple[Election, ...]
    term_changes: tuple[TermChange, ...]
    rejections: tuple[Rejection, ...]
    snapshots: tuple[Snapshot, ...]
    transfers: tuple[Transfer, ...]
    configurations: tuple[ConfigurationFact, ...]
    traffic: tuple[Traffic, ...]
