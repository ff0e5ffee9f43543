"""From a capture to its events: capture files or packets on their way through the stream engine."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING

from raft_dissect.capture import Capture, open_capture
from raft_dissect.columns import MessageBatch, PacketBlock
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
        digest_entries: bool = False,
        follow: bool = False,
    ) -> None:
        """With `digest_entries` each message has the CRC-32 of the data of each of its entries."""
        self._engine = Engine(
            ports,
            layout=layout,
            keep_payload=keep_payload,
            hash_payload=hash_payload,
            digest_entries=digest_entries,
        )
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
        return chain.from_iterable(self.batches())

    def batches(self) -> Iterator[MessageBatch]:
        """The same events many at a time, as columns; each batch is valid until the next one is asked for.

        This is how the fields of all messages are had at little cost: no object is made for a message.
        """
        if self._begun:
            raise RuntimeError("a Dissection can be gone through once; make another")
        self._begun = True
        return self._batches()

    def _batches(self) -> Iterator[MessageBatch]:
        engine, capture = self._engine, self.capture
        try:
            for item in self._items if capture is None else capture.blocks():
                if isinstance(item, PacketBlock):
                    self._time_ns = item.columns.times[item.end - 1]
                    yield engine.feed_block(item)
                elif isinstance(item, CaptureProblem):
                    yield MessageBatch.of([self._problem(item)])
                else:
                    self._time_ns = item.time_ns
                    if events := engine.feed(item):
                        yield MessageBatch.of(events)
            yield MessageBatch.of(engine.close())
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
