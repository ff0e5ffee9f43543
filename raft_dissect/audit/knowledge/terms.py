"""Which terms each server has shown, and where first: by any message of its own that carries its current term."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.audit.knowledge.bounded import put_highest

if TYPE_CHECKING:
    from raft_dissect.values import Place


class Terms:
    """The terms of all servers of a cluster."""

    def __init__(self) -> None:
        self._shown: dict[int, dict[int, Place]] = {}
        self._stood: dict[int, dict[int, None]] = {}
        self._forgotten: dict[int, int] = {}  # the highest one of each server
        self._lowest: dict[int, int] = {}
        self._highest: dict[int, int] = {}

    def shown(self, server: int, term: int, place: Place) -> None:
        """A server's own message carries a term of its own."""
        terms = self._shown.setdefault(server, {})
        known = terms.get(term)
        if known is None or place < known:
            forgotten = put_highest(terms, term, place)
            if forgotten is not None:
                self._forgotten[server] = max(forgotten, self._forgotten.get(server, forgotten))
        if term < self._lowest.get(server, term + 1):
            self._lowest[server] = term
        if term > self._highest.get(server, -1):
            self._highest[server] = term

    def stands(self, server: int, term: int) -> None:
        """A server asks for votes in a term, no pre-votes."""
        put_highest(self._stood.setdefault(server, {}), term, None)

    def stood(self, server: int, term: int) -> bool:
        """Whether a server is known to have asked for votes in a term."""
        return term in self._stood.get(server, ())

    def first(self, server: int, term: int) -> Place | None:
        """The first packet in which a server shows that it has reached a term, by that term or a later one."""
        shown = self._shown.get(server, {})
        return min((place for known, place in shown.items() if known >= term), default=None)

    def forgotten(self, server: int, term: int) -> bool:
        """Whether it is not remembered where a server first showed that it had reached a term."""
        return term <= self._forgotten.get(server, -1)

    def current(self, server: int) -> int:
        """The highest term that a server has shown; 0 when it has shown none."""
        return self._highest.get(server, 0)

    def highest(self) -> int:
        """The highest term that any server has shown; 0 when none has."""
        return max(self._highest.values(), default=0)

    def began(self, server: int, term: int) -> bool:
        """Whether all of a server's time in a term is known to be in the capture.

        It is when the server has shown a lower term in it, or has asked for votes in this one: a leader does so before.
        """
        return self.stood(server, term) or self._lowest.get(server, term) < term
