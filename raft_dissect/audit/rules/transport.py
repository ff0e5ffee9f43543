"""HS and TCP: how servers introduce themselves, who connects to whom and how often, and what the capture lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from raft_dissect.audit.group import Group
from raft_dissect.audit.judge import Subject
from raft_dissect.audit.rule import Rule
from raft_dissect.audit.rules.names import capital, named, receiver_of, sender_of
from raft_dissect.audit.rules.reconnects import WITHIN_NS, Attempt, Reconnects
from raft_dissect.cluster.addresses import is_loopback
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable

    from raft_dissect.audit.judge import Judge
    from raft_dissect.audit.knowledge import Knowledge
    from raft_dissect.audit.knowledge.configurations import Configured
    from raft_dissect.audit.knowledge.lines import Line
    from raft_dissect.audit.rules.reconnects import Cause, Storm
    from raft_dissect.audit.step import Step
    from raft_dissect.cluster.facts import ClusterFacts
    from raft_dissect.values import Diagnostic, Endpoint, Place, Stream, StreamEnd, TransportEvent

PROTOCOL = Rule(
    "HS-01",
    "A connection begins with a handshake of version 1",
    "error",
    "The first bytes of a connection that carries Raft are a handshake of Raft or of dqlite with protocol 1, or the "
    "number that dqlite before v1.6.0 used.",
    "observed in every release: receivers close the connection otherwise",
    "The begin of a connection on which a message follows the handshake.",
    "What is no Raft at all on the same port (SQL clients, HTTP, junk) is not judged: it is taken for a handshake only "
    "where a message stands right behind it.",
    "Server 10.0.0.1:40112 begins its connection to server 2 with protocol 2, not 1.",
)
INTRODUCTION = Rule(
    "HS-02",
    "A handshake names a server and its address",
    "error",
    "The id in a handshake is not 0, and its address is text that ends with a NUL within a length that is a multiple "
    "of 8.",
    "observed in every release: receivers abort for an id of 0, and read beyond the end of an address without a NUL",
    "As HS-01.",
    "As HS-01.",
    "Server 0 connects to server 2: no server may have the id 0.",
)
ADDRESS = Rule(
    "HS-03",
    "A server has one address, and an address one server",
    "warning",
    "A server advertises an address that a configuration gives it, and the one that it advertised before; no two "
    "servers advertise the same.",
    "Raft thesis 4",
    "Two handshakes, or a handshake and a configuration, with the same id or the same address.",
    "Only what servers say of themselves is compared, not where packets come from. Servers may move: one that a "
    "configuration names at its new address within 3 s is left in peace.",
    "Server 2 calls itself 10.0.0.9:9001; it was 10.0.0.2:9001 before (frame 12).",
)
ONE_WAY = Rule(
    "HS-04",
    "A connection carries Raft one way",
    "warning",
    "Only the side that opened a connection sends messages on it.",
    "observed in every release: answers go over a connection of their own",
    "A connection of which both directions were captured.",
    "Proxies that use one connection for both ways do this; it is no more than a warning.",
    "Server 2 and server 1 both send messages on one connection, 10.0.0.2:9001.",
)
SINGLE = Rule(
    "HS-05",
    "A server has one connection to another",
    "note",
    "A second after a server has opened a connection to another it sends nothing on one that it opened before.",
    "observed in every release",
    "Two connections between the same servers at the same time.",
    "The old connection may still be closing, and capture points may have different clocks: hence the second.",
    "Server 1 goes on using its older connection to server 2 after it has opened another one (frame 200).",
)
CANDIDATE = Rule(
    "HS-06",
    "A candidate asks for votes in its own name",
    "error",
    "candidate_id of RequestVote is the id in the handshake of its connection.",
    "Raft 5.2; observed in every release",
    "RequestVote on a connection whose handshake was captured.",
    "The handshake of the same connection is used, and no inferred identity.",
    "Server 2 asks server 3 for a vote in the name of server 7 in term 9.",
)
MEMBER = Rule(
    "HS-07",
    "Who connects is a member",
    "note",
    "A server that connects to another is in the latest configuration, at the latest 3 s after.",
    "Raft thesis 4",
    "A handshake, and a configuration that was seen.",
    "Configurations take their time: a server may be asked to join before the entry that names it is seen.",
    "Server 4 connects to server 1 and is not in configuration 12 (frame 90).",
)
RECONNECTS = Rule(
    "HS-08",
    "No reconnect storm",
    "warning",
    "A server opens fewer than five connections to another within 2 s: it tries again at once when a connection "
    "breaks, and then once a second. Storms of refused attempts are a note: clients on the same host may make them.",
    "observed in every release: the retry delay of 1 s",
    "Connections from one server to another, or attempts that were refused.",
    "Connections are counted by the id in their handshakes; attempts that were refused have none, so they are counted "
    "by host, and not at all between servers on one machine.",
    "Server 1 opens 13 connections to server 2 within 2.0 s: 12 ended after 1 message at most, of which the last was "
    "AppendEntries.",
)
COMPLETE = Rule(
    "TCP-01",
    "The capture has all bytes of a stream",
    "note",
    "No bytes of a connection between servers are missing; where some are, reading goes on at the next message.",
    "this is about the capture, not about the servers",
    "Any connection that carried Raft.",
    "Segments that the snaplen cut are not counted: the messages in them are partial, and nothing else is lost.",
    "1448 bytes from server 1 to server 2 are missing between frames 40 and 42, inside AppendEntries of term 3.",
)
RULES = (PROTOCOL, INTRODUCTION, ADDRESS, ONE_WAY, SINGLE, CANDIDATE, MEMBER, RECONNECTS, COMPLETE)

_MAX_KNOWN = 4096
"""Ids, addresses and hosts that are remembered, the latest ones."""
_MAX_STORMS = 100
_VERSIONED = ("RequestVote", "RequestVoteResult", "AppendEntriesResult")
"""Messages that not every release can decode."""
_SINGLE_NS = 1_000_000_000


class Transport(Group):
    """Judges handshakes and connections."""

    def __init__(self, knowledge: Knowledge, judge: Judge) -> None:
        super().__init__(knowledge, judge)
        self._advertised: dict[int, tuple[str, Place]] = {}
        self._owners: dict[str, tuple[int, Place]] = {}
        self._speaking: dict[int, set[int]] = {}  # of each connection, the streams that carry Raft
        self._incomplete: set[int] = set()  # streams
        self._reconnects = Reconnects()
        self._open: dict[int, Attempt] = {}  # by stream
        self._storms: list[tuple[Storm, int | None, Endpoint]] = []  # whose cause only the end can tell
        self._listeners: dict[Endpoint, Line] = {}  # the latest connection to it
        self._tenants: dict[str, set[int]] = {}

    # What is told

    def opened(self, line: Line, place: Place) -> None:
        """A connection has shown its handshake."""
        handshake = line.stream.handshake
        if handshake is None:
            return
        self.judge.hold(PROTOCOL)
        if handshake.id:
            self.judge.hold(INTRODUCTION)
        else:
            text = f"Server 0 connects to {receiver_of(line)}: no server may have the id 0."
            self.judge.find(INTRODUCTION, place, text, Subject(0, line.receiver))
        if handshake.address:
            self._introduced(handshake.id, handshake.address, line, place)
        self._second(line, place)
        before = self.knowledge.configurations.latest
        self.judge.later(lambda: self._member(line, place, before), place)
        self._speaks(line, place)
        self._connects(line, place)

    def message(self, step: Step) -> None:
        """A message, complete or partial."""
        line = step.line
        if not line.messages:
            self._speaks(line, step.place)
        attempt = self._open.get(line.stream.number)
        if attempt is not None:
            attempt.messages += 1
            attempt.last = step.message.name
        if step.type == table.REQUEST_VOTE:
            self._candidate(step)

    def closed(self, line: Line, place: Place, reason: StreamEnd) -> None:  # noqa: ARG002  # what every group is told
        """A connection ended."""
        stream = line.stream
        speaking = self._speaking.pop(stream.number // 2, set())
        if len(speaking) == 1:
            if stream.round_trips is None:
                self.judge.skip(ONE_WAY, "other_direction")
            else:
                self.judge.hold(ONE_WAY)
        if stream.number in self._incomplete:
            self._incomplete.remove(stream.number)
        else:
            self.judge.hold(COMPLETE)
        attempt = self._open.pop(stream.number, None)
        if attempt is not None and reason in ("fin", "rst"):
            attempt.outcome = "ended"

    def transport(self, event: TransportEvent) -> None:
        """Something that TCP did."""
        stream = event.stream
        if event.kind in ("closed", "reset"):
            attempt = self._open.get(stream.number)
            if attempt is not None:
                attempt.outcome = "ended"
        elif event.kind == "refused":
            self._refused(event)

    def diagnostic(self, line: Line, diagnostic: Diagnostic) -> None:
        """Something is missing or wrong on a connection."""
        malformed = diagnostic.malformed
        if diagnostic.kind == "gap":
            self._missing(line, diagnostic)
        elif malformed is not None and malformed.part in ("protocol", "address"):
            rule = PROTOCOL if malformed.part == "protocol" else INTRODUCTION
            wrong = diagnostic.detail.removeprefix("handshake: ")
            text = f"{capital(sender_of(line))} begins its connection to {receiver_of(line)} with {wrong}."
            self.judge.find(rule, diagnostic.place, text, Subject(line.sender, line.receiver))

    def end(self, facts: ClusterFacts) -> None:
        """The capture is over, and this is what the report says of it."""
        unreadable = {(pair.writer, pair.reader): pair.messages for pair in facts.incompatible}
        for storm, sender, destination in self._storms:
            messages = unreadable.get((sender or "", self._listener(destination) or ""), ())
            self._tell(storm, sender, destination, messages)
        self._storms.clear()

    # Handshakes

    def _introduced(self, server: int, address: str, line: Line, place: Place) -> None:
        before, owner = self._advertised.get(server), self._owners.get(address)
        _remember(self._advertised, server, (address, place))
        _remember(self._owners, address, (server, place))
        self.judge.later(lambda: self._address(server, address, line, place, before, owner), place)

    def _address(
        self,
        server: int,
        address: str,
        line: Line,
        place: Place,
        before: tuple[str, Place] | None,
        owner: tuple[int, Place] | None,
    ) -> None:
        """Judge what a server calls itself, once a configuration had its time to be seen."""
        known = self.knowledge.configurations
        if any(one.id == server and one.address == address for seen in known for one in seen.servers):
            self.judge.hold(ADDRESS)
            return
        latest = known.latest
        configured = None if latest is None else {one.id: one.address for one in latest.servers}.get(server)
        text = f"Server {server} calls itself {address}"
        if configured is not None and latest is not None:
            text += f"; configuration {latest.conf_index} has it at {configured} (frame {latest.place.frame})."
            evidence = (latest.place,)
        elif before is not None and before[0] != address:
            text += f"; it was {before[0]} before (frame {before[1].frame})."
            evidence = (before[1],)
        elif owner is not None and owner[0] != server:
            text += f", as server {owner[0]} did before (frame {owner[1].frame})."
            evidence = (owner[1],)
        elif before is not None:
            self.judge.hold(ADDRESS)
            return
        else:
            return
        self.judge.find(ADDRESS, place, text, Subject(server, line.receiver), evidence=evidence, about=address)

    def _candidate(self, step: Step) -> None:
        handshake = step.message.stream.handshake
        candidate = step.fields.get("candidate_id")
        if candidate is None:
            self.judge.skip(CANDIDATE, "cut_short")
        elif handshake is None:
            self.judge.skip(CANDIDATE, "begun_midway")
        elif not step.line.synchronous(step.message.offset):
            self.judge.skip(CANDIDATE, "gap")
        elif candidate == handshake.id:
            self.judge.hold(CANDIDATE)
        else:
            text = (
                f"Server {handshake.id} asks {receiver_of(step.line)} for a vote in the name of server {candidate} in "
                f"term {step.term}."
            )
            self.judge.find(CANDIDATE, step.place, text, step.subject(), about=candidate)

    def _member(self, line: Line, place: Place, before: Configured | None) -> None:
        """Judge who connected; `before` was the latest configuration then."""
        latest = self.knowledge.configurations.latest
        known = before or latest
        if latest is None or known is None:
            self.judge.skip(MEMBER, "unknown_voters")
        elif line.sender in latest.roles or line.sender in known.roles:
            self.judge.hold(MEMBER)
        else:
            text = (
                f"Server {line.sender} connects to {receiver_of(line)} and is not in configuration {known.conf_index} "
                f"(frame {known.place.frame})."
            )
            self.judge.find(MEMBER, place, text, Subject(line.sender, line.receiver), evidence=(known.place,))

    # Connections

    def _speaks(self, line: Line, place: Place) -> None:
        number = line.stream.number
        speaking = self._speaking.setdefault(number // 2, set())
        if number not in speaking:
            speaking.add(number)
            if len(speaking) == 2:
                first, second = sender_of(line), receiver_of(line)
                text = f"{capital(first)} and {second} both send messages on one connection, {line.stream.source}."
                self.judge.find(ONE_WAY, place, text, Subject(line.sender, line.receiver))

    def _second(self, line: Line, place: Place) -> None:
        sender, receiver = line.sender, line.receiver
        if sender is None or receiver is None:
            self.judge.skip(SINGLE, "unknown_server")
            return
        between = self.knowledge.lines.between(sender, receiver)
        older = [one for one in between if one is not line and one.end is None]
        if older:
            self.judge.later(lambda: self._goes_on(line, place, older), place)
        else:
            self.judge.hold(SINGLE)

    def _goes_on(self, line: Line, place: Place, older: list[Line]) -> None:
        """See whether older connections are still in use, although there is a newer one."""
        used = [one for one in older if one.messages and one.last.time_ns > place.time_ns + _SINGLE_NS]
        if not used:
            self.judge.hold(SINGLE)
            return
        text = (
            f"{capital(sender_of(line))} goes on using its older connection to {receiver_of(line)} after it has opened "
            f"another one (frame {place.frame})."
        )
        subject = Subject(line.sender, line.receiver)
        self.judge.find(SINGLE, used[0].last, text, subject, evidence=(place,))

    # Reconnects

    def _connects(self, line: Line, place: Place) -> None:
        stream = line.stream
        if line.sender is not None:
            _remember(self._tenants, stream.source.host, {*self._tenants.get(stream.source.host, ()), line.sender})
        _remember(self._listeners, stream.destination, line)
        attempt = self._open[stream.number] = Attempt(place)
        self._attempted((line.sender, stream.destination), attempt, line.sender, stream)

    def _listener(self, destination: Endpoint) -> int | None:
        """The server that listens somewhere, as far as it is known by now."""
        line = self._listeners.get(destination)
        return None if line is None else line.receiver

    def _refused(self, event: TransportEvent) -> None:
        stream = event.stream
        host = stream.source.host
        tenants = self._tenants.get(host, set())
        if stream.destination not in self._listeners or len(tenants) != 1:
            return
        if is_loopback(host) or host == stream.destination.host:
            return
        (sender,) = tenants
        self._attempted((host, stream.destination), Attempt(event.place, "refused"), sender, stream)

    def _attempted(self, key: Hashable, attempt: Attempt, sender: int | None, stream: Stream) -> None:
        storm = self._reconnects.attempt(key, attempt)
        if storm is not None:
            self._watch(key, storm, sender, stream.destination)
        elif not self._reconnects.storms(key):
            self.judge.hold(RECONNECTS)

    def _watch(self, key: Hashable, storm: Storm, sender: int | None, destination: Endpoint) -> None:
        """Come back until the storm is over, or the capture."""
        due_ns = storm.last.time_ns + WITHIN_NS

        def look() -> None:
            if storm.last.time_ns + WITHIN_NS > due_ns and self.judge.now_ns >= due_ns:
                self._watch(key, storm, sender, destination)
            else:
                self._reconnects.over(key)
                if storm.cause.last in _VERSIONED and len(self._storms) < _MAX_STORMS:
                    self._storms.append((storm, sender, destination))
                else:
                    self._tell(storm, sender, destination)

        self.judge.later(look, storm.last, WITHIN_NS)

    def _tell(self, storm: Storm, sender: int | None, destination: Endpoint, unreadable: Collection[str] = ()) -> None:
        """`unreadable` are the messages that the receiver's release cannot decode."""
        cause = storm.cause
        refused = cause.outcome == "refused"
        receiver = self._listener(destination)
        who = capital(named("of an unknown id" if sender is None else sender))
        whom = named(str(destination) if receiver is None else receiver)
        does = "is on the host that tries to open" if refused else "opens"
        how = f"{who} {does} {storm.count} connections to {whom} within {storm.seconds:.1f} s"
        self.judge.find(
            RECONNECTS,
            storm.first,
            f"{how}: {_why(cause, destination)}{_because(unreadable)}.",
            Subject(sender, receiver),
            severity="note" if refused else None,
            evidence=(storm.last,),
            about=(cause.outcome, cause.last),
        )

    # What the capture lacks

    def _missing(self, line: Line, diagnostic: Diagnostic) -> None:
        self._incomplete.add(line.stream.number)
        text = f"{diagnostic.size} bytes from {sender_of(line)} to {receiver_of(line)} are {diagnostic.detail}."
        evidence = () if diagnostic.gap is None else (diagnostic.gap.before,)
        subject = Subject(line.sender, line.receiver)
        self.judge.find(COMPLETE, diagnostic.place, text, subject, evidence=evidence)


K = TypeVar("K")
V = TypeVar("V")


def _remember(known: dict[K, V], key: K, value: V) -> None:
    """Keep the latest values."""
    known.pop(key, None)
    known[key] = value
    if len(known) > _MAX_KNOWN:
        del known[next(iter(known))]


def _why(cause: Cause, destination: Endpoint) -> str:
    """Why connections were opened again and again."""
    outcome, times, messages, last = cause
    if outcome == "refused":
        return f"{times} were refused, since nothing listens at {destination}"
    if outcome == "open":
        return "none of them was closed"
    if not messages:
        return f"{times} ended before they carried a message"
    plural = "" if messages == 1 else "s"
    return f"{times} ended after {messages} message{plural} at most, of which the last was {last}"


def _because(unreadable: Collection[str]) -> str:
    return f"; the receiver's release cannot decode {' and '.join(unreadable)}" if unreadable else ""
