"""Happenings as lines of text: when, what, who, why, and the frame that proves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raft_dissect.report.escape import visible
from raft_dissect.report.page import Page
from raft_dissect.report.terminal import wrapped
from raft_dissect.report.words import (
    ELECTION_CAUSES,
    LEADER_ENDS,
    REASONS,
    REJECTIONS,
    SNAPSHOT_OUTCOMES,
    TERM_CAUSES,
    TRANSFER_REASONS,
    Names,
    maybe,
)
from raft_dissect.units import counted, duration, size

if TYPE_CHECKING:
    from collections.abc import Callable

    from raft_dissect.cluster.facts import (
        CatchUp,
        ConfigurationFact,
        Election,
        Leadership,
        Rejection,
        ServerFact,
        ServerName,
        Snapshot,
        TermChange,
        Transfer,
        Truncation,
    )
    from raft_dissect.report.terminal import Style
    from raft_dissect.report.times import Clock
    from raft_dissect.values import Diagnostic
    from raft_dissect.watch import Happening
    from raft_dissect.watch.happenings import Connection, Restart

_ENDLESS = 10_000
"""Columns where nothing says how many there are."""
COLOURS = {
    "leader": "green",
    "leader_returned": "green",
    "leader_ended": "red",
    "restart": "red",
    "rejection": "red",
    "connection_refused": "red",
    "connection_reset": "red",
    "connection_unanswered": "red",
    "truncation": "red",
    "diagnostic": "red",
    "election_begun": "yellow",
    "election_ended": "yellow",
    "term_change": "yellow",
    "transfer_begun": "yellow",
    "transfer_ended": "yellow",
    "snapshot_begun": "cyan",
    "snapshot_sent": "cyan",
    "snapshot_ended": "cyan",
}
"""By kind of happening: the colour of its line, if it has one."""


class HappeningText:
    """Makes the lines of happenings; `width` is where they end, None for no end."""

    def __init__(
        self, clock: Clock, style: Style, width: int | None, several: bool = False, names: Names | None = None
    ) -> None:
        """With `several` files the number of a frame has that of its file before it; `names` are shared with others."""
        self._page = Page(clock, style, Names() if names is None else names, width, several)
        self._clock = clock
        self._style = style
        self._width = width
        self._clusters = 1
        self._sentences: dict[str, Callable[[Any], str]] = {
            "server": self._server,
            "restart": self._restart,
            "term_change": self._term_change,
            "election_begun": self._election_begun,
            "election_ended": self._election_ended,
            "leader": self._leader,
            "leader_ended": self._leader_ended,
            "leader_returned": self._leader_returned,
            "rejection": self._rejection,
            "catch_up_begun": self._catch_up_begun,
            "catch_up_ended": self._catch_up_ended,
            "truncation": self._truncation,
            "snapshot_begun": self._snapshot_begun,
            "snapshot_sent": self._snapshot_sent,
            "snapshot_ended": self._snapshot_ended,
            "transfer_begun": self._transfer_begun,
            "transfer_ended": self._transfer_ended,
            "configuration": self._configuration,
            "configuration_committed": self._committed,
            "configuration_rolled_back": self._rolled_back,
            "connection_opened": self._opened,
            "connection_closed": self._closed,
            "connection_reset": self._reset,
            "connection_refused": self._refused,
            "connection_unanswered": self._unanswered,
            "diagnostic": self._diagnostic,
        }

    def lines(self, happening: Happening) -> list[str]:
        """The lines of a happening, one unless the terminal is narrow."""
        self._clusters = max(self._clusters, happening.cluster + 1)
        time = self._clock.time(happening.place.time_ns, 3)
        sentence = self._sentences[happening.kind](happening.fact)
        if self._clusters > 1:
            sentence = f"cluster {happening.cluster + 1}: {sentence}"
        if happening.place.frame:
            sentence += f" (frame {self._page.frame(happening.place)})"
        start = f"{time}  "
        first, *others = wrapped(sentence, self._width or _ENDLESS, start, " " * len(start))
        colour = COLOURS.get(happening.kind)
        if colour is not None:
            first = start + self._style.paint(first[len(start) :], colour)
        return [first, *others]

    def _name(self, name: ServerName) -> str:
        short = self._page.short(name)
        return f"server {short}" if isinstance(name, int) else short

    def _server(self, fact: ServerFact) -> str:
        where = " ".join(map(visible, fact.addresses))
        if not isinstance(fact.name, int):
            return f"{self._name(fact.name)} is seen; its id is not known yet"
        return f"{self._name(fact.name)} is at {where}"

    def _restart(self, fact: Restart) -> str:
        return f"{self._name(fact.server)} was started anew"

    def _opened(self, fact: Connection) -> str:
        return f"{self._name(fact.sender)} connected to {self._name(fact.receiver)}"

    def _closed(self, fact: Connection) -> str:
        return f"the connection from {self._name(fact.sender)} to {self._name(fact.receiver)} was closed"

    def _reset(self, fact: Connection) -> str:
        return f"the connection from {self._name(fact.sender)} to {self._name(fact.receiver)} was reset"

    def _refused(self, fact: Connection) -> str:
        return f"{self._name(fact.receiver)} refuses connections from {self._name(fact.sender)}"

    def _unanswered(self, fact: Connection) -> str:
        return f"{self._name(fact.receiver)} does not answer {self._name(fact.sender)}, which tries to connect"

    def _term_change(self, fact: TermChange) -> str:
        if fact.old is None:
            return f"{self._name(fact.server)} is in term {fact.new}"
        return f"{self._name(fact.server)} went from term {fact.old} to {fact.new}: {TERM_CAUSES[fact.cause]}"

    def _election_begun(self, fact: Election) -> str:
        what = "pre-votes" if fact.pre_vote else "votes"
        silent = (
            ""
            if fact.silent_seconds is None or fact.leader is None
            else (f", {duration(fact.silent_seconds)} after the last message of leader {self._name(fact.leader)}")
        )
        cause = ELECTION_CAUSES[fact.cause]
        return f"{self._name(fact.candidate)} asks for {what} in term {fact.term} ({cause}{silent})"

    def _election_ended(self, fact: Election) -> str:
        what = "pre-vote" if fact.pre_vote else "election"
        parts = [f"{len(fact.granted)} of {len(fact.requests)} granted"]
        refused = {refusal.voter: refusal.reason for refusal in fact.refused}
        parts += [f"{self._name(voter)}: {REASONS[reason]}" for voter, reason in refused.items()]
        told = "; ".join(parts)
        return f"{what} of {self._name(fact.candidate)} in term {fact.term}: {fact.outcome} ({told})"

    def _leader(self, fact: Leadership) -> str:
        return f"{self._name(fact.leader)} leads term {fact.term}"

    def _leader_ended(self, fact: Leadership) -> str:
        return f"{self._name(fact.leader)} no longer leads term {fact.term}: {LEADER_ENDS[fact.ended_by]}"

    def _leader_returned(self, fact: Leadership) -> str:
        return f"{self._name(fact.leader)} is heard again as leader of term {fact.term}"

    def _rejection(self, fact: Rejection) -> str:
        index = "" if fact.rejected is None else f" at index {fact.rejected}"
        return (
            f"{self._name(fact.by)} rejected {REJECTIONS[fact.kind]} of {self._name(fact.of)}{index}"
            f" in term {fact.term}: {REASONS[fact.reason]}"
        )

    def _catch_up_begun(self, fact: CatchUp) -> str:
        return f"{self._name(fact.follower)} lacks entries; {self._name(fact.leader)} looks for what both have"

    def _catch_up_ended(self, fact: CatchUp) -> str:
        behind = "" if fact.behind is None else f"{_entries(fact.behind)} behind, "
        took = "" if fact.seconds is None else f" after {duration(fact.seconds)}"
        way = "by a snapshot" if fact.snapshot else f"with {counted(fact.rejections, 'rejection')}"
        return f"{self._name(fact.follower)} has caught up with {self._name(fact.leader)}{took} ({behind}{way})"

    def _truncation(self, fact: Truncation) -> str:
        what = f"{_entries(fact.entries)} from index {fact.first_index}"
        return f"{self._name(fact.follower)} gave up {what} for those of {self._name(fact.leader)}"

    def _snapshot(self, fact: Snapshot) -> str:
        amount = "" if fact.bytes is None else f" of {size(fact.bytes)}"
        return f"snapshot{amount} up to index {maybe(fact.last_index)}"

    def _snapshot_begun(self, fact: Snapshot) -> str:
        return f"{self._name(fact.leader)} sends {self._name(fact.follower)} a {self._snapshot(fact)}"

    def _snapshot_sent(self, fact: Snapshot) -> str:
        took = "" if fact.seconds is None else f" in {duration(fact.seconds)}"
        return f"{self._name(fact.leader)} has sent {self._name(fact.follower)} a {self._snapshot(fact)}{took}"

    def _snapshot_ended(self, fact: Snapshot) -> str:
        return f"{self._snapshot(fact)} for {self._name(fact.follower)}: {SNAPSHOT_OUTCOMES[fact.outcome]}"

    def _transfer_begun(self, fact: Transfer) -> str:
        return f"{self._name(fact.leader)} asks {self._name(fact.target)} to take over from term {fact.term}"

    def _transfer_ended(self, fact: Transfer) -> str:
        took = "" if fact.seconds is None else f" after {duration(fact.seconds)}"
        why = "" if fact.reason is None else f": {TRANSFER_REASONS[fact.reason]}"
        return f"transfer from {self._name(fact.leader)} to {self._name(fact.target)} {fact.outcome}{took}{why}"

    def _members(self, fact: ConfigurationFact) -> str:
        return ", ".join(f"{self._page.short(server.id)} {server.role_name}" for server in fact.servers)

    def _configuration(self, fact: ConfigurationFact) -> str:
        change = "" if fact.change is None else f" ({fact.change})"
        return f"configuration at index {fact.conf_index}{change}: {self._members(fact)}"

    def _committed(self, fact: ConfigurationFact) -> str:
        return f"the configuration at index {fact.conf_index} is committed"

    def _rolled_back(self, fact: ConfigurationFact) -> str:
        return f"the configuration at index {fact.conf_index} is rolled back: {self._members(fact)}"

    def _diagnostic(self, fact: Diagnostic) -> str:
        where = "" if fact.stream is None else f", {fact.stream.source} > {fact.stream.destination}"
        amount = "" if fact.size is None else f"{size(fact.size)}, "
        return visible(f"{fact.kind}: {amount}{fact.detail}{where}")


def _entries(number: int) -> str:
    return "1 entry" if number == 1 else f"{number:,} entries"
