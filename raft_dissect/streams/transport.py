"""What TCP did on a connection beside carrying bytes: how it began and ended, what was sent again, how long it took.

The same packet is in a capture twice when it was captured at two points, or mirrored twice, so bytes that come again
were not always sent again. Linux, on which all C-Raft servers run, counts the packets of each connection in the
identification of their IPv4 headers, and sends its clock along in TCP's timestamps: what was sent again is later than
the last packet in one of the two, and a copy is not. Where there is neither, only a long time can tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.streams.reassembly import UNKNOWN
from raft_dissect.streams.segments import ACK, FIN, NO_STAMP, RST, SYN
from raft_dissect.values import Opening, TransportEvent

if TYPE_CHECKING:
    from raft_dissect.streams.connections import Connection, Direction
    from raft_dissect.streams.segments import Segment
    from raft_dissect.values import Event, Place, TransportEventKind

_SENT_AGAIN_NS = 200_000_000
"""The shortest time after which Linux sends again without being asked; copies of a packet are closer together."""
_UNANSWERED_NS = 1_000_000_000
"""RFC 6298, section 2: a SYN has this long to be answered before it is sent again."""
_NEXT_ATTEMPT_NS = 5_000_000_000
"""A SYN is sent again as long after the last one as that was after the first, and a second more.

So the one after the next comes four times as long after the first as the last one, and three seconds; two are for
delays.
"""
_IDENTIFICATIONS = 1 << 16
_STAMPS = 1 << 32


class Transport:
    """Watches the packets that need a closer look; what it sees goes into `events` and into the streams."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def answers(self, direction: Direction, segment: Segment, place: Place) -> None:
        """See what a packet says about how its connection begins; only asked for SYNs, and until one is answered."""
        connection = direction.connection
        client = connection.client
        if segment.flags & SYN and not segment.flags & ACK:
            self._asks(direction, segment, place)
        elif client is None or connection.answered:
            return
        elif not segment.flags & RST and (direction is not client or segment.flags & ACK):
            connection.answered = True
            client.stream.opening = Opening(connection.asked, place, connection.attempts)
        elif direction is not client:
            connection.answered = True
            event = TransportEvent(client.stream, "refused", connection.asked, place, connection.attempts)
            self._events.append(event)

    def _asks(self, direction: Direction, segment: Segment, place: Place) -> None:
        connection = direction.connection
        if connection.client is None:
            connection.client = direction
            connection.asked = place
        elif connection.client is not direction or not _is_later(segment, _last_of(direction), connection.again, place):
            return
        connection.again = place
        connection.attempts += 1
        _remember(direction, segment)

    def acknowledges(self, direction: Direction, acknowledgement: int, time_ns: int) -> None:
        """Take an acknowledgement of what this direction has sent."""
        if direction.timed != UNKNOWN and (acknowledgement - direction.timed) % _STAMPS < _STAMPS // 2:
            direction.end_timing(time_ns)

    def data(self, direction: Direction, segment: Segment, position: int, place: Place) -> None:
        """Take a segment with data, before its bytes are, and before it is the last one of its direction."""
        reassembly = direction.reassembly
        end = position + segment.length
        if position == reassembly.next and not reassembly.is_waiting:
            direction.stream.segments += 1
            direction.sent = position
            _remember(direction, segment)
            if place.time_ns >= direction.timed_from:
                direction.begin_timing(end, place.time_ns)
        elif segment.length > 1 or position != reassembly.next - 1:  # else it keeps the connection alive
            self._out_of_order(direction, segment, position, place)

    def _out_of_order(self, direction: Direction, segment: Segment, position: int, place: Place) -> None:
        end = position + segment.length
        is_new = not direction.reassembly.has(position, end)
        later = _is_later(segment, _last_of(direction), direction.last, place) and not _is_part(
            direction, segment, position
        )
        if later is not False and position < direction.timed:
            direction.give_up_timing()
        if later or (is_new and later is None):
            direction.sent, direction.sent_end = position, end
            _remember(direction, segment)
        if later or is_new:
            direction.stream.segments += 1
        if later and not is_new and direction.framer.is_raft:
            self._events.append(TransportEvent(direction.stream, "retransmission", place, place))

    def window(self, direction: Direction, segment: Segment, place: Place) -> None:
        """See whether a segment says that its sender takes no more, and is not a copy of the last that did."""
        if segment.window != 0 or segment.flags & (SYN | FIN | RST):
            return
        if direction.shut is not None and not _is_later(segment, direction.shut, direction.shut_place, place):
            return
        direction.shut = segment.identification, segment.stamp
        direction.shut_place = place
        if direction.peer.framer.is_raft:
            self._events.append(TransportEvent(direction.peer.stream, "zero_window", place, place))

    def ends(self, connection: Connection, segment: Segment, place: Place) -> None:
        """Take a segment with FIN or RST."""
        kind: TransportEventKind = "reset" if segment.flags & RST else "closed"
        for direction in connection.directions:
            if direction.framer.is_raft and not connection.ending:
                self._events.append(TransportEvent(direction.stream, kind, place, place))
        connection.ending = True

    def given_up_ns(self, connection: Connection) -> int:
        """When whoever asks for a connection would have asked twice more, of which the capture may lack one."""
        first, last = connection.asked.time_ns, connection.again.time_ns
        return first + 4 * (last - first) + _NEXT_ATTEMPT_NS

    def over(self, connection: Connection, now: int) -> None:
        """Nothing more will come on a connection."""
        client = connection.client
        if client is None or connection.answered or now - connection.again.time_ns < _UNANSWERED_NS:
            return
        if connection.given_up:
            return
        connection.given_up = True
        event = TransportEvent(client.stream, "unanswered", connection.asked, connection.again, connection.attempts)
        self._events.append(event)


def _last_of(direction: Direction) -> tuple[int, int]:
    return direction.identification, direction.stamp


def _remember(direction: Direction, segment: Segment) -> None:
    """Know how to tell what is sent after this segment."""
    if segment.identification:
        direction.identification = segment.identification
    else:
        direction.stamp = segment.stamp


def _is_later(segment: Segment, last: tuple[int, int], last_place: Place, place: Place) -> bool | None:
    """Whether a segment was sent after the one with this identification and stamp; None when that cannot be told."""
    identification, stamp = last
    if segment.identification and identification:
        return 0 < (segment.identification - identification) % _IDENTIFICATIONS < _IDENTIFICATIONS // 2
    if segment.stamp != NO_STAMP and stamp != NO_STAMP:
        return 0 < (segment.stamp - stamp) % _STAMPS < _STAMPS // 2
    return True if place.file == last_place.file and place.time_ns - last_place.time_ns >= _SENT_AGAIN_NS else None


def _is_part(direction: Direction, segment: Segment, position: int) -> bool:
    """Whether a segment may be a part of the last packet, which was captured before the network card had cut it.

    Each part counts the identification up by one.
    """
    if not segment.identification or not direction.identification:
        return False
    end = direction.sent_end if direction.sent_end > direction.sent else direction.reassembly.next
    number = (segment.identification - direction.identification) % _IDENTIFICATIONS
    return direction.sent < position < end and number * segment.length <= position - direction.sent
