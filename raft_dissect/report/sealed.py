"""What is estimated of servers inside TLS, as text and as JSON; every figure is marked as an estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from raft_dissect.report.words import between
from raft_dissect.units import counted, duration, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from raft_dissect.report.fact_records import FactRecords, Record
    from raft_dissect.report.page import Page
    from raft_dissect.sealed import SealedFacts
    from raft_dissect.sealed.facts import SealedBurst, SealedLeader, SealedPeer, SealedSilence
    from raft_dissect.values import Place

_Fact = TypeVar("_Fact")
_BURSTS: dict[str, str] = {"appends": "appends", "snapshot": "snapshot or catch-up"}


def sections(facts: SealedFacts, page: Page) -> Iterator[tuple[str, list[str]]]:
    """Titles, and the lines of each, the first of which is the head of a table."""
    yield "Inside TLS: servers, by estimate (~) from sizes and times of records alone", _peers(facts.peers, page)
    yield "Inside TLS: heartbeats and leaders, by estimate", _leaders(facts, page)
    yield "Inside TLS: bursts, by estimate", _bursts(facts.bursts, page)
    yield "Inside TLS: silence, by estimate", _silences(facts.silences, page)


def _peers(peers: Sequence[SealedPeer], page: Page) -> list[str]:
    rows = [
        (
            str(peer.address),
            f"~{peer.sent:,}",
            f"~{size(peer.sent_bytes)}",
            f"~{peer.connections:,}",
            f"~{peer.short_connections:,}",
            f"{page.time(peer.first)} - {page.time(peer.last)}",
        )
        for peer in peers
    ]
    return page.table(("server", "records", "bytes", "opened", "in vain", "sent"), rows, (1, 2, 3, 4), flexible=5)


def _leaders(facts: SealedFacts, page: Page) -> list[str]:
    if facts.heartbeat_seconds is None:
        return ["", *page.note("too little regular traffic to say what the heartbeats are, and who leads", "  ")]
    rows = [
        (
            str(leader.leader),
            page.time(leader.first),
            page.time(leader.last),
            f"~{duration(between(leader.first, leader.last))}",
            f"~{leader.rounds:,}",
            page.frame(leader.first),
        )
        for leader in facts.leaders
    ]
    head, *lines = page.table(("seems to lead", "from", "to", "for", "answered", "frame"), rows, (3, 4, 5))
    interval = f"a heartbeat every ~{duration(facts.heartbeat_seconds)}, from ~{counted(facts.heartbeats, 'interval')}"
    return [head, *lines, *page.note(interval, "  ")]


def _bursts(bursts: Sequence[SealedBurst], page: Page) -> list[str]:
    rows = [
        (
            page.time(burst.first),
            f"{burst.sender.host} > {burst.receiver.host}",
            f"~{size(burst.bytes)}",
            _BURSTS[burst.looks_like],
            page.frame(burst.first),
        )
        for burst in bursts
    ]
    return page.table(("time", "sender > receiver", "bytes", "looks like", "frame"), rows, (2, 4), flexible=3)


def _silences(silences: Sequence[SealedSilence], page: Page) -> list[str]:
    rows = [
        (
            "all" if silence.server is None else str(silence.server),
            page.time(silence.first),
            page.time(silence.last),
            f"~{duration(between(silence.first, silence.last))}",
            page.frame(silence.first),
        )
        for silence in silences
    ]
    return page.table(("silent", "from", "to", "for", "frame"), rows, (3, 4))


def record(facts: SealedFacts, records: FactRecords) -> Record:
    """The record of all that is estimated of one cluster."""
    heartbeat = None
    if facts.heartbeat_seconds is not None:
        heartbeat = {"seconds": facts.heartbeat_seconds, "intervals": facts.heartbeats, "estimate": True}
    return {
        "estimate": True,
        "heartbeat": heartbeat,
        "servers": _all(facts.peers, lambda peer: _peer(peer, records)),
        "leaders": _all(facts.leaders, lambda leader: _leader(leader, records)),
        "bursts": _all(facts.bursts, lambda burst: _burst(burst, records)),
        "silences": _all(facts.silences, lambda silence: _silence(silence, records)),
        "dropped_records": facts.dropped_records,
    }


def _all(facts: Sequence[_Fact], made: Callable[[_Fact], Record]) -> list[Record]:
    return [{**made(fact), "estimate": True} for fact in facts]


def _times(first: Place, last: Place, records: FactRecords) -> Record:
    return {
        **records.place(first),
        "from": records.place(first)["time"],
        "to": records.place(last)["time"],
        "seconds": between(first, last),
    }


def _peer(peer: SealedPeer, records: FactRecords) -> Record:
    return {
        **_times(peer.first, peer.last, records),
        "address": str(peer.address),
        "records": peer.sent,
        "bytes": peer.sent_bytes,
        "connections": peer.connections,
        "short_connections": peer.short_connections,
    }


def _leader(leader: SealedLeader, records: FactRecords) -> Record:
    return {**_times(leader.first, leader.last, records), "leader": str(leader.leader), "answered": leader.rounds}


def _burst(burst: SealedBurst, records: FactRecords) -> Record:
    return {
        **_times(burst.first, burst.last, records),
        "src": str(burst.sender),
        "dst": str(burst.receiver),
        "records": burst.records,
        "bytes": burst.bytes,
        "looks_like": burst.looks_like,
    }


def _silence(silence: SealedSilence, records: FactRecords) -> Record:
    server = None if silence.server is None else str(silence.server)
    return {**_times(silence.first, silence.last, records), "server": server}
