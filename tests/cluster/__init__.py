"""Real clusters for the tests: servers in network namespaces, which log what they do while it is captured."""

from __future__ import annotations

from tests.cluster.needs import needs_clusters
from tests.cluster.raft import Cluster
from tests.cluster.servers import ServerError

__all__ = ["Cluster", "ServerError", "needs_clusters"]
