"""The steady state: a known leader's AppendEntries and its followers' successes, taken without asking every tracker.

A message is steady when it tells nothing new to
- `Identities`, `Membership` and `Transfers`: it is AppendEntries without a whole change, or AppendEntriesResult;
- `Terms`: its term is the highest that its sender has proven, and was proven by an earlier packet; the receiver has
  proven it, too, or was seen to receive it;
- `Leaders`: AppendEntries belong to a reign that has begun and goes on;
- `Server.seen`: the sender has written messages of this shape before, and was seen in an earlier packet.
Then it only adds to what is counted, to how far logs reach and to who was heard from when, and that is all that a
conversation does. What a conversation knows of the trackers holds until anything comes that is not steady: that ends
all of them, and the next messages begin them anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.cluster.servers import shape_of
from raft_dissect.wire import MESSAGE_NAMES
from raft_dissect.wire.codec import (
    APPEND_ENTRIES_HEAD,
    APPEND_ENTRIES_RESULT_HEAD,
    ENTRY_STRUCT,
    entry_terms,
)
from raft_dissect.wire.table import APPEND_ENTRIES, APPEND_ENTRIES_RESULT

if TYPE_CHECKING:
    from raft_dissect.cluster.elections import Elections
    from raft_dissect.cluster.leaders import Leaders, Reign
    from raft_dissect.cluster.logs import Logs
    from raft_dissect.cluster.replication import Replication
    from raft_dissect.cluster.servers import Server, Servers
    from raft_dissect.cluster.terms import Terms
    from raft_dissect.cluster.traffic import Flow, Flows
    from raft_dissect.values import Message, Place, Stream
    from raft_dissect.wire import Preamble

_NOT_STALE = bytes(8)
_APPEND = MESSAGE_NAMES[APPEND_ENTRIES]
_RESULT = MESSAGE_NAMES[APPEND_ENTRIES_RESULT]
_APPEND_LENGTH = APPEND_ENTRIES_HEAD.size
_RESULT_LENGTH = APPEND_ENTRIES_RESULT_HEAD.size
_ENTRY_LENGTH = ENTRY_STRUCT.size
_unpack_append = APPEND_ENTRIES_HEAD.unpack_from
_unpack_result = APPEND_ENTRIES_RESULT_HEAD.unpack_from


class Conversation:
    """What one server goes on to say to another on one stream, in one term."""

    __slots__ = ("flow", "log", "logs", "pair", "sender", "since", "term")

    def __init__(self, trackers: Steady, sender: Server, term: int, since: Place, flow: Flow) -> None:
        self.sender = sender
        self.term = term
        self.since = since
        """An earlier packet would tell something new."""
        self.flow = flow
        self.logs = trackers.logs
        self.log = trackers.logs.of(sender)

    def takes(self, message: Message) -> bool:
        """Take a message if it is steady, and say whether it was."""
        raise NotImplementedError

    def seen(self, place: Place) -> None:
        """Take note of when the sender was seen."""
        sender = self.sender
        if sender.last_seen is None or place > sender.last_seen:
            sender.last_seen = place


class Appends(Conversation):
    """The AppendEntries of a leader to one follower."""

    __slots__ = ("header_length", "preamble", "reign", "room", "trailers", "version")

    def __init__(
        self, trackers: Steady, reign: Reign, follower: Server, since: Place, flow: Flow, preamble: Preamble
    ) -> None:
        leader = reign.leader
        super().__init__(trackers, leader, reign.term, max(since, reign.first), flow)
        self.reign = reign
        self.pair = trackers.replication.pair(leader, follower)
        self.version = preamble.version
        self._follow(preamble)
        self.trailers = [stale for stale in (False, True) if leader.wrote(shape_of(preamble, stale))]
        """Whether the unused bytes of messages that tell nothing about releases are stale."""

    def takes(self, message: Message) -> bool:
        """Take a message if it is steady, and say whether it was."""
        header = message.header
        place = message.place
        if message.preamble != self.preamble and not self._continues(message.preamble):
            return False
        if len(header) != self.header_length or message.changes or place < self.since:
            return False
        term, index, previous_term, _, n_entries = _unpack_append(header)
        if term != self.term or n_entries > self.room:
            return False
        if (header[-8:] != _NOT_STALE) not in self.trailers and message.missing == 0:
            return False
        self.flow.count(_APPEND, self.header_length, message.payload_length)
        self.seen(place)
        self.reign.heard(place)
        self.logs.extend(self.log, index, previous_term, entry_terms(header, n_entries) if n_entries else ())
        self.pair.sent.remember(index, term)
        return True

    def _continues(self, preamble: Preamble) -> bool:
        """Whether a preamble, which is not that of the message before, can be of a steady message."""
        if preamble.type != APPEND_ENTRIES or preamble.version != self.version:
            return False
        if preamble.header_length < _APPEND_LENGTH:
            return False
        self._follow(preamble)
        return True

    def _follow(self, preamble: Preamble) -> None:
        self.preamble = preamble
        self.header_length = preamble.header_length
        self.room = (preamble.header_length - _APPEND_LENGTH) // _ENTRY_LENGTH


class Results(Conversation):
    """The AppendEntriesResult messages of a follower to its leader that are no rejections."""

    __slots__ = ("elections", "header_length", "leader", "led", "preamble", "replication")

    def __init__(
        self,
        trackers: Steady,
        follower: Server,
        leader: Server,
        term: int,
        since: Place,
        flow: Flow,
        preamble: Preamble,
    ) -> None:
        super().__init__(trackers, follower, term, since, flow)
        self.leader = leader
        self.led = trackers.leaders.leads(leader, term)
        self.pair = trackers.replication.pair(leader, follower)
        self.elections = trackers.elections
        self.replication = trackers.replication
        self.preamble = preamble
        self.header_length = preamble.header_length

    def takes(self, message: Message) -> bool:
        """Take a message if it is steady, and say whether it was."""
        header = message.header
        place = message.place
        if message.preamble != self.preamble or len(header) != self.header_length or place < self.since:
            return False
        term, rejected, index = _unpack_result(header)
        if rejected or term != self.term:
            return False
        self.flow.count(_RESULT, self.header_length, message.payload_length)
        self.seen(place)
        if self.led:
            self.elections.followed(self.sender, self.leader, place)
        if self.pair.pending:
            self.replication.installed(message, self.sender, self.pair.pending)
        self.logs.acknowledge(self.log, index)
        return True


class Steady:
    """Takes the steady messages of all streams."""

    def __init__(
        self,
        servers: Servers,
        terms: Terms,
        logs: Logs,
        leaders: Leaders,
        elections: Elections,
        replication: Replication,
        flows: Flows,
    ) -> None:
        self.servers = servers
        self.terms = terms
        self.logs = logs
        self.leaders = leaders
        self.elections = elections
        self.replication = replication
        self.flows = flows
        self._conversations: dict[Stream, Conversation] = {}

    def takes(self, message: Message) -> bool:
        """Take a message if it is steady, and say whether it was."""
        conversation = self._conversations.get(message.stream) or self._begin(message)
        return conversation is not None and conversation.takes(message)

    def end(self) -> None:
        """Something is seen that is not steady."""
        self._conversations.clear()

    def _begin(self, message: Message) -> Conversation | None:
        """Begin a conversation with its first message, if that is steady so far as the trackers know."""
        preamble = message.preamble
        result = preamble.type == APPEND_ENTRIES_RESULT
        if not result and preamble.type != APPEND_ENTRIES:
            return None
        if len(message.header) != preamble.header_length or preamble.header_length < _RESULT_LENGTH:
            return None
        identified = self.servers.identified
        sender, receiver = self.servers.sender(message.stream), self.servers.receiver(message.stream)
        if self.servers.identified != identified:
            self.end()
        term = _unpack_result(message.header)[0]
        conversation = self._between(message, sender, receiver, term)
        if conversation is not None:
            self._conversations[message.stream] = conversation
        return conversation

    def _between(self, message: Message, sender: Server, receiver: Server, term: int) -> Conversation | None:
        proven = self.terms.proven_at(sender, term)
        if proven is None or sender.first_seen is None:
            return None
        if term != self.terms.current(sender) or not self.terms.reached(receiver, term):
            return None
        since = max(proven, sender.first_seen)
        preamble = message.preamble
        flow = self.flows.of(message, sender, receiver)
        if preamble.type == APPEND_ENTRIES:
            reign = self.leaders.current(sender)
            if reign is None or reign.term != term or preamble.header_length < _APPEND_LENGTH:
                return None
            return Appends(self, reign, receiver, since, flow, preamble)
        if not sender.wrote(shape_of(preamble, False)):
            return None
        return Results(self, sender, receiver, term, since, flow, preamble)
