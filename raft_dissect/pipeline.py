"""The pipeline put together: from capture files or packets to events, messages and the report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING

from raft_dissect.capture import Capture, open_capture
from raft_dissect.cluster import Analysis
from raft_dissect.columns import PacketBlock
from raft_dissect.report.model import MAX_DIAGNOSTICS, CaptureFacts, Report
from raft_dissect.streams import Engine
from raft_dissect.values import CaptureProblem, Diagnostic, Message, Packet, Place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from raft_dissect.streams import Statistics
    from raft_dissect.values import Event

Path = str | os.PathLike[str]
Source = Path | Iterable[Path] | Iterable[Packet]
"""The path of a capture file, several paths that are one capture, or packets; `-` is standard input."""


class Dissection:
    """One capture on its way through the stream engine.

    Iterating gives every event: messages, streams that open and close, and diagnostics of what is missing. The
    arguments are those of `messages`, and so are the errors; what is damaged inside a file is a diagnostic. It can be
    iterated over once.
    """

    def __init__(
        self,
        source: Source,
        *,
        ports: Collection[int] | None = None,
        layout: str | None = None,
        keep_payload: bool = False,
        hash_payload: bool = False,
        follow: bool = False,
    ) -> None:
        self._engine = Engine(ports, layout=layout, keep_payload=keep_payload, hash_payload=hash_payload)
        self._items = _open(source, follow)
        self._time_ns = 0
        self._begun = False

    @property
    def capture(self) -> Capture | None:
        """The opened files; None when the packets come from elsewhere."""
        return self._items if isinstance(self._items, Capture) else None

    @property
    def statistics(self) -> Statistics:
        """What the engine has seen so far."""
        return self._engine.statistics

    def __iter__(self) -> Iterator[Event]:
        if self._begun:
            raise RuntimeError("a Dissection can be iterated over once; make another")
        self._begun = True
        return self._events()

    def _events(self) -> Iterator[Event]:
        for events in self._batches():
            yield from events

    def _batches(self) -> Iterator[Iterable[Event]]:
        engine = self._engine
        capture = self.capture
        try:
            for item in self._items if capture is None else capture.blocks():
                if isinstance(item, PacketBlock):
                    self._time_ns = item.columns.times[item.end - 1]
                    yield engine.feed_block(item)
                elif isinstance(item, CaptureProblem):
                    yield (self._problem(item),)
                else:
                    self._time_ns = item.time_ns
                    yield engine.feed(item)
            yield engine.close()
        finally:
            if capture is not None:
                capture.close()

    def _problem(self, problem: CaptureProblem) -> Diagnostic:
        place = Place(self._time_ns, problem.frame, problem.file)
        return Diagnostic(problem.kind, place, None, problem.offset, None, problem.detail)


def _open(source: Source, follow: bool) -> Capture | Iterable[Packet | CaptureProblem]:
    if isinstance(source, (str, os.PathLike)):
        return open_capture([os.fspath(source)], follow=follow)
    items = iter(source)
    first = next(items, None)
    if first is None:
        raise ValueError("no capture: there is neither a path nor a packet")
    if isinstance(first, Packet):
        return chain((first,), (item for item in items if isinstance(item, (Packet, CaptureProblem))))
    paths = [os.fspath(path) for path in (first, *items) if not isinstance(path, Packet)]
    return open_capture(paths, follow=follow)


class ReportBuilder:
    """Takes the events of a dissection, and makes the report of them."""

    def __init__(self) -> None:
        self._analysis = Analysis()
        self._messages = 0
        self._partial = 0
        self._diagnosed: Counter[str] = Counter()
        self._diagnostics: list[Diagnostic] = []

    def feed(self, event: Event) -> None:
        """Take one event."""
        self._analysis.feed(event)
        if isinstance(event, Message):
            self._messages += 1
            if event.missing != 0:
                self._partial += 1
        elif isinstance(event, Diagnostic):
            self._diagnosed[event.kind] += 1
            if len(self._diagnostics) < MAX_DIAGNOSTICS:
                self._diagnostics.append(event)

    def report(self, dissection: Dissection) -> Report:
        """The report of all events that were fed, which came from this dissection."""
        statistics = dissection.statistics
        other = {kind: n for kind, n in sorted(statistics.streams.items()) if kind != "raft"}
        capture = CaptureFacts(
            tuple(dissection.capture.files) if dissection.capture is not None else (),
            statistics.packets,
            statistics.bytes,
            statistics.first_ns,
            statistics.last_ns,
            statistics.streams["raft"],
            other,
            self._messages,
            self._partial,
            statistics.cut_packets,
            dict(sorted(statistics.skipped.items())),
            dict(sorted(self._diagnosed.items())),
            tuple(self._diagnostics),
        )
        facts = self._analysis.facts(statistics.last_ns or 0)
        return Report(capture, () if facts is None else (facts,))


def messages(
    source: Source,
    *,
    ports: Collection[int] | None = None,
    layout: str | None = None,
    keep_payload: bool = False,
    hash_payload: bool = False,
    follow: bool = False,
) -> Iterator[Message]:
    """Give the RPC messages of a capture in the order in which they are complete.

    `source` is the path of a capture file, several paths that are one capture (parts of a rotation, or several capture
    points), or packets from anywhere; `-` is standard input. `ports` are the TCP ports that carry Raft, at either end;
    by default Raft is recognised by its content on any port. `layout` is the label of a layout of the wire table, to
    prefer where the same bytes belong to several. With `keep_payload` each message has its payload (up to 64 MiB),
    with `hash_payload` its SHA-256. With `follow` a plain file, one alone, is waited for at its end until it is
    removed; pipes and packets come as they come without it.
    Raises CaptureError when a file cannot be read or followed, and ValueError for a port or layout that does not
    exist, or when there is nothing to read at all. Gaps, and damage inside a file, are passed over in silence here:
    iterate over a `Dissection` to be told of them.
    """
    dissection = Dissection(
        source, ports=ports, layout=layout, keep_payload=keep_payload, hash_payload=hash_payload, follow=follow
    )
    return (event for event in dissection if isinstance(event, Message))


def analyze(source: Source, *, ports: Collection[int] | None = None, layout: str | None = None) -> Report:
    """Say what happened in the cluster whose traffic was captured; the arguments are those of `messages`.

    Raises CaptureError when a file cannot be read; what is damaged inside a file is in the report's diagnostics.
    """
    dissection = Dissection(source, ports=ports, layout=layout)
    builder = ReportBuilder()
    for event in dissection:
        builder.feed(event)
    return builder.report(dissection)
