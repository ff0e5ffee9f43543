"""How far each server's log reaches, as far as messages tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.cluster.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from raft_dissect.cluster.extents import Words
    from raft_dissect.cluster.servers import Server
    from raft_dissect.values import Message

_MIN_TERMS = 65536
"""Log indexes of which the term is remembered at least; older ones are forgotten first."""


class Log:
    """How far the log of one server reaches."""

    __slots__ = ("highest", "last")

    def __init__(self) -> None:
        self.last: tuple[int, int] | None = None
        """(term, index) of the last entry that the server was last known to have."""
        self.highest = 0
        """The highest index that it ever acknowledged; conflicts may have cut its log since."""


class Logs:
    """The last log entry that each server is known to have, and the terms of entries."""

    def __init__(self) -> None:
        self._terms = Recent(_MIN_TERMS)
        self._logs: dict[Server, Log] = {}

    def of(self, server: Server) -> Log:
        """The log of a server, which stays the same object."""
        log = self._logs.get(server)
        if log is None:
            log = self._logs[server] = Log()
        return log

    def last(self, server: Server) -> tuple[int, int] | None:
        """(term, index) of the last entry that a server was last known to have."""
        return self.of(server).last

    def highest(self, server: Server) -> int:
        """The highest index that a server ever acknowledged, 0 before the first; conflicts may have cut its log."""
        return self.of(server).highest

    def advertised(self, server: Server, fields: Mapping[str, int]) -> None:
        """A candidate says where its log ends."""
        if "last_log_index" in fields and "last_log_term" in fields:
            self.of(server).last = (fields["last_log_term"], fields["last_log_index"])

    def sent(self, message: Message, leader: Server) -> None:
        """A leader sends entries, and has them."""
        fields = message.fields
        if "prev_log_term" in fields:
            self.extend(self.of(leader), fields["prev_log_index"], fields["prev_log_term"], message.entries)

    def extend(self, log: Log, index: int, term: int, words: Iterable[Words]) -> None:
        """A server has the entry at `index`, which is of `term`, and the entries behind it."""
        known = self._terms
        known.remember(index, term)
        for word in words:
            index += 1
            term = word[0]
            known.remember(index, term)
        last = (term, index)
        if log.last is None or last > log.last:
            log.last = last

    def acknowledge(self, log: Log, index: int) -> None:
        """A server says that it stored everything up to an index."""
        if index > log.highest:
            log.highest = index
        term = self._terms.term(index)
        if term is not None:
            log.last = (term, index)
