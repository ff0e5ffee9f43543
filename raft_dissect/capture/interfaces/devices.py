"""The network devices of this machine, or of the network namespace that the process is in."""

from __future__ import annotations

import fcntl
import fnmatch
import socket
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.capture.interfaces.ring_scan import LINK_ETHERNET, LINK_RAW, WITH_ETHERNET

if TYPE_CHECKING:
    from collections.abc import Sequence

_UP = 1
"""IFF_UP of linux/if.h."""
_SIOCGIFFLAGS, _SIOCGIFHWADDR = 0x8913, 0x8927
_NAME_SIZE = 16
_REQUEST = struct.Struct("16s24x")
"""`struct ifreq` of linux/if.h."""
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
    link_type: int
    """The LINKTYPE_ number of packets that are captured on it: Ethernet, or raw IP."""


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

    def _device(self, ifindex: int, name: str) -> Device | None:
        try:
            flags, hardware = (self._ask(request, name) for request in (_SIOCGIFFLAGS, _SIOCGIFHWADDR))
        except OSError:
            return None  # it went away meanwhile
        return Device(name, ifindex, bool(flags & _UP), LINK_ETHERNET if hardware in WITH_ETHERNET else LINK_RAW)

    def _ask(self, request: int, name: str) -> int:
        """The 16 bits with which the kernel's answer begins."""
        answer = fcntl.ioctl(self._socket, request, _REQUEST.pack(name.encode()))
        return int.from_bytes(answer[_NAME_SIZE : _NAME_SIZE + 2], sys.byteorder)

    def _forget_changes(self) -> None:
        # It ends when there are no more of them, and also when there were too many to keep.
        with suppress(OSError):
            while self._changes is not None and self._changes.recv(_MESSAGES):
                pass


def _open_changes() -> socket.socket | None:
    """A netlink socket that gets a message for each change of a device; their content is not needed."""
    try:
        changes = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        changes.setblocking(False)
        changes.bind((0, _LINK_GROUP))
    except OSError:
        return None
    return changes
