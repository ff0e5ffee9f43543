"""Real clusters for the tests: servers in network namespaces, which log what they do while it is captured."""

from __future__ import annotations

from tests.cluster.dqlite import DqliteCluster
from tests.cluster.needs import needs_clusters
from tests.cluster.network import Network
from tests.cluster.raft import Cluster
from tests.cluster.servers import ServerError

__all__ = ["Cluster", "DqliteCluster", "Network", "ServerError", "needs_clusters"]
