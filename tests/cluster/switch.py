"""A switch in user space that loses, delays and reorders what it forwards, as told for each direction.

This file is also the program of the process that forwards: Python alone, without the modules of the tests.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import selectors
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

ALL_PROTOCOLS = 3
MAX_FRAME = 65600
SO_RCVBUFFORCE = 33
BUFFER_BYTES = 8 << 20
HOLD_SECONDS = 0.05
"""How long a frame that is to be overtaken waits for one that overtakes it."""
IP_TYPES = (b"\x08\x00", b"\x86\xdd")


class Rule(NamedTuple):
    """What happens to the IP packets from one host to another. All else, ARP for one, only minds `cut`."""

    loss: float = 0.0
    """The share that is lost, 0 to 1."""
    delay: float = 0.0
    """Seconds that each is held back."""
    jitter: float = 0.0
    """Seconds that each is held back beyond that, at most: what is held back less overtakes the others."""
    reorder: float = 0.0
    """The share that lets the next one pass first, 0 to 1."""
    cut: bool = False
    """Whether everything is lost."""


class Switch:
    """The process that forwards, and the commands that it takes."""

    def __init__(self, command: Sequence[str], seed: int) -> None:
        """`command` goes before the program, so that it runs where its ports are."""
        self._command = command
        self._seed = seed

    def __enter__(self) -> Switch:
        self._process = subprocess.Popen(
            [*self._command, sys.executable, __file__, str(self._seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            self._process.kill()

    @property
    def pid(self) -> int:
        """Of the process that forwards."""
        return self._process.pid

    def add_port(self, host: int, interface: str, mac: str) -> None:
        """Connect a host, which has this hardware address."""
        self._do("port", host=host, interface=interface, mac=mac)

    def set(self, source: int, destination: int, **rule: float | bool) -> None:
        """From now on, do this to what one host sends to another: the fields of `Rule`, the others as by default."""
        self._do("set", source=source, destination=destination, rule=rule)

    def set_all(self, **rule: float | bool) -> None:
        """From now on, do this in all directions between the hosts that are connected."""
        self._do("set_all", rule=rule)

    def heal(self) -> None:
        """From now on, forward everything at once and in order."""
        self._do("heal")

    def statistics(self, source: int, destination: int) -> dict[str, int]:
        """How many packets were `taken` from one host for another, `forwarded`, `lost`, `delayed` and `reordered`."""
        counts: dict[str, int] = self._do("statistics", source=source, destination=destination)
        return counts

    def _do(self, command: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        answer = json.loads(self._process.stdout.readline() or '{"error": "the switch has ended"}')
        if "error" in answer:
            raise OSError(f"switch: {command}: {answer['error']}")
        return answer["answer"]


class _Port(NamedTuple):
    host: int
    socket: socket.socket
    mac: bytes


class _Direction:
    """What goes from one port to another."""

    def __init__(self, source: _Port, destination: _Port, seed: int) -> None:
        self.destination = destination
        self.rule = Rule()
        self.chances = random.Random(f"{seed} {source.host} {destination.host}")
        self.counts = dict.fromkeys(("taken", "forwarded", "lost", "delayed", "reordered"), 0)
        self.held: bytes | None = None
        """A frame that waits for one that overtakes it."""


class _Waiting(NamedTuple):
    due: float
    number: int
    """In the order in which they came, among those that are due at the same time."""
    direction: _Direction
    frame: bytes
    held: bool
    """Whether it is for one that overtakes it that it waits: then it may be gone already."""


class _Forwarder:
    """Takes frames from its ports, and gives each to the port that it is for when its time has come."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._ports: list[_Port] = []
        self._directions: dict[tuple[int, int], _Direction] = {}
        self._waiting: list[_Waiting] = []
        self._numbered = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        self._input = b""

    def run(self) -> None:
        """Forward until standard input ends."""
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.data is not None:
                    self._take(key.data)
                elif not self._read_commands():
                    return
            self._forward_due()

    # Commands

    def _read_commands(self) -> bool:
        data = os.read(sys.stdin.fileno(), 65536)
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            arguments = json.loads(line)
            try:
                answer = {"answer": getattr(self, f"do_{arguments.pop('command')}")(**arguments)}
            except (OSError, TypeError, KeyError) as error:
                answer = {"error": repr(error)}
            print(json.dumps(answer), flush=True)
        return bool(data)

    def do_port(self, host: int, interface: str, mac: str) -> None:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        opened.bind((interface, ALL_PROTOCOLS))
        opened.setblocking(False)
        port = _Port(host, opened, bytes.fromhex(mac.replace(":", "")))
        for other in self._ports:
            self._directions[host, other.host] = _Direction(port, other, self._seed)
            self._directions[other.host, host] = _Direction(other, port, self._seed)
        self._ports.append(port)
        self._selector.register(opened, selectors.EVENT_READ, port)

    def do_set(self, source: int, destination: int, rule: dict[str, Any]) -> None:
        self._directions[source, destination].rule = Rule(**rule)

    def do_set_all(self, rule: dict[str, Any]) -> None:
        for direction in self._directions.values():
            direction.rule = Rule(**rule)

    def do_heal(self) -> None:
        self.do_set_all({})

    def do_statistics(self, source: int, destination: int) -> dict[str, int]:
        return self._directions[source, destination].counts

    # Frames

    def _take(self, port: _Port) -> None:
        for _ in range(64):  # then the others have their turn
            try:
                frame, address = port.socket.recvfrom(MAX_FRAME)
            except BlockingIOError:
                return
            except OSError:  # the interface is down for the moment
                return
            if address[2] == socket.PACKET_OUTGOING:
                continue
            to_all = frame[0] & 1
            for other in self._ports:
                if other is not port and (to_all or frame[:6] == other.mac):
                    self._treat(self._directions[port.host, other.host], frame, to_all)

    def _treat(self, direction: _Direction, frame: bytes, to_all: int) -> None:
        rule, counts = direction.rule, direction.counts
        if rule.cut or to_all or frame[12:14] not in IP_TYPES:
            if not rule.cut:
                _sent(direction, frame)
            return
        counts["taken"] += 1
        # Each packet takes the same numbers, so that what happens to one does not depend on what happens to others.
        lost, reordered, late = (direction.chances.random() for _ in range(3))
        if lost < rule.loss:
            counts["lost"] += 1
            return
        held, direction.held = direction.held, None
        if held is None and reordered < rule.reorder:
            counts["reordered"] += 1
            direction.held = frame
            self._push(time.monotonic() + HOLD_SECONDS, direction, frame, held=True)
            return
        self._pass(direction, frame, rule.delay + late * rule.jitter)
        if held is not None:
            self._pass(direction, held, rule.delay + late * rule.jitter)

    def _pass(self, direction: _Direction, frame: bytes, delay: float) -> None:
        if delay > 0:
            direction.counts["delayed"] += 1
            self._push(time.monotonic() + delay, direction, frame)
        else:
            self._forward(direction, frame)

    def _push(self, due: float, direction: _Direction, frame: bytes, held: bool = False) -> None:
        self._numbered += 1
        heapq.heappush(self._waiting, _Waiting(due, self._numbered, direction, frame, held))

    def _patience(self) -> float | None:
        return max(0.0, self._waiting[0].due - time.monotonic()) if self._waiting else None

    def _forward_due(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0].due <= now:
            item = heapq.heappop(self._waiting)
            if not item.held:
                self._forward(item.direction, item.frame)
            elif item.direction.held is item.frame:
                item.direction.held = None
                self._forward(item.direction, item.frame)

    @staticmethod
    def _forward(direction: _Direction, frame: bytes) -> None:
        direction.counts["forwarded" if _sent(direction, frame) else "lost"] += 1


def _sent(direction: _Direction, frame: bytes) -> bool:
    try:
        direction.destination.socket.send(frame)
    except OSError:  # the interface is down, or its queue is full: lost, as on any network
        return False
    return True


if __name__ == "__main__":
    _Forwarder(int(sys.argv[1])).run()
