# scapy.contrib.description = C-Raft, the consensus protocol of dqlite and cowsql
# scapy.contrib.status = loads
"""What `load_contrib("raft_dissect")` loads.

Scapy executes this file under a name of its own, so it defines nothing: a class that existed twice would not be equal
to itself.
"""

from raft_dissect.layers import *  # noqa: F403 - the names of the layers are what this module is for
from raft_dissect.layers import __all__ as _layers
from raft_dissect.scapy_session import RaftSession

__all__ = [*_layers, "RaftSession"]
