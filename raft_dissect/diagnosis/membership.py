"""Membership and transfers: transfers that failed, members that were never seen or cannot understand each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.diagnosis.findings import Finding
from raft_dissect.diagnosis.words import REASONS, capital, server, servers
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from raft_dissect.cluster.facts import ClusterFacts, Transfer, TransferOutcome, TransferReason

_FAILED: dict[TransferOutcome, str] = {"ignored": "did not campaign", "failed": "campaigned, and did not win"}
_TRANSFER_REASONS: dict[TransferReason, str] = {
    "log_behind": ": it had not acknowledged the whole log of the leader",
    "not_a_voter": ": it is no voter",
    "stale_term": ": its own term was later already",
    "connection_lost": ": the connection between them ended",
    "other_leader": ": another server came to lead",
}


def failed_transfers(facts: ClusterFacts) -> Iterator[Finding]:
    """Leadership transfers that did not make the target the leader."""
    for transfer in facts.transfers:
        if transfer.outcome not in _FAILED:
            continue
        yield Finding(
            "warning",
            "failed_transfer",
            f"{capital(server(transfer.leader))} asked {server(transfer.target)} to take over leadership of term "
            f"{transfer.term}; it {_FAILED[transfer.outcome]}{_why(transfer)}.",
            _advice(transfer),
            (transfer.leader, transfer.target),
            (transfer.place,),
        )


def _why(transfer: Transfer) -> str:
    if transfer.reason == "refused":
        reasons = dict.fromkeys(refusal.reason for refusal in transfer.refused)
        voters = servers(tuple(refusal.voter for refusal in transfer.refused))
        return f": {voters} refused ({', '.join(REASONS[reason] for reason in reasons)})"
    if transfer.reason == "old_leader_went_on":
        return f": {server(transfer.leader)} led on"
    return _TRANSFER_REASONS.get(transfer.reason or "unknown", "")


def _advice(transfer: Transfer) -> str:
    target = server(transfer.target)
    if transfer.outcome == "ignored" and transfer.reason in ("log_behind", "unknown", None):
        return f"Look at the log of {target}: it must be a voter, know the leader and have all of its log."
    if transfer.reason == "not_a_voter":
        return "Transfer leadership to a voter."
    if transfer.reason == "connection_lost":
        return f"Look at what ended the connection: a crash or a restart of {target}, or the network."
    return "Look at the elections at that time, and transfer leadership again."


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
