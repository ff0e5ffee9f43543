"""How facts are said to a person: the words for reasons and outcomes, short names of servers, sizes, durations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.report.escape import wire_text
from raft_dissect.values import STREAM_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.values import Place

TERM_CAUSES: dict[str, str] = {
    "election": "started an election",
    "vote_request": "was asked for a vote",
    "append_entries": "heard from the leader",
    "result": "was told by another server",
    "snapshot": "was sent a snapshot",
    "restart": "restarted",
    "unknown": "unknown",
}
ELECTION_CAUSES: dict[str, str] = {
    "heartbeats_absent": "no heartbeats",
    "transfer": "transfer",
    "start": "no leader yet",
    "connection_lost": "leader lost",
    "unknown": "unknown",
}
REASONS: dict[str, str] = {
    "log_behind": "log is behind",
    "has_leader": "has a leader",
    "already_voted": "voted already",
    "stale_term": "old term",
    "not_a_voter": "no voter",
    "busy": "busy",
    "no_such_entry": "no such entry",
    "term_mismatch": "other term",
    "write_failed": "write failed",
    "unknown": "unknown",
}
REJECTIONS: dict[str, str] = {
    "append_entries": "entries",
    "request_vote": "vote",
    "pre_vote": "pre-vote",
    "install_snapshot": "snapshot",
}
TRANSFER_REASONS: dict[str, str] = {
    "log_behind": "log is behind",
    "not_a_voter": "no voter",
    "stale_term": "old term",
    "connection_lost": "connection lost",
    "refused": "refused",
    "other_leader": "another leads",
    "old_leader_went_on": "old leader went on",
    "unknown": "unknown",
}
LEADER_ENDS: dict[str, str] = {
    "new_leader": "new leader",
    "step_down": "stepped down",
    "connection_lost": "connections closed",
    "capture_end": "still leads",
    "unknown": "fell silent",
}
LEADERLESS_CAUSES: dict[str, str] = {
    "start": "no leader yet",
    "heartbeats_absent": "leader fell silent",
    "connection_lost": "connections closed",
    "transfer": "transfer",
    "step_down": "leader stepped down",
    "unknown": "unknown",
}
LEADERLESS_ENDS: dict[str, str] = {
    "elected": "an election",
    "returned": "its return",
    "capture_end": "end of capture",
}
LEADER_UNKNOWN: dict[str, str] = {
    "one_sender": "one server alone sent what is in it",
    "unseen_leader": "a leader that was answered is not in it",
    "begun_midway": "somebody may have led before it began",
    "one_place": "made at one server, which may have missed a leader",
}
COMMITTED: dict[bool | None, str] = {True: "yes", False: "rolled back", None: "not known"}
SNAPSHOT_OUTCOMES: dict[str, str] = {
    "installed": "installed",
    "already_had": "had it",
    "refused": "refused",
    "cut": "cut off",
    "unanswered": "no answer",
    "in_progress": "in progress",
}
SKIPPED: dict[str, str] = {
    "ethertype 0x0806": "ARP",
    "ethertype 0x88cc": "LLDP",
    "IP fragment": "IP fragments of incomplete packets",
    "overlapping IP fragment": "overlapping IP fragments",
    "broken IP fragment": "broken IP fragments",
    "IP protocol 1": "ICMP",
    "IP protocol 2": "IGMP",
    "IP protocol 17": "UDP",
    "IP protocol 58": "ICMPv6",
}
_MOST_PORTS = 3
_LONG_ID = 6
"""Digits from which on an id is shortened to its end."""
_SHORT_ID = 4


class Names:
    """Short names for servers: ids as they are, long ids by their last digits, as many as it takes."""

    def __init__(self, names: Iterable[ServerName] = ()) -> None:
        self._known: dict[ServerName, str] = {}
        for name in names:
            self.short(name)

    def short(self, name: ServerName) -> str:
        """The same short name every time, and for no other server."""
        if name not in self._known:
            self._known[name] = self._shorten(str(name)) if isinstance(name, int) else wire_text(name)
        return self._known[name]

    def shortened(self, sentence: str, names: Iterable[ServerName]) -> str:
        """A sentence about some servers with their short names in place of long ids."""
        for name in names:
            if self.short(name) != str(name):
                sentence = sentence.replace(str(name), self.short(name))
        return sentence

    def _shorten(self, digits: str) -> str:
        size = len(digits) if len(digits) < _LONG_ID else _SHORT_ID
        short = digits if size == len(digits) else "~" + digits[-size:]
        while short in self._known.values() and size < len(digits):
            size += 1
            short = "~" + digits[-size:]
        return short


def other_connections(kinds: Mapping[str, int], tls_ports: Sequence[int] = ()) -> str:
    """What else connections carry, as the end of a sentence; with TLS, what can be done about it.

    `tls_ports` are those that connections with TLS go to, most of them first.
    """
    others = [f"{count:,} with {STREAM_KINDS[kind]}" for kind, count in sorted(kinds.items()) if kind != "raft"]
    text = f"; other connections: {', '.join(others)}" if others else ""
    if kinds.get("tls"):
        text += _about_tls(tls_ports)
    return text


def _about_tls(ports: Sequence[int]) -> str:
    """That there is TLS, and what opens it."""
    named = ", ".join(map(str, ports[:_MOST_PORTS])) + (" and others" if len(ports) > _MOST_PORTS else "")
    where = "TLS is" if not ports else f"port {named} carries TLS," if len(ports) == 1 else f"ports {named} carry TLS,"
    return (
        f"; {where} to be read with --tls-keys FILE and a key log, which Go's tls.Config.KeyLogWriter, SSLKEYLOGFILE "
        "with OpenSSL or GnuTLS, and some proxies write (docs/tls.md), or to be captured in clear text, on the server "
        "behind the TLS proxy"
    )


def between(first: Place, last: Place) -> float:
    """Seconds from one place to another."""
    return (last.time_ns - first.time_ns) / 1e9


def maybe(number: int | None, unknown: str = "?") -> str:
    """A number, or what stands where it is not known."""
    return unknown if number is None else str(number)
