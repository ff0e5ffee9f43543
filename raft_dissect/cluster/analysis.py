"""From messages to facts about the cluster, in one pass; every tracker gets every message that tells it something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.cluster.compatibility import incompatibilities
from raft_dissect.cluster.elections import Elections
from raft_dissect.cluster.facts import ClusterFacts, Rejection
from raft_dissect.cluster.leaders import Leaders
from raft_dissect.cluster.logs import Logs
from raft_dissect.cluster.membership import Membership
from raft_dissect.cluster.paths import Paths
from raft_dissect.cluster.present import Present
from raft_dissect.cluster.replicated import catch_ups, loses_messages, replicated, truncations
from raft_dissect.cluster.replication import Replication
from raft_dissect.cluster.servers import Servers
from raft_dissect.cluster.steady import Steady
from raft_dissect.cluster.terms import Terms
from raft_dissect.cluster.traffic import Flows
from raft_dissect.cluster.transfers import Transfers
from raft_dissect.cluster.visibility import Visibility
from raft_dissect.values import Diagnostic, Message, Place, StreamClosed, StreamOpened, TransportEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raft_dissect.cluster.facts import PathFact, ServerName
    from raft_dissect.cluster.present import ClusterState
    from raft_dissect.columns import MessageBatch
    from raft_dissect.values import Event, Stream, StreamEnd


class Analysis:
    """Takes the events of the stream engine in their order, and knows at any time what they say about the cluster."""

    def __init__(self) -> None:
        self.servers = Servers()
        self.asked = 0
        """Counts the events that may have told something new."""
        self._terms = Terms()
        self._logs = Logs()
        self._leaders = Leaders()
        self._replication = Replication(self._terms, self._logs)
        self._membership = Membership(self.servers, self._replication.decisions)
        self._elections = Elections(self._terms, self._leaders, self._logs, self._membership)
        self._transfers = Transfers(self._leaders, self._terms, self._logs, self._membership, self._replication)
        self._flows = Flows()
        self._present = Present(self.servers, self._terms, self._leaders, self._elections, self._logs, self._flows)
        self._paths = Paths(self.servers)
        self._steady = Steady(
            self.servers,
            self._terms,
            self._logs,
            self._leaders,
            self._elections,
            self._replication,
            self._flows,
        )

    def feed(self, event: Event) -> None:
        """Take one event."""
        if not isinstance(event, Message) or not self._steady.takes(event):
            self.ask_all(event)

    def feed_rows(self, batch: MessageBatch, row: int, end: int) -> None:
        """Take the rows of a batch from `row` on, before `end`."""
        while row < end:
            row = self._steady.take_rows(batch, row, end)
            if row < end:
                self.feed(batch.message(row))
                row += 1

    def ask_all(self, event: Event) -> None:
        """Take one event and give it to every tracker, also where nothing new can be in it."""
        if isinstance(event, Diagnostic) and event.message is None:
            if event.stream is not None and loses_messages(event):
                self._replication.lost(self.servers.sender(event.stream), self.servers.receiver(event.stream))
            return
        self.asked += 1
        self._steady.end()
        if isinstance(event, Message):
            self._message(event)
        elif isinstance(event, StreamOpened):
            self._opened(event.stream, event.place)
        elif isinstance(event, TransportEvent):
            self._paths.event(event)
        elif isinstance(event, StreamClosed):
            self._paths.closed(event.stream, event.place)
            if event.reason not in ("capture_end", "limit"):
                self._closed(event.stream, event.place, event.reason)
        elif event.message is not None:
            stream = event.message.stream
            self._replication.unfinished(event.message, self.servers.sender(stream), self.servers.receiver(stream))

    def state(self, now_ns: int) -> ClusterState | None:
        """What each server is doing at a time, in nanoseconds since the epoch; None before the first message."""
        self._steady.end()
        in_force = [one for one in self._membership.configurations() if one.committed is not False]
        configuration = in_force[-1] if in_force else None
        return self._present.state(self._replication.progresses(), configuration, now_ns)

    def forget(self, before_ns: int) -> None:
        """Forget what was over before a time, in nanoseconds since the epoch, so that memory stays bounded."""
        self._steady.end()
        self._terms.forget(before_ns)
        self._elections.forget(before_ns)
        self._leaders.forget(before_ns)
        self._replication.forget(before_ns)
        self._transfers.forget(before_ns)
        self._membership.forget(before_ns)
        self._paths.forget(before_ns)
        self.servers.forget(before_ns, self._paths.open_streams)

    def knows(self, address: str) -> bool:
        """Whether a server of the cluster is known to advertise an address."""
        return self.servers.identities.knows(address)

    def _message(self, message: Message) -> None:
        self.servers.identities.message(message)
        sender = self.servers.sender(message.stream)
        receiver = self.servers.receiver(message.stream)
        self.servers.spoke(message.stream)
        sender.seen(message)
        self._paths.stream(message.stream, message.first)
        flow = self._flows.of(message, sender, receiver)
        flow.count(message.name, message.preamble.header_length, message.payload_length)
        # The terms come late: the others compare a message with what was known before it.
        self._elections.message(message, sender, receiver)
        self._replication.message(message, sender, receiver)
        self._transfers.message(message, sender, receiver)
        self._terms.message(message, sender, receiver)
        self._leaders.message(message, sender)
        self._membership.message(message, receiver)

    def _opened(self, stream: Stream, place: Place) -> None:
        self.servers.identities.opened(stream)
        self._paths.stream(stream, place)
        sender, receiver = self.servers.sender(stream), self.servers.receiver(stream)
        self._elections.opened(sender, receiver)
        self._replication.opened(sender, receiver)
        if self.servers.restarts.opened(stream, sender, receiver, place):
            self._terms.restarted(sender)

    def _closed(self, stream: Stream, place: Place, reason: StreamEnd) -> None:
        sender, receiver = self.servers.sender(stream), self.servers.receiver(stream)
        self.servers.restarts.closed(stream, sender, receiver, place, reason)
        self._leaders.closed(sender, place)
        self._elections.closed(sender, receiver, place)
        self._transfers.closed(sender, receiver, place)
        self._replication.closed(sender, receiver)

    def facts(self, end_ns: int, *, counted: bool = True) -> ClusterFacts | None:
        """What is known; None when there was no message. `end_ns` is the capture's last time in nanoseconds.

        Without `counted` there is only what happened: neither traffic nor replication, nor round trips.
        """
        self._steady.end()
        if not self._flows:
            return None
        end = Place(end_ns, 0)
        unseen = self._leaders.unseen(self._replication.unrequested())
        leaderships = self._leaders.leaderships(unseen, end)
        paths = self._paths.facts(end, timed=counted)
        elections = self._elections.elections(end, self._paths)
        traffic = self._flows.traffic()
        progresses = self._replication.progresses()
        servers = self.servers.facts()
        gaps = self._leaders.leaderless(leaderships, elections, end)
        leaderless, unknown = Visibility(servers, traffic, elections, unseen).split(gaps)
        return ClusterFacts(
            servers,
            leaderships,
            leaderless,
            elections,
            self._terms.changes(),
            self._rejections(),
            self._replication.snapshots(end),
            self._transfers.transfers(elections, leaderships, end),
            self._membership.configurations(),
            traffic if counted else (),
            replicated(progresses, end, _shortest_round_trips(paths)) if counted else (),
            catch_ups(progresses),
            truncations(progresses),
            paths=paths,
            end=end,
            incompatible=incompatibilities(self.servers.all(), traffic),
            unseen_leaders=unseen,
            leader_unknown=unknown,
        )

    def _rejections(self) -> tuple[Rejection, ...]:
        """All rejections in the order of the capture, under the names that servers have in the end."""
        found = self._elections.rejections + self._replication.rejections
        named = (rejection._replace(by=by.name, of=of.name) for by, of, rejection in found)
        return tuple(sorted(named, key=lambda rejection: rejection.place))


def _shortest_round_trips(paths: Iterable[PathFact]) -> dict[tuple[ServerName, ServerName], float]:
    """The shortest round trip of TCP from the place of the capture, in seconds, by sender and receiver."""
    trips = ((path.sender, path.receiver, path.round_trip_seconds) for path in paths)
    return {(sender, receiver): spread.min for sender, receiver, spread in trips if spread is not None}
