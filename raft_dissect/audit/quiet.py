"""The many messages that tell rules nothing new are not told to them: it is known how they would end.

A message is quiet when it continues the one before it on its connection, in the same term: AppendEntries with at most
one entry, a command, behind the last one; or an acknowledgement of what was sent. Nothing in it, nor in what it adds to
what is known, can make a rule end otherwise than for the last such message that was told: that one is repeated in the
tallies. Of each connection the last quiet message is told after all before anything else happens, and at the end of
each batch, so that every group goes on from the present. How long a connection may be passed over is up to the groups,
and no longer than half a second in any case: what goes on slowly is told message by message.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING
from zlib import crc32

from raft_dissect import octets
from raft_dissect.audit.knowledge.log import LARGEST
from raft_dissect.columns import column
from raft_dissect.values import Place
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raft_dissect.audit.group import Group
    from raft_dissect.audit.judge import Judge, Sample
    from raft_dissect.audit.knowledge import Knowledge
    from raft_dissect.audit.knowledge.configurations import Configurations
    from raft_dissect.audit.knowledge.lines import Line
    from raft_dissect.audit.knowledge.log import Log
    from raft_dissect.audit.knowledge.pairs import Pair
    from raft_dissect.audit.knowledge.reigns import Reign, Sent
    from raft_dissect.audit.step import Step
    from raft_dissect.columns import MessageBatch
    from raft_dissect.values import Message, Stream

COMPILED = not __file__.endswith(".py")
_LONGEST_NS = 500_000_000
"""For so long the messages of a connection are passed over at most."""
_PAUSE_NS = 10_000_000
"""What comes so long after the one before it, as heartbeats do, is told."""
_LEAST = 48
"""Bytes of the header of AppendEntries without entries."""
_FIRST_ENTRY = 40
"""Where the first entry stands in it: its term, then its type in a byte."""
_RESULT = 32
_WORD = 8
_NOTHING = bytes(8)
_NONE = -1
_COMMAND = table.COMMAND
_APPEND_ENTRIES = table.APPEND_ENTRIES
_APPEND_ENTRIES_RESULT = table.APPEND_ENTRIES_RESULT
_PREAMBLE = table.PREAMBLE_LENGTH
_ENTRY = table.ENTRY_LENGTH
_UNUSED = 0xFFFF_FFFF_0000_FFFE
"""Bits of the last word of AppendEntriesResult that are zero in all releases: it has features and capacity."""
_unpack_entry = struct.Struct("<QII").unpack_from
_unpack_word = struct.Struct("<Q").unpack_from
_STALE = 16
"""Of a kind: there are bytes without a meaning that are not zero."""
_KINDS = 32
"""Kinds of messages are numbered below it."""


class Follower:
    """How far a leader has come with one server in its term, quiet messages included; -1 where nothing is known."""

    def __init__(self) -> None:
        self.sent = -1
        """Up to where it was sent entries."""
        self.acknowledged = -1


class Lead:
    """What a leader has in its term, quiet messages included."""

    def __init__(self, reign: Reign, knowledge: Knowledge) -> None:
        voters = knowledge.configurations.voters(reign.end)
        self.reign = reign
        self.log: Log = knowledge.log
        self.configurations: Configurations = knowledge.configurations
        self.leader = reign.leader
        self.term = reign.term
        self.end = -1
        self.commit = -1
        self._followers: dict[int, Follower] = {}
        self._voters = [self.follower(voter) for voter in voters if voter != reign.leader]
        self.needed = len(voters) // 2 + 1 - (reign.leader in voters)
        self.known = bool(voters)

    def follower(self, id_: int) -> Follower:
        """How far it has come with a server."""
        return self._followers.setdefault(id_, Follower())

    def may_commit(self, index: int) -> bool:
        """Whether a majority of the voters has an entry, or it is not known who votes."""
        if not self.known:
            return True
        count = 0
        for follower in self._voters:
            if follower.acknowledged >= index:
                count += 1
        return count >= self.needed


class Talk:
    """What goes on on one connection, quietly."""

    def __init__(self, step: Step, lead: Lead, patience_ns: int) -> None:
        self.step = step
        """The last message that was told."""
        self.line: Line = step.line
        self.shape = step.type | step.message.preamble.version << 16
        """Of its preamble, without the length of the header."""
        self.lead = lead
        self.term = lead.term
        self.told_ns = step.place.time_ns
        self.patience_ns = patience_ns
        self.last_ns = step.place.time_ns
        self.samples: dict[int, Sample] = {}
        """How the rules end, by kind: what decides it."""
        self.kinds = 0
        """A bit for each of these kinds."""
        self.counts = column(_KINDS)
        """Messages that were passed over, by kind."""
        self.kind = 0
        """Of the row that waits."""
        self.row = -1
        """The last quiet message, which is still to be told."""
        self.before = -1
        """The one before it."""
        self.passed = 0
        """Messages that were passed over."""
        self.leaked: dict[int, int] = {}
        """The last words of their headers that should be zero and are not, and how often each was there."""
        self.padded: dict[int, int] = {}
        """The same of the bytes behind the types of their entries."""
        self.leaked_row = -1
        """The last message with one of either."""

    def takes(self, batch: MessageBatch, row: int) -> bool:
        """Take a row of a batch if it is quiet, and say whether it was."""
        raise NotImplementedError

    def is_soon(self, time_ns: int) -> bool:
        """Whether the groups can do without a message at some time."""
        pause_ns = time_ns - self.last_ns
        if not 0 <= pause_ns <= self.patience_ns:
            return False
        return pause_ns < _PAUSE_NS and time_ns - self.told_ns <= _LONGEST_NS

    def next(self, row: int, kind: int, time_ns: int) -> None:
        """A row is quiet: the one before it is passed over."""
        if self.row >= 0:
            self.counts[self.kind] += 1
            self.passed += 1
            self.before = self.row
        self.row = row
        self.kind = kind
        self.last_ns = time_ns

    def learn(self, batch: MessageBatch) -> None:
        """Learn what the messages that were passed over say of their connection."""
        row, line = self.before, self.line
        place = Place(batch.times[row], batch.frames[row], batch.file)
        line.messages += self.passed
        line.framed += self.passed
        line.last = max(line.last, place)
        if batch.offsets[row] >= 0:
            line.next_offset = batch.offsets[row] + _PREAMBLE + (batch.shapes[row] >> 32) + batch.payloads[row]
        self.tell(batch, row, place)

    def tell(self, batch: MessageBatch, row: int, place: Place) -> None:
        """Learn the rest of them, of which the last one is at a row."""
        raise NotImplementedError


class Appends(Talk):
    """AppendEntries of a leader to one follower."""

    def __init__(self, step: Step, lead: Lead, patience_ns: int, sent: Sent, pair: Pair) -> None:
        super().__init__(step, lead, patience_ns)
        fields = step.fields
        self.follower = lead.follower(step.receiver or 0)
        self.sent = sent
        self.pair = pair
        self.ends = fields["prev_log_index"] + len(step.entries)
        self.begun = self.ends
        """Where the messages that were passed over begin."""
        self.last_term = step.entries[-1].term if step.entries else fields["prev_log_term"]
        self.commit = fields["leader_commit"]
        self.trailer = self.padding = 0
        """Of the row that waits: the last word of its header, and the bytes behind the type of its entry."""
        self.follower.sent = max(self.ends, self.follower.sent, sent.highest)

    def takes(self, batch: MessageBatch, row: int) -> bool:
        """Take a row of a batch if it is quiet, and say whether it was."""
        time_ns = batch.times[row]
        if not self.is_soon(time_ns):
            return False
        kind = self._kind(batch, row)
        if kind < 0 or not self.kinds >> kind & 1:
            return False
        entries, lead = batch.word4[row], self.lead
        index = self.ends + entries
        if entries and not self._has(batch, row, index):
            return False
        self.ends = index
        self.commit = batch.word3[row]
        if self.commit > lead.commit:
            lead.commit = self.commit
        if index > self.follower.sent:
            self.follower.sent = index
        if self.row >= 0:
            self._leak()
        self.trailer = self.padding = 0
        if kind >= _STALE:
            self.trailer = _word(batch, row, _LEAST + entries * _ENTRY - _WORD)
            self.padding = _padding(batch, row) if entries else 0
        self.next(row, kind, time_ns)
        return True

    def _leak(self) -> None:
        """Count what the row that waits has of bytes that should be zero."""
        if self.trailer:
            self.leaked[self.trailer] = self.leaked.get(self.trailer, 0) + 1
            self.leaked_row = self.row
        if self.padding:
            self.padded[self.padding] = self.padded.get(self.padding, 0) + 1
            self.leaked_row = self.row

    def _kind(self, batch: MessageBatch, row: int) -> int:
        """What decides how the rules end for a row that continues the one before it; -1 if it does not."""
        lead, commit, entries = self.lead, batch.word3[row], batch.word4[row]
        if entries > 1 or batch.word0[row] != self.term or batch.word1[row] != self.ends:
            return _NONE
        size = _LEAST + entries * _ENTRY
        if batch.shapes[row] != self.shape | size << 32:
            return _NONE
        stale = _STALE if _word(batch, row, size - _WORD) or (entries and _padding(batch, row)) else 0
        index = self.ends + entries
        if batch.word2[row] != self.last_term or not self.commit <= commit <= index:
            return _NONE
        rises = commit > lead.commit
        if rises and not lead.may_commit(commit):
            return _NONE
        if entries:
            return 4 + rises * 2 + (index > lead.end) + 8 * (index <= lead.commit) + stale
        return _NONE if batch.payloads[row] else rises * 2 + stale

    def _has(self, batch: MessageBatch, row: int, index: int) -> bool:
        """See whether the entry of a message is the next one, or one that is known."""
        if not batch.digest_entries:
            return False
        end = batch.headers[row] + _LEAST + _ENTRY
        kept = batch.message(row) if batch.headers[row] < 0 else None
        if kept is not None:
            term, type_, size = _unpack_entry(kept.header, _FIRST_ENTRY)
        elif COMPILED:
            term = octets.u64le(batch.view, end - 24)
            type_ = octets.u32le(batch.view, end - 16)
            size = octets.u32le(batch.view, end - 12)
        else:
            term, type_, size = _unpack_entry(batch.buffer, end - 24)
        type_ &= 0xFF
        if term != self.term or type_ != _COMMAND or size != batch.payloads[row] or size & 7 or not size:
            return False
        if kept is None:
            digest = crc32(batch.buffer[end : end + size])
        else:
            known = kept.digests[0] if kept.digests else None
            if known is None:
                return False
            digest = known
        kind = type_ << 32 | size
        lead = self.lead
        if index <= lead.end:
            if not lead.log.holds(index, term, kind, digest):
                return False
        elif index != lead.end + 1 or not lead.log.append(
            index, term, kind, digest, lead.leader, term, batch.times[row], batch.frames[row], batch.file
        ):
            return False
        else:
            lead.end = index
        self.last_term = term
        return True

    def tell(self, batch: MessageBatch, row: int, place: Place) -> None:
        """Learn the rest of them, of which the last one is at a row."""
        line, sent, reign = self.line, self.sent, self.lead.reign
        commit, previous, entries = batch.word3[row], batch.word1[row], batch.word4[row]
        ends = previous + entries
        line.appended_ns = place.time_ns
        if commit > line.commit:
            line.commit, line.commit_place = commit, place
        if ends > line.ends:
            line.ends, line.ends_place = ends, place
        sent.last = max(sent.last, place)
        sent.previous.put_run(self.begun, previous, self.step.place)
        sent.ends.put_run(self.begun, ends, self.step.place)
        if ends > sent.end:
            sent.end, sent.end_place = ends, place
        self.pair.asks_run(self.begun, previous, self.step.place, brings=ends > self.begun)
        self.pair.commits_run(self.term, commit, place)
        self.begun = ends
        reign.last = max(reign.last, place)
        if ends > reign.end:
            reign.terms.put_run(reign.end + 1, ends, self.term)
            self.lead.configurations.passed(reign.end, ends, self.term)
            reign.end, reign.end_place = ends, place
        if commit > reign.commit:
            reign.commit, reign.commit_place = commit, place


class Results(Talk):
    """Acknowledgements of a follower."""

    def __init__(self, step: Step, lead: Lead, patience_ns: int, sent: Sent, pair: Pair) -> None:
        super().__init__(step, lead, patience_ns)
        self.follower = lead.follower(step.sender or 0)
        self.sent = sent
        self.pair = pair
        self.last = step.fields["last_log_index"]
        self.has_features = step.message.preamble.header_length == _RESULT
        self.shape |= step.message.preamble.header_length << 32
        self.follower.acknowledged = max(self.last, pair.acked(lead.term))

    def takes(self, batch: MessageBatch, row: int) -> bool:
        """Take a row of a batch if it is quiet, and say whether it was."""
        time_ns = batch.times[row]
        if not self.is_soon(time_ns):
            return False
        if batch.shapes[row] != self.shape or batch.word0[row] != self.term or batch.word1[row]:
            return False
        last = batch.word2[row]
        most = self.follower.sent
        if most < 0 or last < self.last or last > most:
            return False
        if self.has_features and batch.word3[row] & _UNUSED:
            return False
        kind = int(last > self.last)
        if not self.kinds >> kind & 1:
            return False
        self.last = last
        self.follower.acknowledged = last
        self.next(row, kind, time_ns)
        return True

    def tell(self, batch: MessageBatch, row: int, place: Place) -> None:
        """Learn the rest of them, of which the last one is at a row."""
        line, sent, last = self.line, self.sent, batch.word2[row]
        if last > line.matched:
            line.matched, line.matched_place = last, place
        self.pair.accepts(self.term, last, place)
        if last > sent.matched:
            sent.matched, sent.acknowledged = last, place
        sent.heard = place if sent.heard is None else max(sent.heard, place)


class Quiet:
    """Takes the quiet messages of one cluster, and tells the groups of the last ones."""

    def __init__(
        self, knowledge: Knowledge, judge: Judge, groups: Iterable[Group], told: Callable[[Message], None]
    ) -> None:
        """`told` is called with messages that are to be told to the groups after all."""
        self._knowledge = knowledge
        self._judge = judge
        self._groups = groups
        self._told = told
        self._talks: dict[Stream | None, Talk] = {}
        self._leads: dict[tuple[int, int], Lead] = {}  # by leader and term
        self._waiting = False
        self._expected: tuple[int, Sample] | None = None
        """What decides how the rules end for the message that is told after all, and how.

        What came behind it on other connections is known by now, so that may be another kind than in its place.
        """

    def take_rows(self, batch: MessageBatch, row: int, end: int) -> int:
        """Take rows of a batch from `row` on, before `end`, while they are quiet; give the first that is not."""
        talks, judge = self._talks, self._judge
        due_ns = judge.due_ns
        while row < end and batch.is_whole(row):
            talk = talks.get(batch.streams[row])
            if talk is None or batch.times[row] >= due_ns or not talk.takes(batch, row):
                break
            self._waiting = True
            row += 1
        return row

    def tell(self, batch: MessageBatch) -> None:
        """Learn from what was passed over, and tell the last quiet message of each connection."""
        if not self._waiting:
            return
        self._waiting = False
        talks = sorted((talk for talk in self._talks.values() if talk.row >= 0), key=_row_of)
        for talk in talks:
            if talk.passed:
                talk.learn(batch)
                self._count(batch, talk)
        waiting = [(talk.row, talk.kind, talk.samples[talk.kind]) for talk in talks]
        for talk in talks:
            talk.row, talk.passed = -1, 0
        for row, kind, sample in waiting:
            self._expected = kind, sample
            self._told(batch.message(row))
            self._expected = None

    def _count(self, batch: MessageBatch, talk: Talk) -> None:
        for kind, sample in talk.samples.items():
            if talk.counts[kind]:
                self._judge.repeat(sample, talk.counts[kind])
                talk.counts[kind] = 0
        for group in self._groups:
            group.passed(talk.step, talk.passed)
        if talk.leaked or talk.padded:
            row = talk.leaked_row
            last = Place(batch.times[row], batch.frames[row], batch.file)
            for group in self._groups:
                group.passed_leaks(talk.step, "entry", talk.padded, last)
                group.passed_leaks(talk.step, "trailer", talk.leaked, last)
            talk.leaked, talk.padded = {}, {}

    def end(self) -> None:
        """Something happens that is not quiet: what was known of all connections is known no more."""
        self._talks.clear()
        self._leads.clear()

    def kind(self, step: Step) -> int:
        """What decides how the rules end for a message that could be quiet, before anything is learned from it."""
        line, fields = step.line, step.fields
        if step.type == _APPEND_ENTRIES:
            reign = self._knowledge.reigns.of(step.sender or 0, step.term or 0)
            if reign is None or step.ends is None or line.ends_term != step.term or not _is_plain(step):
                return _NONE
            entries = fields["n_entries"]
            kind = entries * 4 + 2 * (fields.get("leader_commit", -1) > reign.commit)
            kind += _STALE * (_is_stale(step.message.header, entries))
            return kind + (step.ends > reign.end) + 8 * (step.ends <= reign.commit) if entries else kind
        if line.matched_term != step.term or "last_log_index" not in fields:
            return _NONE
        return int(fields["last_log_index"] > line.matched)

    def hears(self, step: Step, kind: int, sample: Sample | None) -> None:
        """A message was told, and this is how the rules ended for it: what follows it may be quiet."""
        stream = step.message.stream
        if self._expected is not None and self._expected[0] != kind and sample is not None:
            self._judge.repeat(sample, -1)
            self._judge.repeat(self._expected[1], 1)
            kind = _NONE
        known = self._talks.get(stream)
        talk = None if sample is None else self._begin(step)
        if talk is None or sample is None:
            if known is not None or step.type not in (_APPEND_ENTRIES, _APPEND_ENTRIES_RESULT):
                self.end()
            return
        if known is not None and known.lead is talk.lead:
            talk.samples, talk.kinds = known.samples, known.kinds
        if kind != _NONE:
            talk.samples[kind] = sample
            talk.kinds |= 1 << kind
        self._talks[stream] = talk

    def _begin(self, step: Step) -> Talk | None:
        """What may go on quietly behind a message; None if nothing may."""
        fields, message = step.fields, step.message
        if step.sender is None or step.receiver is None or step.term is None or not step.whole or message.changes:
            return None
        if message.missing or max(step.sender, step.receiver, *fields.values()) >= LARGEST:
            return None
        asks = step.type == _APPEND_ENTRIES
        if not asks and (step.type != _APPEND_ENTRIES_RESULT or fields["rejected"]):
            return None
        leader, follower = (step.sender, step.receiver) if asks else (step.receiver, step.sender)
        lead = self._lead(leader, step.term)
        pair = self._knowledge.pairs.of(leader, follower)
        sent = self._knowledge.reigns.sent(leader, follower, step.term)
        if lead is None or pair is None or sent is None or step.line.highest_term != step.term:
            return None
        if max(sent.highest, pair.acked(step.term)) >= LARGEST:
            return None
        patience = [group.patience_ns(step) for group in self._groups]
        if None in patience:
            return None
        longest = min(one for one in patience if one is not None)
        return (Appends if asks else Results)(step, lead, longest, sent, pair)

    def _lead(self, leader: int, term: int) -> Lead | None:
        knowledge = self._knowledge
        reign, latest = knowledge.reigns.of(leader, term), knowledge.configurations.latest
        if reign is None or max(reign.end, reign.commit) >= LARGEST:
            return None
        if knowledge.terms.highest() > term or (latest and latest.conf_index > reign.commit):
            return None
        lead = self._leads.get((leader, term))
        if lead is None:
            lead = self._leads[leader, term] = Lead(reign, knowledge)
        lead.end, lead.commit = max(lead.end, reign.end), max(lead.commit, reign.commit)
        return lead


def _word(batch: MessageBatch, row: int, offset: int) -> int:
    """The word at a place of a header."""
    at = batch.headers[row] + offset
    word: int
    if batch.headers[row] < 0:
        word = _unpack_word(batch.message(row).header, offset)[0]
    elif COMPILED:
        word = octets.u64le(batch.view, at)
    else:
        word = _unpack_word(batch.buffer, at)[0]
    return word


def _padding(batch: MessageBatch, row: int) -> int:
    """The three bytes behind the type of the only entry."""
    return _word(batch, row, _FIRST_ENTRY + _WORD) >> 8 & 0xFFFFFF


def _is_plain(step: Step) -> bool:
    """Whether AppendEntries have no more than a command."""
    entries = step.entries
    if len(entries) != step.fields["n_entries"] or len(entries) > 1:
        return False
    return not entries or entries[0].type == _COMMAND


def _is_stale(header: bytes, entries: int) -> bool:
    """Whether bytes without a meaning are not zero in the header of AppendEntries with at most one entry."""
    return header[-_WORD:] != _NOTHING or (entries > 0 and header[-15:-12] != _NOTHING[:3])


def _row_of(talk: Talk) -> int:
    return talk.row
