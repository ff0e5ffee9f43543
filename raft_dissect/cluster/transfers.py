"""Leadership transfers: what became of each, and why it is not done, as far as packets tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.cluster.facts import Transfer
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.cluster.facts import Election, Leadership, Refusal, TransferOutcome, TransferReason
    from raft_dissect.cluster.leaders import Leaders
    from raft_dissect.cluster.logs import Logs
    from raft_dissect.cluster.membership import Membership
    from raft_dissect.cluster.replication import Replication
    from raft_dissect.cluster.servers import Server
    from raft_dissect.cluster.terms import Terms
    from raft_dissect.values import Message, Place

_SOON_NS = 1_000_000_000
"""Nanoseconds in which a transfer has succeeded if it does: C-Raft gives it one election timeout, a second at least."""
_QUEUED_NS = 200_000_000
"""Nanoseconds after which nothing comes any more that the old leader had sent before it heard of the election."""


class _Handover:
    """One TimeoutNow message, and what its target did because of it."""

    __slots__ = ("leader", "lost", "obstacle", "place", "target", "term", "terms")

    def __init__(self, message: Message, leader: Server, target: Server, obstacle: TransferReason) -> None:
        self.place = message.place
        self.term = message.fields.get("term", 0)
        self.leader = leader
        self.target = target
        self.obstacle = obstacle
        """What kept the target from taking over when it was asked, as far as was known then."""
        self.lost = False
        """Whether a connection between the two ended before the target asked for votes."""
        self.terms: set[int] = set()
        """For which the target asked for votes."""


class _Verdict:
    """What became of a transfer."""

    __slots__ = ("led", "outcome", "reason", "refused")

    def __init__(
        self,
        outcome: TransferOutcome,
        reason: TransferReason | None = None,
        *,
        led: Place | None = None,
        refused: tuple[Refusal, ...] = (),
    ) -> None:
        self.outcome = outcome
        self.reason = reason
        self.led = led
        self.refused = refused


class Transfers:
    """Leadership transfers: TimeoutNow has no answer, its effect is an election of the target.

    A target ignores it in silence unless it is a voter that follows the sender, in no later term, and has exactly the
    log that the message names (protocol document, section 7.8).
    """

    def __init__(
        self, leaders: Leaders, terms: Terms, logs: Logs, membership: Membership, replication: Replication
    ) -> None:
        self._leaders = leaders
        self._terms = terms
        self._logs = logs
        self._membership = membership
        self._replication = replication
        self._handovers: list[_Handover] = []
        self._latest: dict[Server, _Handover] = {}

    def message(self, message: Message, sender: Server, receiver: Server) -> None:
        """Learn from one message."""
        if message.type == table.TIMEOUT_NOW:
            obstacle = self._obstacle(message, sender, receiver)
            handover = self._latest[receiver] = _Handover(message, sender, receiver, obstacle)
            self._handovers.append(handover)
        elif message.type == table.REQUEST_VOTE and message.fields.get("disrupt_leader") and sender in self._latest:
            term = message.fields["term"]
            if term > self._latest[sender].term:
                self._latest[sender].terms.add(term)

    def _obstacle(self, message: Message, leader: Server, target: Server) -> TransferReason:
        stored = self._logs.highest(target)
        if self._membership.is_no_voter(target, stored):
            return "not_a_voter"
        if self._terms.current(target) > message.fields.get("term", 0):
            return "stale_term"
        if stored and self._replication.hears(leader, target) and stored < message.fields.get("last_log_index", 0):
            return "log_behind"
        return "unknown"

    def closed(self, sender: Server, receiver: Server, place: Place) -> None:
        """A connection from one server to another ended."""
        for leader, target in ((sender, receiver), (receiver, sender)):
            handover = self._latest.get(target)
            if handover is None or handover.leader is not leader or handover.terms:
                continue
            if place.time_ns - handover.place.time_ns < _SOON_NS:
                handover.lost = True

    def forget(self, before_ns: int) -> None:
        """Forget the transfers that began before a time."""
        self._handovers = [one for one in self._handovers if one.place.time_ns >= before_ns]
        self._latest = {server: one for server, one in self._latest.items() if one.place.time_ns >= before_ns}

    def transfers(
        self, elections: Sequence[Election], leaderships: Sequence[Leadership], end: Place
    ) -> tuple[Transfer, ...]:
        """Every transfer, in the order of the capture; `end` is the end of the capture."""
        found = []
        for one in self._handovers:
            verdict = self._verdict(one, elections, leaderships, end)
            found.append(
                Transfer(
                    one.leader.name,
                    one.target.name,
                    one.term,
                    verdict.outcome,
                    None if verdict.led is None else (verdict.led.time_ns - one.place.time_ns) / 1e9,
                    one.place,
                    verdict.reason,
                    verdict.refused,
                    verdict.led,
                )
            )
        return tuple(sorted(found, key=lambda transfer: transfer.place))

    def _verdict(
        self, handover: _Handover, elections: Sequence[Election], leaderships: Sequence[Leadership], end: Place
    ) -> _Verdict:
        first = self._led(handover)
        if first is not None:
            return _Verdict("done", led=first)
        pending = end.time_ns - handover.place.time_ns < _SOON_NS
        if handover.terms:
            verdict = _failed(handover, elections, leaderships)
            return _Verdict("unknown") if pending and verdict.reason == "unknown" else verdict
        if pending or handover.target.resolved.first_seen is None:
            return _Verdict("unknown")
        reason = handover.obstacle
        return _Verdict("ignored", "connection_lost" if reason == "unknown" and handover.lost else reason)

    def _led(self, handover: _Handover) -> Place | None:
        """The target's first message as leader because of a transfer."""
        for term in sorted(handover.terms):
            first = self._leaders.first_of(term)
            if first is not None and first[0].resolved is handover.target.resolved:
                return first[1]
        if handover.terms:
            return None
        # Its requests for votes may be missing from the capture.
        first = self._leaders.first_of(handover.term + 1)
        if first is None or first[0].resolved is not handover.target.resolved:
            return None
        return first[1] if 0 <= first[1].time_ns - handover.place.time_ns < _SOON_NS else None


def _failed(handover: _Handover, elections: Sequence[Election], leaderships: Sequence[Leadership]) -> _Verdict:
    """Why a target that asked for votes did not come to lead."""
    leader, target = handover.leader.name, handover.target.name
    rounds = [one for one in elections if one.candidate == target and one.term in handover.terms]
    answered = [one for one in rounds if one.granted or one.refused]
    if answered and len(answered[-1].refused) > len(answered[-1].granted):
        return _Verdict("failed", "refused", refused=answered[-1].refused)
    asked_ns = max((one.place.time_ns for one in rounds), default=handover.place.time_ns)
    for one in leaderships:
        if (one.term, one.leader) == (handover.term, leader) and one.last.time_ns - asked_ns >= _QUEUED_NS:
            return _Verdict("failed", "old_leader_went_on")
    later = [one for one in leaderships if one.term > handover.term and one.first > handover.place]
    if later and min(later, key=lambda one: one.term).leader != target:
        return _Verdict("failed", "other_leader")
    return _Verdict("failed", "unknown")
