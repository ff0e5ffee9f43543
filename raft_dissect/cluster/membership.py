"""Configurations of the cluster over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.cluster.decisions import configurations_of
from raft_dissect.cluster.facts import ConfigurationFact
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect import wire
    from raft_dissect.cluster.decisions import Decisions
    from raft_dissect.cluster.facts import ConfigurationChange
    from raft_dissect.cluster.servers import Server, Servers
    from raft_dissect.values import Message, Place

_KEPT = 16
"""Configurations that are remembered however old they are: the last ones, of which one is in force."""
_MAX_SENT = 64
"""Configurations that are remembered of those which were sent to one server."""


class Membership:
    """The configurations in change entries and snapshots."""

    def __init__(self, servers: Servers, decisions: Decisions) -> None:
        self._servers = servers
        self._decisions = decisions
        self._seen: dict[tuple[int, tuple[wire.Server, ...]], dict[int | None, ConfigurationFact]] = {}
        self._snapshots: dict[tuple[int, tuple[wire.Server, ...]], Place] = {}  # the first one with a configuration
        self._sent: dict[Server, list[tuple[int, tuple[wire.Server, ...]]]] = {}

    def message(self, message: Message, receiver: Server) -> None:
        """Learn from one message."""
        if message.type == table.INSTALL_SNAPSHOT and message.configuration:
            fields, servers = message.fields, tuple(message.configuration)
            index = fields["conf_index"]
            self._send(receiver, index, servers)
            self._add(index, None, servers, message.place)
            if index <= fields.get("last_index", 0):
                self._snapshots.setdefault((index, servers), message.place)
        elif message.type == table.APPEND_ENTRIES:
            for index, term, servers in configurations_of(message):
                self._send(receiver, index, servers)
                self._add(index, term, servers, message.place)

    def _send(self, receiver: Server, index: int, servers: tuple[wire.Server, ...]) -> None:
        sent = self._sent.setdefault(receiver, [])
        sent[:] = [other for other in sent if other[0] != index][1 - _MAX_SENT :]
        sent.append((index, servers))

    def is_no_voter(self, server: Server, stored: int) -> bool:
        """Whether a server that stored its log up to an index is known to be no voter in its own configuration."""
        own = max(((index, servers) for index, servers in self._sent.get(server, ()) if index <= stored), default=None)
        if own is None:
            return False
        roles = {configured.id: configured.role for configured in own[1]}
        return server.id is not None and roles.get(server.id) != table.VOTER

    def _add(self, index: int, term: int | None, servers: tuple[wire.Server, ...], place: Place) -> None:
        known = self._seen.setdefault((index, servers), {})
        if term in known or (term is None and known):
            return
        before = known.pop(None, None)  # a snapshot does not say the term
        known[term] = ConfigurationFact(index, term, servers, None, before.place if before else place)
        if before is None:
            self._servers.identities.configuration(servers)
            for server in servers:
                self._servers.role(server)

    def forget(self, before_ns: int) -> None:
        """Forget configurations that were seen before a time, but for the last ones."""
        last = sorted(self._seen, key=_index_of)[-_KEPT:]
        self._seen = {
            key: facts
            for key, facts in self._seen.items()
            if key in last or any(fact.place.time_ns >= before_ns for fact in facts.values())
        }
        self._snapshots = {key: place for key, place in self._snapshots.items() if key in self._seen}

    def configurations(self) -> tuple[ConfigurationFact, ...]:
        """Every configuration that was seen, in the order of the log."""
        found = [fact for same in self._seen.values() for fact in self._judged(list(same.values()))]
        facts = sorted(found, key=lambda fact: (fact.conf_index, fact.place))
        before: ConfigurationFact | None = None
        named = []
        for fact in facts:
            named.append(fact._replace(change=_change(before, fact)))
            if fact.committed is not False:
                before = fact
        return tuple(named)

    def _judged(self, same: list[ConfigurationFact]) -> list[ConfigurationFact]:
        """Entries at one index with the same servers, and whether they are committed.

        What a snapshot holds is committed (Raft paper, section 7). It does not say of which term the entry is, so it
        tells something only where one entry is left that it can be.
        """
        decided = [self._decisions.of(fact.conf_index, fact.term) for fact in same]
        snapshot = self._snapshots.get((same[0].conf_index, same[0].servers))
        left = [number for number, decision in enumerate(decided) if decision is None or decision[0]]
        if snapshot is not None and len(left) == 1:
            decision = decided[left[0]]
            decided[left[0]] = (True, snapshot if decision is None else min(decision[1], snapshot))
        return [
            fact if decision is None else fact._replace(committed=decision[0], decided_at=decision[1])
            for fact, decision in zip(same, decided, strict=True)
        ]


def _index_of(configuration: tuple[int, object]) -> int:
    return configuration[0]


def _change(before: ConfigurationFact | None, after: ConfigurationFact) -> ConfigurationChange | None:
    if after.conf_index == 1:
        return "bootstrap"
    if before is None:
        return None
    old = {server.id: server.role for server in before.servers}
    new = {server.id: server.role for server in after.servers}
    changes: list[ConfigurationChange] = []
    changes += ["added" for id_ in new if id_ not in old]
    changes += ["removed" for id_ in old if id_ not in new]
    changes += [
        "promoted" if _rank(new[id_]) > _rank(old[id_]) else "demoted"
        for id_ in new
        if new[id_] != old.get(id_, new[id_])
    ]
    if len(changes) > 1:
        return "several"
    return changes[0] if changes else None


def _rank(role: int) -> int:
    """Spare, standby, voter: each does all that the one before it does."""
    return {table.SPARE: 0, table.STANDBY: 1, table.VOTER: 2}.get(role, 0)
