"""Messages and diagnostics as text, one aligned line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.report.escape import visible
from raft_dissect.report.terminal import cut
from raft_dissect.report.words import Names
from raft_dissect.units import size
from raft_dissect.values import Message
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect import wire
    from raft_dissect.cluster import Identities
    from raft_dissect.report.terminal import Style
    from raft_dissect.report.times import Clock
    from raft_dissect.values import Diagnostic, Endpoint, Place

_COLOURS = {
    table.REQUEST_VOTE: "yellow",
    table.REQUEST_VOTE_RESULT: "yellow",
    table.INSTALL_SNAPSHOT: "cyan",
    table.TIMEOUT_NOW: "yellow",
}
_ROOMY = 100
"""Columns from which on there is room for microseconds and wide gaps."""
_NAME_WIDTH = max(len(name) for name in table.MESSAGE_NAMES.values() if name != "InstallSnapshotResult")


class Lines:
    """Makes the lines of `messages`; `width` is where they end, None for no end.

    With `several` files the number of a frame has that of its file before it.
    """

    def __init__(
        self, identities: Identities, clock: Clock, style: Style, width: int | None, several: bool = False
    ) -> None:
        self._identities = identities
        self._clock = clock
        self._style = style
        self._width = width
        self._several = several
        self._names = Names()
        self._server_width = 1
        roomy = width is None or width >= _ROOMY
        self._gap = "  " if roomy else " "
        self._digits = 6 if roomy else 3

    def head(self) -> str:
        """The line above all others, to be asked for when the first of them is known."""
        names = (self._names.short(id_) for id_ in self._identities.ids)
        self._server_width = max(map(len, names), default=1)
        name = "message".ljust(_NAME_WIDTH)
        who = "who".ljust(2 * self._server_width + 3)
        time = "time".ljust(self._digits + 9)
        line = self._gap.join((f"{'frame':>7}", time, who, name, " term", "details"))
        return self._style.paint(cut(line, self._width), "dim")

    def line(self, event: Message | Diagnostic) -> str:
        """The line of a message or diagnostic."""
        return self.message(event) if isinstance(event, Message) else self.diagnostic(event)

    def message(self, message: Message) -> str:
        """The line of a message."""
        stream = message.stream
        sender = self._name(self._identities.sender(stream).id, stream.source)
        receiver = self._name(self._identities.receiver(stream).id, stream.destination)
        self._server_width = max(self._server_width, len(sender), len(receiver))
        fields = message.fields
        who = f"{sender:>{self._server_width}} > {receiver:<{self._server_width}}"
        start = self._start(message.place) + who + self._gap
        rest = self._gap + self._gap.join((f"{fields.get('term', '?'):>5}", details(message)))
        name = cut(message.name.ljust(_NAME_WIDTH), self._left(start))
        return start + self._style.paint(name, colour(message)) + cut(rest, self._left(start + name)).rstrip()

    def diagnostic(self, diagnostic: Diagnostic) -> str:
        """The line of a diagnostic."""
        where = ""
        if diagnostic.stream is not None:
            where = f", {diagnostic.stream.source} > {diagnostic.stream.destination}"
            if diagnostic.offset is not None:
                where += f" at byte {diagnostic.offset}"
        amount = "" if diagnostic.size is None else f"{diagnostic.size} bytes, "
        start = self._start(diagnostic.place)
        text = visible(f"{diagnostic.kind}: {amount}{diagnostic.detail}{where}")
        return start + self._style.paint(cut(text, self._left(start)), "red")

    def _start(self, place: Place) -> str:
        time = self._clock.time(place.time_ns, self._digits)
        frame = f"{place.file + 1}:{place.frame}" if self._several and place.frame else place.frame or ""
        return self._gap.join((f"{frame:>7}", time, ""))

    def _left(self, written: str) -> int | None:
        """How much fits behind what is written already."""
        return None if self._width is None else max(self._width - len(written), 0)

    def _name(self, id_: int | None, end: Endpoint) -> str:
        return self._names.short(end.host if id_ is None else id_)


def colour(message: Message) -> str:
    """The colour of a message's name: what goes wrong stands out, heartbeats step back."""
    fields = message.fields
    if fields.get("rejected") or fields.get("vote_granted") is False:
        return "red"
    return _COLOURS.get(message.type, "dim" if fields.get("n_entries") == 0 else "green")


def details(message: Message) -> str:
    """What a message says, in a few words."""
    fields = message.fields
    words = _WORDERS[message.type](message) if message.type in _WORDERS and "term" in fields else []
    if message.partial:
        words.append("PARTIAL" if message.missing is None else f"PARTIAL, {size(message.missing)} missing")
    return ", ".join(words)


def _position(word: str, fields: dict[str, int], index: str, term: str) -> list[str]:
    """Index and term of an entry; nothing when neither was captured."""
    if index not in fields:
        return []
    return [f"{word} {fields[index]}/{fields.get(term, '?')}"]


def _request_vote(message: Message) -> list[str]:
    fields = message.fields
    words = _position("last", fields, "last_log_index", "last_log_term")
    words += [word for name, word in (("pre_vote", "pre-vote"), ("disrupt_leader", "transfer")) if fields.get(name)]
    return words


def _request_vote_result(message: Message) -> list[str]:
    fields = message.fields
    if "vote_granted" not in fields:
        return []
    return ["granted" if fields["vote_granted"] else "refused", *(["pre-vote"] if fields.get("pre_vote") else [])]


def _append_entries(message: Message) -> list[str]:
    fields = message.fields
    words = _position("prev", fields, "prev_log_index", "prev_log_term")
    if "leader_commit" in fields:
        words.append(f"commit {fields['leader_commit']}")
    if message.entries:
        total = "" if message.payload_length is None else f" {size(message.payload_length)}"
        kinds = "/".join(dict.fromkeys(str(entry.type_name) for entry in message.entries))
        words.insert(0, f"+{fields['n_entries']}{'' if kinds == 'command' else ' ' + kinds}{total}")
    return words


def _append_entries_result(message: Message) -> list[str]:
    fields = message.fields
    rejected = fields.get("rejected")
    words = [] if rejected is None else [f"rejected {rejected}" if rejected else "ok"]
    if "last_log_index" in fields:
        words.append(f"last {fields['last_log_index']}")
    return words


def _install_snapshot(message: Message) -> list[str]:
    words = _position("up to", message.fields, "last_index", "last_term")
    if message.payload_length is not None:
        words.append(size(message.payload_length))
    if message.configuration is not None:
        words.append(_servers(message.configuration))
    return words


def _servers(configuration: Sequence[wire.Server]) -> str:
    names = Names()
    return "servers " + " ".join(f"{names.short(server.id)}:{server.role_name}" for server in configuration)


def _timeout_now(message: Message) -> list[str]:
    return _position("last", message.fields, "last_log_index", "last_log_term")


_WORDERS = {
    table.REQUEST_VOTE: _request_vote,
    table.REQUEST_VOTE_RESULT: _request_vote_result,
    table.APPEND_ENTRIES: _append_entries,
    table.APPEND_ENTRIES_RESULT: _append_entries_result,
    table.INSTALL_SNAPSHOT: _install_snapshot,
    table.TIMEOUT_NOW: _timeout_now,
}
