"""What the audit knows of a cluster: built once per message, and asked by all rules."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from raft_dissect.audit.knowledge.configurations import Configurations
from raft_dissect.audit.knowledge.durable import Durable
from raft_dissect.audit.knowledge.lines import Lines
from raft_dissect.audit.knowledge.log import LARGEST, Committed, Entry, Log
from raft_dissect.audit.knowledge.pairs import Pairs
from raft_dissect.audit.knowledge.reigns import Reigns
from raft_dissect.audit.knowledge.snapshots import Snapshots
from raft_dissect.audit.knowledge.terms import Terms
from raft_dissect.audit.knowledge.timers import Timers
from raft_dissect.audit.knowledge.votes import Votes
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect.audit.knowledge.reigns import Reign
    from raft_dissect.audit.step import Step
    from raft_dissect.cluster.servers import Servers
    from raft_dissect.values import Place


MOST_COMMITTED = 65_536
"""Entries that one message can show to be committed; older ones are not remembered anyway."""


_LIFE_NS = 3_000_000_000
"""A server needs longer than that to be removed and made anew."""
_SHORT_LOG = 8
"""Entries of a log that has just begun."""
_MAX_LATE = 16
"""Messages to servers that are not known yet which are remembered: the first ones of connections."""


class Knowledge:
    """What was learned from all messages so far. Rules are asked about a message before it is learned from."""

    def __init__(self, servers: Servers, lines: Lines | None = None) -> None:
        """`lines` are the connections if some are known already."""
        self.lines = Lines() if lines is None else lines
        self.terms = Terms()
        self.reigns = Reigns()
        self.pairs = Pairs()
        self.log = Log()
        self.configurations = Configurations()
        self.snapshots = Snapshots()
        self.timers = Timers()
        self.votes = Votes(self.lines)
        self.durable = Durable(self.reigns, self.log)
        self.restarts = servers.restarts
        self._late: deque[Step] = deque()

    def is_of_another_life(self, step: Step) -> bool:
        """Whether a message shows that the cluster was made anew, under the same ids.

        Its server is back in a lower term, on a connection that was opened long after it had reached a higher one, and
        speaks of the begin of a log, where it had a longer one. A message that waited for a lost connection since the
        cluster's first seconds may look like that, too: then what is known is forgotten in vain.
        """
        if step.sender is None or step.term is None or not step.real or step.term >= self.terms.current(step.sender):
            return False
        reached = self.terms.first(step.sender, self.terms.current(step.sender))
        end = step.ends if step.type == table.APPEND_ENTRIES else step.fields.get("last_log_index")
        if reached is None or end is None or step.line.first.time_ns - reached.time_ns < _LIFE_NS:
            return False
        return end <= _SHORT_LOG < self.log.highest_committed

    def learn(self, step: Step) -> None:
        """Learn from a message."""
        self.durable.message(step)
        self.timers.message(step)
        self.lines.said(step.line, step)
        self.votes.message(step)
        self.pairs.message(step)
        if self._late:
            self._learn_late()
        if step.sender is None:
            self.lines.unheard(step.line, step.place)
            return
        if step.receiver is None:
            self._late.append(step)
            if len(self._late) > _MAX_LATE:
                forgotten = self._late.popleft()
                self.lines.unheard(forgotten.line, forgotten.place)
        if step.term is None:
            return
        if step.real:
            self.terms.shown(step.sender, step.term, step.place)
            if step.type == table.REQUEST_VOTE:
                self.terms.stands(step.sender, step.term)
        self.reigns.message(step)
        self.configurations.message(step)
        self.snapshots.message(step)
        if step.type == table.APPEND_ENTRIES and step.whole:
            self._entries(step, step.sender, step.term)

    def _learn_late(self) -> None:
        """Learn from messages to servers that were not known then, and are now."""
        for step in [step for step in self._late if step.line.receiver is not None]:
            self._late.remove(step)
            step.receiver = step.line.receiver
            self.pairs.message(step)
            self.reigns.message(step)
            if step.type == table.APPEND_ENTRIES and step.whole and step.sender is not None and step.term is not None:
                self._entries(step, step.sender, step.term)

    def _entries(self, step: Step, leader: int, term: int) -> None:
        reign = self.reigns.of(leader, term)
        if reign is None or not step.consistent:
            return
        previous = step.fields["prev_log_index"]
        if previous:
            before = step.fields["prev_log_term"]
            self._learn(reign, Entry(previous, before, None, None, None, leader, term, step.place))
        digests = step.message.digests
        for position, entry in enumerate(step.entries):
            digest = None if digests is None else digests[position]
            number = previous + 1 + position
            found = Entry(number, entry.term, entry.type, entry.size, digest, leader, term, step.place)
            self._learn(reign, found)
        if reign.commit > reign.committed:
            self._commit(reign, step.place)

    def _learn(self, reign: Reign, entry: Entry) -> None:
        if reign.terms.get(entry.log_index) not in (None, entry.term):
            return  # a rule says so; what was known first stays, so that one wrong message is not many
        self.log.learn(entry)
        reign.has(entry.log_index, entry.term)
        if entry.log_index <= reign.committed:
            self.log.commit(Committed(entry.log_index, entry.term, reign.leader, reign.term, entry.place))

    def _commit(self, reign: Reign, place: Place) -> None:
        """Everything in the leader's log up to its commit index is committed, as far as that log is known."""
        first = max(reign.committed + 1, reign.commit - MOST_COMMITTED)
        for begin, end, term in reign.terms.between(first, reign.commit):
            if max(end, term, reign.leader, reign.term) < LARGEST:
                self.log.commit_run(begin, end, term, reign.leader, reign.term, place)
        reign.committed = reign.commit
