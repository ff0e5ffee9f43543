"""What happens in clusters, told when it is certain: the facts of the analysis, one by one, while packets come."""

from raft_dissect.watch.happenings import KINDS, Happening
from raft_dissect.watch.watch import Watch

__all__ = ["KINDS", "Happening", "Watch"]
