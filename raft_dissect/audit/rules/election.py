"""EL: elections: one leader and one vote in each term, given only to those whose log has all that is committed."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from raft_dissect.audit.group import Group
from raft_dissect.audit.judge import GRACE_NS, Subject
from raft_dissect.audit.knowledge.bounded import put, put_latest
from raft_dissect.audit.knowledge.votes import asked_by
from raft_dissect.audit.rule import Rule
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Collection

    from raft_dissect.audit.judge import Judge
    from raft_dissect.audit.knowledge import Knowledge
    from raft_dissect.audit.knowledge.lines import Line
    from raft_dissect.audit.knowledge.reigns import Reign
    from raft_dissect.audit.knowledge.votes import Answer, Asked
    from raft_dissect.audit.step import Step
    from raft_dissect.audit.verdicts import Reason
    from raft_dissect.values import Place

ONE_LEADER = Rule(
    "EL-01",
    "One leader in each term",
    "error",
    "AppendEntries, InstallSnapshot and TimeoutNow of one term come from one server.",
    "Raft 5.2: Election Safety",
    "Messages of leaders whose senders are known.",
    "The order of packets does not matter. A sender whose id is inferred makes it a suspicion.",
    "Servers 1 (frame 881) and 3 both act as leader of term 9.",
)
ONE_VOTE = Rule(
    "EL-02",
    "One vote in each term",
    "error",
    "A server grants its vote of one term to one candidate.",
    "Raft 5.2",
    "Two RequestVoteResult of one server and term that grant a real vote.",
    "The order of packets does not matter. Pre-votes are no votes; results before v0.11.3 do not say which they answer "
    "and count only where their place in the order of requests and results tells. A vote that nobody asked for is for "
    "EL-06.",
    "Server 2 granted its vote in term 9 to both 1 (frame 881) and 3 (frame 902).",
)
OWN_VOTE = Rule(
    "EL-03",
    "A candidate votes for itself",
    "error",
    "A server that asks for votes in a term grants its vote of that term to nobody else.",
    "Raft 5.2",
    "RequestVote of a candidate, and the results that it sends.",
    "As EL-02.",
    "Server 2 asks for votes in term 9 (frame 881), and grants its vote of that term to server 3.",
)
UP_TO_DATE = Rule(
    "EL-04",
    "Votes are for logs that are up to date",
    "error",
    "A voter grants its vote only if the last entry that RequestVote names is not before a committed entry that the "
    "voter has acknowledged in a lower term.",
    "Raft 5.4.1",
    "RequestVote and its result, and an acknowledgement of a committed entry in a lower term.",
    "Committed entries are never removed, and a server's messages of a lower term are older: no clock is needed. Only "
    "that part of an acknowledgement counts which its leader is known to have sent. A candidate that "
    "understates its own log is for MON-04.",
    "Server 2 grants its vote in term 9 to server 3, whose log ends at 40 of term 7, though it has the committed entry "
    "44 of term 8 (frame 881).",
)
SAME_REQUESTS = Rule(
    "EL-05",
    "A candidate asks everybody the same",
    "warning",
    "All RequestVote of one candidate in one term, pre-votes left out, name the same last entry and the same "
    "disrupt_leader.",
    "all releases: one round per term, made at once",
    "Two RequestVote of one candidate and term.",
    "Pre-votes may be repeated in one term with another log, so they are not compared.",
    "Candidate 2 names entry 40 of term 7 as its last one to server 3 in term 9, and entry 44 of term 7 to server 1 "
    "(frame 881).",
)
ANSWERS = Rule(
    "EL-06",
    "Answers carry the term of their request",
    "error",
    "A real vote is granted in the term of its RequestVote; the answer to a pre-vote mirrors the request's term.",
    "Raft 5.2; releases since v0.14.0",
    "RequestVote and its result.",
    "A refusal may carry any term. Before v0.14.0 the answer to a pre-vote carries the voter's own term: that is a "
    "warning where a pre-vote is granted in vain, because the candidate takes the answer for one of long ago.",
    "Server 2 grants its vote in term 9 to server 3, which has asked for none in that term.",
)
PRE_VOTE_FIRST = Rule(
    "EL-07",
    "Pre-votes come before votes",
    "warning",
    "A candidate that uses pre-votes, and has followed the leader of the term before, asks for real votes only after a "
    "majority has granted its pre-vote, unless disrupt_leader is set.",
    "thesis 9.6",
    "The voters, and all that they sent to the candidate.",
    "A candidate whose real round found no winner goes on with a real one, so it must have followed a leader.",
    "Server 3 asks for votes in term 9, though only 1 of 5 voters (itself included) granted its pre-vote.",
)
DISRUPTS = Rule(
    "EL-08",
    "Only a leader's TimeoutNow lets a server disrupt it",
    "error",
    "RequestVote with disrupt_leader comes from a server that was sent TimeoutNow in a lower term; since v0.11.3 it is "
    "no pre-vote.",
    "thesis 4.2.3",
    "All that the leader of the term before sent to the candidate, whom it followed.",
    "Any TimeoutNow of a lower term will do. A pre-vote with disrupt_leader is a warning where the release is not "
    "known to be v0.11.3 or later.",
    "Server 3 asks for votes in term 9 with disrupt_leader, though leader 1 of term 8 sent it no TimeoutNow.",
)
LOYAL = Rule(
    "EL-09",
    "Who hears a leader grants no votes",
    "warning",
    "A server that has just answered a leader twice, within three heartbeats, grants neither vote nor pre-vote, unless "
    "disrupt_leader is set.",
    "thesis 4.2.3",
    "RequestVote and its result, and results that the voter sent to a leader.",
    "An election timeout is longer than three heartbeats, which are measured. Two answers at different times are no "
    "remains of long ago. Voters that were started anew, or were candidates, have forgotten their leader.",
    "Server 2 grants server 3 a pre-vote in term 9, 40 ms after it answered leader 1 of term 8.",
)
VOTERS = Rule(
    "EL-10",
    "Only voters take part in elections",
    "error",
    "A server that is no voter according to the configuration in its own log grants no vote. If it asks for votes, "
    "that is a warning.",
    "thesis 4.2",
    "The configuration, and what the server has of the log.",
    "A server uses the configuration in its own log, so the entries that it has must be known: those that it has "
    "acknowledged, or the last one that it names when that is committed.",
    "Server 4 asks for votes in term 9, but is no voter in its own configuration.",
)
MAJORITY = Rule(
    "EL-11",
    "A leader was elected by a majority",
    "error",
    "A server leads a term only after a majority of the voters, itself included, has granted it the vote of that term.",
    "Raft 5.2",
    "The voters, and all that each of them sent to the leader.",
    "Not evaluated unless all connections from voters whose vote is missing were captured all the while.",
    "Server 3 leads term 9 with 2 votes of 5 voters (itself included).",
)
COMPLETE = Rule(
    "EL-12",
    "A leader has all that is committed",
    "error",
    "The last entry that a leader named when it asked for votes is not before an entry that was committed in a lower "
    "term.",
    "Raft 5.4: Leader Completeness",
    "RequestVote of a leader, and entries that leaders of lower terms said to be committed.",
    "A commit index on the wire is a lower bound, and terms tell the order. A candidate that "
    "understated its own log is for MON-04.",
    "Leader 3 of term 9 had a log up to 40 of term 7 when it was elected, but entry 44 of term 8 was committed in term "
    "8 (frame 881).",
)
STEPS = Rule(
    "EL-13",
    "Terms rise step by step",
    "warning",
    "A server's term rises by no more elections than there was time for since it was seen last.",
    "Raft 5.2",
    "Two messages of one server, and the interval of heartbeats.",
    "An election takes at least the time of one heartbeat. Elections that the capture does not show are allowed for.",
    "Server 3 shows term 900, 2.0 s after term 9 (frame 881): too many elections for that time.",
)
RULES = (
    ONE_LEADER,
    ONE_VOTE,
    OWN_VOTE,
    UP_TO_DATE,
    SAME_REQUESTS,
    ANSWERS,
    PRE_VOTE_FIRST,
    DISRUPTS,
    LOYAL,
    VOTERS,
    MAJORITY,
    COMPLETE,
    STEPS,
)

FROM_LEADERS = (table.APPEND_ENTRIES, table.INSTALL_SNAPSHOT, table.TIMEOUT_NOW)
_MIRRORING = frozenset({"c-0.18.0", "c-main", "w-0.17.4", "w-0.20.0", "w-0.22.1"})
"""Layouts of releases that are all v0.14.0 or later."""
_DIRECT = _MIRRORING | {"c-0.11.3"}
"""Layouts of releases that are all v0.11.3 or later: after TimeoutNow they ask for no pre-votes."""
_MAX = 4096
"""Servers and pairs that are remembered."""
_MAX_TOLD = 64
"""TimeoutNow messages to one server that are remembered."""
_MAX_REPLIES = 64
"""The latest results of one server that are remembered."""
_SERVERS = 16
"""As many servers may stand for election in turn, beside those that were seen."""

Reply = tuple[int, int, int, "Place", "Line"]
"""When a server answered a leader, whom, in which term, and on which connection."""


class Elections(Group):
    """Judges votes and leaders."""

    def __init__(self, knowledge: Knowledge, judge: Judge) -> None:
        super().__init__(knowledge, judge)
        self._leaders: dict[int, int] = {}  # by term
        self._told: dict[int, deque[tuple[int, Place]]] = {}  # by receiver: terms of TimeoutNow
        self._replies: dict[int, deque[Reply]] = {}
        self._shown: dict[int, tuple[int, Place]] = {}  # by server: its highest term, and where first
        self._highest = 0

    def message(self, step: Step) -> None:
        """A message, complete or partial."""
        type_ = step.type
        if step.term is not None and step.sender is not None and step.real:
            self._rises(step, step.sender, step.term)
        if type_ in FROM_LEADERS:
            self._leads(step)
        elif type_ == table.APPEND_ENTRIES_RESULT:
            self._replied(step)
        elif type_ == table.REQUEST_VOTE:
            self._asks(step)
        elif type_ == table.REQUEST_VOTE_RESULT:
            self._answers(step)

    # Terms

    def _rises(self, step: Step, server: int, term: int) -> None:
        shown = self._shown.get(server)
        if shown is not None and term <= shown[0]:
            return
        if term > self._highest:
            self._steps(step, shown, term)
            self._highest = term
        put(self._shown, server, (term, step.place), _MAX)

    def _steps(self, step: Step, shown: tuple[int, Place] | None, term: int) -> None:
        if term <= self._highest + 1 and self._highest:
            self.judge.hold(STEPS)
            return
        heartbeat = self.knowledge.timers.shortest_ns()
        elapsed = 0 if shown is None else step.place.time_ns - shown[1].time_ns
        if shown is None or not heartbeat or elapsed < 0:
            self.judge.skip(STEPS, "begun_midway")
            return
        before, place = shown
        if term - before <= (elapsed // heartbeat + 2) * (len(self._shown) + _SERVERS):
            self.judge.hold(STEPS)
            return
        self.judge.find(
            STEPS,
            step.place,
            f"Server {step.sender} shows term {term}, {elapsed / 1e9:.1f} s after term {before} (frame {place.frame}): "
            "too many elections for that time.",
            step.subject(),
            evidence=(place,),
        )

    # Leaders

    def _leads(self, step: Step) -> None:
        if step.sender is None or step.term is None:
            self.judge.skip(ONE_LEADER, "unknown_server" if step.sender is None else "cut_short")
            return
        leader, term = step.sender, step.term
        if step.type == table.TIMEOUT_NOW and step.receiver is not None:
            told = self._told.get(step.receiver) or deque(maxlen=_MAX_TOLD)
            told.append((term, step.place))
            put(self._told, step.receiver, told, _MAX)
        first = self._leaders.get(term)
        if first is None:
            put_latest(self._leaders, term, leader)
            self.judge.later(partial(self._elected, leader, term, step.place), step.place, 2 * GRACE_NS)
        if first is None or first == leader:
            self.judge.hold(ONE_LEADER)
            return
        other = self.knowledge.reigns.of(first, term)
        where = "" if other is None else f" (frame {other.first.frame})"
        self.judge.find(
            ONE_LEADER,
            step.place,
            f"Servers {first}{where} and {leader} both act as leader of term {term}.",
            Subject(leader, first, term),
            sure=step.sure and other is not None and other.sure,
            evidence=() if other is None else (other.first,),
            about=term,
        )

    def _elected(self, leader: int, term: int, place: Place) -> None:
        round_ = self.knowledge.votes.round(leader, term)
        if round_ is None:
            self.judge.skip(MAJORITY, "begun_midway")
            self.judge.skip(COMPLETE, "begun_midway")
        elif round_.last is None:
            self.judge.skip(MAJORITY, "cut_short")
            self.judge.skip(COMPLETE, "cut_short")
        else:
            reign = self.knowledge.reigns.of(leader, term)
            sure = round_.sure and reign is not None and reign.sure
            self._majority(leader, term, place, round_.last[1], round_.first, sure)
            self._complete(leader, term, place, round_.last, round_.first, sure)

    def _majority(self, leader: int, term: int, place: Place, end: int, asked: Place, sure: bool) -> None:
        voters = self.knowledge.configurations.voters(end)
        if not voters:
            self.judge.skip(MAJORITY, "unknown_voters")
            return
        votes = self.knowledge.votes
        missing = [voter for voter in voters if voter != leader and votes.grants(leader, voter, term) is None]
        granted = len(voters) - len(missing)
        if 2 * granted > len(voters):
            self.judge.hold(MAJORITY)
            return
        if votes.forgotten(term):
            self.judge.skip(MAJORITY, "forgotten")
            return
        reason = self._unseen(missing, leader, min(asked, place), place)
        if reason is not None:
            self.judge.skip(MAJORITY, reason)
            return
        self.judge.find(
            MAJORITY,
            place,
            f"Server {leader} leads term {term} with {granted} votes of {len(voters)} voters (itself included).",
            Subject(leader, None, term),
            sure=sure,
            evidence=(asked,),
            about=term,
        )

    def _unseen(self, voters: Collection[int], candidate: int, since: Place, until: Place) -> Reason | None:
        """Why voters may have sent a candidate more than is known."""
        misses = self.knowledge.lines.misses
        reasons = (misses(voter, candidate, since.time_ns - GRACE_NS, until) for voter in voters)
        return next((reason for reason in reasons if reason is not None), None)

    def _complete(self, leader: int, term: int, place: Place, last: tuple[int, int], asked: Place, sure: bool) -> None:
        committed = self.knowledge.log.committed_before(term)
        if committed is None:
            return
        if last[1] >= committed.log_index and last[0] >= committed.term:
            self.judge.hold(COMPLETE)
            return
        own = self.knowledge.durable.has(leader, term)
        if own is not None and last < own[0].position:
            return
        self.judge.find(
            COMPLETE,
            place,
            f"Leader {leader} of term {term} had a log up to {last[1]} of term {last[0]} when it was elected, but "
            f"entry {committed.log_index} of term {committed.term} was committed in term {committed.leader_term} "
            f"(frame {committed.place.frame}).",
            Subject(leader, None, term, committed.log_index),
            sure=sure,
            evidence=(asked, committed.place),
            about=term,
        )

    def _replied(self, step: Step) -> None:
        if step.sender is None or step.receiver is None or step.term is None:
            return
        replies = self._replies.get(step.sender)
        if replies is None:
            replies = deque(maxlen=_MAX_REPLIES)
            put(self._replies, step.sender, replies, _MAX)
        replies.append((step.place.time_ns, step.receiver, step.term, step.place, step.line))

    # Requests

    def _asks(self, step: Step) -> None:
        asked = asked_by(step)
        if asked is None:
            self._skip_request(step)
            return
        if asked.disrupt:
            self.judge.later(partial(self._disrupts, asked, step.layouts), asked.place, 2 * GRACE_NS)
        self.judge.later(partial(self._asks_as_voter, asked), asked.place)
        if asked.pre_vote:
            return
        round_ = self.knowledge.votes.round(asked.candidate, asked.term)
        if round_ is None and self.knowledge.votes.forgotten(asked.term):
            self.judge.skip(OWN_VOTE, "forgotten")
        elif round_ is None:
            self.judge.later(partial(self._stands, asked), asked.place, 2 * GRACE_NS)
        else:
            self._same(asked, next(iter(round_.asked.values())))

    def _skip_request(self, step: Step) -> None:
        reason: Reason = "unknown_server" if step.sender is None else "cut_short"
        for rule in (SAME_REQUESTS, DISRUPTS, VOTERS):
            self.judge.skip(rule, reason)

    def _same(self, asked: Asked, other: Asked) -> None:
        if asked.last is None or other.last is None:
            self.judge.skip(SAME_REQUESTS, "cut_short")
        elif (asked.last, asked.disrupt) == (other.last, other.disrupt):
            self.judge.hold(SAME_REQUESTS)
        else:
            self.judge.find(
                SAME_REQUESTS,
                asked.place,
                f"Candidate {asked.candidate} names {_entry(asked)} as its last one to server {asked.voter} in term "
                f"{asked.term}, and {_entry(other)} to server {other.voter} (frame {other.place.frame}).",
                Subject(asked.candidate, asked.voter, asked.term),
                evidence=(other.place,),
                about=asked.term,
            )

    def _stands(self, asked: Asked) -> None:
        """A candidate has asked for real votes; all that belongs to it is known by now."""
        candidate, term = asked.candidate, asked.term
        rivals = [answer for answer in self._granted_by(candidate, term) if answer.candidate != candidate]
        if not rivals:
            self.judge.hold(OWN_VOTE)
        if not asked.disrupt and self.knowledge.votes.pre_votes(candidate):
            self._pre_vote_first(asked)

    def _pre_vote_first(self, asked: Asked) -> None:
        candidate, term = asked.candidate, asked.term
        if self._followed(candidate, term - 1) is None:
            return
        voters = self.knowledge.configurations.voters(-1 if asked.last is None else asked.last[1])
        if not voters:
            self.judge.skip(PRE_VOTE_FIRST, "unknown_voters")
            return
        missing = [voter for voter in voters if voter != candidate and not self._pre_granted(voter, asked)]
        granted = len(voters) - len(missing)
        if 2 * granted > len(voters):
            self.judge.hold(PRE_VOTE_FIRST)
            return
        pre = self.knowledge.votes.round(candidate, term, pre_vote=True)
        since = asked.place if pre is None else min(pre.first, asked.place)
        reason = self._unseen(missing, candidate, since, asked.place)
        if reason is not None:
            self.judge.skip(PRE_VOTE_FIRST, reason)
            return
        self.judge.find(
            PRE_VOTE_FIRST,
            asked.place,
            f"Server {candidate} asks for votes in term {term}, though only {granted} of {len(voters)} voters (itself "
            "included) granted its pre-vote.",
            Subject(candidate, None, term),
            about=term,
        )

    def _pre_granted(self, voter: int, asked: Asked) -> bool:
        """Whether a voter may have granted the pre-vote before a request, as far as it is known."""
        votes = self.knowledge.votes
        known = votes.pre_granted(voter, asked.candidate)
        if known is not None and known.term <= asked.term:
            return True
        pre = votes.asked(asked.candidate, voter, asked.term, pre_vote=True)
        # A result without a flag cannot be told from others: the voter has the benefit of the doubt.
        return pre is not None and votes.unflagged(voter, asked.candidate)

    def _followed(self, server: int, term: int) -> Reign | None:
        """The leader of a term whom a server has answered in that term."""
        leader = self._leaders.get(term)
        reign = None if leader is None else self.knowledge.reigns.of(leader, term)
        sent = None if reign is None else reign.sent.get(server)
        return reign if sent is not None and sent.heard is not None else None

    def _disrupts(self, asked: Asked, layouts: frozenset[str]) -> None:
        subject = Subject(asked.candidate, None, asked.term)
        if asked.pre_vote:
            known = bool(layouts) and layouts <= _DIRECT
            self.judge.find(
                DISRUPTS,
                asked.place,
                f"Server {asked.candidate} asks for pre-votes in term {asked.term} with disrupt_leader: a "
                "heartbeat of the leader may undo the transfer.",
                subject,
                sure=asked.sure,
                severity="error" if known else "warning",
                about=("pre-vote", asked.term),
            )
            return
        if any(term < asked.term for term, _ in self._told.get(asked.candidate, ())):
            self.judge.hold(DISRUPTS)
            return
        reign = self._followed(asked.candidate, asked.term - 1)
        if reign is None:
            self.judge.skip(DISRUPTS, "begun_midway")
            return
        sent = reign.sent[asked.candidate]
        reason = self.knowledge.lines.misses(reign.leader, asked.candidate, sent.first.time_ns, asked.place)
        if reason is not None:
            self.judge.skip(DISRUPTS, reason)
            return
        self.judge.find(
            DISRUPTS,
            asked.place,
            f"Server {asked.candidate} asks for votes in term {asked.term} with disrupt_leader, though leader "
            f"{reign.leader} of term {reign.term} sent it no TimeoutNow.",
            subject,
            sure=asked.sure and reign.sure,
            about=asked.term,
        )

    def _asks_as_voter(self, asked: Asked) -> None:
        if asked.last is None:
            self.judge.skip(VOTERS, "cut_short")
            return
        term, end = asked.last
        voters = self.knowledge.configurations.voters(end)
        committed = self.knowledge.log.committed(end)
        if asked.candidate in voters:
            self.judge.hold(VOTERS)
        elif not voters or committed is None or committed.term != term:
            self.judge.skip(VOTERS, "unknown_voters")
        else:
            self.judge.find(
                VOTERS,
                asked.place,
                f"Server {asked.candidate} asks for votes in term {asked.term}, but is no voter in its own "
                "configuration.",
                Subject(asked.candidate, asked.voter, asked.term),
                severity="warning",
                about="candidate",
            )

    # Results

    def _answers(self, step: Step) -> None:
        answer = self.knowledge.votes.answer(step)
        if answer is None:
            for rule in (ONE_VOTE, UP_TO_DATE, ANSWERS):
                self.judge.skip(rule, "cut_short" if step.known else "unknown_server")
            return
        if answer.granted or answer.pre_vote:
            replies = tuple(self._replies.get(answer.voter, ()))
            self.judge.later(partial(self._answered, answer, replies), answer.place)

    def _answered(self, answer: Answer, replies: tuple[Reply, ...]) -> None:
        votes = self.knowledge.votes
        pre_vote = votes.is_pre_vote(answer)
        self._mirrors(answer, pre_vote)
        if not answer.granted:
            return
        if pre_vote is None:
            for rule in (ONE_VOTE, UP_TO_DATE, LOYAL):
                self.judge.skip(rule, "ambiguous")
            return
        asked = votes.asked(answer.candidate, answer.voter, answer.term, pre_vote=pre_vote)
        if asked is None and pre_vote:
            asked = votes.request(answer) or votes.pre_asked(answer.candidate, answer.voter)
        self._loyal(answer, asked, replies)
        if pre_vote:
            return
        self._votes_as_voter(answer)
        if asked is None:
            for rule in (ONE_VOTE, UP_TO_DATE):
                self.judge.skip(rule, "other_direction")
            return
        self._one_vote(answer, asked)
        self._up_to_date(answer, asked)

    def _granted_by(self, voter: int, term: int) -> list[Answer]:
        return list(self.knowledge.votes.granted(voter, term))

    def _one_vote(self, answer: Answer, asked: Asked) -> None:
        votes = self.knowledge.votes
        voter, term, candidate = answer.voter, answer.term, answer.candidate
        others = [
            other
            for other in self._granted_by(voter, term)
            if other.candidate != candidate and votes.asked(other.candidate, voter, term) is not None
        ]
        own = votes.round(voter, term)
        if own is not None and candidate != voter:
            self.judge.find(
                OWN_VOTE,
                max(answer.place, own.first),
                f"Server {voter} asks for votes in term {term} (frame {own.first.frame}), and grants its vote of that "
                f"term to server {candidate} (frame {answer.place.frame}).",
                Subject(voter, candidate, term),
                sure=answer.sure and own.sure and asked.sure,
                evidence=(own.first, answer.place),
                about=term,
            )
            return
        if not others:
            self.judge.hold(ONE_VOTE)
            return
        other = others[0]
        if other.place > answer.place or (other.place == answer.place and other.candidate > candidate):
            return  # the later one is judged
        self.judge.find(
            ONE_VOTE,
            answer.place,
            f"Server {voter} granted its vote in term {term} to both {other.candidate} (frame {other.place.frame}) and "
            f"{candidate} (frame {answer.place.frame}).",
            Subject(voter, candidate, term),
            sure=answer.sure and other.sure and asked.sure,
            evidence=(other.place,),
            about=term,
        )

    def _up_to_date(self, answer: Answer, asked: Asked) -> None:
        voter, term, candidate = answer.voter, answer.term, answer.candidate
        has = self.knowledge.durable.has
        known = has(voter, term)
        if known is None:
            self.judge.skip(UP_TO_DATE, "begun_midway")
            return
        if asked.last is None:
            self.judge.skip(UP_TO_DATE, "cut_short")
            return
        committed, acknowledged = known
        if asked.last >= committed.position:
            self.judge.hold(UP_TO_DATE)
            return
        own = has(candidate, term)
        if own is not None and asked.last < own[0].position:
            return
        self.judge.find(
            UP_TO_DATE,
            answer.place,
            f"Server {voter} grants its vote in term {term} to server {candidate}, whose log ends at {asked.last[1]} "
            f"of term {asked.last[0]}, though it has the committed entry {committed.log_index} of term "
            f"{committed.term} (frame {acknowledged.place.frame}).",
            Subject(voter, candidate, term, committed.log_index),
            sure=answer.sure and asked.sure and acknowledged.sure,
            evidence=(asked.place, acknowledged.place, committed.place),
            about=term,
        )

    def _votes_as_voter(self, answer: Answer) -> None:
        voter, term = answer.voter, answer.term
        known = self.knowledge.durable.has(voter, term)
        voters = frozenset() if known is None else self.knowledge.configurations.voters(known[0].log_index)
        if known is None or not voters:
            self.judge.skip(VOTERS, "unknown_voters")
            return
        if voter in voters:
            self.judge.hold(VOTERS)
            return
        at = known[0].log_index
        later = (seen for seen in self.knowledge.configurations if seen.conf_index > at)
        if any(voter in seen.voters for seen in later) or not self.knowledge.configurations.voters(self._end()):
            self.judge.skip(VOTERS, "unknown_voters")
            return
        self.judge.find(
            VOTERS,
            answer.place,
            f"Server {voter} grants its vote in term {term} to server {answer.candidate}, but is no voter in its own "
            "configuration.",
            Subject(voter, answer.candidate, term),
            sure=answer.sure and known[1].sure,
            evidence=(known[1].place,),
            about=term,
        )

    def _end(self) -> int:
        """The highest index that any leader of a remembered term had."""
        reigns = (self.knowledge.reigns.of(leader, term) for term, leader in self._leaders.items())
        return max((reign.end for reign in reigns if reign is not None), default=-1)

    def _mirrors(self, answer: Answer, pre_vote: bool | None) -> None:
        votes = self.knowledge.votes
        voter, candidate, term = answer.voter, answer.candidate, answer.term
        if pre_vote is None:
            self.judge.skip(ANSWERS, "ambiguous")
        elif votes.asked(candidate, voter, term, pre_vote=pre_vote) is not None:
            self.judge.hold(ANSWERS)
        elif votes.forgotten(term):
            self.judge.skip(ANSWERS, "forgotten")
        elif pre_vote:
            self._own_term(answer)
        elif (reason := self._may_have_asked(answer)) is not None:
            self.judge.skip(ANSWERS, reason)
        else:
            self.judge.find(
                ANSWERS,
                answer.place,
                f"Server {voter} grants its vote in term {term} to server {candidate}, which has asked for none in "
                "that term.",
                Subject(voter, candidate, term),
                sure=answer.sure,
                about=term,
            )

    def _may_have_asked(self, answer: Answer) -> Reason | None:
        """Why a candidate may have asked for a vote in a term, though no such request is known."""
        knowledge = self.knowledge
        if knowledge.terms.stood(answer.candidate, answer.term):
            return "gap"
        if not knowledge.terms.began(answer.candidate, answer.term):
            return "begun_midway"
        return self._from_start(answer)

    def _from_start(self, answer: Answer) -> Reason | None:
        lines = self.knowledge.lines.between(answer.candidate, answer.voter)
        if not lines:
            return "other_direction"
        if self.knowledge.lines.forgets(answer.candidate, answer.voter):
            return "forgotten"
        if self.knowledge.votes.asked_unread(answer.candidate, answer.voter):
            return "cut_short"
        if any(line.lost is not None for line in lines):
            return "gap"
        if not any(line.last > answer.place for line in lines):
            return "capture_end"  # what is missing at the end of a connection does not show
        return None if all(line.from_start for line in lines) else "begun_midway"

    def _own_term(self, answer: Answer) -> None:
        """A pre-vote is answered in a term in which it was not asked for."""
        votes = self.knowledge.votes
        asked = votes.request(answer) or votes.pre_asked(answer.candidate, answer.voter)
        elsewhere = votes.round(answer.candidate, answer.term, pre_vote=True) is not None
        reason = "gap" if elsewhere else self._from_start(answer)
        if asked is None or reason is not None or not asked.pre_vote:
            self.judge.skip(ANSWERS, reason or "begun_midway")
            return
        newer = bool(answer.layouts) and answer.layouts <= _MIRRORING
        deaf = answer.granted and answer.term < asked.term - 1
        if not newer and not deaf:
            self.judge.hold(ANSWERS)
            return
        granted = "grants" if answer.granted else "refuses"
        effect = ": the candidate has left it behind, and does not count the answer" if deaf else ""
        self.judge.find(
            ANSWERS,
            answer.place,
            f"Server {answer.voter} {granted} server {answer.candidate} a pre-vote of term {asked.term} (frame "
            f"{asked.place.frame}) with its own term {answer.term}{effect}.",
            Subject(answer.voter, answer.candidate, answer.term),
            sure=answer.sure,
            severity="error" if newer else "warning",
            evidence=(asked.place,),
        )

    def _loyal(self, answer: Answer, asked: Asked | None, replies: tuple[Reply, ...]) -> None:
        if asked is None:
            self.judge.skip(LOYAL, "other_direction")
            return
        if asked.disrupt:
            return
        now = answer.place.time_ns
        before = [reply for reply in replies if reply[0] < now and reply[1] != answer.candidate]
        if not before:
            self.judge.hold(LOYAL)
            return
        latest, leader, term, place, line = before[-1]
        heartbeat = self.knowledge.timers.pace_ns(leader)
        if heartbeat is None:
            self.judge.skip(LOYAL, "begun_midway")
            return
        loyal = any(
            reply[1:3] == (leader, term) and latest - reply[0] >= heartbeat // 2 and now - reply[0] <= 3 * heartbeat
            for reply in before
        )
        anew = line.end is not None and line.reason != "capture_end" and line.end.time_ns <= now
        if not loyal or anew or term >= asked.term or now - latest > 3 * heartbeat // 2 or self._stood(answer, term):
            self.judge.hold(LOYAL)
            return
        self.judge.find(
            LOYAL,
            answer.place,
            f"Server {answer.voter} grants server {answer.candidate} a {'pre-' if asked.pre_vote else ''}vote in term "
            f"{asked.term}, {(now - latest) / 1e6:.0f} ms after it answered leader {leader} of term {term} (frame "
            f"{place.frame}).",
            Subject(answer.voter, answer.candidate, asked.term),
            evidence=(place,),
        )

    def _stood(self, answer: Answer, since: int) -> bool:
        """Whether a voter asked for votes itself since some term, and so forgot its leader."""
        votes, voter = self.knowledge.votes, answer.voter
        terms = {since + 1, answer.term, answer.term - 1}
        return any(votes.round(voter, term, pre_vote=pre) is not None for term in terms for pre in (False, True))


def _entry(asked: Asked) -> str:
    last = asked.last or (0, 0)
    return f"entry {last[1]} of term {last[0]}" + (" with disrupt_leader" if asked.disrupt else "")
