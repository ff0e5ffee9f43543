"""MEM: the configuration changes by one server at a time, and who is no member any more keeps quiet."""

from __future__ import annotations

from functools import partial
from itertools import combinations, islice
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.audit.group import Group
from raft_dissect.audit.judge import GRACE_NS, NEVER_NS, Subject
from raft_dissect.audit.knowledge.bounded import put_latest
from raft_dissect.audit.rule import Rule
from raft_dissect.audit.rules.names import listed
from raft_dissect.units import duration
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect import wire
    from raft_dissect.audit.judge import Judge
    from raft_dissect.audit.knowledge import Knowledge
    from raft_dissect.audit.knowledge.configurations import Configured
    from raft_dissect.audit.knowledge.reigns import Reign, Sent
    from raft_dissect.audit.step import Step
    from raft_dissect.audit.verdicts import Reason
    from raft_dissect.cluster.facts import ClusterFacts
    from raft_dissect.values import Place

COMMITTED_FIRST = Rule(
    "MEM-01",
    "A configuration changes when the last change is committed",
    "error",
    "AppendEntries with a change that its leader made in this term has a leader_commit that is not below the index of "
    "the change before it in the same log.",
    "thesis 4.1",
    "Both changes, sent by one leader in one term.",
    "A leader's commit index never falls, and it makes a change when the one before is committed, so every message "
    "that brings the new one says so. Changes that an earlier leader made are not judged.",
    "Leader 1 sends the change at 41 with commit index 38, before its change at 40 is committed.",
)
ONE_AT_A_TIME = Rule(
    "MEM-02",
    "A configuration changes by one server or one role",
    "error",
    "A configuration differs from the one before it in the same log by one server that is added as a spare, by one "
    "that is removed, or by one role.",
    "thesis 4.1; C-Raft adds servers as spares",
    "Both changes and all entries between them, of which a leader's log is known to have each in one term.",
    "The configuration of index 1 follows none. One that was written into the log of a server that was recovered "
    "has term 1 and that server as its only voter. A server that is added with another role is a warning.",
    "Leader 1's change at 41 differs from that at 30 by more than one: 4 added, 2 removed.",
)
CAUGHT_UP = Rule(
    "MEM-03",
    "Who becomes a voter has caught up",
    "warning",
    "When a leader makes a server a voter, that server has acknowledged all entries that the leader had sent to "
    "anybody three election timeouts before.",
    "thesis 4.2.1; C-Raft: catch-up rounds, the last of which takes less than an election timeout",
    "The change, the server's results, and the heartbeat interval.",
    "The election timeout is taken as ten heartbeat intervals; 1.5 s are added for results that come late.",
    "Leader 1 makes server 4 a voter, which has acknowledged entries up to 12 of 40.",
)
STEPS_DOWN = Rule(
    "MEM-04",
    "Who votes no more leads no more",
    "warning",
    "A leader that makes itself no voter any more does not go on to send AppendEntries when that is committed.",
    "thesis 4.2.2; C-Raft since 0.11.3",
    "The leader's change, and three AppendEntries on one connection with a leader_commit that covers it.",
    "One or two of them may have been sent at the moment of the commit.",
    "Leader 3 goes on to lead, although its change at 40, by which it votes no more, is committed.",
)
DISRUPTIVE = Rule(
    "MEM-05",
    "Who is no voter asks for no votes",
    "warning",
    "A server that a committed configuration removed, or that is no voter in it, does not ask for votes in more than "
    "one round.",
    "thesis 4.2.3; C-Raft since 0.9.21 for spares and standbys",
    "The change, AppendEntries that commit it, and later vote requests of that server.",
    "Who stands in any later configuration as a voter is not judged. A removed server is not told of it by C-Raft, so "
    "one round is usual.",
    "Server 4 asks for votes again and again, although the configuration at 40 has removed it.",
)
ONE_CLUSTER = Rule(
    "MEM-06",
    "No two majorities work apart from each other",
    "error",
    "There are no two leaders of different terms that work for five seconds at the same time, each with the results of "
    "a majority of the voters in its own configuration, and without a server that answers both.",
    "Raft 5.2, thesis 4.1; seen where clusters were split by hand",
    "Both leaders, their configurations, and the results that they get.",
    "Majorities of one configuration always share a server. Results that wait for a lost connection may leave seconds "
    "late.",
    "Servers 1 and 2 work for leader 1 (term 5), and servers 4 and 5 for leader 4 (term 7) for 12 s.",
)
RULES = (COMMITTED_FIRST, ONE_AT_A_TIME, CAUGHT_UP, STEPS_DOWN, DISRUPTIVE, ONE_CLUSTER)

_MAX_SEARCHED = 4096
"""Entries between two changes that are looked at."""
_MAX_KNOWN = 1024
_MAX_PAIRS = 10_000
_LATE_NS = 1_500_000_000
_TOGETHER_NS = 5_000_000_000
_ROUND_NS = 50_000_000
"""An election timeout is longer, so requests closer to each other are of one round."""
_GOES_ON = 3
_ROLES = {table.STANDBY: "standby", table.VOTER: "voter", table.SPARE: "spare"}


class _Left:
    """A leader that has made itself no voter."""

    __slots__ = ("change", "counts", "found", "index")

    def __init__(self, index: int, change: Place) -> None:
        self.index = index
        self.change = change
        self.counts: dict[int, int] = {}
        """AppendEntries that cover it, by connection."""
        self.found = False


class _Asked(NamedTuple):
    """The first vote request of a server that is no voter."""

    conf_index: int
    term: int
    pre_vote: int
    place: Place


class _Acks:
    """When one follower acknowledged what one leader sent in its term."""

    __slots__ = ("first_ns", "last", "last_ns", "sure")

    def __init__(self, place: Place, sure: bool) -> None:
        self.first_ns = self.last_ns = place.time_ns
        self.last = place
        self.sure = sure


class Membership(Group):
    """Judges how configurations change."""

    def __init__(self, knowledge: Knowledge, judge: Judge) -> None:
        super().__init__(knowledge, judge)
        self._left: dict[tuple[int, int], _Left] = {}  # by leader and term
        self._asked: dict[int, _Asked] = {}
        self._acks: dict[tuple[int, int], dict[int, _Acks]] = {}  # by leader and term, and follower

    def message(self, step: Step) -> None:
        """A message, complete or partial."""
        if step.sender is None or step.term is None:
            return
        if step.type == table.APPEND_ENTRIES:
            if self._left:
                self._goes_on(step, step.sender, step.term)
            if step.message.changes:
                self._changes(step, step.sender, step.term)
        elif step.type == table.APPEND_ENTRIES_RESULT:
            self._result(step, step.sender, step.term)
        elif step.type == table.REQUEST_VOTE:
            self._asks(step, step.sender, step.term)

    def patience_ns(self, step: Step) -> int | None:  # noqa: ARG002  # what every group is asked
        """How long after a message another one like it may come without being told; None if all must be told."""
        return None if self._left else NEVER_NS

    # How a configuration follows another.

    def _changes(self, step: Step, leader: int, term: int) -> None:
        if not step.whole:
            return
        reign = self.knowledge.reigns.of(leader, term)
        previous = step.fields["prev_log_index"]
        for number, entry in enumerate(step.entries):
            if entry.type != table.CHANGE:
                continue
            servers = step.message.change(number)
            index = previous + 1 + number
            if servers is None:
                self._skip("cut_short", COMMITTED_FIRST, ONE_AT_A_TIME)
                continue
            if reign is None or reign.terms.get(index) is None:
                self._promoted(step, leader, term, index, servers)
            self._leaves(step, leader, term, index, entry.term, servers)
            if index > 1:
                check = partial(self._follows, step, leader, term, index, entry.term, servers)
                self.judge.later(check, step.place)

    def _skip(self, reason: Reason, *rules: Rule) -> None:
        for rule in rules:
            self.judge.skip(rule, reason)

    def _follows(
        self, step: Step, leader: int, term: int, index: int, entry_term: int, servers: tuple[wire.Server, ...]
    ) -> None:
        """Compare a change with the one before it, as far as the log between them is known some time later."""
        reign = self.knowledge.reigns.of(leader, term)
        if reign is None or reign.terms.get(index) != entry_term:
            self._skip("forgotten", COMMITTED_FIRST, ONE_AT_A_TIME)
            return
        before, reason = self._before(reign, index)
        if entry_term == term:
            self._is_committed(step, reign, index, before, reason)
        if reason is not None:
            self.judge.skip(ONE_AT_A_TIME, reason)
        elif before is not None:
            self._differs(step, reign, index, entry_term, servers, before)

    def _before(self, reign: Reign, index: int) -> tuple[Configured | None, Reason | None]:
        """The configuration before an index of a leader's log, or why it is not known."""
        log = self.knowledge.log
        for earlier in range(index - 1, max(index - 1 - _MAX_SEARCHED, 0), -1):
            term = reign.terms.get(earlier)
            entry = None if term is None else log.entry(earlier, term)
            if entry is None or entry.type is None:
                return None, "begun_midway"
            if entry.type == table.CHANGE:
                found = self.knowledge.configurations.entry(earlier, entry.term)
                return found, None if found is not None else "cut_short"
        return None, "begun_midway" if index <= _MAX_SEARCHED else "forgotten"

    def _is_committed(
        self, step: Step, reign: Reign, index: int, before: Configured | None, reason: Reason | None
    ) -> None:
        commit = step.fields["leader_commit"]
        if before is None:
            known = (
                one
                for one in self.knowledge.configurations
                if one.conf_index < index and one.term is not None and reign.terms.get(one.conf_index) == one.term
            )
            before = max(known, default=None, key=_index_of)
        if before is not None and before.conf_index > commit:
            self.judge.find(
                COMMITTED_FIRST,
                step.place,
                f"Leader {step.sender} sends server {step.receiver} the change at {index} with commit index {commit}, "
                f"before its change at {before.conf_index} (frame {before.place.frame}) is committed.",
                Subject(step.sender, None, step.term, index),
                sure=step.sure,
                evidence=(before.place,),
                about=(step.term, index),
            )
        elif reason is not None:
            self.judge.skip(COMMITTED_FIRST, reason)
        else:
            self.judge.hold(COMMITTED_FIRST)

    def _differs(
        self,
        step: Step,
        reign: Reign,
        index: int,
        entry_term: int,
        servers: tuple[wire.Server, ...],
        before: Configured,
    ) -> None:
        differences = _differences(before.servers, servers)
        added = [server for server in servers if server.id not in before.roles]
        if len(differences) == 1 and added and added[0].role != table.SPARE:
            severity, what = "warning", "adds a server that is no spare"
        elif len(differences) <= 1:
            self.judge.hold(ONE_AT_A_TIME)
            return
        elif entry_term == 1 and sum(server.role == table.VOTER for server in servers) == 1:
            self.judge.skip(ONE_AT_A_TIME, "begun_midway")
            return
        else:
            severity, what = "error", f"differs from that at {before.conf_index} by more than one"
        self.judge.find(
            ONE_AT_A_TIME,
            step.place,
            f"Leader {reign.leader}'s change at {index} {what}: {', '.join(differences)}.",
            Subject(reign.leader, None, reign.term, index),
            sure=step.sure,
            severity="warning" if severity == "warning" else None,
            evidence=(before.place,),
            about=(index, entry_term),
        )

    # Promotion.

    def _promoted(self, step: Step, leader: int, term: int, index: int, servers: tuple[wire.Server, ...]) -> None:
        """A change is seen for the first time: look who becomes a voter by it."""
        before = self.knowledge.configurations.before(index)
        if before is None:
            return
        for server in servers:
            old = before.roles.get(server.id)
            if server.role == table.VOTER and old not in (None, table.VOTER) and server.id != leader:
                self._catches_up(step, leader, term, index, server.id)

    def _catches_up(self, step: Step, leader: int, term: int, index: int, server: int) -> None:
        sent = self.knowledge.reigns.sent(leader, server, term)
        timeout = self.knowledge.timers.election_ns(leader)
        reign = self.knowledge.reigns.of(leader, term)
        if sent is None or reign is None:
            self.judge.skip(CAUGHT_UP, "other_direction")
        elif sent.matched >= index - 1:
            self.judge.hold(CAUGHT_UP)
        elif sent.matched < 0:
            self.judge.later(partial(self._has_nothing, step, sent, leader, index, server), step.place, _LATE_NS)
        elif timeout is None:
            self.judge.skip(CAUGHT_UP, "unknown_timers")
        else:
            self._has_little(step, reign, sent, index, server, timeout)

    def _has_nothing(self, step: Step, sent: Sent, leader: int, index: int, server: int) -> None:
        """A server that becomes a voter has acknowledged nothing; some time later."""
        if sent.matched >= 0:
            self.judge.hold(CAUGHT_UP)
            return
        reason = self._unheard(server, leader)
        if reason is not None:
            self.judge.skip(CAUGHT_UP, reason)
        else:
            self._told(step, leader, index, server, "nothing yet")

    def _has_little(self, step: Step, reign: Reign, sent: Sent, index: int, server: int, timeout: int) -> None:
        """A server that becomes a voter has not acknowledged all."""
        term = reign.terms.get(sent.matched + 1)
        entry = None if term is None else self.knowledge.log.entry(sent.matched + 1, term)
        if entry is None:
            self.judge.skip(CAUGHT_UP, "begun_midway")
        elif step.message.first.time_ns - entry.place.time_ns <= 3 * timeout + _LATE_NS:
            self.judge.hold(CAUGHT_UP)
        else:
            self._told(step, reign.leader, index, server, f"entries up to {sent.matched}")

    def _told(self, step: Step, leader: int, index: int, server: int, what: str) -> None:
        self.judge.find(
            CAUGHT_UP,
            step.place,
            f"Leader {leader} makes server {server} a voter by the change at {index}, which has acknowledged {what}.",
            Subject(server, leader, step.term, index),
            about=index,
        )

    def _unheard(self, server: int, leader: int) -> Reason | None:
        """Why a server's results to a leader may not be in the capture; None if all that it ever said is."""
        lines = self.knowledge.lines.between(server, leader)
        if not lines:
            return "other_direction"
        if self.knowledge.lines.forgets(server, leader):
            return "forgotten"
        if not all(line.from_start for line in lines):
            return "begun_midway"
        return "gap" if any(line.lost is not None for line in lines) else None

    # Leaders that leave.

    def _leaves(
        self, step: Step, leader: int, term: int, index: int, entry_term: int, servers: tuple[wire.Server, ...]
    ) -> None:
        key = leader, term
        known = self._left.get(key)
        if known is not None and index < known.index:
            return
        if any(server.id == leader and server.role == table.VOTER for server in servers):
            if known is not None and index > known.index:
                del self._left[key]
        elif entry_term == term and (known is None or index > known.index):
            self._left[key] = _Left(index, step.place)
            if len(self._left) > _MAX_KNOWN:
                del self._left[next(iter(self._left))]

    def _goes_on(self, step: Step, leader: int, term: int) -> None:
        left = self._left.get((leader, term))
        if left is None or left.found or step.fields.get("leader_commit", -1) < left.index:
            return
        number = step.line.stream.number
        if number not in left.counts and len(left.counts) >= _MAX_KNOWN:
            return
        left.counts[number] = left.counts.get(number, 0) + 1
        if left.counts[number] < _GOES_ON:
            return
        left.found = True
        self.judge.find(
            STEPS_DOWN,
            step.place,
            f"Leader {leader} goes on to lead term {term}, although its change at {left.index} (frame "
            f"{left.change.frame}), by which it votes no more, is committed.",
            step.subject(left.index),
            evidence=(left.change,),
            about=(term, left.index),
        )

    # Servers that have left.

    def _asks(self, step: Step, server: int, term: int) -> None:
        configurations = self.knowledge.configurations
        committed = max(filter(self._is_known_committed, configurations), default=None, key=_index_of)
        latest = configurations.latest
        if committed is None or latest is None:
            self.judge.skip(DISRUPTIVE, "unknown_voters")
            return
        role = committed.roles.get(server)
        later = (one for one in configurations if one.conf_index > committed.conf_index)
        if role == table.VOTER or any(one.roles.get(server) == table.VOTER for one in later):
            self._asked.pop(server, None)
            self.judge.hold(DISRUPTIVE)
            return
        if role is None and not any(server in one.roles for one in configurations):
            self.judge.skip(DISRUPTIVE, "unknown_voters")
            return
        pre_vote = step.fields.get("pre_vote", 0)
        first = self._asked.get(server)
        if first is None or first.conf_index != committed.conf_index:
            self._asked[server] = _Asked(committed.conf_index, term, pre_vote, step.place)
            if len(self._asked) > _MAX_KNOWN:
                del self._asked[next(iter(self._asked))]
            return
        if (first.term, first.pre_vote) == (term, pre_vote) and step.place.time_ns - first.place.time_ns < _ROUND_NS:
            return
        why = "has removed it" if role is None else f"makes it a {_ROLES.get(role, 'server without a vote')}"
        self.judge.find(
            DISRUPTIVE,
            step.place,
            f"Server {server} asks for votes again and again, although the configuration at {committed.conf_index} "
            f"(frame {committed.place.frame}) {why}.",
            Subject(server, None, term, committed.conf_index),
            evidence=(committed.place, first.place),
            about=committed.conf_index,
        )

    def _is_known_committed(self, configured: Configured) -> bool:
        if configured.in_snapshot:
            return True
        known = self.knowledge.log.committed(configured.conf_index)
        return known is not None and known.term == configured.term

    # Split clusters.

    def _result(self, step: Step, follower: int, term: int) -> None:
        if step.receiver is None or step.fields.get("rejected") != 0:
            return
        key = step.receiver, term
        acks = self._acks.get(key)
        if acks is None:
            acks = {}
            put_latest(self._acks, key, acks)
        one = acks.get(follower)
        if one is None:
            if len(acks) < _MAX_KNOWN:
                acks[follower] = _Acks(step.place, step.sure)
        elif step.place.time_ns > one.last_ns:
            one.last, one.last_ns = step.place, step.place.time_ns

    def end(self, facts: ClusterFacts) -> None:
        """The capture is over: what leaders did until then, and who worked with whom."""
        self._stopped(facts)
        leaders = sorted(self._acks, key=_term_of)
        for one, other in islice(combinations(leaders, 2), _MAX_PAIRS):
            if one[0] != other[0] and one[1] != other[1]:
                self._apart(one, other)

    def _stopped(self, facts: ClusterFacts) -> None:
        for (leader, term), left in self._left.items():
            reign = self.knowledge.reigns.of(leader, term)
            timeout = self.knowledge.timers.election_ns(leader)
            if left.found or reign is None or facts.end is None:
                continue
            if left.counts or facts.end.time_ns - reign.last.time_ns > (timeout or GRACE_NS):
                self.judge.hold(STEPS_DOWN)
            else:
                self.judge.skip(STEPS_DOWN, "capture_end")

    def _apart(self, one: tuple[int, int], other: tuple[int, int]) -> None:
        both = self._acks[one], self._acks[other]
        begin = max(min(acks.first_ns for acks in group.values()) for group in both)
        end = min(max(acks.last_ns for acks in group.values()) for group in both)
        if end - begin < _TOGETHER_NS:
            return
        middle = (begin + end) // 2
        groups = [
            {leader} | {follower for follower, acks in group.items() if acks.first_ns <= middle <= acks.last_ns}
            for (leader, _), group in zip((one, other), both, strict=True)
        ]
        voters = [self._voters(leader, term) for leader, term in (one, other)]
        if not all(voters):
            self.judge.skip(ONE_CLUSTER, "unknown_voters")
            return
        majorities = all(2 * len(group & ids) > len(ids) for group, ids in zip(groups, voters, strict=True))
        if groups[0] & groups[1] or not majorities:
            self.judge.hold(ONE_CLUSTER)
            return
        last = max(acks.last for acks in both[1].values())
        words = [listed(group & ids) for group, ids in zip(groups, voters, strict=True)]
        self.judge.find(
            ONE_CLUSTER,
            last,
            f"Servers {words[0]} work for leader {one[0]} (term {one[1]}), and servers {words[1]} for leader "
            f"{other[0]} (term {other[1]}) at the same time, for {duration((end - begin) / 1e9)}.",
            Subject(other[0], one[0], other[1]),
            sure=all(acks.sure for group in both for acks in group.values()),
            evidence=(max(acks.last for acks in both[0].values()),),
        )

    def _voters(self, leader: int, term: int) -> frozenset[int]:
        """The voters of the last configuration that is known to be in a leader's log; empty if there is none."""
        reign = self.knowledge.reigns.of(leader, term)
        if reign is None:
            return frozenset()
        here = leader, term
        own = (
            one
            for one in self.knowledge.configurations
            if (one.leader, one.leader_term) == here or (reign.terms.get(one.conf_index) or -1) == one.term
        )
        last = max(own, default=None, key=lambda one: (one.conf_index, (one.leader, one.leader_term) == here))
        return frozenset() if last is None else last.voters


def _differences(before: tuple[wire.Server, ...], after: tuple[wire.Server, ...]) -> list[str]:
    """In words, what changes from one configuration to another."""
    old, new = {server.id: server for server in before}, {server.id: server for server in after}
    found = [f"{id_} added as {_ROLES.get(new[id_].role, 'unknown')}" for id_ in new if id_ not in old]
    found += [f"{id_} removed" for id_ in old if id_ not in new]
    for id_ in new:
        if id_ in old and new[id_].role != old[id_].role:
            found.append(f"{id_} becomes {_ROLES.get(new[id_].role, 'unknown')}")
        if id_ in old and new[id_].address != old[id_].address:
            found.append(f"{id_} moves to {new[id_].address}")
    return found


def _index_of(configured: Configured) -> int:
    return configured.conf_index


def _term_of(key: tuple[int, int]) -> int:
    return key[1]
