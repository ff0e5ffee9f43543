"""Leadership: times without a leader, elections that elect nobody, leaders that change too often."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from raft_dissect.diagnosis.findings import Finding
from raft_dissect.diagnosis.visibility import shows_leaders
from raft_dissect.diagnosis.words import REASONS, capital, seconds_between, server, servers
from raft_dissect.units import counted, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from raft_dissect.cluster.facts import ClusterFacts, Election, Leaderless, Leadership, ServerName

_SHORT_SECONDS = 1.0
"""Shorter times without a leader are no more than any change of leaders takes."""
_LONG_SECONDS = 5.0
"""C-Raft's default election timeout is 1 to 2 seconds: who has no leader for longer had more than one election fail."""
_STORM_ROUNDS = 8
"""Rounds of votes from which on elections that elect nobody are a storm."""
_STORM_SECONDS = 5.0
"""The longest time between two of them: a candidate tries again after 1 to 2 seconds, at the default timeout."""
_VAIN_ROUNDS = 3
"""Rounds without any vote, after which a candidate is told of."""
_CHANGES = 3
_SHORT_REIGN_SECONDS = 60.0

_SILENCES = {
    "connection_lost": "whose connections ended",
    "heartbeats_absent": "which fell silent",
    "step_down": "which stepped down",
    "transfer": "which gave leadership away",
    "unknown": "which was heard of no more",
}
_ADVICE = {
    "connection_lost": "Look at what ended the old leader: a crash, a restart or its host.",
    "heartbeats_absent": "Look at the old leader's load and disk, and at the network between it and the others.",
    "step_down": "A leader steps down when it does not hear from a majority: look at the network around it.",
    "transfer": "Look at the server that should have taken over.",
    "start": "Look whether a majority of the servers is running and can be reached.",
    "unknown": "Look at the logs of the old leader at this time.",
}


def times_without_a_leader(facts: ClusterFacts) -> Iterator[Finding]:
    """Each long time without a leader, with what came before and after it."""
    for interval in facts.leaderless:
        seconds = seconds_between(interval.first, interval.last)
        if seconds < (_LONG_SECONDS if interval.cause == "start" else _SHORT_SECONDS):
            continue
        before, after = around(facts, interval)
        yield Finding(
            "problem" if seconds >= _LONG_SECONDS or after is None else "warning",
            "no_leader",
            without_leader(facts, interval),
            _ADVICE[interval.cause],
            tuple(one.leader for one in (before, after) if one is not None),
            tuple(place for place in (interval.first, interval.last) if place.frame),
        )


def around(facts: ClusterFacts, interval: Leaderless) -> tuple[Leadership | None, Leadership | None]:
    """Who led before a time without a leader, and who began to lead at its end."""
    before = next((one for one in reversed(facts.leaders) if one.last == interval.first), None)
    return before, next((one for one in facts.leaders if one.first == interval.last), None)


def without_leader(facts: ClusterFacts, interval: Leaderless) -> str:
    """A time without a leader in one sentence, with what came before and after it."""
    before, after = around(facts, interval)
    still = " until the end of the capture" if interval.ended_by == "capture_end" else ""
    return (
        f"No leader for {duration(seconds_between(interval.first, interval.last))}{still}"
        f"{_after(interval, before)}{_rounds(facts, interval)}{_until(after)}."
    )


def _after(interval: Leaderless, before: Leadership | None) -> str:
    if interval.cause == "start":
        return " from the first message on"
    if before is None:
        return ""
    return f" after {server(before.leader)}, leader of term {before.term}, {_SILENCES[interval.cause]}"


def _rounds(facts: ClusterFacts, interval: Leaderless) -> str:
    rounds = [one for one in _votes(facts) if interval.first <= one.place <= interval.last]
    if len(rounds) < 2:
        return ""
    split = sum(one.outcome == "split" for one in rounds)
    return f"; {len(rounds)} rounds of votes{f', {split} split' if split else ''}"


def _until(after: Leadership | None) -> str:
    return "" if after is None else f"; then {server(after.leader)} led term {after.term}"


def _votes(facts: ClusterFacts) -> list[Election]:
    return [election for election in facts.elections if not election.pre_vote]


def two_leaders(facts: ClusterFacts) -> Iterator[Finding]:
    """Terms in which more than one server acted as leader, which Raft rules out (section 5.2).

    Two whose ids are not both known may be one.
    """
    known = (reign for reign in facts.leaders if isinstance(reign.leader, int))
    for term, same in groupby(sorted(known, key=_term_of), key=_term_of):
        reigns = list(same)
        if len(reigns) > 1:
            names = tuple(one.leader for one in reigns)
            yield Finding(
                "problem",
                "two_leaders",
                capital(f"{servers(names)} acted as leaders of one term, {term}: committed entries can be lost."),
                "Compare the data of both servers; look whether one of them lost its term or its vote, or two clusters "
                "share ids.",
                names,
                tuple(one.first for one in reigns),
            )


def _term_of(reign: Leadership) -> int:
    return reign.term


def election_storms(facts: ClusterFacts) -> Iterator[Finding]:
    """Many rounds of votes that elected nobody, close to each other."""
    if not shows_leaders(facts):
        return
    lost = [election for election in _votes(facts) if election.outcome != "won"]
    for storm in _clusters(lost):
        if len(storm) < _STORM_ROUNDS:
            continue
        terms = [election.term for election in storm]
        split = sum(election.outcome == "split" for election in storm)
        names = tuple(name for name, _ in Counter(election.candidate for election in storm).most_common())
        pre_votes = any(election.pre_vote for election in facts.elections)
        yield Finding(
            "problem",
            "election_storm",
            f"Election storm: {len(storm)} rounds of votes that elected nobody in "
            f"{duration(seconds_between(storm[0].place, storm[-1].place))}, terms {min(terms)} to {max(terms)}"
            f"{f', {split} of them split' if split else ''}; most by {server(names[0])}.",
            f"Look at the network around {servers(names[:3])}"
            + ("." if pre_votes else ", and consider pre-vote, which no server used."),
            names,
            tuple(election.place for election in storm[:10]),
        )


def _clusters(elections: Sequence[Election]) -> Iterator[list[Election]]:
    """Elections that follow each other within _STORM_SECONDS."""
    together: list[Election] = []
    for election in elections:
        if together and seconds_between(together[-1].place, election.place) > _STORM_SECONDS:
            yield together
            together = []
        together.append(election)
    if together:
        yield together


def candidates_in_vain(facts: ClusterFacts) -> Iterator[Finding]:
    """Candidates that were refused again and again by everybody, while somebody else led."""
    rounds: dict[ServerName, list[Election]] = {}
    for election in facts.elections:
        rounds.setdefault(election.candidate, []).append(election)
    for candidate, elections in rounds.items():
        vain = [one for one in elections if not one.granted and one.refused and _led_by_another(facts, one)]
        if len(vain) < _VAIN_ROUNDS:
            continue
        reasons = Counter(refusal.reason for one in vain for refusal in one.refused)
        reason, _ = reasons.most_common(1)[0]
        yield Finding(
            "warning",
            "vain_candidate",
            f"{capital(server(candidate))} asked for votes {len(vain)} times while another server led, and got "
            f"none; most answers: {REASONS[reason]}.",
            "It hears no heartbeats, or is no member any more: look at the connections from the leader to it, and at "
            "the configuration.",
            (candidate,),
            tuple(one.place for one in vain[:10]),
        )


def _led_by_another(facts: ClusterFacts, election: Election) -> bool:
    return any(
        reign.leader != election.candidate and reign.first <= election.place <= reign.last for reign in facts.leaders
    )


def restless_leadership(facts: ClusterFacts) -> Iterator[Finding]:
    """Leaders that followed each other quickly."""
    of_term: dict[int, Leadership] = {}
    for reign in facts.leaders:
        of_term.setdefault(reign.term, reign)
    reigns = list(of_term.values())
    if len(reigns) <= _CHANGES:
        return
    seconds = seconds_between(reigns[0].first, reigns[-1].last)
    if seconds / len(reigns) >= _SHORT_REIGN_SECONDS:
        return
    ends = Counter(reign.ended_by for reign in reigns[:-1])
    names = tuple(dict.fromkeys(reign.leader for reign in reigns))
    transfers = sum(transfer.outcome == "done" for transfer in facts.transfers)
    asked = f"; {counted(transfers, 'leadership transfer')} asked for that" if transfers else ""
    yield Finding(
        "note" if transfers >= len(reigns) - 1 else "warning",
        "restless_leadership",
        f"Leadership changed {len(reigns) - 1} times in {duration(seconds)}, among {servers(names)}{asked}.",
        _ADVICE.get(ends.most_common(1)[0][0], _ADVICE["unknown"]),
        names,
        tuple(reign.first for reign in reigns[:10]),
    )


RULES: tuple[Callable[[ClusterFacts], Iterator[Finding]], ...] = (
    times_without_a_leader,
    two_leaders,
    election_storms,
    candidates_in_vain,
    restless_leadership,
)
