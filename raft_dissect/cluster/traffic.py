"""How much the servers sent to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.cluster.facts import Traffic
from raft_dissect.wire.table import PREAMBLE_LENGTH as _PREAMBLE_LENGTH

if TYPE_CHECKING:
    from raft_dissect.cluster.servers import Server
    from raft_dissect.values import Message, Place


class Flow:
    """The messages from one server to another, as they are counted."""

    __slots__ = ("bytes", "first", "messages")

    def __init__(self, first: Place) -> None:
        self.messages: dict[str, int] = {}
        self.bytes = 0
        self.first = first

    def count(self, name: str, header_length: int, payload_length: int | None) -> None:
        """Count a message of this name, and its bytes as far as their number is known."""
        messages = self.messages
        messages[name] = messages.get(name, 0) + 1
        self.bytes += _PREAMBLE_LENGTH + header_length + (payload_length or 0)

    def add(self, name: str, messages: int, size: int) -> None:
        """Count several messages of this name, `size` bytes in all."""
        if messages:
            self.messages[name] = self.messages.get(name, 0) + messages
            self.bytes += size


class Flows:
    """The flows between all pairs of servers."""

    def __init__(self) -> None:
        self._flows: dict[tuple[Server, Server], Flow] = {}

    def of(self, message: Message, sender: Server, receiver: Server) -> Flow:
        """The flow that a message belongs to, which stays the same object."""
        flow = self._flows.get((sender, receiver))
        if flow is None:
            flow = self._flows[sender, receiver] = Flow(message.place)
        return flow

    def __bool__(self) -> bool:
        return bool(self._flows)

    def traffic(self) -> tuple[Traffic, ...]:
        """The traffic under the names that servers have in the end."""
        merged: dict[tuple[Server, Server], Traffic] = {}
        for (sender, receiver), flow in self._flows.items():
            key = (sender.resolved, receiver.resolved)
            other = merged.get(key)
            counts = dict(other.messages) if other else {}
            for name, count in flow.messages.items():
                counts[name] = counts.get(name, 0) + count
            size = flow.bytes + (other.bytes if other else 0)
            first = min(flow.first, other.first) if other else flow.first
            merged[key] = Traffic(sender.name, receiver.name, counts, size, first)
        return tuple(merged.values())
