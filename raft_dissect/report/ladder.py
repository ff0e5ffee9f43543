"""The messages of an interval as a ladder: one column per server and an arrow per message, as text or as Mermaid."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.report.escape import mermaid_text, visible, wire_text
from raft_dissect.report.lines import colour, details
from raft_dissect.report.terminal import cut, wrapped
from raft_dissect.report.words import Names
from raft_dissect.units import counted
from raft_dissect.values import Message
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raft_dissect.cluster import Identities
    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.report.terminal import Style
    from raft_dissect.report.times import Clock
    from raft_dissect.values import Diagnostic, Endpoint, Place, Stream

_LONGEST_NAME = 9
"""Characters of a name that stands above its column; longer ones get a letter and a line that explains it."""
_WIDEST, _NARROWEST = 12, 4
"""Characters from one column to the next."""
_LABEL = 44
"""Characters that are kept for what a message says, where a terminal is wide enough for both."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Step(NamedTuple):
    """One line of a ladder: a message, or something about the capture."""

    place: Place
    stream: Stream | None
    """None when it is no message."""
    name: str
    details: str
    colour: str
    folded: int = 0
    """Heartbeats and their answers that were left out before it."""


class Ladder:
    """Takes the messages that were asked for, and keeps the first ones to draw them.

    Heartbeats that say nothing new are folded: AppendEntries without entries whose term, place in the log and commit
    index are those of the one before it to the same follower, and successes that are the same as the one before.
    """

    def __init__(self, identities: Identities, limit: int, every: bool) -> None:
        """At most `limit` messages are kept, 0 keeps them all; with `every` no heartbeat is folded."""
        self._identities = identities
        self._limit = limit
        self._every = every
        self._said: dict[Stream, tuple[object, ...]] = {}
        self.steps: list[Step] = []
        self.more = 0
        """Messages that were asked for, but are beyond the limit."""
        self.folded = 0
        """Heartbeats and answers that were folded after the last step."""

    def add(self, event: Message | Diagnostic) -> None:
        """Take an event."""
        if self._limit and len(self.steps) >= self._limit:
            self.more += 1
            return
        if isinstance(event, Message):
            if not self._every and self._says_nothing_new(event):
                self.folded += 1
                return
            self.steps.append(self._message(event))
        else:
            amount = "" if event.size is None else f"{event.size} bytes, "
            text = visible(f"{event.kind}: {amount}{event.detail}")
            self.steps.append(Step(event.place, None, text, "", "red", self.folded))
        self.folded = 0

    def _says_nothing_new(self, message: Message) -> bool:
        if message.type not in (table.APPEND_ENTRIES, table.APPEND_ENTRIES_RESULT):
            return False
        fields = message.fields
        said = (message.type, *fields.values())
        known = self._said.get(message.stream)
        self._said[message.stream] = said
        return said == known and not (message.partial or fields.get("n_entries") or fields.get("rejected"))

    def _message(self, message: Message) -> Step:
        return Step(message.place, message.stream, message.name, _told(message), colour(message), self.folded)

    def ends(self, stream: Stream) -> tuple[ServerName, ServerName]:
        """Sender and receiver of a stream, by all that is known of them at the end."""
        source, destination = stream.source, stream.destination
        sender, receiver = self._identities.sender(stream).id, self._identities.receiver(stream).id
        return _name(sender, source, destination), _name(receiver, destination, source)


def _name(id_: int | None, end: Endpoint, other: Endpoint) -> ServerName:
    """A server's id, or where it is; on one machine the host alone says nothing."""
    if id_ is not None:
        return id_
    return str(end) if end.host == other.host else end.host


def _told(message: Message) -> str:
    term = message.fields.get("term")
    said = details(message)
    if term is None:
        return said
    return f"term {term}, {said}" if said else f"term {term}"


class _Columns:
    """Which server stands in which column, by what name."""

    def __init__(self, ladder: Ladder) -> None:
        streams = {step.stream for step in ladder.steps if step.stream is not None}
        ends = {stream: ladder.ends(stream) for stream in streams}
        servers = {server for both in ends.values() for server in both}
        self.servers = sorted(servers, key=lambda server: (isinstance(server, str), server))
        names = Names(self.servers)
        numbers = {server: number for number, server in enumerate(self.servers)}
        self.ends = {stream: (numbers[sender], numbers[receiver]) for stream, (sender, receiver) in ends.items()}
        """Of each stream, the columns of its sender and receiver."""
        self.heads = []
        self.legend = []
        for number, server in enumerate(self.servers):
            short = names.short(server)
            if len(short) > _LONGEST_NAME:
                letter = _LETTERS[number % 26] * (number // 26 + 1)
                self.legend.append(f"{letter} is {short}")
                short = letter
            elif isinstance(server, int) and short != str(server):
                self.legend.append(f"{short} is {server}")
            self.heads.append(short)


def ladder_text(
    ladder: Ladder, clock: Clock, style: Style, width: int | None = None, several: bool = False
) -> Iterator[str]:
    """The ladder as lines of text; `width` is where they end, None for no end."""
    columns = _Columns(ladder)
    drawing = Drawing(columns.heads, None if width is None else width - 22 - _LABEL)
    for line in columns.legend:
        yield cut(line, width)
    head = f"{'frame':>7} {'time':<12} {drawing.head()} message"
    yield style.paint(cut(head, width), "dim")
    for step in ladder.steps:
        if step.folded:
            yield style.paint(cut(_beside(drawing.poles(), _heartbeats(step.folded)), width), "dim")
        frame = f"{step.place.file + 1}:{step.place.frame}" if several else str(step.place.frame)
        start = f"{frame:>7} {clock.time(step.place.time_ns, 3):<12} "
        start += drawing.poles() if step.stream is None else drawing.arrow(*columns.ends[step.stream])
        room = None if width is None else max(width - len(start) - 1, 0)
        label = cut(f"{step.name} {step.details}".rstrip(), room)
        name, rest = label[: len(step.name)], label[len(step.name) :]
        yield f"{start} {style.paint(name, step.colour)}{rest}".rstrip()
    if ladder.folded:
        yield style.paint(cut(_beside(drawing.poles(), _heartbeats(ladder.folded)), width), "dim")
    if ladder.more:
        yield from wrapped(_more(ladder.more), width, "")


def _more(count: int) -> str:
    return f"and {counted(count, 'more message')}: choose with --from and --to, or raise --limit"


def _beside(poles: str, text: str) -> str:
    return f"{'':20} {poles} {text}"


def _heartbeats(count: int) -> str:
    return "... 1 heartbeat or answer" if count == 1 else f"... {count:,} heartbeats and answers"


class Drawing:
    """The part of a line that is drawn: a column for each server, and arrows between them."""

    def __init__(self, heads: Sequence[str], room: int | None) -> None:
        """`heads` are the names above the columns; the drawing takes more than `room` where they need it."""
        self._heads = heads
        gaps = max(len(heads) - 1, 1)
        least = max(*map(len, heads), _NARROWEST - 1, 0) + 1 if heads else _NARROWEST
        self._step = max(least, min(_WIDEST, _WIDEST if room is None else room // gaps))
        self.size = self._step * (len(heads) - 1) + 1
        """Characters, without what the last name takes beyond its column."""

    def head(self) -> str:
        """The names, each above its column."""
        line = ""
        for number, name in enumerate(self._heads):
            line = line.ljust(number * self._step) + name
        return line.ljust(self.size)

    def poles(self) -> str:
        """The columns alone."""
        return ("|".ljust(self._step) * len(self._heads)).rstrip()

    def arrow(self, sender: int, receiver: int) -> str:
        """The columns with an arrow from one to another, by their numbers from 0."""
        begin, end = sender * self._step, receiver * self._step
        line = list(self.poles())
        low, high = min(begin, end), max(begin, end)
        for place in range(low + 1, high):
            line[place] = "-"
        if begin < end:
            line[end - 1] = ">"
        elif begin > end:
            line[end + 1] = "<"
        else:
            line[begin] = "o"
        return "".join(line)


def ladder_mermaid(ladder: Ladder, clock: Clock, several: bool = False) -> Iterator[str]:
    """The ladder as a Mermaid sequence diagram."""
    columns = _Columns(ladder)
    yield "sequenceDiagram"
    for number, server in enumerate(columns.servers):
        yield f"    participant S{number} as {mermaid_text(wire_text(str(server)))}"
    if not columns.servers:
        yield "    participant S0 as Raft"
    over = f"S0,S{len(columns.servers) - 1}" if len(columns.servers) > 1 else "S0"
    for step in ladder.steps:
        if step.folded:
            yield f"    Note over {over}: {mermaid_text(_heartbeats(step.folded))}"
        frame = f"{step.place.file + 1}:{step.place.frame}" if several else str(step.place.frame)
        where = f"{clock.time(step.place.time_ns, 6)}, frame {frame}"
        text = mermaid_text(", ".join(part for part in (f"{step.name} {step.details}".strip(), where) if part))
        if step.stream is None:
            yield f"    Note over {over}: {text}"
            continue
        arrow = "-->>" if step.name.endswith("Result") else "->>"
        sender, receiver = columns.ends[step.stream]
        yield f"    S{sender}{arrow}S{receiver}: {text}"
    if ladder.folded:
        yield f"    Note over {over}: {mermaid_text(_heartbeats(ladder.folded))}"
    if ladder.more:
        yield f"    Note over {over}: {mermaid_text('and ' + counted(ladder.more, 'more message'))}"
