"""From events to verdicts: gives each message to the rules, then to what is known of the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.audit.catalogue import GROUPS, RULES
from raft_dissect.audit.defects import explanations
from raft_dissect.audit.judge import Judge
from raft_dissect.audit.knowledge import Knowledge
from raft_dissect.audit.quiet import Quiet
from raft_dissect.audit.step import Step
from raft_dissect.audit.verdicts import Tally, Verdicts
from raft_dissect.cluster.analysis import Analysis
from raft_dissect.cluster.replicated import loses_messages
from raft_dissect.values import Diagnostic, Message, StreamClosed, StreamOpened, TransportEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from raft_dissect.audit.group import Group
    from raft_dissect.audit.knowledge.lines import Line
    from raft_dissect.audit.verdicts import Finding
    from raft_dissect.cluster.facts import ClusterFacts
    from raft_dissect.columns import MessageBatch
    from raft_dissect.values import Event, Place, Stream


def together(audits: Sequence[ClusterAudit], off: Collection[str] = ()) -> Verdicts:
    """The verdicts about all clusters of a capture; `off` are the ids of rules that were not asked."""
    findings: list[Finding] = []
    tallies = {rule.id: Tally(rule, 0, 0, 0, 0, {}) for rule in RULES if rule.id not in off}
    for number, one in enumerate(audits):
        findings += [finding._replace(cluster=number) for finding in one.findings]
        for tally in one.judge.tallies:
            tallies[tally.rule.id] = tallies[tally.rule.id].plus(tally)
    findings.sort(key=lambda finding: (finding.place, finding.rule.id))
    return Verdicts(tuple(findings), tuple(tallies.values()), len(audits), sum(one.messages for one in audits))


class ClusterAudit:
    """Judges one cluster, event by event; it takes what an `Analysis` takes, and asks one who is who."""

    def __init__(self, off: Collection[str] = (), told: Callable[[Finding], None] | None = None) -> None:
        """`off` are the ids of rules that are not asked; `told` is called with each finding as it is made."""
        self.analysis = Analysis()
        self._servers = self.analysis.servers
        self._identified = 0
        self.knowledge = Knowledge(self._servers)
        self.judge = Judge([rule for rule in RULES if rule.id not in off], self._found)
        self._groups: list[Group]
        self._quiet: Quiet
        self._begin()
        self._told = told
        self._wrote: dict[tuple[str, Place, str], dict[int, frozenset[str]]] = {}
        self.messages = 0
        """How many were judged."""

    def knows(self, address: str) -> bool:
        """Whether a server of the cluster is known to advertise an address."""
        return self.analysis.knows(address)

    def feed_rows(self, batch: MessageBatch, row: int, end: int) -> None:
        """Take the rows of a batch from `row` on, before `end`."""
        if row == end:
            return
        self.analysis.feed_rows(batch, row, end)
        self._name()
        self.messages += end - row
        quiet = self._quiet
        while row < end:
            row = quiet.take_rows(batch, row, end)
            quiet.tell(batch)
            if row < end:
                self._message(batch.message(row))
                row += 1

    def feed(self, event: Event) -> None:
        """Take one event."""
        self.analysis.feed(event)
        self._name()
        if isinstance(event, Message):
            self.messages += 1
            self._message(event)
            return
        self.judge.advance(event.place.time_ns)
        if isinstance(event, TransportEvent):
            for group in self._groups:
                group.transport(event)
            return
        self._quiet.end()
        if isinstance(event, StreamOpened):
            line = self._line(event.stream, event.place)
            for group in self._groups:
                group.opened(line, event.place)
        elif isinstance(event, StreamClosed):
            line = self._line(event.stream, event.place)
            for group in self._groups:
                group.closed(line, event.place, event.reason)
            self.knowledge.lines.closed(line, event.place, event.reason)
        else:
            self._diagnostic(event)

    def _name(self) -> None:
        """Somebody became known: perhaps it is who speaks or listens on a connection without a name."""
        servers, lines = self._servers, self.knowledge.lines
        if self._identified == servers.identities.changes:
            return
        self._identified = servers.identities.changes
        for line in lines.nameless():
            lines.line(line.stream, line.first, servers.sender(line.stream).id, servers.receiver(line.stream).id)

    def _line(self, stream: Stream, place: Place) -> Line:
        servers = self._servers
        sender, receiver = servers.sender(stream), servers.receiver(stream)
        return self.knowledge.lines.line(stream, place, sender.id, receiver.id)

    def _found(self, finding: Finding) -> None:
        """Something was found: keep which layouts those whom it names have written by now, for they may be upgraded."""
        now = {id_: self._labels(id_) for id_ in (finding.server, finding.peer) if id_ is not None}
        self._wrote[_key(finding)] = now
        if self._told is not None:
            self._told(finding._replace(defects=explanations(finding, now.__getitem__)))

    def _labels(self, id_: int) -> frozenset[str]:
        server = self._servers.known(id_)
        return frozenset() if server is None else server.labels

    @property
    def findings(self) -> list[Finding]:
        """What was found so far, in the order of the capture, with the known defects that explain it."""
        return [
            finding._replace(defects=explanations(finding, self._wrote_by(finding))) for finding in self.judge.findings
        ]

    def _wrote_by(self, finding: Finding) -> Callable[[int], frozenset[str]]:
        """Gives the layouts of which one was a server's own when something was found.

        What it wrote later tells more about the same release; where both have nothing in common, it was upgraded.
        """
        then = self._wrote.get(_key(finding), {})
        return lambda id_: then.get(id_, frozenset()) & self._labels(id_) or then.get(id_) or self._labels(id_)

    def _message(self, message: Message) -> None:
        self.judge.advance(message.place.time_ns)
        servers = self._servers
        sender, receiver = servers.sender(message.stream), servers.receiver(message.stream)
        line = self.knowledge.lines.line(message.stream, message.first, sender.id, receiver.id)
        step = Step(message, line, sender, receiver)
        if self.knowledge.is_of_another_life(step):
            self._begin_anew(step)
        kind = self._quiet.kind(step)
        self.judge.record()
        for group in self._groups:
            group.message(step)
        sample = self.judge.recorded()
        self.knowledge.learn(step)
        self._quiet.hears(step, kind, sample)

    def _begin_anew(self, step: Step) -> None:
        """Forget all but the connections: terms and indexes begin from the start again, and mean something else."""
        for group in self._groups:
            group.made_anew(step)
        self.judge.forget()
        self.knowledge.lines.forget_past()
        self.knowledge = Knowledge(self._servers, self.knowledge.lines)
        self._begin()

    def _begin(self) -> None:
        self._groups = [group(self.knowledge, self.judge) for group in GROUPS]
        self._quiet = Quiet(self.knowledge, self.judge, self._groups, self._message)

    def _diagnostic(self, diagnostic: Diagnostic) -> None:
        lines = self.knowledge.lines
        if diagnostic.kind in ("file_damaged", "file_truncated", "dropped"):
            lines.lost_everywhere(diagnostic.place)
            return
        if diagnostic.stream is None:
            return
        line = lines.known(diagnostic.stream)
        if line is None and diagnostic.kind == "malformed":
            line = self._line(diagnostic.stream, diagnostic.place)
        if line is None:
            return
        for group in self._groups:
            group.diagnostic(line, diagnostic)
        if loses_messages(diagnostic) or diagnostic.kind == "unfinished":
            lines.lost(line, diagnostic.place)

    def facts(self, end_ns: int) -> ClusterFacts | None:
        """What the report knows of the cluster; None when there was no message."""
        return self.analysis.facts(end_ns)

    def finish(self, end_ns: int) -> None:
        """The capture is over: the rules answer what waits, and look at the whole of it."""
        self.judge.finish()
        facts = self.analysis.facts(end_ns)
        if facts is not None:
            for group in self._groups:
                group.end(facts)
        self.judge.finish()


def _key(finding: Finding) -> tuple[str, Place, str]:
    """What is the same in all repeats of a finding."""
    return finding.rule.id, finding.place, finding.message
