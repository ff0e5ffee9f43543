"""One message as the rules see it: what it says, who said it to whom, and how well that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.audit.judge import Subject
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect import wire
    from raft_dissect.audit.knowledge.lines import Line
    from raft_dissect.cluster.servers import Server
    from raft_dissect.values import Message, Place


class Step:
    """One message of one server to another."""

    __slots__ = (
        "_consistent",
        "entries",
        "fields",
        "layouts",
        "line",
        "message",
        "place",
        "receiver",
        "sender",
        "sure",
        "term",
        "type",
    )

    def __init__(self, message: Message, line: Line, sender: Server, receiver: Server) -> None:
        self.message = message
        self.line = line
        """The connection that it came on."""
        self.place: Place = message.place
        self.type: int = message.type
        self.fields: dict[str, int] = message.fields
        """As far as they were captured."""
        self.entries: tuple[wire.Entry, ...] = message.entries
        self.term: int | None = self.fields.get("term")
        self.sender: int | None = sender.id
        self.receiver: int | None = receiver.id
        self.sure: bool = sender.known_by in ("handshake", "configuration") and line.named and line.unbroken
        """Whether the sender is known by a handshake or a configuration, and this is a message for sure.

        Behind a break in its connection what looks like a message may be what somebody stores.
        """
        self._consistent: bool | None = None
        self.layouts: frozenset[str] = sender.labels
        """The layouts of which one is the sender's own, by what it wrote so far; empty if that tells nothing."""

    @property
    def known(self) -> bool:
        """Whether both servers are known by their ids."""
        return self.sender is not None and self.receiver is not None

    @property
    def whole(self) -> bool:
        """Whether all fields and the headers of all entries were captured."""
        return len(self.message.header) >= self.message.preamble.header_length

    @property
    def consistent(self) -> bool:
        """Of AppendEntries: whether its terms, that of its leader the last one, are in an order that a log can have."""
        if self._consistent is None:
            self._consistent = self._in_order()
        return self._consistent

    def _in_order(self) -> bool:
        before, index = self.fields.get("prev_log_term"), self.fields.get("prev_log_index")
        if before is None or index is None or self.term is None:
            return True
        if bool(before) != bool(index):
            return False
        for entry in self.entries:
            if entry.term < before:
                return False
            before = entry.term
        return before <= self.term

    @property
    def ends(self) -> int | None:
        """Of AppendEntries: the index of the last entry that it brings, or of the one that it would follow."""
        fields = self.fields
        if "prev_log_index" not in fields or "n_entries" not in fields:
            return None
        return fields["prev_log_index"] + fields["n_entries"]

    @property
    def real(self) -> bool:
        """Whether its term is one that its sender has reached: that of a pre-vote, or of an answer to it, is not."""
        if self.type == table.REQUEST_VOTE:
            return not self.fields.get("pre_vote") and ("pre_vote" in self.fields or self.whole)
        if self.type == table.REQUEST_VOTE_RESULT:
            return "pre_vote" in self.fields and not self.fields["pre_vote"]
        return True

    def subject(self, index: int | None = None) -> Subject:
        """The sender as whom a finding is about, with the receiver and the term."""
        return Subject(self.sender, self.receiver, self.term, index)
