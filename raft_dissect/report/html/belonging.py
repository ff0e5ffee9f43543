"""Which of several clusters a stream belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.values import Endpoint, Place, Stream


class Belonging:
    """Knows clusters by where their servers listen: a stream belongs to the cluster of the server that it goes to.

    The facts name servers by ids and by what they advertise, which clusters may have in common. So a place where
    somebody listens is known by the first message from one server to another, which is a fact with its frame.
    """

    def __init__(self, clusters: Sequence[ClusterFacts], first: Mapping[Stream, Place]) -> None:
        self._only = len(clusters) == 1
        self._listening: dict[Endpoint, int] = {}
        self._addresses: dict[str, int] = {}
        ends = {place: stream.destination for stream, place in first.items()}
        for number, facts in enumerate(clusters):
            for traffic in facts.traffic:
                if traffic.first in ends:
                    self._listening[ends[traffic.first]] = number
            for server in facts.servers:
                for address in server.addresses:
                    self._addresses.setdefault(address, number)

    def cluster(self, stream: Stream) -> int | None:
        """The index of its cluster; None when no server of any is known to listen there."""
        if self._only:
            return 0
        end = stream.destination
        return self._listening.get(end, self._addresses.get(str(end)))
