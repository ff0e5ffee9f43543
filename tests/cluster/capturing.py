"""What tcpdump captures in a namespace while something happens there."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.cluster.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

ETHERTYPE = 0x88B5
"""For local experiments (IEEE 802)."""
BUFFER_KIB = 32768


class Capture:
    """A tcpdump that has every packet from the beginning of the `with` block to its end.

    The file ends with frames of an EtherType for experiments: when the first of them is in it, so is everything before.
    Raises OSError at the end when the kernel dropped packets, and at the beginning when tcpdump does not run.
    """

    def __init__(
        self, path: Path, command: Sequence[str], interface: str, socket_there: Callable[..., socket.socket]
    ) -> None:
        """`command` goes before tcpdump, and `socket_there` makes sockets, in the namespace of the interface."""
        self.path = path
        self._command = command
        self._interface = interface
        self._socket_there = socket_there
        self._undo = ExitStack()

    def __enter__(self) -> Capture:
        with ExitStack() as undo:
            errors = undo.enter_context(self.path.with_suffix(".log").open("w+"))
            arguments = ["-i", self._interface, "-w", str(self.path), "-s", "0", "-B", str(BUFFER_KIB)]
            process = subprocess.Popen(
                [*self._command, "tcpdump", *arguments, "-U", "-Z", "root", "--time-stamp-precision=nano"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
            undo.callback(_end, process)
            wait_for("the beginning of the capture", lambda: self._begun(process))
            self._process = process
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._undo:
            if kind is None:
                self._catch_up()
        if kind is None:
            dropped = re.search(r"^([1-9]\d*) packets? dropped by kernel", self._said, re.MULTILINE)
            if dropped:
                raise OSError(f"{self.path}: {dropped[1]} packets were dropped by the kernel")

    @property
    def _said(self) -> str:
        return self.path.with_suffix(".log").read_text()

    def _begun(self, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            raise OSError(f"tcpdump on {self._interface}: {self._said.strip()}")
        return "listening on" in self._said

    def _catch_up(self) -> None:
        """Wait until all packets that were captured are in the file: tcpdump gets them from the kernel in blocks."""
        mark = os.urandom(24)
        interface = "lo" if self._interface == "any" else self._interface
        start = self.path.stat().st_size
        with self._socket_there(socket.AF_PACKET, socket.SOCK_RAW) as sender, self.path.open("rb") as file:
            sender.bind((interface, 0))
            frame = bytes(12) + ETHERTYPE.to_bytes(2, "big") + mark
            sender.send(frame)
            written = b""

            def arrived() -> bool:
                nonlocal written
                written = written[-100:] + file.read()
                return mark in written

            file.seek(max(0, start - 100))
            wait_for("the end of the capture", arrived)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()
