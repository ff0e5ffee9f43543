"""How far each server's log reaches, as far as messages tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raft_dissect.cluster.servers import Server
    from raft_dissect.values import Message

_MAX_TERMS = 65536
"""Log indexes of which the term is remembered; older ones are forgotten first."""


class Logs:
    """The last log entry that each server is known to have, and the terms of entries."""

    def __init__(self) -> None:
        self._terms: dict[int, int] = {}
        self._last: dict[Server, tuple[int, int]] = {}
        self._highest: dict[Server, int] = {}

    def last(self, server: Server) -> tuple[int, int] | None:
        """(term, index) of the last entry that a server was last known to have."""
        return self._last.get(server)

    def highest(self, server: Server) -> int | None:
        """The highest index that a server ever acknowledged; conflicts may have cut its log since."""
        return self._highest.get(server)

    def advertised(self, server: Server, fields: Mapping[str, int]) -> None:
        """A candidate says where its log ends."""
        if "last_log_index" in fields and "last_log_term" in fields:
            self._last[server] = (fields["last_log_term"], fields["last_log_index"])

    def sent(self, message: Message, leader: Server) -> None:
        """A leader sends entries, and has them."""
        fields = message.fields
        if "prev_log_term" not in fields:
            return
        index = fields["prev_log_index"]
        last = (fields["prev_log_term"], index)
        self._remember(index, fields["prev_log_term"])
        for entry in message.entries:
            index += 1
            last = (entry.term, index)
            self._remember(index, entry.term)
        self._last[leader] = max(last, self._last.get(leader, last))

    def acknowledged(self, server: Server, index: int) -> None:
        """A follower says that it stored everything up to an index."""
        self._highest[server] = max(index, self._highest.get(server, 0))
        term = self._terms.get(index)
        if term is not None:
            self._last[server] = (term, index)

    def _remember(self, index: int, term: int) -> None:
        self._terms.pop(index, None)
        self._terms[index] = term
        if len(self._terms) > _MAX_TERMS:
            del self._terms[next(iter(self._terms))]
