"""SN: snapshots say what the log says, arrive, are answered, and are not sent more often than they help."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from raft_dissect.audit.group import Group
from raft_dissect.audit.judge import NEVER_NS, Subject
from raft_dissect.audit.knowledge.snapshots import answers
from raft_dissect.audit.rule import Rule
from raft_dissect.units import duration
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect.audit.judge import Judge
    from raft_dissect.audit.knowledge import Knowledge
    from raft_dissect.audit.knowledge.configurations import Configured
    from raft_dissect.audit.knowledge.lines import Line
    from raft_dissect.audit.knowledge.reigns import Reign
    from raft_dissect.audit.knowledge.snapshots import Transfer
    from raft_dissect.audit.step import Step
    from raft_dissect.audit.verdicts import Reason
    from raft_dissect.cluster.facts import ClusterFacts
    from raft_dissect.values import Diagnostic, Place, StreamEnd, TransportEvent

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

CONTENT = Rule(
    "SN-01",
    "A snapshot says what the log says",
    "error",
    "Of a snapshot, last_index is committed: the next AppendEntries of its term behind it on the same connection has "
    "a leader_commit that is not lower. last_term is the term of that entry in the leader's log, conf_index is not "
    "behind last_index, and the configuration is the one that the last change up to last_index made.",
    "Raft 7, figure 13",
    "InstallSnapshot, and for each part of the statement the entry, the change or the AppendEntries that it is "
    "compared with.",
    "The commit index is compared on one connection and in one term, where the order is certain. Entries and changes "
    "count only if this leader sent them in this term, or if they are known to be committed.",
    "Leader 1 sends a snapshot up to 40 with last_term 3; its log has term 2 there.",
)
AGAIN = Rule(
    "SN-02",
    "A snapshot is not sent again before it is answered",
    "warning",
    "A leader does not send a follower the same snapshot again on the same connection within 30 seconds, C-Raft's "
    "install-snapshot timeout, unless the follower has answered.",
    "C-Raft since 0.10.1; 0.9 and 0.10.0 have no or a shorter timeout",
    "InstallSnapshot, and the connection that its answer would come on.",
    "Answers may come out of their stream late, so it is decided three seconds later.",
    "Leader 1 sends server 2 the snapshot up to 40 again after 3 ms, before it was answered.",
)
BLIND = Rule(
    "SN-03",
    "A snapshot is not sent to a server that never answers",
    "warning",
    "Before a leader sends a follower a second snapshot on one connection, it has heard of the follower since that "
    "connection was opened, and within the last election timeout.",
    "C-Raft since 0.11.2",
    "Two InstallSnapshot of one term on one connection that begins in the capture, and the connection that the "
    "follower answers on, or answers of another follower.",
    "One snapshot may have waited for the connection. The election timeout is taken as ten heartbeat intervals. "
    "Decided three seconds later, and only where the capture would show an answer.",
    "Leader 1 sends server 2 a second snapshot (the first in frame 881), and has heard nothing of it since frame 870.",
)
HEARTBEATS = Rule(
    "SN-04",
    "Heartbeats go on while a snapshot is installed",
    "warning",
    "While a follower takes longer than three heartbeat intervals to answer a snapshot, and the leader goes on to "
    "lead, it sends the follower AppendEntries within three intervals.",
    "C-Raft since 0.10.1",
    "An InstallSnapshot, its answer or later messages of the leader, and the heartbeat interval.",
    "The interval is inferred. Only the connection of the snapshot is looked at, from the end of the snapshot on.",
    "Leader 1 sends server 2 nothing for 2.3 s after the snapshot up to 40, with heartbeats every 100 ms.",
)
COMPLETE = Rule(
    "SN-05",
    "A snapshot arrives whole",
    "warning",
    "InstallSnapshot is not cut off by the end of its connection.",
    "C-Raft sends a snapshot in one message, and nothing of it is of use when it is cut",
    "InstallSnapshot.",
    "Where the capture ends first, or packets are missing from it, nothing is said.",
    "The snapshot from leader 1 to server 2 was cut off after 40,000 of 65,632 bytes: the connection was reset.",
)
ANSWER = Rule(
    "SN-06",
    "Who accepts a snapshot has what it holds",
    "warning",
    "The result with which a follower accepts a snapshot has a last_log_index that is not before the snapshot's last "
    "index.",
    "C-Raft; cowsql answers a snapshot that it already has with 0",
    "InstallSnapshot while no AppendEntries waits for its result, and a result before the next AppendEntries; or a "
    "result that covers the snapshot.",
    "Results do not say what they answer, so a lower one counts only where nothing else waits for one.",
    "Server 2 accepts the snapshot up to 40 of leader 1 with last_log_index 12.",
)
SAME = Rule(
    "SN-07",
    "One snapshot is the same for everybody",
    "warning",
    "Two snapshots of one leader up to the same entry hold the same bytes.",
    "Raft 5.4.3: State Machine Safety",
    "Two InstallSnapshot of one leader with the same last_index and last_term, and the CRC-32 of what they hold.",
    "Only snapshots of one leader are compared, which stores each of them once, and only those that are in the capture "
    "to the last byte.",
    "Leader 1 sent two different snapshots up to entry 40 of term 3.",
)
INSTALLING = Rule(
    "SN-08",
    "Who installs a snapshot asks for no votes",
    "warning",
    "Between a snapshot that it accepts and its answer a follower sends no RequestVote.",
    "C-Raft since 0.17.1",
    "InstallSnapshot and the answer that accepts it, on a connection that was there before.",
    "A request in the first heartbeat interval may have been sent before the snapshot arrived. Where TCP had to send a "
    "part of the snapshot again it may have arrived late, so that one is not judged.",
    "Server 2 asks for votes 1.2 s after it was sent the snapshot up to 40 (frame 881), which it accepts later.",
)
TRAILING = Rule(
    "SN-09",
    "A follower that is a little behind needs no snapshot",
    "note",
    "The log of a follower that is sent a snapshot ends more than 128 entries before the snapshot's last index; so "
    "many are kept by each release that is not told otherwise.",
    "C-Raft's snapshot_trailing",
    "InstallSnapshot, and a rejection of the follower in the same term before it.",
    "The rejection's last_log_index may be too low, never too high; the end of the leader's log does not matter.",
    "Server 2 is sent a snapshot up to 140 although it has all but the last 40 of these entries.",
)
RULES = (CONTENT, AGAIN, BLIND, HEARTBEATS, COMPLETE, ANSWER, SAME, INSTALLING, TRAILING)

_TIMEOUT_NS = 30_000_000_000
_FEW_INTERVALS = 3
_SHORT_LOG = 128
_MAX_KNOWN = 256
"""Snapshots, or pairs of servers, of which something is remembered; the first are forgotten first."""
_ENDS = {"fin": "its connection was closed", "rst": "its connection was reset", "reused": "its connection was replaced"}


class _Content(NamedTuple):
    """What one leader sent as the snapshot up to an entry."""

    size: int | None
    digest: int | None
    place: Place


class Snapshots(Group):
    """Judges snapshots."""

    def __init__(self, knowledge: Knowledge, judge: Judge) -> None:
        super().__init__(knowledge, judge)
        self._known: dict[tuple[int, int, int], _Content] = {}  # by leader, last term and last index
        self._waiting: dict[tuple[int, int], list[int]] = {}  # term, and AppendEntries without a result in it
        self._hints: dict[tuple[int, int], tuple[int, int]] = {}  # term and last_log_index of the last rejection
        self._resent: dict[int, Place] = {}  # the last segment of a stream that was sent again
        self._cut: tuple[Line, Diagnostic] | None = None

    def message(self, step: Step) -> None:
        """A message, complete or partial."""
        if step.type == table.INSTALL_SNAPSHOT:
            self._snapshot(step)
        elif step.type == table.APPEND_ENTRIES:
            self._append(step)
        elif step.type == table.APPEND_ENTRIES_RESULT:
            self._result(step)

    def patience_ns(self, step: Step) -> int | None:
        """How long after a message another one like it may come without being told; None if all must be told."""
        if step.sender is None or step.receiver is None:
            return None
        asks = step.type == table.APPEND_ENTRIES
        pair = (step.sender, step.receiver) if asks else (step.receiver, step.sender)
        last = self.knowledge.snapshots.last(*pair)
        over = last is None or (last.appends is not None and not self.knowledge.snapshots.pending(*pair))
        return NEVER_NS if over else None

    def passed(self, step: Step, times: int) -> None:
        """So many messages like one that was told have not been told."""
        asks = step.type == table.APPEND_ENTRIES
        pair = (step.sender, step.receiver) if asks else (step.receiver, step.sender)
        waiting = self._waiting.get((pair[0] or 0, pair[1] or 0))
        if waiting is not None and waiting[0] == step.term:
            waiting[1] = max(0, waiting[1] + (times if asks else -times))

    def _snapshot(self, step: Step) -> None:
        if step.sender is None or step.receiver is None:
            self._skip("unknown_server", CONTENT, AGAIN, BLIND, ANSWER, SAME, TRAILING)
            return
        if "conf_index" not in step.fields:
            self._skip("cut_short", CONTENT, AGAIN, BLIND, ANSWER, SAME, TRAILING)
            return
        self._configured(step)
        self.judge.later(partial(self._content, step, step.sender), step.place)
        if step.message.missing == 0:
            self.judge.hold(COMPLETE)
        else:
            self.judge.skip(COMPLETE, "cut_short")
        before = self.knowledge.snapshots.last(step.sender, step.receiver)
        self._again(step, before, step.sender, step.receiver)
        self._same(step, step.sender)
        if before is None or (before.term, before.last_index) != (step.term, step.fields["last_index"]):
            self._trailing(step, step.sender, step.receiver)

    def _skip(self, reason: Reason, *rules: Rule) -> None:
        for rule in rules:
            self.judge.skip(rule, reason)

    # What a snapshot says.

    def _configured(self, step: Step) -> None:
        index, last = step.fields["conf_index"], step.fields["last_index"]
        if index <= last:
            self.judge.hold(CONTENT)
            return
        self.judge.find(
            CONTENT,
            step.place,
            f"Leader {step.sender} sends server {step.receiver} a snapshot up to {last} whose configuration is that of "
            f"entry {index}, behind it.",
            step.subject(last),
            sure=step.sure,
            about="conf_index",
        )

    def _content(self, step: Step, leader: int) -> None:
        """Compare a snapshot with the log, as far as that is known some time later."""
        reign = self.knowledge.reigns.of(leader, step.term or 0)
        index, term = step.fields["last_index"], step.fields["last_term"]
        known = self._term_at(reign, index)
        if known is None:
            self.judge.skip(CONTENT, "begun_midway")
        elif known == term:
            self.judge.hold(CONTENT)
        else:
            self.judge.find(
                CONTENT,
                step.place,
                f"Leader {leader} sends server {step.receiver} a snapshot up to {index} with last_term {term}; its log "
                f"has term {known} there.",
                step.subject(index),
                sure=step.sure,
                about="last_term",
            )
        self._configuration(step, leader, reign)

    def _term_at(self, reign: Reign | None, index: int) -> int | None:
        """The term of a leader's entry, which is committed; None when it is not known."""
        term = None if reign is None else reign.terms.get(index)
        if term is not None:
            return term
        committed = self.knowledge.log.committed(index)
        return None if committed is None else committed.term

    def _configuration(self, step: Step, leader: int, reign: Reign | None) -> None:
        """Compare the configuration of a snapshot with the changes that are known up to its end."""
        servers = step.message.configuration
        index, last = step.fields["conf_index"], step.fields["last_index"]
        if servers is None or index > last:
            return
        changes = [
            change
            for change in self.knowledge.configurations
            if index <= change.conf_index <= last
            and change.term is not None
            and self._term_at(reign, change.conf_index) == change.term
        ]
        wrong = next((one for one in changes if one.conf_index > index or set(one.servers) != set(servers)), None)
        if wrong is None:
            if changes:
                self.judge.hold(CONTENT)
            else:
                self.judge.skip(CONTENT, "begun_midway")
            return
        self._stale(step, leader, wrong)

    def _stale(self, step: Step, leader: int, change: Configured) -> None:
        index, last = step.fields["conf_index"], step.fields["last_index"]
        what = "another one than entry" if change.conf_index == index else f"that of entry {index}, older than entry"
        self.judge.find(
            CONTENT,
            step.place,
            f"Leader {leader} sends server {step.receiver} a snapshot up to {last} with a wrong configuration: {what} "
            f"{change.conf_index} made (frame {change.place.frame}).",
            step.subject(last),
            sure=step.sure,
            evidence=(change.place,),
            about="configuration",
        )

    def _append(self, step: Step) -> None:
        if step.sender is None or step.receiver is None or step.term is None:
            return
        pair = step.sender, step.receiver
        waiting = self._waiting.get(pair)
        if waiting is None or waiting[0] != step.term:
            _remember(self._waiting, pair, [step.term, 1])
        else:
            waiting[1] += 1
        sent = self.knowledge.snapshots.last(*pair)
        if sent is None or sent.appends is not None or sent.line is not step.line or sent.term != step.term:
            return
        commit = step.fields.get("leader_commit")
        if commit is None or sent.last_index < 0:
            self.judge.skip(CONTENT, "cut_short")
        elif commit >= sent.last_index:
            self.judge.hold(CONTENT)
        else:
            self.judge.find(
                CONTENT,
                sent.place,
                f"Leader {step.sender} sends server {step.receiver} a snapshot up to {sent.last_index}, and behind it "
                f"(frame {step.place.frame}) says that only {commit} is committed.",
                Subject(step.sender, step.receiver, step.term, sent.last_index),
                sure=step.sure,
                evidence=(step.place,),
                about="commit",
            )

    # How often it is sent.

    def _again(self, step: Step, before: Transfer | None, leader: int, follower: int) -> None:
        if before is None or before.term != step.term:
            self.judge.hold(AGAIN)
            return
        same = before.fields == step.fields and before.line is step.line
        if not same or before.answered is not None or step.message.first.time_ns - before.place.time_ns > _TIMEOUT_NS:
            self.judge.hold(AGAIN)
        else:
            self.judge.later(partial(self._repeated, step, before, leader, follower), step.place)
        if before.line is step.line:
            self._blind(step, before, leader, follower)

    def _blind(self, step: Step, before: Transfer, leader: int, follower: int) -> None:
        if not step.line.from_start:
            self.judge.skip(BLIND, "begun_midway")
            return
        opened = step.line.first
        lines = self.knowledge.lines.between(follower, leader)
        heard = max((line.last for line in lines if line.messages), default=opened)
        timeout = self.knowledge.timers.election_ns(leader)
        if heard <= opened or (timeout is not None and step.message.first.time_ns - heard.time_ns > timeout):
            since = max(heard, opened)
            self.judge.later(partial(self._unheard, step, before, leader, follower, since), step.place)
        else:
            self.judge.hold(BLIND)

    def _repeated(self, step: Step, before: Transfer, leader: int, follower: int) -> None:
        if before.answered is not None and before.answered.time_ns <= step.message.first.time_ns:
            self.judge.hold(AGAIN)
            return
        reason = self._hidden(follower, leader, before.place.time_ns)
        if reason is not None:
            self.judge.skip(AGAIN, reason)
            return
        elapsed = duration(max(step.message.first.time_ns - before.place.time_ns, 0) / 1e9)
        self.judge.find(
            AGAIN,
            step.place,
            f"Leader {leader} sends server {follower} the snapshot up to {before.last_index} again {elapsed} after it "
            f"(frame {before.place.frame}), before it was answered.",
            step.subject(before.last_index),
            evidence=(before.place,),
            about=(step.term, before.last_index),
        )

    def _unheard(self, step: Step, before: Transfer, leader: int, follower: int, since: Place) -> None:
        reason = self._hidden(follower, leader, since.time_ns)
        if reason == "other_direction" and self._others_answer(leader, follower, step, since.time_ns):
            reason = None
        if reason is not None:
            self.judge.skip(BLIND, reason)
            return
        self.judge.find(
            BLIND,
            step.place,
            f"Leader {leader} sends server {follower} a second snapshot (the first in frame {before.place.frame}), and "
            f"has heard nothing of it since frame {since.frame}.",
            step.subject(before.last_index),
            evidence=(since, before.place),
            about=step.term,
        )

    def _hidden(self, follower: int, leader: int, since_ns: int) -> Reason | None:
        """Why a follower's answers since some time may not be in the capture; None if they are."""
        if self.knowledge.lines.forgets(follower, leader, since_ns):
            return "forgotten"
        lines = [
            line
            for line in self.knowledge.lines.between(follower, leader)
            if line.messages and (line.end is None or line.end.time_ns >= since_ns)
        ]
        if not lines:
            return "other_direction"
        if any(line.lost is not None and line.lost.time_ns >= since_ns for line in lines):
            return "gap"
        return None

    def _others_answer(self, leader: int, follower: int, step: Step, since_ns: int) -> bool:
        """Whether an answer would be in the capture: those of others are, and what this one's TCP acknowledges."""
        reign = self.knowledge.reigns.of(leader, step.term or 0)
        acknowledges = step.line.stream.round_trips is not None
        return (
            acknowledges
            and reign is not None
            and any(
                sent.acknowledged is not None and sent.acknowledged.time_ns >= since_ns
                for other, sent in reign.sent.items()
                if other != follower
            )
        )

    def _same(self, step: Step, leader: int) -> None:
        if step.message.missing != 0 or step.message.payload_length is None:
            self.judge.skip(SAME, "cut_short")
            return
        key = leader, step.fields["last_term"], step.fields["last_index"]
        digests = step.message.digests
        found = _Content(step.message.payload_length, digests[0] if digests else None, step.place)
        known = self._known.get(key)
        if known is None:
            _remember(self._known, key, found)
        elif found.size == known.size and (found.digest is None or known.digest is None):
            self.judge.skip(SAME, "not_hashed")
        elif (found.size, found.digest) == (known.size, known.digest):
            self.judge.hold(SAME)
        else:
            self.judge.find(
                SAME,
                step.place,
                f"Leader {leader} sends two different snapshots up to entry {key[2]} of term {key[1]}, one of them in "
                f"frame {known.place.frame}.",
                step.subject(key[2]),
                evidence=(known.place,),
                about=key,
            )

    def _trailing(self, step: Step, leader: int, follower: int) -> None:
        hint = self._hints.get((follower, leader))
        if hint is None or hint[0] != step.term:
            lines = self.knowledge.lines.between(follower, leader)
            self.judge.skip(TRAILING, "begun_midway" if lines else "other_direction")
            return
        last = step.fields["last_index"]
        behind = last - hint[1]
        if behind > _SHORT_LOG:
            self.judge.hold(TRAILING)
            return
        self.judge.find(
            TRAILING,
            step.place,
            f"Server {follower} is sent a snapshot up to {last} although it "
            + (f"has all but the last {behind} of these entries." if behind > 0 else f"has entries up to {hint[1]}."),
            step.subject(last),
        )

    # What becomes of it.

    def _result(self, step: Step) -> None:
        fields = step.fields
        if step.sender is None or step.receiver is None or step.term is None:
            return
        if "last_log_index" not in fields:
            return
        pair = step.receiver, step.sender
        if fields["rejected"]:
            _remember(self._hints, (step.sender, step.receiver), (step.term, fields["last_log_index"]))
        pending = self.knowledge.snapshots.pending(*pair)
        answered = [transfer for transfer in pending if answers(step, transfer)]
        for transfer in answered:
            self.judge.later(partial(self._over, transfer, *pair), step.place)
        waiting = self._waiting.get(pair, [step.term, 0])
        if answered and not fields["rejected"] and step.term == answered[0].term:
            self.judge.hold(ANSWER, len(answered))
        elif not answered:
            self._accepts(step, pending, waiting[1] if waiting[0] == step.term else 1)
            if waiting[1] and waiting[0] == step.term:
                waiting[1] -= 1

    def _accepts(self, step: Step, pending: list[Transfer], waiting: int) -> None:
        """See whether a low result can only be about a snapshot."""
        index = step.fields["last_log_index"]
        if len(pending) != 1 or waiting or step.fields["rejected"] or not index:
            return
        transfer = pending[0]
        if transfer.appends is not None or transfer.term != step.term or step.place < transfer.place:
            return
        if not (transfer.line.from_start and transfer.line.lost is None and step.line.lost is None):
            self.judge.skip(ANSWER, "gap" if transfer.line.from_start else "begun_midway")
            return
        self.judge.find(
            ANSWER,
            step.place,
            f"Server {step.sender} accepts the snapshot up to {transfer.last_index} of leader {step.receiver} (frame "
            f"{transfer.place.frame}) with last_log_index {index}.",
            step.subject(index),
            evidence=(transfer.place,),
            about=(step.term, transfer.last_index),
        )

    def _over(self, transfer: Transfer, leader: int, follower: int) -> None:
        """A snapshot was answered some time ago."""
        if transfer.answered is None or transfer.answer_line is None:
            return
        if not transfer.whole:
            self.judge.skip(INSTALLING, "cut_short")
            return
        self._silence(transfer, leader, follower, transfer.answered)
        if transfer.answer == "installed":
            self._campaign(transfer, transfer.answered, transfer.answer_line, leader, follower)

    def _silence(self, transfer: Transfer, leader: int, follower: int, until: Place) -> None:
        """See whether a leader sent nothing behind a snapshot, until it was answered or the leader was last heard."""
        heartbeat = self.knowledge.timers.heartbeat_ns(leader)
        if heartbeat is None:
            self.judge.skip(HEARTBEATS, "unknown_timers")
            return
        reign = self.knowledge.reigns.of(leader, transfer.term)
        if reign is None:
            self.judge.skip(HEARTBEATS, "forgotten")
            return
        last_ns = min(until.time_ns, reign.last.time_ns)
        next_ns = last_ns if transfer.appends is None else min(transfer.appends.time_ns, last_ns)
        allowed = _FEW_INTERVALS * heartbeat
        if last_ns - transfer.place.time_ns <= allowed:
            return
        line = transfer.line
        if line.lost is not None and line.lost.time_ns >= transfer.place.time_ns:
            self.judge.skip(HEARTBEATS, "gap")
        elif next_ns - transfer.place.time_ns <= allowed or (line.end is not None and line.end.time_ns <= next_ns):
            self.judge.hold(HEARTBEATS)
        else:
            self.judge.find(
                HEARTBEATS,
                transfer.place,
                f"Leader {leader} sends server {follower} nothing for "
                f"{duration((next_ns - transfer.place.time_ns) / 1e9)} after the snapshot up to {transfer.last_index}, "
                f"with heartbeats every {duration(heartbeat / 1e9)}.",
                Subject(leader, follower, transfer.term, transfer.last_index),
                about=(transfer.term, transfer.last_index),
            )

    def _campaign(self, transfer: Transfer, answered: Place, line: Line, leader: int, follower: int) -> None:
        asked = transfer.asked_votes
        resent = self._resent.get(transfer.line.stream.number)
        if resent is not None and resent.time_ns >= transfer.first.time_ns:
            return
        if asked is None or asked >= answered:
            self.judge.hold(INSTALLING)
            return
        heartbeat = self.knowledge.timers.heartbeat_ns(leader)
        if heartbeat is None:
            self.judge.skip(INSTALLING, "unknown_timers")
        elif line.first > transfer.place:
            self.judge.skip(INSTALLING, "other_direction")
        elif asked.time_ns - transfer.place.time_ns <= heartbeat:
            self.judge.hold(INSTALLING)
        else:
            self.judge.find(
                INSTALLING,
                asked,
                f"Server {follower} asks for votes {duration((asked.time_ns - transfer.place.time_ns) / 1e9)} after it "
                f"was sent the snapshot up to {transfer.last_index} (frame {transfer.place.frame}), which it accepts "
                f"later (frame {answered.frame}).",
                Subject(follower, leader, transfer.term, transfer.last_index),
                evidence=(transfer.place, answered),
                about=(transfer.term, transfer.last_index),
            )

    def transport(self, event: TransportEvent) -> None:
        """Something that TCP did."""
        if event.kind == "retransmission":
            _remember(self._resent, event.stream.number, event.place)

    def diagnostic(self, line: Line, diagnostic: Diagnostic) -> None:
        """A message was cut off: the end of its connection is told next."""
        message = diagnostic.message
        if diagnostic.kind == "unfinished" and message is not None and message.type == table.INSTALL_SNAPSHOT:
            self._cut = line, diagnostic

    def closed(self, line: Line, place: Place, reason: StreamEnd) -> None:
        """A connection ended, perhaps within a snapshot."""
        self._resent.pop(line.stream.number, None)
        cut, self._cut = self._cut, None
        if cut is None or cut[0] is not line or cut[1].message is None:
            return
        message, rest = cut[1].message, cut[1].size
        if reason not in _ENDS:
            self.judge.skip(COMPLETE, "capture_end")
        elif message.missing != rest and message.payload_length is not None:
            self.judge.skip(COMPLETE, "gap")
        elif line.sender is None or line.receiver is None:
            self.judge.skip(COMPLETE, "unknown_server")
        else:
            total = 16 + message.preamble.header_length + (message.payload_length or 0)
            came = f" after {total - rest:,} of {total:,} bytes" if rest is not None else " in its header"
            self.judge.find(
                COMPLETE,
                message.place,
                f"The snapshot from leader {line.sender} to server {line.receiver} was cut off{came}: {_ENDS[reason]}.",
                Subject(line.sender, line.receiver, message.fields.get("term"), message.fields.get("last_index")),
                evidence=(message.first, place),
            )

    def end(self, facts: ClusterFacts) -> None:
        """The capture is over: what was never answered is looked at as far as the leader was heard."""
        if facts.end is None:
            return
        for leader, follower, transfer in self.knowledge.snapshots.unanswered():
            if transfer.whole:
                self._silence(transfer, leader, follower, facts.end)


def _remember(known: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    known[key] = value
    if len(known) > _MAX_KNOWN:
        del known[next(iter(known))]
