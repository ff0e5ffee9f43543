"""Network namespaces of the tests' own, what is sent in them, and what is captured there."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from raft_dissect.columns import PacketBlock
from raft_dissect.values import CaptureProblem, Packet, TimePassed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from raft_dissect.capture.interfaces import LiveCapture

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_PATIENCE = 20
"""Seconds after which something that must come is not waited for any more."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make network namespaces and capture")


@contextmanager
def new_namespace() -> Iterator[None]:
    """Be in a network namespace of one's own, whose loopback device is up; so are programs that are started."""
    with open("/proc/thread-self/ns/net", "rb") as before:
        assert _LIBC.unshare(_CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            ip("link set lo up")
            yield
        finally:
            assert _LIBC.setns(before.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


def ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True, timeout=_PATIENCE)


def veth(name: str = "v0", peer: str = "v1") -> None:
    """Two devices like the ends of a cable, without anything on them that speaks by itself."""
    ip(f"link add {name} address 02:00:00:00:00:01 type veth peer name {peer} address 02:00:00:00:00:02")
    for each in (name, peer):
        ip(f"link set {each} addrgenmode none")
        ip(f"link set {each} up")


@contextmanager
def sender(device: str) -> Iterator[socket.socket]:
    """What is sent with it goes out of a device as it is."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sending:
        sending.bind((device, 0))
        yield sending


def send(device: str, frames: Sequence[bytes]) -> None:
    with sender(device) as sending:
        for frame in frames:
            sending.send(frame)


def exchange(size: int, host: str = "127.0.0.1") -> int:
    """Send so many bytes over a TCP connection, which is closed in the end; give the port of the server."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port: int = server.getsockname()[1]
        client = threading.Thread(target=_send_all, args=((host, port), size))
        client.start()
        connection, _ = server.accept()
        with connection:
            while connection.recv(1 << 20):
                pass
        client.join()
    return port


def _send_all(address: tuple[str, int], size: int) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(bytes(size))


Item = PacketBlock | CaptureProblem | TimePassed


class Captured(NamedTuple):
    packets: list[Packet]
    problems: list[CaptureProblem]
    interfaces: list[str]
    """Of each packet."""


def capture_until(capture: LiveCapture, enough: Callable[[Captured], bool]) -> Captured:
    """Read a capture until it is enough, and what comes then before its end."""
    captured = Captured([], [], [])
    deadline = time.monotonic() + _PATIENCE
    for item in capture.blocks():
        take(capture, item, captured)
        if enough(captured):
            capture.stop()
        assert time.monotonic() < deadline, f"it is not enough: {len(captured.packets)} packets, {captured.problems}"
    return captured


def take(capture: LiveCapture, item: Item, captured: Captured) -> None:
    """Add an item to what was captured."""
    if isinstance(item, PacketBlock):
        captured.packets.extend(item)
        numbers = getattr(item.columns, "interfaces")[item.begin : item.end]  # noqa: B009 - of live columns alone
        captured.interfaces.extend(capture.names[number] for number in numbers)
    elif isinstance(item, CaptureProblem):
        captured.problems.append(item)


def packets_of(capture: LiveCapture, number: int) -> list[Packet]:
    """So many packets, after which nothing more comes, nor anything goes wrong."""
    captured = capture_until(capture, lambda so_far: len(so_far.packets) >= number)
    assert len(captured.packets) == number
    assert captured.problems == []
    return captured.packets


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def tag(number: int, kind: int = 0x8100) -> bytes:
    """A tag of IEEE 802.1Q."""
    return struct.pack(">HH", kind, number)
