"""The view that keeps what the loop tells, and serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.live.metrics.counts import Counts
from raft_dissect.live.metrics.known import Beat, Known, Waits
from raft_dissect.live.metrics.table import BUCKETS
from raft_dissect.live.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from types import TracebackType

    from raft_dissect.live.metrics.address import Address
    from raft_dissect.live.view import Snapshot
    from raft_dissect.watch import Happening


class MetricsError(Exception):
    """Metrics cannot be served; `str()` is one line for the user."""


class MetricsView(View):
    """Serves what the loop has told up to its last beat, from its making until it is closed.

    Whoever asks is answered by other threads, which never look at what the analysis changes. As a context manager it
    closes itself.
    """

    def __init__(
        self, address: Address, *, clock: Callable[[], int] | None = None, rules_off: Collection[str] = ()
    ) -> None:
        """`clock` gives the present in nanoseconds since the epoch; without it the time of the capture counts.

        `rules_off` are the rules of the audit that are not asked. Raises MetricsError when nothing can be served there,
        or prometheus-client is not installed.
        """
        try:
            from raft_dissect.live.metrics.endpoint import Endpoint  # an optional package is needed there
        except ImportError as error:
            if error.name is None or error.name.partition(".")[0] != "prometheus_client":
                raise
            line = "metrics need a package more: pip install 'raft_dissect[live]'"
            raise MetricsError(line) from error
        self._clock = clock
        self._rules_off = frozenset(rules_off)
        self._counts = Counts()
        self._acknowledged, self._committed = Waits(BUCKETS), Waits(BUCKETS)
        self._beat = Beat(None, {}, {}, {}, is_over=False)
        try:
            self._endpoint = Endpoint(address, self._known)
        except OSError as error:
            raise MetricsError(f"metrics cannot be served at {address}: {error.strerror or error}") from error

    @property
    def address(self) -> Address:
        """Where it serves, with the port that the system chose if that was left to it."""
        return self._endpoint.address

    @property
    def url(self) -> str:
        """Where the metrics are read."""
        return f"http://{self.address}/metrics"

    def happened(self, happenings: Sequence[Happening]) -> None:
        """Count what has become certain."""
        self._counts.note(happenings)

    def beat(self, snapshot: Snapshot) -> None:
        """Show this state from now on."""
        self._take(snapshot, is_over=False)

    def finish(self, snapshot: Snapshot) -> None:
        """Show the last state."""
        self._take(snapshot, is_over=True)

    def close(self) -> None:
        """Serve no more; connections that are still open are ended. May be called again."""
        self._endpoint.close()

    def __enter__(self) -> MetricsView:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _take(self, snapshot: Snapshot, *, is_over: bool) -> None:
        clusters = snapshot.clusters
        acknowledged = self._acknowledged.cumulated(
            ((cluster.number, str(pair.leader), str(pair.follower)), pair.ack)
            for cluster in clusters
            for pair in cluster.pairs
        )
        committed = self._committed.cumulated(
            ((cluster.number, str(leader)), times) for cluster in clusters for leader, times in cluster.commits
        )
        self._beat = Beat(snapshot, self._counts.present(clusters), acknowledged, committed, is_over)

    def _known(self) -> Known:
        """What is known now; another thread asks."""
        return Known(self._beat, None if self._clock is None else self._clock(), self._rules_off)
