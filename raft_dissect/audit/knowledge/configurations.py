"""The configurations that were seen, and who votes according to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.cluster.commits import Voters
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raft_dissect import wire
    from raft_dissect.audit.step import Step
    from raft_dissect.values import Place

_MAX_CONFIGURATIONS = 256
"""Configurations that are remembered; those that were learned first are forgotten first."""


class Configured(NamedTuple):
    """A configuration, in an entry or in a snapshot."""

    conf_index: int
    """Of the entry that holds it."""
    term: int | None
    """Of that entry; None when it was seen in a snapshot only."""
    servers: tuple[wire.Server, ...]
    leader: int | None
    """Who sent it first."""
    leader_term: int | None
    place: Place
    in_snapshot: bool
    """Whether a snapshot brought it, so that it is committed."""

    @property
    def voters(self) -> frozenset[int]:
        """Ids of those that vote."""
        return frozenset(server.id for server in self.servers if server.role == table.VOTER)

    @property
    def roles(self) -> dict[int, int]:
        """Role of each server by its id, as the wire table numbers them."""
        return {server.id: server.role for server in self.servers}


class Configurations:
    """All configurations that were seen in a cluster."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int | None, tuple[wire.Server, ...]], Configured] = {}
        self._entries: dict[tuple[int, int], Configured] = {}  # by index and term
        self._voters = Voters()
        self._latest: Configured | None = None

    def __iter__(self) -> Iterator[Configured]:
        return iter(self._seen.values())

    def message(self, step: Step) -> None:
        """Learn from AppendEntries and InstallSnapshot."""
        if step.type == table.APPEND_ENTRIES and "prev_log_index" in step.fields:
            self._append(step, step.fields["prev_log_index"])
        elif step.type == table.INSTALL_SNAPSHOT and step.message.configuration:
            servers = step.message.configuration
            index, last = step.fields["conf_index"], step.fields["last_index"]
            self._voters.snapshot(index, last, servers)
            self._add(Configured(index, None, servers, step.sender, step.term, step.place, True))

    def passed(self, index: int, end: int, term: int) -> None:
        """Entries behind an index were seen, none of which is a change."""
        self._voters.entries(index, ((term, table.COMMAND, 0),) * (end - index))

    def _append(self, step: Step, index: int) -> None:
        if not step.entries:
            return
        words = tuple((entry.term, entry.type, entry.size) for entry in step.entries)
        self._voters.entries(index, words)
        for number, entry in enumerate(step.entries):
            servers = step.message.change(number) if entry.type == table.CHANGE else None
            if servers is not None:
                at = index + 1 + number
                self._voters.change(at, entry.term, index + len(words), servers)
                self._add(Configured(at, entry.term, servers, step.sender, step.term, step.place, False))

    def _add(self, configured: Configured) -> None:
        key = configured.conf_index, configured.term, configured.servers
        self._seen.setdefault(key, configured)
        if configured.term is not None:
            self._entries.setdefault((configured.conf_index, configured.term), configured)
            if len(self._entries) > _MAX_CONFIGURATIONS:
                del self._entries[next(iter(self._entries))]
        if self._latest is None or configured.conf_index > self._latest.conf_index:
            self._latest = configured
        if len(self._seen) > _MAX_CONFIGURATIONS:
            del self._seen[next(iter(self._seen))]

    def voters(self, end: int) -> frozenset[int]:
        """The ids of those that vote for a leader whose log reaches to an index; empty when they are not known."""
        return self._voters.at(end)

    def entry(self, index: int, term: int) -> Configured | None:
        """The configuration in the entry with an index and a term."""
        return self._entries.get((index, term))

    def before(self, index: int) -> Configured | None:
        """The latest known configuration before an index; there may be others between them that were not seen."""
        return max((seen for seen in self._seen.values() if seen.conf_index < index), default=None, key=_index_of)

    @property
    def latest(self) -> Configured | None:
        """The known configuration with the highest index."""
        return self._latest


def _index_of(configured: Configured) -> int:
    return configured.conf_index
