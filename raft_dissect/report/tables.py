"""Which tables the report has as CSV, and what stands in their columns."""

from __future__ import annotations

Columns = dict[str, str]
"""For each column the fact's attribute that stands in it."""


def _at(place: str = "place") -> Columns:
    return {"time": place, "frame": place, "file": place}


def _spread(name: str) -> Columns:
    return {f"{name}_{part}": f"{name}.{part}" for part in ("p50", "p95", "p99", "max")}


def _same(*names: str) -> Columns:
    return {name: name for name in names}


TABLES: dict[str, Columns] = {
    "findings": {**_same("severity", "kind", "text", "advice", "servers"), "frames": "evidence"},
    "servers": {
        **_same("name", "addresses", "roles", "family", "releases", "known_by"),
        "first_seen": "first_seen",
        "first_seen_frame": "first_seen",
        "last_seen": "last_seen",
        "last_seen_frame": "last_seen",
        "restarts": "restarts",
    },
    "leaders": {
        **_at("first"),
        **_same("term", "leader"),
        "to": "last",
        "last_frame": "last",
        "seconds": "first-last",
        "ended_by": "ended_by",
    },
    "leaderless": {
        **_at("first"),
        "to": "last",
        "last_frame": "last",
        "seconds": "first-last",
        **_same("cause", "ended_by", "elections"),
    },
    "unseen_leaders": {**_at("first"), **_same("term", "leader"), "to": "last", "last_frame": "last"},
    "leader_unknown": {
        **_at("first"),
        "to": "last",
        "last_frame": "last",
        "seconds": "first-last",
        "cause": "cause",
    },
    "elections": {
        **_at(),
        **_same("term", "candidate", "pre_vote", "cause", "requests", "granted", "unread", "outcome", "seconds"),
        **_same("leader", "silent_seconds", "retransmissions"),
    },
    "refusals": {**_at(), **_same("term", "candidate", "pre_vote", "voter", "reason")},
    "term_changes": {**_at(), **_same("server", "old", "new", "cause")},
    "rejections": {**_at(), **_same("kind", "by", "of", "term", "reason", "rejected", "last_log_index")},
    "snapshots": {
        **_at("started"),
        **_same("leader", "follower", "term", "last_index", "last_term", "bytes", "seconds"),
        "finished": "finished",
        "finished_frame": "finished",
        "answered": "answered",
        "answered_frame": "answered",
        "outcome": "outcome",
    },
    "transfers": {**_at(), **_same("leader", "target", "term", "outcome", "reason", "seconds")},
    "configurations": {
        **_at(),
        "index": "conf_index",
        **_same("term", "change", "server", "address", "role", "committed"),
        "decided_at": "decided_at",
        "decided_frame": "decided_at",
    },
    "replication": {
        **_at(),
        **_same("leader", "follower", "requests", "heartbeats", "answered", "unanswered", "entries", "bytes", "again"),
        **_spread("sizes"),
        **_spread("heartbeat_seconds"),
        **_spread("ack_seconds"),
        "network_seconds": "network_seconds",
        **_spread("follower_seconds"),
        **_spread("commit_seconds"),
    },
    "lag": {**_at(), **_same("leader", "follower", "entries", "bytes")},
    "catch_ups": {
        **_at(),
        **_same("leader", "follower", "term", "rejections", "matched", "behind", "snapshot", "seconds"),
        "finished": "finished",
        "finished_frame": "finished",
    },
    "truncations": {**_at(), **_same("leader", "follower", "term", "first_index", "entries")},
    "paths": {
        **_at(),
        **_same("sender", "receiver", "opened", "refused", "unanswered", "resets", "closed", "segments"),
        **_same("retransmissions", "zero_windows"),
        **_spread("round_trip_seconds"),
    },
    "path_events": {**_at(), **_same("sender", "receiver", "kind", "times"), "to": "last", "stream": "stream"},
    "traffic": {**_at("first"), **_same("sender", "receiver", "message", "messages")},
    "diagnostics": {**_at(), **_same("kind", "stream", "source", "destination", "offset", "size", "detail")},
}
"""The tables and their columns; those of clusters have the number of the cluster before them."""
