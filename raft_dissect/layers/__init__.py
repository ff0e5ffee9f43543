"""Scapy layers for the C-Raft protocol, made from the wire table: one class per message, handshake and structure."""

from raft_dissect.layers.base import Raft, RaftMessage
from raft_dissect.layers.evidence import from_message
from raft_dissect.layers.messages import (
    AppendEntries,
    AppendEntriesResult,
    InstallSnapshot,
    RequestVote,
    RequestVoteResult,
    ReservedMessage,
    TimeoutNow,
)
from raft_dissect.layers.openings import DqliteClient, DqliteHandshake, RaftHandshake
from raft_dissect.layers.ports import bind, unbind
from raft_dissect.layers.structure import Configuration, Entry, Server

__all__ = [
    "AppendEntries",
    "AppendEntriesResult",
    "Configuration",
    "DqliteClient",
    "DqliteHandshake",
    "Entry",
    "InstallSnapshot",
    "Raft",
    "RaftHandshake",
    "RaftMessage",
    "RequestVote",
    "RequestVoteResult",
    "ReservedMessage",
    "Server",
    "TimeoutNow",
    "bind",
    "from_message",
    "unbind",
]
