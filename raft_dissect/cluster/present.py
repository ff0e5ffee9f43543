"""What each server of a cluster is doing at a time: its part, its term, how far its log reaches, who it hears."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from raft_dissect.cluster.commits import LeaderLog
    from raft_dissect.cluster.elections import Elections
    from raft_dissect.cluster.facts import ConfigurationFact, ServerName, Traffic
    from raft_dissect.cluster.leaders import Leaders, Reign
    from raft_dissect.cluster.logs import Logs
    from raft_dissect.cluster.progress import Progress
    from raft_dissect.cluster.servers import Server, Servers
    from raft_dissect.cluster.terms import Terms
    from raft_dissect.cluster.traffic import Flows
    from raft_dissect.spread import Histogram

State = Literal["leader", "follower", "candidate", "unknown"]


class ServerState(NamedTuple):
    """What is known of one server at a time."""

    name: ServerName
    address: str
    """What it advertises, or else where it was seen."""
    state: State
    """Of the last thing that it showed: `unknown` when it was not heard yet, or stands in a configuration only."""
    role: str | int | None
    """In the configuration in force, such as voter; None when none was seen, or it does not stand in it."""
    term: int | None
    """The highest that it has proven."""
    last_index: int | None
    """The last entry that it is known to have."""
    commit: int | None
    """The last entry that it knows to be committed, as its leader told it."""
    behind: int | None
    """Entries that it lacks of what the leader has sent to anybody; None for the leader, and while unknown."""
    heard_ns: int | None
    """When the leader last sent it something, or of the leader, when it last sent something to anybody."""
    seen_ns: int | None
    """When it was last seen to send anything."""


class PairState(NamedTuple):
    """What is between a leader and a follower."""

    leader: ServerName
    follower: ServerName
    ack: Histogram
    """Nanoseconds from requests to their answers, of all terms."""


class ClusterState(NamedTuple):
    """What is known of a cluster at a time."""

    leader: ServerName | None
    """Who leads as far as is known; None also when it fell silent for longer than a second and a half."""
    term: int | None
    """The highest that anybody has proven."""
    servers: tuple[ServerState, ...]
    pairs: tuple[PairState, ...]
    traffic: tuple[Traffic, ...]
    commits: tuple[tuple[ServerName, Histogram], ...]
    """Per leader: nanoseconds from the first time that it sent an entry until the entry is known to be committed."""
    number: int = 0
    """In the order in which clusters were seen, from 0; as in what happens in it."""


_SILENT_NS = 1_500_000_000
"""Nanoseconds without a message after which a leader is not called one any more; C-Raft's heartbeat is 100 ms."""


class Present:
    """Says what each server is doing, by what the trackers of an analysis know."""

    def __init__(
        self, servers: Servers, terms: Terms, leaders: Leaders, elections: Elections, logs: Logs, flows: Flows
    ) -> None:
        self._servers = servers
        self._terms = terms
        self._leaders = leaders
        self._elections = elections
        self._logs = logs
        self._flows = flows

    def state(
        self, progresses: Iterable[Progress], configuration: ConfigurationFact | None, now_ns: int
    ) -> ClusterState | None:
        """What is known at a time; None when there is no server."""
        servers = self._servers.all()
        if not servers:
            return None
        progresses = list(progresses)
        roles = {} if configuration is None else {one.id: one.role_name for one in configuration.servers}
        logs = {one.log.leader.resolved: one.log for one in progresses}
        reign = self._leaders.latest()
        if reign is not None and now_ns - reign.last_ns > _SILENT_NS:
            reign = None
        leading = None if reign is None else logs.get(reign.leader.resolved)
        states = []
        for server in servers:
            if reign is not None and reign.leader.resolved is server:
                part = self._leader(server, reign, logs.get(server))
            else:
                part = self._other(server, reign, leading, _latest(server, progresses))
            role = None if server.id is None else roles.get(server.id)
            states.append(part._replace(role=role))
        return ClusterState(
            None if reign is None else reign.leader.name,
            max((one.term for one in states if one.term is not None), default=None),
            tuple(states),
            tuple(PairState(one.leader.name, one.follower.name, one.times) for one in progresses if one.times.samples),
            self._flows.traffic(),
            tuple((log.leader.name, log.seconds) for log in logs.values() if log.seconds.samples),
        )

    def _leader(self, server: Server, reign: Reign, log: LeaderLog | None) -> ServerState:
        told = None if log is None or log.told < 0 else log.told
        return self._server(server)._replace(state="leader", commit=told, heard_ns=reign.last_ns)

    def _other(
        self, server: Server, reign: Reign | None, leading: LeaderLog | None, progress: Progress | None
    ) -> ServerState:
        state = self._server(server)
        if progress is not None:
            if progress.sent_ns >= 0:
                state = state._replace(heard_ns=progress.sent_ns)
            if progress.match >= 0:
                log, match = progress.log, progress.match
                commit = min(log.told, match) if log.told >= 0 else None
                end = log.end if leading is None else max(leading.end, log.end)
                state = state._replace(last_index=match, behind=max(end - match, 0), commit=commit)
        term = -1 if reign is None else reign.term
        if self._asks(server, term):
            return state._replace(state="candidate")
        follows = progress is not None and progress.term == term
        return state._replace(state="follower") if follows else state

    def _asks(self, server: Server, term: int) -> bool:
        """Whether a server asked for votes for a later term than this, and neither led it nor went on to another."""
        asked = self._elections.campaigned(server)
        return asked > term and asked >= self._terms.current(server) and not self._leaders.leads(server, asked)

    def _server(self, server: Server) -> ServerState:
        """What is known of a server whatever its part is."""
        last, seen = self._logs.last(server), server.last_seen
        return ServerState(
            server.name,
            server.addresses[0] if server.addresses else server.host,
            "unknown",
            None,
            self._terms.current(server) or None,
            None if last is None else last[1],
            None,
            None,
            None,
            None if seen is None else seen.time_ns,
        )


def _latest(follower: Server, progresses: Iterable[Progress]) -> Progress | None:
    """What is known of a follower's log by the leader of the highest term."""
    own = [one for one in progresses if one.follower.resolved is follower]
    return max(own, key=_term_of, default=None)


def _term_of(progress: Progress) -> int:
    return progress.term
