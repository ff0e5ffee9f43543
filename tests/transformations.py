"""Captures changed in ways of which it is known what becomes of their messages; TCP read by a plain reader of its own.

Nothing here asks the engine: packets are read and written as the RFCs say, and what is in a stream is worked out from
sequence numbers.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, NamedTuple

from tests import packets as made
from tests.packets import ACK, FIN, MILLISECOND, RST, SYN, ipv4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from raft_dissect.values import Packet

WRAP = 2**32
OFFLOAD = 256 * 1024
"""Bytes that are joined into one segment at most: more than an IP header can say."""


class Tcp(NamedTuple):
    """One TCP segment, and the packet that it came in."""

    packet: Packet
    link: bytes
    network: bytes
    """The IP header."""
    header: bytes
    """The TCP header."""
    data: bytes

    @property
    def sequence(self) -> int:
        return int.from_bytes(self.header[4:8], "big")

    @property
    def end(self) -> int:
        """The sequence number after the last byte of data."""
        return (self.sequence + self.opens + len(self.data)) % WRAP

    @property
    def acknowledgement(self) -> int:
        return int.from_bytes(self.header[8:12], "big")

    @property
    def flags(self) -> int:
        return self.header[13]

    @property
    def opens(self) -> bool:
        return bool(self.flags & SYN)

    @property
    def hosts(self) -> tuple[bytes, bytes]:
        """Source and destination."""
        if self.network[0] >> 4 == 4:
            return self.network[12:16], self.network[16:20]
        return self.network[8:24], self.network[24:40]

    @property
    def key(self) -> bytes:
        """The direction: hosts and ports, source before destination."""
        return b"".join(self.hosts) + self.header[:4]

    @property
    def back(self) -> bytes:
        """The key of the other direction."""
        return b"".join(self.hosts[::-1]) + self.header[2:4] + self.header[:2]

    def other(
        self, *, sequence: int | None = None, acknowledgement: int | None = None, flags: int | None = None,
        data: bytes | None = None,
    ) -> Tcp:  # fmt: skip
        """A segment of the same direction, with a checksum of 0 as segmentation offload leaves it."""
        header = (
            self.header[:4]
            + (self.sequence if sequence is None else sequence % WRAP).to_bytes(4, "big")
            + (self.acknowledgement if acknowledgement is None else acknowledgement % WRAP).to_bytes(4, "big")
            + self.header[12:13]
            + bytes([self.flags if flags is None else flags])
            + self.header[14:16]
            + bytes(2)
            + self.header[18:]
        )
        return self._replace(header=header, data=self.data if data is None else data)

    @property
    def ip(self) -> bytes:
        """The IP packet; its length is 0 where it cannot be said."""
        carried = self.header + self.data
        if self.network[0] >> 4 == 4:
            length = len(self.network) + len(carried)
            return self.network[:2] + _length(length) + self.network[4:10] + bytes(2) + self.network[12:] + carried
        return self.network[:4] + _length(len(carried)) + self.network[6:] + carried

    @property
    def whole(self) -> Packet:
        data = self.link + self.ip
        return self.packet._replace(data=data, original_length=len(data))


def _length(length: int) -> bytes:
    return (length if length < 65536 else 0).to_bytes(2, "big")


def tcp_of(packet: Packet) -> Tcp | None:
    """The segment of an Ethernet or Linux cooked (version 2) packet; None when it holds something else."""
    data = packet.data
    size = {made.ETHERNET: 14, made.SLL2: 20}[packet.link_type]
    ethertype = data[12:14] if packet.link_type == made.ETHERNET else data[:2]
    if ethertype == b"\x08\x00" and data[size + 9] == 6:
        start = size + (data[size] & 15) * 4
        end = size + int.from_bytes(data[size + 2 : size + 4], "big")
        if end == size:
            end = packet.original_length
    elif ethertype == b"\x86\xdd" and data[size + 6] == 6:
        start = size + 40
        end = start + int.from_bytes(data[size + 4 : size + 6], "big")
    else:
        return None
    payload = start + (data[start + 12] >> 4) * 4
    return Tcp(packet, data[:size], data[size:start], data[start:payload], data[payload:end])


def segments(packets: Iterable[Packet]) -> list[Tcp]:
    return [segment for packet in packets if (segment := tcp_of(packet)) is not None]


def numbered(packets: Iterable[Packet]) -> list[Packet]:
    """The packets as one file has them in this order."""
    return [packet._replace(frame=number) for number, packet in enumerate(packets, 1)]


def by_time(packets: Iterable[Packet]) -> list[Packet]:
    """The packets as a capture has them that sees each at its time."""
    return numbered(sorted(packets, key=lambda packet: packet.time_ns))


# --- The same messages ---


def twice(packets: Sequence[Packet]) -> list[Packet]:
    return numbered(packet for packet in packets for _ in range(2))


def seen_at_two_points(packets: Sequence[Packet]) -> list[Packet]:
    """Each packet again, up to 8 ms later, behind a router: other MAC addresses and one hop less to live."""
    chance = Random(1)
    copies = []
    for packet in packets:
        copies.append(packet)
        segment = tcp_of(packet)
        if segment is None:
            continue
        place = 8 if segment.network[0] >> 4 == 4 else 7
        network = bytearray(segment.network)
        network[place] -= 1
        link = segment.link
        if packet.link_type == made.ETHERNET:
            link = bytes.fromhex("02aa00000001 02aa00000002") + link[12:]
        routed = segment._replace(link=link, network=bytes(network)).whole
        copies.append(routed._replace(time_ns=packet.time_ns + chance.randrange(8 * MILLISECOND)))
    return by_time(copies)


def late(packets: Sequence[Packet], most_ms: int = 400) -> list[Packet]:
    """Each packet is captured late by some time of its own: the order is another."""
    chance = Random(2)
    return by_time(
        packet._replace(time_ns=packet.time_ns + chance.randrange(most_ms * MILLISECOND)) for packet in packets
    )


def late_with_its_time(packets: Sequence[Packet]) -> list[Packet]:
    """The same order, but each packet says when it was seen, so that times go forth and back by up to 400 ms."""
    chance = Random(3)
    order = sorted(packets, key=lambda packet: packet.time_ns + chance.randrange(400 * MILLISECOND))
    return numbered(order)


def backwards(packets: Sequence[Packet]) -> list[Packet]:
    """Every packet says that it is older than the one before."""
    last = packets[-1].time_ns
    return [packet._replace(time_ns=2 * last - packet.time_ns) for packet in packets]


def clock_set_back(packets: Sequence[Packet]) -> list[Packet]:
    """In the middle of the capture its host's clock is set back by an hour."""
    half = len(packets) // 2
    hour = 3_600_000 * MILLISECOND
    return [*packets[:half], *(packet._replace(time_ns=packet.time_ns - hour) for packet in packets[half:])]


def cut(packets: Sequence[Packet], size: int) -> list[Packet]:
    """Every segment with data as several of at most `size` bytes; the last of them has what ends the connection."""
    found = []
    for packet in packets:
        segment = tcp_of(packet)
        if segment is None or len(segment.data) <= size:
            found.append(packet)
            continue
        for start in range(0, len(segment.data), size):
            last = start + size >= len(segment.data)
            flags = segment.flags if last else segment.flags & ~(FIN | RST)
            piece = segment.data[start : start + size]
            found.append(segment.other(sequence=segment.sequence + start, flags=flags, data=piece).whole)
    return numbered(found)


def joined(packets: Sequence[Packet]) -> list[Packet]:
    """Segments of one direction that follow one another are one, up to OFFLOAD bytes, where the first of them was."""
    found: list[Packet | Tcp] = []
    growing: dict[bytes, int] = {}
    for packet in packets:
        segment = tcp_of(packet)
        if segment is None or not segment.data or segment.flags & (SYN | FIN | RST):
            found.append(packet)
            if segment is not None and segment.flags & (SYN | FIN | RST):
                growing.pop(segment.key, None)
                growing.pop(segment.back, None)
            continue
        place = growing.get(segment.key)
        before = None if place is None else found[place]
        if place is not None and isinstance(before, Tcp) and _continues(before, segment):
            found[place] = before._replace(data=before.data + segment.data)
        else:
            growing[segment.key] = len(found)
            found.append(segment)
    return numbered(item.whole if isinstance(item, Tcp) else item for item in found)


def _continues(before: Tcp, segment: Tcp) -> bool:
    return before.end == segment.sequence and len(before.data) + len(segment.data) <= OFFLOAD


def wrapping(packets: Sequence[Packet]) -> list[Packet]:
    """The sequence numbers of every direction are moved so that they wrap in the middle of its data."""
    bounds: dict[bytes, tuple[int, int]] = {}
    for each in segments(packets):
        first, most = bounds.get(each.key, (each.sequence, 0))
        far = (each.end - first) % WRAP
        bounds[each.key] = first, max(most, far) if far < WRAP // 2 else most
    moves = {key: -(first + most // 2 + 1) for key, (first, most) in bounds.items()}
    found = []
    for packet in packets:
        segment = tcp_of(packet)
        if segment is not None:
            back = segment.acknowledgement + moves.get(segment.back, 0) if segment.flags & ACK else 0
            packet = segment.other(sequence=segment.sequence + moves[segment.key], acknowledgement=back).whole
        found.append(packet)
    return found


def _histories(packets: Sequence[Packet]) -> Iterator[tuple[Packet, Tcp | None, bytes]]:
    """Each packet, its segment, and the last bytes of its direction if the segment follows right behind them.

    Bytes are only there as long as every byte of the direction was captured in order, so that the receiver has them.
    """
    ends: dict[bytes, int | None] = {}
    history: dict[bytes, bytes] = {}
    for packet in packets:
        segment = tcp_of(packet)
        if segment is None:
            yield packet, None, b""
            continue
        key = segment.key
        if segment.opens:
            ends[key], history[key] = segment.sequence + 1, b""
        in_order = ends.get(key) == segment.sequence and not segment.opens
        yield packet, segment, history.get(key, b"") if in_order else b""
        if segment.data and not segment.opens:
            if key not in ends or in_order:
                history[key] = (history.get(key, b"") + segment.data)[-3000:]
                ends[key] = segment.end
            else:
                ends[key] = None


def retransmitted(packets: Sequence[Packet]) -> list[Packet]:
    """Between the segments the last bytes of their direction again in other cuts; some begin before new bytes."""
    chance = Random(4)
    found = []
    for packet, segment, history in _histories(packets):
        if segment is None or not segment.data or not history:
            found.append(packet)
            continue
        back = chance.randrange(1, len(history) + 1)
        if chance.random() < 0.5:
            again = history[-back:]
            again = again[: chance.randrange(1, len(again) + 1)]
            found.append(segment.other(sequence=segment.sequence - back, flags=ACK, data=again).whole)
        if chance.random() < 0.5:
            data = history[-back:] + segment.data
            packet = segment.other(sequence=segment.sequence - back, data=data).whole
        found.append(packet)
    return numbered(found)


def kept_alive(packets: Sequence[Packet]) -> list[Packet]:
    """Before every segment of a direction that has sent data: keep-alives without data, with a zero, with its byte."""
    found = []
    for packet, segment, history in _histories(packets):
        if segment is not None and history:
            found += [
                segment.other(sequence=segment.sequence - 1, flags=ACK, data=data).whole
                for data in (b"", b"\0", history[-1:])
            ]
        found.append(packet)
    return numbered(found)


def _udp(port: int, payload: bytes) -> bytes:
    return (50000).to_bytes(2, "big") + port.to_bytes(2, "big") + _length(8 + len(payload)) + bytes(2) + payload


def _outer(protocol: int, payload: bytes) -> bytes:
    return made.ethernet(ipv4("192.0.2.1", "192.0.2.2", payload, protocol))


def _labelled(ethertype: str, between: bytes) -> bytes:
    return bytes.fromhex(f"020000000002020000000001{ethertype}") + between


def _protocol(network: bytes) -> bytes:
    return made.ethertype_of(network).to_bytes(2, "big")


def _pppoe(network: bytes) -> bytes:
    session = bytes.fromhex("11000001") + _length(len(network) + 2)
    return _labelled("8864", session + bytes([0, 0x21 if network[0] >> 4 == 4 else 0x57]) + network)


KINDS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "802.1Q": (made.ETHERNET, lambda ip: made.ethernet(ip, bytes.fromhex("81000007"))),
    "QinQ": (made.ETHERNET, lambda ip: made.ethernet(ip, bytes.fromhex("88a80005 81000007"))),
    "MPLS": (made.ETHERNET, lambda ip: _labelled("8847", bytes.fromhex("0001003f 0001113f") + ip)),
    "PPPoE": (made.ETHERNET, _pppoe),
    "Linux cooked 1": (made.SLL, made.linux_sll),
    "Linux cooked 2": (made.SLL2, made.linux_sll2),
    "raw IP": (made.RAW, made.raw),
    "NULL": (made.NULL, made.null),
    "LOOP": (made.LOOP, made.loop),
    "VXLAN": (made.ETHERNET, lambda ip: _outer(17, _udp(4789, bytes.fromhex("0800000000002a00") + made.ethernet(ip)))),
    "Geneve": (
        made.ETHERNET,
        lambda ip: _outer(17, _udp(6081, bytes.fromhex("02006558 00002a00 01020101 61626364") + made.ethernet(ip))),
    ),
    "IP in Geneve": (
        made.ETHERNET,
        lambda ip: _outer(17, _udp(6081, bytes(2) + _protocol(ip) + bytes.fromhex("00002a00") + ip)),
    ),
    "GRE": (made.ETHERNET, lambda ip: _outer(47, bytes(2) + _protocol(ip) + ip)),
    "GRE with a key": (made.ETHERNET, lambda ip: _outer(47, b"\x20\0" + _protocol(ip) + bytes([0, 0, 0, 5]) + ip)),
    "IP in IP": (made.ETHERNET, lambda ip: _outer(4 if ip[0] >> 4 == 4 else 41, ip)),
}
"""Each with its link type: from an IP packet to a captured packet (the RFCs' and the link-layer registry's headers)."""


def wrapped(packets: Sequence[Packet], kind: str) -> list[Packet]:
    """The TCP packets under other headers."""
    link, wrap = KINDS[kind]
    found = []
    for segment in segments(packets):
        data = wrap(segment.ip)
        found.append(segment.packet._replace(data=data, original_length=len(data), link_type=link))
    return numbered(found)


def fragmented(packets: Sequence[Packet], size: int = 400) -> list[Packet]:
    """Each IPv4 packet with more than `size` bytes behind its header in fragments, all of them in any order.

    Fragments come late by up to 50 ms each.
    """
    chance = Random(5)
    found = []
    for number, packet in enumerate(packets, 1):
        segment = tcp_of(packet)
        if segment is None or segment.network[0] >> 4 != 4 or len(segment.header + segment.data) <= size:
            found.append(packet)
            continue
        carried = segment.header + segment.data
        for start in range(0, len(carried), size):
            piece = carried[start : start + size]
            field = start // 8 | (0x2000 if start + size < len(carried) else 0)
            data = (
                segment.link
                + segment.network[:2]
                + (len(segment.network) + len(piece)).to_bytes(2, "big")
                + (number % 65536).to_bytes(2, "big")
                + field.to_bytes(2, "big")
                + segment.network[8:10]
                + bytes(2)
                + segment.network[12:]
                + piece
            )
            time = packet.time_ns + chance.randrange(50 * MILLISECOND)
            found.append(packet._replace(data=data, original_length=len(data), time_ns=time))
    return by_time(found)


# --- What of a stream was captured ---

Range = tuple[int, int]


class Flow:
    """One direction of one connection: which of its bytes are in which packets, counted from 0 behind its SYN."""

    def __init__(self, first: Tcp, number: int) -> None:
        self.key = first.key
        self.number = number
        self.origin = (first.sequence + 1) % WRAP if first.opens else None
        self.pieces: list[tuple[int, int, int]] = []
        """First byte, byte after the last one, and frame of each packet with data."""
        self.fin: tuple[int, int] | None = None
        """Where the FIN is, and its frame."""
        self.syns: list[int] = []
        """Frames of its SYN."""


class Flows:
    """All directions of all connections of a capture, and which one each frame belongs to."""

    def __init__(self, packets: Sequence[Packet]) -> None:
        self.of_frame: dict[int, Flow] = {}
        self._now: dict[bytes, Flow] = {}
        self._opened = 0
        for segment in segments(packets):
            flow = self._flow(segment)
            self.of_frame[segment.packet.frame] = flow
            self._add(flow, segment)
        self.all = list(dict.fromkeys(self.of_frame.values()))

    def _flow(self, segment: Tcp) -> Flow:
        """A client's SYN with a sequence number of its own begins another connection."""
        flow = self._now.get(segment.key)
        client = segment.opens and not segment.flags & ACK
        if client and (flow is None or flow.origin != (segment.sequence + 1) % WRAP):
            self._now.pop(segment.back, None)
            flow = None
        if flow is None:
            back = self._now.get(segment.back)
            flow = self._now[segment.key] = Flow(segment, self._opened if back is None else back.number)
            self._opened += back is None
        return flow

    def _add(self, flow: Flow, segment: Tcp) -> None:
        frame = segment.packet.frame
        if segment.opens:
            flow.syns.append(frame)
        if flow.origin is None:
            return
        start = (segment.sequence - flow.origin) % WRAP
        if start >= WRAP // 2:
            start -= WRAP  # the SYN itself, or a keep-alive before any data
        if segment.data and not segment.opens:
            flow.pieces.append((start, start + len(segment.data), frame))
        if segment.flags & FIN:
            flow.fin = start + len(segment.data), frame


def union(ranges: Iterable[Range]) -> list[Range]:
    """The same bytes in ranges that neither overlap nor touch, in order."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        elif end > start:
            found.append((start, end))
    return found


def holes(there: Sequence[Range], end: int) -> list[Range]:
    """The ranges from 0 to `end` that are not there."""
    found = []
    last = 0
    for start, after in union(there):
        if start > last:
            found.append((last, min(start, end)))
        last = max(last, after)
    if last < end:
        found.append((last, end))
    return [(start, after) for start, after in found if start < after]


def holds(there: Sequence[Range], start: int, end: int) -> bool:
    """Whether all of these bytes are in one of the ranges, as `union` gives them."""
    return any(first <= start and end <= after for first, after in there)
