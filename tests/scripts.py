"""Short scripts of what servers say to each other, made into packets: scenarios whose outcome a reader can work out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect import wire
from raft_dissect.pipeline import analyze
from raft_dissect.values import Packet
from raft_dissect.wire import table
from tests.packets import MILLISECOND, RST, START, Address, Connection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raft_dissect.cluster import ClusterFacts

EntryData = tuple[int, int, bytes]
"""Term, type and data of an entry."""

PORT = 9001
STANDBY, VOTER, SPARE = 0, 1, 2


def address(server: int) -> str:
    """What a server advertises."""
    return f"10.0.0.{server}:{PORT}"


_PADDING = table.PREAMBLE_LENGTH + 49
"""Where in AppendEntries the unused bytes of the first entry begin: behind five words, its term and its type."""


def configuration(roles: Mapping[int, int]) -> list[wire.Server]:
    """A configuration of servers with these roles, by id."""
    return [wire.Server(id_, address(id_), role) for id_, role in roles.items()]


def change(term: int, roles: Mapping[int, int]) -> EntryData:
    """An entry that changes the configuration."""
    return term, table.CHANGE, wire.encode_configuration(configuration(roles))


def command(term: int, size: int = 8) -> EntryData:
    """An entry with data of a client."""
    return term, table.COMMAND, bytes(size)


class Script:
    """What servers say, one after the other; a connection is opened when a server first speaks to another.

    Servers are numbered from 1: server K has the id K and the address 10.0.0.K:9001. Times are milliseconds from the
    begin of the capture.
    """

    def __init__(self, layout: str = "w-0.22.1", *, handshakes: bool = True, host: str | None = None) -> None:
        """`layout` is how messages are laid out from here on. Without `handshakes` the capture begins after them.

        `host` is one machine that all servers are on, at ports 9001, 9002 ...
        """
        self.layout = layout
        self._handshakes = handshakes
        self._host = host
        self._frames: list[tuple[float, bytes]] = []
        self._connections: dict[tuple[int, int], tuple[Connection, int]] = {}
        self._opened = 0
        self._now = 0.0

    def at(self, milliseconds: float) -> Script:
        """Go on at this time."""
        self._now = milliseconds
        return self

    def wait(self, milliseconds: float) -> Script:
        """Let time pass."""
        self._now += milliseconds
        return self

    def say(
        self,
        sender: int,
        receiver: int,
        name: str,
        fields: Mapping[str, int],
        *,
        entries: Sequence[EntryData] = (),
        roles: Mapping[int, int] | None = None,
        data: bytes = b"",
        cut: int = 0,
        trailer: int = 0,
        padding: bytes = b"",
    ) -> Script:
        """One server sends a message to another; the next thing happens a millisecond later.

        `fields` that are not given are 0, `roles` and `data` are the configuration and the bytes of a snapshot. `cut`
        is how many bytes of the message are never sent. `trailer` is the unused last word of an AppendEntries header,
        `padding` what stands in the three unused bytes behind the type of its first entry.
        """
        encoded = wire.encode_message(
            table.MESSAGE_NUMBERS[name],
            fields,
            layout=self.layout,
            entries=entries,
            configuration=configuration(roles or {}),
            data=data,
        )
        if trailer:
            end = table.PREAMBLE_LENGTH + int.from_bytes(encoded[8:16], "little")
            encoded = encoded[: end - 8] + trailer.to_bytes(8, "little") + encoded[end:]
        if padding:
            encoded = encoded[:_PADDING] + padding + encoded[_PADDING + len(padding) :]
        self._send(sender, receiver, encoded[: len(encoded) - cut])
        return self.wait(1)

    def append(self, leader: int, follower: int, term: int, prev: tuple[int, int], *entries: EntryData) -> Script:
        """AppendEntries; `prev` is (term, index) of the entry before the first one."""
        fields = {"term": term, "prev_log_term": prev[0], "prev_log_index": prev[1]}
        return self.say(leader, follower, "AppendEntries", fields, entries=entries)

    def result(self, follower: int, leader: int, term: int, last: int, rejected: int = 0) -> Script:
        """AppendEntriesResult."""
        fields = {"term": term, "last_log_index": last, "rejected": rejected}
        return self.say(follower, leader, "AppendEntriesResult", fields)

    def ask(
        self, candidate: int, voter: int, term: int, last: tuple[int, int] = (1, 1), *, pre: int = 0, disrupt: int = 0
    ) -> Script:
        """RequestVote; `last` is (term, index) of the candidate's last entry."""
        fields = {"term": term, "candidate_id": candidate, "last_log_term": last[0], "last_log_index": last[1]}
        return self.say(candidate, voter, "RequestVote", {**fields, "pre_vote": pre, "disrupt_leader": disrupt})

    def vote(self, voter: int, candidate: int, term: int, granted: int, *, pre: int = 0) -> Script:
        """RequestVoteResult."""
        fields = {"term": term, "vote_granted": granted, "pre_vote": pre}
        return self.say(voter, candidate, "RequestVoteResult", fields)

    def kill(self, server: int) -> Script:
        """A server dies: all of its connections are reset."""
        for pair, (connection, offset) in list(self._connections.items()):
            if server in pair:
                self._add(connection.data(offset, b"", RST))
                del self._connections[pair]
        return self

    def _send(self, sender: int, receiver: int, data: bytes) -> None:
        connection, offset = self._connections.get((sender, receiver)) or self._open(sender, receiver)
        for start in range(0, len(data), 1448):
            self._add(connection.data(offset + start, data[start : start + 1448]))
        self._connections[sender, receiver] = connection, offset + len(data)

    def _open(self, sender: int, receiver: int) -> tuple[Connection, int]:
        self._opened += 1
        source = Address(self._host or f"10.0.0.{sender}", 40000 + self._opened)
        destination = Address(self._host or f"10.0.0.{receiver}", PORT if self._host is None else 9000 + receiver)
        connection = Connection(source, destination)
        advertised = address(sender) if self._host is None else f"{self._host}:{9000 + sender}"
        handshake = wire.encode_handshake("raft", sender, advertised)
        if self._handshakes:
            for packet in connection.opening():
                self._add(packet)
            self._add(connection.data(0, handshake))
        return connection, len(handshake)

    def _add(self, packet: bytes) -> None:
        self._frames.append((self._now, packet))

    def packets(self) -> list[Packet]:
        """The capture of it all."""
        ordered = sorted(self._frames, key=lambda frame: frame[0])
        return [
            Packet(data, START + round(ms * MILLISECOND), 1, len(data), number)
            for number, (ms, data) in enumerate(ordered, 1)
        ]

    def facts(self) -> ClusterFacts:
        """What the analysis makes of it."""
        (facts,) = analyze(self.packets(), ports=[PORT, *range(9001, 9010)]).clusters
        return facts
