"""Raft streams made of golden vectors: a handshake and any messages, with the place of each; and how to draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st

from tests import vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.vectors import Vector

HANDSHAKES = vectors.load("uv_tcp_handshake", "dqlite_connect")
MESSAGES = vectors.load("raft_message")
USUAL = [vector for vector in MESSAGES if "max" not in vector.name]
"""Messages as servers send them; the others hold the largest values that the encoders can write."""


class Part(NamedTuple):
    """Where a message of a stream begins, where its payload begins, and where it ends."""

    vector: Vector
    start: int
    payload: int
    end: int


class GoldenStream:
    """The bytes of one stream and the messages in them."""

    def __init__(self, handshake: Vector, messages: Sequence[Vector]) -> None:
        self.handshake = handshake
        self.data = handshake.data
        self.parts: list[Part] = []
        for vector in messages:
            start = len(self.data)
            self.data += vector.data
            payload = start + 16 + vector.fields["header_length"]
            self.parts.append(Part(vector, start, payload, len(self.data)))

    def __repr__(self) -> str:
        return f"GoldenStream({self.handshake.name}, {[part.vector.name for part in self.parts]})"


def golden_streams(
    messages: Sequence[Vector] = MESSAGES, *, min_size: int = 1, max_size: int = 8
) -> st.SearchStrategy[GoldenStream]:
    """Any handshake and any of these messages in any order."""
    lists = st.lists(st.sampled_from(messages), min_size=min_size, max_size=max_size)
    return st.builds(GoldenStream, st.sampled_from(HANDSHAKES), lists)


def sizes(largest: int = 3000) -> st.SearchStrategy[list[int]]:
    """Sizes of segments, to be used over and over: often tiny, sometimes large."""
    size = st.one_of(st.integers(1, 20), st.integers(1, largest))
    return st.lists(size, min_size=1, max_size=12)
