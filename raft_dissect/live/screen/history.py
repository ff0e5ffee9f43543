"""What a full-screen view remembers of one cluster from beat to beat: who led when, and how much was sent."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING

from raft_dissect.live.screen.picture import ClusterPicture, Rates, Reign, ServerRow
from raft_dissect.live.screen.sampling import Kept
from raft_dissect.report.escape import wire_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.cluster.present import ClusterState, ServerState
    from raft_dissect.report.words import Names
    from raft_dissect.spread import Histogram

_SECOND = 1_000_000_000
_REIGNS = 500
_SECONDS = 60
"""For so long it is remembered how much was sent."""
_SILENT_NS = 300_000_000
"""Nanoseconds without a message of the last leader from which on it counts as a time without one."""
_MEAN = 5
"""Seconds over which a rate is taken."""


class Rate:
    """How fast a counter grows, from what it was at each second."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int]] = deque(maxlen=_SECONDS + 1)

    def is_due(self, now_ns: int) -> bool:
        """Whether a second has passed since the last sample."""
        return not self._samples or now_ns - self._samples[-1][0] >= _SECOND

    def note(self, now_ns: int, count: int) -> None:
        """Take a sample."""
        if self._samples and count < self._samples[-1][1]:
            self._samples.clear()  # it began again
        self._samples.append((now_ns, count))

    def per_second(self) -> float | None:
        """The mean of the last seconds; None as long as there was none."""
        recent = list(self._samples)[-_MEAN - 1 :]
        return _growth(recent[0], recent[-1]) if len(recent) > 1 else None

    def trend(self) -> tuple[float, ...]:
        """One number for each of the last seconds."""
        return tuple(_growth(one, other) for one, other in pairwise(self._samples))


def _growth(one: tuple[int, int], other: tuple[int, int]) -> float:
    seconds = (other[0] - one[0]) / _SECOND
    return (other[1] - one[1]) / seconds if seconds > 0 else 0.0


class History:
    """One cluster, from beat to beat."""

    def __init__(self, key: int, names: Names) -> None:
        self.key = key
        self.kept = Kept()
        self.addresses: frozenset[str] = frozenset()
        """Where its servers are."""
        self._names = names
        self._reigns: deque[Reign] = deque(maxlen=_REIGNS)
        self._messages = Rate()
        self._entries = Rate()
        self._acks: dict[ServerName, tuple[float, float]] = {}
        self._commits: tuple[float, float] | None = None
        self._heard_ns = 0
        """When the last leader was heard last."""

    def picture(self, state: ClusterState, now_ns: int) -> ClusterPicture:
        """The cluster at a beat."""
        self.addresses = frozenset(server.address for server in state.servers)
        self._rename(state.servers)
        self._reign(state, now_ns)
        if self._messages.is_due(now_ns):
            self._sample(state, now_ns)
        return ClusterPicture(
            self.key,
            state.number,
            state.leader,
            state.term,
            tuple(map(self._row, state.servers)),
            tuple(self._reigns),
            Rates(
                self._messages.per_second(),
                self._entries.per_second(),
                self._messages.trend(),
                self._commits,
            ),
            self.kept.all(),
        )

    def _rename(self, servers: Sequence[ServerState]) -> None:
        """Call leaders whose ids were learnt meanwhile by their ids."""
        names = {server.name for server in servers}
        for number, reign in enumerate(self._reigns):
            if isinstance(reign.leader, str) and reign.leader not in names:
                ids = [server.name for server in servers if _is_at(server, reign.leader)]
                if len(ids) == 1:
                    self._reigns[number] = reign._replace(leader=ids[0])

    def _reign(self, state: ClusterState, now_ns: int) -> None:
        """Take note of who leads; one who does not any more led until the last message."""
        row = next((server for server in state.servers if server.name == state.leader), None)
        leader, term = (None, None) if row is None else (row.name, row.term)
        last = self._reigns[-1] if self._reigns else None
        if last is None or (last.leader, last.term) != (leader, term):
            silent = last is not None and last.leader is not None and now_ns - self._heard_ns >= _SILENT_NS
            if silent:
                self._reigns.append(Reign(self._heard_ns, None, None))
            if not silent or leader is not None:
                self._reigns.append(Reign(now_ns, leader, term))
        if row is not None and row.heard_ns is not None:
            self._heard_ns = row.heard_ns

    def _sample(self, state: ClusterState, now_ns: int) -> None:
        """Look at what is costly to look at, once in a second."""
        self._messages.note(now_ns, sum(sum(one.messages.values()) for one in state.traffic))
        commits = [server.commit for server in state.servers if server.commit is not None]
        if commits:
            self._entries.note(now_ns, max(commits))
        acks = ((pair.follower, _quantiles(pair.ack)) for pair in state.pairs if pair.leader == state.leader)
        self._acks = {follower: ack for follower, ack in acks if ack is not None}
        times = [times for leader, times in state.commits if leader == state.leader]
        self._commits = _quantiles(times[0]) if times else None

    def _row(self, server: ServerState) -> ServerRow:
        return ServerRow(
            server.name,
            self._names.short(server.name),
            wire_text(server.address),
            server.state,
            None if server.role is None else str(server.role),
            server.term,
            server.last_index,
            server.commit,
            server.behind,
            server.heard_ns,
            self._acks.get(server.name),
        )


def _is_at(server: ServerState, host: str) -> bool:
    """Whether a server with an id is on a host."""
    return isinstance(server.name, int) and server.address.rpartition(":")[0].strip("[]") == host


def _quantiles(times: Histogram) -> tuple[float, float] | None:
    spread = times.spread(1e9)
    return None if spread is None else (spread.p50, spread.p99)


class Histories:
    """The histories of all clusters: which of them is which from one beat to the next."""

    def __init__(self, make: Callable[[int], History]) -> None:
        """`make` gives the history of a new cluster, which has a key of its own."""
        self._make = make
        self._made = 0
        self._latest: list[History] = []

    def of(self, states: Sequence[ClusterState]) -> list[History]:
        """The history of each cluster at a beat; it is the one whose servers are at the same addresses."""
        free = list(self._latest)
        found = []
        for state in states:
            addresses = {server.address for server in state.servers}
            history = max(free, key=lambda one: len(one.addresses & addresses), default=None)
            if history is None or not history.addresses & addresses:
                history = self._make(self._made)
                self._made += 1
            else:
                free.remove(history)
            found.append(history)
        self._latest = found
        return found
