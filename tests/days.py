"""Days of a restless cluster, as packets: every minute an election, connections that end and begin, and a snapshot.

In the first minutes so much is replicated that what is remembered of the latest entries is as much as it will ever be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.values import Packet
from tests.packets import MILLISECOND, RST, START, Address, Connection
from tests.scripts import VOTER, Script, change, command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.scripts import EntryData

SERVERS = (1, 2, 3)
VOTERS = dict.fromkeys(SERVERS, VOTER)
MINUTE_MS = 60_000
MINUTE_NS = MINUTE_MS * MILLISECOND
_TURN_MS = 700
"""Between two heartbeats."""
_BUSY_MESSAGES = 1100
"""With entries, of each leader in its first minute."""
_BUSY_ENTRIES = 60
"""In each of those of the very first minute; later there is one."""
_SNAPSHOT = bytes(20_000)
_FIRST_PORT = 10_000
_PORTS = 50_000
_STRANGERS = 15


class _Days(Script):
    """A cluster whose next minute can be had again and again."""

    def __init__(self, busy: bool) -> None:
        super().__init__()
        self._busy = busy
        self._frame = 0
        self._minute = 0
        self._last = 1
        """Index of the last entry of the log."""
        self._last_term = 1
        self._committed = 1
        self._configuration = 1
        """Index of the last configuration."""

    def minute(self) -> Iterator[Packet]:
        """The next minute."""
        begin = self._minute * MINUTE_MS
        number = self._minute
        leader, term = SERVERS[number % 3], number + 2
        others = [server for server in SERVERS if server != leader]
        self._strangers(begin)
        if self._minute % 2:
            self.at(begin + 10).kill(leader)
        self._elect(begin + 100, leader, term)
        entries = {2: command(term, 64), 10: change(term, VOTERS)}
        for turn in range(1, MINUTE_MS // _TURN_MS - 1):
            self.at(begin + turn * _TURN_MS)
            self._replicate(leader, others, term, *((entries[turn],) if turn in entries else ()))
            if turn == 10:
                self._configuration = self._last
            if turn == 11 and self._busy and self._minute < len(SERVERS):
                self._hurry(leader, others, term)
        self.at(begin + MINUTE_MS - 1000)
        self._refuse(leader, others[0], term)
        self._install(leader, others[1], term)
        self._minute += 1
        frames, self._frames = sorted(self._frames, key=lambda frame: frame[0]), []
        for milliseconds, data in frames:
            self._frame += 1
            yield Packet(data, START + round(milliseconds * MILLISECOND), 1, len(data), self._frame)

    def _elect(self, at: float, leader: int, term: int) -> None:
        """The candidate is refused by one, and by nobody a term later."""
        others = [server for server in SERVERS if server != leader]
        for other, granted in zip(others, (1, self._minute % 2), strict=True):
            self.at(at).ask(leader, other, term, (self._last_term, self._last))
            self.wait(1).vote(other, leader, term, granted)

    def _replicate(self, leader: int, others: list[int], term: int, *entries: EntryData) -> None:
        fields = {"term": term, "prev_log_term": self._last_term, "prev_log_index": self._last}
        # Of an earlier term nothing is committed by counting: Raft 5.4.2.
        self._committed = self._last if self._last_term == term else self._committed
        fields["leader_commit"] = self._committed
        if entries:
            self._last, self._last_term = self._last + len(entries), term
        for other in others:
            self.say(leader, other, "AppendEntries", fields, entries=entries)
            self.result(other, leader, term, self._last)

    def _hurry(self, leader: int, others: list[int], term: int) -> None:
        entries = (command(term),) * (1 if self._minute else _BUSY_ENTRIES)
        for _ in range(_BUSY_MESSAGES):
            self.wait(0.1)
            self._replicate(leader, others, term, *entries)

    def _refuse(self, leader: int, follower: int, term: int) -> None:
        """A follower lacks what comes before."""
        fields = {"term": term, "prev_log_term": term, "prev_log_index": self._last + 5}
        self.say(leader, follower, "AppendEntries", {**fields, "leader_commit": self._committed})
        self.result(follower, leader, term, self._last, rejected=self._last + 5)

    def _install(self, leader: int, follower: int, term: int) -> None:
        fields = {"term": term, "last_index": self._committed, "last_term": term, "conf_index": self._configuration}
        self.say(leader, follower, "InstallSnapshot", fields, roles=VOTERS, data=_SNAPSHOT)
        self.result(follower, leader, term, self._last)

    def _strangers(self, at: float) -> None:
        """Somebody tries every server, each time from another port; the last of the servers refuses."""
        for number in range(_STRANGERS):
            server = SERVERS[number % len(SERVERS)]
            port = _FIRST_PORT + (self._minute * _STRANGERS + number) % _PORTS
            connection = Connection(Address("10.0.9.9", port), Address(f"10.0.0.{server}", 9001))
            self.at(at)
            self._add(connection.syn())
            if server == SERVERS[-1]:
                self._add(connection.reply(-1, b"", RST))
            else:
                for packet in (connection.syn_ack(), connection.data(0, b""), connection.rst(0)):
                    self._add(packet)


def days(minutes: int, *, busy: bool = True) -> Iterator[Packet]:
    """So many minutes of it; if not `busy`, the first ones are like all others."""
    cluster = _Days(busy)
    for _ in range(minutes):
        yield from cluster.minute()
