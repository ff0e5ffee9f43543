"""A network of the tests' own: a namespace for each server, joined by a bridge or by a switch that can do harm."""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import struct
import subprocess
import threading
from array import array
from contextlib import ExitStack
from fcntl import ioctl
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cluster.capturing import Capture
from tests.cluster.needs import has_iptables
from tests.cluster.switch import Switch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from types import TracebackType

BRIDGE = "br0"
ASIDE = "br1"
"""The bridge of those that were parted from the others."""
EDGE = "eth0"
"""The interface in a server's namespace."""
CLONE_NEWNET = 0x40000000
SIOCETHTOOL = 0x8946
ETHTOOL_SET_TX_CHECKSUM = 0x17

_numbers = itertools.count(1)


class Network:
    """Hosts 1, 2, 3 ... that reach one another, and nothing else.

    Each is a network namespace with the interface `eth0`. The other ends, `port(1)`, `port(2)` ... are in a namespace
    of their own, `hub`, where they are ports of the bridge `br0`, or of a `Switch`. A host of the number 0 is the hub
    itself, which takes part with an address of its own when there is a bridge.
    """

    def __init__(self, *, switched: bool = False, seed: int = 0) -> None:
        """`switched`: join the hosts by a switch, whose chances come from `seed`."""
        self._prefix = f"raft-{os.getpid()}-{next(_numbers)}"
        self.hub = f"{self._prefix}-hub"
        """The name of the namespace where the packets of all hosts pass by."""
        self.switch: Switch | None = None
        """What joins the hosts if it is not a bridge."""
        self._switched = switched
        self._seed = seed
        self._hosts: list[int] = []
        self._undo = ExitStack()

    def __enter__(self) -> Network:
        with ExitStack() as undo:
            self._make(self.hub, undo)
            if self._switched:
                self.switch = undo.enter_context(Switch(self.command(0), self._seed))
            else:
                self._make_bridges()
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    @property
    def hosts(self) -> tuple[int, ...]:
        """The numbers of the hosts."""
        return tuple(self._hosts)

    def namespace(self, host: int) -> str:
        """The name of a host's namespace, under /run/netns; 0 is the hub."""
        return f"{self._prefix}-{host}" if host else self.hub

    def command(self, host: int) -> tuple[str, ...]:
        """What to put before a command so that it runs in the namespace of a host, or of the hub for 0."""
        return ("ip", "netns", "exec", self.namespace(host))

    @staticmethod
    def port(host: int) -> str:
        """The interface in the hub that a host is connected to."""
        return f"veth{host}"

    @staticmethod
    def ip(host: int, version: int = 4) -> str:
        """The address of a host."""
        number = host or 254
        return f"10.77.0.{number}" if version == 4 else f"fd77::{number:x}"

    @staticmethod
    def mac(host: int) -> str:
        """The hardware address of a host."""
        return f"02:00:00:00:00:{host:02x}"

    def add(self, host: int) -> None:
        """Connect another host, 1 to 200."""
        namespace, port = self.namespace(host), self.port(host)
        self._make(namespace, self._undo)
        edge = f"name {EDGE} address {self.mac(host)} netns {namespace}"
        self._ip(
            self.hub, [f"link add {port} type veth peer {edge}", *self._joined(port, BRIDGE), f"link set {port} up"]
        )
        self._ip(
            namespace,
            [
                f"address add {self.ip(host)}/24 dev {EDGE}",
                f"address add {self.ip(host, 6)}/64 dev {EDGE} nodad",
                f"link set {EDGE} up",
            ],
        )
        if self.switch is not None:
            with self.socket(host, socket.AF_INET, socket.SOCK_DGRAM) as asker:
                _disable_offload(asker, EDGE)
            self.switch.add_port(host, port, self.mac(host))
        self._hosts.append(host)

    def socket(self, host: int, *arguments: Any) -> socket.socket:
        """A socket in the namespace of a host, or of the hub for 0; the arguments are those of `socket.socket`."""
        return in_namespace(self.namespace(host), *arguments)

    def capture(self, path: Path, interface: str = BRIDGE, host: int = 0) -> Capture:
        """What tcpdump captures while a `with` block lasts: in the hub, or in the namespace of a host.

        The bridge sees the packets of all hosts. With a switch there is no such place: each port sees what its own
        host sends and gets, and `any` sees each packet at both of its ports.
        """
        return Capture(path, self.command(host), interface, partial(self.socket, host))

    # Partitions

    def partition(self, group: Collection[int], how: str = "") -> None:
        """Part some hosts from all others; within the group, and among the others, everything goes on.

        `how`: "drop" has each host drop what comes from the other side, so that a capture in the hub still sees it,
        "bridge" moves the group to the bridge `br1`, and "link" takes the link from each host of the group, so that
        it is alone. By default the switch loses everything, if there is one; else "drop", or "bridge" where the kernel
        has no iptables.
        """
        others = [host for host in self._hosts if host not in group]
        if how == "link":
            self._ip(self.hub, [f"link set {self.port(host)} down" for host in group])
        elif how == "bridge" or (not how and self.switch is None and not has_iptables()):
            self._ip(self.hub, [line for host in group for line in self._joined(self.port(host), ASIDE)])
        else:
            for one, other in itertools.product(group, others):
                self.cut(one, other)
                self.cut(other, one)

    def cut(self, source: int, destination: int) -> None:
        """Lose everything from one host to another, in this direction only."""
        if self.switch is not None:
            self.switch.set(source, destination, cut=True)
            return
        for version, program in ((4, "iptables"), (6, "ip6tables")):
            self._run(destination, program, "-A", "INPUT", "-s", self.ip(source, version), "-j", "DROP")

    def heal(self) -> None:
        """Undo all partitions and cuts."""
        if self.switch is not None:
            self.switch.heal()
            self._ip(self.hub, [f"link set {self.port(host)} up" for host in self._hosts])
            return
        lines = [line for host in self._hosts for line in self._joined(self.port(host), BRIDGE)]
        self._ip(self.hub, lines + [f"link set {self.port(host)} up" for host in self._hosts])
        if has_iptables():
            for host in self._hosts:
                self._run(host, "iptables", "-F", "INPUT")
                self._run(host, "ip6tables", "-F", "INPUT")

    # How it is made

    def _make(self, namespace: str, undo: ExitStack) -> None:
        _run("ip", "netns", "add", namespace)
        undo.callback(_run, "ip", "netns", "delete", namespace)
        self._ip(namespace, ["link set lo up"])

    def _make_bridges(self) -> None:
        lines = []
        for name in (BRIDGE, ASIDE):
            lines += [
                f"link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                f"link set {name} up",
            ]
        lines.append(f"address add {self.ip(0)}/24 dev {BRIDGE}")
        lines.append(f"address add {self.ip(0, 6)}/64 dev {BRIDGE} nodad")
        self._ip(self.hub, lines)

    def _joined(self, port: str, bridge: str) -> list[str]:
        return [] if self.switch is not None else [f"link set {port} master {bridge}"]

    @staticmethod
    def _ip(namespace: str, lines: Iterable[str]) -> None:
        _run("ip", "-netns", namespace, "-batch", "-", text="\n".join(lines))

    def _run(self, host: int, *command: str) -> None:
        _run(*self.command(host), *command)


def in_namespace(namespace: str, *arguments: Any) -> socket.socket:
    """A socket in a network namespace; it stays there, whoever uses it.

    A namespace belongs to a thread, and the socket to the namespace of the thread that makes it: so a thread of its
    own makes it, and this process stays where it is.
    """
    made: list[socket.socket | OSError] = []

    def make() -> None:
        try:
            _enter(namespace)
            made.append(socket.socket(*arguments))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


def _enter(namespace: str) -> None:
    with Path("/run/netns", namespace).open() as file:
        library = ctypes.CDLL(None, use_errno=True)
        if library.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), namespace)


def _disable_offload(asker: socket.socket, interface: str) -> None:
    """Have the kernel compute checksums and cut segments itself, since a switch in user space could not."""
    value = array("I", [ETHTOOL_SET_TX_CHECKSUM, 0])
    ioctl(asker, SIOCETHTOOL, struct.pack("16sP", interface.encode(), value.buffer_info()[0]))


def _run(*command: str, text: str | None = None) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}{_quoted(text)}")


def _quoted(text: str | None) -> str:
    return f"\n{text}" if text else ""


def namespaces(prefix: str = "raft-") -> Sequence[str]:
    """The names of the namespaces that there are of networks like this."""
    folder = Path("/run/netns")
    return sorted(path.name for path in folder.glob(f"{prefix}*")) if folder.exists() else []
