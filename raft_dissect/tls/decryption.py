"""Packets of a capture on their way to the stream engine: those of TLS connections get the payload that is inside.

The engine sees the same connections, in clear: the same addresses, flags, frames and times, with the numbers of TCP
counted in clear text. What cannot be decrypted passes as it is; where decryption ends in the middle of a connection,
`Undecrypted` says so.
"""

from __future__ import annotations

import struct
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.capture.tshark import Tshark, TsharkError
from raft_dissect.columns import PacketBlock
from raft_dissect.streams.fragments import Fragments
from raft_dissect.streams.reassembly import UNKNOWN, Chunk, Reassembly
from raft_dissect.streams.segments import ACK, FIN, RST, SYN, Fragment, Segment, decode_segment, ports_of, reverse_key
from raft_dissect.tls import records
from raft_dissect.tls.keylog import Secrets
from raft_dissect.tls.rewriting import Positions, rewritten
from raft_dissect.values import Packet, Place, TimePassed, TlsSecrets, Undecrypted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from raft_dissect.beats import Item
    from raft_dissect.capture.tshark import Answer
    from raft_dissect.tls.keylog import KeyLog

GRACE_NS = 1_000_000_000
"""Nanoseconds of capture time that a packet may come late, as in the engine."""
MAX_CONNECTIONS = 50_000
"""Connections that are known at a time."""
MOST_GIVEN = 2 * 1024 * 1024 * 1024
"""Bytes that one process of tshark is given; it keeps about as much memory as it has decrypted."""
PATIENCE_NS = 500_000_000
"""For so long after a handshake its secrets are waited for where the key log is still being written."""
_POLL_SECONDS = 0.02
_MOST_HELD = 64
_MOST_QUEUED = 64
_PREFERENCES = (
    "tcp.analyze_sequence_numbers:FALSE",
    "tls.desegment_ssl_application_data:TRUE",
    "tls.desegment_ssl_records:TRUE",
    "tls.debug_file:",
    "tls.keylog_file:",
)
_CLIENT_PORT, _TLS_PORT = 40000, 443
_SERVER = bytes((192, 0, 2, 1))
_IP_SIZE = _TCP_SIZE = 20
_HANDSHAKE_RECORDS = 16
"""Records of a direction in which secrets may still be missing that will be needed."""

# What a connection is to us.
_UNDECIDED = 0
_CLEAR = 1  # no TLS
_SEALED = 2  # TLS that cannot be decrypted
_OPEN = 3  # TLS that is decrypted


class _Slot:
    """A packet of a connection that is decrypted, and what it brings."""

    __slots__ = ("before", "direction", "next", "notices", "packet", "position", "results", "segment")

    def __init__(self, packet: Packet, segment: Segment, direction: _Direction, position: int) -> None:
        self.packet = packet
        self.segment = segment
        self.direction = direction
        self.position = position
        """Of its first byte of ciphertext."""
        self.before = direction.reassembly.next
        """Position of the next byte that was expected before it, and..."""
        self.next = self.before
        """... after it."""
        self.results: list[_Result] = []
        self.notices: list[Undecrypted] = []


class _Result(NamedTuple):
    """What became of a record."""

    direction: _Direction
    end: int
    """Position after it."""
    kind: int
    data: bytes | None
    """None when it could not be decrypted."""


class _Direction:
    """One direction of a connection; takes its stream from its reassembly."""

    def __init__(self, decryption: Decryption, key: bytes) -> None:
        self._decryption = decryption
        self.key = key
        self.reassembly = Reassembly(self)
        self.peer = self
        self.connection: _Connection
        self.stream: records.RecordStream | None = None
        self.positions: Positions | None = None
        self.fed = 0
        """Bytes that tshark was given."""
        self.records = 0
        self.queue: list[records.Record] = []
        """Records that must wait until the other side has spoken."""
        self.backlog: list[_Result] = []
        """What was decrypted with a packet of the other side."""
        self.fin = UNKNOWN
        """Position of a FIN that came before what it ends."""
        self.waiting = False
        self.acknowledged = UNKNOWN
        self.last = Place(0, 0)
        """The last packet with data that was in order."""
        self.fin_given = False
        self.ended = False
        """Whether nothing more is given to tshark..."""
        self.failed = False
        """... and whether it could not decrypt something."""

    # What reassembly calls

    def start(self, position: int) -> None:
        """Know where the stream begins."""

    def midway(self) -> None:
        """The begin of the stream is not in the capture."""
        self._decryption.end(self, self.last, "the begin of its handshake is missing from the capture")

    def data(self, chunk: Chunk) -> None:
        """Take the next bytes."""
        self.last = chunk.place
        if self.ended:
            return
        if self.stream is None:
            self.stream = records.RecordStream(chunk.position)
            self.positions = Positions(chunk.position)
        try:
            for record in self.stream.feed(chunk.data):
                self._decryption.record(self, record)
        except records.NotTlsError:
            self._decryption.end(self, chunk.place, "it carries something else than TLS from here on")

    def hole(
        self,
        position: int,  # noqa: ARG002 - a Sink
        size: int,
        before: Place,
        place: Place,
        cut: bool,
    ) -> None:
        """Take note of bytes that are not in the capture: the record that they belong to cannot be decrypted.

        Nor can those behind it: each record is encrypted with its number, and how many were lost is not known.
        """
        if cut:
            reason = f"the capture cut the end of a packet off, and with it {size} bytes of TLS"
        else:
            reason = f"{size} bytes of TLS are missing from the capture"
        self._decryption.end(self, before, reason, place)


class _Connection:
    """Both directions of a TCP connection."""

    def __init__(self, there: _Direction, back: _Direction, number: int) -> None:
        self.there, self.back = there, back
        there.peer, back.peer = back, there
        there.connection = back.connection = self
        self.number = number
        self.state = _UNDECIDED
        self.client: _Direction | None = None
        self.random: bytes | None = None
        self.lines: set[bytes] = set()
        """The secrets that tshark has."""
        self.held: list[tuple[Packet, Segment]] = []
        """Packets that came before the first byte did."""
        self.has_failed = False


class Decryption:
    """Decrypts what secrets are known for.

    `log` is the key log that somebody gave; without one there are the secrets that the capture itself holds. `ports`
    are those that are asked for; other connections are left alone.
    """

    def __init__(
        self, log: KeyLog | None, ports: Collection[int] | None = None, *, most_given: int = MOST_GIVEN
    ) -> None:
        self._log = log
        self._secrets = Secrets() if log is None else log.secrets
        self._ports = frozenset(ports) if ports is not None else None
        self._refresh = log.refresh if log is not None and log.grows else None
        self.required = log is not None
        """Whether somebody asked for it, so that without tshark there is an error."""
        self._directions: dict[bytes, _Direction] = {}
        self._fragments = Fragments(Counter(), [])
        self._tshark: Tshark | None = None
        self._given = 0
        self._most_given = most_given
        self.without_tshark: TsharkError | None = None
        """Why nothing is decrypted although there are secrets."""
        self._asked: dict[int, tuple[_Slot, _Direction, records.Record]] = {}
        self._slot: _Slot | None = None
        self._notices: list[Undecrypted] = []
        self._waiting: deque[tuple[int, _Direction]] = deque()
        self._now = -(2**63)
        self._place = Place(0, 0)
        self._order = 0
        self._numbers = 0
        self.counts: Counter[str] = Counter()
        """TLS connections by what became of them: decrypted, without_secret, without_tshark, begun_midway, failed."""
        self.failure: str | None = None
        """Why the first one of those failed."""
        self._removed = 0

    def add(self, secrets: TlsSecrets) -> None:
        """Take secrets that the capture holds, for what comes after them."""
        self._secrets.add(secrets.lines)

    def take_removed(self) -> int:
        """Bytes by which the packets that were given since the last time are smaller than those that came."""
        removed, self._removed = self._removed, 0
        return removed

    def feed(self, item: Item) -> Iterator[Item]:
        """Give what comes of an item: the same, or packets in its place."""
        if isinstance(item, PacketBlock):
            yield from self._block(item)
        elif isinstance(item, Packet):
            yield from self._resolved(self._packet(item))
        else:
            if isinstance(item, TimePassed):
                self._now = max(self._now, item.time_ns)
                self._settle()
                yield from self._told()
            yield item

    def close(self) -> Iterator[Item]:
        """Nothing more comes: give what waited."""
        for direction in list(self._directions.values()):
            held, direction.connection.held = direction.connection.held, []
            yield from (packet for packet, _ in held)
            direction.reassembly.flush(UNKNOWN, self._place, direction.last)
        yield from self._told()
        self._directions.clear()

    def stop(self) -> None:
        """End tshark; nothing more will be decrypted."""
        if self._tshark is not None:
            self._tshark.close()
            self._tshark = None
        if self._log is not None:
            self._log.close()

    def _told(self) -> list[Undecrypted]:
        notices, self._notices = self._notices, []
        return notices

    def _block(self, block: PacketBlock) -> Iterator[Item]:
        """Give the packets of a block: those that nothing is done to in parts of the block."""
        found: list[tuple[int, list[_Slot | Packet | Undecrypted]]] = []
        for index in range(block.begin, block.end):
            packet = block.packet(index)
            items = self._packet(packet)
            if len(items) != 1 or items[0] is not packet:
                found.append((index, items))
        self._ask()
        begin = block.begin
        for index, items in found:
            if index > begin:
                yield block.part(begin, index)
            begin = index + 1
            yield from self._built(items)
        if begin < block.end:
            yield block.part(begin, block.end)

    def _resolved(self, items: list[_Slot | Packet | Undecrypted]) -> Iterator[Item]:
        self._ask()
        yield from self._built(items)

    def _built(self, items: list[_Slot | Packet | Undecrypted]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, _Slot):
                yield self._clear(item)
                yield from item.notices
            else:
                yield item

    # From packets to records

    def _packet(self, packet: Packet) -> list[_Slot | Packet | Undecrypted]:
        """What becomes of a packet: itself, what takes its place once tshark was asked, or nothing for now."""
        self._now = max(self._now, packet.time_ns)
        self._place = Place(packet.time_ns, packet.frame, packet.file)
        self._settle()
        found: object = decode_segment(packet)
        if isinstance(found, Fragment):
            found = self._fragments.segment(found, packet)
        told = self._told()
        if not isinstance(found, Segment) or not self._is_asked_for(found):
            return [*told, packet]
        items = self._segment(packet, found)
        return [*told, *items]

    def _is_asked_for(self, segment: Segment) -> bool:
        return self._ports is None or not self._ports.isdisjoint(ports_of(segment.key))

    def _segment(self, packet: Packet, segment: Segment) -> list[_Slot | Packet | Undecrypted]:
        direction = self._directions.get(segment.key)
        if direction is None or (segment.flags & SYN and _begins_anew(direction, segment)):
            if not segment.flags & SYN and not segment.length:
                return [packet]
            direction = self._open(segment.key)
        connection = direction.connection
        if segment.flags & SYN:
            direction.reassembly.start(segment.sequence)
        if connection.state == _UNDECIDED:
            self._decide(direction, packet, segment)
        if connection.state == _UNDECIDED:
            if not segment.length:
                return [packet]
            connection.held.append((packet, segment))
            if len(connection.held) <= _MOST_HELD:
                return []
            connection.state = _CLEAR
            return self._released(connection)
        held = self._released(connection)
        if connection.state == _OPEN and not segment.flags & SYN:
            return [*held, self._take(direction, packet, segment)]
        return [*held, packet]

    def _released(self, connection: _Connection) -> list[_Slot | Packet | Undecrypted]:
        held, connection.held = connection.held, []
        if connection.state != _OPEN:
            return [packet for packet, _ in held]
        return [self._take(self._directions[segment.key], packet, segment) for packet, segment in held]

    def _open(self, key: bytes) -> _Direction:
        if len(self._directions) >= 2 * MAX_CONNECTIONS:
            self._forget()
        back_key = reverse_key(key)
        there, back = _Direction(self, key), _Direction(self, back_key)
        self._numbers += 1
        _Connection(there, back, self._numbers)
        self._directions[back_key] = back
        self._directions[key] = there
        return there

    def _forget(self) -> None:
        """Make room: forget the half of the connections that was opened first, those that are decrypted last."""
        known = sorted(self._directions.items(), key=lambda item: item[1].connection.state == _OPEN)
        for key, _ in known[: len(known) // 2]:
            del self._directions[key]

    def _decide(self, direction: _Direction, packet: Packet, segment: Segment) -> None:
        """See whether the first bytes of a connection are TLS for which there are secrets."""
        if not segment.length:
            return
        connection, reassembly = direction.connection, direction.reassembly
        known = reassembly.origin != UNKNOWN
        if known and reassembly.position(segment.sequence) != reassembly.origin:
            return
        if segment.flags & SYN or not records.is_begin(segment.data):
            connection.state = _CLEAR
            if not known and records.is_record(segment.data):
                connection.state = _SEALED
                self.counts["begun_midway"] += 1
            return
        if not known:
            reassembly.start(segment.sequence - 1)
        random = records.client_random(segment.data)
        if random is not None:
            connection.client = direction
            self._identify(connection, random, packet.time_ns)
        elif len(segment.data) > records.HEADER and segment.data[records.HEADER] == records.SERVER_HELLO:
            connection.client = direction.peer
            connection.state = _OPEN
        else:
            connection.client = direction
            connection.state = _OPEN

    def _identify(self, connection: _Connection, random: bytes, time_ns: int) -> None:
        """Look for the secrets of a connection."""
        connection.random = random
        while self._refresh is not None and not self._secrets.is_complete(random):
            self._refresh()
            if time.time_ns() - time_ns > PATIENCE_NS or self._secrets.is_complete(random):
                break
            time.sleep(_POLL_SECONDS)
        if not self._secrets.of(random):
            connection.state = _SEALED
            self.counts["without_secret"] += 1
            return
        if not self._has_tshark():
            connection.state = _SEALED
            self.counts["without_tshark"] += 1
            return
        connection.state = _OPEN
        self.counts["decrypted"] += 1

    def _has_tshark(self) -> bool:
        """Whether tshark runs; it is started when it is needed first."""
        if self._tshark is None and self.without_tshark is None:
            try:
                self._tshark = Tshark("decrypted", _PREFERENCES)
            except TsharkError as error:
                if self.required:
                    raise
                self.without_tshark = error
        return self._tshark is not None

    def _take(self, direction: _Direction, packet: Packet, segment: Segment) -> _Slot:
        """Take a packet of a connection that is decrypted."""
        reassembly = direction.reassembly
        if segment.flags & ACK:
            direction.peer.reassembly.acknowledge(segment.acknowledgement)
        if reassembly.next == UNKNOWN and segment.length and records.is_begin(segment.data):
            reassembly.start(segment.sequence - 1)
        slot = self._slot = _Slot(packet, segment, direction, reassembly.position(segment.sequence))
        place = Place(packet.time_ns, packet.frame, packet.file)
        if segment.length and not reassembly.is_far(segment.sequence):
            self._order += 1
            position = slot.position
            chunk = Chunk(position, segment.data, position + segment.length, self._order, place)
            reassembly.receive(chunk, segment, direction.last)
        slot.next = reassembly.next
        if segment.flags & FIN:
            direction.fin = slot.position + segment.length
        for either in (direction, direction.peer):
            if not either.waiting and either.reassembly.is_overdue:
                either.waiting = True
                either.acknowledged = either.reassembly.acknowledged
                self._waiting.append((self._now + GRACE_NS, either))
        slot.notices += self._told()
        self._slot = None
        return slot

    def _settle(self) -> None:
        """Give up what has had its time."""
        while self._waiting and self._waiting[0][0] <= self._now:
            _, direction = self._waiting.popleft()
            direction.waiting = False
            direction.reassembly.give_up(direction.acknowledged)

    # From records to clear text

    def record(self, direction: _Direction, record: records.Record) -> None:
        """Take a whole record of a connection that is decrypted."""
        connection = direction.connection
        if connection.random is None and direction is connection.client:
            random = records.client_random(record.data)
            if random is not None:
                self._identify(connection, random, self._now)
            if connection.state != _OPEN:
                return
        is_first_flight = direction is connection.client and not direction.fed
        if not is_first_flight and not direction.peer.fed:
            if len(direction.queue) < _MOST_QUEUED:
                direction.queue.append(record)
            return
        self._give(direction, record)
        queue, direction.peer.queue = direction.peer.queue, []
        for other in queue:
            self._give(direction.peer, other)

    def _give(self, direction: _Direction, record: records.Record) -> None:
        """Give a record to tshark."""
        assert self._tshark is not None
        connection = direction.connection
        direction.records += 1
        if direction.records <= _HANDSHAKE_RECORDS:
            self._give_secrets(connection)
        packet = _packet(connection.number, direction is connection.client, direction.fed, record.data)
        direction.fed += len(record.data)
        self._given += len(record.data)
        number = self._tshark.packet(packet, len(packet))
        if self._slot is not None:
            self._asked[number] = self._slot, direction, record

    def _give_secrets(self, connection: _Connection) -> None:
        """Let tshark know the secrets of a connection that it does not have."""
        random = connection.random
        assert self._tshark is not None
        assert random is not None
        if self._refresh is not None and not self._secrets.is_complete(random):
            self._refresh()
        lines = set(self._secrets.of(random)) - connection.lines
        if lines:
            self._tshark.secrets(sorted(lines))
            connection.lines |= lines

    def _ask(self) -> None:
        """Let tshark decrypt what it was given, and sort the results to the packets that they came with."""
        if not self._asked or self._tshark is None:
            return
        answers: dict[int, list[Answer]] = {}
        for answer in self._tshark.ask():
            answers.setdefault(answer.packet, []).append(answer)
        for number, (slot, direction, record) in self._asked.items():
            found = answers.get(number, ())
            data: bytes | None = b"".join(answer.data for answer in found)
            if any(answer.kind == "U" for answer in found):
                data = None
            slot.results.append(_Result(direction, record.end, record.kind, data))
        self._asked.clear()
        if self._given > self._most_given:
            self._renew()

    def _renew(self) -> None:
        """Begin with a new process of tshark, which cannot know where the connections are that the old one has."""
        reason = f"limit: tshark was given {self._given} bytes and is started anew, for connections that come"
        for direction in self._directions.values():
            self.end(direction, direction.last, reason)
        if self._tshark is not None:
            self._tshark.close()
            self._tshark = None
        self._given = 0

    def _clear(self, slot: _Slot) -> Packet:
        """The packet with what was decrypted in it."""
        direction, segment = slot.direction, slot.segment
        positions = direction.positions
        begin = positions.next if positions is not None else slot.position
        results, direction.backlog = [*direction.backlog, *slot.results], []
        payload = b"".join(self._content(result, slot) for result in results)
        if positions is None and direction.positions is not None:
            begin = direction.positions.base
        elif not payload and positions is not None:
            begin, payload = self._sent_again(slot, positions)
        fin = direction.fin != UNKNOWN and (direction.ended or slot.next >= direction.fin)
        fin = fin and (bool(segment.flags & FIN) or not direction.fin_given)
        direction.fin_given |= fin
        if positions is not None and (fin or segment.flags & RST):
            positions.forget()
        acknowledgement = segment.acknowledgement
        if segment.flags & ACK and direction.peer.positions is not None:
            peer = direction.peer
            acknowledgement = direction.peer.positions.clear(peer.reassembly.position(acknowledgement))
        packet = rewritten(slot.packet, segment, begin, acknowledgement, payload, fin=fin)
        self._removed += len(slot.packet.data) - len(packet.data)
        return packet

    def _content(self, result: _Result, slot: _Slot) -> bytes:
        """What a record brings to the packet; what belongs to the other side comes with its next packet."""
        direction = result.direction
        if direction.failed:
            return b""
        if result.data is None:
            direction.failed = True
            self._end_at(direction, slot)
            return b""
        if direction is not slot.direction:
            direction.backlog.append(result)
            return b""
        assert direction.positions is not None
        if result.data:
            direction.positions.add(result.end, len(result.data))
        return result.data

    def _sent_again(self, slot: _Slot, positions: Positions) -> tuple[int, bytes]:
        """Where a packet without new clear text belongs, and what stands for its bytes if all of them came before."""
        size = slot.segment.length
        end = slot.position + size
        is_old = size and end <= slot.before and (size > 1 or end < slot.before)
        stop = positions.clear(end)
        begin = min(positions.clear(slot.position), stop - 2)
        if not is_old or begin < positions.base:
            return positions.next, b""
        return begin, bytes(stop - begin)

    def _end_at(self, direction: _Direction, slot: _Slot) -> None:
        """A record could not be decrypted."""
        place = Place(slot.packet.time_ns, slot.packet.frame, slot.packet.file)
        reason = f"tshark could not decrypt the TLS record that ends in frame {place.frame}"
        if not direction.ended:
            slot.notices.insert(0, Undecrypted(direction.key, place, place, reason))
            direction.ended = True
            self._count_failure(direction.connection, reason)

    def end(self, direction: _Direction, before: Place, reason: str, place: Place | None = None) -> None:
        """Nothing more of a direction can be decrypted; `before` and `place` are the packets around what is missing."""
        if direction.ended or direction.connection.state != _OPEN:
            return
        direction.ended = True
        self._notices.append(Undecrypted(direction.key, before, place or self._place, reason))
        self._count_failure(direction.connection, reason)
        if not direction.fed:
            self.end(direction.peer, before, reason, place)  # it takes both sides to begin

    def _count_failure(self, connection: _Connection, reason: str) -> None:
        """See whether a connection is one of which nothing was decrypted: nobody else will tell of it."""
        sides = connection.there, connection.back
        if any(side.positions is not None and side.positions.total for side in sides) or connection.has_failed:
            return
        connection.has_failed = True
        self.counts["decrypted"] -= 1
        self.counts["failed"] += 1
        self.failure = self.failure or reason


def _begins_anew(direction: _Direction, segment: Segment) -> bool:
    """Whether a SYN is that of a new connection between the same addresses and ports."""
    if direction.reassembly.contradicts_start(segment.sequence):
        return True
    of_client = not segment.flags & ACK and direction.reassembly.origin == UNKNOWN
    return of_client and direction.peer.reassembly.is_midway


def _packet(connection: int, from_client: bool, sequence: int, data: bytes) -> bytes:
    """A packet with one record, on a connection of its own."""
    client = struct.pack(">IHH", 0x0A000000 + connection, _CLIENT_PORT, _TLS_PORT)
    host = client[:4]
    hosts = host + _SERVER if from_client else _SERVER + host
    ports = client[4:] if from_client else client[6:] + client[4:6]
    total = _IP_SIZE + _TCP_SIZE + len(data)
    around = struct.pack(">BBHHHBBH", 0x45, 0, total, 0, 0, 64, 6, 0) + hosts
    return around + ports + struct.pack(">IIBBHHH", sequence + 1 & 0xFFFFFFFF, 0, 0x50, 0x18, 0xFFFF, 0, 0) + data
