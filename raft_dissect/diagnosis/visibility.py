"""What of a cluster is in the capture, so that nothing is said of what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.wire import MESSAGE_NAMES, table

if TYPE_CHECKING:
    from raft_dissect.cluster.facts import ClusterFacts, ServerName

_FROM_LEADERS = {MESSAGE_NAMES[type_] for type_ in (table.APPEND_ENTRIES, table.INSTALL_SNAPSHOT, table.TIMEOUT_NOW)}
_RESULT = MESSAGE_NAMES[table.APPEND_ENTRIES_RESULT]


def is_seen(facts: ClusterFacts, name: ServerName) -> bool:
    """Whether anything that a server sent is in the capture."""
    return any(server.name == name and server.first_seen is not None for server in facts.servers)


def unseen_leaders(facts: ClusterFacts) -> tuple[ServerName, ...]:
    """Servers that were answered as leaders are, and of which no message as leader is in the capture, in that term."""
    leading = {one.sender for one in facts.traffic if _FROM_LEADERS & one.messages.keys()}
    answered = [one.receiver for one in facts.traffic if _RESULT in one.messages and one.receiver not in leading]
    return tuple(dict.fromkeys((*(one.leader for one in facts.unseen_leaders), *answered)))


def shows_leaders(facts: ClusterFacts) -> bool:
    """Whether the capture would show a leader: it has messages of several servers, and of all answered as leaders."""
    seen = sum(server.first_seen is not None for server in facts.servers)
    return seen > 1 and not unseen_leaders(facts)
