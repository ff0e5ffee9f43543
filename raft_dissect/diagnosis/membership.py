"""Membership and transfers: transfers that failed, members that were never seen or cannot understand each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.diagnosis.findings import Finding
from raft_dissect.diagnosis.words import capital, server, servers
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from raft_dissect.cluster.facts import ClusterFacts


def failed_transfers(facts: ClusterFacts) -> Iterator[Finding]:
    """Leadership transfers that did not make the target the leader."""
    words = {"ignored": "did not campaign", "failed": "campaigned, and did not win"}
    for transfer in facts.transfers:
        if transfer.outcome not in words:
            continue
        yield Finding(
            "warning",
            "failed_transfer",
            f"{capital(server(transfer.leader))} asked {server(transfer.target)} to take over leadership of term "
            f"{transfer.term}; it {words[transfer.outcome]}.",
            f"Look at the log of {server(transfer.target)}: it must be a voter, know the leader and have its log.",
            (transfer.leader, transfer.target),
            (transfer.place,),
        )


def unseen_voters(facts: ClusterFacts) -> Iterator[Finding]:
    """Voters of the last configuration that sent nothing in the capture."""
    last = facts.configuration
    if last is None:
        return
    seen = {one.name for one in facts.servers if one.first_seen is not None}
    voters = [one.id for one in last.servers if one.role == table.VOTER]
    unseen = tuple(id_ for id_ in voters if id_ not in seen)
    if not unseen or not seen:
        return
    left = len(voters) - len(unseen)
    lost = left <= len(voters) // 2
    yield Finding(
        "problem" if lost else "warning",
        "unseen_voters",
        f"{capital(servers(unseen))}, of {len(voters)} voters, sent nothing in this capture"
        + ("; the others are no majority." if lost else "."),
        "Look whether they are running, or whether the capture was made where their packets do not pass.",
        unseen,
        (last.place,),
    )


def incompatible_releases(facts: ClusterFacts) -> Iterator[Finding]:
    """Servers whose releases cannot decode what others send them."""
    for pair in facts.incompatible:
        yield Finding(
            "problem" if pair.certain else "warning",
            "incompatible",
            f"{capital(server(pair.reader))} {'cannot' if pair.certain else 'may not be able to'} decode "
            f"{' and '.join(pair.messages)} of {server(pair.writer)}: their releases write them differently.",
            "Bring both servers to one release.",
            (pair.reader, pair.writer),
            (pair.place,),
        )


RULES: tuple[Callable[[ClusterFacts], Iterator[Finding]], ...] = (
    failed_transfers,
    unseen_voters,
    incompatible_releases,
)
