"""What the full-screen view shows at a time: values that never change, made by the loop and drawn by the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raft_dissect import wire
    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.cluster.present import State
    from raft_dissect.live.view import SourceState
    from raft_dissect.values import Place


class ServerRow(NamedTuple):
    """What is known of one server; all times are nanoseconds since the epoch."""

    id: ServerName
    name: str
    """Short; of a server whose id is not known it is the host."""
    address: str
    state: State
    role: str | None
    """None when no configuration that names it was seen."""
    term: int | None
    last_index: int | None
    commit: int | None
    behind: int | None
    heard_ns: int | None
    """When its leader last sent it something; of the leader, when it last sent something."""
    ack_seconds: tuple[float, float] | None
    """From the present leader's requests to its answers: the median and the 99th percentile."""

    @property
    def id_known(self) -> bool:
        """Whether its id is known."""
        return isinstance(self.id, int)


class Reign(NamedTuple):
    """A time in which one server led, or nobody."""

    begin_ns: int
    """It lasts until the next one begins."""
    leader: ServerName | None
    """None when nobody is known to lead."""
    term: int | None


class Rates(NamedTuple):
    """How much a cluster sends."""

    messages: float | None
    """Per second, over the last five seconds, as all here; None before the first second is over."""
    entries: float | None
    """By which the commit index grew; None while it is not known."""
    trend: tuple[float, ...]
    """Messages per second, one number for each of the last seconds, oldest first."""
    commit_seconds: tuple[float, float] | None
    """From when the leader first sent an entry until it is known to be committed: median and 99th percentile."""


class ClusterPicture(NamedTuple):
    """What is known of one cluster."""

    key: int
    """Stays the same as long as the cluster is known, wherever it stands among the others."""
    number: int
    """In the order in which clusters were seen, from 0, as in what happens in it."""
    leader: ServerName | None
    term: int | None
    servers: tuple[ServerRow, ...]
    reigns: tuple[Reign, ...]
    """In the order of time; the last one goes on."""
    rates: Rates
    steps: tuple[Seen, ...] = ()
    """The latest messages that were looked at, oldest first."""


class EventLine(NamedTuple):
    """Something that happened, or that the audit has found."""

    serial: int
    """Counts the events."""
    cluster: int | None
    """Key of its cluster; None if it is not about a certain one."""
    kind: str
    """One of the kinds of happenings, or the level of a finding."""
    time: str
    text: str
    colour: str | None
    place: Place
    """Of the last one, as all here but the serial."""
    times: int = 1
    """How often it happened in a row."""

    @property
    def told(self) -> str:
        """Its sentence, and how often it happened."""
        return self.text if self.times == 1 else f"{self.times:,}x {self.text}"


class Seen(NamedTuple):
    """A message that was sampled, with all that is needed to look at it field by field."""

    serial: int
    """Counts all messages, also those that were not sampled."""
    steady: bool
    """Whether it is a heartbeat or an answer that says the same as the one before it."""
    place: Place
    stream: int
    source: str
    destination: str
    handshake: str | None
    """The kind of the handshake on its connection; None when none was seen."""
    name: str
    details: str
    colour: str
    term: int | None
    preamble: wire.Preamble
    header: bytes
    """No more than `MAX_HEADER` bytes of it."""
    layout: str | None
    payload_length: int | None
    missing: int | None


MAX_HEADER = 4096
"""Bytes of a header that are kept."""


class Ends(NamedTuple):
    """Between whom a stream is."""

    cluster: int
    """Key of the cluster."""
    sender: ServerName
    receiver: ServerName


class Coming(NamedTuple):
    """A message whose payload is still coming, such as a large snapshot."""

    name: str
    stream: int
    received: int
    size: int
    """Bytes of the payload, and those of them that have passed."""
    rate: float | None
    """Bytes per second since it began; None when it has just begun."""


class Picture(NamedTuple):
    """What is known at a time."""

    now_ns: int = 0
    """Nanoseconds since the epoch; 0 before the first beat."""
    clusters: tuple[ClusterPicture, ...] = ()
    sources: tuple[SourceState, ...] = ()
    packets: int = 0
    packet_rate: float | None = None
    byte_rate: float | None = None
    """Per second, of everything that was captured; None before the first second is over."""
    messages: int = 0
    gaps: int = 0
    findings: int = 0
    """Violations and suspects of the audit."""
    late_seconds: float = 0.0
    events: tuple[EventLine, ...] = ()
    """The latest, oldest first."""
    ends: Mapping[int, Ends] = {}
    """Of each stream of messages that are shown, or still coming."""
    coming: tuple[Coming, ...] = ()
    sampled: tuple[int, int] = (0, 0)
    """How many messages of the last second were looked at, and how many there were; zeros if it was all of them."""
    ended: bool = False
    """Whether no more packets will come."""
