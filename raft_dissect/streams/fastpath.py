"""Segments of known connections in their order, and ordinary messages in them, straight from the columns of a block.

Everything else goes to the engine, packet by packet. What is done here is what the engine would do too, so the result
does not depend on which of them a packet meets.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from raft_dissect import octets
from raft_dissect.columns import WORDS
from raft_dissect.streams import connections, framing, reassembly, segments
from raft_dissect.streams.link import LINK_TYPES
from raft_dissect.streams.reassembly import Chunk
from raft_dissect.values import Message
from raft_dissect.wire import Preamble, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_dissect.columns import MessageBatch, PacketBlock
    from raft_dissect.streams.connections import Direction

COMPILED = not __file__.endswith(".py")

# What stands here under a name of its own is a C constant in the compiled form.
_NOTHING, _NO_DATA = connections.NOTHING, connections.NO_DATA
_IN_ORDER, _IGNORED = connections.IN_ORDER, connections.IGNORED
_MESSAGES, _PAYLOAD, _OTHER = framing.MESSAGES, framing.PAYLOAD, framing.OTHER
_UNKNOWN = reassembly.UNKNOWN
_NO_STAMP = segments.NO_STAMP

NEVER = connections.NEVER
_IPV4, _IPV6 = 0x0800, 0x86DD
_PLAIN_IPV4 = 0x45
"""Version 4, and a header of five words: no options."""
_TCP = 6
_IPV4_HEADER, _IPV6_HEADER, _TCP_HEADER = 20, 40, 20
"""Bytes of headers without options."""
_ENDS = 7
"""FIN, SYN and RST."""
_SYN = 2
_ACK = 16
_MASK = 0xFFFFFFFF
_HALF = 1 << 31

_BY_VERSION = -1
_LINKS: dict[str, tuple[int, int]] = {
    "null": (4, _BY_VERSION),
    "ethernet": (14, 12),
    "raw": (0, _BY_VERSION),
    "loop": (4, _BY_VERSION),
    "linux_sll": (16, 14),
    "ipv4": (0, _BY_VERSION),
    "linux_sll2": (20, 0),
}
"""By kind of link: where the network header begins, and where the ethertype stands, if there is one."""
_IPV4_HEADERS = struct.Struct(">BxHHHxB2x12sIIBBH").unpack_from
"""IPv4 and TCP: version, total length, identification, fragment bits, protocol, key, then as with IPv6."""
_IPV6_HEADERS = struct.Struct(">BxxxHBx36sIIBBH").unpack_from
"""IPv6 and TCP: version, length, protocol, key, sequence, acknowledgement, words, flags, window."""
_STAMP = struct.Struct(">II").unpack_from
_STAMPED_WORDS = 8 << 4
_STAMP_OPTION = 0x0101080A
"""The timestamps option where it stands alone, as in segments.Segment.stamp."""

_PREAMBLE = 16
_PREAMBLE_AND_WORDS = _PREAMBLE + 40
_APPEND_ENTRIES = table.APPEND_ENTRIES
_WORD = 8
_FIXED_WORDS = 40
"""Bytes of an AppendEntries header before its entries."""
_ENTRY = 16
_CHANGE = table.CHANGE
_MOST_ENTRIES = 1 << 20
_ALWAYS_ZERO = 0xFFF8FFF8
"""Bits of the first word of a preamble that are zero: the type and the version are below 8, all else is reserved."""
_START = struct.Struct("<IIQ").unpack_from
_WORDS = [struct.Struct(f"<{count}Q").unpack_from for count in range(6)]
_ENTRIES = struct.Struct("<8xB3xI").iter_unpack
_LAST_SLOT = 1023
"""Of a table of directions; a power of two less one."""


def _ordinary_shapes() -> bytes:
    """At type | version << 3 | words of the header << 6: whether a release writes such a message, of words alone.

    AppendEntries, of any length, stand at no words.
    """
    shapes = bytearray(1 << 9)
    for message in table.MESSAGES:
        for form in message.forms:
            words, rest = divmod(sum(field.size for field in form.fields), _WORD)
            if message.number == table.APPEND_ENTRIES:
                shapes[message.number | form.version << 3] = 1
            elif message.number not in (table.INSTALL_SNAPSHOT, *table.RESERVED) and words <= WORDS and not rest:
                shapes[message.number | form.version << 3 | words << 6] = 1
    return bytes(shapes)


_ORDINARY = _ordinary_shapes()


class FastPath:
    """Goes through blocks of packets.

    `closer` is called with the index of each packet that needs a closer look, `framed` with each direction whose framer
    was given bytes. The directions of all connections and the time are shared with the engine.
    """

    __slots__ = (
        "_batch",
        "_closer",
        "_data",
        "_digest_entries",
        "_framed",
        "_layout",
        "_slots",
        "_view",
        "directions",
        "due",
        "now",
        "order",
    )

    def __init__(
        self,
        layout: str | None,
        closer: Callable[[int], None],
        framed: Callable[[Direction], None],
        digest_entries: bool = False,
    ) -> None:
        self._layout = layout
        self._digest_entries = digest_entries
        self._closer = closer
        self._framed = framed
        self.directions: dict[bytes, Direction] = {}
        """By key, both of each connection."""
        self.now = -NEVER
        """The latest time of any packet, in nanoseconds since the Unix epoch."""
        self.due = NEVER
        """When the engine wants to look after what waits."""
        self.order = 0
        """Counts the packets with payload that were looked at closely."""
        self._slots: list[Direction | None] = [None] * (_LAST_SLOT + 1)

    def run(self, block: PacketBlock, batch: MessageBatch) -> None:  # noqa: C901 - calls cost more than all it does
        """Go through all packets of a block; what becomes complete goes into the batch."""
        closer = self._closer
        begin, end = block.begin, block.end
        link = LINK_TYPES.get(block.link_type, "")
        network, type_at = _LINKS.get(link, (len(block.buffer), _BY_VERSION))
        least = network + _IPV4_HEADER + _TCP_HEADER
        data = block.buffer
        view = data
        self._data = data
        self._view = view
        self._batch = batch
        frame = block.frame - begin
        columns = block.columns
        starts, lengths, originals, times = columns.starts, columns.captured, columns.originals, columns.times
        directions = self.directions
        now = self.now
        for index in range(begin, end):
            time_ns = times[index]
            if time_ns > now:
                now = self.now = time_ns
            length = lengths[index]
            if length < least or length != originals[index] or now >= self.due:
                closer(index)
                continue
            start = starts[index]
            at = start + network
            stop = start + length
            if type_at != _BY_VERSION:
                ethertype = view[start + type_at] << 8 | view[start + type_at + 1]
            else:
                ethertype = _IPV6 if view[at] >> 4 == 6 else _IPV4
            if ethertype == _IPV6 and length >= least + _IPV6_HEADER - _IPV4_HEADER:
                version, total, protocol, key, sequence, acknowledgement, words, flags, window = _IPV6_HEADERS(data, at)
                identification = 0
                direction = directions.get(key)
                plain = version >> 4 == 6 and protocol == _TCP
                total = total + _IPV6_HEADER if total else 0
                transport = at + _IPV6_HEADER
            elif ethertype != _IPV4:
                closer(index)
                continue
            elif COMPILED:
                head = octets.u32be(view, at + 6)
                plain = view[at] == _PLAIN_IPV4 and not head & 0x3FFF0000 and head & 0xFF == _TCP
                head = octets.u32be(view, at + 2)
                total = head >> 16
                identification = head & 0xFFFF
                sequence = octets.u32be(view, at + 24)
                acknowledgement = octets.u32be(view, at + 28)
                head = octets.u32be(view, at + 32)
                words = head >> 24
                flags = head >> 16 & 0xFF
                window = head & 0xFFFF
                hosts = octets.u32be(view, at + 12)
                hosts = hosts << 32 | octets.u32be(view, at + 16)
                direction = self._find(hosts, octets.u32be(view, at + 20), at + 12)
                transport = at + _IPV4_HEADER
            else:
                (
                    version, total, identification, fragment, protocol, key,
                    sequence, acknowledgement, words, flags, window,
                ) = _IPV4_HEADERS(data, at)  # fmt: skip
                direction = directions.get(key)
                plain = version == _PLAIN_IPV4 and not fragment & 0x3FFF and protocol == _TCP
                transport = at + _IPV4_HEADER
            payload = transport + (words >> 4) * 4
            if total:
                plain = plain and at + total <= stop
                stop = at + total
            if direction is None or not plain or payload < transport + _TCP_HEADER or payload > stop:
                closer(index)
                continue
            ease = direction.ease
            if ease == _IGNORED and not flags & _SYN:
                continue
            if ease == _NOTHING or flags & _ENDS or not window:
                closer(index)
                continue
            expected = direction.reassembly.next
            if (sequence != expected & _MASK and expected != _UNKNOWN) or (payload != stop and ease != _IN_ORDER):
                closer(index)
                continue
            # An acknowledgement of what was delivered says nothing new.
            peer = direction.peer
            known = peer.reassembly.next
            if flags & _ACK and known != _UNKNOWN:
                if (known - acknowledgement) & _MASK >= _HALF:
                    closer(index)
                    continue
                if peer.timed != _UNKNOWN and (acknowledgement - peer.timed) & _MASK < _HALF:
                    peer.end_timing(time_ns)
            if payload != stop:
                direction.stream.segments += 1
                direction.sent = expected
                expected += stop - payload
                direction.reassembly.next = expected
                if identification:
                    direction.identification = identification
                else:
                    direction.stamp = self._stamp(transport, words)
                if time_ns >= direction.timed_from:
                    direction.begin_timing(expected, time_ns)
                direction.last_ns = time_ns
                direction.last_frame = frame + index
                direction.last_file = block.file
                self._payload(direction, payload, stop)

    def _find(self, hosts: int, ports: int, at: int) -> Direction | None:
        """The direction with these addresses and ports, which stand at a place of the buffer."""
        slot = (hosts % 8191 + ports % 8179 * 3) & _LAST_SLOT
        direction = self._slots[slot]
        if (
            direction is not None
            and direction.ports == ports
            and direction.hosts == hosts
            and direction.ease != _NOTHING
        ):
            return direction
        direction = self.directions.get(self._data[at : at + 12])
        if direction is not None:
            self._slots[slot] = direction
        return direction

    def _stamp(self, transport: int, words: int) -> int:
        """The sender's clock in the timestamps option of the TCP header at a place of the buffer."""
        if words & 0xF0 != _STAMPED_WORDS:
            return _NO_STAMP
        if COMPILED:
            option = octets.u32be(self._view, transport + 20)
            stamp = octets.u32be(self._view, transport + 24)
        else:
            option, stamp = _STAMP(self._data, transport + 20)
        return stamp if option == _STAMP_OPTION else _NO_STAMP

    def _payload(self, direction: Direction, at: int, stop: int) -> None:
        """Take the next bytes of a stream."""
        framer = direction.framer
        if framer.state == _OTHER:
            return
        if framer.state == _PAYLOAD:
            remaining = framer.remaining
            if stop - at < remaining:
                if framer.sink is not None:
                    framer.sink.feed(self._data[at:stop])
                framer.remaining = remaining - (stop - at)
                direction.passed = True
                return
            if framer.sink is not None:
                framer.sink.feed(self._data[at : at + remaining])
            at += remaining
            self._complete(direction)
        if at < stop:
            at = self._messages(direction, at, stop)
        if at < stop:
            self._rest(direction, at, stop)

    def _complete(self, direction: Direction) -> None:
        """The payload that was passing is over."""
        framer = direction.framer
        framer.remaining = 0
        framer.state = _MESSAGES
        direction.passed = False
        if framer.sink is not None:
            framer.sink.finish()
            framer.sink = None
        message = framer.message
        if message is not None:
            framer.message = None
            message.place = direction.last
            self._batch.add(message)

    def _messages(self, direction: Direction, at: int, stop: int) -> int:  # noqa: C901 - as above
        """Take ordinary messages, the first of which begins at `at`; give the place after the last of them."""
        data, batch = self._data, self._batch
        before = direction.reassembly.next - direction.framer.origin - stop
        if direction.framer.origin == _UNKNOWN:
            before = _UNKNOWN - _MASK - stop
        largest = len(data)
        while stop - at >= _PREAMBLE:
            if at + _PREAMBLE_AND_WORDS > largest:
                break
            if COMPILED:
                head = octets.u32le(self._view, at)
                reserved = octets.u32le(self._view, at + 4)
                size = octets.u64le(self._view, at + 8)
            else:
                head, reserved, size = _START(data, at)
            header = at + _PREAMBLE
            if reserved or head & _ALWAYS_ZERO or size > largest or header + size > stop:
                break
            term = first = second = third = fourth = payload = 0
            if head & 7 == _APPEND_ENTRIES:
                if size < _FIXED_WORDS:
                    break
                if COMPILED:
                    term = octets.u64le(self._view, header)
                    first = octets.u64le(self._view, header + 8)
                    second = octets.u64le(self._view, header + 16)
                    third = octets.u64le(self._view, header + 24)
                    fourth = octets.u64le(self._view, header + 32)
                else:
                    term, first, second, third, fourth = _WORDS[5](data, header)
                if fourth > _MOST_ENTRIES or not _ORDINARY[head & 7 | head >> 13]:
                    break
                if size not in (_FIXED_WORDS + fourth * _ENTRY, _FIXED_WORDS + _WORD + fourth * _ENTRY):
                    break
                if fourth:
                    payload = self._sizes(header + _FIXED_WORDS, fourth)
                    if payload < 0:
                        break
            elif size <= _FIXED_WORDS and not size & 7 and _ORDINARY[head & 7 | head >> 13 | size << 3]:
                if COMPILED:
                    term = octets.u64le(self._view, header)
                    first = octets.u64le(self._view, header + 8) if size > 8 else 0
                    second = octets.u64le(self._view, header + 16) if size > 16 else 0
                    third = octets.u64le(self._view, header + 24) if size > 24 else 0
                    fourth = octets.u64le(self._view, header + 32) if size > 32 else 0
                else:
                    term, first, second, third, fourth = (*_WORDS[size >> 3](data, header), 0, 0, 0, 0)[:5]
            else:
                break
            end = header + size + payload
            if end > stop:
                if fourth and self._digest_entries:
                    break
                self._begin(direction, head, header, size, payload, end - stop, before + at)
                return stop
            row = batch.rows
            if row == batch.room:
                batch.grow()
            batch.rows = row + 1
            batch.streams[row] = direction.stream
            batch.shapes[row] = head | size << 32
            batch.headers[row] = header
            batch.offsets[row] = max(before + at, -1)
            batch.frames[row] = direction.last_frame
            batch.times[row] = direction.last_ns
            batch.payloads[row] = payload
            batch.word0[row] = term
            batch.word1[row] = first
            batch.word2[row] = second
            batch.word3[row] = third
            batch.word4[row] = fourth
            at = end
        return at

    def _sizes(self, at: int, entries: int) -> int:
        """Bytes of all entries whose headers begin at `at`; -1 when one is a change, whose data is to be kept."""
        total = 0
        if COMPILED:
            for entry in range(at, at + entries * _ENTRY, _ENTRY):
                if self._view[entry + 8] == _CHANGE:
                    return -1
                total += octets.u32le(self._view, entry + 12)
            return total
        for kind, size in _ENTRIES(self._data[at : at + entries * _ENTRY]):
            if kind == _CHANGE:
                return -1
            total += size
        return total

    def _begin(
        self, direction: Direction, head: int, header: int, size: int, payload: int, remaining: int, offset: int
    ) -> None:
        """Begin a message whose last bytes are still to come."""
        framer = direction.framer
        preamble = Preamble(head & 7, head >> 16, size, True)
        place = direction.last
        message = Message(direction.stream, offset if offset >= 0 else None, place, preamble, self._layout)
        message.header = self._data[header : header + size]
        message.payload_length = payload
        framer.message = message
        framer.remaining = remaining
        framer.state = _PAYLOAD

    def _rest(self, direction: Direction, at: int, stop: int) -> None:
        """Give the framer what is not ordinary, or not all of a message's header."""
        position = direction.reassembly.next - (stop - at)
        data = self._data[at:stop]
        self.order += 1
        direction.framer.data(Chunk(position, data, position + len(data), self.order, direction.last))
        self._framed(direction)
