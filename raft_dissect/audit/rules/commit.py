"""CM: what leaders call committed is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.audit.group import Group
from raft_dissect.audit.judge import GRACE_NS, Subject
from raft_dissect.audit.knowledge.bounded import put_latest
from raft_dissect.audit.knowledge.runs import Runs
from raft_dissect.audit.rule import Rule
from raft_dissect.audit.rules.names import listed
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect.audit.judge import Judge
    from raft_dissect.audit.knowledge import Knowledge
    from raft_dissect.audit.knowledge.reigns import Reign
    from raft_dissect.audit.step import Step
    from raft_dissect.audit.verdicts import Reason
    from raft_dissect.values import Place

IN_LOG = Rule(
    "CM-01",
    "A leader commits only what is in its log",
    "error",
    "leader_commit is not beyond the last entry that the leader is known to have: by its AppendEntries to anybody in "
    "its term, or by its request for votes.",
    "Raft 5.3, figure 2",
    "All connections of the leader to the other voters since it stood for its term; to find something wrong, the "
    "voters too.",
    "Another voter must have what is committed, so the leader has sent it: only a leader that votes alone may commit "
    "what it has not sent yet. The rule waits for packets that come late, and finds nothing when any are missing.",
    "Leader 1 sends commit index 50 in term 3, while its log is known to end at 44.",
)
MAJORITY = Rule(
    "CM-02",
    "A leader commits what a majority has acknowledged",
    "error",
    "When leader_commit names an entry of the leader's own term, a majority of the voters has acknowledged it in that "
    "term; the leader counts itself.",
    "Raft 5.3, 5.4.2, figure 2",
    "The configuration, the entry, and the results of the voters.",
    "Capture points may have different clocks, so an acknowledgement counts as late only where the follower has "
    "acknowledged less after it was told of the commit index, and all within three seconds. Of those that are missing "
    "the capture must prove that they were not sent. All configurations count that the leader may have used, and what "
    "it inherited from earlier leaders is no subject.",
    "Leader 1 sends commit index 44 in term 3, which of the voters 1, 2 and 3 only 1 can have: the others have not "
    "acknowledged it.",
)
OWN_TERM = Rule(
    "CM-03",
    "A leader counts only entries of its own term",
    "error",
    "When a leader's commit index grows in its term, the entry that it names has that term.",
    "Raft 5.4.2, figure 8",
    "Two values of leader_commit of one leader in one term, and the entry at the higher one.",
    "The first commit index of a leader is inherited. Of two different ones in a term the higher was reached by "
    "counting, so the order of packets does not matter. Releases before v0.17.1 count entries of earlier terms (B5).",
    "Leader 1 raises its commit index from 38 to 40 in term 3, where entry 40 has term 2.",
)
BARRIER = Rule(
    "CM-04",
    "A new leader commits nothing before an entry of its own",
    "error",
    "A leader's commit index grows in its term only to an entry behind all those of earlier terms that are known to be "
    "in its log.",
    "Raft 5.4.2, 8",
    "Two values of leader_commit of one leader in one term, and an entry of an earlier term behind the higher one.",
    "As CM-03, which judges where the entry itself is known. A note where the leader's release is not known to have "
    "the rule (v0.17.1 and later).",
    "Leader 1 raises its commit index from 38 to 40 in term 3, while its log has entries of term 2 up to 44.",
)
EXPOSED = Rule(
    "CM-05",
    "A commit index reaches no entries that were not checked",
    "warning",
    "leader_commit is not beyond the entries that AppendEntries bring or follow, where the follower is known to have "
    "other entries than the leader there.",
    "Raft 5.3, figure 2: min(leaderCommit, index of last new entry); cowsql/raft v0.21.0 and later do so",
    "What the follower has acknowledged to an earlier leader, and those entries of both leaders.",
    "Both leaders must have shown the term of the first entry behind the request, and they must differ; followers "
    "that announce features take no more than they were sent.",
    "Leader 3 sends server 2 commit index 45 behind entry 40 in term 5, where server 2 has other entries behind 40.",
)
FORWARD = Rule(
    "CM-06",
    "The commit index goes on where it was under a new leader",
    "note",
    "A new leader's commit index reaches the highest one of earlier leaders within three seconds.",
    "Raft 5.4.2, 8: a new leader learns what is committed with its first own entry",
    "A leader_commit of an earlier leader, and three seconds of a new one.",
    "It may begin lower, so it is given time. Whether its log has the committed entries is judged by others.",
    "Leader 3 of term 5 has commit index 40 after 3 s, where leader 1 of term 4 had 44 (frame 881).",
)
RULES = (IN_LOG, MAJORITY, OWN_TERM, BARRIER, EXPOSED, FORWARD)

_MAX_SERVERS = 4096
_OLD_RESULT = 24
"""Bytes of the header of a result as releases before v0.18.0 send it."""
_COWSQL = 2
"""The version of a result that has features of 16 bits."""


class _Tail(NamedTuple):
    """What a follower acknowledged last to the leader of the highest term."""

    leader: int
    term: int
    log_index: int
    place: Place


class _Commit(NamedTuple):
    """A leader's commit index in its term, where it grew."""

    leader: int
    follower: int
    term: int
    log_index: int
    place: Place
    sure: bool


class Commit(Group):
    """Judges the commit indexes of leaders."""

    def __init__(self, knowledge: Knowledge, judge: Judge) -> None:
        super().__init__(knowledge, judge)
        self._stood: dict[tuple[int, int], int] = {}  # last index of a candidate, by server and term
        self._modern: set[int] = set()  # servers whose release counts entries of their own term alone
        self._capped: set[int] = set()  # servers that do not take a commit index beyond what they were sent
        self._tails: dict[int, _Tail] = {}
        self._highest: tuple[int, int, int, Place] | None = None  # commit index, leader, term
        self._behind: tuple[int, int] = -1, -1  # the latest reign that was found to begin lower

    def message(self, step: Step) -> None:
        """A message, complete or partial."""
        if step.type == table.APPEND_ENTRIES:
            self._append(step)
        elif step.type == table.REQUEST_VOTE:
            self._candidate(step)
        elif step.type == table.APPEND_ENTRIES_RESULT:
            self._result(step)

    def _candidate(self, step: Step) -> None:
        last = step.fields.get("last_log_index")
        if step.real and last is not None and step.sender is not None and step.term is not None:
            key = step.sender, step.term
            put_latest(self._stood, key, max(last, self._stood.get(key, -1)))

    def _result(self, step: Step) -> None:
        fields, server = step.fields, step.sender
        if server is None or step.receiver is None or step.term is None or "last_log_index" not in fields:
            return
        if len(self._tails) < _MAX_SERVERS:
            new = step.message.preamble.header_length > _OLD_RESULT
            (self._modern.add if new else self._modern.discard)(server)
            cowsql = step.message.preamble.version >= _COWSQL and fields.get("features", 0) & 1
            (self._capped.add if cowsql else self._capped.discard)(server)
        if fields.get("rejected"):
            return
        tail, last = self._tails.get(server), fields["last_log_index"]
        if tail is None or tail.term <= step.term:
            self._tails[server] = _Tail(step.receiver, step.term, last, step.place)
            if len(self._tails) > _MAX_SERVERS:
                del self._tails[next(iter(self._tails))]

    def _append(self, step: Step) -> None:
        index, ends, leader, term = step.fields.get("leader_commit"), step.ends, step.sender, step.term
        if index is None or ends is None or term is None:
            self.judge.skip(IN_LOG, "cut_short")
            return
        if leader is None or step.receiver is None:
            self.judge.skip(IN_LOG, "unknown_server")
            return
        reign = self.knowledge.reigns.of(leader, term)
        commit = _Commit(leader, step.receiver, term, index, step.place, step.sure)
        self._in_log(commit, max(ends, -1 if reign is None else reign.end))
        if index > ends:
            self._exposed(step, commit, reign, ends)
        else:
            self.judge.hold(EXPOSED)
        if reign is None:
            self._new_reign(commit)
        elif index > reign.commit:
            self._advance(commit, final=False)
        elif reign.low is not None and index < reign.low == reign.commit:
            self._advance(commit._replace(log_index=reign.commit), final=False, low=(index, step.place))
        if self._highest is None or index > self._highest[0]:
            self._highest = index, leader, term, step.place

    # CM-01

    def _in_log(self, commit: _Commit, end: int) -> None:
        if commit.log_index <= max(end, self._stood.get((commit.leader, commit.term), -1)):
            self.judge.hold(IN_LOG)
        else:
            self.judge.later(lambda: self._beyond(commit), commit.place)

    def _beyond(self, commit: _Commit) -> None:
        """Judge a commit index that was beyond the leader's log as far as it was known."""
        reign = self.knowledge.reigns.of(commit.leader, commit.term)
        if reign is None:
            self.judge.skip(IN_LOG, "forgotten")
            return
        end = max(reign.end, self._stood.get((commit.leader, commit.term), -1))
        if commit.log_index <= end:
            self.judge.hold(IN_LOG)
            return
        voters = self.knowledge.configurations.voters(reign.end)
        if not voters:
            self.judge.skip(IN_LOG, "unknown_voters")
            return
        others = voters - {commit.leader}
        if not others:
            self.judge.hold(IN_LOG)
            return
        for other in sorted(others):
            reason = self._hides_requests(commit, other)
            if reason is not None:
                self.judge.skip(IN_LOG, reason)
                return
        message = (
            f"Leader {commit.leader} sends commit index {commit.log_index} in term {commit.term}, while its log is "
            f"known to end at {end}."
        )
        evidence = () if reign.end_place is None else (reign.end_place,)
        self._find(IN_LOG, commit, message, sure=commit.sure and reign.sure, evidence=evidence)

    def _hides_requests(self, commit: _Commit, follower: int) -> Reason | None:
        pair = self.knowledge.pairs.of(commit.leader, follower)
        if pair is not None and pair.vague_request is not None:
            return "cut_short"
        lines, terms = self.knowledge.lines, self.knowledge.terms
        return lines.hides(terms, commit.leader, follower, commit.term, commit.place)

    def _find(
        self, rule: Rule, commit: _Commit, message: str, *, sure: bool, evidence: tuple[Place, ...], note: bool = False
    ) -> None:
        follower = commit.follower if rule is EXPOSED else None  # the others are about the leader alone
        self.judge.find(
            rule,
            commit.place,
            message,
            Subject(commit.leader, follower, commit.term, commit.log_index),
            sure=sure,
            severity="note" if note else None,
            evidence=evidence,
            about=(commit.term, commit.log_index),
        )

    # CM-02, CM-03, CM-04

    def _advance(self, commit: _Commit, *, final: bool, low: tuple[int, Place] | None = None) -> None:
        """Judge a commit index that is higher than another one of the same leader in the same term, or its first."""
        reign = self.knowledge.reigns.of(commit.leader, commit.term)
        if reign is None:
            if final:
                self.judge.skip(OWN_TERM, "forgotten")
            return
        term = reign.terms.get(commit.log_index)
        lowest, place = low or (reign.low, reign.low_place)
        inherited = lowest is None or lowest >= commit.log_index
        if term == commit.term:
            if not inherited:
                self.judge.hold(OWN_TERM)
                self.judge.hold(BARRIER)
            self._majority(commit, reign, final=final)
        elif term is not None:
            if not inherited:
                message = f"{_raises(commit, lowest)}, where entry {commit.log_index} has term {term}."
                self._find(OWN_TERM, commit, message, sure=commit.sure and reign.sure, evidence=(place,))
        elif commit.log_index <= reign.old:
            if not inherited:
                message = f"{_raises(commit, lowest)}, while its log has entries of earlier terms up to {reign.old}."
                sure = commit.sure and reign.sure
                old = commit.leader not in self._modern
                self._find(BARRIER, commit, message, sure=sure, evidence=(place,), note=old)
        elif final:
            self.judge.skip(OWN_TERM, "begun_midway")
        else:
            self.judge.later(lambda: self._advance(commit, final=True), commit.place)

    def _majority(self, commit: _Commit, reign: Reign, *, final: bool) -> None:
        """Judge an entry of the leader's own term that it calls committed."""
        voters = self._voters(commit.log_index, reign)
        if not voters:
            self.judge.skip(MAJORITY, "unknown_voters")
            return
        if not final and any(self._has_majority(commit, ids) for ids in voters):
            self.judge.hold(MAJORITY)
        elif not final:
            self.judge.later(lambda: self._advance_later(commit), commit.place)
        else:
            self._minority(commit, reign, voters)

    def _advance_later(self, commit: _Commit) -> None:
        reign = self.knowledge.reigns.of(commit.leader, commit.term)
        if reign is None:
            self.judge.skip(MAJORITY, "forgotten")
        else:
            self._majority(commit, reign, final=True)

    def _voters(self, index: int, reign: Reign) -> list[frozenset[int]]:
        """The sets of voters that a leader may have counted for an entry, as far as its log is known."""
        configurations = self.knowledge.configurations
        first, last = configurations.voters(index), configurations.voters(reign.end)
        if not first or not last:
            return []
        if first == last and (configurations.latest is None or configurations.latest.conf_index <= index):
            return [first]
        between = (seen.voters for seen in configurations if index < seen.conf_index)
        return [*dict.fromkeys((first, last, *between))]

    def _acked(self, commit: _Commit, voter: int) -> bool:
        pair = self.knowledge.pairs.of(commit.leader, voter)
        return voter == commit.leader or (pair is not None and pair.acked(commit.term) >= commit.log_index)

    def _acked_in_time(self, commit: _Commit, voter: int) -> bool:
        pair = self.knowledge.pairs.of(commit.leader, voter)
        if pair is None or voter == commit.leader:
            return voter == commit.leader
        margin_ns = self.knowledge.lines.margin_ns(commit.leader, voter)
        return pair.acked_before_told(commit.term, commit.log_index, margin_ns)

    def _has_majority(self, commit: _Commit, ids: frozenset[int]) -> bool:
        return sum(self._acked(commit, id_) for id_ in ids) > len(ids) // 2

    def _minority(self, commit: _Commit, reign: Reign, voters: list[frozenset[int]]) -> None:
        """Judge what no majority was known to have acknowledged when it was called committed."""
        have: frozenset[int] = frozenset()
        hidden: list[Reason] = []
        for ids in voters:
            have = frozenset(id_ for id_ in ids if self._acked_in_time(commit, id_))
            reasons = [self._hides_answers(commit, id_) for id_ in sorted(ids - have)]
            missing = [reason for reason in reasons if reason is not None]
            if len(have) > len(ids) // 2:
                self.judge.hold(MAJORITY)
                return
            if len(have) + len(missing) > len(ids) // 2:
                hidden = hidden or missing
        if hidden:
            self.judge.skip(MAJORITY, hidden[0])
            return
        ids = voters[-1]
        message = (
            f"Leader {commit.leader} sends commit index {commit.log_index} in term {commit.term}, which of the voters "
            f"{listed(ids)} only {listed(have) or 'nobody'} can have: the others have not acknowledged it."
        )
        evidence = () if reign.end_place is None else (reign.end_place,)
        self._find(MAJORITY, commit, message, sure=commit.sure and reign.sure, evidence=evidence)

    def _hides_answers(self, commit: _Commit, voter: int) -> Reason | None:
        pair = self.knowledge.pairs.of(commit.leader, voter)
        if pair is not None and pair.vague_answer is not None:
            return "cut_short"
        if pair is not None and commit.term <= pair.forgotten_acks:
            return "forgotten"
        lines, terms = self.knowledge.lines, self.knowledge.terms
        reason = lines.hides(terms, voter, commit.leader, commit.term, commit.place)
        refusal = None if pair is None else pair.refusals.get(commit.term)
        if reason is not None and refusal is not None and refusal.log_index <= commit.log_index:
            return lines.hides_since(voter, commit.leader, refusal.place, commit.place)
        return reason

    # CM-05

    def _exposed(self, step: Step, commit: _Commit, reign: Reign | None, ends: int) -> None:
        tail = self._tails.get(commit.follower)
        if tail is None or reign is None:
            self.judge.skip(EXPOSED, "begun_midway")
            return
        if tail.term >= commit.term or tail.log_index <= ends or commit.follower in self._capped:
            self.judge.hold(EXPOSED)
            return
        before = self.knowledge.reigns.of(tail.leader, tail.term)
        terms = Runs() if before is None else before.terms
        previous, there, here = step.fields["prev_log_index"], terms.get(ends + 1), reign.terms.get(ends + 1)
        if there is None or here is None or terms.get(previous) != step.fields["prev_log_term"] or there == here:
            self.judge.hold(EXPOSED)
            return
        message = (
            f"Leader {commit.leader} sends server {commit.follower} commit index {commit.log_index} behind entry "
            f"{ends} in term {commit.term}, where server {commit.follower} has other entries up to {tail.log_index} "
            f"(frame {tail.place.frame})."
        )
        self._find(EXPOSED, commit, message, sure=True, evidence=(tail.place,))

    # CM-06

    def _new_reign(self, commit: _Commit) -> None:
        highest = self._highest
        if highest is None or highest[2] >= commit.term:
            return
        if commit.log_index >= highest[0]:
            self.judge.hold(FORWARD)
        elif self._behind != (commit.leader, commit.term):
            self._behind = commit.leader, commit.term
            self.judge.later(lambda: self._still_behind(commit, highest), commit.place, 2 * GRACE_NS)

    def _still_behind(self, commit: _Commit, highest: tuple[int, int, int, Place]) -> None:
        index, leader, term, place = highest
        reign = self.knowledge.reigns.of(commit.leader, commit.term)
        if reign is None or reign.last.time_ns - commit.place.time_ns < GRACE_NS:
            self.judge.skip(FORWARD, "capture_end")
        elif reign.commit >= index:
            self.judge.hold(FORWARD)
        else:
            message = (
                f"Leader {commit.leader} of term {commit.term} has commit index {reign.commit} after "
                f"{GRACE_NS // 10**9} s, where leader {leader} of term {term} had {index} (frame {place.frame})."
            )
            self._find(FORWARD, commit, message, sure=True, evidence=(place,))


def _raises(commit: _Commit, lowest: int | None) -> str:
    return f"Leader {commit.leader} raises its commit index from {lowest} to {commit.log_index} in term {commit.term}"
