"""Takes what rules find, folds repeats, counts, and asks again later where the capture may still tell more."""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.audit.verdicts import Finding, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from raft_dissect.audit.rule import Rule, Severity
    from raft_dissect.audit.verdicts import Reason, Verdict
    from raft_dissect.values import Place

NEVER_NS = 2**62
"""A time that no capture reaches."""
GRACE_NS = 3_000_000_000
"""How long rules wait for packets that may come late: a hole in a stream may hold back messages for a second, and
capture points may have different clocks."""
_MAX_FINDINGS = 10_000
"""Findings that are kept apart; later ones are only counted."""
_MAX_WAITING = 10_000
"""Questions that wait for an answer; when there are more the oldest are answered with what is known."""


class Subject(NamedTuple):
    """Whom and what a finding is about; what is None does not matter."""

    server: int | None = None
    peer: int | None = None
    term: int | None = None
    log_index: int | None = None


class Sample(NamedTuple):
    """How the rules ended for one message: they held or were not evaluated, and nothing waits."""

    held: tuple[tuple[Rule, int], ...]
    skipped: tuple[tuple[Rule, Reason, int], ...]


class Judge:
    """Keeps the verdicts of one cluster."""

    def __init__(self, rules: Iterable[Rule], told: Callable[[Finding], None] | None = None) -> None:
        """`rules` are those that are asked; `told` is called with each finding that is no repeat."""
        self._rules = {rule.id: rule for rule in rules}
        self._told = told
        self._held: Counter[str] = Counter()
        self._verdicts: Counter[tuple[str, Verdict]] = Counter()
        self._skipped: dict[str, Counter[Reason]] = {}
        self._findings: dict[tuple[object, ...], Finding] = {}
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._asked = 0
        self._recorded: tuple[list[tuple[Rule, int]], list[tuple[Rule, Reason, int]]] | None = None
        self.now_ns = 0
        """The latest time of the capture so far."""

    def hold(self, rule: Rule, times: int = 1) -> None:
        """The rule held."""
        self._held[rule.id] += times
        if self._recorded is not None:
            self._recorded[0].append((rule, times))

    def skip(self, rule: Rule, reason: Reason, times: int = 1) -> None:
        """The rule could not be evaluated."""
        self._skipped.setdefault(rule.id, Counter())[reason] += times
        if self._recorded is not None:
            self._recorded[1].append((rule, reason, times))

    def record(self) -> None:
        """Take note of how the rules end from now on."""
        self._recorded = [], []

    def recorded(self) -> Sample | None:
        """How they ended since then; None when something was found, or waits."""
        recorded, self._recorded = self._recorded, None
        return None if recorded is None else Sample(tuple(recorded[0]), tuple(recorded[1]))

    def repeat(self, sample: Sample, times: int) -> None:
        """So many messages ended as one of which it was recorded."""
        for rule, held in sample.held:
            self.hold(rule, held * times)
        for rule, reason, skipped in sample.skipped:
            self.skip(rule, reason, skipped * times)

    @property
    def due_ns(self) -> int:
        """When the next question is to be asked again."""
        return self._waiting[0][0] if self._waiting else NEVER_NS

    def find(
        self,
        rule: Rule,
        place: Place,
        message: str,
        subject: Subject,
        *,
        sure: bool = True,
        severity: Severity | None = None,
        evidence: Sequence[Place] = (),
        about: object = None,
    ) -> None:
        """The rule did not hold at a place.

        `sure` says whether all that was used is certain. Findings of one rule and verdict with the same server, peer
        and `about` are repeats.
        """
        self._recorded = None
        if rule.id not in self._rules:
            return
        severity = severity or rule.severity
        verdict: Verdict = "observation" if severity != "error" else "violation" if sure else "suspect"
        self._verdicts[rule.id, verdict] += 1
        key = (rule.id, verdict, severity, subject.server, subject.peer, about)
        known = self._findings.get(key)
        if known is not None:
            self._findings[key] = known._replace(times=known.times + 1, last=max(known.last or known.place, place))
        elif len(self._findings) < _MAX_FINDINGS:
            places = tuple(sorted({place, *evidence}))
            finding = Finding(rule, severity, verdict, place, places, *subject, message)
            self._findings[key] = finding
            if self._told is not None:
                self._told(finding)

    def later(self, check: Callable[[], None], place: Place, wait_ns: int = GRACE_NS) -> None:
        """Call `check` once the capture has gone on for so long behind a place, or at its end."""
        self._recorded = None
        self._asked += 1
        heappush(self._waiting, (place.time_ns + wait_ns, self._asked, check))
        if len(self._waiting) > _MAX_WAITING:
            heappop(self._waiting)[2]()

    def forget(self) -> None:
        """What waits is about a past that does not count any more."""
        self._waiting.clear()

    def advance(self, time_ns: int) -> None:
        """The capture has gone on to a time."""
        if time_ns <= self.now_ns:
            return
        self.now_ns = time_ns
        while self._waiting and self._waiting[0][0] <= time_ns:
            heappop(self._waiting)[2]()

    def finish(self) -> None:
        """The capture is over: answer what waits."""
        while self._waiting:
            heappop(self._waiting)[2]()

    @property
    def findings(self) -> list[Finding]:
        """What was found so far, in the order of the capture."""
        return sorted(self._findings.values(), key=lambda finding: (finding.place, finding.rule.id))

    @property
    def tallies(self) -> list[Tally]:
        """How often each rule was evaluated so far, in the order of the catalogue."""
        return [
            Tally(
                rule,
                self._held[id_],
                self._verdicts[id_, "violation"],
                self._verdicts[id_, "suspect"],
                self._verdicts[id_, "observation"],
                dict(self._skipped.get(id_, {})),
            )
            for id_, rule in self._rules.items()
        ]
