"""What a group of rules is: it is given each event before the cluster's knowledge learns from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.audit.judge import NEVER_NS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raft_dissect.audit.judge import Judge
    from raft_dissect.audit.knowledge import Knowledge
    from raft_dissect.audit.knowledge.lines import Line
    from raft_dissect.audit.step import Step
    from raft_dissect.cluster.facts import ClusterFacts
    from raft_dissect.values import Diagnostic, Place, StreamEnd, TransportEvent
    from raft_dissect.wire.unused import UnusedKind


class Group:
    """A group of rules; each overrides what it wants to be told."""

    def __init__(self, knowledge: Knowledge, judge: Judge) -> None:
        self.knowledge = knowledge
        self.judge = judge

    def message(self, step: Step) -> None:
        """A message, complete or partial."""

    def patience_ns(self, step: Step) -> int | None:  # noqa: ARG002  # for the groups that override it
        """How long after a message another one like it may come without being told; None if all must be told.

        It is like it when it continues where that one ended, in the same term: AppendEntries with at most one entry
        behind the last one, or an acknowledgement.
        """
        return NEVER_NS

    def passed(self, step: Step, times: int) -> None:
        """So many messages like one that was told have not been told."""

    def passed_leaks(self, step: Step, kind: UnusedKind, leaked: Mapping[int, int], last: Place) -> None:
        """Among these were some with bytes that should be zero, as integers, each so many times; and the last."""

    def made_anew(self, step: Step) -> None:
        """A message shows that the cluster was made anew: this group is asked no more, another one takes its place."""

    def opened(self, line: Line, place: Place) -> None:
        """A connection has shown its handshake."""

    def closed(self, line: Line, place: Place, reason: StreamEnd) -> None:
        """A connection ended."""

    def transport(self, event: TransportEvent) -> None:
        """Something that TCP did."""

    def diagnostic(self, line: Line, diagnostic: Diagnostic) -> None:
        """Something is missing or wrong on a connection."""

    def end(self, facts: ClusterFacts) -> None:
        """The capture is over, and this is what the report says of it."""
