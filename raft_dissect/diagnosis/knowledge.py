"""What the capture does not show of a cluster, and what the report therefore cannot know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.diagnosis.findings import Finding
from raft_dissect.diagnosis.replication import is_silent
from raft_dissect.diagnosis.visibility import unseen_leaders
from raft_dissect.diagnosis.words import capital, server, servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from raft_dissect.cluster.facts import ClusterFacts

_FEW = 3
"""Requests without an answer that prove nothing yet."""


def begun_midway(facts: ClusterFacts) -> Iterator[Finding]:
    """Servers whose handshakes came before the capture, so that who they are is inferred, or not known."""
    seen = [one for one in facts.servers if one.first_seen is not None]
    midway = [one for one in seen if one.known_by != "handshake"]
    if not midway:
        return
    unknown = [one.name for one in midway if one.known_by is None]
    names = tuple(one.name for one in midway)
    text = f"Not known by id: {servers(unknown)}" if unknown else f"Known by inference only: {servers(names)}"
    yield Finding(
        "note",
        "begun_midway",
        f"{text}; the capture began after the handshakes.",
        "What came before is not in the report either; capture from before the servers start, or until one reconnects, "
        "to have handshakes.",
        names,
        tuple(one.first_seen for one in midway if one.first_seen is not None)[:10],
    )


def one_sided(facts: ClusterFacts) -> Iterator[Finding]:
    """Followers of which the capture has requests and no answers, without saying that there were none."""
    for pair in facts.replication:
        if pair.answered or pair.requests < _FEW or is_silent(facts, pair):
            continue
        yield Finding(
            "note",
            "one_sided",
            f"{capital(server(pair.follower))}'s answers to {server(pair.leader)} are not in the capture: how fast it "
            "is, how far it has come and what is committed is not known from it.",
            "Capture both directions: answers travel on a connection of their own, which the follower opens.",
            (pair.follower, pair.leader),
            (pair.place,),
        )


def requests_are_missing(facts: ClusterFacts) -> Iterator[Finding]:
    """Leaders of which the capture has the answers of followers, and no message."""
    names = unseen_leaders(facts)
    if not names:
        return
    unseen = [one.first for one in facts.unseen_leaders]
    first = min(unseen or [one.first for one in facts.traffic if one.receiver in names])
    yield Finding(
        "note",
        "unseen_leader",
        f"Followers answer {servers(names)}, whose own messages as leader are not in the capture: who led when, and "
        "for how long nobody did, is known in part only.",
        "Capture both directions, at a place where all connections between the servers pass.",
        names,
        (first,),
    )


RULES: tuple[Callable[[ClusterFacts], Iterator[Finding]], ...] = (begun_midway, one_sided, requests_are_missing)
