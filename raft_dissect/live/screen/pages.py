"""Pages above the full-screen view: a message field by field, an event in full, the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from raft_dissect.live.screen.fields import fields
from raft_dissect.report.terminal import cut, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual.app import ComposeResult

    from raft_dissect.live.screen.fields import FieldLine
    from raft_dissect.live.screen.picture import EventLine, Seen
    from raft_dissect.report.times import Clock
    from raft_dissect.values import Place

_VALUE = 12
"""Characters of a value, behind which its meaning stands; below a longer one."""
_NAME = 14
_KEYS = (
    ("q, Ctrl-C", "leave; what the capture showed is printed then"),
    ("p, Space", "stop the picture, and go on: packets are still taken, nothing is lost"),
    ("Tab", "go from the events to the messages, and back"),
    ("Up, Down, j, k", "choose a line; PageUp and PageDown by pages, Home the oldest"),
    ("End, Esc", "choose none, and follow the latest"),
    ("Enter", "look at the chosen line: a message field by field, or an event in full"),
    ("f, /", "filter: words, server=2, term=5, type=RequestVote; empty shows everything"),
    ("h", "show heartbeats and their answers that say nothing new, or hide them"),
    ("1, 2, 0", "events only, messages only, both"),
    ("c", "the next cluster, where there are several"),
    ("+, -", "a shorter or a longer time in the line that shows who led"),
    ("?", "this page"),
)
_READING = (
    ("server", "its id, or its host with `id ?` as long as no handshake or configuration says its id"),
    ("last index", "the last log entry that it is known to have; `?` is not known yet"),
    ("lag", "entries that it lacks of what its leader has sent to anybody"),
    ("heard", "how long ago its leader sent it something; of the leader, how long ago it sent anything"),
    ("leaders", "[2 term 4] led; `.` nobody led; `?` not known: the capture began in the middle"),
    ("left, +12", "12 messages before this one are not shown: heartbeats, others that the filter or another cluster "
     "leaves out, or those beyond what is looked at where there are very many"),
)  # fmt: skip


class Page(Screen[None]):
    """A page of text that closes with Esc."""

    CSS = "Page { layout: vertical; } Page #head { height: 1; } Page VerticalScroll { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "app.pop_screen", "Back"),
        Binding("up,k", "scroll(-1)", "Up"),
        Binding("down,j", "scroll(1)", "Down"),
        Binding("pageup", "scroll(-15)", "Up"),
        Binding("pagedown,space", "scroll(15)", "Down"),
    ]
    title_text = ""

    def body(self, width: int) -> Iterator[str | Text]:
        """The lines, for a terminal of this width."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        """Head, text, foot."""
        width = self.app.size.width
        yield Static(Text(cut(f" {self.title_text}", width).ljust(width), style="reverse"), id="head")
        with VerticalScroll(can_focus=False):
            lines = [line if isinstance(line, Text) else Text(line) for line in self.body(width - 2)]
            yield Static(Text("\n", no_wrap=True).join(lines), id="body")
        yield Static(Text(" Esc back   Up Down scroll".ljust(width), style="reverse"), id="foot")

    def action_scroll(self, lines: int) -> None:
        """Scroll by some lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


class MessagePage(Page):
    """A message field by field."""

    def __init__(self, seen: Seen, who: str, clock: Clock, several: bool) -> None:
        super().__init__()
        self._seen = seen
        self._clock = clock
        self._several = several
        self.title_text = f"{seen.name}  {who}"

    def body(self, width: int) -> Iterator[str | Text]:
        """Where it was seen, then its fields."""
        seen = self._seen
        yield f"{self._clock.time(seen.place.time_ns, 9)}  {_filter(seen.place, self._several)}"
        yield f"{seen.source} > {seen.destination}  tcp.stream == {seen.stream // 2}"
        handshake = "not seen: the connection is older than the capture" if seen.handshake is None else seen.handshake
        yield f"handshake: {handshake}"
        yield f"in short: {seen.details}" if seen.details else ""
        yield ""
        yield Text(f"{'offset':>6} {'bytes':>5}  {'field':{_NAME}} {'value':{_VALUE}} meaning", style="dim")
        for field in fields(seen):
            yield from _field(field, width)


def _field(field: FieldLine, width: int) -> Iterator[str]:
    if not field.name:
        yield from wrapped(field.value, width, " " * 14, " " * 14)
        return
    offset = "" if field.offset is None else str(field.offset)
    start = f"{offset:>6} {field.size or '':>5}  {field.name:{_NAME}} "
    meaning = " " * (len(start) + _VALUE + 1)
    if len(field.value) > _VALUE:
        yield from wrapped(field.value, width, start, " " * len(start))
        yield from wrapped(field.meaning, width, meaning, meaning) if field.meaning else ()
    else:
        yield from wrapped(field.meaning, width, f"{start}{field.value:{_VALUE}} ", meaning)


def _filter(place: Place, several: bool) -> str:
    """What finds a packet in Wireshark."""
    if not place.frame:
        return ""
    return f"frame.number == {place.frame}" + (f" of file {place.file + 1}" if several else "")


class EventPage(Page):
    """An event in full."""

    def __init__(self, event: EventLine, clock: Clock, several: bool) -> None:
        super().__init__()
        self._event = event
        self._clock = clock
        self._several = several
        self.title_text = event.kind

    def body(self, width: int) -> Iterator[str | Text]:
        """Its time and its whole sentence."""
        event = self._event
        yield f"{self._clock.iso(event.place.time_ns)}  {_filter(event.place, self._several)}"
        yield ""
        yield from wrapped(event.told, width, "", "")


class HelpPage(Page):
    """The keys, and how the view is read."""

    title_text = "Keys"

    def body(self, width: int) -> Iterator[str | Text]:
        """One line for each key, then what the columns mean."""
        for key, meaning in _KEYS:
            yield from wrapped(meaning, width, f" {key:15}", " " * 16)
        yield ""
        for word, meaning in _READING:
            yield from wrapped(meaning, width, f" {word:15}", " " * 16)
