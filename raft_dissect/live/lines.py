"""What is told while packets come, as lines of text or of JSON on standard output, each as soon as it is known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from raft_dissect.live.view import View
from raft_dissect.report.audit.records import AuditRecords
from raft_dissect.report.audit.text import FindingText
from raft_dissect.report.audit.words import level
from raft_dissect.report.happenings.records import HappeningRecords
from raft_dissect.report.happenings.text import HappeningText
from raft_dissect.report.terminal import wrapped
from raft_dissect.units import counted, duration, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raft_dissect.audit import Finding
    from raft_dissect.live.view import Snapshot, SnapshotInFlight
    from raft_dissect.report.terminal import Style
    from raft_dissect.report.times import Clock
    from raft_dissect.watch import Happening

LIVE_KINDS: dict[str, str] = {
    "finding": "the audit has found something, with the keys of `audit --json`",
    "snapshot_progress": "how much of a snapshot has come, each second: `leader`, `follower`, `last_index`, `received` "
    "of `bytes`",
    "late": "the analysis is more than two seconds behind the packets: `seconds`",
    "on_time": "it has caught up",
    "summary": "the last line: all that was counted, and what was captured and dropped on each interface",
}
"""The kinds of lines that `live --json` has beside happenings, with what they mean."""

_PROGRESS_NS = 1_000_000_000
"""Nanoseconds between two lines about a snapshot that is being sent."""
_LATE_SECONDS, _ON_TIME_SECONDS = 2.0, 1.0
"""How late the analysis must be for a line about it, and how little for the line that it has caught up."""
_UNTOLD = ("note", "chat")
"""Levels of findings that make no line of text: they are no trouble, and JSON has them."""


class LateLines(View):
    """Knows when the analysis falls behind the packets, and when it has caught up; says each once."""

    wants_state = False

    def __init__(self) -> None:
        self._late = False

    def lateness(self, snapshot: Snapshot) -> bool | None:
        """Whether the analysis is late now, if that has changed."""
        bound = _ON_TIME_SECONDS if self._late else _LATE_SECONDS
        late = snapshot.late_seconds > bound
        if late == self._late:
            return None
        self._late = late
        return late


class _Progress:
    """Which snapshots are due for a line about how much of them has come."""

    def __init__(self) -> None:
        self._told: dict[object, int] = {}

    def due(self, snapshot: Snapshot) -> Iterable[SnapshotInFlight]:
        """Those that began a second ago or more, and were not told in the last second."""
        told, self._told = self._told, {}
        for one in snapshot.arriving:
            key = one.fact.started
            last = told.get(key, key.time_ns)
            is_due = snapshot.now_ns - last >= _PROGRESS_NS
            self._told[key] = snapshot.now_ns if is_due else last
            if is_due:
                yield one


class TextLines(LateLines):
    """Lines for a person."""

    def __init__(self, clock: Clock, style: Style, width: int | None) -> None:
        super().__init__()
        self._happenings = HappeningText(clock, style, width)
        self._findings = FindingText(clock, style, width, several=False)
        self._style = style
        self._width = width
        self._clock = clock
        self._progress = _Progress()

    def happened(self, happenings: Sequence[Happening]) -> None:
        """Something has become certain."""
        for happening in happenings:
            self._findings.clusters(happening.cluster + 1)
            _print(self._happenings.lines(happening))

    def found(self, finding: Finding) -> None:
        """The audit has found something."""
        if level(finding) not in _UNTOLD:
            _print(self._findings.one(finding))

    def beat(self, snapshot: Snapshot) -> None:
        """Time has passed: say what is late, and how snapshots get on."""
        for one in self._progress.due(snapshot):
            _print(self._timed(snapshot, progress(one)))
        late = self.lateness(snapshot)
        if late is not None:
            seconds = duration(snapshot.late_seconds)
            text = f"the analysis is {seconds} behind the packets" if late else "the analysis has caught up"
            _print(self._timed(snapshot, text, "red" if late else "green"))

    def finish(self, snapshot: Snapshot) -> None:
        """Say what it comes to."""
        _print(["", *wrapped(summary(snapshot), self._width, "", "")])

    def _timed(self, snapshot: Snapshot, text: str, colour: str = "cyan") -> list[str]:
        time = f"{self._clock.time(snapshot.now_ns, 3)}  "
        first, *others = wrapped(text, self._width, time, " " * len(time))
        return [time + self._style.paint(first[len(time) :], colour), *others]


class JsonLines(LateLines):
    """Lines for a program, one object each."""

    def __init__(self, clock: Clock, sources: Sequence[str]) -> None:
        super().__init__()
        self._happenings = HappeningRecords(sources, clock)
        self._findings = AuditRecords(sources, clock)
        self._clock = clock
        self._progress = _Progress()

    def happened(self, happenings: Sequence[Happening]) -> None:
        """Something has become certain."""
        _print(json.dumps(self._happenings.record(happening)) for happening in happenings)

    def found(self, finding: Finding) -> None:
        """The audit has found something."""
        _print([json.dumps({"event": "finding", **self._findings.finding(finding)})])

    def beat(self, snapshot: Snapshot) -> None:
        """Time has passed: say what is late, and how snapshots get on."""
        for one in self._progress.due(snapshot):
            fact = one.fact
            self._timed(
                snapshot,
                "snapshot_progress",
                leader=fact.leader,
                follower=fact.follower,
                last_index=fact.last_index,
                received=one.received,
                bytes=fact.bytes,
            )
        late = self.lateness(snapshot)
        if late is not None:
            self._timed(snapshot, "late" if late else "on_time", seconds=snapshot.late_seconds)

    def finish(self, snapshot: Snapshot) -> None:
        """Say what it comes to."""
        self._timed(
            snapshot,
            "summary",
            packets=snapshot.packets,
            bytes=snapshot.bytes,
            messages=dict(snapshot.messages),
            events=dict(snapshot.happened),
            findings=[
                {"rule": rule, "verdict": verdict, "times": times}
                for (rule, verdict), times in sorted(snapshot.findings.items())
            ],
            gaps=snapshot.gaps,
            sources=[source._asdict() for source in snapshot.sources],
        )

    def _timed(self, snapshot: Snapshot, event: str, **fields: Any) -> None:
        now_ns = snapshot.now_ns
        _print([json.dumps({"event": event, "time": self._clock.iso(now_ns), "time_ns": now_ns, **fields})])


def progress(one: SnapshotInFlight) -> str:
    """How much of a snapshot has come, in a sentence."""
    fact = one.fact
    seconds = (one.last_ns - fact.started.time_ns) / 1e9
    rate = f", {size(round(one.received / seconds))}/s" if seconds > 0 else ""
    total = "" if fact.bytes is None else f" of {size(fact.bytes)}"
    return f"snapshot from {_name(fact.leader)} to {_name(fact.follower)}: {size(one.received)}{total} sent{rate}"


def summary(snapshot: Snapshot) -> str:
    """What was seen, in a few sentences."""
    seconds = duration((snapshot.now_ns - snapshot.begun_ns) / 1e9)
    messages = counted(snapshot.messages.total(), "message")
    parts = [f"{counted(snapshot.packets, 'packet')} with {messages} in {seconds}."]
    parts += [
        f"The kernel dropped {counted(source.dropped, 'packet')} of {source.name}."
        for source in snapshot.sources
        if source.dropped
    ]
    if snapshot.gaps:
        parts.append(f"{counted(snapshot.gaps, 'gap')}.")
    told = [_told(kind, snapshot.happened[kind]) for kind in _NOUNS if snapshot.happened[kind]]
    if told:
        parts.append(f"{', '.join(told)}.")
    violations = sum(times for (_, verdict), times in snapshot.findings.items() if verdict == "violation")
    parts.append(f"{counted(violations, 'violation')} of the protocol found.")
    return " ".join(parts)


_NOUNS = {
    "leader": "leadership",
    "election_begun": "candidacy",
    "rejection": "rejection",
    "snapshot_begun": "snapshot",
    "restart": "restart",
}
_PLURALS = {"leader": "leaderships", "election_begun": "candidacies"}


def _told(kind: str, times: int) -> str:
    return f"{times:,} {_PLURALS[kind]}" if kind in _PLURALS and times > 1 else counted(times, _NOUNS[kind])


def _name(name: int | str) -> str:
    return f"server {name}" if isinstance(name, int) else name


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
    print(end="", flush=True)
