"""Where servers are found: the addresses by which packets, handshakes and configurations name the same server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.values import Endpoint

if TYPE_CHECKING:
    from raft_dissect.values import Stream

_DEFAULT_PORT = "8080"


def is_literal(host: str) -> bool:
    """Whether a host is an IP address, and not a name."""
    return ":" in host or host.replace(".", "").isdigit()


def is_loopback(host: str) -> bool:
    """Whether a host is an address of the machine itself."""
    return host.startswith("127.") or host == "::1"


def split(address: str) -> tuple[str, str]:
    """Host and port of an advertised address; the port that servers take when it names none (section 1.1)."""
    host, colon, port = address.rpartition(":")
    return (host.strip("[]"), port) if colon else (address, _DEFAULT_PORT)


def port_of(stream: Stream) -> int | None:
    """The port at which the sender of a stream listens on its host; None when that is not known.

    A server that advertises the address of another host than it connects from is reached through something else.
    """
    if stream.handshake is None or not stream.handshake.address:
        return None
    host, port = split(stream.handshake.address)
    if is_literal(host) and host != stream.source.host:
        return None
    return int(port) if port.isascii() and port.isdigit() and len(port) < 6 else None


def configured_key(address: str, stream: Stream) -> str | None:
    """An advertised address as one place in the network; None if it may be another place for somebody else."""
    host, port = split(address)
    if not is_literal(host) or (is_loopback(host) and not is_loopback(stream.source.host)):
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def keys_of(stream: Stream) -> list[str]:
    """The places in the network at which the two ends of a stream listen, as far as it says."""
    keys = [str(stream.destination)]
    port = port_of(stream)
    if port is not None:
        keys.append(str(Endpoint(stream.source.host, port)))
    if stream.handshake is not None and stream.handshake.address:
        key = configured_key(stream.handshake.address, stream)
        if key is not None:
            keys.append(key)
    return keys
