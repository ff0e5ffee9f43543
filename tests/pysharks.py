"""What the tests of pyshark share: where they run, what a process holds, and a capture of so many heartbeats."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

from raft_dissect import wire
from raft_dissect.wire import table
from tests.packets import Address, Connection, capture
from tests.wireshark import write

needs_pyshark = pytest.mark.skipif(
    find_spec("pyshark") is None or shutil.which("tshark") is None, reason="pyshark or tshark is not installed"
)


def skip_where_pyshark_cannot_be() -> None:
    """Skip a whole module, which is no failure in CI, on a Python for which the extra does not install pyshark."""
    if sys.version_info >= (3, 14):
        pytest.skip("pyshark 0.6, its last release, was made for Python up to 3.13", allow_module_level=True)


def children() -> set[int]:
    """The process ids of what this process has started and not waited for."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(number) for each in lists for number in each.read_text().split()}


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def memory() -> int:
    """Bytes of memory that this process takes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def heartbeat(index: int) -> bytes:
    fields = {"term": 2, "prev_log_index": index, "prev_log_term": 2, "leader_commit": index}
    return wire.encode_message(table.APPEND_ENTRIES, fields)


def heartbeats(connections: int) -> tuple[list[bytes], int]:
    """So many connections of 100 packets and 60 heartbeats each, and how many heartbeats these are.

    Some packets hold two and some only one half of one; each is acknowledged. Their prev_log_index counts from 1.
    """
    frames: list[bytes] = []
    sent = 0
    for number in range(connections):
        connection = Connection(Address("10.0.0.1", 20000 + number), Address("10.0.0.2", 9001))
        frames += connection.opening()
        frames.append(connection.data(0, _HANDSHAKE))
        offset = len(_HANDSHAKE)
        for _ in range(6):
            for piece in _pieces(sent):
                frames.append(connection.data(offset, piece))
                offset += len(piece)
                frames.append(connection.ack(offset))
            sent += 10
    return frames, sent


_HANDSHAKE = wire.encode_handshake("raft", 1, "10.0.0.1:9001")


def _pieces(sent: int) -> list[bytes]:
    """The next ten heartbeats, for eight packets."""
    each = [heartbeat(sent + place) for place in range(1, 11)]
    halves = [each[7][:30], each[7][30:]]
    return [*each[:3], b"".join(each[3:5]), b"".join(each[5:7]), *halves, b"".join(each[8:])]


def write_heartbeats(path: Path, connections: int) -> int:
    """Write a capture of them; returns how many there are."""
    frames, sent = heartbeats(connections)
    assert len(frames) == 100 * connections
    write(path, capture(frames))
    return sent


class Votes(threading.Thread):
    """Opens a connection every now and then, on which it asks for a vote; each in a term of its own, from 1 on."""

    def __init__(self, port: int = 0) -> None:
        """It listens on 127.0.0.1 itself, on any port unless it is told one."""
        super().__init__()
        self.port = port
        self.stop = threading.Event()

    def run(self) -> None:
        with socket.create_server(("127.0.0.1", self.port)) as server:
            for term in range(1, 1000):
                with socket.create_connection(server.getsockname()) as client, server.accept()[0]:
                    vote = wire.encode_message(table.REQUEST_VOTE, {"term": term, "candidate_id": 7})
                    client.sendall(wire.encode_handshake("raft", 7, "127.0.0.1:9001") + vote)
                if self.stop.wait(0.05):
                    return

    def __enter__(self) -> Votes:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop.set()
        self.join()
