"""What is estimated of servers whose traffic stays inside TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from raft_dissect.values import Endpoint, Place


class SealedPeer(NamedTuple):
    """A server, as one knows it from outside."""

    address: Endpoint
    """Where it listens."""
    sent: int
    """Records of application data that it sent to other servers."""
    sent_bytes: int
    """Bytes of those, encrypted."""
    connections: int
    """Connections that it opened to other servers."""
    short_connections: int
    """Those of them that were given up, or ended, after a few records."""
    first: Place
    last: Place
    """The first and the last record that it sent."""


class SealedLeader(NamedTuple):
    """A time for which one server seems to lead: it speaks in a steady rhythm, and the others answer."""

    leader: Endpoint
    first: Place
    last: Place
    rounds: int
    """Records of it that were answered in that time."""


class SealedBurst(NamedTuple):
    """Much that one server sent to another in a short time."""

    sender: Endpoint
    receiver: Endpoint
    first: Place
    last: Place
    records: int
    bytes: int
    looks_like: str
    """`appends` when others were sent as much at the same time, else `snapshot`, which may be a catch-up as well."""


class SealedSilence(NamedTuple):
    """A time in which a server was not heard of, or (server None) none of them."""

    server: Endpoint | None
    first: Place
    last: Place


class SealedFacts(NamedTuple):
    """What is estimated of one cluster."""

    peers: tuple[SealedPeer, ...]
    heartbeat_seconds: float | None
    """The interval of the leader's heartbeats; None when there is too little to tell."""
    heartbeats: int
    """Intervals that it was estimated from."""
    leaders: tuple[SealedLeader, ...]
    bursts: tuple[SealedBurst, ...]
    silences: tuple[SealedSilence, ...]
    first_ns: int
    last_ns: int
    dropped_records: int = 0
    """Records that were not looked at, for there were too many."""
