"""Tell Scapy which TCP ports carry C-Raft."""

from __future__ import annotations

from scapy.layers.inet import TCP
from scapy.packet import split_bottom_up

from raft_dissect.layers.base import Raft


def bind(port: int, *ports: int) -> None:
    """Dissect what goes to and comes from these TCP ports as C-Raft, from now on.

    This goes before whatever else Scapy has at a port: 8080, dqlite's default, is HTTP otherwise.
    Raises ValueError for a number that is no port.
    """
    chosen = _checked(port, *ports)
    unbind(*chosen)
    mine = [({side: number}, Raft) for number in chosen for side in ("dport", "sport")]
    TCP.payload_guess = [*mine, *TCP.payload_guess]


def unbind(port: int, *ports: int) -> None:
    """Leave these TCP ports alone again; a port that is not bound stays as it is.

    Raises ValueError for a number that is no port.
    """
    for number in _checked(port, *ports):
        split_bottom_up(TCP, Raft, dport=number)
        split_bottom_up(TCP, Raft, sport=number)


def _checked(*ports: int) -> tuple[int, ...]:
    for port in ports:
        if not isinstance(port, int) or not 0 < port < 1 << 16:
            raise ValueError(f"{port} is no TCP port")
    return ports
