"""MON: what one server says may only grow: its term, its commit index, its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.audit.group import Group
from raft_dissect.audit.rule import Rule
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect.audit.knowledge.lines import Line
    from raft_dissect.audit.step import Step

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
RULES = (TERM, COMMIT, APPEND_ONLY, LOSES_LEADERSHIP)

_FROM_LEADERS = (table.APPEND_ENTRIES, table.INSTALL_SNAPSHOT, table.TIMEOUT_NOW)


class Monotonicity(Group):
    """Judges what each server says against what it said before."""

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
