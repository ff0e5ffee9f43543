"""Several clusters in one capture kept apart: which cluster a stream belongs to, and one analysis for each of them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, Protocol, TypeGuard, TypeVar

from raft_dissect.cluster.addresses import configured_key, keys_of, port_of
from raft_dissect.cluster.answers import partners, same_candidate
from raft_dissect.values import Diagnostic, Endpoint, Message, StreamClosed, TransportEvent
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raft_dissect.columns import MessageBatch
    from raft_dissect.values import Event, Stream

_MAX_EVENTS = 4096
"""First events of a cluster that are kept, to be analyzed again if it turns out to be one with another."""
_MAX_BYTES = 4 << 20
"""Bytes of their headers."""
_MAX_ALL_BYTES = 32 << 20
"""The same of all clusters together."""
_MAX_ANONYMOUS = 1024
"""Streams whose sender is looked for at the same time."""
_MAX_FAILURES = 1000
"""Latest connections that failed to open, which are told to every cluster: it knows where its servers are."""
_EVENT_BYTES = 512
"""What an event takes beside its header."""


class Listener(Protocol):
    """Takes the events of one cluster in their order, as `Analysis` does."""

    def feed(self, event: Event) -> None:
        """Take one event."""

    def feed_rows(self, batch: MessageBatch, row: int, end: int) -> None:
        """Take the rows of a batch from `row` on, before `end`; no objects are made of rows that are steady."""

    def knows(self, address: str) -> bool:
        """Whether a server of the cluster is known to advertise an address."""


def feed_batch(listener: Listener, batch: MessageBatch) -> None:
    """Give a listener all events of a batch in their order."""
    row = 0
    for before, event in batch.others:
        listener.feed_rows(batch, row, before)
        listener.feed(event)
        row = before
    listener.feed_rows(batch, row, batch.rows)


L = TypeVar("L", bound=Listener)


class _Cluster(Generic[L]):
    """Servers that belong together, as far as it is known."""

    __slots__ = ("analysis", "full", "into", "log", "number", "size")

    def __init__(self, number: int, analysis: L) -> None:
        self.number = number
        self.analysis = analysis
        self.into: _Cluster[L] | None = None
        """The cluster that this one turned out to be a part of."""
        self.log: list[tuple[int, Event]] | None = []
        """All of its events with their numbers; None when there were too many to keep."""
        self.full = False
        """Whether the log is as long as it may be, and lacks the last events."""
        self.size = 0
        """Bytes that the log takes."""

    @property
    def whole(self) -> bool:
        """Whether all of its events are kept."""
        return self.log is not None and not self.full

    @property
    def root(self) -> _Cluster[L]:
        """The cluster itself, or the one that it turned out to be a part of."""
        return self if self.into is None else self.into.root


class Clusters(Generic[L]):
    """Takes the events of the stream engine in their order, and gives each to the analysis of its cluster.

    Servers belong to one cluster when they talk to each other. A server is known by where it listens: the address and
    port that a stream goes to, the host that it connects from with the port that it advertises, and the address that it
    advertises or that a configuration names, unless that is a name, or is of a loopback interface and the packets are
    not: such names and addresses exist more than once. A stream joins its two ends, and a configuration all servers in
    it to the stream that it is sent on. Where the handshake was not captured, the sender is the server on that host
    which listens on the same port as the receiver, or is the only one there, or the one that answers what is sent.
    """

    def __init__(self, make: Callable[[], L]) -> None:
        """`make` gives what is to take the events of a new cluster."""
        self._make = make
        self._clusters: dict[Stream, _Cluster[L]] = {}
        self._listening: dict[str, _Cluster[L]] = {}  # by address and port
        self._ports: dict[str, set[int]] = {}  # host: where servers on it listen
        self._anonymous: dict[Stream, _Cluster[L]] = {}  # streams whose sender is not known, in their order
        self._live: list[_Cluster[L]] = []
        self._failures: deque[TransportEvent] = deque(maxlen=_MAX_FAILURES)
        self._made = 0
        self._events = 0
        self._logged = 0

    def feed_batch(self, batch: MessageBatch) -> None:
        """Take a batch of events."""
        self._place_all(batch)
        self._feed_placed(batch)
        self._forget(batch)

    def _forget(self, batch: MessageBatch) -> None:
        """Forget what will not be asked for again: streams that are over, and logs that are too long."""
        for _, event in batch.others:
            if isinstance(event, StreamClosed):
                self._clusters.pop(event.stream, None)
        full = [cluster for cluster in self._live if cluster.full]
        if full or len(self._anonymous) > _MAX_ANONYMOUS:
            self._settle()
        for cluster in full:
            self._logged -= cluster.size
            cluster.log, cluster.size, cluster.full = None, 0, False

    def _feed_placed(self, batch: MessageBatch) -> None:
        if len(self._live) == 1:
            (cluster,) = self._live
            self._keep_rows(cluster, batch)
            feed_batch(cluster.analysis, batch)
            self._failures.extend(event for _, event in batch.others if _is_failure(event))
            return
        row = 0
        for before, event in batch.others:
            self._rows(batch, row, before)
            self._feed(event)
            row = before
        self._rows(batch, row, batch.rows)

    def clusters(self) -> tuple[L, ...]:
        """What took the events of each cluster, in the order in which they were seen first."""
        self._settle()
        return self._in_order()

    def present(self) -> tuple[L, ...]:
        """The same as far as it is known now: some may yet turn out to be parts of one cluster."""
        if len(self._live) > 1:
            self._join_anonymous()
        return self._in_order()

    def holding(self, stream: Stream) -> L | None:
        """What takes the events of the cluster that a stream belongs to; None of a stream that has shown nothing."""
        cluster = self._clusters.get(stream)
        return None if cluster is None else cluster.root.analysis

    def find(self, stream: Stream) -> tuple[int, L] | None:
        """The number of the cluster of an open stream, as they are ordered now, and what takes its events."""
        cluster = self._clusters.get(stream)
        if cluster is None:
            return None
        analysis = cluster.root.analysis
        return self._in_order().index(analysis), analysis

    def number(self, analysis: L) -> int | None:
        """The number of the cluster whose events something takes, as they are ordered now; None if it is replaced."""
        return next((number for number, each in enumerate(self._in_order()) if each is analysis), None)

    def _in_order(self) -> tuple[L, ...]:
        return tuple(cluster.analysis for cluster in sorted(self._live, key=_number_of))

    # Which cluster a stream belongs to

    def _place_all(self, batch: MessageBatch) -> None:
        for _, event in batch.others:
            stream = _stream_of(event)
            if stream is not None and stream not in self._clusters:
                self._place(stream)
        streams = set(batch.streams[: batch.rows])
        if not streams <= self._clusters.keys():
            new = (stream for stream in streams if stream is not None and stream not in self._clusters)
            for stream in sorted(new, key=_stream_number_of):
                self._place(stream)

    def _place(self, stream: Stream) -> None:
        keys = keys_of(stream)
        found = {self._listening[key].root for key in keys if key in self._listening}
        found |= {cluster for cluster in self._live if any(cluster.analysis.knows(key) for key in keys)}
        cluster = self._join(found) if found else self._new()
        self._clusters[stream] = cluster
        for key in keys:
            self._listening.setdefault(key, cluster)
        self._listens(stream.destination)
        port = port_of(stream)
        if port is not None:
            self._listens(Endpoint(stream.source.host, port))
        else:
            self._anonymous[stream] = cluster
            self._find_sender(stream, stream.destination.port)

    def _listens(self, end: Endpoint) -> None:
        """A server listens there: streams from its host to the same port, whose sender is not known, may be its own."""
        ports = self._ports.setdefault(end.host, set())
        if end.port in ports:
            return
        ports.add(end.port)
        for stream in list(self._anonymous):
            if stream.source.host == end.host and stream.destination.port == end.port:
                self._find_sender(stream, end.port)

    def _find_sender(self, stream: Stream, port: int) -> None:
        """Take the server on the stream's host that listens on a port for its sender, if there is one."""
        sender = self._listening.get(str(Endpoint(stream.source.host, port)))
        if sender is not None and stream.source.host != stream.destination.host:
            cluster = self._anonymous.pop(stream)
            self._join({cluster.root, sender.root})

    def _settle(self) -> None:
        """Find the senders that are still not known, for the last time."""
        self._join_anonymous()
        self._anonymous.clear()

    def _join_anonymous(self) -> None:
        """Find the senders that are still not known, by where else servers listen, or by who answers."""
        for stream in list(self._anonymous):
            ports = self._ports.get(stream.source.host, set())
            if len(ports) == 1:
                self._find_sender(stream, next(iter(ports)))
        if self._anonymous and len(self._live) > 1:
            self._match()

    def _match(self) -> None:
        """Join the clusters of streams that answer each other, or that come from one candidate."""
        log = sorted((event for cluster in self._live for event in cluster.log or ()), key=_order_of)
        messages = [message for _, message in log if isinstance(message, Message)]
        for stream, other in (*partners(messages), *same_candidate(messages)):
            cluster = self._anonymous.get(stream)
            partner = self._anonymous.get(other) or self._clusters.get(other)
            if cluster is not None and partner is not None:
                self._join({cluster.root, partner.root})

    def _learn(self, message: Message, cluster: _Cluster[L]) -> None:
        """Learn from a configuration which servers belong together."""
        if message.type == table.INSTALL_SNAPSHOT:
            found = [message.configuration]
        else:
            found = [message.change(number) for number in message.changes]
        for servers in found:
            keys = [configured_key(server.address, message.stream) for server in servers or ()]
            others = {self._listening[key].root for key in keys if key is not None and key in self._listening}
            self._join({cluster.root, *others})

    # What is done with events

    def _new(self) -> _Cluster[L]:
        cluster = _Cluster(self._made, self._make())
        for failure in self._failures:
            cluster.analysis.feed(failure)
        self._made += 1
        self._live.append(cluster)
        return cluster

    def _join(self, clusters: set[_Cluster[L]]) -> _Cluster[L]:
        """Make one cluster of several, as far as their events are still known, and give the first."""
        ordered = sorted(clusters, key=lambda cluster: (cluster.whole, cluster.number))
        first, parts = ordered[0], [cluster for cluster in ordered[1:] if cluster.whole]
        if not parts:
            return first
        events = [event for cluster in parts for event in cluster.log or ()]
        if first.whole and first.log is not None:
            first.analysis = self._make()
            for failure in self._failures:
                first.analysis.feed(failure)
            events += first.log
            first.log = sorted(events, key=_order_of)
        for _, event in sorted(events, key=_order_of):
            first.analysis.feed(event)
        for part in parts:
            first.size += part.size
            part.into, part.log = first, None
            self._live.remove(part)
        first.number = min(cluster.number for cluster in (first, *parts))
        return first

    def _rows(self, batch: MessageBatch, row: int, end: int) -> None:
        """Give rows of a batch to their clusters, as many at once as follow each other."""
        while row < end:
            cluster = self._cluster(batch.streams[row])
            if batch.headers[row] < 0:
                message = batch.message(row)
                if message.changes or message.type == table.INSTALL_SNAPSHOT:
                    self._learn(message, cluster)
                    cluster = cluster.root
            last = row + 1
            while last < end and batch.headers[last] >= 0 and self._cluster(batch.streams[last]) is cluster:
                last += 1
            if cluster.whole:
                self._keep(cluster, map(batch.message, range(row, last)))
            cluster.analysis.feed_rows(batch, row, last)
            row = last

    def _cluster(self, stream: Stream | None) -> _Cluster[L]:
        assert stream is not None
        return self._clusters[stream].root

    def _feed(self, event: Event) -> None:
        stream = _stream_of(event)
        if stream is not None:
            cluster = self._clusters[stream].root
            self._keep(cluster, (event,))
            cluster.analysis.feed(event)
        elif isinstance(event, Diagnostic) and event.stream in self._clusters:
            self._clusters[event.stream].root.analysis.feed(event)
        elif isinstance(event, Diagnostic) and event.stream is None:
            for cluster in self._live:
                cluster.analysis.feed(event)
        elif _is_failure(event):
            self._failures.append(event)
            for cluster in self._live:
                cluster.analysis.feed(event)

    def _keep_rows(self, cluster: _Cluster[L], batch: MessageBatch) -> None:
        if cluster.whole:
            self._keep(cluster, (event for event in batch if _stream_of(event) is not None))

    def _keep(self, cluster: _Cluster[L], events: Iterable[Event]) -> None:
        """Keep events for the case that the cluster turns out to be one with another."""
        for event in events:
            if not cluster.whole or cluster.log is None:
                return
            size = _EVENT_BYTES + (len(event.header) if isinstance(event, Message) else 0)
            cluster.log.append((self._events, event))
            self._events += 1
            cluster.size += size
            self._logged += size
            too_many = len(cluster.log) >= _MAX_EVENTS or cluster.size > _MAX_BYTES
            cluster.full = too_many or self._logged > _MAX_ALL_BYTES


def _stream_of(event: Event) -> Stream | None:
    """The stream that an event tells a cluster of; None if it tells clusters nothing."""
    if isinstance(event, Diagnostic):
        return None if event.message is None else event.message.stream
    return None if _is_failure(event) else event.stream


def _is_failure(event: Event) -> TypeGuard[TransportEvent]:
    """Whether a connection failed to open: nobody knows yet whether it is one of a cluster."""
    return isinstance(event, TransportEvent) and event.kind in ("refused", "unanswered")


def _number_of(cluster: _Cluster[L]) -> int:
    return cluster.number


def _stream_number_of(stream: Stream) -> int:
    return stream.number


def _order_of(numbered: tuple[int, Event]) -> int:
    return numbered[0]
