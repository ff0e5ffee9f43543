"""Who asked whom for a vote, and which answers grant one: requests matched with results, on two connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from raft_dissect.audit.knowledge.bounded import of_term, put
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raft_dissect.audit.knowledge.lines import Line, Lines
    from raft_dissect.audit.step import Step
    from raft_dissect.values import Place

K = TypeVar("K")
V = TypeVar("V")
_MAX_CANDIDATES = 256
"""Candidates of one term that are remembered, as pre-vote or for real, and as many voters."""
_MAX_PAIRS = 4096
"""Voters and pairs of voter and candidate that are remembered; the first ones are forgotten first."""
_MAX_ASKED = 128
"""Voters of one round, and grants of one voter in one term."""
_MAX_REQUESTS = 512
"""Requests of one connection that can be counted; of a connection with more the answers cannot be told apart."""


class Asked(NamedTuple):
    """A RequestVote message."""

    candidate: int
    line: Line
    term: int
    pre_vote: bool
    disrupt: bool
    last: tuple[int, int] | None
    """(term, index) of the candidate's last entry; None when it was not captured."""
    place: Place
    sure: bool
    """Whether the candidate is known by a handshake or a configuration, and the message names itself so."""

    @property
    def voter(self) -> int | None:
        """Who is asked; that may turn out later, since the first requests come before the voter's own handshake."""
        return self.line.receiver


class Answer(NamedTuple):
    """A RequestVoteResult message."""

    voter: int
    candidate: int
    term: int
    granted: bool
    pre_vote: bool | None
    """None when the message does not say it: no release before v0.11.3 does."""
    line: Line
    number: int
    """Counts the results of its connection from 0."""
    place: Place
    sure: bool
    """Whether the voter is known by a handshake or a configuration."""
    layouts: frozenset[str]
    """Of which one is the voter's own."""


class Round:
    """What one candidate asked in one term, as pre-vote or for real."""

    __slots__ = ("asked", "candidate", "first", "pre_vote", "term")

    def __init__(self, asked: Asked) -> None:
        self.candidate = asked.candidate
        self.term = asked.term
        self.pre_vote = asked.pre_vote
        self.first = asked.place
        self.asked: dict[int, Asked] = {}
        """By the number of the stream; a pre-vote may be repeated in a term, and the last one counts."""

    @property
    def last(self) -> tuple[int, int] | None:
        """The highest (term, index) that the candidate named as its last entry."""
        return max((asked.last for asked in self.asked.values() if asked.last is not None), default=None)

    @property
    def sure(self) -> bool:
        """Whether the candidate is known for sure."""
        return any(asked.sure for asked in self.asked.values())


_NO_ROUNDS: dict[tuple[int, bool], Round] = {}
_NO_GRANTS: dict[int, list[Answer]] = {}


class Votes:
    """All requests for votes of a cluster, and their answers."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._rounds: dict[int, dict[tuple[int, bool], Round]] = {}  # by term, and candidate and pre-vote
        self._forgotten = -1  # the highest term of which one of these two is forgotten
        self._granted: dict[int, dict[int, list[Answer]]] = {}  # by term and voter
        self._pre_granted: dict[tuple[int, int], Answer] = {}  # by voter and candidate: the last granted pre-vote
        self._pre_asked: dict[int, Asked] = {}  # by number of the stream: the last pre-vote
        self._unflagged: dict[tuple[int, int], Place] = {}  # by voter and candidate
        self._pre_voters: dict[int, Place] = {}

    def message(self, step: Step) -> None:
        """Learn from a request or a result."""
        if step.type == table.REQUEST_VOTE:
            self._count(step)
            asked = asked_by(step)
            if asked is not None:
                self._ask(asked)
        elif step.type == table.REQUEST_VOTE_RESULT:
            answer = self.answer(step)
            step.line.voted += 1
            if answer is not None and answer.granted:
                self._grant(answer)

    def _count(self, step: Step) -> None:
        asked = asked_by(step)
        if len(step.line.asked) <= _MAX_REQUESTS:
            step.line.asked.append(asked)
        if asked is None and step.sender is not None:
            put(self._pre_voters, step.sender, step.place, _MAX_PAIRS)

    def _ask(self, asked: Asked) -> None:
        if asked.pre_vote:
            put(self._pre_voters, asked.candidate, asked.place, _MAX_PAIRS)
            put(self._pre_asked, asked.line.stream.number, asked, _MAX_PAIRS)
        rounds, key = self._of_term(self._rounds, asked.term), (asked.candidate, asked.pre_vote)
        round_ = rounds.get(key)
        if round_ is None:
            round_ = Round(asked)
            put(rounds, key, round_, _MAX_CANDIDATES)
        round_.first = min(round_.first, asked.place)
        number = asked.line.stream.number
        if number in round_.asked or len(round_.asked) < _MAX_ASKED:
            round_.asked[number] = asked

    def _grant(self, answer: Answer) -> None:
        if answer.pre_vote:
            put(self._pre_granted, (answer.voter, answer.candidate), answer, _MAX_PAIRS)
            return
        if answer.pre_vote is None:
            put(self._unflagged, (answer.voter, answer.candidate), answer.place, _MAX_PAIRS)
        voters = self._of_term(self._granted, answer.term)
        granted = voters.get(answer.voter)
        if granted is None:
            granted = []
            put(voters, answer.voter, granted, _MAX_CANDIDATES)
        if len(granted) < _MAX_ASKED:
            granted.append(answer)

    def answer(self, step: Step) -> Answer | None:
        """What a result says, before it is learned from; None when it is not known from whom to whom, or not all."""
        fields = step.fields
        if step.sender is None or step.receiver is None or step.term is None or "vote_granted" not in fields:
            return None
        flag = fields.get("pre_vote")
        return Answer(
            step.sender,
            step.receiver,
            step.term,
            bool(fields["vote_granted"]),
            None if flag is None else bool(flag),
            step.line,
            step.line.voted,
            step.place,
            step.sure,
            step.layouts,
        )

    def round(self, candidate: int, term: int, *, pre_vote: bool = False) -> Round | None:
        """What a candidate asked in a term; None when it is not known to have asked."""
        return self._rounds.get(term, _NO_ROUNDS).get((candidate, pre_vote))

    def asked(self, candidate: int, voter: int, term: int, *, pre_vote: bool = False) -> Asked | None:
        """The request that a candidate sent to a voter in a term; None when none is known."""
        round_ = self.round(candidate, term, pre_vote=pre_vote)
        if round_ is None:
            return None
        return next((asked for asked in round_.asked.values() if asked.voter == voter), None)

    def forgotten(self, term: int) -> bool:
        """Whether it is not remembered who asked for votes in a term, or who granted them."""
        return term <= self._forgotten

    def _of_term(self, known: dict[int, dict[K, V]], term: int) -> dict[K, V]:
        found, forgotten = of_term(known, term)
        self._forgotten = max(self._forgotten, forgotten)
        return found

    def pre_asked(self, candidate: int, voter: int) -> Asked | None:
        """The last pre-vote that a candidate asked a voter for."""
        lines = self._lines.between(candidate, voter)
        found = (self._pre_asked.get(line.stream.number) for line in lines)
        return max((asked for asked in found if asked is not None), default=None, key=_place_of)

    def asked_unread(self, candidate: int, voter: int) -> bool:
        """Whether a candidate asked a voter for a vote in a request of which too little was captured."""
        return any(None in line.asked for line in self._lines.between(candidate, voter))

    def pre_granted(self, voter: int, candidate: int) -> Answer | None:
        """The last answer of a voter that grants a pre-vote to a candidate, and says that it is one."""
        return self._pre_granted.get((voter, candidate))

    def pre_votes(self, candidate: int) -> bool:
        """Whether a candidate is known to have asked for pre-votes."""
        return candidate in self._pre_voters

    def unflagged(self, voter: int, candidate: int) -> bool:
        """Whether a voter grants something to a candidate without saying whether it is a pre-vote."""
        return (voter, candidate) in self._unflagged

    def granted(self, voter: int, term: int) -> Iterator[Answer]:
        """The answers that grant a real vote of a term, as far as it is certain that they do."""
        granted = self._granted.get(term, _NO_GRANTS).get(voter, ())
        return (answer for answer in granted if self.is_pre_vote(answer) is False)

    def grants(self, candidate: int, voter: int, term: int) -> Answer | None:
        """An answer that may grant a candidate a real vote in a term; None when there is none."""
        for answer in self._granted.get(term, _NO_GRANTS).get(voter, ()):
            if answer.candidate == candidate and not self.is_pre_vote(answer):
                return answer
        return None

    def is_pre_vote(self, answer: Answer) -> bool | None:
        """Whether an answer is one to a pre-vote; None when it cannot be told."""
        if answer.pre_vote is not None:
            return answer.pre_vote
        if not self._lost(answer) and answer.candidate not in self._pre_voters:
            return False
        asked = self.request(answer)
        return None if asked is None else asked.pre_vote

    def request(self, answer: Answer) -> Asked | None:
        """The request that an answer belongs to by its place in the order; None when that is not certain.

        A server answers each request in their order. So the answers of a connection that is in the capture from its
        beginning belong one by one to the requests of the only connection that goes the other way round.
        """
        asking = self._lines.between(answer.candidate, answer.voter)
        answering = self._lines.between(answer.voter, answer.candidate)
        if len(asking) != 1 or len(answering) != 1 or self._lost(answer):
            return None
        requests = asking[0].asked
        if len(requests) > _MAX_REQUESTS or answer.number >= len(requests):
            return None
        return requests[answer.number]

    def _lost(self, answer: Answer) -> bool:
        """Whether something may be missing between the two servers."""
        asking = self._lines.between(answer.candidate, answer.voter)
        answering = self._lines.between(answer.voter, answer.candidate)
        forgets = self._lines.forgets
        if forgets(answer.candidate, answer.voter) or forgets(answer.voter, answer.candidate):
            return True
        return not asking or not all(line.from_start and line.lost is None for line in (*asking, *answering))


def asked_by(step: Step) -> Asked | None:
    """What a request asks; None when it is not known who asks, or what was captured does not say."""
    fields = step.fields
    if step.sender is None or step.term is None:
        return None
    if "pre_vote" not in fields and not step.whole:
        return None
    last = (fields["last_log_term"], fields["last_log_index"]) if "last_log_term" in fields else None
    return Asked(
        step.sender,
        step.line,
        step.term,
        bool(fields.get("pre_vote")),
        bool(fields.get("disrupt_leader")),
        last,
        step.place,
        step.sure and fields.get("candidate_id") == step.sender,
    )


def _place_of(asked: Asked) -> Place:
    return asked.place
