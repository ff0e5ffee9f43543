"""From packets to messages: TCP segments, byte streams with gaps as values, framing."""

from raft_dissect.streams.engine import Engine, Statistics

__all__ = ["Engine", "Statistics"]
