"""LT: leadership transfers: TimeoutNow to one voter that has the whole log, and what follows from it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.audit.group import Group
from raft_dissect.audit.judge import GRACE_NS, NEVER_NS, Subject
from raft_dissect.audit.knowledge.bounded import put
from raft_dissect.audit.rule import Rule
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect.audit.judge import Judge
    from raft_dissect.audit.knowledge import Knowledge
    from raft_dissect.audit.knowledge.lines import Line
    from raft_dissect.audit.step import Step
    from raft_dissect.audit.verdicts import Reason
    from raft_dissect.values import Place, StreamEnd

TO_VOTER = Rule(
    "LT-01",
    "TimeoutNow goes to another voter",
    "error",
    "TimeoutNow goes to another server than the leader itself, which is a voter.",
    "thesis 3.10",
    "TimeoutNow, and the voters.",
    "The configuration counts that is in force at the end of the log which TimeoutNow names; where it is not known, "
    "whom the leader asked for votes. That only the leader of a term sends it is for EL-01.",
    "Leader 1 sends TimeoutNow in term 3 to server 4, which is no voter.",
)
CAUGHT_UP = Rule(
    "LT-02",
    "The target of a transfer has the whole log",
    "warning",
    "The target of TimeoutNow acknowledges the last entry that it names in the leader's term.",
    "thesis 3.10; releases since v0.18.0, cowsql since v0.22.0",
    "TimeoutNow, and all results of its target to the leader.",
    "Whether the acknowledgement comes before TimeoutNow or crosses it does not matter: a target that stands for "
    "election before it has stored the entry never gives it. Not evaluated when results may be missing.",
    "Leader 1 sends TimeoutNow in term 3 to server 2, which has not acknowledged entry 44.",
)
FOLLOWED = Rule(
    "LT-03",
    "The target of a transfer stands for election",
    "warning",
    "After TimeoutNow its target sends the leader RequestVote of a higher term with disrupt_leader, which is no "
    "pre-vote.",
    "thesis 3.10",
    "TimeoutNow, and all that its target sends to the leader afterwards.",
    "Messages are waited for as long as an election may take. Not evaluated when some may be missing.",
    "Server 2 ignores TimeoutNow of leader 1 in term 3: it has acknowledged only up to entry 40 of 44.",
)
QUIET = Rule(
    "LT-04",
    "No new entries during a transfer",
    "warning",
    "For three heartbeats after TimeoutNow the leader sends its target no entries behind the last one that it names.",
    "thesis 3.10",
    "TimeoutNow and AppendEntries behind it on the same connection.",
    "A transfer is given up after an election timeout, which is longer than three heartbeats.",
    "Leader 1 sends entry 45 to server 2 in term 3, 120 ms after TimeoutNow for a log up to 44 (frame 881).",
)
ONE_TARGET = Rule(
    "LT-05",
    "One target at a time",
    "error",
    "A leader sends TimeoutNow to no two servers within one heartbeat.",
    "thesis 3.10",
    "Two TimeoutNow of one leader in one term.",
    "A transfer is given up after an election timeout, which is longer than three heartbeats. What TCP sent again "
    "comes late, so the message before each TimeoutNow must have come within a heartbeat and a half.",
    "Leader 1 sends TimeoutNow in term 3 to server 3, 10 ms after server 2 (frame 881).",
)
RULES = (TO_VOTER, CAUGHT_UP, FOLLOWED, QUIET, ONE_TARGET)

_MAX = 1024
"""Transfers that are remembered."""
_WAIT = 5
"""Heartbeats behind TimeoutNow that must be in the capture: a target stands for election at once."""
_PATIENCE = 30
"""Heartbeats that a target has to stand for election."""


class Handover(NamedTuple):
    """A TimeoutNow message."""

    leader: int
    target: int
    term: int
    last: tuple[int, int] | None
    """(term, index) of the leader's last entry."""
    place: Place
    since: int | None
    """Nanoseconds since the message before it on its connection; None if it is the first."""
    sure: bool

    def subject(self) -> Subject:
        """The leader as whom a finding is about."""
        return Subject(self.leader, self.target, self.term, None if self.last is None else self.last[1])


class Transfers(Group):
    """Judges TimeoutNow messages and their effect."""

    def __init__(self, knowledge: Knowledge, judge: Judge) -> None:
        super().__init__(knowledge, judge)
        self._latest: dict[tuple[int, int], Handover] = {}  # by leader and term
        self._on: dict[int, Handover] = {}  # by number of the stream
        self._spoke: dict[Handover, tuple[Place, int]] = {}  # the first AppendEntries behind it with new entries
        self._cut: dict[int, int] = {}  # by candidate: the term of the last request whose flags were not captured
        self._stood: dict[int, dict[int, bool]] = {}  # by candidate: terms with disrupt_leader, and if for real

    def message(self, step: Step) -> None:
        """A message, complete or partial."""
        if step.type == table.TIMEOUT_NOW:
            self._hands_over(step)
        elif step.type == table.REQUEST_VOTE and (step.fields.get("disrupt_leader") or not step.whole):
            self._stands(step)
        elif step.type == table.APPEND_ENTRIES and self._on:
            self._appends(step)

    def patience_ns(self, step: Step) -> int | None:
        """How long after a message another one like it may come without being told; None if all must be told."""
        return None if step.line.stream.number in self._on else NEVER_NS

    def _hands_over(self, step: Step) -> None:
        if step.sender is None or step.receiver is None or step.term is None:
            reason: Reason = "cut_short" if step.known else "unknown_server"
            for rule in RULES:
                self.judge.skip(rule, reason)
            return
        fields, place = step.fields, step.place
        last = (fields["last_log_term"], fields["last_log_index"]) if "last_log_term" in fields else None
        since = place.time_ns - step.line.last.time_ns if step.line.messages else None
        handover = Handover(step.sender, step.receiver, step.term, last, place, since, step.sure)
        other = self._latest.get((step.sender, step.term))
        put(self._latest, (step.sender, step.term), handover, _MAX)
        put(self._on, step.line.stream.number, handover, _MAX)
        self.judge.later(partial(self._one_target, handover, other), place)
        self.judge.later(partial(self._to_voter, handover), place)
        self.judge.later(partial(self._caught_up, handover), place)
        self.judge.later(partial(self._quiet, handover, step.line), place, 2 * GRACE_NS)
        heartbeat = self.knowledge.timers.pace_ns(step.sender)
        patience = GRACE_NS if heartbeat is None else max(GRACE_NS, _PATIENCE * heartbeat)
        self.judge.later(partial(self._followed, handover), place, patience)

    def _one_target(self, handover: Handover, other: Handover | None) -> None:
        if other is None or other.target == handover.target:
            self.judge.hold(ONE_TARGET)
            return
        heartbeat = self.knowledge.timers.pace_ns(handover.leader)
        elapsed = abs(handover.place.time_ns - other.place.time_ns)
        waited = [each.since for each in (handover, other)]
        if heartbeat is None or any(since is None or since > 3 * heartbeat // 2 for since in waited):
            self.judge.skip(ONE_TARGET, "begun_midway")
        elif elapsed > heartbeat:
            self.judge.hold(ONE_TARGET)
        else:
            self.judge.find(
                ONE_TARGET,
                handover.place,
                f"Leader {handover.leader} sends TimeoutNow in term {handover.term} to server {handover.target}, "
                f"{elapsed / 1e6:.0f} ms after server {other.target} (frame {other.place.frame}).",
                handover.subject(),
                sure=handover.sure and other.sure,
                evidence=(other.place,),
                about=handover.term,
            )

    def _to_voter(self, handover: Handover) -> None:
        voters = self.knowledge.configurations.voters(-1 if handover.last is None else handover.last[1])
        asked = self.knowledge.votes.asked(handover.leader, handover.target, handover.term) is not None
        if handover.target != handover.leader and (handover.target in voters or (asked and not voters)):
            self.judge.hold(TO_VOTER)
        elif not voters and handover.target != handover.leader:
            self.judge.skip(TO_VOTER, "unknown_voters")
        else:
            what = "itself" if handover.target == handover.leader else f"server {handover.target}, which is no voter"
            self.judge.find(
                TO_VOTER,
                handover.place,
                f"Leader {handover.leader} sends TimeoutNow in term {handover.term} to {what}.",
                handover.subject(),
                sure=handover.sure,
                about=handover.term,
            )

    def _quiet(self, handover: Handover, line: Line) -> None:
        heartbeat = self.knowledge.timers.pace_ns(handover.leader)
        if heartbeat is None or handover.last is None:
            self.judge.skip(QUIET, "begun_midway" if heartbeat is None else "cut_short")
            return
        spoke = self._spoke.get(handover)
        elapsed = None if spoke is None else spoke[0].time_ns - handover.place.time_ns
        if spoke is not None and elapsed is not None and 0 <= elapsed <= 3 * heartbeat:
            self.judge.find(
                QUIET,
                spoke[0],
                f"Leader {handover.leader} sends entry {spoke[1]} to server {handover.target} in term {handover.term}, "
                f"{elapsed / 1e6:.0f} ms after TimeoutNow for a log up to {handover.last[1]} (frame "
                f"{handover.place.frame}).",
                Subject(handover.leader, handover.target, handover.term, spoke[1]),
                evidence=(handover.place,),
                about=handover.term,
            )
        elif line.lost is not None and line.lost >= handover.place:
            self.judge.skip(QUIET, "gap")
        else:
            self.judge.hold(QUIET)

    def _matched(self, handover: Handover) -> int:
        """Up to where the target has acknowledged the leader's log; -1 if it has not."""
        sent = self.knowledge.reigns.sent(handover.leader, handover.target, handover.term)
        return -1 if sent is None else sent.matched

    def _caught_up(self, handover: Handover) -> None:
        if handover.last is None:
            self.judge.skip(CAUGHT_UP, "cut_short")
            return
        index, place = handover.last[1], handover.place
        if self._matched(handover) >= index:
            self.judge.hold(CAUGHT_UP)
            return
        reign = self.knowledge.reigns.of(handover.leader, handover.term)
        if reign is None:
            self.judge.skip(CAUGHT_UP, "forgotten")
            return
        began = min(reign.first, place)
        reason = self.knowledge.lines.misses(handover.target, handover.leader, began.time_ns, place)
        if reason is not None:
            self.judge.skip(CAUGHT_UP, reason)
            return
        self.judge.find(
            CAUGHT_UP,
            place,
            f"Leader {handover.leader} sends TimeoutNow in term {handover.term} to server {handover.target}, which has "
            f"not acknowledged entry {index}.",
            handover.subject(),
            about=handover.term,
        )

    def _stands(self, step: Step) -> None:
        if step.sender is None or step.term is None:
            return
        if "disrupt_leader" not in step.fields:
            put(self._cut, step.sender, step.term, _MAX)
            return
        terms = self._stood.get(step.sender, {})
        real = not step.fields.get("pre_vote")
        put(terms, step.term, terms.get(step.term, False) or real, _MAX)
        put(self._stood, step.sender, terms, _MAX)

    def _followed(self, handover: Handover) -> None:
        stood = [real for term, real in self._stood.get(handover.target, {}).items() if term > handover.term]
        if any(stood):
            self.judge.hold(FOLLOWED)
            return
        place, target = handover.place, handover.target
        heartbeat = self.knowledge.timers.pace_ns(handover.leader)
        until = place._replace(time_ns=place.time_ns + (GRACE_NS if heartbeat is None else _WAIT * heartbeat))
        reason = self.knowledge.lines.misses(target, handover.leader, place.time_ns, until)
        if self._cut.get(target, -1) > handover.term:
            reason = "cut_short"
        if reason is not None:
            self.judge.skip(FOLLOWED, reason)
            return
        if stood:
            message = f"answers TimeoutNow of leader {handover.leader} in term {handover.term} with pre-votes only"
        else:
            message = f"ignores TimeoutNow of leader {handover.leader} in term {handover.term}{self._why(handover)}"
        self.judge.find(FOLLOWED, place, f"Server {target} {message}.", handover.subject(), about=handover.term)

    def _why(self, handover: Handover) -> str:
        if handover.last is None:
            return ""
        index = handover.last[1]
        matched = self._matched(handover)
        voters = self.knowledge.configurations.voters(index)
        if voters and handover.target not in voters:
            return ": it is no voter"
        if -1 < matched < index:
            return f": it has acknowledged only up to entry {matched} of {index}"
        return ""

    def _appends(self, step: Step) -> None:
        handover = self._on.get(step.line.stream.number)
        if handover is None or step.term != handover.term or step.ends is None or handover.last is None:
            return
        if step.fields.get("n_entries") and step.ends > handover.last[1] and handover not in self._spoke:
            put(self._spoke, handover, (step.place, step.ends), _MAX)

    def closed(self, line: Line, place: Place, reason: StreamEnd) -> None:
        """A connection ended."""
        del place, reason
        self._on.pop(line.stream.number, None)
