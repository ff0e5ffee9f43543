"""What messages say about servers: who they are, who leads, in which term, what is rejected, which snapshots arrive."""

from raft_dissect.cluster.analysis import Analysis
from raft_dissect.cluster.clusters import Clusters
from raft_dissect.cluster.facts import ClusterFacts
from raft_dissect.cluster.identity import Identities, Identity

__all__ = ["Analysis", "ClusterFacts", "Clusters", "Identities", "Identity"]
