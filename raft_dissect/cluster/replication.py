"""AppendEntries and InstallSnapshot with their answers: what was rejected and why, which snapshots arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.cluster.commits import LeaderLog, Voters
from raft_dissect.cluster.decisions import Decisions, configurations_of
from raft_dissect.cluster.extents import Extent
from raft_dissect.cluster.facts import Rejection, Snapshot
from raft_dissect.cluster.progress import Progress
from raft_dissect.cluster.recent import Recent
from raft_dissect.wire import table
from raft_dissect.wire.codec import APPEND_ENTRIES_HEAD, ENTRY_STRUCT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raft_dissect.cluster.facts import RefusalReason, RejectionKind, SnapshotOutcome
    from raft_dissect.cluster.logs import Logs
    from raft_dissect.cluster.requests import Request
    from raft_dissect.cluster.servers import Server
    from raft_dissect.cluster.terms import Terms
    from raft_dissect.values import Message, Place

_MIN_REQUESTS = 1024
"""Requests of one pair that are remembered at least; older ones are forgotten first."""
_MAX_PENDING = 64
"""Snapshots of one pair that wait for an answer; the oldest is given up first."""
_PENDING_NS = 1_000_000_000
"""Nanoseconds before the capture's end in which a snapshot without an answer may still be being installed."""


class _Transfer:
    """One InstallSnapshot message on its way."""

    __slots__ = ("answered", "before", "finished", "follower", "leader", "message", "outcome")

    def __init__(self, message: Message, leader: Server, follower: Server, finished: Place | None) -> None:
        self.message = message
        self.leader = leader
        self.follower = follower
        self.finished = finished
        self.answered: Place | None = None
        self.before: Request | None = None
        """What the leader had sent before: if the follower had taken it when the snapshot came, it needed none."""
        self.outcome: SnapshotOutcome | None = None if finished is not None else "cut"

    @property
    def last_index(self) -> int | None:
        return self.message.fields.get("last_index")


class Pair:
    """What a leader sent to one follower and waits for."""

    __slots__ = ("pending", "progress", "sent")

    def __init__(self, leader: Server, follower: Server, log: LeaderLog, holding: Extent) -> None:
        self.sent = Recent(_MIN_REQUESTS)
        """The term in which the leader sent what follows an index, by that index."""
        self.pending: list[_Transfer] = []
        """Snapshots that are not answered; the list stays the same object."""
        self.progress = Progress(leader, follower, log, holding, self.pending)
        log.followers.append(self.progress)


class Replication:
    """Matches the results of followers to what their leader sent.

    Results carry no request number, so they are matched by the indexes in them. A snapshot's answer is an ordinary
    AppendEntriesResult.
    """

    def __init__(self, terms: Terms, logs: Logs) -> None:
        self._terms = terms
        self._logs = logs
        self._pairs: dict[tuple[Server, Server], Pair] = {}  # (leader, follower)
        self._holdings: dict[Server, Extent] = {}
        self._leader_logs: dict[Server, LeaderLog] = {}
        self._voters = Voters()
        self.decisions = Decisions()
        self._transfers: list[_Transfer] = []
        self.rejections: list[tuple[Server, Server, Rejection]] = []

    def pair(self, leader: Server, follower: Server) -> Pair:
        """What is between a leader and a follower, which stays the same object."""
        pair = self._pairs.get((leader, follower))
        if pair is None:
            pair = Pair(leader, follower, self._leader_log(leader), self._holding(follower))
            self._pairs[leader, follower] = pair
        return pair

    def _leader_log(self, leader: Server) -> LeaderLog:
        log = self._leader_logs.get(leader)
        if log is None:
            log = self._leader_logs[leader] = LeaderLog(leader, self._holding(leader), self._voters, self.decisions)
        return log

    def _holding(self, server: Server) -> Extent:
        """The entries that a server is known to have."""
        return self._holdings.setdefault(server, Extent())

    def message(self, message: Message, sender: Server, receiver: Server) -> None:
        """Learn from one message."""
        if message.type == table.APPEND_ENTRIES:
            self._append(message, sender, receiver)
        elif message.type == table.INSTALL_SNAPSHOT:
            self._install(message, sender, receiver, message.place)
        elif message.type == table.APPEND_ENTRIES_RESULT:
            self._result(message, sender, receiver)
        elif message.type in (table.REQUEST_VOTE, table.REQUEST_VOTE_RESULT):
            for progress in self.progresses():
                if progress.follower is sender:
                    progress.waiting.excuse()

    def unfinished(self, message: Message, sender: Server, receiver: Server) -> None:
        """A message was cut off before its end."""
        if message.type == table.INSTALL_SNAPSHOT:
            self._install(message, sender, receiver, None)

    def _append(self, message: Message, leader: Server, follower: Server) -> None:
        self._logs.sent(message, leader)
        fields = message.fields
        pair = self.pair(leader, follower)
        if "prev_log_index" in fields:
            pair.sent.remember(fields["prev_log_index"], fields["term"])
        place, progress, entries = message.place, pair.progress, message.entries
        changes = list(configurations_of(message))
        for index, entry_term, _ in changes:
            commit = fields.get("leader_commit", 0)
            self.decisions.sent(progress.log, fields["term"], index, entry_term, commit, place)
        if fields.get("n_entries") != len(entries):
            count = max(message.preamble.header_length - APPEND_ENTRIES_HEAD.size, 0) // ENTRY_STRUCT.size
            progress.count_cut(count, message.payload_length or 0, place)
            return
        term, index = fields["term"], fields["prev_log_index"]
        if term < max(self._terms.current(leader), progress.term):
            # It was queued for a server that could not be reached, and its leader has stepped down since.
            progress.late(term, index, fields["prev_log_term"], entries, place)
            return
        progress.log.ask_anew()
        progress.append(term, index, fields["prev_log_term"], fields["leader_commit"], entries, *place)
        for at, entry_term, servers in changes:
            self._voters.change(at, entry_term, index + len(entries), servers)

    def _install(self, message: Message, leader: Server, follower: Server, finished: Place | None) -> None:
        transfer = _Transfer(message, leader, follower, finished)
        self._transfers.append(transfer)
        pair = self.pair(leader, follower)
        pair.progress.snapshot()
        if message.configuration and "last_index" in message.fields:
            self._voters.snapshot(message.fields["conf_index"], message.fields["last_index"], message.configuration)
        if finished is not None:
            pending = pair.pending
            pending.append(transfer)
            del pending[:-_MAX_PENDING]

    def _result(self, message: Message, follower: Server, leader: Server) -> None:
        fields = message.fields
        pair = self.pair(leader, follower)
        pair.progress.log.ask_anew()
        if "last_log_index" not in fields:
            pair.progress.cut_result()
        elif fields["rejected"]:
            self._rejected(message, follower, leader, pair)
        else:
            self.success(message, follower, pair)
            self._logs.acknowledge(self._logs.of(follower), fields["last_log_index"])

    def success(self, message: Message, follower: Server, pair: Pair) -> None:
        """A follower has what it was sent: a snapshot, or entries."""
        fields, place = message.fields, message.place
        progress = pair.progress
        transfer = self._installed(message, follower, pair) if pair.pending else None
        if transfer is None:
            progress.success(fields["term"], fields["last_log_index"], message.first.time_ns, *place)
        else:
            sent = transfer.message.fields
            progress.installed(sent["last_index"], sent.get("last_term"), place)

    def _installed(self, message: Message, follower: Server, pair: Pair) -> _Transfer | None:
        """The snapshot that has arrived when a follower says this."""
        fields, pending, waiting = message.fields, pair.pending, pair.progress.waiting
        acknowledged = fields["last_log_index"]
        for transfer in list(pending):
            last_index = transfer.last_index
            if transfer.before is not None:
                _decide(transfer, transfer.before, pair, acknowledged)
                continue
            if last_index is None or fields["term"] != transfer.message.fields.get("term"):
                continue
            # While a cowsql server installs a snapshot its log is empty, and it answers heartbeats with index 0.
            if acknowledged >= last_index:
                had = self._logs.highest(follower) >= last_index
                before = waiting.reaching(fields["term"], last_index, transfer.message.first.time_ns)
                if had or before is None:
                    _answer(transfer, pending, message.place, "already_had" if had else "installed")
                else:
                    transfer.answered, transfer.before = message.place, before
                self._drop_repeated(pending, last_index)
                return transfer
        return None

    def _drop_repeated(self, pending: list[_Transfer], last_index: int) -> None:
        """Copies of a snapshot that arrived while it was being installed are dropped without an answer."""
        for transfer in [t for t in pending if t.last_index == last_index and t.answered is None]:
            transfer.outcome = "unanswered"
            pending.remove(transfer)

    def _rejected(self, message: Message, follower: Server, leader: Server, pair: Pair) -> None:
        fields = message.fields
        rejected = fields["rejected"]
        unsent = pair.sent.term(rejected) is None
        unanswered = (t for t in pair.pending if t.answered is None)
        refused = next((t for t in unanswered if t.last_index == rejected and unsent), None)
        if refused is not None:
            _answer(refused, pair.pending, message.place, "refused")
            term = refused.message.fields.get("term", 0)
            reason: RefusalReason = "stale_term" if fields["term"] > term else "write_failed"
        else:
            reason = self._reason(message, follower, leader, pair.sent)
            pair.progress.rejected(fields["term"], rejected, message.first.time_ns, message.place)
        kind: RejectionKind = "append_entries" if refused is None else "install_snapshot"
        last = fields["last_log_index"]
        rejection = Rejection(kind, follower.name, leader.name, fields["term"], reason, rejected, last, message.place)
        self.rejections.append((follower, leader, rejection))

    def _reason(self, message: Message, follower: Server, leader: Server, sent: Recent) -> RefusalReason:
        fields = message.fields
        rejected, last = fields["rejected"], fields["last_log_index"]
        sent_in = sent.term(rejected)
        if fields["term"] > (self._terms.current(leader) if sent_in is None else sent_in):
            return "stale_term"
        if sent_in is None and sent.term(rejected - 1) is not None:
            return "write_failed"
        if last >= rejected:
            return "term_mismatch"
        if last == rejected - 1 and message.preamble.version and self._logs.highest(follower) >= rejected:
            # cowsql caps the hint below the rejected index, so it does not tell that the log reaches further.
            return "term_mismatch"
        return "no_such_entry"

    def forget(self, before_ns: int) -> None:
        """Forget the snapshots, rejections and catch-ups that were over before a time."""
        self._transfers = [
            one
            for one in self._transfers
            if max(one.message.place, one.answered or one.message.place).time_ns >= before_ns
        ]
        self.rejections[:] = [one for one in self.rejections if one[2].place.time_ns >= before_ns]
        for progress in self.progresses():
            progress.forget_before(before_ns)

    def opened(self, sender: Server, receiver: Server) -> None:
        """A server opened a connection to another."""
        self.pair(sender, receiver).progress.opened()
        self.pair(receiver, sender).progress.waiting.excuse()

    def closed(self, sender: Server, receiver: Server) -> None:
        """A connection from one server to another ended."""
        self.pair(sender, receiver).progress.closed()
        self.pair(receiver, sender).progress.unheard()

    def lost(self, sender: Server, receiver: Server) -> None:
        """Messages from one server to another are not in the capture."""
        self.pair(sender, receiver).progress.lost()
        self.pair(receiver, sender).progress.unheard()

    def hears(self, leader: Server, follower: Server) -> bool:
        """Whether a follower's answers to a leader are being captured."""
        pair = self._pairs.get((leader, follower))
        return pair is not None and pair.progress.hears

    def unrequested(self) -> Iterator[tuple[int, Server, Place, Place]]:
        """Term, leader, first and last place of answers to requests that are not in the capture."""
        for progress in self.progresses():
            for term, (first, last) in progress.unrequested.items():
                yield term, progress.leader, first, last

    def progresses(self) -> list[Progress]:
        """What is replicated by each leader to each follower."""
        return [pair.progress for pair in self._pairs.values()]

    def snapshots(self, end: Place) -> tuple[Snapshot, ...]:
        """Every snapshot that was sent, in the order of the capture; `end` is the end of the capture."""
        return tuple(sorted((_fact(t, end) for t in self._transfers), key=lambda snapshot: snapshot.started))


def _answer(transfer: _Transfer, pending: list[_Transfer], place: Place, outcome: SnapshotOutcome) -> None:
    transfer.answered = place
    transfer.outcome = outcome
    pending.remove(transfer)


def _decide(transfer: _Transfer, before: Request, pair: Pair, acknowledged: int) -> None:
    """Decide what became of a snapshot that was answered while entries that were sent before it were not.

    A follower refuses at once what does not follow its log, so it had taken those entries. They are answered when they
    are written, unless it ignored them, being busy with another snapshot: then something later is answered.
    """
    if not pair.progress.waiting.holds(before) or acknowledged > before.end:
        transfer.outcome = "installed"
    elif acknowledged == before.end:
        transfer.outcome = "already_had"
    else:
        return
    pair.pending.remove(transfer)


def _fact(transfer: _Transfer, end: Place) -> Snapshot:
    message = transfer.message
    fields = message.fields
    outcome = transfer.outcome
    if outcome is None:
        recent = end.time_ns - message.place.time_ns < _PENDING_NS
        over: SnapshotOutcome = "unanswered" if transfer.answered is None else "installed"
        outcome = "in_progress" if recent else over
    return Snapshot(
        transfer.leader.name,
        transfer.follower.name,
        fields.get("term", 0),
        fields.get("last_index"),
        fields.get("last_term"),
        message.payload_length,
        message.first,
        transfer.finished,
        transfer.answered,
        outcome,
    )
