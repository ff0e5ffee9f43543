"""Pairs of servers that cannot work together, because the releases of one cannot decode what the other writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.cluster.facts import Incompatibility
from raft_dissect.wire import MESSAGE_NAMES, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raft_dissect.cluster.facts import Consequence, Traffic
    from raft_dissect.cluster.servers import Server


class _Rule(NamedTuple):
    """What some layouts write and others cannot decode."""

    writers: frozenset[str]
    messages: tuple[int, ...]
    readers: frozenset[str]
    """Layouts of which no release can decode it."""
    perhaps: frozenset[str]
    """Layouts of which some releases cannot."""
    consequence: Consequence


_OLDEST = "c-0.9.0"
_RULES = (
    # Up to v0.16 the type is compared with all of its bits, so that a version byte makes it an unknown type.
    _Rule(
        frozenset(("w-0.20.0", "w-0.22.1")),
        (table.REQUEST_VOTE, table.REQUEST_VOTE_RESULT, table.APPEND_ENTRIES_RESULT),
        frozenset((_OLDEST, "c-0.9.15", "c-0.9.21")),
        frozenset(("c-0.11.3",)),
        "refused",
    ),
    # cowsql/raft v0.21.0 and later read the flags of a vote request that has none.
    _Rule(
        frozenset((_OLDEST,)),
        (table.REQUEST_VOTE,),
        frozenset(("w-0.22.1",)),
        frozenset(("w-0.20.0",)),
        "read_beyond_end",
    ),
    # TimeoutNow exists since v0.9.15.
    _Rule(
        frozenset(layout.label for layout in table.LAYOUTS) - {_OLDEST},
        (table.TIMEOUT_NOW,),
        frozenset((_OLDEST,)),
        frozenset(),
        "refused",
    ),
)
"""Protocol document section 8.1: all else is decoded by every release, as was measured with each release's decoder."""


def incompatibilities(servers: Sequence[Server], traffic: Iterable[Traffic]) -> tuple[Incompatibility, ...]:
    """The pairs of which one sent to the other what that one's releases cannot decode, in the order of time.

    A server whose layout is not known well enough to tell is in no pair.
    """
    by_name = {server.name: server for server in servers}
    found = []
    for flow in traffic:
        writer, reader = by_name.get(flow.sender), by_name.get(flow.receiver)
        if writer is not None and reader is not None:
            found += [fact for rule in _RULES if (fact := _broken(rule, writer, reader, flow)) is not None]
    return tuple(sorted(found, key=lambda fact: fact.place))


def _broken(rule: _Rule, writer: Server, reader: Server, flow: Traffic) -> Incompatibility | None:
    names = tuple(MESSAGE_NAMES[type_] for type_ in rule.messages if MESSAGE_NAMES[type_] in flow.messages)
    if not names or not writer.labels or not reader.labels:
        return None
    if not writer.labels <= rule.writers or not reader.labels <= rule.readers | rule.perhaps:
        return None
    certain = reader.labels <= rule.readers
    return Incompatibility(writer.name, reader.name, names, rule.consequence, certain, flow.first)
