"""What a loop over packets knows as metrics for Prometheus, served over HTTP while it goes on."""

from raft_dissect.live.metrics.address import Address, parse_address
from raft_dissect.live.metrics.view import MetricsError, MetricsView

__all__ = ["Address", "MetricsError", "MetricsView", "parse_address"]
