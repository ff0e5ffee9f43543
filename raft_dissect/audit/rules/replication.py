"""REPL: how followers answer leaders, and what leaders make of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from raft_dissect.audit.group import Group
from raft_dissect.audit.judge import GRACE_NS, NEVER_NS, Subject
from raft_dissect.audit.rule import Rule
from raft_dissect.values import Place
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect.audit.judge import Judge
    from raft_dissect.audit.knowledge import Knowledge
    from raft_dissect.audit.knowledge.configurations import Configured
    from raft_dissect.audit.knowledge.lines import Line
    from raft_dissect.audit.knowledge.pairs import Pair
    from raft_dissect.audit.step import Step
    from raft_dissect.audit.verdicts import Reason

ASKED = Rule(
    "REPL-01",
    "A follower refuses what it was asked",
    "warning",
    "`rejected`, where it is not 0, is the prev_log_index of an AppendEntries or the last_index of an InstallSnapshot "
    "that this leader has sent to this follower.",
    "Raft 5.3; all releases answer so",
    "A result that refuses, and all connections of the leader to the follower.",
    "Requests may be seen after their results, so the rule waits, and finds nothing where any may be missing.",
    "Server 3 refuses index 40, which leader 1 has not named to it.",
)
STORED = Rule(
    "REPL-02",
    "A follower can store what it is sent",
    "warning",
    "`rejected` is not the index behind prev_log_index: followers of canonical/raft say so that they could not write "
    "the entries to their disk.",
    "observed in canonical/raft and dqlite, all releases",
    "As REPL-01.",
    "As REPL-01; requests with entries must have been sent behind the index before.",
    "Server 3 could not store the entries behind 39 that leader 1 sent it (frame 881): it refuses index 40.",
)
HINT = Rule(
    "REPL-03",
    "A refusal tells how far the log reaches",
    "error",
    "last_log_index of a result that refuses a request of the same term is below `rejected`.",
    "cowsql/raft v0.20.0 and later; others may name an index that is not below",
    "A result that refuses, and the request.",
    "A warning where the result is of another release, for which this is legal and only slow (B8). Refusals of "
    "requests of earlier terms, and of snapshots, tell something else.",
    "Server 3 refuses index 40 and names 44 as the end of its log in term 3.",
)
BACK = Rule(
    "REPL-04",
    "A leader goes back where it is refused",
    "warning",
    "A leader does not ask a follower again and again behind the same entry that it refuses.",
    "Raft 5.3",
    "Requests and results of a leader and a follower.",
    "Requests on their way are no repetition: ten refusals of one index in a row are needed, and another request for "
    "it three seconds later. While a snapshot is on its way refusals are normal.",
    "Leader 1 still sends server 3 what stands behind entry 40 in term 3, which it has refused 10 times (frame 881).",
)
CHECKED = Rule(
    "REPL-05",
    "A follower acknowledges only what it was sent",
    "error",
    "last_log_index of a result that acknowledges is not beyond what the leader of that term has sent to this follower "
    "in it: entries, the entry before them, or a snapshot.",
    "Raft 5.3: only what was found to match counts as replicated",
    "Results, and all requests of the leader to the follower in its term.",
    "The rule waits for packets that come late and finds nothing where any request may be missing. Followers of "
    "canonical/raft, and of cowsql/raft before v0.20.0, name the end of their log, checked or not (B1).",
    "Server 2 acknowledges entries up to 45 in term 3, where leader 1 has sent it none behind 40.",
)
TOLD = Rule(
    "REPL-06",
    "A leader that is told of a higher term stops",
    "note",
    "Once a result with a higher term has come a leader sends no more AppendEntries of its own term.",
    "Raft 5.1",
    "A result with a higher term than the leader's.",
    "Messages that waited for a connection leave seconds late, so it takes five of them on one connection, over five "
    "seconds, from three seconds after the result on. Terms on one connection are judged by MON-06.",
    "Leader 1 goes on in term 3, though server 2 has told it of term 4 (frame 881).",
)
SPARE = Rule(
    "REPL-07",
    "A spare gets nothing",
    "warning",
    "A leader sends no AppendEntries and no InstallSnapshot to a server that is a spare in the committed "
    "configuration, unless it is being promoted.",
    "observed in all releases with spares (v0.9.16 and later)",
    "A configuration with a spare that is known to be committed.",
    "Messages within three seconds after the configuration do not count. A note for the first minute, in which the "
    "spare may be catching up before it is promoted, or at any time before a configuration that promotes it.",
    "Leader 1 sends AppendEntries to server 4, which is a spare (configuration 30, frame 881).",
)
ANSWERED = Rule(
    "REPL-08",
    "A follower answers",
    "note",
    "After AppendEntries a follower sends some result within three seconds.",
    "observed in all releases; none while it installs a snapshot, or when its term has changed",
    "Both connections of a leader and a follower.",
    "Nothing is found unless the follower says something else later on the same connection, and while a snapshot is on "
    "its way.",
    "Server 3 answers nothing for 3 s after leader 1 has sent it AppendEntries in term 3.",
)
PROGRESS = Rule(
    "REPL-09",
    "A leader need not send the same entries over and over",
    "warning",
    "The same entries are not sent more than five times in a row to one follower.",
    "observed: releases send them again at each heartbeat to a follower that does not answer",
    "AppendEntries with entries.",
    "A leader does not send again what was acknowledged, so results need not be seen. Copies of packets are no new "
    "messages.",
    "Leader 1 has sent entries 40 to 81 to server 3 6 times in term 3 (first in frame 881).",
)
WINDOW = Rule(
    "REPL-10",
    "No more than 32 entries are on their way",
    "note",
    "A leader of cowsql/raft v0.20.0 or later sends no entry that is more than 32 beyond the last one that the "
    "follower has acknowledged in its term.",
    "observed in cowsql/raft v0.20.0 and later",
    "The leader's own results or votes, which tell its release, and an acknowledgement in its term.",
    "Results may be missing or come late, so the rule waits, and finds nothing where any may be missing.",
    "Leader 1 has 40 entries on their way to server 3 in term 3: 80 is sent, 40 acknowledged.",
)
RULES = (ASKED, STORED, HINT, BACK, CHECKED, TOLD, SPARE, ANSWERED, PROGRESS, WINDOW)

_SECOND = 1_000_000_000
_REFUSALS = 10
_RESENT = 5
_STILL = 5
_STILL_NS = 5 * _SECOND
_PROMOTION_NS = 60 * _SECOND
_WINDOW = 32
_MOST_BEYOND = 64
_MOST_LINES = 64
_COWSQL = 2
"""The version in the preamble of results and votes of cowsql/raft v0.20.0 and later."""
_MAX_TALKS = 4096
_VERSIONED = (table.REQUEST_VOTE, table.REQUEST_VOTE_RESULT, table.APPEND_ENTRIES_RESULT)


class _Talk:
    """How a leader and one follower got on in the leader's latest term."""

    __slots__ = (
        "acknowledged",
        "asked",
        "beyond",
        "first",
        "installing",
        "refused",
        "refused_first",
        "refused_last",
        "refused_times",
        "resent",
        "resent_times",
        "term",
        "waiting",
    )

    def __init__(self, term: int) -> None:
        self.term = term
        self.installing: int | None = None
        """The last index of the snapshot that is on its way."""
        self.refused = 0
        """The index that was refused last, 0 when none was since the last success."""
        self.refused_times = 0
        self.refused_first: Place | None = None
        self.refused_last: Place | None = None
        self.waiting: Step | None = None
        """The first request behind the last result."""
        self.asked = False
        """Whether it will be looked at later."""
        self.resent: tuple[int, int] = -1, 0
        """prev_log_index and number of the entries that were sent last."""
        self.resent_times = 0
        self.first: Place | None = None
        """Where they were sent first."""
        self.acknowledged = -1
        """Up to where entries were acknowledged."""
        self.beyond: list[_Beyond] = []
        """Requests that went beyond the window and are still to be judged."""


class _Beyond:
    """A request that went beyond the window as far as results were known."""

    __slots__ = ("acknowledged", "ends", "step")

    def __init__(self, step: Step, ends: int, acknowledged: int) -> None:
        self.step = step
        self.ends = ends
        self.acknowledged = acknowledged
        """Up to where entries were acknowledged when it was sent; results may come late."""


class _Told:
    """A leader that was told of a higher term."""

    __slots__ = ("by", "found", "led", "lines", "place", "term")

    def __init__(self, led: int, term: int, by: int, place: Place) -> None:
        self.led = led
        self.term = term
        self.by = by
        self.place = place
        self.lines: dict[Line, tuple[int, Place]] = {}
        """How often it has sent AppendEntries since, and where first, by connection."""
        self.found = False


class Replication(Group):
    """Judges requests and results of leaders and followers."""

    def __init__(self, knowledge: Knowledge, judge: Judge) -> None:
        super().__init__(knowledge, judge)
        self._talks: dict[tuple[int, int], _Talk] = {}
        self._told: dict[int, _Told] = {}
        self._cowsql: set[int] = set()
        self._configured: Configured | None = None
        self._spares: frozenset[int] = frozenset()
        self._to_spares: dict[tuple[int, int, int], Place] = {}  # by leader, term and spare

    def message(self, step: Step) -> None:
        """A message, complete or partial."""
        leader, follower = step.sender, step.receiver
        if step.type in _VERSIONED and leader is not None and len(self._cowsql) < _MAX_TALKS:
            new = step.message.preamble.version >= _COWSQL
            (self._cowsql.add if new else self._cowsql.discard)(leader)
        if step.term is None:
            return
        if step.type in (table.APPEND_ENTRIES, table.INSTALL_SNAPSHOT):
            if leader is None or follower is None:
                self.judge.skip(ANSWERED, "unknown_server")
                return
            self._request(step, leader, follower, step.term)
        elif step.type == table.APPEND_ENTRIES_RESULT:
            if leader is None or follower is None:
                self.judge.skip(CHECKED, "unknown_server")
                return
            self._result(step, follower, leader, step.term)

    def patience_ns(self, step: Step) -> int | None:
        """How long after a message another one like it may come without being told; None if all must be told."""
        asks = step.type == table.APPEND_ENTRIES
        pair = (step.sender, step.receiver) if asks else (step.receiver, step.sender)
        talk = None if None in pair else self._talks.get((pair[0] or 0, pair[1] or 0))
        busy = talk is None or talk.installing is not None or talk.refused or talk.resent_times > 1
        return None if busy or step.receiver in self._spares or pair[0] in self._told else NEVER_NS

    def _talk(self, leader: int, follower: int, term: int) -> _Talk | None:
        """The talk of a leader's latest term; None of one that is over."""
        talk = self._talks.get((leader, follower))
        if talk is None or talk.term < term:
            talk = self._talks[leader, follower] = _Talk(term)
            if len(self._talks) > _MAX_TALKS:
                del self._talks[next(iter(self._talks))]
        return talk if talk.term == term else None

    # Requests

    def _request(self, step: Step, leader: int, follower: int, term: int) -> None:
        self._goes_on(step, leader, term)
        self._spare(step, leader, follower, term)
        talk = self._talk(leader, follower, term)
        if talk is None:
            return
        if talk.waiting is None:
            talk.waiting = step
            self._wait(talk, leader, follower)
        if step.type == table.INSTALL_SNAPSHOT:
            talk.installing = step.fields.get("last_index", 0)
            return
        if step.ends is None:
            self.judge.skip(PROGRESS, "cut_short")
            return
        self._repeated(step, talk)
        if step.fields["n_entries"]:
            self._progress(step, talk)
            if leader in self._cowsql:
                self._window(step, talk, leader, follower, term)

    def _repeated(self, step: Step, talk: _Talk) -> None:
        if not talk.refused:
            return
        index = step.fields["prev_log_index"]
        if index < talk.refused:
            self.judge.hold(BACK)
            talk.refused = 0
            return
        last = talk.refused_last
        if index > talk.refused or talk.refused_times < _REFUSALS or last is None or talk.refused_first is None:
            return
        if step.place.time_ns - last.time_ns < 0 or step.place.time_ns - talk.refused_first.time_ns < GRACE_NS:
            return
        self.judge.find(
            BACK,
            step.place,
            f"Leader {step.sender} still sends server {step.receiver} what stands behind entry {index} in term "
            f"{step.term}, which it has refused {talk.refused_times} times (frame {talk.refused_first.frame}).",
            step.subject(index),
            evidence=(talk.refused_first, last),
            about=(step.term, index),
        )

    def _progress(self, step: Step, talk: _Talk) -> None:
        index, entries = step.fields["prev_log_index"], step.fields["n_entries"]
        if talk.resent != (index, entries) or talk.first is None:
            talk.resent, talk.resent_times, talk.first = (index, entries), 1, step.place
            self.judge.hold(PROGRESS)
            return
        talk.resent_times += 1
        if talk.resent_times <= _RESENT:
            self.judge.hold(PROGRESS)
            return
        what = f"entry {index + 1}" if entries == 1 else f"entries {index + 1} to {index + entries}"
        self.judge.find(
            PROGRESS,
            step.place,
            f"Leader {step.sender} has sent {what} to server {step.receiver} {talk.resent_times} times in term "
            f"{step.term} (first in frame {talk.first.frame}).",
            step.subject(index + 1),
            evidence=(talk.first,),
            about=(step.term, talk.first),
        )

    def _window(self, step: Step, talk: _Talk, leader: int, follower: int, term: int) -> None:
        ends, acknowledged = step.ends, max(talk.acknowledged, self._acked(leader, follower, term))
        assert ends is not None
        if talk.acknowledged < 0:
            self.judge.skip(WINDOW, "begun_midway")
        elif ends - acknowledged <= _WINDOW:
            self.judge.hold(WINDOW)
        elif len(talk.beyond) == _MOST_BEYOND:
            self.judge.skip(WINDOW, "forgotten")
        else:
            beyond = _Beyond(step, ends, acknowledged)
            talk.beyond.append(beyond)
            self.judge.later(lambda: self._too_many(talk, beyond, leader, follower, term), step.place)

    def _acked(self, leader: int, follower: int, term: int) -> int:
        pair = self.knowledge.pairs.of(leader, follower)
        return -1 if pair is None else pair.acked(term)

    def _too_many(self, talk: _Talk, beyond: _Beyond, leader: int, follower: int, term: int) -> None:
        """Judge a request that went beyond the window as far as results were known then."""
        talk.beyond.remove(beyond)
        step, ends, acknowledged = beyond.step, beyond.ends, beyond.acknowledged
        if ends - acknowledged <= _WINDOW:
            self.judge.hold(WINDOW)
            return
        pair, reign = self.knowledge.pairs.of(leader, follower), self.knowledge.reigns.of(leader, term)
        if pair is None or reign is None:
            self.judge.skip(WINDOW, "forgotten")
            return
        reason = self.knowledge.lines.hides_since(follower, leader, reign.first, step.place)
        if reason is not None or pair.vague_answer is not None:
            self.judge.skip(WINDOW, reason or "cut_short")
            return
        self.judge.find(
            WINDOW,
            step.place,
            f"Leader {leader} has {ends - acknowledged} entries on their way to server {follower} in term {term}: "
            f"{ends} is sent, {acknowledged} acknowledged.",
            step.subject(ends),
            about=term,
        )

    # Spares

    def _spare(self, step: Step, leader: int, follower: int, term: int) -> None:
        configurations = self.knowledge.configurations
        if configurations.latest is not self._configured:
            self._configured = configurations.latest
            roles = {} if self._configured is None else self._configured.roles
            self._spares = frozenset(id_ for id_, role in roles.items() if role == table.SPARE)
            self._promotes()
        configured = self._configured
        if configured is None or not self._spares:
            return
        if follower not in self._spares:
            self.judge.hold(SPARE)
            return
        committed = self.knowledge.log.committed(configured.conf_index)
        known = configured.in_snapshot or (committed is not None and committed.term == configured.term)
        if not known or step.place.time_ns - configured.place.time_ns < GRACE_NS:
            return
        key = leader, term, follower
        first = self._to_spares.setdefault(key, step.place)
        if len(self._to_spares) > _MAX_TALKS:
            del self._to_spares[next(iter(self._to_spares))]
        long = step.place.time_ns - first.time_ns > _PROMOTION_NS
        what = "which is a spare" if long else "a spare: it may be about to be promoted"
        self.judge.find(
            SPARE,
            step.place,
            f"Leader {leader} sends {step.message.name} to server {follower}, {what} (configuration "
            f"{configured.conf_index}, frame {configured.place.frame}).",
            step.subject(configured.conf_index),
            severity=None if long else "note",
            evidence=(configured.place, first),
            about=term,
        )

    def _promotes(self) -> None:
        """Another configuration is known; whoever is no spare in it was promoted."""
        for key in [key for key in self._to_spares if key[2] not in self._spares]:
            del self._to_spares[key]
            self.judge.hold(SPARE)

    # Results

    def _result(self, step: Step, leader: int, follower: int, term: int) -> None:
        fields = step.fields
        rejected, last = fields.get("rejected"), fields.get("last_log_index")
        self._tells(step, leader, follower, term)
        talk = self._talk_of_result(leader, follower, term)
        if talk is not None:
            talk.waiting = None
            self.judge.hold(ANSWERED)
        if rejected is None or last is None:
            for rule in (ASKED, STORED, HINT, CHECKED):
                self.judge.skip(rule, "cut_short")
        elif rejected:
            self._refusal(step, talk, leader, follower, rejected, last)
        else:
            if talk is not None and talk.term == term:
                self._success(step, talk, last)
            self._checked(step, leader, follower, term, last)

    def _talk_of_result(self, leader: int, follower: int, term: int) -> _Talk | None:
        talk = self._talks.get((leader, follower))
        return talk if talk is not None and talk.term <= term else None

    def _success(self, step: Step, talk: _Talk, last: int) -> None:
        talk.refused = talk.refused_times = 0
        if talk.installing is not None and last >= talk.installing:
            talk.installing = None
        talk.acknowledged = max(last, talk.acknowledged)
        for beyond in talk.beyond:
            if step.place.time_ns <= beyond.step.place.time_ns:
                beyond.acknowledged = max(last, beyond.acknowledged)
        if last > talk.resent[0]:
            talk.resent, talk.resent_times = (-1, 0), 0

    def _refusal(self, step: Step, talk: _Talk | None, leader: int, follower: int, rejected: int, last: int) -> None:
        pair = self.knowledge.pairs.of(leader, follower)
        if pair is not None and pair.asked.place(rejected) is not None:
            self.judge.hold(ASKED)
            self.judge.hold(STORED)
        else:
            self.judge.later(lambda: self._not_asked(step, leader, follower, rejected), step.place)
        if talk is None or talk.term != step.term:
            return
        self._hint(step, leader, follower, rejected, last)
        if talk.installing is not None:
            talk.refused = talk.refused_times = 0
        elif talk.refused == rejected:
            talk.refused_times += 1
            talk.refused_last = step.place
        else:
            talk.refused, talk.refused_times = rejected, 1
            talk.refused_first = talk.refused_last = step.place

    def _hint(self, step: Step, leader: int, follower: int, rejected: int, last: int) -> None:
        if last < rejected:
            self.judge.hold(HINT)
            return
        sent = self.knowledge.reigns.sent(leader, follower, step.term)
        asked = None if sent is None else sent.previous.place(rejected)
        if sent is None or asked is None or rejected == sent.snapshot:
            self.judge.skip(HINT, "begun_midway")
            return
        old = step.message.preamble.version < _COWSQL
        self.judge.find(
            HINT,
            step.place,
            f"Server {follower} refuses index {rejected} and names {last} as the end of its log in term {step.term}.",
            step.subject(rejected),
            sure=step.sure,
            severity="warning" if old else None,
            evidence=(asked,),
            about=step.term,
        )

    def _not_asked(self, step: Step, leader: int, follower: int, rejected: int) -> None:
        """Judge the refusal of an index that the leader was not known to have named."""
        pair = self.knowledge.pairs.of(leader, follower)
        asked = None if pair is None else pair.asked.place(rejected)
        if asked is not None and not self._is_later(asked, step):
            self.judge.hold(ASKED)
            self.judge.hold(STORED)
            return
        reason = self._hides_requests(step, pair, leader, follower)
        if reason is not None or pair is None:
            self.judge.skip(ASKED, reason or "other_direction")
            self.judge.skip(STORED, reason or "other_direction")
            return
        brought = pair.brought.place(rejected - 1)
        evidence = () if brought is None else (brought,)
        if brought is None:
            rule = ASKED
            message = f"Server {follower} refuses index {rejected}, which leader {leader} has not named to it."
            self.judge.hold(STORED)
        else:
            rule = STORED
            message = (
                f"Server {follower} could not store the entries behind {rejected - 1} that leader {leader} sent it "
                f"(frame {brought.frame}): it refuses index {rejected}."
            )
            self.judge.hold(ASKED)
        self.judge.find(rule, step.place, message, step.subject(rejected), evidence=evidence, about=step.term)

    def _is_later(self, request: Place, step: Step) -> bool:
        """Whether a request was sent for sure only after a result to the same server."""
        assert step.sender is not None
        assert step.receiver is not None
        margin_ns = self.knowledge.lines.margin_ns(step.sender, step.receiver)
        return margin_ns is not None and request.time_ns > step.place.time_ns + margin_ns

    def _hides_requests(self, step: Step, pair: Pair | None, leader: int, follower: int) -> Reason | None:
        """Why it is not known what a leader has sent to a follower before a result."""
        assert step.term is not None
        if pair is None or pair.lowest_term is None:
            return "other_direction"
        if pair.vague_request is not None:
            return "cut_short"
        if pair.forgotten:
            return "forgotten"
        lines, terms = self.knowledge.lines, self.knowledge.terms
        return lines.hides(terms, leader, follower, min(step.term, pair.lowest_term), step.place)

    def _checked(self, step: Step, leader: int, follower: int, term: int, last: int) -> None:
        sent = self.knowledge.reigns.sent(leader, follower, term)
        if sent is not None and last <= sent.highest:
            self.judge.hold(CHECKED)
        else:
            self.judge.later(lambda: self._unchecked(step, leader, follower, term, last), step.place)

    def _unchecked(self, step: Step, leader: int, follower: int, term: int, last: int) -> None:
        """Judge an acknowledgement of more than was known to be sent."""
        sent, pair = self.knowledge.reigns.sent(leader, follower, term), self.knowledge.pairs.of(leader, follower)
        end = -1 if sent is None else sent.highest
        if last <= end:
            self.judge.hold(CHECKED)
            return
        if sent is None or pair is None:
            # It answers a request of an earlier term, or one that the capture lacks.
            self.judge.skip(CHECKED, "other_direction")
            return
        if pair.from_nothing is not None and pair.from_nothing < term:
            self.judge.skip(CHECKED, "unknown_release")
            return
        if pair.vague_request is not None:
            self.judge.skip(CHECKED, "cut_short")
            return
        reason = self._hides_sent(step, pair, leader, follower, last)
        if reason is not None:
            self.judge.skip(CHECKED, reason)
            return
        old = step.message.preamble.version < _COWSQL
        message = (
            f"Server {follower} acknowledges entries up to {last} in term {term}, where leader {leader} has sent it "
            f"none behind {end}."
        )
        if old:
            message += " Its release names the end of its log, checked or not."
        evidence = () if sent.end_place is None else (sent.end_place,)
        reign = self.knowledge.reigns.of(leader, term)
        sure = step.sure and reign is not None and reign.sure
        self.judge.find(CHECKED, step.place, message, step.subject(last), sure=sure, evidence=evidence, about=term)

    def _hides_sent(self, step: Step, pair: Pair, leader: int, follower: int, last: int) -> Reason | None:
        """Why it is not known what a follower has got of its leader that it lacked before."""
        assert step.term is not None
        lines, terms = self.knowledge.lines, self.knowledge.terms
        reason = lines.hides(terms, leader, follower, step.term, step.place)
        refusal = pair.refusals.get(step.term)
        if reason is None or refusal is None or refusal.log_index > last or refusal.place > step.place:
            return reason
        asked = pair.asked.place(refusal.log_index)
        # What it has refused it has got behind that request, if at all.
        return reason if asked is None else lines.hides_since(leader, follower, asked, step.place)

    # A result that does not come

    def _wait(self, talk: _Talk, leader: int, follower: int) -> None:
        """Look later whether what waits now is answered; of each talk one question waits at a time."""
        if talk.waiting is not None and not talk.asked:
            talk.asked = True
            check = partial(self._silent, talk, talk.waiting, leader, follower)
            self.judge.later(check, talk.waiting.place, 2 * GRACE_NS)

    def _silent(self, talk: _Talk, step: Step, leader: int, follower: int) -> None:
        """Judge a request if no result has come since."""
        talk.asked = False
        if talk.waiting is not step:
            self._wait(talk, leader, follower)
            return
        talk.waiting = None
        assert step.term is not None
        terms, lines = self.knowledge.terms, self.knowledge.lines
        if talk.installing is not None or terms.current(follower) > step.term:
            return
        if step.line.end is not None:
            self.judge.skip(ANSWERED, "capture_end")
            return
        until = Place(step.place.time_ns + GRACE_NS, step.place.frame, step.place.file)
        reason = lines.hides_since(follower, leader, step.place, until)
        if reason is not None:
            self.judge.skip(ANSWERED, reason)
            return
        self.judge.find(
            ANSWERED,
            step.place,
            f"Server {follower} answers nothing for {GRACE_NS // _SECOND} s after leader {leader} has sent it "
            f"{step.message.name} in term {step.term}.",
            Subject(follower, leader, step.term, None),
            about=step.term,
        )

    # Leaders that do not stop

    def _tells(self, step: Step, leader: int, follower: int, term: int) -> None:
        talk = self._talks.get((leader, follower))
        if talk is None or talk.term >= term or len(self._told) >= _MAX_TALKS:
            return
        told = self._told.get(leader)
        if told is None or told.led < talk.term:
            told = self._told[leader] = _Told(talk.term, term, follower, step.place)
            self.judge.later(lambda: self._stopped(told), step.place, GRACE_NS + 2 * _STILL_NS)

    def _goes_on(self, step: Step, leader: int, term: int) -> None:
        told = self._told.get(leader)
        if told is None or told.led != term or step.place.time_ns - told.place.time_ns < GRACE_NS:
            return
        times, first = told.lines.get(step.line, (0, step.place))
        if times or len(told.lines) < _MOST_LINES:
            told.lines[step.line] = times + 1, first
        if times + 1 < _STILL or step.place.time_ns - first.time_ns < _STILL_NS:
            return
        told.found = True
        self.judge.find(
            TOLD,
            step.place,
            f"Leader {leader} goes on in term {term}, though server {told.by} has told it of term {told.term} "
            f"(frame {told.place.frame}).",
            Subject(leader, told.by, term),
            evidence=(told.place,),
            about=term,
        )

    def _stopped(self, told: _Told) -> None:
        if not told.found:
            self.judge.hold(TOLD)
