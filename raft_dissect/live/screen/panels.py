"""The widgets of the full-screen view: parts that show lines, and lists in which one line can be chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message as Signal
from textual.widget import Widget

from raft_dissect.report.terminal import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.geometry import Size


class Panel(Widget):
    """Some lines; it is drawn again only when they have changed, so that little goes over a slow connection."""

    DEFAULT_CSS = "Panel { height: auto; width: 100%; }"

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.lines: list[Text] = []

    def show(self, lines: Sequence[Text]) -> None:
        """Show other lines."""
        if list(lines) != self.lines or [line.spans for line in lines] != [line.spans for line in self.lines]:
            resized = len(lines) != len(self.lines)
            self.lines = list(lines)
            self.refresh(layout=resized)

    def render(self) -> Text:
        """All lines as one text."""
        text = Text("\n", no_wrap=True, end="").join(self.lines)
        text.no_wrap = True
        return text

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002 - Textual's names
        """As many lines as there are."""
        return len(self.lines)

    @property
    def text(self) -> str:
        """What it shows, without its styles."""
        return "\n".join(line.plain for line in self.lines)


class List(Panel, can_focus=True):
    """A list whose last lines are shown, until one line is chosen, which then stays in sight."""

    DEFAULT_CSS = "List { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Choose the line above"),
        Binding("down,j", "move(1)", "Choose the line below"),
        Binding("pageup", "page(-1)", "A page up"),
        Binding("pagedown", "page(1)", "A page down"),
        Binding("home,g", "first", "The oldest"),
        Binding("end,G", "latest", "Go on with the latest"),
        Binding("enter", "inspect", "Look at it closely"),
    ]

    class Chosen(Signal):
        """A line is to be looked at closely."""

        def __init__(self, where: List, serial: int) -> None:
            super().__init__()
            self.where = where
            self.serial = serial

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.serials: list[int] = []
        """Of all lines that it holds."""
        self._head: list[Text] = []
        self.line: Callable[[int], Text] = lambda _: Text("")
        """Gives the line at a position."""
        self.chosen: int | None = None
        """Serial of the chosen line; None while the latest are followed."""

    def fill(self, head: Sequence[Text], serials: Sequence[int], make: Callable[[int], Text]) -> None:
        """Show other lines below a head; `make` gives the line at a position, and is asked for those in sight only."""
        self._head, self.serials, self.line = list(head), list(serials), make
        self.draw()

    def draw(self) -> None:
        """Draw what is in sight."""
        room = max(self.size.height - len(self._head), 0)
        at = self._position()
        count = len(self.serials)
        first = max(count - room, 0) if at is None else min(max(at - room // 2, 0), max(count - room, 0))
        lines = []
        for position in range(first, min(first + room, count)):
            line = self.line(position)
            if position == at:
                line = Text(cut(line.plain.ljust(self.size.width), self.size.width), style="reverse")
            lines.append(line)
        self.show([*self._head, *lines])

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002 - Textual's names
        """It takes what the others leave."""
        return max(len(self.lines), 1)

    def on_resize(self) -> None:
        """There is room for more lines, or for fewer."""
        self.draw()

    def _position(self) -> int | None:
        """Where the chosen line stands; when it is not there any more, the one after it."""
        if self.chosen is None or not self.serials:
            return None
        for position, serial in enumerate(self.serials):
            if serial >= self.chosen:
                return position
        return len(self.serials) - 1

    def _choose(self, position: int) -> None:
        if self.serials:
            self.chosen = self.serials[min(max(position, 0), len(self.serials) - 1)]
            self.draw()

    def action_move(self, by: int) -> None:
        """Choose another line; the last one when none was chosen."""
        at = self._position()
        self._choose(len(self.serials) - 1 if at is None else at + by)

    def action_page(self, by: int) -> None:
        """Go up or down by what is in sight."""
        at = self._position()
        at = len(self.serials) - 1 if at is None else at
        self._choose(at + by * max(self.size.height - len(self._head) - 1, 1))

    def action_first(self) -> None:
        """Choose the first line."""
        self._choose(0)

    def action_latest(self) -> None:
        """Choose no line, so that the latest are followed."""
        self.chosen = None
        self.draw()

    def action_inspect(self) -> None:
        """Ask for a closer look at the chosen line, or else the last one."""
        at = self._position()
        if self.serials:
            self.chosen = self.serials[-1 if at is None else at]
            self.draw()
            self.post_message(self.Chosen(self, self.chosen))
