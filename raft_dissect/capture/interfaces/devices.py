"""The network devices of this machine, or of the network namespace that the process is in."""

from __future__ import annotations

import fcntl
import fnmatch
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_UP = 1
"""IFF_UP of linux/if.h."""
_SIOCGIFFLAGS = 0x8913
_LINK_GROUP = 1
"""RTMGRP_LINK of linux/rtnetlink.h."""
_WILDCARDS = frozenset("*?[")
_MESSAGES = 65536


class Device(NamedTuple):
    """A network device as it is now."""

    name: str
    ifindex: int
    """The kernel's number for it; a device that is made anew has another one."""
    is_up: bool


def is_pattern(name: str) -> bool:
    """Whether a name is a shell pattern."""
    return not _WILDCARDS.isdisjoint(name)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name fits one of some shell patterns."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


class Devices:
    """Looks which devices there are; it needs no privileges."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._changes = _open_changes()

    @property
    def changes(self) -> int | None:
        """The number of a file that becomes readable when a device changed; None if the kernel does not tell."""
        return None if self._changes is None else self._changes.fileno()

    def now(self) -> dict[str, Device]:
        """The devices that there are now, by their names."""
        self._forget_changes()
        devices = (self._device(index, name) for index, name in socket.if_nameindex())
        return {device.name: device for device in devices if device is not None}

    def close(self) -> None:
        """Look no more."""
        self._socket.close()
        if self._changes is not None:
            self._changes.close()

    def _device(self, index: int, name: str) -> Device | None:
        request = struct.pack("16s24x", name.encode())
        try:
            (flags,) = struct.unpack_from("H", fcntl.ioctl(self._socket, _SIOCGIFFLAGS, request), 16)
        except OSError:
            return None  # it went away meanwhile
        return Device(name, index, bool(flags & _UP))

    def _forget_changes(self) -> None:
        if self._changes is None:
            return
        try:
            while self._changes.recv(_MESSAGES):
                pass
        except OSError:
            pass  # there are no more, or there were too many to keep


def _open_changes() -> socket.socket | None:
    """A netlink socket that gets a message for each change of a device; their content is not needed."""
    try:
        changes = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        changes.setblocking(False)
        changes.bind((0, _LINK_GROUP))
    except OSError:
        return None
    return changes
