"""What findings call servers, alone and together."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def listed(ids: Iterable[int]) -> str:
    """Ids in their order, such as 1, 2 and 3."""
    names = [str(id_) for id_ in sorted(ids)]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
