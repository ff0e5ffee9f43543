"""Make the captures of the benchmarks, byte for byte the same every time.

    python benchmarks/captures.py DIRECTORY [NAME...]

Every capture is classic pcap with microseconds, Ethernet and IPv4: a leader, server 1, and two followers, each pair
with one connection per direction from its SYN on. What a capture holds is returned by its function, so a benchmark can
say how many of the messages were found.
"""

from __future__ import annotations

import random
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from raft_dissect import wire  # noqa: E402 (the checkout must be found first)
from raft_dissect.wire import table  # noqa: E402 (as above)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PORT = 9001
_BEGIN = 1_700_000_000
_LEADER = 1
_FOLLOWERS = (2, 3)
_MSS = 1448
_OFFLOAD = 64_000
_SYN, _PUSH_ACK, _ACK = 2, 24, 16
_FILE_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
_RECORD = struct.Struct("<IIII")
_IP = struct.Struct(">BBHHHBBH4s4s")
_TCP = struct.Struct(">HHIIBBHHH")
_TERM = 2


class Made(NamedTuple):
    """What a capture holds."""

    packets: int
    messages: int
    """Messages that were sent."""
    captured: int
    """Messages of which every byte is in the capture."""


class _Flow:
    """One connection from one server to another, which carries data one way."""

    def __init__(self, sender: int, receiver: int, port: int) -> None:
        self._out = _ends(sender, receiver), port, PORT
        self._back = _ends(receiver, sender), PORT, port
        self._sequence = 1_000_000 * sender + 1000 * receiver
        self.sent = 0
        self.opening = wire.encode_handshake("raft", sender, f"10.0.0.{sender}:{PORT}")

    def packet(self, data: bytes, flags: int = _PUSH_ACK) -> bytes:
        """A packet with the next bytes of the stream."""
        sequence = self._sequence
        self._sequence = (sequence + (len(data) or (flags == _SYN))) & 0xFFFFFFFF
        return _packet(*self._out, sequence, 1, flags, data)

    def acknowledgement(self) -> bytes:
        """The receiver's acknowledgement of all that was sent."""
        return _packet(*self._back, 1, self._sequence, _ACK, b"")


def _ends(source: int, destination: int) -> bytes:
    return bytes((10, 0, 0, source, 10, 0, 0, destination))


def _packet(ends: bytes, source: int, destination: int, sequence: int, ack: int, flags: int, data: bytes) -> bytes:
    ethernet = b"\x02\0\0\0\0" + ends[7:8] + b"\x02\0\0\0\0" + ends[3:4] + b"\x08\0"
    # A length of 0 is what a segment has that the network card will cut.
    length = 40 + len(data) if len(data) < 65_000 else 0
    ip = _IP.pack(0x45, 0, length, 0, 0x4000, 64, 6, 0, ends[:4], ends[4:])
    return ethernet + ip + _TCP.pack(source, destination, sequence, ack, 0x50, flags, 65535, 0, 0) + data


class _Cluster:
    """Writes what a leader and two followers say to each other."""

    def __init__(self) -> None:
        pairs = [(_LEADER, f) for f in _FOLLOWERS] + [(f, _LEADER) for f in _FOLLOWERS]
        self.flows = {pair: _Flow(*pair, 40_000 + number) for number, pair in enumerate(pairs)}
        self.index = 1

    def opening(self) -> Iterator[bytes]:
        for flow in self.flows.values():
            yield flow.packet(b"", _SYN)
            yield flow.packet(flow.opening)

    def append(self, data: bytes) -> bytes:
        """An AppendEntries message with one entry, or a heartbeat."""
        fields = {"term": _TERM, "prev_log_index": self.index, "prev_log_term": _TERM, "leader_commit": self.index}
        entries = [(_TERM, table.COMMAND, data)] if data else []
        return wire.encode_message(table.APPEND_ENTRIES, fields, layout="c-0.18.0", entries=entries)

    def result(self) -> bytes:
        fields = {"term": _TERM, "last_log_index": self.index}
        return wire.encode_message(table.APPEND_ENTRIES_RESULT, fields, layout="c-0.18.0")


def _small(messages: int) -> Iterator[tuple[bytes, int]]:
    """Small messages: each in a packet of its own, each acknowledged by another packet."""
    cluster = _Cluster()
    for packet in cluster.opening():
        yield packet, 0
    for number in range(messages):
        follower = _FOLLOWERS[number // 2 % 2]
        if number % 2 == 0:
            cluster.index += 1
            flow, message = cluster.flows[_LEADER, follower], cluster.append(b"command!" if number % 8 else b"")
        else:
            flow, message = cluster.flows[follower, _LEADER], cluster.result()
        yield flow.packet(message), 1
        yield flow.acknowledgement(), 0


def _appends(total: int, segment: int) -> Iterator[tuple[bytes, int]]:
    """AppendEntries of 4 to 64 KiB, `total` bytes in all, cut into segments, and their results."""
    sizes = random.Random(7)
    content = sizes.randbytes(64 * 1024)
    cluster = _Cluster()
    for packet in cluster.opening():
        yield packet, 0
    sent = 0
    while sent < total:
        cluster.index += 1
        message = cluster.append(content[: sizes.randrange(4, 65) * 1024])
        for follower in _FOLLOWERS:
            out, back = cluster.flows[_LEADER, follower], cluster.flows[follower, _LEADER]
            for start in range(0, len(message), segment):
                data = message[start : start + segment]
                yield out.packet(data), start + len(data) == len(message)
            yield back.packet(cluster.result()), 1
            sent += len(message)


def _snapshots(count: int, size: int) -> Iterator[tuple[bytes, int]]:
    """Snapshots in segments of the usual size."""
    cluster = _Cluster()
    servers = [wire.Server(id_, f"10.0.0.{id_}:{PORT}", table.VOTER) for id_ in (_LEADER, *_FOLLOWERS)]
    for packet in cluster.opening():
        yield packet, 0
    data = random.Random(7).randbytes(1024 * 1024) * (size // (1024 * 1024))
    for _ in range(count):
        cluster.index += 1000
        fields = {"term": _TERM, "last_index": cluster.index, "last_term": _TERM, "conf_index": 1}
        message = wire.encode_message(
            table.INSTALL_SNAPSHOT, fields, layout="c-0.18.0", configuration=servers, data=data
        )
        out, back = cluster.flows[_LEADER, 2], cluster.flows[2, _LEADER]
        for start in range(0, len(message), _MSS):
            yield out.packet(message[start : start + _MSS]), start + _MSS >= len(message)
        yield back.packet(cluster.result()), 1


def _messy(packets: Iterator[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
    """One packet in ten comes up to five packets late, one in fifty twice."""
    chance = random.Random(11)
    late: list[tuple[int, bytes, int]] = []
    for number, (packet, messages) in enumerate(packets):
        if number > 20 and chance.random() < 0.1:
            late.append((number + chance.randrange(1, 6), packet, messages))
        else:
            yield packet, messages
            if chance.random() < 0.02:
                yield packet, 0
        for due in [item for item in late if item[0] <= number]:
            late.remove(due)
            yield due[1], due[2]
    for _, packet, messages in late:
        yield packet, messages


def _write(path: Path, packets: Iterator[tuple[bytes, int]]) -> Made:
    count = messages = 0
    with path.open("wb", buffering=1 << 20) as file:
        file.write(_FILE_HEADER)
        for packet, completed in packets:
            seconds, micros = divmod(count * 50, 1_000_000)
            file.write(_RECORD.pack(_BEGIN + seconds, micros, len(packet), len(packet)))
            file.write(packet)
            count += 1
            messages += completed
    return Made(count, messages, messages)


def _write_gappy(path: Path, total: int) -> Made:
    """Appends in small segments, of which one in a thousand was not captured."""
    chance = random.Random(13)
    sent = 0
    captured = 0

    def packets() -> Iterator[tuple[bytes, int]]:
        nonlocal sent, captured
        whole: dict[bytes, bool] = {}
        for number, (packet, completes) in enumerate(_appends(total, _MSS)):
            direction = packet[26:34]
            lost = number > 20 and chance.random() < 0.001
            whole[direction] = whole.get(direction, True) and not lost
            if not lost:
                yield packet, 0
            if completes:
                sent += 1
                captured += whole[direction]
                whole[direction] = True

    made = _write(path, packets())
    return Made(made.packets, sent, captured)


_MEGABYTE = 1024 * 1024
CAPTURES: dict[str, Callable[[Path, int], Made]] = {
    "small": lambda path, scale: _write(path, _small(50_000 * scale)),
    "appends": lambda path, scale: _write(path, _appends(100 * _MEGABYTE * scale, _MSS)),
    "offload": lambda path, scale: _write(path, _appends(100 * _MEGABYTE * scale, _OFFLOAD)),
    "messy": lambda path, scale: _write(path, _messy(_small(10_000 * scale))),
    "gappy": lambda path, scale: _write_gappy(path, 10 * _MEGABYTE * scale),
    "snapshots": lambda path, scale: _write(path, _snapshots(scale, 100 * _MEGABYTE)),
}
"""Each capture by name; at scale 10 `small` and `appends` have a million packets and more, and `appends` a gigabyte."""


def main() -> None:
    """Write the captures that are named, or all, at scale 10."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or CAPTURES:
        print(name, CAPTURES[name](directory / f"{name}.pcap", 10))


if __name__ == "__main__":
    main()
