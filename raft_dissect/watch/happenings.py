"""What can happen in a cluster: a fact, what is new about it, and the packet that proves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.cluster.facts import (
    CatchUp,
    ConfigurationFact,
    Election,
    Leadership,
    PathEvent,
    Rejection,
    ServerFact,
    ServerName,
    Snapshot,
    TermChange,
    Transfer,
    Truncation,
)
from raft_dissect.values import Diagnostic

if TYPE_CHECKING:
    from raft_dissect.values import Place

KINDS: dict[str, str] = {
    "server": "a server is seen for the first time, or its id is learnt",
    "restart": "a server was started anew",
    "connection_opened": "a server opened a connection to another",
    "connection_closed": "such a connection was closed",
    "connection_reset": "such a connection was reset",
    "connection_refused": "an attempt to open one was refused",
    "connection_unanswered": "an attempt to open one was not answered, nor repeated at its next two times",
    "term_change": "a server went to another term",
    "election_begun": "a server asks for votes or pre-votes",
    "election_ended": "its round has an outcome",
    "leader": "a server leads a term",
    "leader_ended": "it does not lead any more, or fell silent",
    "leader_returned": "a leader that fell silent is heard again",
    "rejection": "a request was answered with a no",
    "catch_up_begun": "a follower refuses entries, and its leader looks for what both have",
    "catch_up_ended": "it has what its leader has",
    "truncation": "a follower gave up entries for others",
    "snapshot_begun": "a leader sends a snapshot",
    "snapshot_sent": "all of it was sent",
    "snapshot_ended": "it has an outcome",
    "transfer_begun": "a leader asks a server to take over",
    "transfer_ended": "the transfer has an outcome",
    "configuration": "a configuration is seen for the first time",
    "configuration_committed": "it is committed",
    "configuration_rolled_back": "another entry was committed in its place",
    "diagnostic": "something is missing from the capture, or is no protocol",
}
"""The kinds of happenings with what they mean, in the order in which the documentation lists them."""


class Restart(NamedTuple):
    """A server that was started anew."""

    server: ServerName
    place: Place
    """Its first packet after that."""


class Connection(NamedTuple):
    """Something that happened to a TCP connection between two servers."""

    sender: ServerName
    """The server that opened it, or tried to."""
    receiver: ServerName
    event: PathEvent


Fact = (
    CatchUp
    | ConfigurationFact
    | Connection
    | Diagnostic
    | Election
    | Leadership
    | Rejection
    | Restart
    | ServerFact
    | Snapshot
    | TermChange
    | Transfer
    | Truncation
)
"""What a happening is about, as it is known when it is told."""


class Happening(NamedTuple):
    """One thing that happened."""

    kind: str
    """One of `KINDS`."""
    place: Place
    """The packet that proves it; of what silence proves, the last packet before the silence."""
    fact: Fact
    cluster: int = 0
    """Number of the cluster, in the order in which they were seen, from 0."""
