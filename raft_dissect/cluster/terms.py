"""Each server's own term over time, and what made it change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.cluster.facts import TermChange
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raft_dissect.cluster.facts import TermCause
    from raft_dissect.cluster.servers import Server
    from raft_dissect.values import Message, Place

_FROM_LEADERS = (table.APPEND_ENTRIES, table.INSTALL_SNAPSHOT, table.TIMEOUT_NOW)
_INBOUND: dict[int, TermCause] = {
    table.APPEND_ENTRIES: "append_entries",
    table.APPEND_ENTRIES_RESULT: "result",
    table.REQUEST_VOTE: "vote_request",
    table.REQUEST_VOTE_RESULT: "result",
    table.INSTALL_SNAPSHOT: "snapshot",
}


def proven_term(message: Message) -> int | None:
    """The sender's own term, if the message proves one.

    A pre-vote request carries the sender's term + 1, and its answer the request's term (since v0.14.0): neither proves
    a term. Answers without a pre-vote flag come from releases before v0.11.3, which always send their own.
    """
    fields = message.fields
    return None if fields.get("pre_vote") else fields.get("term")


class Terms:
    """The terms that servers prove with their messages.

    A server's term only rises, but its messages on different connections come out of order: a term counts from the
    first packet that carries it, and a packet with a lower one that comes late proves that the server was there before.
    """

    def __init__(self) -> None:
        self._proofs: dict[Server, dict[int, tuple[Place, TermCause]]] = {}
        self._received: dict[Server, dict[int, tuple[TermCause, Server]]] = {}
        self._highest: dict[Server, int] = {}
        self._restarted: set[Server] = set()

    def current(self, server: Server) -> int:
        """The highest term that a server has proven; 0 before it proved any."""
        return self._highest.get(server, 0)

    def proven_at(self, server: Server, term: int) -> Place | None:
        """The first packet in which a server proved a term, as far as it was seen."""
        proof = self._proofs.get(server, {}).get(term)
        return None if proof is None else proof[0]

    def reached(self, server: Server, term: int) -> bool:
        """Whether a term is known to have come to a server, by its own messages or by others to it."""
        return term <= self.current(server) or term in self._received.get(server, ())

    def restarted(self, server: Server) -> None:
        """A server was started anew, with the term that it had stored."""
        self._restarted.add(server)

    def message(self, message: Message, sender: Server, receiver: Server) -> None:
        """Learn from one message."""
        term = proven_term(message)
        if term is None:
            return
        self._prove(message, sender, receiver, term)
        cause = _INBOUND.get(message.type)
        if cause is not None and term > self.current(receiver):
            self._received.setdefault(receiver, {}).setdefault(term, (cause, sender))

    def _prove(self, message: Message, sender: Server, receiver: Server, term: int) -> None:
        highest = self.current(sender)
        if message.type == table.REQUEST_VOTE_RESULT:
            self._forget_refused(sender, receiver, term)
        proofs = self._proofs.setdefault(sender, {})
        known = proofs.get(term)
        if known is None:
            proofs[term] = (message.place, self._cause(message, sender, term, highest == 0))
        elif message.place < known[0]:
            proofs[term] = (message.place, known[1])
        self._restarted.discard(sender)
        if term > highest:
            self._highest[sender] = term
            received = self._received.get(sender, {})
            for old in [t for t in received if t <= term]:
                del received[old]

    def _forget_refused(self, voter: Server, candidate: Server, term: int) -> None:
        """A voter that refused with a lower term did not take over the term of the request: it knows a leader.

        Requests of one candidate are answered in their order, so the answer is to the lowest term that it asked for.
        """
        received = self._received.get(voter, {})
        asked = [t for t, (cause, sender) in received.items() if cause == "vote_request" and sender is candidate]
        if asked and min(asked) > term:
            del received[min(asked)]

    def _cause(self, message: Message, sender: Server, term: int, first: bool) -> TermCause:
        if message.type == table.REQUEST_VOTE:
            return "election"
        if first:
            return "unknown"
        if message.type in _FROM_LEADERS:
            return "election"
        received = self._received.get(sender, {}).get(term)
        if received is not None:
            return received[0]
        # A term that nobody sent to it, and for which it does not campaign, it had before.
        return "restart" if sender in self._restarted else "unknown"

    def forget(self, before_ns: int) -> None:
        """Forget the terms that servers left before a time; each one's highest stays, since the next follows on it."""
        for server, proofs in self._proofs.items():
            highest = max(proofs)
            self._proofs[server] = {
                term: proof for term, proof in proofs.items() if term == highest or proof[0].time_ns >= before_ns
            }

    def changes(self) -> tuple[TermChange, ...]:
        """Every change that a packet proves, in the order of the capture."""
        found: list[TermChange] = []
        for server, proofs in self._merged().items():
            found.extend(_rising(server, proofs))
        return tuple(sorted(found, key=lambda change: change.place))

    def _merged(self) -> dict[Server, dict[int, tuple[Place, TermCause]]]:
        """The proofs of servers that turned out to be one, together."""
        merged: dict[Server, dict[int, tuple[Place, TermCause]]] = {}
        for server, proofs in self._proofs.items():
            target = merged.setdefault(server.resolved, {})
            for term, proof in proofs.items():
                target[term] = min(proof, target.get(term, proof))
        return merged


def _rising(server: Server, proofs: Mapping[int, tuple[Place, TermCause]]) -> list[TermChange]:
    """The changes between the terms that a server has proven, in the order of the terms."""
    changes: list[TermChange] = []
    old: int | None = None
    for term, (place, cause) in sorted(proofs.items()):
        changes.append(TermChange(server.name, old, term, cause, place))
        old = term
    return changes
