"""The HTTP server of the metrics, by prometheus-client: an optional package, so nothing else may import this module."""

from __future__ import annotations

import socket
from contextlib import suppress
from http.server import ThreadingHTTPServer
from socketserver import TCPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, MetricsHandler, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from raft_dissect.live.metrics.address import Address
from raft_dissect.live.metrics.table import BUCKETS, METRICS, HistogramMetric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric as Family

    from raft_dissect.live.metrics.known import Known
    from raft_dissect.live.metrics.table import Metric

_SLOW_SECONDS = 5
"""Seconds that a client may take to send or to receive something."""
_MOST_CONNECTIONS = 32
"""Connections at the same time; further ones are closed at once."""
_POLL_SECONDS = 0.1
"""Seconds until the server sees that it is to stop."""


class _Snapshots(Collector):
    """Gives what is known when it is asked for, as the table of metrics says."""

    def __init__(self, known: Callable[[], Known]) -> None:
        self._known = known

    def describe(self) -> Iterator[Family]:
        """All families without their series."""
        return map(_family, METRICS)

    def collect(self) -> Iterator[Family]:
        """All families."""
        known = self._known()
        return (_filled(metric, known) for metric in METRICS)


def _family(metric: Metric | HistogramMetric) -> Family:
    if metric.type == "histogram":
        return HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
    return kind(metric.name, metric.help, labels=metric.labels)


def _filled(metric: Metric | HistogramMetric, known: Known) -> Family:
    family: Any = _family(metric)
    if isinstance(metric, HistogramMetric):
        for labels, waited in metric.read(known):
            counts = [*map(float, waited.counts), float(waited.samples)]
            bounds = [*map(str, BUCKETS), "+Inf"]
            family.add_metric(labels, list(zip(bounds, counts, strict=True)), waited.total / 1e9)
    else:
        for labels, value in metric.read(known):
            family.add_metric(labels, float(value))
    return family  # type: ignore[no-any-return]  # one of three classes that have no add_metric in common


class _Server(ThreadingHTTPServer):
    """Serves each connection in a thread of its own, and ends all of them when it is closed."""

    daemon_threads = False  # so that closing waits for them
    request_queue_size = _MOST_CONNECTIONS
    allow_reuse_port = False  # or two runs could share a port, and Prometheus would ask now the one, now the other

    def __init__(self, family: int, address: Any, handler: Any) -> None:
        self.address_family = family
        self._connections: set[Any] = set()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind, without asking DNS for the name of the address as HTTPServer does, which can take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def verify_request(self, *_: Any) -> bool:
        """Whether there is room for one more connection."""
        return len(self._connections) < _MOST_CONNECTIONS

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """A connection is over."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away or are slow: the screen belongs to others, and they see it themselves."""

    def end_connections(self) -> None:
        """End those that are open, so that no thread waits for its client."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Endpoint:
    """Answers HTTP requests with what is known then, from threads of its own, until it is closed.

    Raises OSError when the address cannot be had.
    """

    def __init__(self, address: Address, known: Callable[[], Known]) -> None:
        registry = CollectorRegistry()
        registry.register(_Snapshots(known))
        ProcessCollector(registry=registry)
        handler: Any = MetricsHandler.factory(registry)
        handler.timeout = _SLOW_SECONDS
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, at = found[0]
        self._server = _Server(family, at, handler)
        self.address = Address(address.host, self._server.server_port)
        self._thread = Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and leave no thread."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.end_connections()
        self._server.server_close()
