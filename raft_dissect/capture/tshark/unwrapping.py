"""Packets of link types and tunnels that only Wireshark knows, as plain packets of IP and TCP."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from raft_dissect.capture.tshark.process import Tshark
from raft_dissect.columns import PacketBlock
from raft_dissect.streams.segments import decode_segment
from raft_dissect.values import Packet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raft_dissect.beats import Item
    from raft_dissect.capture.tshark.process import Answer

_PREFERENCES = (
    "tcp.analyze_sequence_numbers:FALSE",
    "tcp.desegment_tcp_streams:FALSE",
    "ip.defragment:TRUE",
)
_IPV4, _IPV6 = 228, 229
_TCP = 6
_TTL = 64
_LARGEST = 0xFFFF
_TCP_HEADER = 20


class Unwrapping:
    """Asks tshark for the TCP segment in each packet in which our own reader finds none."""

    def __init__(self) -> None:
        """Raises TsharkError where tshark cannot be run."""
        self._tshark = Tshark("segments", _PREFERENCES)
        self._removed = 0

    def take_removed(self) -> int:
        """Bytes by which the packets that were given since the last time are smaller than those that came."""
        removed, self._removed = self._removed, 0
        return removed

    def feed(self, item: Item) -> Iterator[Item]:
        """Give what comes of an item: the same, or packets in its place."""
        if isinstance(item, PacketBlock):
            yield from self._block(item)
        elif isinstance(item, Packet):
            number = self._given(item)
            yield item if number is None else self._unwrapped(item, self._answers().get(number))
        else:
            yield item

    def stop(self) -> None:
        """End tshark."""
        self._tshark.close()

    def _block(self, block: PacketBlock) -> Iterator[Item]:
        asked: list[tuple[int, int]] = []
        for index in range(block.begin, block.end):
            number = self._given(block.packet(index))
            if number is not None:
                asked.append((index, number))
        answers = self._answers() if asked else {}
        begin = block.begin
        for index, number in asked:
            if number not in answers:
                continue
            if index > begin:
                yield block.part(begin, index)
            begin = index + 1
            yield self._unwrapped(block.packet(index), answers[number])
        if begin < block.end:
            yield block.part(begin, block.end)

    def _given(self, packet: Packet) -> int | None:
        """Give a packet to tshark if nobody else knows it; returns its number there."""
        if not isinstance(decode_segment(packet), str):
            return None
        return self._tshark.packet(packet.data, packet.original_length, packet.link_type)

    def _answers(self) -> dict[int, Answer]:
        return {answer.packet: answer for answer in self._tshark.ask() if answer.kind == "T"}

    def _unwrapped(self, packet: Packet, answer: Answer | None) -> Packet:
        data = None if answer is None else _ip_packet(answer)
        if data is None:
            return packet
        self._removed += len(packet.data) - len(data)
        link_type = _IPV6 if data[0] >> 4 == 6 else _IPV4
        cut = max(packet.original_length - len(packet.data), 0)
        return Packet(data, packet.time_ns, link_type, len(data) + cut, packet.frame, packet.file)


def _ip_packet(answer: Answer) -> bytes | None:
    """The segment with an IP header before it; None where its addresses are none of IP."""
    if len(answer.data) < _TCP_HEADER:
        return None
    source, destination, identification, size = answer.words
    header = (answer.data[12] >> 4) * 4
    length = header + int(size)
    try:
        if ":" in source:
            hosts = b"".join(socket.inet_pton(socket.AF_INET6, host) for host in (source, destination))
            start = struct.pack(">IHBB", 6 << 28, length if length <= _LARGEST else 0, _TCP, _TTL)
        else:
            hosts = b"".join(socket.inet_pton(socket.AF_INET, host) for host in (source, destination))
            total = length + 20 if length + 20 <= _LARGEST else 0
            start = struct.pack(">BBHHHBBH", 0x45, 0, total, int(identification), 0, _TTL, _TCP, 0)
    except OSError:
        return None
    return start + hosts + answer.data
