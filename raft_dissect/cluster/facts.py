"""The facts about a cluster that the analysis gives: plain values, each with its evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raft_dissect import wire
    from raft_dissect.spread import Spread
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
TransferReason = Literal[
    "log_behind",
    "not_a_voter",
    "stale_term",
    "connection_lost",
    "refused",
    "other_leader",
    "old_leader_went_on",
    "unknown",
]
LeaderEnd = Literal["new_leader", "step_down", "connection_lost", "capture_end", "unknown"]
ConfigurationChange = Literal["bootstrap", "added", "promoted", "demoted", "removed", "several"]
LeaderlessCause = Literal["start", "heartbeats_absent", "connection_lost", "transfer", "step_down", "unknown"]
LeaderlessEnd = Literal["elected", "returned", "capture_end"]
LeaderUnknownCause = Literal["one_sender", "unseen_leader", "begun_midway", "one_place"]
PathEventKind = Literal["opened", "refused", "unanswered", "reset", "closed", "retransmissions", "zero_window"]
KnownBy = Literal["handshake", "configuration", "inferred"]
Consequence = Literal["refused", "read_beyond_end"]
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
    known_by: KnownBy | None = None
    """How its id is known; None when it is not."""
    restarts: tuple[Place, ...] = ()
    """The first packets of a server that packets prove to have been started anew."""


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
    ended: Place | None = None
    """The packet that shows it; None where the capture's end or silence is all there is."""


class UnseenLeader(NamedTuple):
    """A leader whose messages are not in the capture, although followers' answers to them are."""

    term: int
    leader: ServerName
    first: Place
    """The first answer."""
    last: Place
    """The last one."""


class LeaderUnknown(NamedTuple):
    """A time in which no leader is in the capture, although there may have been one."""

    first: Place
    last: Place
    cause: LeaderUnknownCause
    """What is missing: the capture has the messages of one server alone; or not those of a leader that was answered in
    this time; or nothing from before, when somebody may have led already; or it was made at one server, and
    a majority of the others could have a leader that this one does not hear."""


class Leaderless(NamedTuple):
    """A time in which there was no leader."""

    first: Place
    last: Place
    cause: LeaderlessCause = "unknown"
    """Why the leader before was heard of no more."""
    ended_by: LeaderlessEnd = "capture_end"
    elections: int = 0
    """Rounds of real votes in this time."""
    begins: bool = False
    """Whether it begins where the capture does."""


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
    leader: ServerName | None = None
    """Whom the candidate had followed; None when that is not known, or when it had no leader."""
    silent_seconds: float | None = None
    """From the last message of that leader to the candidate, until the first request."""
    retransmissions: int = 0
    """Segments from that leader to the candidate that were sent again in that time."""
    last: Place | None = None
    """The last answer, or the first message of the leader that the round made."""


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
    reason: TransferReason | None = None
    """Why it is not done; None when it is, and when its outcome is unknown.

    Of one that was ignored: the target had not acknowledged the leader's last entry when it was asked; its own
    configuration says that it is no voter; its term was later already; a connection between the two ended. Of one
    that failed: more voters refused than granted; the old leader led on; the next leader was another server.
    """
    refused: tuple[Refusal, ...] = ()
    """The answers that made it fail, when those did."""
    led: Place | None = None
    """The target's first message as leader; None unless it is done."""


class ConfigurationFact(NamedTuple):
    """A configuration that was seen, in a change entry or in a snapshot."""

    conf_index: int
    """Index of the log entry that holds it."""
    term: int | None
    """Of that entry; None when it was seen in a snapshot only."""
    servers: tuple[wire.Server, ...]
    change: ConfigurationChange | None
    """Against the committed configuration before it, or the one before it that may be; None when that is unknown."""
    place: Place
    committed: bool | None = None
    """Whether it is known to be committed; False when another entry was committed at its index, None if unknown."""
    decided_at: Place | None = None
    """The first packet that proves either."""


class Lag(NamedTuple):
    """How far a follower was behind what its leader had sent to anybody, at most, in one interval of the capture."""

    place: Place
    """The packet at which it was furthest behind."""
    entries: int
    bytes: int | None
    """Of those entries; None when their size is not in the capture."""


class CatchUp(NamedTuple):
    """A follower that refused entries, and how its leader brought it up to date."""

    leader: ServerName
    follower: ServerName
    term: int
    rejections: int
    """The steps in which the leader looked for the last entry that both have."""
    matched: int | None
    """Index of that entry; None when none was accepted."""
    behind: int | None
    """Entries from there to the end of the leader's log at that time."""
    snapshot: bool
    """Whether a snapshot was sent on the way."""
    seconds: float | None
    """From the first rejection until the follower had what the leader had; None when that was not seen."""
    place: Place
    """The first rejection."""
    finished: Place | None


class Truncation(NamedTuple):
    """Entries that a follower had acknowledged, and that its leader replaced by others."""

    follower: ServerName
    leader: ServerName
    term: int
    first_index: int
    """The first entry that was replaced."""
    entries: int
    """Up to the last one that the follower was known to have."""
    place: Place
    """The message that replaces it."""


class ReplicationFact(NamedTuple):
    """What one server, as leader, replicated to another; all terms together."""

    leader: ServerName
    follower: ServerName
    requests: int
    """AppendEntries messages, heartbeats included."""
    heartbeats: int
    """Those without entries."""
    answered: int
    unanswered: int
    """Requests that got no answer although nothing in the protocol allows to leave them without one."""
    entries: int
    """Entries that were sent, each time that they were sent."""
    bytes: int
    """Their data."""
    again: int
    """Entries that had been sent to this follower before."""
    types: Mapping[str, int]
    """Entries by type."""
    sizes: Spread | None
    """Bytes of data per entry."""
    heartbeat_seconds: Spread | None
    """Between one AppendEntries message to this follower and the next, in the same term."""
    ack_seconds: Spread | None
    """From the last packet of a request to the first packet of its answer, at the place of the capture."""
    network_seconds: float | None
    """The share of the network in that, which is the shortest round trip of TCP from there to the follower and back."""
    follower_seconds: Spread | None
    """What is left of `ack_seconds`: the follower's own time, which is its disk's above all."""
    commit_seconds: Spread | None
    """From the first time that the leader sent an entry to anybody until packets prove that it is committed."""
    lag: tuple[Lag, ...]
    """In the order of time, for at most 200 intervals of equal length; intervals without messages are left out."""
    place: Place
    """The first request."""
    last: Place


class PathEvent(NamedTuple):
    """What happened to the TCP connections from one server to another."""

    kind: PathEventKind
    times: int
    """How often, between `place` and `last`: more than one for retransmissions and attempts that follow each other."""
    place: Place
    last: Place
    stream: int | None


class PathFact(NamedTuple):
    """The TCP connections that one server opened to another."""

    sender: ServerName
    receiver: ServerName
    opened: int
    refused: int
    """Attempts that were answered with RST."""
    unanswered: int
    """Attempts that were not answered at all."""
    resets: int
    closed: int
    """Those that ended with FIN."""
    segments: int
    """Segments with data from the sender, copies of the capture not counted."""
    retransmissions: int
    """Those of them of which the receiver may have had everything already."""
    zero_windows: int
    """How often the receiver said that it takes no more."""
    round_trip_seconds: Spread | None
    """From a segment with data to its acknowledgement, at the place of the capture."""
    events: tuple[PathEvent, ...]
    """In the order of time; the first 1000."""
    place: Place


class Incompatibility(NamedTuple):
    """A pair of servers whose releases cannot work together: one cannot decode what the other writes."""

    writer: ServerName
    reader: ServerName
    messages: tuple[str, ...]
    """The kinds of messages that the writer sent, and that the reader cannot decode."""
    consequence: Consequence
    """What the reader does with them: close the connection, or read beyond the end of the message."""
    certain: bool
    """Whether no release that writes what the reader wrote can decode them; else only some cannot."""
    place: Place
    """The first message from the writer to the reader."""


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
    replication: tuple[ReplicationFact, ...] = ()
    catch_ups: tuple[CatchUp, ...] = ()
    truncations: tuple[Truncation, ...] = ()
    paths: tuple[PathFact, ...] = ()
    incompatible: tuple[Incompatibility, ...] = ()
    unseen_leaders: tuple[UnseenLeader, ...] = ()
    leader_unknown: tuple[LeaderUnknown, ...] = ()
    end: Place | None = None
    """The last packet of the capture."""

    @property
    def configuration(self) -> ConfigurationFact | None:
        """The last configuration that was not rolled back; None when none was seen."""
        return next((one for one in reversed(self.configurations) if one.committed is not False), None)
