"""The packets that captures of benchmarks are made of: Ethernet, IPv4 and TCP around a small cluster's messages."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from raft_dissect import wire  # the checkout must be found first
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    Packets = Iterator[tuple[bytes, int]]
    """Packets, each with the number of messages that end in it."""

PORT = 9001
MSS = 1448
OFFLOAD = 64_000
LEADER = 1
FOLLOWERS = (2, 3)
LAYOUT = "c-0.18.0"
TERM = 2
_SYN, _PUSH_ACK, _ACK, _SYN_ACK = 2, 24, 16, 18
_IP = struct.Struct(">BBHHHBBH4s4s")
_TCP = struct.Struct(">HHIIBBHHH")


def host_of(server: int) -> bytes:
    """The address of a server."""
    return bytes((10, 0, 0, server))


class Flow:
    """One connection from one host to another, which carries data one way."""

    def __init__(self, sender: bytes, receiver: bytes, port: int, sequence: int) -> None:
        self._out = sender + receiver, port, PORT
        self._back = receiver + sender, PORT, port
        self._sequence = sequence

    def syn(self) -> bytes:
        """The packet that opens the connection."""
        return self.packet(b"", _SYN)

    def syn_ack(self) -> bytes:
        """The receiver's answer to it."""
        return _packet(*self._back, 0, self._sequence, _SYN_ACK, b"")

    def packet(self, data: bytes, flags: int = _PUSH_ACK) -> bytes:
        """A packet with the next bytes of the stream."""
        sequence = self._sequence
        self._sequence = (sequence + (len(data) or (flags == _SYN))) & 0xFFFFFFFF
        return _packet(*self._out, sequence, 1, flags, data)

    def at(self, offset: int, data: bytes) -> bytes:
        """A packet whose bytes stand this far behind the next ones of the stream, which stay the next ones."""
        return _packet(*self._out, (self._sequence + offset) & 0xFFFFFFFF, 1, _PUSH_ACK, data)

    def acknowledgement(self) -> bytes:
        """The receiver's acknowledgement of all that was sent."""
        return _packet(*self._back, 1, self._sequence, _ACK, b"")


def _packet(ends: bytes, source: int, destination: int, sequence: int, ack: int, flags: int, data: bytes) -> bytes:
    ethernet = b"\x02\0\0\0\0" + ends[7:8] + b"\x02\0\0\0\0" + ends[3:4] + b"\x08\0"
    # A length of 0 is what a segment has that the network card will cut.
    length = 40 + len(data) if len(data) < 65_000 else 0
    ip = _IP.pack(0x45, 0, length, 0, 0x4000, 64, 6, 0, ends[:4], ends[4:])
    return ethernet + ip + _TCP.pack(source, destination, sequence, ack, 0x50, flags, 65535, 0, 0) + data


class Cluster:
    """What a leader, server 1, and two followers say to each other."""

    def __init__(self) -> None:
        pairs = [(LEADER, f) for f in FOLLOWERS] + [(f, LEADER) for f in FOLLOWERS]
        self.flows = {
            (sender, receiver): Flow(
                host_of(sender), host_of(receiver), 40_000 + number, 1_000_000 * sender + 1000 * receiver
            )
            for number, (sender, receiver) in enumerate(pairs)
        }
        self.index = 1
        """Of the last entry of the leader's log."""

    def opening(self) -> Packets:
        """The begin of all connections, up to their handshakes."""
        for (sender, _), flow in self.flows.items():
            yield flow.syn(), 0
            yield flow.packet(handshake(sender)), 0

    def append(self, data: bytes) -> bytes:
        """An AppendEntries message with the last entry of the log, or a heartbeat."""
        before = self.index - bool(data)
        fields = {"term": TERM, "prev_log_index": before, "prev_log_term": TERM, "leader_commit": before}
        entries = [(TERM, table.COMMAND, data)] if data else []
        return wire.encode_message(table.APPEND_ENTRIES, fields, layout=LAYOUT, entries=entries)

    def result(self) -> bytes:
        """An AppendEntriesResult message: the follower has the whole log."""
        fields = {"term": TERM, "last_log_index": self.index}
        return wire.encode_message(table.APPEND_ENTRIES_RESULT, fields, layout=LAYOUT)


def handshake(server: int) -> bytes:
    """The handshake of a server."""
    return wire.encode_handshake("raft", server, f"10.0.0.{server}:{PORT}")


def snapshot(index: int, block: bytes, size: int, segment: int) -> Iterator[bytes]:
    """The segments of an InstallSnapshot message whose payload is the block over and over, up to `size` bytes."""
    servers = [wire.Server(id_, f"10.0.0.{id_}:{PORT}", table.VOTER) for id_ in (LEADER, *FOLLOWERS)]
    fields = {"term": TERM, "last_index": index, "last_term": TERM, "conf_index": 1}
    empty, short = (
        wire.encode_message(table.INSTALL_SNAPSHOT, fields, layout=LAYOUT, configuration=servers, data=data)
        for data in (b"", b"x")
    )
    # The payload is never in memory as a whole; the word that says its size is the one in which these two differ.
    word = next(at for at, (one, other) in enumerate(zip(empty, short, strict=False)) if one != other)
    head = empty[:word] + struct.pack("<Q", size) + empty[word + 8 :]
    block += block[:segment]
    yield head + block[: min(size, segment - len(head))]
    for start in range(segment - len(head), size, segment):
        begin = start % (len(block) - segment)
        yield block[begin : begin + min(segment, size - start)]


def small_messages(messages: int) -> Packets:
    """Small messages: each in a packet of its own, each acknowledged by another packet.

    Every entry goes to both followers, and every fourth pair of messages to them is a pair of heartbeats.
    """
    cluster = Cluster()
    yield from cluster.opening()
    for number in range(messages):
        follower = FOLLOWERS[number // 2 % 2]
        heartbeat = number // 4 % 4 == 0
        if number % 2 == 0:
            cluster.index += number % 4 == 0 and not heartbeat
            flow, message = cluster.flows[LEADER, follower], cluster.append(b"" if heartbeat else b"command!")
        else:
            flow, message = cluster.flows[follower, LEADER], cluster.result()
        yield flow.packet(message), 1
        yield flow.acknowledgement(), 0
