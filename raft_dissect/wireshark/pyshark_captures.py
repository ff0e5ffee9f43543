"""pyshark's captures, with processes that end when they should: this module imports pyshark, which is slow."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from lxml import objectify  # pyshark needs it
from packaging.version import Version  # pyshark needs it too
from pyshark.capture.capture import Capture, StopCapture
from pyshark.capture.file_capture import FileCapture
from pyshark.capture.live_capture import LiveCapture
from pyshark.tshark.output_parser.tshark_xml import packet_from_xml_packet

from raft_dissect.wireshark.errors import DissectorError
from raft_dissect.wireshark.pyshark_programs import Programs

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from raft_dissect.wireshark.pyshark_setup import Tshark

_END = b"</packet>"
_BEGIN = b"<packet>"
_PARSER = objectify.makeparser(huge_tree=True, recover=True, encoding="utf-8")  # as pyshark makes it
_NOT_XML = bytes(set(range(0x20)) - set(b"\t\n\r"))
_NOT_CHARACTERS = ("\ufffe".encode(), "\uffff".encode())
_LUA_ERROR = re.compile(rb' name="_ws\.lua\.error" showname="([^"]*craft\.lua[^"]*)"')


class Cutter:
    """Cuts tshark's XML into packets; looks at each byte once, however large a packet is."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def cut(self, data: bytes) -> Iterator[bytes]:
        """The packets that end in this next piece."""
        waiting = self._waiting
        start, seen = 0, max(0, len(waiting) - len(_END))
        waiting += data
        while (end := waiting.find(_END, seen)) >= 0:
            end += len(_END)
            yield bytes(waiting[waiting.index(_BEGIN, start) : end])
            start = seen = end
        del waiting[:start]


class _OwnProcesses(Capture):  # type: ignore[misc] # pyshark has no types
    """What is the same for files and interfaces: reading without an event loop, and closing.

    pyshark drives its processes by asyncio: it sets the child watcher of the whole program, cannot be used where a loop
    runs, and leaves pipes open. Here it makes the arguments of tshark and the packets, and no more.
    """

    _tshark: Tshark
    _programs: set[Programs]

    def _setup_eventloop(self) -> None:
        """There is none."""

    def _get_tshark_path(self) -> str:
        return self._tshark.path

    def _get_tshark_version(self) -> Version:
        return Version(self._tshark.version)

    def _commands(self) -> list[list[str]]:
        return [[self._tshark.path, "-l", "-n", "-T", "pdml", *self.get_parameters()]]

    def _packets_from_tshark_sync(
        self, packet_count: int | None = None, existing_process: None = None
    ) -> Iterator[Any]:
        del existing_process  # pyshark itself never gives one
        return self._read(packet_count, None)

    def _read(self, packet_count: int | None, deadline: float | None) -> Iterator[Any]:
        self._verify_capture_parameters()
        with Programs(self._commands()) as programs:
            self._programs.add(programs)
            try:
                yield from self._packets_of(programs, packet_count, deadline)
            finally:
                self._programs.discard(programs)

    def _packets_of(self, programs: Programs, packet_count: int | None, deadline: float | None) -> Iterator[Any]:
        cutter = Cutter()
        count = 0
        while data := programs.read(deadline):
            for xml in cutter.cut(data):
                _check(xml)
                yield _packet(xml)
                count += 1
                if count == packet_count or programs.closed:
                    return
        programs.finish()

    def apply_on_packets(
        self, callback: Callable[[Any], object], timeout: float | None = None, packet_count: int | None = None
    ) -> None:
        """Call `callback` with each packet; it may raise pyshark's StopCapture.

        Raises TimeoutError after `timeout` seconds.
        """
        packets = self._read(packet_count, None if timeout is None else time.monotonic() + timeout)
        try:
            for packet in packets:
                callback(packet)
        except StopCapture:
            pass
        finally:
            packets.close()  # type: ignore[attr-defined] # it is a generator

    async def packets_from_tshark(self, *arguments: object, **options: object) -> None:
        """Not offered: a capture is read in the caller's own thread; `asyncio.to_thread` gives it another one."""
        raise NotImplementedError("read without asyncio: use asyncio.to_thread(capture.load_packets)")

    def close(self) -> None:
        """End the processes and close what is open; iterating goes no further."""
        for programs in tuple(self._programs):
            programs.close()
        self._programs.clear()

    async def close_async(self) -> None:
        """The same."""
        self.close()

    def __del__(self) -> None:
        for programs in getattr(self, "_programs", ()):
            programs.close()


class RaftFileCapture(_OwnProcesses, FileCapture):  # type: ignore[misc] # pyshark has no types
    """A pyshark.FileCapture that knows C-Raft."""

    def __init__(self, tshark: Tshark, path: str | os.PathLike[str], options: dict[str, Any]) -> None:
        self._tshark = tshark
        self._programs = set()
        super().__init__(input_file=path, **options)


class RaftLiveCapture(_OwnProcesses, LiveCapture):  # type: ignore[misc] # pyshark has no types
    """A pyshark.LiveCapture that knows C-Raft."""

    def __init__(
        self,
        tshark: Tshark,
        interfaces: Sequence[str],
        bpf_filter: str | None,
        monitor_mode: bool,
        options: dict[str, Any],
    ) -> None:
        self._tshark = tshark
        self._programs = set()
        # Not the constructor of LiveCapture: it starts tshark only to ask it which interfaces there are.
        Capture.__init__(self, **options)
        self.interfaces = list(interfaces)
        self.bpf_filter = bpf_filter
        self.monitor_mode = monitor_mode

    def _verify_capture_parameters(self) -> None:
        """Whether an interface is there, dumpcap says itself."""

    def get_parameters(self, packet_count: int | None = None) -> list[str]:
        """What tshark is called with, beside its output: it reads what dumpcap writes.

        With `-i -`, as pyshark has it, tshark would start a second dumpcap, which writes all packets into a file.
        """
        parameters: list[str] = Capture.get_parameters(self, packet_count=packet_count)
        return [*parameters, "-r", "-"]

    def _commands(self) -> list[list[str]]:
        return [[self._tshark.dumpcap(), *self._get_dumpcap_parameters()], *super()._commands()]


def _packet(xml: bytes) -> Any:
    """Make a packet of pyshark from one of tshark's.

    pyshark takes out what cannot be in XML character by character, which takes as long as all the rest.
    """
    xml = xml.translate(None, _NOT_XML).decode(errors="ignore").encode()
    for character in _NOT_CHARACTERS:
        xml = xml.replace(character, b"")
    return packet_from_xml_packet(objectify.fromstring(xml, _PARSER))


def _check(xml: bytes) -> None:
    """Raise DissectorError when our script failed at this packet."""
    failure = _LUA_ERROR.search(xml)
    if failure:
        raise DissectorError(f"the dissector failed at a packet: {failure[1].decode(errors='replace')}")
