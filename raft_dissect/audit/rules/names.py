"""What findings call the servers at the ends of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raft_dissect.audit.knowledge.lines import Line


def named(server: int | str) -> str:
    """A server by its id, or by the address or host that it is known by as long as its id is not."""
    return f"server {server}"


def sender_of(line: Line) -> str:
    """Who sends on a connection."""
    return named(str(line.stream.source) if line.sender is None else line.sender)


def receiver_of(line: Line) -> str:
    """Whom a connection goes to."""
    return named(str(line.stream.destination) if line.receiver is None else line.receiver)


def capital(text: str) -> str:
    """The begin of a sentence."""
    return text[:1].upper() + text[1:]
