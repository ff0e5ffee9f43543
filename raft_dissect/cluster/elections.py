"""Elections: rounds of pre-votes and votes, who granted, who refused and as far as the wire tells why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.cluster.facts import Election, Refusal, Rejection
from raft_dissect.cluster.leaders import FROM_LEADERS
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect.cluster.facts import ElectionCause, ElectionOutcome, RefusalReason, RejectionKind
    from raft_dissect.cluster.leaders import Leaders
    from raft_dissect.cluster.logs import Logs
    from raft_dissect.cluster.membership import Membership
    from raft_dissect.cluster.paths import Paths
    from raft_dissect.cluster.servers import Server
    from raft_dissect.cluster.terms import Terms
    from raft_dissect.values import Message, Place

_PENDING_NS = 1_000_000_000
"""Nanoseconds before the capture's end in which an election without answers may still have gone on."""

_QUEUED_NS = 50_000_000
"""Nanoseconds; an election timeout is longer, so requests closer to each other were waiting together."""

_MAX_WAITING = 256
"""Requests of one pair that wait for an answer; the oldest is given up first."""

_TERMS_KEPT = 16
"""Terms before the last one in which somebody asked for votes, of which votes are remembered however old they are."""
_LATE_NS = 200_000_000
"""Nanoseconds from a request to its answer after which the answer was waiting, and may be older than it looks."""


class _Request:
    """One RequestVote message that has not been answered."""

    __slots__ = ("disrupts", "doubts", "last", "place", "round", "term")

    def __init__(self, round_: _Round, message: Message) -> None:
        fields = message.fields
        self.round = round_
        self.place = message.place
        self.term = fields["term"]
        self.last = (fields.get("last_log_term", 0), fields.get("last_log_index", 0))
        self.disrupts = bool(fields.get("disrupt_leader"))
        self.doubts = 0
        """How often a connection between the two broke or began since: the more, the less likely an answer."""


class _Round:
    """One round of one candidate in one term."""

    __slots__ = (
        "asked",
        "candidate",
        "cause",
        "first",
        "granted",
        "last",
        "leader",
        "pre_vote",
        "refused",
        "requests",
        "silence_ns",
        "term",
        "unread",
    )

    def __init__(self, term: int, candidate: Server, pre_vote: bool, cause: ElectionCause, place: Place) -> None:
        self.term = term
        self.candidate = candidate
        self.pre_vote = pre_vote
        self.cause = cause
        self.leader: Server | None = None
        """Whom the candidate had followed."""
        self.silence_ns: int | None = None
        """Nanoseconds since that leader had last sent something to the candidate."""
        self.first = place
        self.asked = place
        """The last request."""
        self.last = place
        """The last answer."""
        self.requests: list[Server] = []
        self.granted: list[Server] = []
        self.refused: list[tuple[Server, RefusalReason]] = []
        self.unread: list[Server] = []


class Elections:
    """Follows votes: a request on one connection, its answer on another one, the other way round."""

    def __init__(self, terms: Terms, leaders: Leaders, logs: Logs, membership: Membership) -> None:
        self._terms = terms
        self._membership = membership
        self._leaders = leaders
        self._logs = logs
        self._rounds: list[_Round] = []
        self._latest: dict[tuple[int, Server, bool], _Round] = {}
        self._open: dict[tuple[Server, Server], list[_Request]] = {}
        self._votes: dict[tuple[Server, int], Server] = {}  # (voter, term): candidate
        self._candidates: dict[int, set[Server]] = {}  # term: who asked for votes in it
        self._campaigned: dict[Server, int] = {}  # candidate: the highest term that it asked for
        self._following: dict[Server, tuple[Server, Place]] = {}  # follower: leader that it last answered
        self._heard: dict[tuple[Server, Server], Place] = {}  # (follower, leader): the leader's last message to it
        self._snapshots: dict[Server, tuple[Server, int, Place]] = {}  # follower: leader, last index, end
        self._lost: dict[tuple[Server, Server], Place] = {}  # (leader, follower): end of the leader's connection
        self.rejections: list[tuple[Server, Server, Rejection]] = []

    def message(self, message: Message, sender: Server, receiver: Server) -> None:
        """Learn from one message."""
        if message.type in FROM_LEADERS:
            self.heard(receiver, sender, message.place)
            if message.type == table.INSTALL_SNAPSHOT:
                last_index = message.fields.get("last_index", 0)
                self._snapshots[receiver] = (sender, last_index, message.place)
        elif message.type == table.REQUEST_VOTE:
            self._request(message, sender, receiver)
        elif message.type == table.REQUEST_VOTE_RESULT:
            self._result(message, sender, receiver)
        elif (
            message.type == table.APPEND_ENTRIES_RESULT
            and message.fields.get("term", 0) >= self._terms.current(sender)
            and self._leaders.leads(receiver, message.fields.get("term", 0))
        ):
            self.followed(sender, receiver, message.place)

    def heard(self, follower: Server, leader: Server, place: Place) -> None:
        """A leader sent something to a follower."""
        before = self._heard.get((follower, leader))
        if before is None or place > before:
            self._heard[follower, leader] = place

    def followed(self, follower: Server, leader: Server, place: Place) -> None:
        """A follower answered its leader."""
        self._following[follower] = (leader, place)

    def closed(self, sender: Server, receiver: Server, place: Place) -> None:
        """A connection from one server to another ended."""
        self._lost[sender, receiver] = place
        for request in self._open.get((sender, receiver), []):
            request.doubts += 1

    def opened(self, sender: Server, receiver: Server) -> None:
        """A server opened a connection, perhaps because it was started anew: then it knows no leader."""
        following = self._following.get(sender)
        if following is not None and self._was_left(sender, following[0]):
            del self._following[sender]
        for request in self._open.get((receiver, sender), []):
            request.doubts += 1

    def _was_left(self, follower: Server, leader: Server) -> bool:
        """Whether a leader's connection to a follower ended, and the leader went on: so the follower ended."""
        lost, heard = self._lost.get((leader, follower)), self._leaders.last_of(leader)
        return lost is not None and heard is not None and heard > lost

    def _request(self, message: Message, candidate: Server, voter: Server) -> None:
        fields = message.fields
        term = fields.get("term")
        if term is None:
            return
        round_ = self._round(message, candidate, voter, term, bool(fields.get("pre_vote")))
        round_.asked = message.place
        if voter not in round_.requests:
            round_.requests.append(voter)
        waiting = self._open.setdefault((candidate, voter), [])
        waiting.append(_Request(round_, message))
        del waiting[:-_MAX_WAITING]
        self._following.pop(candidate, None)
        self._campaigned[candidate] = max(term, self._campaigned.get(candidate, 0))
        if not round_.pre_vote:
            self._votes.setdefault((candidate, term), candidate)
            self._candidates.setdefault(term, set()).add(candidate)
        self._logs.advertised(candidate, fields)

    def _round(self, message: Message, candidate: Server, voter: Server, term: int, pre_vote: bool) -> _Round:
        """The round that a request belongs to: within one round nobody is asked twice.

        Requests that waited for an unreachable voter come all at once, and count as one round.
        """
        key = (term, candidate, pre_vote)
        round_ = self._latest.get(key)
        again = round_ is not None and voter in round_.requests
        if round_ is None or (again and message.place.time_ns - round_.asked.time_ns > _QUEUED_NS):
            round_ = _Round(term, candidate, pre_vote, self._cause(message, candidate, term), message.place)
            self._follow(round_)
            self._latest[key] = round_
            self._rounds.append(round_)
        return round_

    def _follow(self, round_: _Round) -> None:
        """Say whom the candidate of a round had followed, and for how long that leader had been silent to it."""
        candidate = round_.candidate
        following = self._following.get(candidate)
        if following is not None:
            round_.leader = following[0]
        elif before := self._before(candidate, round_.term):
            round_.leader = before.leader
        if round_.leader is None:
            return
        heard = self._heard.get((candidate, round_.leader))
        if heard is None:
            return
        round_.silence_ns = max(round_.first.time_ns - heard.time_ns, 0)
        if following is not None:
            self._leaders.missed(round_.leader, round_.silence_ns, round_.first)

    def _before(self, candidate: Server, term: int) -> _Round | None:
        """The round that a round in a term goes on from, if the candidate went on for want of a winner."""
        for before in ((term, candidate, True), (term, candidate, False), (term - 1, candidate, False)):
            if before in self._latest and not self._leaders.leads(candidate, before[0]):
                return self._latest[before]
        return None

    def _cause(self, message: Message, candidate: Server, term: int) -> ElectionCause:
        if message.fields.get("disrupt_leader"):
            return "transfer"
        following = self._following.get(candidate)
        if following is not None:
            lost = self._lost.get((following[0], candidate))
            return "connection_lost" if lost is not None and lost > following[1] else "heartbeats_absent"
        # A candidate goes on until somebody wins: a round without news has the cause of the one before it.
        anybody_led = self._leaders.any_seen or self._logs.highest(candidate)  # it acknowledged what a leader sent
        nobody_led: ElectionCause = "unknown" if anybody_led else "start"
        before = self._before(candidate, term)
        return nobody_led if before is None or before.cause == "start" else before.cause

    def _result(self, message: Message, voter: Server, candidate: Server) -> None:
        request = self._match(message, voter, candidate)
        fields = message.fields
        granted = fields.get("vote_granted")
        if granted is None:
            if request is not None:
                request.round.unread.append(voter)
            return
        pre_vote = request.round.pre_vote if request is not None else bool(fields.get("pre_vote"))
        if granted:
            if not pre_vote:
                self._votes[voter, fields["term"]] = candidate
            if request is not None:
                request.round.granted.append(voter)
                request.round.last = max(request.round.last, message.place)
            return
        reason = self._reason(message, request, voter, candidate)
        if request is not None:
            request.round.refused.append((voter, reason))
            request.round.last = max(request.round.last, message.place)
        kind: RejectionKind = "pre_vote" if pre_vote else "request_vote"
        rejection = Rejection(kind, voter.name, candidate.name, fields["term"], reason, None, None, message.place)
        self.rejections.append((voter, candidate, rejection))

    def _match(self, message: Message, voter: Server, candidate: Server) -> _Request | None:
        """The request that a result answers: requests of one pair are answered in order, some never."""
        waiting = self._open.get((candidate, voter), [])
        fields = message.fields
        flag = fields.get("pre_vote")
        fitting = [r for r in waiting if flag is None or r.round.pre_vote == flag]
        exact = [r for r in fitting if r.term == fields.get("term")]
        exact.sort(key=lambda request: request.doubts)
        if fields.get("vote_granted") and not flag and exact:
            found = exact[0]  # a vote that is granted is in the term of its request
        elif exact and (flag or exact[0].doubts < fitting[0].doubts):
            found = exact[0]
        elif fitting:
            found = fitting[0]
        else:
            return None
        del waiting[: waiting.index(found) + 1]
        return found

    def _reason(self, message: Message, request: _Request | None, voter: Server, candidate: Server) -> RefusalReason:
        """Why a vote was refused, as far as the terms say, or what the voter is known to know when it answers."""
        term = message.fields["term"]
        if request is None:
            return "unknown"
        if term > request.term:
            return "stale_term"
        if not request.round.pre_vote and term < request.term:  # then it did not take over the higher term
            return "unknown" if request.disrupts else "has_leader"
        at_once = message.place.time_ns - request.place.time_ns <= _LATE_NS
        return self._own_reason(request, voter, candidate, at_once)

    def _own_reason(self, request: _Request, voter: Server, candidate: Server, at_once: bool) -> RefusalReason:
        """Why a voter refuses that has the term of the request: what it is known to know, if it answers at once."""
        real = not request.round.pre_vote
        if at_once and real and self._is_installing(request, voter):
            return "busy"
        if at_once and self._is_no_voter(request, voter):
            return "not_a_voter"
        if real and self._votes.get((voter, request.term), candidate) is not candidate:
            return "already_voted"
        if not at_once:
            return "unknown"
        if not real and not request.disrupts and self._knows_leader(voter):
            return "has_leader"
        last = self._logs.last(voter)
        return "log_behind" if last is not None and last > request.last else "unknown"

    def _is_installing(self, request: _Request, voter: Server) -> bool:
        """Whether a voter that may refuse for no leader's sake was given a snapshot that it has not acknowledged yet.

        Only a transfer may ask it then. The leader that sent the snapshot transfers to a server that has its whole
        log, so that log is not behind; and it was the voter's log that was, or it would need no snapshot.
        """
        snapshot = self._snapshots.get(voter)
        if snapshot is None or not request.disrupts:
            return False
        leader, last_index, place = snapshot
        sent_by_last = leader is self._followed_by(request.round)
        return sent_by_last and place < request.place and last_index > self._logs.highest(voter)

    def _followed_by(self, round_: _Round) -> Server | None:
        return round_.leader if round_.cause == "transfer" else None

    def _is_no_voter(self, request: _Request, voter: Server) -> bool:
        """Whether the voter's own configuration says so, and it knows no leader, which it would refuse for before."""
        if not request.disrupts and self._knows_leader(voter):
            return False
        return self._membership.is_no_voter(voter, self._logs.highest(voter))

    def _knows_leader(self, voter: Server) -> bool:
        """Whether the voter's last messages show that it leads or follows; who campaigns leads no earlier term."""
        term = self._terms.current(voter)
        leads = self._leaders.leads(voter, term) and self._campaigned.get(voter, 0) <= term
        return leads or voter in self._following

    def campaigned(self, server: Server) -> int:
        """The highest term for which a server asked for votes or pre-votes; 0 before it did."""
        return self._campaigned.get(server, 0)

    def forget(self, before_ns: int) -> None:
        """Forget the rounds that were over before a time, and the votes in their terms."""
        self._rounds = [one for one in self._rounds if max(one.asked, one.last).time_ns >= before_ns]
        kept = {one.term for one in self._rounds}
        least = max(self._campaigned.values(), default=0) - _TERMS_KEPT
        self._latest = {key: one for key, one in self._latest.items() if one.term in kept or one.term >= least}
        self._votes = {key: one for key, one in self._votes.items() if key[1] in kept or key[1] >= least}
        self._candidates = {term: one for term, one in self._candidates.items() if term in kept or term >= least}
        self.rejections[:] = [one for one in self.rejections if one[2].place.time_ns >= before_ns]

    def elections(self, end: Place, paths: Paths) -> tuple[Election, ...]:
        """Every round, in the order of the capture; `end` is the end of the capture."""
        rounds = sorted(self._rounds, key=lambda round_: round_.first)
        return tuple(self._election(round_, end, paths) for round_ in rounds)

    def _election(self, round_: _Round, end: Place, paths: Paths) -> Election:
        outcome, last = self._outcome(round_)
        if outcome == "abandoned" and end.time_ns - round_.first.time_ns < _PENDING_NS:
            outcome = "unknown"
        return Election(
            round_.term,
            round_.candidate.name,
            round_.pre_vote,
            tuple(dict.fromkeys(server.name for server in round_.requests)),
            tuple(dict.fromkeys(server.name for server in round_.granted)),
            tuple(Refusal(voter.name, reason) for voter, reason in round_.refused),
            tuple(dict.fromkeys(server.name for server in round_.unread)),
            outcome,
            max(last.time_ns - round_.first.time_ns, 0) / 1e9,
            round_.cause,
            round_.first,
            None if round_.leader is None else round_.leader.name,
            None if round_.silence_ns is None else round_.silence_ns / 1e9,
            _retransmissions(round_, paths),
            last,
        )

    def _outcome(self, round_: _Round) -> tuple[ElectionOutcome, Place]:
        candidate = round_.candidate.resolved
        if round_.pre_vote:
            real = self._latest.get((round_.term, round_.candidate, False))
            is_last = round_ is self._latest[round_.term, round_.candidate, True]
            if real is not None and real.cause != "transfer" and is_last:  # a transfer needs no pre-vote
                return "won", max(real.first, round_.first)
            return ("lost" if round_.refused else "abandoned"), round_.last
        first = self._leaders.first_of(round_.term)
        if first is not None:
            leader, place = first
            return ("won", max(place, round_.first)) if leader.resolved is candidate else ("lost", round_.last)
        rivals = any(rival.resolved is not candidate for rival in self._candidates[round_.term])
        if rivals and (round_.granted or any(reason == "already_voted" for _, reason in round_.refused)):
            return "split", round_.last
        return ("lost" if round_.refused else "abandoned"), round_.last


def _retransmissions(round_: _Round, paths: Paths) -> int:
    """The segments that the leader sent the candidate again while it was silent to it."""
    if round_.leader is None or round_.silence_ns is None:
        return 0
    end = round_.first.time_ns
    return paths.retransmissions(round_.leader, round_.candidate, end - round_.silence_ns, end)
