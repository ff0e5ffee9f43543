"""Facts that are made by hand, for what no short real capture holds."""

from __future__ import annotations

from raft_dissect.cluster.facts import (
    CatchUp,
    ClusterFacts,
    Election,
    Lag,
    PathFact,
    Refusal,
    ReplicationFact,
    ServerFact,
    Truncation,
)
from raft_dissect.diagnosis.findings import Finding
from raft_dissect.report import CaptureFacts
from raft_dissect.spread import Spread
from raft_dissect.values import Place

SECOND = 10**9


def at(seconds: float, frame: int = 1, file: int = 0) -> Place:
    """A place so many seconds after 1970 began."""
    return Place(round(seconds * SECOND), frame, file)


CAPTURE = CaptureFacts(("a.pcap",), 100, 5000, 0, 20 * SECOND, 2, {}, 50, 0, 0, {}, {}, ())
SERVERS = tuple(
    ServerFact(id_, (f"10.0.0.{id_}:9001",), ("voter",), "cowsql", "cowsql/raft v0.22.1", at(0), at(20))
    for id_ in (1, 2, 3)
)
NOTHING = ClusterFacts(SERVERS, (), (), (), (), (), (), (), (), ())


def milliseconds(p50: float, p99: float) -> Spread:
    return Spread(100, 0.0, p50 / 1000, p99 / 1000, p99 / 1000, p99 / 1000)


FINDING = Finding(
    "problem",
    "no_leader",
    "Server 2 was silent for 3.2 s, after which 1 and 3 elected a new leader; nobody could write for 1.1 s.",
    "Look at the disk and the load of server 2 at that time.",
    (2,),
    tuple(at(1, frame) for frame in range(11, 19)),
)


ELECTION = Election(
    7, 3, False, (1, 2), (1,), (Refusal(2, "log_behind"),), (), "won", 0.004, "heartbeats_absent", at(2, 40), 1, 1.25, 3
)


REPLICATION = ReplicationFact(
    leader=1,
    follower=2,
    requests=500,
    heartbeats=400,
    answered=498,
    unanswered=2,
    entries=1200,
    bytes=2048,
    again=7,
    types={"command": 1200},
    sizes=None,
    heartbeat_seconds=milliseconds(100, 120),
    ack_seconds=milliseconds(12, 250),
    network_seconds=0.002,
    follower_seconds=milliseconds(10, 248),
    commit_seconds=milliseconds(15, 300),
    lag=(Lag(at(0), 0, 0), Lag(at(11), 800, None), Lag(at(23.9), 100, None)),
    place=at(0, 5),
    last=at(24, 99),
)


PATH = PathFact(1, 2, 3, 1, 0, 2, 0, 200, 10, 0, milliseconds(0.4, 9), (), at(1, 7))

CATCH_UP = CatchUp(1, 2, 7, 13, 104, 88, True, 0.75, at(5, 60), at(5.75, 70))
TRUNCATION = Truncation(2, 1, 7, 107, 12, at(6, 80))
