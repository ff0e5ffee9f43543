"""LIVE: whether the cluster gets on: heartbeats, elections, commits, lags, quorums. No rule is an error."""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.audit.group import Group
from raft_dissect.audit.judge import NEVER_NS, Subject
from raft_dissect.audit.knowledge.bounded import put_latest
from raft_dissect.audit.knowledge.timers import ELECTION
from raft_dissect.audit.rule import Rule
from raft_dissect.cluster.replicated import loses_messages
from raft_dissect.diagnosis.leadership import without_leader
from raft_dissect.diagnosis.replication import is_silent
from raft_dissect.diagnosis.visibility import shows_leaders
from raft_dissect.diagnosis.words import REASONS, capital, seconds_between, server, servers
from raft_dissect.units import counted, duration, size
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from raft_dissect.audit.judge import Judge
    from raft_dissect.audit.knowledge import Knowledge
    from raft_dissect.audit.knowledge.lines import Line
    from raft_dissect.audit.knowledge.reigns import Reign
    from raft_dissect.audit.step import Step
    from raft_dissect.audit.verdicts import Reason
    from raft_dissect.cluster.facts import ClusterFacts, Election, Leaderless, ReplicationFact, ServerName, Snapshot
    from raft_dissect.values import Diagnostic, Place

_TIMEOUT = (
    "The election timeout is taken as ten heartbeat intervals, which no release exceeds if it is not told otherwise, "
    "or else from how long followers were patient."
)

HEARTBEATS = Rule(
    "LIVE-01",
    "A leader's messages come regularly",
    "warning",
    "On one connection and in one term, AppendEntries follows AppendEntries within three heartbeat intervals.",
    "Raft 5.2",
    "AppendEntries on one connection, and the heartbeat interval: the median time to AppendEntries without entries, "
    "of five at least.",
    "Times in which packets are missing from the capture are left out. Leaders send heartbeats after one to two "
    "intervals, so three are no delay yet that would make anybody impatient.",
    "Leader 1 sends server 2 nothing for 420 ms, with heartbeats every 100 ms.",
)
LEADER = Rule(
    "LIVE-02",
    "There is a leader",
    "warning",
    "Nobody leads for an election timeout at most, or for two at the end of the capture.",
    "Raft 5.2",
    "Messages of leaders and of their followers, and an estimate of the election timeout.",
    _TIMEOUT + " Nothing is said where packets are missing, or where the capture would not show a leader.",
    "No leader for 1.5 s after server 2, leader of term 2, whose connections ended; then server 3 led term 4.",
)
STORM = Rule(
    "LIVE-03",
    "Elections end",
    "warning",
    "Fewer than three rounds of votes or pre-votes within ten election timeouts elect nobody, until one does.",
    "Raft 5.2",
    "Vote requests, their answers, and an estimate of the election timeout.",
    _TIMEOUT,
    "7 rounds of votes by server 2 elect nobody in 4.4 s, terms 7 to 13; most often server 3 refuses: the voter has a "
    "leader.",
)
SPLIT = Rule(
    "LIVE-04",
    "Votes are not split",
    "note",
    "No round of votes ends because the votes were split among several candidates.",
    "Raft 5.2",
    "Vote requests of two candidates in one term, and their answers.",
    "Only voters that were seen to vote for themselves or for another candidate of the term count.",
    "The votes of term 4 were split among servers 1 and 3.",
)
STARVED = Rule(
    "LIVE-05",
    "Who is granted a pre-vote may count it",
    "warning",
    "A pre-vote that is granted is not answered with a term that is below the candidate's own in three rounds of a "
    "candidate that goes on with no election.",
    "C-Raft since 0.14.0 answers with the term of the request",
    "Pre-vote requests and their answers.",
    "Before 0.14.0 a voter answers with its own term, which is lower by one usually: only a lower one is ignored.",
    "Candidate 2 cannot count the pre-votes of server 3, which answers with term 4 to requests of term 7.",
)
LATENCY = Rule(
    "LIVE-06",
    "How long commits take",
    "chat",
    "What is told of each leader whose entries are seen to be committed; it cannot fail.",
    "Raft 5.3",
    "Entries, the results of followers, and who votes.",
    "Times are those at the place of the capture. Where it does not show the voters an entry counts as committed when "
    "its leader says so, which may be a heartbeat later.",
    "Entries of leader 1 are seen to be committed after 1.2 ms (median), 95 % within 3.1 ms, 99 % within 9 ms.",
)
LAG = Rule(
    "LIVE-07",
    "Followers catch up",
    "warning",
    "How far a follower is behind its leader does not grow from quarter to quarter of the capture to more than 64 "
    "entries, and a follower whose snapshot was cut off is sent something when it is connected again.",
    "Raft 5.3; C-Raft before 0.10.0 never sends a snapshot again",
    "AppendEntries and results, or a snapshot that was cut off and the connections behind it.",
    "Four quarters have to grow, and the last of them has to be the highest.",
    "Server 3 is 900 entries behind leader 1 at the end, and was 120, 350 and 600 behind before.",
)
SILENT = Rule(
    "LIVE-08",
    "Followers answer",
    "warning",
    "A follower whose TCP acknowledges AppendEntries for an election timeout answers one of them.",
    "Raft 5.3",
    "AppendEntries that TCP acknowledged, and the answers of another follower to the same leader.",
    "As in the report: without other followers' answers the capture may lack those of this one. " + _TIMEOUT,
    "Server 3 answers none of 40 requests of leader 1 in 4 s.",
)
ALONE = Rule(
    "LIVE-09",
    "Who is heard by no majority leads no more",
    "warning",
    "A leader does not go on to send AppendEntries for another election timeout when no majority of the voters has "
    "answered it for two.",
    "Raft 6; C-Raft's leaders step down after one to two election timeouts",
    "The voters, their connections to the leader, and the heartbeat interval.",
    "What waited for a lost connection leaves all at once; messages over a whole timeout are needed. " + _TIMEOUT,
    "Leader 1 still sends AppendEntries 4.1 s after a majority answered it last.",
)
FLAPPING = Rule(
    "LIVE-10",
    "Leaders stay",
    "warning",
    "Leadership changes fewer than three times within sixty election timeouts, those aside that a transfer asked for.",
    "Raft 5.6",
    "Messages of leaders, and an estimate of the election timeout.",
    _TIMEOUT,
    "Leadership changes 3 times in 13 s, among servers 1, 2 and 3, and nobody asked for that.",
)
CLOCKS = Rule(
    "LIVE-11",
    "Capture points have one time",
    "warning",
    "No result that acknowledges an entry is older than the AppendEntries that first brings this entry to the same "
    "follower, where the two are in different capture files.",
    "",
    "A capture of several files, an entry of the leader's own term and the result for it in different ones.",
    "Nobody can have an entry of a term before its leader has sent it. Where packets are missing nothing is said.",
    "The clocks of the capture points differ by 12 ms at least: the answer in file 2 is older than its request in "
    "file 1.",
)
QUORUM = Rule(
    "LIVE-12",
    "A majority of the voters is there",
    "warning",
    "Where the capture ends without a leader for two election timeouts, a majority of the voters is heard behind the "
    "first of them.",
    "Raft 5.2",
    "The voters, and a time without a leader until the end of the capture, in which somebody asks for votes or "
    "pre-votes.",
    _TIMEOUT,
    "Of 3 voters only server 1 is heard in the last 8 s: 2 and 3 are missing, and nobody can be elected.",
)
IDLE = Rule(
    "LIVE-13",
    "What an idle cluster costs",
    "chat",
    "What is told of each leader whose heartbeat interval is known; it cannot fail.",
    "Protocol document section 3.3",
    "Heartbeats.",
    "Sizes are those of Raft messages, without TCP and TLS.",
    "An idle leader 1 sends 128 B to 2 followers every 100 ms: 1.25 KiB/s.",
)
EVEN = Rule(
    "LIVE-14",
    "The number of voters is odd",
    "note",
    "The last configuration has an odd number of voters: an even one bears no more failures than one less.",
    "Raft 5.2",
    "A configuration in a change or a snapshot.",
    "Only the last configuration of the capture counts.",
    "The configuration at 253 has 4 voters: two failures stop it, as with 3.",
)
RULES = (
    HEARTBEATS,
    LEADER,
    STORM,
    SPLIT,
    STARVED,
    LATENCY,
    LAG,
    SILENT,
    ALONE,
    FLAPPING,
    CLOCKS,
    QUORUM,
    IDLE,
    EVEN,
)

_SECOND = 1e9
_MAX_KNOWN = 1024
_MAX_GAPS = 8
_MAX_HOLES = 4096
_INTERVALS = 3
_ROUNDS = 3
_STORM_TIMEOUTS = 10
_FLAPPING_TIMEOUTS = 60
_CHANGES = 3
_GROWN = 64
_QUARTERS = 4
_FEW_REQUESTS = 3
_CHECK_NS = 50_000_000
"""How often a leader's majority is looked for: less often than heartbeats come."""
_HEARTBEAT_BYTES = 64
"""AppendEntries without entries."""
_IMPATIENT = ("heartbeats_absent", "connection_lost")


class _Gap(NamedTuple):
    """A time between two AppendEntries on one connection, in nanoseconds."""

    elapsed_ns: int
    place: Place
    """Where it ends."""
    line: Line
    term: int


class _Gaps:
    """The longest times between two AppendEntries of one leader to one follower."""

    __slots__ = ("appends", "floor_ns", "longest")

    def __init__(self) -> None:
        self.appends = 0
        self.floor_ns = 0
        self.longest: list[_Gap] = []

    def add(self, gap: _Gap) -> None:
        """Take note of one."""
        self.longest.append(gap)
        if len(self.longest) > _MAX_GAPS:
            self.longest.remove(min(self.longest))
            self.floor_ns = min(self.longest).elapsed_ns


class _Alone:
    """What a leader sent when no majority had answered it for two election timeouts."""

    __slots__ = ("checked", "first", "found", "silent", "since_ns")

    def __init__(self) -> None:
        self.checked = -1
        """When it was looked for, in units of `_CHECK_NS`."""
        self.silent = False
        """Whether it had not answered for one election timeout then."""
        self.since_ns = -1
        self.first: Place | None = None
        self.found = False


class _Ballots:
    """Pre-votes that were granted to one candidate by one voter, and that it cannot count."""

    __slots__ = ("places", "request", "requests", "term")

    def __init__(self) -> None:
        self.term = 0
        """Of the latest request."""
        self.request: Place | None = None
        """The latest request, if it is for a pre-vote and not answered."""
        self.requests = 0
        self.places: list[Place] = []


class Liveness(Group):
    """Judges whether the cluster gets on."""

    def __init__(self, knowledge: Knowledge, judge: Judge) -> None:
        super().__init__(knowledge, judge)
        self._gaps: dict[tuple[int, int], _Gaps] = {}
        self._alone: dict[tuple[int, int], _Alone] = {}  # by leader and term
        self._ballots: dict[tuple[int, int], _Ballots] = {}  # by candidate and voter
        self._early: dict[tuple[int, int], tuple[int, int, Place]] = {}  # results by leader and follower
        self._holes: list[tuple[int, int, Line]] = []
        self._too_many_holes = False

    def message(self, step: Step) -> None:
        """A message, complete or partial."""
        if step.sender is None or step.receiver is None or step.term is None:
            return
        if step.type == table.APPEND_ENTRIES:
            self._append(step, step.sender, step.receiver, step.term)
        elif step.type == table.APPEND_ENTRIES_RESULT:
            self._result(step, step.receiver, step.sender)
        elif step.type == table.REQUEST_VOTE:
            self._request(step, step.sender, step.receiver, step.term)
        elif step.type == table.REQUEST_VOTE_RESULT:
            self._vote(step, step.receiver, step.sender, step.term)

    def patience_ns(self, step: Step) -> int | None:
        """How long after a message another one like it may come without being told; None if all must be told."""
        if step.type != table.APPEND_ENTRIES:
            return NEVER_NS
        pair = step.sender or 0, step.receiver or 0
        gaps, alone = self._gaps.get(pair), self._alone.get((pair[0], step.term or 0))
        early = self._early.get(pair)
        calm = alone is not None and not alone.silent and (early is None or early[2].file == step.place.file)
        return gaps.floor_ns if gaps is not None and calm else None

    def passed(self, step: Step, times: int) -> None:
        """So many messages like one that was told have not been told."""
        gaps = self._gaps.get((step.sender or 0, step.receiver or 0))
        if step.type == table.APPEND_ENTRIES and gaps is not None:
            gaps.appends += times

    def diagnostic(self, line: Line, diagnostic: Diagnostic) -> None:
        """Something is missing or wrong on a connection."""
        if not loses_messages(diagnostic) and diagnostic.kind != "unfinished":
            return
        if len(self._holes) >= _MAX_HOLES:
            self._too_many_holes = True
            return
        begin = diagnostic.place if diagnostic.gap is None else diagnostic.gap.before
        self._holes.append((begin.time_ns, diagnostic.place.time_ns, line))

    def _hidden(self, first_ns: int, last_ns: int, line: Line | None = None) -> bool:
        """Whether messages of some time are missing from the capture, of one connection or of any."""
        return self._too_many_holes or any(
            begin <= last_ns and end >= first_ns and (line is None or line is hole_line)
            for begin, end, hole_line in self._holes
        )

    # What each message tells.

    def _append(self, step: Step, leader: int, follower: int, term: int) -> None:
        pair = leader, follower
        gaps = self._gaps.get(pair)
        if gaps is None:
            gaps = self._gaps[pair] = _Gaps()
            if len(self._gaps) > _MAX_KNOWN:
                del self._gaps[next(iter(self._gaps))]
        if step.line.appended_term == term:
            gaps.appends += 1
            elapsed = step.place.time_ns - step.line.appended_ns
            if elapsed > gaps.floor_ns:
                gaps.add(_Gap(elapsed, step.place, step.line, term))
        self._majority(step, leader, term)
        early = self._early.get(pair)
        if early is not None and step.entries:
            self._late_request(step, early)

    def _majority(self, step: Step, leader: int, term: int) -> None:
        alone = self._alone.get((leader, term))
        if alone is None:
            alone = _Alone()
            put_latest(self._alone, (leader, term), alone)
        now_ns = step.place.time_ns
        if alone.found or now_ns // _CHECK_NS == alone.checked:
            return
        alone.checked = now_ns // _CHECK_NS
        reign = self.knowledge.reigns.of(leader, term)
        if reign is None:
            return
        since_ns = self._majority_heard(reign)
        timeout = None if since_ns is None else self.knowledge.timers.election_ns(leader)
        alone.silent = since_ns is not None and timeout is not None and now_ns - since_ns > timeout
        if since_ns is None or timeout is None or now_ns - since_ns <= 2 * timeout:
            alone.first = None
        elif alone.first is None or alone.since_ns != since_ns:
            alone.first, alone.since_ns = step.place, since_ns
        elif now_ns - alone.first.time_ns >= timeout:
            alone.found = True
            self.judge.later(partial(self._goes_on, step, reign, since_ns, alone), step.place)

    def _majority_heard(self, reign: Reign) -> int | None:
        """When a leader had last heard of a majority of the voters; None when that is not known."""
        voters = self.knowledge.configurations.voters(reign.end)
        needed = len(voters) // 2 + 1 - (reign.leader in voters)
        if not voters or needed <= 0:
            return None
        heard = []
        for voter in voters:
            sent = reign.sent.get(voter)
            place = None if sent is None else sent.heard
            heard.append(reign.first.time_ns if place is None else place.time_ns)
        heard.sort(reverse=True)
        return heard[needed - 1]

    def _goes_on(self, step: Step, reign: Reign, since_ns: int, alone: _Alone) -> None:
        if self._majority_heard(reign) != since_ns:
            alone.found, alone.first = False, None
            return
        reason = self._unheard(reign, since_ns)
        if reason is not None:
            self.judge.skip(ALONE, reason)
            return
        self.judge.find(
            ALONE,
            step.place,
            f"Leader {reign.leader} still sends AppendEntries of term {reign.term} "
            f"{duration((step.place.time_ns - since_ns) / _SECOND)} after a majority answered it last.",
            Subject(reign.leader, None, reign.term),
            about=reign.term,
        )

    def _unheard(self, reign: Reign, since_ns: int) -> Reason | None:
        """Why the voters' answers to a leader since some time may not be in the capture; None if they are."""
        for voter in self.knowledge.configurations.voters(reign.end) - {reign.leader}:
            lines = self.knowledge.lines.between(voter, reign.leader)
            if not lines:
                return "other_direction"
            if self.knowledge.lines.forgets(voter, reign.leader, since_ns):
                return "forgotten"
            if any(line.lost is not None and line.lost.time_ns >= since_ns for line in lines):
                return "gap"
        return None

    def _result(self, step: Step, leader: int, follower: int) -> None:
        fields = step.fields
        if fields.get("rejected") != 0 or "last_log_index" not in fields or step.term is None:
            return
        sent = self.knowledge.reigns.sent(leader, follower, step.term)
        index = fields["last_log_index"]
        if sent is None or sent.end_place is None or index > sent.end:
            self._early[leader, follower] = step.term, index, step.place
            if len(self._early) > _MAX_KNOWN:
                del self._early[next(iter(self._early))]
        elif index == sent.end and sent.end_place.file != step.place.file and step.place >= sent.end_place:
            self.judge.hold(CLOCKS)

    def _late_request(self, step: Step, early: tuple[int, int, Place]) -> None:
        """AppendEntries after a result that acknowledges more than was known to be sent."""
        term, index, place = early
        if term != step.term or step.ends is None or not step.whole:
            return
        first = step.ends - len(step.entries) + 1
        if not first <= index <= step.ends or step.entries[index - first].term != term:
            return
        if place.file == step.place.file or place.time_ns >= step.message.first.time_ns:
            return
        del self._early[step.sender or 0, step.receiver or 0]
        if step.line.lost is not None or not step.line.from_start:
            self.judge.skip(CLOCKS, "gap" if step.line.from_start else "begun_midway")
            return
        self.judge.find(
            CLOCKS,
            step.place,
            f"The clocks of the capture points differ by {duration((step.place.time_ns - place.time_ns) / _SECOND)} at "
            f"least: the answer in file {place.file + 1} (frame {place.frame}) is older than its request in file "
            f"{step.place.file + 1}.",
            Subject(),
            evidence=(place,),
            about=(place.file, step.place.file),
        )

    def _request(self, step: Step, candidate: int, voter: int, term: int) -> None:
        ballots = self._ballots.setdefault((candidate, voter), _Ballots())
        if len(self._ballots) > _MAX_KNOWN:
            del self._ballots[next(iter(self._ballots))]
        pre_vote = bool(step.fields.get("pre_vote", 0))
        if not pre_vote:
            ballots.places.clear()
        ballots.request = step.place if pre_vote else None
        ballots.term = term

    def _vote(self, step: Step, candidate: int, voter: int, term: int) -> None:
        ballots = self._ballots.get((candidate, voter))
        granted = step.fields.get("vote_granted")
        if ballots is None or ballots.request is None or not step.fields.get("pre_vote", 1):
            return
        if granted is None:
            self.judge.skip(STARVED, "cut_short")
            return
        ballots.request = None
        if not granted:
            return
        if term + 1 >= ballots.term:
            self.judge.hold(STARVED)
            ballots.places.clear()
            return
        ballots.places.append(step.place)
        if len(ballots.places) < _ROUNDS:
            return
        self.judge.find(
            STARVED,
            step.place,
            f"Candidate {candidate} cannot count the pre-votes of server {voter}, which answers with term {term} to "
            f"requests of term {ballots.term}: {len(ballots.places)} rounds by now.",
            Subject(candidate, voter, ballots.term),
            evidence=ballots.places[-_ROUNDS:],
        )
        del ballots.places[:-_ROUNDS]

    # What the whole capture tells.

    def end(self, facts: ClusterFacts) -> None:
        """The capture is over."""
        timeout = self._timeout(facts)
        self._regular(facts)
        self._leaders(facts, timeout)
        self._rounds(facts, timeout)
        self._split(facts)
        self._alone_or_not()
        for pair in facts.replication:
            self._lags(pair)
            self._answers(facts, pair, timeout)
        self._snapshots(facts)
        self._commits(facts)
        self._flaps(facts, timeout)
        self._quorum(facts, timeout)
        self._idle(facts)
        self._even(facts)

    def _timeout(self, facts: ClusterFacts) -> float | None:
        """The election timeout in seconds, not too short; None when nothing tells it."""
        known = self.knowledge.timers.election_ns()
        if known is not None:
            return known / _SECOND
        waits: dict[tuple[ServerName, ServerName | None], float] = {}
        for election in facts.elections:
            if election.silent_seconds is not None and election.cause in _IMPATIENT:
                waits.setdefault((election.candidate, election.leader), election.silent_seconds)
        if not waits:
            return None
        # A candidate may not have got what the capture shows of its leader, and then seems to be impatient.
        spreads = (pair.heartbeat_seconds for pair in facts.replication)
        longest = max((spread.p50 for spread in spreads if spread is not None), default=0.0)
        return max(*waits.values(), ELECTION * longest)

    def _regular(self, facts: ClusterFacts) -> None:
        for (leader, follower), gaps in self._gaps.items():
            heartbeat = self.knowledge.timers.heartbeat_ns(leader)
            if heartbeat is None:
                self.judge.skip(HEARTBEATS, "unknown_timers", gaps.appends)
                continue
            long = [gap for gap in gaps.longest if gap.elapsed_ns > _INTERVALS * heartbeat]
            self.judge.hold(HEARTBEATS, gaps.appends - len(long))
            for gap in sorted(long, key=_place_of):
                begin_ns, end_ns = gap.place.time_ns - gap.elapsed_ns, gap.place.time_ns
                if self._hidden(begin_ns, end_ns, gap.line):
                    self.judge.skip(HEARTBEATS, "gap")
                    continue
                again = _sent_again(facts, leader, follower, begin_ns, end_ns)
                self.judge.find(
                    HEARTBEATS,
                    gap.place,
                    f"Leader {leader} sends server {follower} nothing for {duration(gap.elapsed_ns / _SECOND)}, with "
                    f"heartbeats every {duration(heartbeat / _SECOND)}"
                    f"{': TCP sent segments again in that time' if again else ''}.",
                    Subject(leader, follower, gap.term),
                    about=gap.place,
                )

    def _leaders(self, facts: ClusterFacts, timeout: float | None) -> None:
        reason = _unseen(facts, timeout)
        if reason is not None or timeout is None:
            self.judge.skip(LEADER, reason or "unknown_timers", max(1, len(facts.leaderless)))
            return
        if not facts.leaderless:
            self.judge.hold(LEADER, len(facts.leaders))
        for interval in facts.leaderless:
            allowed = 2 * timeout if interval.ended_by == "capture_end" else timeout
            if seconds_between(interval.first, interval.last) <= allowed:
                self.judge.hold(LEADER)
            elif _of_one(facts):
                self.judge.skip(LEADER, "other_direction")
            elif self._hidden(interval.first.time_ns, interval.last.time_ns):
                self.judge.skip(LEADER, "gap")
            else:
                self._without(facts, interval)

    def _without(self, facts: ClusterFacts, interval: Leaderless) -> None:
        before = next((one for one in reversed(facts.leaders) if one.last == interval.first), None)
        place = interval.last if interval.last.frame else interval.first
        self.judge.find(
            LEADER,
            place,
            without_leader(facts, interval),
            Subject(_id(before.leader) if before else None, None, before.term if before else None),
            evidence=(interval.first,),
            about=interval.first,
        )

    def _rounds(self, facts: ClusterFacts, timeout: float | None) -> None:
        reason = _unseen(facts, timeout)
        if reason is not None or timeout is None:
            if facts.elections:
                self.judge.skip(STORM, reason or "unknown_timers")
            return
        for rounds in _until_won(facts, timeout):
            storm = list(_stormy(rounds, timeout))
            if not storm:
                self.judge.hold(STORM)
            elif _of_one(facts):
                self.judge.skip(STORM, "other_direction")
            else:
                self._storm(storm)

    def _storm(self, rounds: Sequence[Election]) -> None:
        terms = [one.term for one in rounds]
        names = [name for name, _ in Counter(one.candidate for one in rounds).most_common()]
        refused = Counter((refusal.voter, refusal.reason) for one in rounds for refusal in one.refused)
        kinds = {"pre-votes" if one.pre_vote else "votes" for one in rounds}
        what = " and ".join(sorted(kinds, reverse=True))
        which = f"term {terms[0]}" if min(terms) == max(terms) else f"terms {min(terms)} to {max(terms)}"
        why = ""
        if refused:
            (voter, reason), _ = refused.most_common(1)[0]
            why = f"; most often {server(voter)} refuses: {REASONS[reason]}"
        self.judge.find(
            STORM,
            rounds[-1].place,
            f"{len(rounds)} rounds of {what} by {servers(names)} elect nobody in "
            f"{duration(seconds_between(rounds[0].place, rounds[-1].place))}, {which}{why}.",
            Subject(_id(names[0]), None, max(terms)),
            evidence=tuple(one.place for one in rounds[:10]),
            about=rounds[0].place,
        )

    def _split(self, facts: ClusterFacts) -> None:
        split: dict[int, list[Election]] = {}
        for election in facts.elections:
            if election.pre_vote:
                continue
            if election.outcome == "split":
                split.setdefault(election.term, []).append(election)
            elif election.outcome == "unknown":
                self.judge.skip(SPLIT, "capture_end")
            else:
                self.judge.hold(SPLIT)
        for term, elections in split.items():
            names = _rivals([one for one in facts.elections if one.term == term and not one.pre_vote])
            self.judge.find(
                SPLIT,
                elections[0].place,
                f"The votes of term {term} were split among {servers(names)}.",
                Subject(None, None, term),
                evidence=tuple(one.place for one in elections[:10]),
                about=term,
            )

    def _alone_or_not(self) -> None:
        for (leader, term), alone in self._alone.items():
            reign = self.knowledge.reigns.of(leader, term)
            if alone.found or reign is None:
                continue
            if self._majority_heard(reign) is None:
                self.judge.skip(ALONE, "unknown_voters")
            elif self.knowledge.timers.election_ns(leader) is None:
                self.judge.skip(ALONE, "unknown_timers")
            else:
                self.judge.hold(ALONE)

    def _lags(self, pair: ReplicationFact) -> None:
        most = list(_quarters(pair))
        if len(most) < _QUARTERS or not pair.answered:
            self.judge.skip(LAG, "capture_end" if pair.answered else "other_direction")
            return
        last = pair.lag[-1]
        grows = all(before < after for before, after in pairwise(most)) and last.entries == most[-1]
        if not grows or last.entries <= _GROWN:
            self.judge.hold(LAG)
            return
        before = ", ".join(map(str, most[:-2])) + f" and {most[-2]}"
        self.judge.find(
            LAG,
            last.place,
            f"Server {pair.follower} is {last.entries} entries behind leader {pair.leader} at the end, and was "
            f"{before} behind before, in equal times.",
            Subject(_id(pair.follower), _id(pair.leader)),
        )

    def _snapshots(self, facts: ClusterFacts) -> None:
        last = {(one.leader, one.follower): one for one in facts.snapshots}
        for snapshot in last.values():
            if snapshot.outcome == "cut":
                self._cut(facts, snapshot)

    def _cut(self, facts: ClusterFacts, snapshot: Snapshot) -> None:
        """See whether a follower is sent anything when it is back after its snapshot was cut off."""
        pair = snapshot.leader, snapshot.follower
        path = next((one for one in facts.paths if (one.sender, one.receiver) == pair), None)
        sent = next((one for one in facts.replication if (one.leader, one.follower) == pair), None)
        opened = [] if path is None else [one for one in path.events if one.kind == "opened"]
        back = next((one.place for one in opened if one.place > snapshot.started), None)
        reign = next((one for one in facts.leaders if (one.leader, one.term) == (pair[0], snapshot.term)), None)
        timeout = self._timeout(facts)
        if back is None or reign is None or (sent is not None and sent.last > back):
            return
        if timeout is None or seconds_between(back, reign.last) <= timeout:
            self.judge.skip(LAG, "unknown_timers" if timeout is None else "capture_end")
            return
        self.judge.find(
            LAG,
            snapshot.started,
            f"{capital(server(pair[1]))} never gets what it misses: its snapshot from leader {pair[0]} was cut off, "
            f"and it is sent nothing in {duration(seconds_between(back, reign.last))} since it was connected again "
            f"(frame {back.frame}).",
            Subject(_id(pair[1]), _id(pair[0]), snapshot.term, snapshot.last_index),
            evidence=(back,),
            about="snapshot",
        )

    def _answers(self, facts: ClusterFacts, pair: ReplicationFact, timeout: float | None) -> None:
        if pair.answered:
            self.judge.hold(SILENT)
        elif timeout is None:
            self.judge.skip(SILENT, "unknown_timers")
        elif not is_silent(facts, pair):
            self.judge.skip(SILENT, "other_direction")
        elif self._answers_hidden(pair):
            self.judge.skip(SILENT, "gap")
        elif pair.requests < _FEW_REQUESTS or seconds_between(pair.place, pair.last) <= timeout:
            self.judge.skip(SILENT, "capture_end")
        else:
            self.judge.find(
                SILENT,
                pair.last,
                f"{capital(server(pair.follower))} answers none of {counted(pair.requests, 'request')} of leader "
                f"{pair.leader} in {duration(seconds_between(pair.place, pair.last))}.",
                Subject(_id(pair.follower), _id(pair.leader)),
                evidence=(pair.place,),
            )

    def _answers_hidden(self, pair: ReplicationFact) -> bool:
        """Whether answers of a follower may be among what is missing from the capture."""
        return self._too_many_holes or any(
            begin <= pair.last.time_ns and end >= pair.place.time_ns and line.sender in (None, _id(pair.follower))
            for begin, end, line in self._holes
        )

    def _commits(self, facts: ClusterFacts) -> None:
        for leader, pairs in _by_leader(facts.replication).items():
            spread = pairs[0].commit_seconds
            if spread is None:
                self.judge.skip(LATENCY, "unknown_voters")
                continue
            acks = (
                f"server {pair.follower} answers after {duration(pair.ack_seconds.p50)}"
                + ("" if pair.network_seconds is None else f" ({duration(pair.network_seconds)} of it in the network)")
                for pair in pairs
                if pair.ack_seconds is not None
            )
            self.judge.find(
                LATENCY,
                pairs[0].place,
                "; ".join(
                    (
                        f"Entries of leader {leader} are seen to be committed after {duration(spread.p50)} (median), "
                        f"95 % within {duration(spread.p95)}, 99 % within {duration(spread.p99)}",
                        *acks,
                    )
                )
                + ".",
                Subject(_id(leader)),
            )

    def _flaps(self, facts: ClusterFacts, timeout: float | None) -> None:
        reason = _unseen(facts, timeout)
        if reason is not None or timeout is None:
            self.judge.skip(FLAPPING, reason or "unknown_timers")
            return
        asked = {one.term for one in facts.elections if one.cause == "transfer"}
        begins = [one for one in facts.leaders[1:] if one.term not in asked]
        window = _FLAPPING_TIMEOUTS * timeout
        found = [
            begins[number : number + _CHANGES]
            for number in range(len(begins) - _CHANGES + 1)
            if seconds_between(begins[number].first, begins[number + _CHANGES - 1].first) <= window
        ]
        if not found:
            self.judge.hold(FLAPPING, max(1, len(facts.leaders)))
            return
        if _of_one(facts):
            self.judge.skip(FLAPPING, "other_direction")
            return
        changes = [one for one in begins if any(one in few for few in found)]
        names = list(dict.fromkeys(one.leader for one in changes))
        self.judge.find(
            FLAPPING,
            changes[-1].first,
            f"Leadership changes {len(changes)} times in "
            f"{duration(seconds_between(changes[0].first, changes[-1].first))}, to {servers(names)}, and nobody asked "
            "for that.",
            Subject(None, None, changes[-1].term),
            evidence=tuple(one.first for one in changes[:10]),
        )

    def _quorum(self, facts: ClusterFacts, timeout: float | None) -> None:
        last = facts.leaderless[-1] if facts.leaderless else None
        reason = _unseen(facts, timeout)
        if not facts.configurations:
            self.judge.skip(QUORUM, "unknown_voters")
        elif reason is not None or timeout is None:
            self.judge.skip(QUORUM, reason or "unknown_timers")
        elif (
            last is None
            or last.ended_by != "capture_end"
            or seconds_between(last.first, last.last) <= 2 * timeout
            or all(one.place < last.first for one in facts.elections)
        ):
            self.judge.hold(QUORUM)
        elif _of_one(facts):
            self.judge.skip(QUORUM, "other_direction")
        elif self._hidden(last.first.time_ns, last.last.time_ns):
            self.judge.skip(QUORUM, "gap")
        else:
            self._missing(facts, last, timeout)

    def _missing(self, facts: ClusterFacts, interval: Leaderless, timeout: float) -> None:
        configuration = facts.configurations[-1]
        voters = [one.id for one in configuration.servers if one.role == table.VOTER]
        alive = {
            one.name
            for one in facts.servers
            if one.last_seen is not None and seconds_between(interval.first, one.last_seen) > timeout
        }
        here = [id_ for id_ in voters if id_ in alive]
        if 2 * len(here) > len(voters):
            self.judge.hold(QUORUM)
            return
        missing = " and ".join(str(id_) for id_ in voters if id_ not in alive)
        heard = servers(here) if here else "none"
        self.judge.find(
            QUORUM,
            interval.first,
            f"Of {len(voters)} voters only {heard} is heard in the last "
            f"{duration(seconds_between(interval.first, interval.last))}: {missing} missing, so nobody can be elected.",
            Subject(None, None, None, configuration.conf_index),
            evidence=(configuration.place,),
        )

    def _idle(self, facts: ClusterFacts) -> None:
        for leader, pairs in _by_leader(facts.replication).items():
            heartbeat = self.knowledge.timers.heartbeat_ns(_id(leader))
            if heartbeat is None:
                self.judge.skip(IDLE, "unknown_timers")
                continue
            total = _HEARTBEAT_BYTES * len(pairs)
            self.judge.find(
                IDLE,
                pairs[0].place,
                f"An idle leader {leader} sends {size(total)} to {counted(len(pairs), 'follower')} every "
                f"{duration(heartbeat / _SECOND)}: {size(round(total * _SECOND / heartbeat))}/s.",
                Subject(_id(leader)),
            )

    def _even(self, facts: ClusterFacts) -> None:
        if not facts.configurations:
            self.judge.skip(EVEN, "unknown_voters")
            return
        last = facts.configurations[-1]
        voters = sum(one.role == table.VOTER for one in last.servers)
        if voters % 2:
            self.judge.hold(EVEN)
            return
        self.judge.find(
            EVEN,
            last.place,
            f"The configuration at {last.conf_index} has {voters} voters: {counted(voters // 2, 'failure')} can stop "
            f"it, as with {voters - 1}.",
            Subject(None, None, None, last.conf_index),
        )


def _unseen(facts: ClusterFacts, timeout: float | None) -> Reason | None:
    """Why it cannot be said when nobody led; None if it can."""
    if not shows_leaders(facts):
        return "other_direction"
    if timeout is None or not facts.leaders:
        return "unknown_timers"
    return None


def _rivals(elections: Sequence[Election]) -> list[ServerName]:
    """The candidates of a term who took votes from each other: by voting for themselves, or else all of them."""
    candidates = dict.fromkeys(one.candidate for one in elections)
    split = [one for one in elections if one.outcome == "split"]
    taken = {refusal.voter for one in split for refusal in one.refused if refusal.reason == "already_voted"}
    rivals = {one.candidate for one in split} | taken
    found = [candidate for candidate in candidates if candidate in rivals]
    return found if len(found) > 1 else list(candidates)


def _of_one(facts: ClusterFacts) -> bool:
    """Whether all messages are those from and to one server of three or more: others may hear another leader."""
    between = [{one.sender, one.receiver} for one in facts.traffic]
    return len(facts.servers) > 2 and bool(between) and bool(set.intersection(*between))


def _until_won(facts: ClusterFacts, timeout: float) -> Iterator[list[Election]]:
    """The rounds that elected nobody, in groups that end when somebody is elected.

    Who asks for votes in a term in which somebody leads by then, or an election timeout later, has not caused it.
    """
    led = {one.term: one.first.time_ns - timeout * _SECOND for one in reversed(facts.leaders)}
    group: list[Election] = []
    for election in facts.elections:
        if election.outcome == "won" and not election.pre_vote:
            yield group
            group = []
        elif election.outcome in ("lost", "split", "abandoned") and (
            election.term not in led or election.place.time_ns < led[election.term]
        ):
            group.append(election)
    if group:
        yield group


def _stormy(rounds: Sequence[Election], timeout: float) -> Iterator[Election]:
    """Those of the rounds that belong to three terms, or three pre-votes of one candidate, close to each other."""
    window = _STORM_TIMEOUTS * timeout
    close: list[Election] = []
    storm: dict[int, Election] = {}
    for one in rounds:
        close = [*(other for other in close if seconds_between(other.place, one.place) <= window), one]
        terms = {other.term for other in close if not other.pre_vote}
        pre_votes = Counter(other.candidate for other in close if other.pre_vote)
        if len(terms) >= _ROUNDS or max(pre_votes.values(), default=0) >= _ROUNDS:
            storm.update((id(other), other) for other in close)
    yield from storm.values()


def _quarters(pair: ReplicationFact) -> Iterator[int]:
    """The most that a follower was behind in each quarter of the time that is known of it."""
    if not pair.lag:
        return
    first, last = pair.lag[0].place.time_ns, pair.lag[-1].place.time_ns + 1
    most: dict[int, int] = {}
    for lag in pair.lag:
        quarter = (lag.place.time_ns - first) * _QUARTERS // (last - first)
        most[quarter] = max(lag.entries, most.get(quarter, 0))
    yield from (most[quarter] for quarter in sorted(most))


def _by_leader(pairs: Iterable[ReplicationFact]) -> dict[ServerName, list[ReplicationFact]]:
    found: dict[ServerName, list[ReplicationFact]] = {}
    for pair in pairs:
        found.setdefault(pair.leader, []).append(pair)
    return found


def _sent_again(facts: ClusterFacts, leader: int, follower: int, first_ns: int, last_ns: int) -> bool:
    """Whether TCP sent segments from one server to another again in some time."""
    return any(
        event.kind == "retransmissions" and event.place.time_ns <= last_ns and event.last.time_ns >= first_ns
        for path in facts.paths
        if (path.sender, path.receiver) == (leader, follower)
        for event in path.events
    )


def _id(name: ServerName) -> int | None:
    return name if isinstance(name, int) else None


def _place_of(gap: _Gap) -> Place:
    return gap.place
