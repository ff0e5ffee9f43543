"""What TCP did between the servers: connections that opened, failed and ended, what was sent again, round trips."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING

from raft_dissect.cluster.facts import PathEvent, PathFact
from raft_dissect.spread import Histogram

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from raft_dissect.cluster.facts import PathEventKind
    from raft_dissect.cluster.servers import Server, Servers
    from raft_dissect.spread import Spread
    from raft_dissect.values import Endpoint, Place, Stream, TransportEvent

MAX_EVENTS = 1000
"""Events of one path that are kept."""
_MAX_TIMES = 1 << 16
"""Retransmissions of one path of which the time is known, the latest ones."""
_MAX_FAILURES = 1000
"""Pairs of a host and an address between which connections failed; a scan of ports makes many."""
_TOGETHER_NS = 1_000_000_000
"""Retransmissions that are no further apart are one event, and so are windows of zero."""


class _Events:
    """The first events of a path or of a pair of addresses, those that belong together as one."""

    def __init__(self) -> None:
        self.kept: list[PathEvent] = []
        self.counts: dict[PathEventKind, int] = {}
        self.interrupted = False
        """Whether something else has happened since the last one."""

    def add(self, event: PathEvent, *, join: bool = False) -> None:
        """Take the next event; `join` if it belongs to the last one when that is of the same kind."""
        self.counts[event.kind] = self.counts.get(event.kind, 0) + 1
        if len(self.kept) > MAX_EVENTS:
            return
        last = self.kept[-1] if self.kept else None
        if join and not self.interrupted and last is not None and last.kind == event.kind:
            self.kept[-1] = last._replace(times=last.times + 1, last=event.last)
        else:
            self.kept.append(event)  # one more than is given, so that nothing is joined to the last that is
        self.interrupted = False


class _Path:
    """What is known of the connections from one server to another."""

    def __init__(self) -> None:
        self.events = _Events()
        self.segments = 0
        """Of the streams that are over."""
        self.round_trips = Histogram()
        """Of the streams that are over."""
        self.times: list[int] = []
        """Of retransmissions, in nanoseconds since the epoch, in their order."""
        self.first: Place | None = None

    def seen(self, place: Place) -> None:
        """Take note of evidence that the path exists."""
        if self.first is None or place < self.first:
            self.first = place

    def add(self, event: PathEvent) -> None:
        """Take the next event."""
        self.seen(event.place)
        last = self.events.kept[-1] if self.events.kept else None
        together = (
            event.kind in ("retransmissions", "zero_window")
            and last is not None
            and last.stream == event.stream
            and event.place.time_ns - last.last.time_ns <= _TOGETHER_NS
        )
        self.events.add(event, join=together)

    def carried(self, stream: Stream) -> None:
        """Take over what is known of a stream that is over."""
        self.segments += stream.segments
        if stream.round_trips is not None:
            self.round_trips.merge(stream.round_trips)


class Paths:
    """The paths between servers.

    Of connections that carried Raft it is known who is at their ends. Those that failed are put down to the server at
    the other end when that address is one at which a server listens, and to the only server on the host that they come
    from: between servers on one machine nobody can tell who tried.
    """

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._paths: dict[tuple[Server, Server], _Path] = {}
        self._streams: dict[int, Stream] = {}  # those of Raft that are not over, by number
        self._hosts: dict[str, dict[Server, None]] = {}  # the servers whose connections come from a host
        self._listeners: dict[str, Server] = {}  # by the address to which Raft was sent
        self._failures: dict[tuple[str, Endpoint], _Events] = {}

    def stream(self, stream: Stream, place: Place) -> None:
        """Take note of a stream of Raft; `place` is its first evidence."""
        if stream.number in self._streams:
            return
        self._streams[stream.number] = stream
        sender, receiver = self._ends(stream)
        self._hosts.setdefault(stream.source.host, {})[sender] = None
        self._listeners[str(stream.destination)] = receiver
        path = self._path(stream)
        path.seen(place)
        opening = stream.opening
        if opening is not None:
            path.add(PathEvent("opened", 1, opening.asked, opening.answered, stream.number))
            failures = self._failures.get((stream.source.host, stream.destination))
            if failures is not None:
                failures.interrupted = True

    def closed(self, stream: Stream, place: Place) -> None:
        """Take note that a stream of Raft is over."""
        self.stream(stream, place)
        self._path(stream).carried(stream)
        del self._streams[stream.number]

    def event(self, event: TransportEvent) -> None:
        """Take note of what TCP did."""
        stream, kind, place, last, _ = event
        if kind == "refused" or kind == "unanswered":
            self._failed(stream, PathEvent(kind, 1, place, last, stream.number))
            return
        path = self._path(stream)
        if kind == "retransmission":
            insort(path.times, place.time_ns)
            if len(path.times) > 2 * _MAX_TIMES:
                del path.times[:_MAX_TIMES]
            path.add(PathEvent("retransmissions", 1, place, last, stream.number))
        else:
            path.add(PathEvent(kind, 1, place, last, stream.number))

    def retransmissions(self, sender: Server, receiver: Server, begin_ns: int, end_ns: int) -> int:
        """Segments that one server sent another again, from one time to another, in nanoseconds since the epoch.

        Of a path with very many only the latest are known.
        """
        return sum(
            bisect_right(path.times, end_ns) - bisect_left(path.times, begin_ns)
            for path in self._between(sender, receiver)
        )

    def round_trip(self, sender: Server, receiver: Server) -> Spread | None:
        """Seconds from a segment to its acknowledgement, at the place of the capture; None if there was none."""
        pair = sender.resolved, receiver.resolved
        return self._round_trips(pair, self._between(sender, receiver)).spread(1e9)

    def forget(self, before_ns: int) -> None:
        """Forget what happened before a time; it stays counted."""
        for events in (*(path.events for path in self._paths.values()), *self._failures.values()):
            events.kept = [event for event in events.kept if event.last.time_ns >= before_ns]
        for path in self._paths.values():
            del path.times[: bisect_left(path.times, before_ns)]

    @property
    def open_streams(self) -> Collection[int]:
        """The numbers of the streams of Raft that are not over."""
        return self._streams.keys()

    def facts(self, end: Place, *, timed: bool = True) -> tuple[PathFact, ...]:
        """The paths under the names that servers have in the end; `end` is the last packet.

        Without `timed` they have no round trips, which are costly to put together.
        """
        merged: dict[tuple[Server, Server], list[_Path]] = {}
        for key, path in self._paths.items():
            merged.setdefault(_resolved(key), []).append(path)
        failed = self._attributed()
        for key in failed:
            merged.setdefault(key, [])
        return tuple(self._fact(key, paths, failed.get(key, []), end, timed) for key, paths in merged.items())

    def _fact(
        self, pair: tuple[Server, Server], paths: list[_Path], failed: list[_Events], end: Place, timed: bool
    ) -> PathFact:
        parts = [*(path.events for path in paths), *failed]
        events = sorted((event for part in parts for event in part.kept), key=lambda event: event.place)
        places = [path.first for path in paths if path.first is not None] + [event.place for event in events]
        segments = sum(path.segments for path in paths) + sum(stream.segments for stream in self._open(pair))

        def count(kind: PathEventKind) -> int:
            return sum(part.counts.get(kind, 0) for part in parts)

        sender, receiver = pair
        return PathFact(
            sender.name,
            receiver.name,
            count("opened"),
            count("refused"),
            count("unanswered"),
            count("reset"),
            count("closed"),
            segments,
            count("retransmissions"),
            count("zero_window"),
            self._round_trips(pair, paths).spread(1e9) if timed else None,
            tuple(events[:MAX_EVENTS]),
            min(places, default=end),
        )

    def _round_trips(self, pair: tuple[Server, Server], paths: Iterable[_Path]) -> Histogram:
        merged = Histogram()
        for path in paths:
            merged.merge(path.round_trips)
        for stream in self._open(pair):
            if stream.round_trips is not None:
                merged.merge(stream.round_trips)
        return merged

    def _open(self, pair: tuple[Server, Server]) -> Iterator[Stream]:
        """The streams from one server to another that are not over."""
        return (stream for stream in self._streams.values() if self._ends(stream) == pair)

    def _ends(self, stream: Stream) -> tuple[Server, Server]:
        return _resolved((self._servers.sender(stream), self._servers.receiver(stream)))

    def _path(self, stream: Stream) -> _Path:
        return self._paths.setdefault(self._ends(stream), _Path())

    def _between(self, sender: Server, receiver: Server) -> list[_Path]:
        pair = sender.resolved, receiver.resolved
        return [path for key, path in self._paths.items() if _resolved(key) == pair]

    def _failed(self, stream: Stream, event: PathEvent) -> None:
        key = stream.source.host, stream.destination
        if key not in self._failures and len(self._failures) >= _MAX_FAILURES:
            self._make_room()
        self._failures.setdefault(key, _Events()).add(event, join=True)

    def _make_room(self) -> None:
        """Forget the failures at addresses at which no server is known to listen; if there are none, the oldest."""
        kept = {key: events for key, events in self._failures.items() if self._listener(key[1]) is not None}
        if len(kept) >= _MAX_FAILURES:
            kept = dict(list(kept.items())[_MAX_FAILURES // 2 :])
        self._failures = kept

    def _attributed(self) -> dict[tuple[Server, Server], list[_Events]]:
        """The failures by the servers that they are put down to."""
        found: dict[tuple[Server, Server], list[_Events]] = {}
        for (host, destination), events in self._failures.items():
            sender, receiver = self._tenant(host), self._listener(destination)
            if sender is not None and receiver is not None and sender is not receiver:
                found.setdefault((sender, receiver), []).append(events)
        return found

    def _listener(self, address: Endpoint) -> Server | None:
        """The server that listens at an address."""
        text = str(address)
        known = self._listeners.get(text)
        if known is not None:
            return known.resolved
        return next((server for server in self._servers.all() if text in server.addresses), None)

    def _tenant(self, host: str) -> Server | None:
        """The only server on a host."""
        servers = {server.resolved for server in self._hosts.get(host, ())}
        if not servers:
            bracketed = f"[{host}]" if ":" in host else host
            servers = {s for s in self._servers.all() for a in s.addresses if a.rpartition(":")[0] == bracketed}
        return servers.pop() if len(servers) == 1 else None


def _resolved(pair: tuple[Server, Server]) -> tuple[Server, Server]:
    sender, receiver = pair
    return sender.resolved, receiver.resolved
