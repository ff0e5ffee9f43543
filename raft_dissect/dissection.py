"""From a capture to its events: capture files or packets on their way through the stream engine."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from raft_dissect.beats import in_beats
from raft_dissect.capture import Capture, CaptureError, open_capture
from raft_dissect.capture.source import STANDARD_INPUT
from raft_dissect.columns import MessageBatch, PacketBlock
from raft_dissect.streams import Engine
from raft_dissect.values import (
    CaptureProblem,
    Diagnostic,
    Message,
    Packet,
    Place,
    TimePassed,
    TlsSecrets,
    Undecrypted,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from raft_dissect.beats import Item
    from raft_dissect.capture.tshark.unwrapping import Unwrapping
    from raft_dissect.sealed import SealedFacts
    from raft_dissect.sealed.traffic import SealedTraffic
    from raft_dissect.streams import Statistics
    from raft_dissect.tls.decryption import Decryption
    from raft_dissect.tls.keylog import KeyLog
    from raft_dissect.values import Arrival, Event

Path = str | os.PathLike[str]


@runtime_checkable
class PacketSource(Protocol):
    """Gives packets in blocks, such as a live capture; a block is valid until the next item is asked for."""

    def blocks(self) -> Iterator[PacketBlock | CaptureProblem | TimePassed]:
        """Yield packets, what is wrong with their source, and when nothing came, that time has passed."""

    def close(self) -> None:
        """Nothing more will be asked for."""


Source = Path | Iterable[Path] | Iterable[Packet] | PacketSource
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
        digest_data: bool = False,
        follow: bool = False,
        tls_keys: Path | KeyLog | None = None,
        via_tshark: bool = False,
        watch_sealed: bool = False,
    ) -> None:
        """With `digest_data` each message has the CRC-32 of the data of each of its entries.

        With `watch_sealed` what TLS shows without its keys is known in the end, see `sealed`.
        """
        self._engine = Engine(
            ports,
            layout=layout,
            keep_payload=keep_payload,
            hash_payload=hash_payload,
            digest_data=digest_data,
        )
        self._items = _open(source, follow)
        self._ports = ports
        self._decryption: Decryption | None = None
        self._unwrapping = _begin_unwrapping() if via_tshark else None
        self._watches_sealed = watch_sealed
        # Plain files are gone through again if they turn out to hold TLS; of anything else all is looked at.
        capture = self.capture
        read_once = via_tshark or capture is None or capture.size is None or STANDARD_INPUT in capture.files
        self._sealed = _begin_sealed(ports) if watch_sealed and read_once else None
        if tls_keys is not None:
            self._decryption = self._begin_decryption(tls_keys, grows=follow or not isinstance(self._items, Capture))
        self._time_ns = 0
        self._begun = False

    @property
    def capture(self) -> Capture | None:
        """The opened files; None when the packets come from elsewhere."""
        return self._items if isinstance(self._items, Capture) else None

    @property
    def decryption(self) -> Decryption | None:
        """What decrypts TLS; None when there are no secrets, so far, that could."""
        return self._decryption

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
        beats = self.beats(0)
        return (batch for batch, _ in beats)

    def beats(self, every_ns: int) -> Iterator[tuple[MessageBatch, int | None]]:
        """The same, with the time at which a multiple of so many nanoseconds of capture time has passed, else None.

        At such a time everything is known that packets before it say, also what waited for packets that did not come;
        where packets and their order are the same, so are the events up to it, from whatever the packets come.
        """
        if self._begun:
            raise RuntimeError("a Dissection can be gone through once; make another")
        self._begun = True
        return self._beats(every_ns)

    def arriving(self) -> Sequence[Arrival]:
        """The messages that are still coming, such as a large snapshot."""
        return self._engine.arriving()

    def _beats(self, every_ns: int) -> Iterator[tuple[MessageBatch, int | None]]:
        engine, source = self._engine, self._items
        items: Iterable[Item] = source.blocks() if isinstance(source, PacketSource) else source
        try:
            items = self._in_clear(items)
            for item in in_beats(items, every_ns) if every_ns else items:
                yield self._feed(item), item.time_ns if isinstance(item, TimePassed) else None
            yield MessageBatch.of(engine.close()), None
        finally:
            for stage in (self._unwrapping, self._decryption):
                if stage is not None:
                    stage.stop()
            if isinstance(source, PacketSource):
                source.close()

    def sealed(self) -> tuple[SealedFacts, ...]:
        """What is estimated of servers inside TLS that was not decrypted, once the capture is over.

        Nothing unless it was asked for.
        """
        opened = self._decryption is not None and self._decryption.counts["decrypted"]
        if not self._watches_sealed or opened or not self.statistics.streams["tls"]:
            return ()
        from raft_dissect.sealed.estimates import estimate  # few captures are of TLS

        if self._sealed is None:
            self._sealed = _begin_sealed(self._ports)
            try:
                with open_capture(self.capture.files if self.capture is not None else []) as capture:
                    for item in capture.blocks():
                        self._sealed.feed(item)
            except CaptureError:
                return ()  # it was there before
        return estimate(self._sealed)

    def _begin_decryption(self, keys: Path | KeyLog | None = None, grows: bool = False) -> Decryption:
        from raft_dissect.tls.decryption import Decryption  # start-up counts: few captures are of TLS
        from raft_dissect.tls.keylog import KeyLog

        log = KeyLog(os.fspath(keys), grows=grows) if isinstance(keys, (str, os.PathLike)) else keys
        return Decryption(log, self._ports)

    def _in_clear(self, items: Iterable[Item]) -> Iterator[Item]:
        """The same items, with what is inside TLS connections for which there are secrets."""
        if self._unwrapping is not None:
            items = chain.from_iterable(map(self._unwrapping.feed, items))
        for item in items:
            if self._sealed is not None:
                self._sealed.feed(item)
            if isinstance(item, TlsSecrets):
                self._decryption = self._decryption or self._begin_decryption()
                self._decryption.add(item)
            elif self._decryption is None:
                yield item
            else:
                yield from self._decryption.feed(item)
        if self._decryption is not None:
            yield from self._decryption.close()

    def _feed(self, item: Item) -> MessageBatch:
        engine = self._engine
        for stage in (self._unwrapping, self._decryption):
            if stage is not None:
                engine.statistics.bytes += stage.take_removed()
        if isinstance(item, Undecrypted):
            return MessageBatch.of(engine.end_clear_text(item))
        if isinstance(item, TlsSecrets):
            return MessageBatch.of([])
        if isinstance(item, PacketBlock):
            self._time_ns = item.columns.times[item.end - 1]
            return engine.feed_block(item)
        if isinstance(item, TimePassed):
            return MessageBatch.of(engine.pass_time(item.time_ns))
        if isinstance(item, CaptureProblem):
            return MessageBatch.of([self._problem(item)])
        self._time_ns = item.time_ns
        return MessageBatch.of(engine.feed(item))

    def _problem(self, problem: CaptureProblem) -> Diagnostic:
        place = Place(self._time_ns, problem.frame, problem.file)
        offset = problem.offset if problem.kind.startswith("file") else None
        return Diagnostic(problem.kind, place, None, offset, problem.size, problem.detail)


def _begin_sealed(ports: Collection[int] | None) -> SealedTraffic:
    from raft_dissect.sealed.traffic import SealedTraffic  # few captures are of TLS

    return SealedTraffic(ports)


def _begin_unwrapping() -> Unwrapping:
    from raft_dissect.capture.tshark.unwrapping import Unwrapping  # few captures need it

    return Unwrapping()


def _open(source: Source, follow: bool) -> PacketSource | Iterable[Packet | CaptureProblem]:
    if isinstance(source, (str, os.PathLike)):
        return open_capture([os.fspath(source)], follow=follow)
    if isinstance(source, PacketSource):
        return source
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
    tls_keys: Path | None = None,
    via_tshark: bool = False,
) -> Iterator[Message]:
    """Give the RPC messages of a capture in the order in which they are complete.

    `source` is the path of a capture file, several paths that are one capture (parts of a rotation, or several capture
    points), or packets from anywhere; `-` is standard input. `ports` are the TCP ports that carry Raft, at either end;
    by default Raft is recognised by its content on any port. `layout` is the label of a layout of the wire table, to
    prefer where the same bytes belong to several. With `keep_payload` each message has its payload (up to 64 MiB),
    with `hash_payload` its SHA-256. With `follow` a plain file, one alone, is waited for at its end until it is
    removed; pipes and packets come as they come without it. `tls_keys` is a TLS key log, with which tshark decrypts;
    secrets inside a pcapng file are used without it. With `via_tshark` tshark unwraps packets of link types and tunnels
    that are not understood otherwise.
    Raises CaptureError when a file cannot be read or followed, its kind UnavailableError when the key log cannot be
    read or tshark is missing, and ValueError for a port or layout that does not
    exist, or when there is nothing to read at all. Gaps, and damage inside a file, are passed over in silence here:
    iterate over a `Dissection` to be told of them.
    """
    dissection = Dissection(
        source,
        ports=ports,
        layout=layout,
        keep_payload=keep_payload,
        hash_payload=hash_payload,
        follow=follow,
        tls_keys=tls_keys,
        via_tshark=via_tshark,
    )
    return (event for event in dissection if isinstance(event, Message))
