"""MON: what one server says may only grow: its term, its commit index, its log."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from raft_dissect.audit.group import Group
from raft_dissect.audit.judge import Subject
from raft_dissect.audit.knowledge.bounded import put
from raft_dissect.audit.knowledge.durable import VERIFYING
from raft_dissect.audit.knowledge.votes import asked_by
from raft_dissect.audit.rule import Rule
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect.audit.judge import Judge
    from raft_dissect.audit.knowledge import Knowledge
    from raft_dissect.audit.knowledge.lines import Line
    from raft_dissect.audit.knowledge.votes import Asked
    from raft_dissect.audit.step import Step
    from raft_dissect.values import Place

TERM = Rule(
    "MON-01",
    "A server's term never falls",
    "error",
    "The term in a server's results and vote requests is at least the highest term that it has shown before on the "
    "same connection.",
    "Raft 5.1, figure 2",
    "Two messages of one connection.",
    "Messages of different connections arrive in any order, and those that waited for a lost connection leave seconds "
    "late, so only one connection is looked at. A pre-vote and its answer carry a term that nobody has reached.",
    "Server 2 shows term 4 after it has shown term 5 (frame 881) on the same connection.",
)
COMMIT = Rule(
    "MON-02",
    "A leader's commit index never falls",
    "error",
    "In one term leader_commit of a leader's AppendEntries to a follower is at least that of the one before it on the "
    "same connection.",
    "Raft 5.3",
    "Two AppendEntries of one term on one connection.",
    "As MON-01.",
    "Leader 1 sends commit index 40 to server 2 in term 3, after 44 (frame 902).",
)
APPEND_ONLY = Rule(
    "MON-03",
    "A leader never changes its own log",
    "error",
    "In one term an index of a leader's log has one term only, and TimeoutNow names a last entry that is not before "
    "any that the same connection has brought.",
    "Raft 5.3: Leader Append-Only",
    "The same index twice from one leader in one term, or entries and TimeoutNow on one connection.",
    "Indexes are compared within one term of one leader, where the order does not matter.",
    "Leader 1 sends entry 40 with term 3, after it has sent it with term 2 in the same term 3.",
)
DURABLE = Rule(
    "MON-04",
    "What is on disk survives",
    "error",
    "After a restart a server's messages carry at least the highest term that it has shown before. When it asks for "
    "votes, it names a last entry that is not before a committed one that it has acknowledged in a lower term.",
    "Raft figure 2: persistent state",
    "A restart that the ends and beginnings of connections prove, and messages before and after it; or "
    "acknowledgements and RequestVote.",
    "All connections of the old process have ended before the new one opens its first, so their messages cannot be "
    "mixed up. Committed entries are never removed. A server that comes back in a lower term with an empty log was "
    "made anew under the same id, which is a warning.",
    "Server 2 shows term 4 after a restart, but has shown term 5 before (frame 881).",
)
MATCHED = Rule(
    "MON-05",
    "What is acknowledged stays acknowledged",
    "warning",
    "In one term the last_log_index with which a follower accepts is at least the one before it on the same "
    "connection, unless it is one that AppendEntries of that leader ended at.",
    "Raft 5.3",
    "Two accepting results of one term on one connection, and all that the leader sent to the follower in that term.",
    "cowsql answers with what was verified by each request, so an older end is fine; so is 0, the answer to a snapshot "
    "that is there already. It is an error only from releases that acknowledge only what is verified.",
    "Server 2 acknowledges up to entry 40 in term 3, after 44 (frame 881).",
)
LOSES_LEADERSHIP = Rule(
    "MON-06",
    "Who has seen a higher term leads no more",
    "error",
    "A server sends no AppendEntries, InstallSnapshot or TimeoutNow with a term that is lower than one that it has "
    "shown before on the same connection.",
    "Raft 5.1",
    "A message of a leader behind another one of the same connection.",
    "As MON-01.",
    "Server 1 sends AppendEntries of term 4 after it has shown term 5 (frame 881) on the same connection.",
)
RULES = (TERM, COMMIT, APPEND_ONLY, DURABLE, MATCHED, LOSES_LEADERSHIP)

_MAX_SERVERS = 4096
"""Servers that are remembered."""
_FROM_LEADERS = (table.APPEND_ENTRIES, table.INSTALL_SNAPSHOT, table.TIMEOUT_NOW)


class Monotonicity(Group):
    """Judges what each server says against what it said before."""

    def __init__(self, knowledge: Knowledge, judge: Judge) -> None:
        super().__init__(knowledge, judge)
        self._stands_empty: dict[int, Place] = {}  # by candidate: the last time that it named no entry but the first
        self._made_anew: dict[int, Place] = {}  # servers that came back in a lower term, with an empty log

    def made_anew(self, step: Step) -> None:
        """A message shows that the cluster was made anew: this group is asked no more, another one takes its place."""
        server = step.sender or 0
        before = self.knowledge.terms.current(server)
        shown = self.knowledge.terms.first(server, before)
        where = "" if shown is None else f" (frame {shown.frame})"
        self.judge.find(
            DURABLE,
            step.place,
            f"Server {server} begins anew in term {step.term} with a short log, after it has shown term {before}"
            f"{where}: the cluster seems to have been made anew under the same ids, and is judged anew.",
            step.subject(),
            severity="warning",
            evidence=() if shown is None else (shown,),
        )

    def message(self, step: Step) -> None:
        """A message, complete or partial."""
        if step.sender is None:
            return
        self._term(step, step.line)
        if step.type == table.APPEND_ENTRIES:
            self._commit(step)
            self._entries(step)
        elif step.type == table.TIMEOUT_NOW:
            self._last(step)
        elif step.type == table.APPEND_ENTRIES_RESULT:
            self._accepts(step)
        elif step.type == table.REQUEST_VOTE and step.real:
            asked = asked_by(step)
            if asked is not None:
                if asked.last is not None and asked.last[1] <= 1:
                    put(self._stands_empty, asked.candidate, asked.place, _MAX_SERVERS)
                self.judge.later(partial(self._has_log, asked), asked.place)

    def opened(self, line: Line, place: Place) -> None:
        """A connection has shown its handshake."""
        if line.sender is None:
            return
        before = [known for known in self.knowledge.lines.of(line.sender) if known is not line and known.messages]
        highest = max(before, default=None, key=_highest_of)
        if highest is not None and highest.highest_term:
            check = partial(self._restarted, line.sender, place, highest.highest_term, highest.highest_place)
            self.judge.later(check, place)

    def _restarted(self, server: int, place: Place, term: int, shown: Place) -> None:
        """Some time has passed since a server opened a connection: was it started anew, and what has it said since?"""
        if not self.knowledge.restarts.proven(server, place):
            return
        lines = [line for line in self.knowledge.lines.of(server) if line.from_start and line.first >= place]
        said = [line for line in lines if line.lowest_term is not None]
        if not said:
            self.judge.skip(DURABLE, "capture_end")
            return
        lowest = min(said, key=_lowest_of)
        if lowest.lowest_term is None or lowest.lowest_term >= term:
            self.judge.hold(DURABLE)
            return
        empty = self._stands_empty.get(server)
        anew = empty is not None and empty >= place
        if anew:
            put(self._made_anew, server, place, _MAX_SERVERS)
        self.judge.find(
            DURABLE,
            lowest.lowest_place,
            f"Server {server} shows term {lowest.lowest_term} after a restart{' with an empty log' if anew else ''}, "
            f"but has shown term {term} before (frame {shown.frame}).",
            Subject(server, lowest.receiver, lowest.lowest_term),
            severity="warning" if anew else None,
            evidence=(shown, place),
        )

    def _has_log(self, asked: Asked) -> None:
        """A server that asked for votes must have what it acknowledged, if that is committed."""
        if asked.last is None:
            self.judge.skip(DURABLE, "cut_short")
            return
        known = self.knowledge.durable.has(asked.candidate, asked.term)
        if known is None or asked.candidate in self._made_anew:
            return
        committed, acknowledged = known
        if asked.last >= committed.position:
            self.judge.hold(DURABLE)
            return
        self.judge.find(
            DURABLE,
            asked.place,
            f"Server {asked.candidate} names entry {asked.last[1]} of term {asked.last[0]} as its last one when it "
            f"asks for votes in term {asked.term}, but has acknowledged entry {committed.log_index} of term "
            f"{committed.term} (frame {acknowledged.place.frame}), which is committed.",
            Subject(asked.candidate, None, asked.term, committed.log_index),
            sure=asked.sure and acknowledged.sure,
            evidence=(acknowledged.place, committed.place),
            about=asked.term,
        )

    def _accepts(self, step: Step) -> None:
        line, last = step.line, step.fields.get("last_log_index")
        if step.fields.get("rejected") != 0 or last is None or step.term != line.matched_term:
            return
        if last >= line.matched or not last:
            self.judge.hold(MATCHED)
        else:
            self.judge.later(partial(self._matches_less, step, last, line.matched, line.matched_place), step.place)

    def _matches_less(self, step: Step, last: int, matched: int, place: Place) -> None:
        sender, receiver, term = step.sender, step.receiver, step.term
        sent = self.knowledge.reigns.sent(receiver, sender, term)
        if sender is None or receiver is None or term is None or sent is None:
            self.judge.skip(MATCHED, "unknown_server" if not step.known else "other_direction")
            return
        if sent.ends.place(last) is not None or last <= sent.snapshot or matched > sent.highest:
            self.judge.hold(MATCHED)
            return
        reason = self.knowledge.lines.hides(self.knowledge.terms, receiver, sender, term, step.place)
        if reason is not None or sent.ends.forgets:
            self.judge.skip(MATCHED, reason or "forgotten")
            return
        committed = self.knowledge.log.committed_before(term + 1)
        verified = bool(step.layouts) and step.layouts <= VERIFYING
        lost = verified and committed is not None and last < min(matched, committed.log_index)
        self.judge.find(
            MATCHED,
            step.place,
            f"Server {sender} acknowledges up to entry {last} in term {term}, after {matched} (frame {place.frame}).",
            step.subject(last),
            sure=step.sure,
            severity="error" if lost else None,
            evidence=(place,),
        )

    def _term(self, step: Step, line: Line) -> None:
        if step.term is None or not step.real or not line.messages:
            return
        rule = LOSES_LEADERSHIP if step.type in _FROM_LEADERS else TERM
        if step.term >= line.highest_term:
            self.judge.hold(rule)
            return
        what = f"sends {step.message.name} of term {step.term}" if rule is not TERM else f"shows term {step.term}"
        self.judge.find(
            rule,
            step.place,
            f"Server {step.sender} {what} after it has shown term {line.highest_term} on the same connection.",
            step.subject(),
            sure=step.sure,
            evidence=(line.highest_place,),
        )

    def _commit(self, step: Step) -> None:
        commit = step.fields.get("leader_commit")
        if commit is None or step.term != step.line.commit_term:
            return
        if commit >= step.line.commit:
            self.judge.hold(COMMIT)
            return
        self.judge.find(
            COMMIT,
            step.place,
            f"Leader {step.sender} sends commit index {commit} to {step.receiver} in term {step.term}, after "
            f"{step.line.commit}.",
            step.subject(commit),
            sure=step.sure,
            evidence=(step.line.commit_place,),
        )

    def _entries(self, step: Step) -> None:
        if not step.whole or not step.consistent or step.sender is None or step.term is None:
            return  # LM-02 says so where terms are in no order
        reign = self.knowledge.reigns.of(step.sender, step.term)
        if reign is None:
            return
        for index, entry in enumerate(step.entries, step.fields["prev_log_index"] + 1):
            known = reign.terms.get(index)
            if known is None or known == entry.term:
                self.judge.hold(APPEND_ONLY)
                continue
            self.judge.find(
                APPEND_ONLY,
                step.place,
                f"Leader {step.sender} sends entry {index} with term {entry.term}, after it has sent it with term "
                f"{known} in the same term {step.term}.",
                step.subject(index),
                sure=step.sure,
                about=index,
            )

    def _last(self, step: Step) -> None:
        last, line = step.fields.get("last_log_index"), step.line
        if last is None or step.term != line.ends_term:
            return
        if last >= line.ends:
            self.judge.hold(APPEND_ONLY)
            return
        self.judge.find(
            APPEND_ONLY,
            step.place,
            f"Leader {step.sender} says in TimeoutNow that its log ends at {last}, after it has sent entries up to "
            f"{line.ends} in the same term {step.term}.",
            step.subject(last),
            sure=step.sure,
            evidence=(line.ends_place,),
        )


def _highest_of(line: Line) -> int:
    return line.highest_term


def _lowest_of(line: Line) -> int:
    return -1 if line.lowest_term is None else line.lowest_term
