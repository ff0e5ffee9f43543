"""The messages as a trace of state machines for formal checking, in the shape of etcd's raft: docs/trace.md says how.

Source: the events and keys that etcd-io/raft logs when it is built for trace validation, and that its TLA+ module
Traceetcdraft reads: `event` with `name`, `nid`, `state`, `role`, `log`, `conf`, `msg` and `prop`.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from raft_dissect.cluster.clusters import Clusters
from raft_dissect.cluster.servers import Servers
from raft_dissect.values import Message, StreamOpened
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from raft_dissect import wire
    from raft_dissect.columns import MessageBatch
    from raft_dissect.report.times import Clock
    from raft_dissect.values import Event, Place

Record = dict[str, Any]

FOLLOWER, CANDIDATE, LEADER = "StateFollower", "StateCandidate", "StateLeader"
_YOUNG = 4096
"""Events of a cluster whose lines are kept: as long as `Clusters` may find that it is part of another one."""
_AHEAD = 1000
"""Events that are looked ahead, to know who is who: a receiver may speak later."""
_MAX_SERVERS = 1024
"""Servers of one cluster that are followed, and as many pairs; those that came first are forgotten first."""
_MAX_WAITING = 256
"""Messages to one server that wait for a sign that it has them; when there are more, it is taken to have the oldest."""
_MAX_CHANGES = 64
"""Configurations that one server may have been sent and not acknowledged yet."""


class StateTrace:
    """Writes a line of JSON for each event of each server, while the capture is read."""

    def __init__(self, file: TextIO, clock: Clock, files: Sequence[str]) -> None:
        """`files` are named in the lines when there are several."""
        self._file = file
        self._clock = clock
        self._files = files if len(files) > 1 else ()
        self._numbered = 0
        self._clusters = Clusters(lambda: _Tracer(self))

    def feed(self, batch: MessageBatch) -> None:
        """Take a batch of events."""
        self._clusters.feed_batch(batch)

    def finish(self) -> None:
        """Write what is left at the end of the capture."""
        for tracer in self._clusters.clusters():
            tracer.finish()

    def number(self) -> int:
        """A number for the next cluster whose lines are written."""
        self._numbered += 1
        return self._numbered - 1

    def where(self, place: Place) -> Record:
        """The keys that say which packet a line is about."""
        record: Record = {"frame": place.frame}
        if self._files:
            record["file"] = self._files[place.file]
        record["time"] = self._clock.iso(place.time_ns)
        return record

    def write(self, cluster: int, records: Sequence[Record]) -> None:
        """Write records of a cluster."""
        for record in records:
            self._file.write(json.dumps({"tag": "trace", "cluster": cluster, **record}) + "\n")


class _Sent(NamedTuple):
    """A message that its receiver may not have taken yet."""

    name: str
    message: Record
    term: int
    sender: int
    commit: int
    """Of AppendEntries."""
    changes: tuple[tuple[int, tuple[str, ...]], ...]
    """The configurations in it: index, and ids of the voters."""


class _Replica:
    """One server's state, as far as its messages show it."""

    __slots__ = ("changes", "commit", "commit_sent", "conf", "id", "known", "log", "role", "term", "vote", "waiting")

    def __init__(self, id_: int) -> None:
        self.id = id_
        self.term = 0
        self.vote = 0
        self.commit = 0
        self.log = 0
        self.role = FOLLOWER
        self.conf: tuple[str, ...] = ()
        self.known: set[str] = set()
        """Which of the above are known; the others are 0 or empty."""
        self.waiting: deque[_Sent] = deque()
        self.commit_sent = 0
        """The highest commit index that it was sent."""
        self.changes: dict[int, tuple[str, ...]] = {}
        """Configurations that it was sent and has not acknowledged, by index."""

    def knows(self, **values: Any) -> None:
        """Something of its state is known from now on."""
        for name, value in values.items():
            setattr(self, name, value)
        self.known.update(values)

    def reaches(self, term: int) -> bool:
        """Let it be in a term; whether it was not."""
        if term <= self.term and "term" in self.known:
            return False
        new = self.term < term
        self.knows(term=term)
        if new:
            self.vote, self.role = 0, FOLLOWER
            self.known.discard("vote")
        return new

    def record(self) -> Record:
        return {
            "state": {"term": self.term, "vote": str(self.vote), "commit": self.commit},
            "role": self.role,
            "log": self.log,
            "conf": [list(self.conf), []],
        }

    @property
    def unknown(self) -> list[str]:
        return [name for name in ("term", "vote", "commit", "log", "conf") if name not in self.known]


class _Tracer:
    """Follows the servers of one cluster."""

    def __init__(self, trace: StateTrace) -> None:
        self._trace = trace
        self._servers = Servers()
        self._replicas: dict[int, _Replica] = {}
        self._asked: dict[tuple[int, int], bool] = {}  # candidate and voter: whether the last request was a pre-vote
        self._records: list[Record] = []
        self._ahead: deque[Message] = deque()
        self._events = 0
        self._number: int | None = None
        self._where: Record = {}

    def knows(self, address: str) -> bool:
        """Whether a server of the cluster is known to advertise an address."""
        return self._servers.identities.knows(address)

    def feed_rows(self, batch: MessageBatch, row: int, end: int) -> None:
        """Take the rows of a batch from `row` on, before `end`."""
        for number in range(row, end):
            self.feed(batch.message(number))

    def feed(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, StreamOpened):
            self._servers.identities.opened(event.stream)
        elif isinstance(event, Message):
            self._learn(event)
            self._ahead.append(event)
        self._events += 1
        while len(self._ahead) > _AHEAD:
            self._message(self._ahead.popleft())
        if self._events > _YOUNG:
            self._write()

    def _learn(self, message: Message) -> None:
        """Learn from a message who is who."""
        identities = self._servers.identities
        identities.message(message)
        for number in message.changes:
            identities.configuration(message.change(number) or ())

    def finish(self) -> None:
        """The capture is over: write the lines that are left."""
        while self._ahead:
            self._message(self._ahead.popleft())
        self._write()

    def _write(self) -> None:
        if self._records:
            self._number = self._trace.number() if self._number is None else self._number
            self._trace.write(self._number, self._records)
            self._records.clear()

    # Lines

    def _emit(self, name: str, replica: _Replica, how: str, message: Record | None = None, **more: Any) -> None:
        event = {"name": name, "nid": str(replica.id), **replica.record()}
        if message is not None:
            event["msg"] = message
        event.update(more)
        record = {**self._where, "how": how, "event": event}
        if replica.unknown:
            record["unknown"] = replica.unknown
        self._records.append(record)

    def _replica(self, id_: int) -> _Replica:
        if id_ not in self._replicas:
            self._replicas[id_] = _Replica(id_)
            if len(self._replicas) > _MAX_SERVERS:
                del self._replicas[next(iter(self._replicas))]
            self._emit("InitState", self._replicas[id_], "inferred")
        return self._replicas[id_]

    # Messages

    def _message(self, message: Message) -> None:
        sender = self._servers.sender(message.stream).id
        receiver = self._servers.receiver(message.stream).id
        fields = message.fields
        if sender is None or receiver is None or message.type not in _NEEDS:
            return
        if not _NEEDS[message.type] <= fields.keys() or self._is_pre_vote(message, sender, receiver):
            return
        self._where = self._trace.where(message.place)
        one, other = self._replica(sender), self._replica(receiver)
        if message.type == table.REQUEST_VOTE:
            self._request_vote(message, one, other)
        elif message.type == table.REQUEST_VOTE_RESULT:
            self._vote(message, one, other)
        elif message.type == table.APPEND_ENTRIES_RESULT:
            self._result(message, one, other)
        elif message.type == table.APPEND_ENTRIES:
            self._append(message, one, other)
        else:
            self._snapshot(message, one, other)

    def _is_pre_vote(self, message: Message, sender: int, receiver: int) -> bool:
        """Whether it belongs to a pre-vote; results of old releases do not say so, but their request does."""
        if message.type == table.REQUEST_VOTE:
            pre_vote = bool(message.fields.get("pre_vote"))
            self._asked[sender, receiver] = pre_vote
            if len(self._asked) > _MAX_SERVERS:
                del self._asked[next(iter(self._asked))]
            return pre_vote
        if message.type == table.REQUEST_VOTE_RESULT:
            return bool(message.fields.get("pre_vote", self._asked.get((receiver, sender), True)))
        return False

    def _request_vote(self, message: Message, candidate: _Replica, voter: _Replica) -> None:
        fields = message.fields
        term = fields["term"]
        stands = candidate.role != FOLLOWER and candidate.term >= term
        self._takes(candidate, term if stands else term - 1)
        if not stands and term >= candidate.term:
            candidate.reaches(term)
            candidate.knows(vote=candidate.id, role=CANDIDATE, log=fields["last_log_index"])
            self._emit("BecomeCandidate", candidate, "inferred")
        content = {"logTerm": fields["last_log_term"], "index": fields["last_log_index"]}
        self._send("RequestVoteRequest", "MsgVote", candidate, voter, term, content)

    def _vote(self, message: Message, voter: _Replica, candidate: _Replica) -> None:
        term, granted = message.fields["term"], bool(message.fields["vote_granted"])
        self._takes(voter, term, candidate.id)
        if voter.reaches(term):
            self._emit("BecomeFollower", voter, "inferred")
        if granted and voter.term == term:
            voter.knows(vote=candidate.id)
        self._send("RequestVoteResponse", "MsgVoteResp", voter, candidate, term, {"reject": not granted})

    def _append(self, message: Message, leader: _Replica, follower: _Replica) -> None:
        fields, entries = message.fields, message.entries
        term, previous, commit = fields["term"], fields["prev_log_index"], fields["leader_commit"]
        self._leads(leader, term)
        if leader.term == term and len(entries) == fields["n_entries"]:
            self._grows(leader, message)
        if leader.term == term and (commit > leader.commit or "commit" not in leader.known):
            told = "commit" in leader.known
            leader.knows(commit=commit)
            if told:
                self._emit("Commit", leader, "inferred")
        content = {
            "entries": fields["n_entries"],
            "logTerm": fields["prev_log_term"],
            "index": previous,
            "commit": commit,
        }
        changes = tuple(
            (previous + 1 + number, _voters(servers))
            for number in message.changes
            if (servers := message.change(number)) is not None
        )
        self._send("AppendEntriesRequest", "MsgApp", leader, follower, term, content, commit, changes)

    def _grows(self, leader: _Replica, message: Message) -> None:
        """Let the leader's log have the entries that it sends."""
        previous = message.fields["prev_log_index"]
        if "log" not in leader.known or previous > leader.log:
            leader.knows(log=previous)
        for number, entry in enumerate(message.entries):
            if previous + 1 + number <= leader.log:
                continue
            servers = message.change(number) if entry.type == table.CHANGE else None
            if servers is not None:
                self._changes(leader, _voters(servers))
            elif entry.type != table.CHANGE:
                self._emit("Replicate", leader, "inferred")
            leader.knows(log=previous + 1 + number)

    def _changes(self, leader: _Replica, voters: tuple[str, ...]) -> None:
        if "conf" in leader.known:
            added = [{"nid": id_, "action": "AddNewServer"} for id_ in voters if id_ not in leader.conf]
            removed = [{"nid": id_, "action": "RemoveServer"} for id_ in leader.conf if id_ not in voters]
            if added or removed:
                self._emit("ChangeConf", leader, "inferred", prop={"cc": {"changes": added + removed}})
        self._applies(leader, voters)

    def _applies(self, replica: _Replica, voters: tuple[str, ...]) -> None:
        self._emit("ApplyConfChange", replica, "inferred", prop={"cc": {"newconf": list(voters)}})
        replica.knows(conf=voters)

    def _snapshot(self, message: Message, leader: _Replica, follower: _Replica) -> None:
        fields = message.fields
        self._leads(leader, fields["term"])
        changes: tuple[tuple[int, tuple[str, ...]], ...] = ()
        if message.configuration is not None:
            changes = ((fields["last_index"], _voters(message.configuration)),)
        content = {"entries": fields["last_index"]}
        term, commit = fields["term"], fields["last_index"]
        self._send("AppendEntriesRequest", "MsgSnap", leader, follower, term, content, commit, changes)

    def _result(self, message: Message, follower: _Replica, leader: _Replica) -> None:
        fields = message.fields
        term, rejected, last = fields["term"], fields["rejected"], fields["last_log_index"]
        self._takes(follower, term)
        if follower.reaches(term):
            self._emit("BecomeFollower", follower, "inferred")
        success = not rejected and term == leader.term and follower.term == term
        if success:
            self._acknowledges(follower, last)
        content = {
            "index": rejected or last,
            "reject": not success,
            "rejectHint": 0 if success else last,
        }
        self._send("AppendEntriesResponse", "MsgAppResp", follower, leader, term, content)

    def _acknowledges(self, follower: _Replica, last: int) -> None:
        follower.knows(log=last)
        commit = min(follower.commit_sent, last)
        if commit >= follower.commit and follower.commit_sent:
            follower.knows(commit=commit)
        for index in [index for index in follower.changes if index <= last]:
            self._applies(follower, follower.changes.pop(index))

    def _leads(self, leader: _Replica, term: int) -> None:
        """A server sends what only the leader of a term does."""
        leads = leader.term == term and leader.role == LEADER
        begins = not leads and term >= leader.term
        self._takes(leader, term - 1 if begins and leader.role != CANDIDATE else term)
        if begins:
            leader.reaches(term)
            leader.knows(role=LEADER)
            self._emit("BecomeLeader", leader, "inferred")

    def _send(
        self,
        name: str,
        kind: str,
        sender: _Replica,
        receiver: _Replica,
        term: int,
        content: Record,
        commit: int = 0,
        changes: tuple[tuple[int, tuple[str, ...]], ...] = (),
    ) -> None:
        message: Record = {
            "type": kind,
            "term": term,
            "from": str(sender.id),
            "to": str(receiver.id),
            "entries": 0,
            "logTerm": 0,
            "index": 0,
            "commit": 0,
            "vote": "0",
            "reject": False,
            "rejectHint": 0,
            **content,
        }
        self._emit(f"Send{name}", sender, "observed", message)
        receiver.waiting.append(_Sent(f"Receive{name}", message, term, sender.id, commit, changes))
        if len(receiver.waiting) > _MAX_WAITING:
            self._take(receiver, receiver.waiting.popleft(), None)

    # What a server has received

    def _takes(self, replica: _Replica, term: int, answers: int | None = None) -> None:
        """Before a server speaks: it has all messages to it up to a term, and the vote request that it answers."""
        waiting, replica.waiting = replica.waiting, deque()
        for sent in waiting:
            answered = answers == sent.sender and sent.message["type"] == "MsgVote"
            if sent.term <= term or answered:
                self._take(replica, sent, term)
            else:
                replica.waiting.append(sent)

    def _take(self, replica: _Replica, sent: _Sent, term: int | None) -> None:
        """A server receives a message; it shows no higher term than `term` behind it."""
        self._emit(sent.name, replica, "inferred", sent.message)
        if (term is None or sent.term <= term) and replica.reaches(sent.term):
            self._emit("BecomeFollower", replica, "inferred")
        if sent.name == "ReceiveAppendEntriesRequest" and sent.term == replica.term:
            if replica.role == CANDIDATE:
                replica.knows(role=FOLLOWER)
                self._emit("BecomeFollower", replica, "inferred")
            replica.commit_sent = max(replica.commit_sent, sent.commit)
            replica.changes.update(sent.changes)
            while len(replica.changes) > _MAX_CHANGES:
                del replica.changes[next(iter(replica.changes))]


_NEEDS: dict[int, frozenset[str]] = {
    table.REQUEST_VOTE: frozenset(("term", "last_log_index", "last_log_term")),
    table.REQUEST_VOTE_RESULT: frozenset(("term", "vote_granted")),
    table.APPEND_ENTRIES: frozenset(("term", "prev_log_index", "prev_log_term", "leader_commit", "n_entries")),
    table.APPEND_ENTRIES_RESULT: frozenset(("term", "rejected", "last_log_index")),
    table.INSTALL_SNAPSHOT: frozenset(("term", "last_index")),
}
"""The fields without which a message tells too little; TimeoutNow has no event, as in etcd."""


def _voters(servers: Sequence[wire.Server]) -> tuple[str, ...]:
    return tuple(str(server.id) for server in servers if server.role == table.VOTER)
