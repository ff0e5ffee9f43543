"""What a user wants to see of messages and events: words, and what is known to stand for a server, a term or a type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from raft_dissect.live.screen.picture import EventLine, Seen


class Wanted(NamedTuple):
    """Everything that was asked for must hold; what is empty asks for nothing."""

    words: tuple[str, ...] = ()
    """In lower case; each must be in the line."""
    servers: tuple[str, ...] = ()
    """Short names, of which one must be at either end."""
    terms: tuple[int, ...] = ()
    types: tuple[str, ...] = ()
    """Beginnings of names of messages or kinds of events, in lower case."""

    def __bool__(self) -> bool:
        return any(self)

    def message(self, seen: Seen, sender: str, receiver: str) -> bool:
        """Whether a message between two servers is wanted."""
        line = f"{seen.name} {seen.details} term {seen.term} {sender} > {receiver}".lower()
        return (
            all(word in line for word in self.words)
            and (not self.servers or sender in self.servers or receiver in self.servers)
            and (not self.terms or seen.term in self.terms)
            and (not self.types or seen.name.lower().startswith(self.types))
        )

    def event(self, event: EventLine) -> bool:
        """Whether an event is wanted, as far as its sentence tells."""
        line = f"{event.kind} {event.text}"
        return (
            all(word in line.lower() for word in self.words)
            and (not self.servers or any(_names(server, line) for server in self.servers))
            and (not self.terms or any(re.search(rf"\bterm (\d+ to )?{term}\b", line) for term in self.terms))
            and (not self.types or event.kind.lower().startswith(self.types))
        )


def _names(server: str, line: str) -> bool:
    """Whether a sentence is about a server."""
    return re.search(rf"(\bserver |\s|^){re.escape(server)}(?![\w.])", line) is not None


def understand(text: str) -> Wanted:
    """What a user has written: `server=2 term=5 type=RequestVote`, and words; raises ValueError with what is wrong."""
    found: dict[str, list[str]] = {"server": [], "term": [], "type": []}
    words = []
    for word in text.split():
        key, sign, value = word.partition("=")
        if not sign:
            words.append(word.lower())
        elif key not in found:
            raise ValueError(f"{key}= is not known: there are server=, term= and type=")
        elif not value:
            raise ValueError(f"{key}= wants a value, such as {key}={'RequestVote' if key == 'type' else 2}")
        else:
            found[key].append(value)
    if not all(term.isdecimal() for term in found["term"]):
        raise ValueError("term= wants a number")
    types = tuple(type_.lower() for type_ in found["type"])
    return Wanted(tuple(words), tuple(found["server"]), tuple(map(int, found["term"])), types)
