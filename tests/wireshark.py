"""What tshark says of a capture with the dissector that is shipped, as values that can be compared with ours."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from raft_dissect import wire
from raft_dissect.dissection import Dissection
from raft_dissect.values import Message
from raft_dissect.wireshark import SCRIPT
from tests.capture_files import PCAP_KINDS, pcap_header, pcap_record
from tests.transformations import Flows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from raft_dissect.values import Packet
    from tests.transformations import Flow

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

OUT_OF_ORDER = ("-o", "tcp.reassemble_out_of_order:TRUE")
_LINE = re.compile(
    r'(?P<indent> *)<(?P<tag>proto|field) name="(?P<name>[^"]*)"'
    r'(?: showname="(?P<title>[^"]*)")?[^>]*?(?: show="(?P<show>[^"]*)")?(?: value="(?P<value>[^"]*)")?/?>'
)


class Node(NamedTuple):
    """One item of the tree of a packet."""

    name: str
    title: str
    """What the tree shows."""
    show: str
    data: bytes
    children: list[Node]

    def all(self, name: str) -> list[Node]:
        """The items of this name, wherever they are below this one."""
        found = []
        for child in self.children:
            if child.name == name:
                found.append(child)
            found += child.all(name)
        return found

    def number(self, name: str) -> int:
        """The value of the only item of this name right below this one."""
        (child,) = (child for child in self.children if child.name == name)
        return int(child.show, 0)

    def text(self, name: str) -> str | None:
        """The same of a text; None when there is no such item."""
        texts = [child.show for child in self.children if child.name == name]
        return texts[0] if texts else None


class Shown(NamedTuple):
    """One thing that the dissector shows of a packet."""

    frame: int
    stream: int
    """Wireshark's tcp.stream."""
    item: Node


def tshark(*arguments: str) -> str:
    """What tshark prints; it must not complain about anything."""
    run = subprocess.run(["tshark", *arguments], capture_output=True, text=True, check=False)
    complaints = [line for line in run.stderr.splitlines() if not line.startswith("Running as user")]
    assert (run.returncode, complaints) == (0, [])
    assert "Lua Error" not in run.stdout
    return run.stdout


def dissected(path: Path | str, *options: str) -> list[Shown]:
    """Everything that the dissector shows of a capture."""
    script = f"lua_script:{SCRIPT}"
    output = tshark(
        "-X",
        script,
        "-r",
        str(path),
        *(() if "-2" in options else ("-Y", "craft")),
        "-T",
        "pdml",
        "-J",
        "craft tcp",
        *options,
    )
    return list(_read(output))


def _read(output: str) -> Iterator[Shown]:
    packet = _Packet()
    for line in output.splitlines():
        if line == "</packet>":
            yield from packet.shown()
            packet = _Packet()
        elif match := _LINE.match(line):
            packet.take(match)


class _Packet:
    """Takes the lines of one packet."""

    def __init__(self) -> None:
        self._frame = self._stream = -1
        self._path: list[tuple[int, Node]] = []
        self._found: list[Node] = []

    def take(self, match: re.Match[str]) -> None:
        name = match["name"]
        if name == "num":
            self._frame = int(match["show"] or re.findall(r' show="(\d+)"', match[0])[0])
        elif name == "tcp.stream":
            self._stream = int(match["show"])
        if match["tag"] == "proto":
            self._path.clear()
        if name.startswith(("craft", "_ws.expert")):
            self._add(match, len(match["indent"]))

    def _add(self, match: re.Match[str], depth: int) -> None:
        value = match["value"] or ""
        data = bytes.fromhex(value) if re.fullmatch(r"(?:[0-9a-f]{2})*", value) else b""
        node = Node(match["name"], html.unescape(match["title"] or ""), html.unescape(match["show"] or ""), data, [])
        while self._path and self._path[-1][0] >= depth:
            self._path.pop()
        if match["tag"] == "proto":
            self._found.append(node)
        elif self._path:
            self._path[-1][1].children.append(node)
        self._path.append((depth, node))

    def shown(self) -> Iterator[Shown]:
        for item in self._found:
            yield Shown(self._frame, self._stream, item)


def messages(shown: Sequence[Shown]) -> list[dict[str, Any]]:
    """The messages among what is shown, as records."""
    return [record(each) for each in shown if each.item.text("craft.layouts") or each.item.text("craft.payload_length")]


_NOT_OWN = {
    "type", "version", "header_length", "conf_length", "data_length", "layouts", "dialect", "payload_length",
    "sender_id", "receiver_id", "response_in", "response_to", "response_time", "partial", "extra", "data", "entry",
    "configuration", "trailer", "flags", "reserved", "reserved1", "reserved2", "preamble.reserved1",
    "preamble.reserved2",
}  # fmt: skip
"""Fields that have a place of their own in a record, or none."""


def record(shown: Shown) -> dict[str, Any]:
    """A message as tshark shows it, in the words of our own."""
    item = shown.item
    own = {child.name.removeprefix("craft."): int(child.show, 0) for child in item.children
           if child.name.startswith("craft.") and child.name.removeprefix("craft.") not in _NOT_OWN}  # fmt: skip
    for flags in item.all("craft.flags"):
        own |= {child.name.removeprefix("craft."): int(child.show, 0) for child in flags.children
                if child.name.startswith("craft.")}  # fmt: skip
    length = item.text("craft.payload_length")
    configurations = [child for child in item.children if child.name == "craft.configuration"]
    return {
        "frame": shown.frame,
        "stream": shown.stream,
        "type": item.number("craft.type"),
        "version": item.number("craft.version"),
        "header_length": item.number("craft.header_length"),
        "payload_length": None if length is None else int(length),
        "layouts": set((item.text("craft.layouts") or "").split()),
        "dialect": item.text("craft.dialect"),
        "fields": own,
        "entries": [_entry(entry) for entry in item.children if entry.name == "craft.entry"],
        "configuration": _servers(configurations[0]) if configurations else None,
        "data": b"".join(child.data for child in item.children if child.name == "craft.data"),
    }


def _entry(entry: Node) -> dict[str, Any]:
    configurations = entry.all("craft.configuration")
    data = [child for child in entry.children if child.name == "craft.entry.data"]
    return {
        "index": entry.number("craft.entry.index"),
        "term": entry.number("craft.entry.term"),
        "type": entry.number("craft.entry.type"),
        "size": entry.number("craft.entry.size"),
        "data": b"".join(each.data for each in data),
        "configuration": _servers(configurations[0]) if configurations else None,
    }


def _servers(configuration: Node) -> list[tuple[int, str, int]] | None:
    if any(child.name == "_ws.expert" for child in configuration.children):
        return None
    return [
        (s.number("craft.server.id"), s.text("craft.server.address") or "", s.number("craft.server.role"))
        for s in configuration.children
        if s.name == "craft.server"
    ]


def ours(packets: Sequence[Packet], *, in_order: bool = False) -> list[dict[str, Any]]:
    """The messages of a capture as the stream engine gives them, as such records, but with the frames of Wireshark.

    Wireshark hands bytes over in their order: a message that was captured before bytes that precede it is shown in the
    frame that brings the last of those, unless all packets are `in_order`.
    """
    found = [our_record(event) for event in Dissection(packets, keep_payload=True) if isinstance(event, Message)]
    if not in_order:
        arrivals = Arrivals(packets)
        for record in found:
            record["frame"] = arrivals.frame_of(record["message"])
    for record in found:
        del record["message"]
    return found


class Arrivals:
    """In which frame all bytes of a direction up to some place were there, by sequence numbers alone."""

    def __init__(self, packets: Sequence[Packet]) -> None:
        self._flows = Flows(packets)
        self._ends: dict[int, tuple[list[int], list[int]]] = {}

    def frame_of(self, message: Message) -> int:
        """The frame in which Wireshark shows a message."""
        flow = self._flows.of_frame.get(message.first.frame)
        if flow is None or flow.origin is None or message.offset is None or message.partial:
            return message.place.frame
        if id(flow) not in self._ends:
            self._ends[id(flow)] = _advances(flow)
        ends, frames = self._ends[id(flow)]
        size = 16 + message.preamble.header_length + (message.payload_length or 0)
        place = bisect_left(ends, message.offset + size)
        return frames[place] if place < len(frames) else message.place.frame


def _advances(flow: Flow) -> tuple[list[int], list[int]]:
    """How far the bytes of a direction are there without a hole, and since which frames."""
    ends: list[int] = []
    frames: list[int] = []
    reached = 0
    waiting: list[tuple[int, int]] = []
    for start, end, frame in flow.pieces:
        waiting.append((start, end))
        before = reached
        for first, last in sorted(waiting):
            if first <= reached:
                reached = max(reached, last)
        waiting = [piece for piece in waiting if piece[1] > reached]
        if reached > before:
            ends.append(reached)
            frames.append(frame)
    return ends, frames


def our_record(message: Message) -> dict[str, Any]:
    preamble = message.preamble
    own = {name: int(value) for name, value in message.fields.items()}
    payload, offset = message.payload or b"", 0
    entries = []
    for number, entry in enumerate(message.entries):
        change = message.change(number)
        entries.append({
            "index": (own["prev_log_index"] + 1 + number) % 2**64,
            "term": entry.term,
            "type": entry.type,
            "size": entry.size,
            "data": payload[offset : offset + entry.size],
            "configuration": None if change is None else [tuple(server) for server in change],
        })  # fmt: skip
        offset += entry.size
    return {
        "message": message,
        "frame": message.place.frame,
        "stream": message.stream.number // 2,
        "type": message.type,
        "version": preamble.version,
        "header_length": preamble.header_length,
        "payload_length": message.payload_length,
        "layouts": set(wire.writers(preamble, message.header)),
        "dialect": message.decoded.dialect,
        "fields": own,
        "entries": entries,
        "configuration": None if message.configuration is None else [tuple(s) for s in message.configuration],
        "data": payload if message.configuration is not None else b"",
    }


def write(path: Path, packets: Sequence[Packet]) -> Path:
    """A pcap file with nanoseconds of these packets, which are of one link type."""
    nanoseconds = PCAP_KINDS["nano-little"]
    records = [pcap_record(packet, nanoseconds) for packet in packets]
    path.write_bytes(pcap_header(nanoseconds, link=packets[0].link_type) + b"".join(records))
    return path


def ordered(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records by stream and frame, those of one frame in their order."""
    return sorted(records, key=lambda record: (record["stream"], record["frame"]))


def assert_same(path: Path, packets: Sequence[Packet], *options: str, in_order: bool = False) -> list[Shown]:
    """See that tshark shows the messages that the stream engine finds, field by field; returns all that it shows."""
    shown = dissected(path, *OUT_OF_ORDER, *options)
    theirs, expected = ordered(messages(shown)), ordered(ours(packets, in_order=in_order))
    for found, wanted in zip(theirs, expected, strict=False):
        assert found == wanted
    assert len(theirs) == len(expected)
    return shown
