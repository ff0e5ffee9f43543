"""The full-screen view in a terminal: it draws the latest picture some times a second, and understands keys."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from raft_dissect.live.screen import lines
from raft_dissect.live.screen.ladder import Ladder, chosen
from raft_dissect.live.screen.needs import LEAST_HEIGHT, LEAST_WIDTH
from raft_dissect.live.screen.pages import EventPage, HelpPage, MessagePage
from raft_dissect.live.screen.panels import List, Panel
from raft_dissect.live.screen.picture import Picture
from raft_dissect.live.screen.timeline import SPANS, scale, span, timeline
from raft_dissect.live.screen.wanted import Wanted, understand
from raft_dissect.report.terminal import Style, cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.events import Resize

    from raft_dissect.live.screen.picture import ClusterPicture
    from raft_dissect.live.screen.view import ScreenView

_SECONDS = 0.2
"""Between one picture and the next: what a person can follow, and a slow connection can carry."""
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_FOOT = "q quit  p pause  Tab Up Down Enter inspect  f filter  h heartbeats  ? all keys"
_OTHERS = 17
"""Lines that everything but the servers needs at least."""
_SNAPSHOTS = 2
"""Messages that are still coming of which each has a line."""


class ScreenApp(App[None]):
    """Shows what a view knows; everything else, such as the end of the capture, is the business of who runs it."""

    CSS = """
    Screen { layout: vertical; overflow: hidden; }
    #main { height: 1fr; }
    #filter { display: none; height: 1; border: none; padding: 0; }
    #filter.open { display: block; }
    #small { display: none; height: 1fr; }
    .small #main, .small #filter, .small #foot { display: none; }
    .small #small { display: block; }
    .only-ladder #events, .only-events #ladder { display: none; }
    #events { height: 2fr; min-height: 3; }
    #ladder { height: 3fr; min-height: 4; }
    #foot { height: 1; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Leave"),
        Binding("ctrl+c", "quit", "Leave", priority=True),
        Binding("p,space", "pause", "Pause"),
        Binding("f,slash", "filter", "Filter"),
        Binding("h", "heartbeats", "Heartbeats"),
        Binding("c", "cluster", "Next cluster"),
        Binding("plus,equals_sign", "span(-1)", "Shorter time"),
        Binding("minus", "span(1)", "Longer time"),
        Binding("1", "only('events')", "Events only"),
        Binding("2", "only('ladder')", "Messages only"),
        Binding("0", "only('')", "Both"),
        Binding("question_mark", "help", "All keys"),
        Binding("escape", "escape", "Follow the latest"),
    ]

    def __init__(
        self,
        view: ScreenView,
        *,
        style: Style | None = None,
        failed: Callable[[], bool] = bool,
        takes_signals: bool = False,
    ) -> None:
        """`style` says whether there are block characters; the app ends when `failed` says so."""
        super().__init__(ansi_color=True)
        self._view = view
        self._style = style or Style()
        self._failed = failed
        self._takes_signals = takes_signals
        self._drawn = Picture()
        self._paused: float | None = None
        self._key: int | None = None
        self._span: int | None = None
        self._steady = False
        self._wanted = Wanted()
        self._asked = ""
        self.ended_by: int | None = None
        """The signal that ended it, if one did."""

    def compose(self) -> ComposeResult:
        """The parts from top to bottom."""
        with Vertical(id="main"):
            yield Panel("header")
            yield Panel("cluster")
            yield Panel("servers")
            yield Panel("leaders")
            yield Panel("coming")
            yield Panel("notices")
            yield List("events")
            yield List("ladder")
        yield Static("", id="small")
        yield Input(placeholder="words  server=2  term=5  type=RequestVote", id="filter", compact=True)
        yield Panel("foot")

    def on_mount(self) -> None:
        """Begin to look."""
        if self._takes_signals:
            loop = asyncio.get_running_loop()
            for number in _SIGNALS:
                loop.add_signal_handler(number, self._signalled, number)
        self.query_one("#ladder", List).focus()
        self.set_interval(_SECONDS, self._look)
        self._draw()

    def _signalled(self, number: int) -> None:
        self.ended_by = number
        self.exit()

    def on_resize(self, event: Resize) -> None:
        """Draw for the new size, or say that it is too small."""
        width, height = event.size
        small = width < LEAST_WIDTH or height < LEAST_HEIGHT
        self.screen.set_class(small, "small")
        need = f"this view needs {LEAST_WIDTH}x{LEAST_HEIGHT}, and this terminal has {width}x{height}; q leaves"
        self.query_one("#small", Static).update(Text(need))
        self.call_after_refresh(self._draw)

    def _look(self) -> None:
        if self._failed():
            self.exit()
        elif self._paused is not None:
            self._show_header()
        elif self._view.picture is not self._drawn:
            self._draw()

    # What is drawn

    def _draw(self) -> None:
        if self._paused is None:
            self._drawn = self._view.picture
        picture, width = self._drawn, self.size.width
        _, cluster = self._cluster()
        self._show_header()
        self._panel("cluster").show([lines.title(cluster, len(picture.clusters), picture.now_ns)])
        most = max(self.size.height - _OTHERS, 3)
        self._panel("servers").show([] if cluster is None else lines.servers(cluster, picture.now_ns, width, most))
        self._show_leaders(cluster)
        coming = [one for one in picture.coming if self._is_of(one.stream, cluster)][:_SNAPSHOTS]
        ends = picture.ends
        self._panel("coming").show([lines.coming(one, ends.get(one.stream), cluster, width) for one in coming])
        told = [(lines.troubles(picture), "bold red"), (lines.unknown(cluster), "yellow")]
        self._panel("notices").show(lines.notices(told, width))
        self._show_events(cluster)
        self._show_ladder(cluster)
        self._show_foot()

    def _panel(self, id_: str) -> Panel:
        return self.query_one(f"#{id_}", Panel)

    def _cluster(self) -> tuple[int, ClusterPicture | None]:
        """The cluster that is shown, and where it stands among the others."""
        clusters = self._drawn.clusters
        for number, cluster in enumerate(clusters):
            if cluster.key == self._key:
                return number, cluster
        if not clusters:
            return 0, None
        self._key = clusters[0].key
        return 0, clusters[0]

    def _is_of(self, stream: int, cluster: ClusterPicture | None) -> bool:
        ends = self._drawn.ends.get(stream)
        return ends is None or cluster is None or ends.cluster == cluster.key

    def _show_header(self) -> None:
        paused = "" if self._paused is None else f"PAUSED for {time.monotonic() - self._paused:.0f} s"
        self._panel("header").show([lines.header(self._drawn, self._view.clock, paused, self.size.width)])

    def _show_leaders(self, cluster: ClusterPicture | None) -> None:
        width = self.size.width
        if cluster is None:
            self._panel("leaders").show([])
            return
        now = self._drawn.now_ns
        seconds = span(cluster, now) if self._span is None else self._span
        trend = Text(cut(lines.trend(cluster, self._style, width), width))
        self._panel("leaders").show([timeline(cluster, now, seconds, width), Text(scale(seconds, width), "dim"), trend])

    def _show_events(self, cluster: ClusterPicture | None) -> None:
        key = None if cluster is None else cluster.key
        events = [
            event
            for event in self._drawn.events
            if event.cluster in (key, None) and (not self._wanted or self._wanted.event(event))
        ]
        width = self.size.width
        head = self._heading("events", f"{len(events)} kept" if events else "none yet")

        def make(position: int) -> Text:
            event = events[position]
            line = Text(f"{event.time} ")
            line.append(cut(event.told, width - len(line)), style=event.colour or "")
            return line

        self.query_one("#events", List).fill([head], [event.serial for event in events], make)

    def _show_ladder(self, cluster: ClusterPicture | None) -> None:
        picture, width = self._drawn, self.size.width
        rungs = chosen(picture, cluster, self._wanted, self._steady)
        ladder = Ladder(cluster, width)
        told = "all" if self._steady else "without heartbeats"
        looked, messages = picture.sampled
        if messages:
            told += f"; sampled: {looked:,} of {messages:,} in a second"
        head = [self._heading("messages", told), Text(ladder.head(), style="dim")]

        def make(position: int) -> Text:
            rung = rungs[position]
            return ladder.line(rung, picture.ends.get(rung.seen.stream), self._view.clock)

        self.query_one("#ladder", List).fill(head, [rung.seen.serial for rung in rungs], make)

    def _heading(self, name: str, told: str) -> Text:
        """The line above a list; a `>` marks the one that keys go to."""
        id_ = "ladder" if name == "messages" else name
        mark = ">" if self.query_one(f"#{id_}", List).has_focus else "-"
        asked = f"  filter: {self._asked}" if self._asked else ""
        line = f"{mark * 2} {name}: {told}{asked} "
        return Text(cut(line, self.size.width).ljust(self.size.width, "-"), style="bold" if mark == ">" else "dim")

    def _show_foot(self) -> None:
        more = "  c cluster" if len(self._drawn.clusters) > 1 else ""
        foot = "the capture has ended: q leaves  " + _FOOT if self._drawn.ended else _FOOT + more
        self._panel("foot").show([Text(cut(f" {foot}", self.size.width).ljust(self.size.width), style="reverse")])

    # Keys

    def on_descendant_focus(self) -> None:
        """The marks of the lists change."""
        self._draw()

    def action_pause(self) -> None:
        """Stop the picture, or go on."""
        self._paused = time.monotonic() if self._paused is None else None
        self._draw()

    def action_heartbeats(self) -> None:
        """Show what says nothing new, or hide it."""
        self._steady = not self._steady
        self._draw()

    def action_cluster(self) -> None:
        """Show the next cluster."""
        clusters = self._drawn.clusters
        if clusters:
            number, _ = self._cluster()
            self._key = clusters[(number + 1) % len(clusters)].key
            for each in self.query(List):
                each.chosen = None
            self._draw()

    def action_span(self, by: int) -> None:
        """Show a shorter or a longer time."""
        _, cluster = self._cluster()
        if cluster is not None:
            seconds = span(cluster, self._drawn.now_ns) if self._span is None else self._span
            self._span = SPANS[min(max(SPANS.index(seconds) + by, 0), len(SPANS) - 1)]
            self._draw()

    def action_only(self, name: str) -> None:
        """Show one of the lists alone, or both."""
        for each in ("events", "ladder"):
            self.screen.set_class(each == name, f"only-{each}")
        if name:
            self.query_one(f"#{name}", List).focus()
        self.call_after_refresh(self._draw)

    def action_escape(self) -> None:
        """Close the filter, or follow the latest."""
        field = self.query_one("#filter", Input)
        if field.has_class("open"):
            self._close_filter()
            return
        for each in self.query(List):
            each.action_latest()

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(HelpPage())

    def action_filter(self) -> None:
        """Ask what is wanted."""
        field = self.query_one("#filter", Input)
        field.value = self._asked
        field.add_class("open")
        field.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Show what is wanted, or say what is wrong with it."""
        try:
            self._wanted = understand(event.value)
        except ValueError as error:
            self._panel("foot").show([Text(cut(f" {error}", self.size.width), style="bold red")])
            return
        self._asked = event.value.strip()
        self._close_filter()

    def _close_filter(self) -> None:
        self.query_one("#filter", Input).remove_class("open")
        self.query_one("#ladder", List).focus()
        self._draw()

    def on_list_chosen(self, event: List.Chosen) -> None:
        """Look at a line closely."""
        several, clock = self._view.several, self._view.clock
        if event.where.id == "events":
            found = next((one for one in self._drawn.events if one.serial == event.serial), None)
            if found is not None:
                self.push_screen(EventPage(found, clock, several))
            return
        _, cluster = self._cluster()
        steps = () if cluster is None else cluster.steps
        seen = next((one for one in steps if one.serial == event.serial), None)
        if seen is not None:
            ends = self._drawn.ends[seen.stream]
            who = f"{lines.name_of(cluster, ends.sender)} > {lines.name_of(cluster, ends.receiver)}"
            self.push_screen(MessagePage(seen, who, clock, several))
