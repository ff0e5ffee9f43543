"""Scenarios written as text: what servers say to each other line by line, and what an audit must say of it.

    cluster 1 2 3 release canonical-0.18.1
    at 0ms    1 -> 2,3  RequestVote term=2 last=5/1
    at 1ms    2,3 -> 1  RequestVoteResult term=2 granted
    at 2ms    1 -> 2,3  AppendEntries term=2 prev=5/1 commit=4 entries=barrier
    at 3ms    3 -> 2    RequestVoteResult term=2 granted    as second-vote
    expect violation EL-02 by 3 term 2 at second-vote

One statement stands on each line; `#` begins a comment. Server K has the id K and the address 10.0.0.K:9001.

cluster ID... release RELEASE [midway]
    The servers. A release is a lineage and a version (canonical-0.18.1, cowsql-0.22, dqlite-1.18.6) or the label of a
    layout of the wire table; it says how messages are laid out and how handshakes are made. With `midway` the capture
    begins behind the handshakes.
server ID release RELEASE
    This server runs another release.
include NAME
    The `at` statements of parts/NAME.txt.
at TIME ID,... -> ID,... MESSAGE [FIELD=VALUE | FLAG]... [as NAME]
    Every sender sends the message to every receiver. Times are 5ms, 1.5s or 20us from the begin of the capture, or
    `0ms..900ms every 100ms`, the last time included. The connection from one server to another is opened, with SYN and
    handshake, when it is first needed.
at TIME close ID -> ID, at TIME reset ID -> ID
    The sender's side ends the connection with FIN or RST; the next message opens another one.
at TIME kill ID
    A process ends: its connections are closed, those of others to it are reset.
at TIME silence
    The capture still runs: a packet that is not of Raft.
expect violation|suspect|warning|note RULE [by ID] [term N] [at PLACE [to ID] [round N]], or expect none
    A place is the NAME that a statement has, or N for the N-th `at` statement of this file. Of a statement that sends
    several messages it is the first one, the first one to a receiver, of the N-th time.

Fields are those of the wire table by their names, in any number base of Python; what is not given is 0, but
candidate_id is the sender, and cowsql-0.22.1 says features=1 and capacity=4096 in results. Shorter words:

    RequestVote, TimeoutNow    last=INDEX/TERM
    RequestVote                candidate=ID, flags pre, disrupt
    RequestVoteResult          flags granted, refused, pre
    AppendEntries              prev=INDEX/TERM commit=INDEX entries=ENTRY,...
    AppendEntriesResult        last=INDEX
    InstallSnapshot            last=INDEX/TERM conf=INDEX(ID ROLE, ...), size=BYTES or data="TEXT"

An entry is command, command:BYTES, command:"TEXT" (padded with zeros to a multiple of 8 bytes), barrier, or
change(ID ROLE, ...). Right behind the word may stand @TERM, by default the message's term, and at the end *COUNT.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from raft_dissect import wire
from raft_dissect.values import Endpoint
from raft_dissect.wire import table
from tests.mutations import Ending, Transcript
from tests.packets import START
from tests.scripts import PORT, address, change, configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from raft_dissect.values import Packet
    from tests.mutations import Channel, Utterance, Written
    from tests.scripts import EntryData

FOLDER = Path(__file__).parent / "data" / "scenarios"
SCENARIOS = sorted(path.stem for path in FOLDER.glob("*.txt"))
"""The names of the scenarios that are files."""

Verdict = Literal["violation", "suspect", "warning", "note", "none"]
VERDICTS: dict[str, Verdict] = {
    "violation": "violation",
    "suspect": "suspect",
    "warning": "warning",
    "note": "note",
    "none": "none",
}


class ScenarioError(ValueError):
    """A scenario that cannot be understood; the message begins with its name and the line."""


class Expectation(NamedTuple):
    """What an audit must say; None for what does not matter. `none` means that there is no violation at all."""

    kind: Verdict
    rule: str | None
    server: int | None
    term: int | None
    frame: int | None
    line: int
    """Of the scenario."""


class Scenario(NamedTuple):
    """A scenario as what was said in it, and what is expected."""

    name: str
    transcript: Transcript
    written: Written
    expectations: list[Expectation]

    @property
    def packets(self) -> list[Packet]:
        return self.written.packets


def load(name: str) -> Scenario:
    """The scenario of a file in `tests/data/scenarios`."""
    return scenario((FOLDER / f"{name}.txt").read_text(), f"{name}.txt")


def scenario(text: str, name: str = "scenario") -> Scenario:
    """Read a scenario; raises ScenarioError."""
    reader = _Reader(name)
    for statement in _statements(text, name):
        reader.read(statement)
    return reader.scenario()


# --- Words ---


class _Statement:
    """The words of one line, taken one after the other."""

    def __init__(self, where: str, line: int, words: list[str]) -> None:
        self.where, self.line, self._words = where, line, words

    def fail(self, detail: str) -> ScenarioError:
        return ScenarioError(f"{self.where}:{self.line}: {detail}")

    @property
    def done(self) -> bool:
        return not self._words

    @property
    def next(self) -> str:
        """The next word, which stays; empty at the end."""
        return self._words[0] if self._words else ""

    def word(self, what: str) -> str:
        if not self._words:
            raise self.fail(f"{what} is missing")
        return self._words.pop(0)

    def skip(self, word: str) -> bool:
        """Take this word if it is the next one."""
        if self._words[:1] != [word]:
            return False
        self._words.pop(0)
        return True

    def demand(self, word: str) -> None:
        found = self.word(repr(word))
        if found != word:
            raise self.fail(f"{word!r} is wanted where {found!r} stands")

    def number(self, what: str) -> int:
        return self.to_number(self.word(what), what)

    def to_number(self, text: str, what: str) -> int:
        try:
            return int(text, 0)
        except ValueError:
            raise self.fail(f"{text!r} is no {what}") from None

    def end(self) -> None:
        if self._words:
            raise self.fail(f"{self._words[0]!r} is not understood")


_WORD = re.compile(r'(?:[^\s"()]|"[^"]*"|\([^()]*\))+')
_SPACE = re.compile(r"\s*")


def _statements(text: str, where: str) -> Iterator[_Statement]:
    for line, content in enumerate(text.splitlines(), 1):
        statement = _Statement(where, line, [])
        words = _words(content, statement)
        if words:
            yield _Statement(where, line, words)


def _words(content: str, statement: _Statement) -> list[str]:
    """Split at spaces outside of quotes and parentheses, up to a comment."""
    words: list[str] = []
    position = 0
    while True:
        space = _SPACE.match(content, position)
        position = space.end() if space else position
        if position == len(content) or content[position] == "#":
            return words
        word = _WORD.match(content, position)
        if word is None or (word.end() < len(content) and not content[word.end()].isspace()):
            raise statement.fail("a quote or a parenthesis is not closed")
        words.append(word[0])
        position = word.end()


_TIME = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s)")
_UNITS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


def _time(text: str, statement: _Statement) -> int:
    """Nanoseconds."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise statement.fail(f"{text!r} is no time such as 5ms, 1.5s or 20us")
    return round(float(found[1]) * _UNITS[found[2]])


def _times(statement: _Statement) -> list[int]:
    first, dots, last = statement.word("a time").partition("..")
    begin = _time(first, statement)
    if not dots:
        return [begin]
    end = _time(last, statement)
    statement.demand("every")
    step = _time(statement.word("a time"), statement)
    if not step or end < begin:
        raise statement.fail("these are no times one after the other")
    return list(range(begin, end + 1, step))


_ROLES = {name: number for number, name in table.ROLES.items()}
_SERVER = re.compile(r"(\d+)\s+(\w+)")


def _servers(text: str, statement: _Statement) -> dict[int, int]:
    """Roles by id, of "1 voter, 2 spare"."""
    roles: dict[int, int] = {}
    for part in filter(None, re.split(r"\s*,\s*|(?<=[a-z])\s+(?=\d)", text.strip())):
        found = _SERVER.fullmatch(part)
        if found is None or found[2] not in _ROLES:
            raise statement.fail(f"{part!r} is no server with its role (voter, standby, spare)")
        roles[int(found[1])] = _ROLES[found[2]]
    return roles


_ENTRY = re.compile(r'(command|barrier|change)(?:@(\d+))?(?:\(([^()]*)\))?(?::(?:(\d+)|"([^"]*)"))?(?:\*(\d+))?')
_COMMA = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)(?![^(]*\))')


def _entries(text: str, term: int, statement: _Statement) -> list[EntryData]:
    entries: list[EntryData] = []
    for part in _COMMA.split(text):
        found = _ENTRY.fullmatch(part)
        if found is None:
            raise statement.fail(f"{part!r} is no entry")
        kind, at, servers, size, content, count = found.groups()
        own_term = term if at is None else int(at)
        if (kind == "change") != (servers is not None) or (kind != "command" and (size or content)):
            raise statement.fail(f"{part!r} is no {kind}")
        if kind == "change":
            entry = change(own_term, _servers(servers, statement))
        elif kind == "barrier":
            entry = own_term, table.BARRIER, bytes(8)
        elif content is not None:
            entry = own_term, table.COMMAND, wire.configuration.pad(content.encode())
        else:
            entry = own_term, table.COMMAND, bytes(int(size or 8))
        entries += [entry] * int(count or 1)
    return entries


class Release(NamedTuple):
    """How a server speaks."""

    layout: str
    handshake: wire.handshake.HandshakeKind


_LINEAGES = {"canonical": "canonical/raft", "cowsql": "cowsql/raft", "dqlite": "dqlite"}


def _version(text: str) -> tuple[float, ...]:
    if text.startswith("main"):
        return (float("inf"),)
    numbers = tuple(int(part) for part in text.removeprefix("v").split("."))
    return numbers + (0,) * (3 - len(numbers))


def _release(text: str, statement: _Statement) -> Release:
    if any(layout.label == text for layout in table.LAYOUTS):
        return Release(text, "raft")
    lineage, _, version = text.partition("-")
    if not re.fullmatch(r"v?\d+(\.\d+){0,2}|main", version):
        raise statement.fail(f"{text!r} is no release such as canonical-0.18.1")
    for layout in table.LAYOUTS:
        for releases in layout.releases:
            first, last = _version(releases.first), _version(releases.last)
            if releases.lineage == _LINEAGES.get(lineage) and first <= _version(version) <= last:
                return Release(layout.label, "dqlite" if lineage == "dqlite" else "raft")
    raise statement.fail(f"no layout of the wire table is that of {text}")


# --- Messages ---


class _Content(NamedTuple):
    """What a message says, whoever sends it."""

    type: int
    fields: dict[str, int]
    entries: list[EntryData]
    servers: list[wire.Server]
    data: bytes
    statement: _Statement

    def encoded(self, sender: int, layout: str) -> bytes:
        fields = dict(self.fields)
        name = table.MESSAGE_NAMES[self.type]
        known = _field_names(self.type, layout)
        for field in fields:
            if field not in known:
                raise self.statement.fail(f"{name} of {layout} has no {field}")
        if "candidate_id" in known:
            fields.setdefault("candidate_id", sender)
        if layout == "w-0.22.1" and "capacity" in known:
            fields.setdefault("features", 1)
            fields.setdefault("capacity", 4096)
        try:
            return wire.encode_message(
                self.type,
                fields,
                layout=layout,
                entries=self.entries,
                configuration=self.servers,
                data=self.data,
            )
        except struct.error as error:
            raise self.statement.fail(f"a value does not fit into its field: {error}") from None


def _field_names(type_: int, layout: str) -> set[str]:
    """The fields with a meaning of their own that a message of this layout has; none if it has no such message."""
    forms = next(message.forms for message in table.MESSAGES if message.number == type_)
    fields = next((form.fields for form in forms if layout in form.layouts), ())
    names = {field.name for field in fields if field.kind in ("uint", "boolean")}
    return names | {bit for field in fields for bit in field.bits}


_FLAGS = {
    "granted": ("vote_granted", 1),
    "refused": ("vote_granted", 0),
    "pre": ("pre_vote", 1),
    "disrupt": ("disrupt_leader", 1),
}
_SHORT = {"commit": "leader_commit", "candidate": "candidate_id"}
_LAST = {
    table.REQUEST_VOTE: ("last_log_index", "last_log_term"),
    table.TIMEOUT_NOW: ("last_log_index", "last_log_term"),
    table.INSTALL_SNAPSHOT: ("last_index", "last_term"),
    table.APPEND_ENTRIES_RESULT: ("last_log_index",),
}
_CONFIGURATION = re.compile(r"(\d+)\(([^()]*)\)")


class _Speech:
    """Reads the words behind the name of a message."""

    def __init__(self, type_: int, statement: _Statement) -> None:
        self._type, self._statement = type_, statement
        self._fields: dict[str, int] = {}
        self._entries = ""
        self._roles: dict[int, int] = {}
        self._data = b""

    def read(self, word: str) -> None:
        name, equals, value = word.partition("=")
        if not equals:
            if name not in _FLAGS:
                raise self._statement.fail(f"{word!r} is no field and no flag")
            self._put(*_FLAGS[name])
        elif name == "entries" and self._type == table.APPEND_ENTRIES:
            self._entries = value
        elif name in ("conf", "size", "data") and self._type == table.INSTALL_SNAPSHOT:
            self._read_snapshot(name, value)
        elif name == "prev":
            self._put_all(("prev_log_index", "prev_log_term"), value)
        elif name == "last" and self._type in _LAST:
            self._put_all(_LAST[self._type], value)
        else:
            self._put(_SHORT.get(name, name), self._statement.to_number(value, f"number for {name}"))

    def content(self) -> _Content:
        if "term" not in self._fields:
            raise self._statement.fail("the term is missing")
        entries = _entries(self._entries, self._fields["term"], self._statement) if self._entries else []
        servers = configuration(self._roles)
        return _Content(self._type, self._fields, entries, servers, self._data, self._statement)

    def _put(self, name: str, value: int) -> None:
        if name in self._fields:
            raise self._statement.fail(f"{name} is said twice")
        self._fields[name] = value

    def _put_all(self, names: tuple[str, ...], value: str) -> None:
        """Index and term, or an index alone."""
        numbers = value.split("/")
        if len(numbers) != len(names):
            raise self._statement.fail(f"{value!r} is not {'INDEX/TERM' if len(names) > 1 else 'an index'}")
        for name, number in zip(names, numbers, strict=True):
            self._put(name, self._statement.to_number(number, "number"))

    def _read_snapshot(self, name: str, value: str) -> None:
        if name == "conf":
            found = _CONFIGURATION.fullmatch(value)
            if found is None:
                raise self._statement.fail(f"{value!r} is not INDEX(ID ROLE, ...)")
            self._put("conf_index", int(found[1]))
            self._roles = _servers(found[2], self._statement)
        elif name == "size":
            self._data = bytes(self._statement.to_number(value, "size"))
        else:
            self._data = value.strip('"').encode()


# --- Statements ---


class _Act(NamedTuple):
    """Something that happens at some time."""

    time_ns: int
    do: Callable[[int], None]


class _Said(NamedTuple):
    """What an `at` statement became: for each of its times the utterances, by receiver."""

    rounds: list[list[tuple[int, Utterance]]]


class _Reader:
    """Understands statements, then lets everything happen in the order of time."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._releases: dict[int, Release] = {}
        self._midway = False
        self._acts: list[_Act] = []
        self._numbered: list[_Said] = []
        self._named: dict[str, _Said] = {}
        self._expected: list[tuple[Expectation, Callable[[Written], int | None]]] = []
        self._talk = Transcript()
        self._open: dict[tuple[int, int], Channel] = {}

    def read(self, statement: _Statement, *, included: bool = False) -> None:
        verb = statement.word("a statement")
        if verb == "at":
            self._read_at(statement, included=included)
        elif included:
            raise statement.fail(f"{verb!r} cannot be included")
        elif verb == "cluster":
            self._read_cluster(statement)
        elif verb == "server":
            server = self._server(statement.word("a server"), statement)
            statement.demand("release")
            self._releases[server] = _release(statement.word("a release"), statement)
        elif verb == "include":
            self._include(statement)
        elif verb == "expect":
            self._read_expectation(statement)
        else:
            raise statement.fail(f"{verb!r} is no statement")
        statement.end()

    def scenario(self) -> Scenario:
        for act in sorted(self._acts, key=lambda act: act.time_ns):
            act.do(START + act.time_ns)
        written = self._talk.written()
        expectations = [expected._replace(frame=frame_in(written)) for expected, frame_in in self._expected]
        return Scenario(self._name, self._talk, written, expectations)

    def _read_cluster(self, statement: _Statement) -> None:
        servers = []
        while not statement.skip("release"):
            servers.append(statement.number("server"))
        release = _release(statement.word("a release"), statement)
        if not servers or not all(0 < server < 255 for server in servers):
            raise statement.fail("a cluster has servers, with ids from 1 to 254")
        self._releases = dict.fromkeys(servers, release)
        self._midway = statement.skip("midway")

    def _include(self, statement: _Statement) -> None:
        path = FOLDER / "parts" / f"{statement.word('a name')}.txt"
        if not path.exists():
            raise statement.fail(f"there is no {path.name} in parts")
        for one in _statements(path.read_text(), f"parts/{path.name}"):
            self.read(one, included=True)

    def _server(self, word: str, statement: _Statement) -> int:
        server = statement.to_number(word, "server")
        if server not in self._releases:
            raise statement.fail(f"there is no server {server}; the cluster has {[*self._releases]}")
        return server

    def _servers(self, statement: _Statement) -> list[int]:
        return [self._server(word, statement) for word in statement.word("a server").split(",")]

    def _pair(self, statement: _Statement) -> tuple[int, int]:
        sender = self._server(statement.word("a server"), statement)
        statement.demand("->")
        return sender, self._server(statement.word("a server"), statement)

    def _read_at(self, statement: _Statement, *, included: bool) -> None:
        times = _times(statement)
        said = _Said([])
        if statement.skip("silence"):
            self._at(times, lambda time_ns: self._talk.others.append((time_ns, _ARP)))
        elif statement.skip("kill"):
            server = self._server(statement.word("a server"), statement)
            self._at(times, lambda time_ns: self._kill(server, time_ns))
        elif statement.skip("close"):
            closed = self._pair(statement)
            self._at(times, lambda time_ns: self._end(closed, Ending("fin", time_ns, True), statement))
        elif statement.skip("reset"):
            reset = self._pair(statement)
            self._at(times, lambda time_ns: self._end(reset, Ending("rst", time_ns, True), statement))
        else:
            self._read_message(statement, times, said)
        if statement.skip("as"):
            name = statement.word("a name")
            if name in self._named or name.isdigit():
                raise statement.fail(f"{name!r} cannot be a name: it is a number, or there is one already")
            self._named[name] = said
        if not included:
            self._numbered.append(said)

    def _at(self, times: list[int], do: Callable[[int], None]) -> None:
        self._acts += [_Act(time_ns, do) for time_ns in times]

    def _read_message(self, statement: _Statement, times: list[int], said: _Said) -> None:
        senders = self._servers(statement)
        statement.demand("->")
        receivers = self._servers(statement)
        name = statement.word("a message")
        if name not in table.MESSAGE_NUMBERS or table.MESSAGE_NUMBERS[name] in table.RESERVED:
            raise statement.fail(f"{name!r} is no message")
        speech = _Speech(table.MESSAGE_NUMBERS[name], statement)
        while not statement.done and statement.next != "as":
            speech.read(statement.word("a field"))
        content = speech.content()
        pairs = [(sender, receiver) for sender in senders for receiver in receivers if sender != receiver]
        if not pairs:
            raise statement.fail("nobody talks to itself")
        encoded = {sender: content.encoded(sender, self._releases[sender].layout) for sender in senders}

        def say(time_ns: int) -> None:
            said.rounds.append(
                [(pair[1], self._talk.say(self._channel(pair, time_ns), encoded[pair[0]], time_ns)) for pair in pairs]
            )

        self._at(times, say)

    def _channel(self, pair: tuple[int, int], time_ns: int) -> Channel:
        channel = self._open.get(pair)
        if channel is None:
            sender, receiver = pair
            client = Endpoint(f"10.0.0.{sender}", 40001 + len(self._talk.channels))
            server = Endpoint(f"10.0.0.{receiver}", PORT)
            kind = self._releases[sender].handshake
            handshake = None if self._midway else wire.encode_handshake(kind, sender, address(sender))
            channel = self._open[pair] = self._talk.connect(sender, receiver, client, server, time_ns, handshake)
        return channel

    def _end(self, pair: tuple[int, int], ending: Ending, statement: _Statement) -> None:
        channel = self._open.pop(pair, None)
        if channel is None:
            raise statement.fail(f"there is no connection {pair[0]} -> {pair[1]} then")
        channel.ending = ending

    def _kill(self, server: int, time_ns: int) -> None:
        for pair in [pair for pair in self._open if server in pair]:
            own = pair[0] == server
            self._open.pop(pair).ending = Ending("fin" if own else "rst", time_ns, own)

    def _read_expectation(self, statement: _Statement) -> None:
        kind = VERDICTS.get(statement.word("a verdict"))
        if kind is None:
            raise statement.fail(f"a verdict is one of {', '.join(VERDICTS)}")
        if kind == "none":
            self._expected.append((Expectation(kind, None, None, None, None, statement.line), lambda _: None))
            return
        rule = statement.word("a rule")
        if not re.fullmatch(r"[A-Z]+-\d\d", rule):
            raise statement.fail(f"{rule!r} is no rule such as EL-02")
        server = self._server(statement.word("a server"), statement) if statement.skip("by") else None
        term = statement.number("term") if statement.skip("term") else None
        expected = Expectation(kind, rule, server, term, None, statement.line)
        self._expected.append((expected, self._place(statement) if statement.skip("at") else lambda _: None))

    def _place(self, statement: _Statement) -> Callable[[Written], int]:
        """What finds the frame, once everything was said: statements may come later than what is expected of them."""
        place = statement.word("a place")
        receiver = self._server(statement.word("a server"), statement) if statement.skip("to") else None
        number = statement.number("round") if statement.skip("round") else 1

        def frame_in(written: Written) -> int:
            said = self._numbered[int(place) - 1 :][:1] if place.isdigit() else [self._named.get(place, _Said([]))]
            rounds = said[0].rounds[number - 1 : number] if said and number else []
            for to, utterance in rounds[0] if rounds else []:
                if receiver in (None, to):
                    return written.frames[utterance]
            raise statement.fail(f"no message is said at {place}, or not so often, or not to that server")

        return frame_in


_ARP = bytes.fromhex("ffffffffffff 0200000000fe 0806 0001 0800 0604 0001 0200000000fe 0a0000fe 000000000000 0a0000fd")
"""Somebody who is no server asks for an address."""
