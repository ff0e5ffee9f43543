"""The steady state: a known leader's AppendEntries and its followers' successes, taken without asking every tracker.

A message is steady when it tells nothing new to
- `Identities`, `Membership` and `Transfers`: it is AppendEntries without a whole change, or AppendEntriesResult;
- `Terms`: its term is the highest that its sender has proven, and was proven by an earlier packet; the receiver has
  proven it, too, or was seen to receive it;
- `Leaders`: AppendEntries belong to a reign that has begun and goes on;
- `Server.seen`: the sender has written messages of this shape before, and was seen in an earlier packet.
Then it only adds to what is counted, to how far logs reach and to who was heard from when, and that is all that a
conversation does. What a conversation knows of the trackers holds until anything comes that is not steady: that ends
all of them, they tell the trackers what they have kept for themselves, and the next messages begin them anew.

Messages come as objects or as rows of a batch, which are taken without making objects of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.cluster.servers import shape_of
from raft_dissect.columns import shape_column
from raft_dissect.values import Place
from raft_dissect.wire import MESSAGE_NAMES
from raft_dissect.wire.codec import (
    APPEND_ENTRIES_HEAD,
    APPEND_ENTRIES_RESULT_HEAD,
    ENTRY_STRUCT,
    entry_words,
)
from raft_dissect.wire.table import APPEND_ENTRIES, APPEND_ENTRIES_RESULT
from raft_dissect.wire.table import PREAMBLE_LENGTH as _PREAMBLE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.cluster.elections import Elections
    from raft_dissect.cluster.extents import Words
    from raft_dissect.cluster.leaders import Leaders, Reign
    from raft_dissect.cluster.logs import Logs
    from raft_dissect.cluster.replication import Pair, Replication
    from raft_dissect.cluster.servers import Server, Servers
    from raft_dissect.cluster.terms import Terms
    from raft_dissect.cluster.traffic import Flow, Flows
    from raft_dissect.columns import MessageBatch
    from raft_dissect.values import Message, Stream
    from raft_dissect.wire import Preamble

_NOT_STALE = bytes(8)
_KIND, _LENGTH = 0xFFFFFFFF, 32
"""The bits of a column of shapes that say type and version, and where the header's length begins."""
_APPEND = MESSAGE_NAMES[APPEND_ENTRIES]
_RESULT = MESSAGE_NAMES[APPEND_ENTRIES_RESULT]
_APPEND_LENGTH = APPEND_ENTRIES_HEAD.size
_RESULT_LENGTH = APPEND_ENTRIES_RESULT_HEAD.size
_ENTRY_LENGTH = ENTRY_STRUCT.size
_unpack_append = APPEND_ENTRIES_HEAD.unpack_from
_unpack_entry = ENTRY_STRUCT.unpack_from
_unpack_result = APPEND_ENTRIES_RESULT_HEAD.unpack_from


class Conversation:
    """What one server goes on to say to another on one stream, in one term."""

    __slots__ = (
        "flow",
        "header_length",
        "kind",
        "log",
        "logs",
        "order",
        "pair",
        "preamble",
        "progress",
        "rows",
        "seen_file",
        "seen_frame",
        "seen_ns",
        "sender",
        "shape",
        "since",
        "since_ns",
        "size",
        "term",
    )

    def __init__(
        self, trackers: Steady, sender: Server, term: int, since: Place, flow: Flow, preamble: Preamble, pair: Pair
    ) -> None:
        self.sender = sender
        self.term = term
        self.since = since
        """An earlier packet would tell something new."""
        self.since_ns = since.time_ns
        self.flow = flow
        self.pair = pair
        self.progress = pair.progress
        self.progress.log.ask_anew()
        self.logs = trackers.logs
        self.log = trackers.logs.of(sender)
        self.order = 0
        """Counts the messages of all conversations up to its last one."""
        self.rows = 0
        """Messages that the flow was not told of."""
        self.size = 0
        """Their bytes, preambles included."""
        self.seen_ns, self.seen_frame, self.seen_file = since
        """The latest packet."""
        self.follow(preamble)

    def takes(self, message: Message, order: int) -> bool:
        """Take a message if it is steady, and say whether it was; `order` counts those of all conversations."""
        raise NotImplementedError

    def takes_row(self, batch: MessageBatch, row: int, order: int) -> bool:
        """The same for a row of a batch."""
        raise NotImplementedError

    def tell(self) -> None:
        """Tell the trackers what they were not told message by message."""
        self.flow.add(MESSAGE_NAMES[self.kind & 0xFF], self.rows, self.size)
        self.rows = self.size = 0
        sender, seen = self.sender, self.latest()
        if self.order and (sender.last_seen is None or seen > sender.last_seen):
            sender.last_seen = seen

    def latest(self) -> Place:
        """The latest packet of the conversation."""
        return Place(self.seen_ns, self.seen_frame, self.seen_file)

    def seen(self, time_ns: int, frame: int, file: int, order: int) -> None:
        """Take note of a packet with a message of this conversation."""
        self.order = order
        latest_ns = self.seen_ns
        if time_ns > latest_ns or (time_ns == latest_ns and (frame, file) > (self.seen_frame, self.seen_file)):
            self.seen_ns = time_ns
            self.seen_frame = frame
            self.seen_file = file

    def follow(self, preamble: Preamble) -> None:
        """Know the preamble of the next messages."""
        self.preamble: Preamble | None = preamble
        self.header_length = preamble.header_length
        self.shape = shape_column(preamble)
        self.kind = self.shape & _KIND


class Appends(Conversation):
    """The AppendEntries of a leader to one follower."""

    __slots__ = ("elections", "follower", "fresh", "reign", "stale", "version")

    def __init__(
        self, trackers: Steady, reign: Reign, follower: Server, since: Place, flow: Flow, preamble: Preamble
    ) -> None:
        leader = reign.leader
        pair = trackers.replication.pair(leader, follower)
        super().__init__(trackers, leader, reign.term, max(since, reign.first), flow, preamble, pair)
        self.reign = reign
        self.follower = follower
        self.elections = trackers.elections
        self.version = preamble.version
        self.fresh = leader.wrote(shape_of(preamble, False))
        """Whether messages whose unused bytes are zero tell nothing about releases."""
        self.stale = leader.wrote(shape_of(preamble, True))
        """Whether those whose unused bytes are not zero do not, either."""

    def takes(self, message: Message, order: int) -> bool:
        """Take a message if it is steady, and say whether it was; `order` counts those of all conversations."""
        header = message.header
        place = message.place
        if message.preamble != self.preamble and not self._continues(message.preamble):
            return False
        if len(header) != self.header_length or message.changes or place < self.since:
            return False
        term, index, previous_term, commit, n_entries = _unpack_append(header)
        if term != self.term or n_entries > (self.header_length - _APPEND_LENGTH) // _ENTRY_LENGTH:
            return False
        if message.missing == 0 and not (self.fresh if header[-8:] == _NOT_STALE else self.stale):
            return False
        self.flow.count(_APPEND, self.header_length, message.payload_length)
        self.seen(place.time_ns, place.frame, place.file, order)
        self.reign.heard(place.time_ns, place.frame, place.file)
        words = tuple(entry_words(header, n_entries)) if n_entries else ()
        self.logs.extend(self.log, index, previous_term, words)
        self.pair.sent.remember(index, term)
        self.progress.append(term, index, previous_term, commit, words, place.time_ns, place.frame, place.file)
        return True

    def takes_row(self, batch: MessageBatch, row: int, order: int) -> bool:
        """The same for a row of a batch."""
        shape = batch.shapes[row]
        time_ns = batch.times[row]
        if shape != self.shape:
            if shape & _KIND != self.kind or shape >> _LENGTH < _APPEND_LENGTH:
                return False
            self.shape = shape
            self.header_length = shape >> _LENGTH
            self.preamble = None
        if batch.word0[row] != self.term or time_ns <= self.since_ns:
            return False
        size = self.header_length
        end = batch.headers[row] + size
        if not (self.fresh if batch.buffer[end - 8 : end] == _NOT_STALE else self.stale):
            return False
        frame = batch.frames[row]
        self.rows += 1
        self.size += _PREAMBLE_LENGTH + size + batch.payloads[row]
        self.seen(time_ns, frame, batch.file, order)
        self.reign.heard(time_ns, frame, batch.file)
        index = batch.word1[row]
        entries = batch.word4[row]
        words: Sequence[Words] = ()
        if entries == 1:
            words = (_unpack_entry(batch.buffer, end - size + _APPEND_LENGTH),)
        elif entries:
            words = tuple(entry_words(batch.buffer[end - size : end], entries))
        term, previous_term = self.term, batch.word2[row]
        self.logs.extend(self.log, index, previous_term, words)
        self.pair.sent.remember(index, term)
        self.progress.append(term, index, previous_term, batch.word3[row], words, time_ns, frame, batch.file)
        return True

    def tell(self) -> None:
        """Tell the trackers what they were not told message by message."""
        super().tell()
        if self.order:
            self.elections.heard(self.follower, self.sender, self.latest())

    def _continues(self, preamble: Preamble) -> bool:
        """Whether a preamble, which is not that of the message before, can be of a steady message."""
        if preamble.type != APPEND_ENTRIES or preamble.version != self.version:
            return False
        if preamble.header_length < _APPEND_LENGTH:
            return False
        self.follow(preamble)
        return True


class Results(Conversation):
    """The AppendEntriesResult messages of a follower to its leader that are no rejections."""

    __slots__ = ("answered_file", "answered_frame", "answered_ns", "elections", "leader", "led", "replication")

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
        pair = trackers.replication.pair(leader, follower)
        super().__init__(trackers, follower, term, since, flow, preamble, pair)
        self.leader = leader
        self.led = trackers.leaders.leads(leader, term)
        self.elections = trackers.elections
        self.replication = trackers.replication
        self.answered_ns, self.answered_frame, self.answered_file = since
        """The last answer."""

    def takes(self, message: Message, order: int) -> bool:
        """Take a message if it is steady, and say whether it was; `order` counts those of all conversations."""
        header = message.header
        place = message.place
        if message.preamble != self.preamble or len(header) != self.header_length or place < self.since:
            return False
        term, rejected, index = _unpack_result(header)
        if rejected or term != self.term:
            return False
        self.flow.count(_RESULT, self.header_length, message.payload_length)
        self.seen(place.time_ns, place.frame, place.file, order)
        self.answered_ns, self.answered_frame, self.answered_file = place
        self.replication.success(message, self.sender, self.pair)
        self.logs.acknowledge(self.log, index)
        return True

    def takes_row(self, batch: MessageBatch, row: int, order: int) -> bool:
        """The same for a row of a batch."""
        time_ns = batch.times[row]
        if batch.shapes[row] != self.shape or batch.word0[row] != self.term or time_ns <= self.since_ns:
            return False
        if batch.word1[row] or self.pair.pending:
            return False
        frame = batch.frames[row]
        self.rows += 1
        self.size += _PREAMBLE_LENGTH + self.header_length + batch.payloads[row]
        self.seen(time_ns, frame, batch.file, order)
        self.answered_ns = time_ns
        self.answered_frame = frame
        self.answered_file = batch.file
        index = batch.word2[row]
        self.progress.success(self.term, index, time_ns, time_ns, frame, batch.file)
        self.logs.acknowledge(self.log, index)
        return True

    def tell(self) -> None:
        """Tell the trackers what they were not told message by message."""
        super().tell()
        if self.led and self.order:
            answered = Place(self.answered_ns, self.answered_frame, self.answered_file)
            self.elections.followed(self.sender, self.leader, answered)


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
        self._conversations: dict[Stream | None, Conversation] = {}
        self._order = 0

    def takes(self, message: Message) -> bool:
        """Take a message if it is steady, and say whether it was."""
        conversation = self._conversations.get(message.stream) or self._begin(message)
        if conversation is None:
            return False
        self._order += 1
        return conversation.takes(message, self._order)

    def take_rows(self, batch: MessageBatch, row: int, end: int) -> int:
        """Take rows of a batch from `row` on, before `end`, while they are steady; give the first that was not taken.

        It need not be unsteady: rows that are there as objects are to be taken as such, and so is the first message of
        each conversation.
        """
        conversations = self._conversations
        order = self._order
        while row < end and batch.headers[row] >= 0:
            conversation = conversations.get(batch.streams[row])
            if conversation is None or not conversation.takes_row(batch, row, order + 1):
                break
            order += 1
            row += 1
        self._order = order
        return row

    def end(self) -> None:
        """Something is seen that is not steady, or the trackers are asked what they know."""
        for conversation in sorted(self._conversations.values(), key=_order_of):
            conversation.tell()
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
            self.servers.spoke(message.stream)
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


def _order_of(conversation: Conversation) -> int:
    return conversation.order
