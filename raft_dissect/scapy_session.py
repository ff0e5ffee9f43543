"""`sniff(session=RaftSession)`: every RPC message of a capture as one Scapy packet, whatever the segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from scapy.config import conf
from scapy.packet import Packet
from scapy.sessions import DefaultSession
from scapy.utils import EDecimal

from raft_dissect import values
from raft_dissect.layers import from_message
from raft_dissect.streams import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from scapy.supersocket import SuperSocket

    from raft_dissect.layers import RaftMessage

_MAX_PACKET = 1 << 18
"""Bytes to ask a socket for: Scapy's default of 65535 cuts packets that offloading has made larger."""


class RaftSession(DefaultSession):
    """A Scapy session that gives RPC messages instead of TCP segments.

    It reassembles streams with the engine of this package, so retransmissions, reordering, gaps and messages that
    share a segment come out right, and needs no port: Raft is recognised by its content, unless `ports` are given.
    `layout` is one of the wire table's, to prefer where the same bytes belong to several. Without `keep_payload`
    entries and snapshots come without their data, which saves memory. `on_event` is called with everything else that
    the engine has to say: gaps and other diagnostics, streams that begin and end.
    Each packet has the `time` at which it was complete, and `frame`, `stream`, `src`, `dst` and `evidence`.
    """

    def __init__(
        self,
        ports: Collection[int] | None = None,
        *,
        layout: str | None = None,
        keep_payload: bool = True,
        on_event: Callable[[values.Event], object] | None = None,
    ) -> None:
        super().__init__()
        self._ports = ports
        self._layout = layout
        self._keep_payload = keep_payload
        self._on_event = on_event
        self._engine: Engine | None = None
        self._frames: list[int] = []
        """The number of packets so far of each file or interface."""
        self._sources: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        """The sockets that have not ended, with the index of each."""

    def recv(self, sock: SuperSocket) -> Iterator[Packet]:
        """Scapy's hook: the messages that the next packet of a socket completes."""
        if sock not in self._sources:
            self._sources[sock] = len(self._frames)
            self._frames.append(0)
        source = self._sources[sock]
        try:
            # Only the link layer: the engine reads the rest from the bytes.
            packet = sock.recv(_MAX_PACKET, stop_dissection_after=Packet)
        except EOFError:
            del self._sources[sock]
            if not self._sources:
                yield from self.close()
            raise
        if packet is not None:
            yield from self.feed(packet, source)

    def feed(self, packet: Packet, source: int = 0) -> list[RaftMessage]:
        """Take one captured packet, from its link layer on; give the messages that it completes.

        `source` counts files or interfaces from 0.
        """
        if self._engine is None:
            self._engine = Engine(self._ports, layout=self._layout, keep_payload=self._keep_payload)
        self._frames.extend([0] * (source + 1 - len(self._frames)))
        self._frames[source] += 1
        return self._packets(self._engine.feed(_as_value(packet, self._frames[source], source)))

    def close(self) -> list[RaftMessage]:
        """The capture is over: give what was still waiting. What is fed after that is a new capture."""
        engine, self._engine = self._engine, None
        self._frames = []
        return self._packets(engine.close()) if engine is not None else []

    def _packets(self, events: Sequence[values.Event]) -> list[RaftMessage]:
        found = []
        for event in events:
            if isinstance(event, values.Message):
                found.append(from_message(event))
            elif self._on_event is not None:
                self._on_event(event)
        return found


def _as_value(packet: Packet, frame: int, source: int) -> values.Packet:
    data = packet.original or bytes(packet)
    link_type = conf.l2types.layer2num.get(type(packet), -1)
    time_ns = int(EDecimal(packet.time) * 1_000_000_000)
    return values.Packet(data, time_ns, link_type, packet.wirelen or len(data), frame, source)
