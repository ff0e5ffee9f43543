"""Which of two copies of the same bytes is right: where they differ, their TCP checksums tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from raft_dissect.streams.reassembly import Chunk
    from raft_dissect.streams.segments import Segment

_TCP = 6
_CHECKSUM = 16
"""Offset of the checksum in a TCP header."""


class TcpHeader(NamedTuple):
    """What a TCP checksum covers beside the payload."""

    hosts: bytes
    """Source and destination host."""
    header: bytes
    """The TCP header with its options."""


def tcp_header(segment: Segment) -> TcpHeader:
    """The header of a segment, so that its packet need not be kept."""
    start = segment.tcp
    end = start + (segment.packet[start + 12] >> 4) * 4
    return TcpHeader(segment.key[:-4], segment.packet[start:end])


def is_damaged(header: TcpHeader | None, data: bytes, length: int) -> bool:
    """Whether a segment does not have the checksum that it should (RFC 9293, section 3.1).

    It has `length` bytes of payload, of which `data` was captured. Nothing is wrong with one that was captured before
    the network card put its checksum in, where there is 0 or the sum of the pseudo header, and nothing is known of one
    that the snaplen cut or whose header is not at hand.
    """
    if header is None or len(data) < length:
        return False
    checksum = int.from_bytes(header.header[_CHECKSUM : _CHECKSUM + 2], "big")
    hosts = _sum(header.hosts) + _TCP
    pseudo = hosts + len(header.header) + length
    # A segment that the card will cut has a pseudo header without a length.
    if checksum == 0 or (checksum - pseudo) % 0xFFFF == 0 or (checksum - hosts) % 0xFFFF == 0:
        return False
    return (pseudo + _sum(header.header) + _sum(data)) % 0xFFFF != 0


def differ(first: Chunk, second: Chunk) -> bool:
    """Whether two chunks disagree about the bytes that both have."""
    start = max(first.position, second.position)
    end = min(first.position + len(first.data), second.position + len(second.data))
    return start < end and _between(first, start, end) != _between(second, start, end)


def with_bytes_of(chunk: Chunk, first: Chunk) -> Chunk:
    """A chunk in which the bytes that it has in common with an earlier one are those of the earlier one."""
    start = max(chunk.position, first.position)
    end = min(chunk.position + len(chunk.data), first.position + len(first.data))
    before, after = chunk.data[: start - chunk.position], chunk.data[end - chunk.position :]
    return chunk._replace(data=before + _between(first, start, end) + after)


def _between(chunk: Chunk, start: int, end: int) -> bytes:
    return chunk.data[start - chunk.position : end - chunk.position]


def _sum(data: bytes) -> int:
    """The sum of 16-bit words in ones' complement, which is that modulo 65535: a number is such a sum of its digits."""
    return int.from_bytes(data + bytes(len(data) % 2), "big") % 0xFFFF
