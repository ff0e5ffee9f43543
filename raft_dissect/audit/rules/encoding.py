"""ENC: the bytes of each message are what some release writes, and what every release can read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from raft_dissect import wire
from raft_dissect.audit.group import Group
from raft_dissect.audit.judge import Subject
from raft_dissect.audit.rule import Rule
from raft_dissect.audit.rules.leaks import Leaks
from raft_dissect.audit.rules.names import capital, named, receiver_of, sender_of
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raft_dissect.audit.judge import Judge
    from raft_dissect.audit.knowledge import Knowledge
    from raft_dissect.audit.knowledge.lines import Line
    from raft_dissect.audit.rule import Severity
    from raft_dissect.audit.rules.leaks import LeakKind
    from raft_dissect.audit.step import Step
    from raft_dissect.cluster.facts import ClusterFacts, Incompatibility, ServerName
    from raft_dissect.values import Diagnostic, Malformed, Place, Stream, StreamEnd
    from raft_dissect.wire.unused import UnusedKind

_SYNC = (
    "Where packets are missing, or the capture begins midway, bytes are taken for a message that are none: a message "
    "is judged only where it must begin, behind a handshake or behind two messages that follow one another."
)
TYPE = Rule(
    "ENC-01",
    "The type of a message exists",
    "error",
    "Byte 0 of a preamble is a type from 1 to 6, and bytes 1 and 3 to 7 are zero. Types 7 to 13, which dqlite "
    "reserves, are a note.",
    "observed in every release: receivers close the connection otherwise",
    "Any message.",
    _SYNC,
    "Server 2 sends server 1 what is no message: type 200, header of 40 bytes.",
)
LENGTH = Rule(
    "ENC-02",
    "The header of a message has a length that its type allows",
    "error",
    "A header is as long as some release writes it for its type. A header of more than 4 MiB, which dqlite refuses "
    "since 2026 and no other release does, is a warning.",
    "observed in every release; most read beyond the end of a header that is too short",
    "Any message.",
    _SYNC + " A version byte that no known release writes may allow other lengths: then it is a note.",
    "Server 2 sends RequestVote with a header of 8 bytes to server 1; releases write 32 or 40.",
)
COUNT = Rule(
    "ENC-03",
    "AppendEntries has as many entries as its header has room for",
    "error",
    "The header of AppendEntries has 48 bytes and 16 for each of its entries. One without the 8 unused bytes at its "
    "end is a warning: all releases read it, none writes it.",
    "observed in every release; receivers take the number for 32 bits wide and read beyond the end",
    "AppendEntries of which the first 40 bytes of the header were captured.",
    _SYNC,
    "Server 1 sends AppendEntries to server 2 with 9 entries in a header of 64 bytes, which has room for 1.",
)
ENTRY_TYPE = Rule(
    "ENC-04",
    "The type of an entry exists",
    "error",
    "The type of an entry is 1, 2 or 3: command, barrier or change.",
    "observed in every release; most crash on any other type",
    "AppendEntries with entries.",
    _SYNC,
    "Server 1 sends entry 40 of term 3 with type 9 to server 2.",
)
PAYLOAD = Rule(
    "ENC-05",
    "What follows a header is as long as it says",
    "error",
    "Behind the payload whose length the header gives, the next message begins. More than 500 MiB, which dqlite "
    "refuses since 2026, and entries of which none has data, whose memory older releases free without having set it, "
    "are warnings.",
    "observed in every release",
    "AppendEntries with entries, or InstallSnapshot.",
    _SYNC + " Declared lengths are used, so it does not matter what the snaplen cut off.",
    "Server 1 sends AppendEntries to server 2 with 264 bytes of entries (frame 90), behind which no message begins.",
)
ALIGNMENT = Rule(
    "ENC-06",
    "The size of an entry is a multiple of 8",
    "error",
    "All entries of a message but the last have sizes that are multiples of 8: receivers look for each one at such a "
    "multiple, and senders put them there without. Of the last entry it is a warning: it is read rightly.",
    "observed in every release; canonical/raft v0.9.0 sends such entries, and who receives them aborts",
    "AppendEntries with entries.",
    _SYNC,
    "Server 1 sends 8 entries to server 2, of which entry 5 has 100 bytes: its receiver reads what follows from the "
    "wrong place.",
)
UNUSED = Rule(
    "ENC-07",
    "Bytes without a meaning are zero",
    "note",
    "The unused bytes of headers, entries, configurations and handshakes are zero; what stands there otherwise comes "
    "from the memory of the server. It is a warning where it looks like text or like addresses of memory.",
    "observed in all releases of canonical/raft and dqlite, and in cowsql/raft before v0.22.1",
    "Any message with unused bytes. The data of barriers, which is of no meaning either, is not looked at.",
    "All messages of one server are one finding.",
    "Server 1 sends 1044 bytes of its memory where nothing is meant to stand: 928 behind the entries of AppendEntries, "
    "116 in entries.",
)
VERSION = Rule(
    "ENC-08",
    "The version byte is the one of the message's form",
    "warning",
    "Version 2 stands in RequestVote of 40, RequestVoteResult of 24 and AppendEntriesResult of 32 bytes, and 0 in all "
    "others, of any length. A version that no known release writes is a note.",
    "observed: cowsql/raft trusts the byte since v0.20.0, and reads beyond the end of a header that is shorter",
    "Any message.",
    _SYNC,
    "Server 2 sends RequestVoteResult of 16 bytes with version 2 to server 1; that version has 24.",
)
FLAGS = Rule(
    "ENC-09",
    "Truths are 0 or 1, and only known bits are set",
    "warning",
    "vote_granted is 0 or 1; flags and features have no bits but those that a release defines.",
    "observed in every release",
    "RequestVote, RequestVoteResult or AppendEntriesResult of a known form that was captured whole.",
    _SYNC,
    "Server 2 sends RequestVoteResult to server 1 with vote_granted 256.",
)
CONFIGURATION = Rule(
    "ENC-10",
    "A configuration is one that servers accept",
    "error",
    "A configuration has format 1, servers whose ids and addresses are different and ids not 0, and roles from 0 to 2. "
    "One without a voter, or padded to another size than the next multiple of 8, is a warning.",
    "Raft thesis 4; observed: receivers close the connection, or abort for an id of 0",
    "InstallSnapshot, or an entry with a configuration, captured whole.",
    _SYNC,
    "Server 1 sends a configuration to server 2 in which 2 servers have the id 3.",
)
CONTENT = Rule(
    "ENC-11",
    "Entries hold what their types say",
    "warning",
    "The data of a change decodes as a configuration, and that of a barrier has 8 bytes.",
    "observed in every release",
    "AppendEntries with a barrier or a change.",
    _SYNC,
    "Server 1 sends entry 40, a change, to server 2: its 64 bytes are no configuration.",
)
SNAPSHOT = Rule(
    "ENC-12",
    "The header of InstallSnapshot has room for its configuration",
    "error",
    "The header of InstallSnapshot is 48 or 56 bytes longer than the configuration in it.",
    "observed in every release; most read beyond the end of the header",
    "InstallSnapshot.",
    _SYNC,
    "Server 1 sends InstallSnapshot to server 2 whose configuration does not fit into its header of 120 bytes.",
)
READABLE = Rule(
    "ENC-13",
    "A server can read what others send it",
    "warning",
    "No server sends another what the other's release cannot decode: RequestVote of 32 bytes to cowsql/raft since "
    "v0.21.0, a version byte to canonical/raft before v0.17.1, TimeoutNow to canonical/raft before v0.9.15. Where only "
    "some of the releases that the receiver may be cannot, it is a note.",
    "measured with the decoder of each release",
    "Two servers that talk to each other, of which each has sent something that tells its release.",
    "Releases are told apart by what they write, and pairs of which one writes nothing that tells are left out.",
    "Server 2 cannot decode RequestVote of server 1: it closes the connection.",
)
RULES = (
    TYPE,
    LENGTH,
    COUNT,
    ENTRY_TYPE,
    PAYLOAD,
    ALIGNMENT,
    UNUSED,
    VERSION,
    FLAGS,
    CONFIGURATION,
    CONTENT,
    SNAPSHOT,
    READABLE,
)

_MAX_HEADER = 4 * 1024 * 1024
_MAX_PAYLOAD = 500 * 1024 * 1024
_VERSIONS = (0, 2)
_BARRIER_SIZE = 8
_HEAD = 40
"""Bytes before the entries of AppendEntries, and before the configuration of InstallSnapshot."""
_TRAILER = 8
_MAX_SHAPES = 4096
"""Preambles that are known to be as some release writes them."""
_VARIABLE = (table.APPEND_ENTRIES, table.INSTALL_SNAPSHOT)
_CONSEQUENCES = {"refused": "it closes the connection", "read_beyond_end": "it reads beyond their end"}


def _size(form: table.Form) -> int:
    return sum(field.size for field in form.fields)


_LENGTHS: dict[int, dict[int, set[int]]] = {}
"""By type and version, the lengths that releases write."""
_LIMITED: dict[tuple[int, int, int], list[tuple[str, int, int, int]]] = {}
"""By type, version and length: name, first byte, byte after the last and greatest value of fields that have one."""


def _learn_form(number: int, form: table.Form) -> None:
    _LENGTHS.setdefault(number, {}).setdefault(form.version, set()).add(_size(form))
    limited = []
    offset = 0
    for field in form.fields:
        most = {"boolean": 1, "bits": (1 << len(field.bits)) - 1}.get(
            field.kind, 1 if field.name == "features" else None
        )
        if most is not None:
            limited.append((field.name, offset, offset + field.size, most))
        offset += field.size
    _LIMITED[number, form.version, _size(form)] = limited


for _message in table.MESSAGES:
    for _form in _message.forms if _message.number not in _VARIABLE else ():
        _learn_form(_message.number, _form)


class Encoding(Group):
    """Judges the bytes of each message by themselves."""

    def __init__(self, knowledge: Knowledge, judge: Judge) -> None:
        super().__init__(knowledge, judge)
        self._shapes: set[tuple[int, int, int, bool]] = set()
        self._leaks: dict[int | str, Leaks] = {}
        self._carriers: dict[int, tuple[Place, str, int]] = {}  # of each stream, its last message if it had a payload
        self._doubtful: set[int] = set()  # streams whose last message has an error, so that its end is not certain
        self._firsts: dict[tuple[ServerName, ServerName, str], Place] = {}

    # What is told

    def message(self, step: Step) -> None:
        """A message, complete or partial."""
        self._doubtful.discard(step.message.stream.number)
        if not step.line.synchronous(step.message.offset):
            for rule in (TYPE, LENGTH, VERSION):
                self.judge.skip(rule, "begun_midway" if step.line.lost is None else "gap")
            self._carries(step)
            return
        shape = step.message.preamble
        if shape in self._shapes:
            for rule in (TYPE, LENGTH, VERSION):
                self.judge.hold(rule)
        else:
            self._preamble(step)
        if step.type == table.APPEND_ENTRIES:
            self._append(step)
        elif step.type == table.INSTALL_SNAPSHOT:
            self._snapshot(step)
        else:
            self._words(step)
        if step.whole:
            self._unused(step)
        else:
            self.judge.skip(UNUSED, "cut_short")
        self._carries(step)

    def opened(self, line: Line, place: Place) -> None:
        """A connection has shown its handshake."""
        handshake = line.stream.handshake
        if handshake is not None and handshake.stale:
            self._leaked(line.sender, line.stream, "handshake", handshake.stale, place)

    def closed(self, line: Line, place: Place, reason: StreamEnd) -> None:  # noqa: ARG002  # what every group is told
        """A connection ended."""
        self._carriers.pop(line.stream.number, None)
        self._doubtful.discard(line.stream.number)

    def diagnostic(self, line: Line, diagnostic: Diagnostic) -> None:
        """Something is missing or wrong on a connection."""
        malformed, message = diagnostic.malformed, diagnostic.message
        if malformed is not None and malformed.preamble is not None and malformed.part != "configuration":
            self._malformed(line, diagnostic, malformed, malformed.preamble)
        elif diagnostic.kind == "unfinished" and message is not None and line.synchronous(message.offset):
            self._too_long(line, message.preamble, message.first)
            self._too_much(line, message.name, message.payload_length or 0, message.first)

    def end(self, facts: ClusterFacts) -> None:
        """The capture is over, and this is what the report says of it."""
        for server, leaks in self._leaks.items():
            who = server if isinstance(server, int) else None
            self.judge.find(
                UNUSED,
                leaks.first,
                f"{capital(named(server))} sends {leaks.words}.",
                Subject(who),
                severity="warning" if leaks.telling else "note",
                evidence=(leaks.last,),
            )
        self._leaks.clear()
        self._readable(facts)

    # The preamble

    def _preamble(self, step: Step) -> None:
        type_, version, length, zero = step.message.preamble
        if type_ in table.RESERVED:
            self._find(TYPE, step, f"a message of type {type_}, which no known release sends,", severity="note")
            return
        good = self._reserved(step, zero)
        good = self._length(step, type_, version, length) and good
        good = self._version(step, type_, version, length) and good
        if good:
            if len(self._shapes) >= _MAX_SHAPES:
                self._shapes.clear()
            self._shapes.add(step.message.preamble)

    def _reserved(self, step: Step, zero: bool) -> bool:
        if zero:
            self.judge.hold(TYPE)
        else:
            self._find(TYPE, step, f"{step.message.name} whose type is followed by bytes that are not zero")
        return zero

    def _length(self, step: Step, type_: int, version: int, length: int) -> bool:
        if _is_length(type_, length):
            if self._too_long(step.line, step.message.preamble, step.place):
                return False
            self.judge.hold(LENGTH)
            return True
        newer = version not in _VERSIONS
        self._find(
            LENGTH,
            step,
            f"{step.message.name} with a header of {length} bytes",
            f"; releases write {_lengths(type_)}",
            severity="note" if newer else None,
        )
        return False

    def _too_long(self, line: Line, preamble: wire.Preamble, place: Place) -> bool:
        if preamble.header_length <= _MAX_HEADER:
            return False
        self.judge.find(
            LENGTH,
            place,
            f"{capital(sender_of(line))} sends {receiver_of(line)} a header of {preamble.header_length} bytes; dqlite "
            f"closes the connection for more than {_MAX_HEADER}.",
            Subject(line.sender, line.receiver),
            severity="warning",
            about="long",
        )
        return True

    def _version(self, step: Step, type_: int, version: int, length: int) -> bool:
        versions = {0: {length}} if type_ in _VARIABLE else _LENGTHS[type_]
        if version == 0 or length in versions.get(version, ()) or not _is_length(type_, length):
            self.judge.hold(VERSION)
            return True
        what = f"{step.message.name} of {length} bytes with version {version}"
        if version not in _VERSIONS:
            self._find(VERSION, step, what, "; no known release writes that version", severity="note")
        elif version in versions:
            self._find(VERSION, step, what, f"; that version has {_words(versions[version])}")
        else:
            self._find(VERSION, step, what, "; that message has version 0 in all releases")
        return False

    def _malformed(self, line: Line, diagnostic: Diagnostic, malformed: Malformed, preamble: wire.Preamble) -> None:
        rule = _broken_rule(malformed, preamble)
        if not line.synchronous(diagnostic.offset) or line.stream.number in self._doubtful:
            self.judge.skip(rule, "begun_midway" if line.lost is None else "gap")
            return
        carrier = self._carriers.get(line.stream.number)
        text = f"{capital(sender_of(line))} sends {receiver_of(line)} {_broken_words(diagnostic.detail)}."
        evidence: tuple[Place, ...] = ()
        if rule is TYPE and carrier is not None and not _is_sane(preamble):
            rule, evidence = PAYLOAD, (carrier[0],)
            text = (
                f"{capital(sender_of(line))} sends {receiver_of(line)} {carrier[1]} with {carrier[2]} bytes behind its "
                f"header (frame {carrier[0].frame}), behind which no message begins."
            )
        self.judge.find(
            rule,
            diagnostic.place,
            text,
            Subject(line.sender, line.receiver),
            sure=line.unbroken,
            severity="note" if rule is TYPE and preamble.version not in _VERSIONS and _is_sane(preamble) else None,
            evidence=evidence,
        )

    # AppendEntries

    def _append(self, step: Step) -> None:
        n_entries = step.fields.get("n_entries")
        if n_entries is None:
            self.judge.skip(COUNT, "cut_short")
            return
        left = step.message.preamble.header_length - _HEAD - n_entries * table.ENTRY_LENGTH
        if left == _TRAILER:
            self.judge.hold(COUNT)
        elif left == 0:
            what = f"AppendEntries with {n_entries} entries and without the 8 bytes at its end that all releases write"
            self._find(COUNT, step, what, severity="warning")
        elif _is_length(step.type, step.message.preamble.header_length):
            room = n_entries + left // table.ENTRY_LENGTH
            what = f"AppendEntries with {n_entries} entries in a header that has room for {room}"
            self._find(COUNT, step, what)
        if n_entries:
            self._entries(step, n_entries)

    def _entries(self, step: Step, n_entries: int) -> None:
        entries, first = step.entries, step.fields["prev_log_index"] + 1
        known = len(entries)
        if known < n_entries:
            for rule in (ENTRY_TYPE, ALIGNMENT, PAYLOAD):
                self.judge.skip(rule, "cut_short")
        else:
            self._payload(step, f"{n_entries} entries")
        wrong = [number for number, entry in enumerate(entries) if entry.type not in table.ENTRY_TYPES]
        if wrong:
            entry = entries[wrong[0]]
            what = f"entry {first + wrong[0]} of term {entry.term} with type {entry.type}"
            self._find(ENTRY_TYPE, step, what, about=entry.type)
        elif known == n_entries:
            self.judge.hold(ENTRY_TYPE)
        self._alignment(step, n_entries, first)
        for number, entry in enumerate(entries):
            if entry.type == table.BARRIER:
                self._barrier(step, first + number, entry.size)
            elif entry.type == table.CHANGE:
                self._change(step, number, first + number, entry.size)

    def _alignment(self, step: Step, n_entries: int, first: int) -> None:
        odd = [number for number, entry in enumerate(step.entries) if entry.size % 8]
        if not odd:
            if len(step.entries) == n_entries:
                self.judge.hold(ALIGNMENT)
            return
        number = odd[0]
        size = step.entries[number].size
        if number < n_entries - 1:
            self._find(
                ALIGNMENT,
                step,
                f"{n_entries} entries",
                f", of which entry {first + number} has {size} bytes: its receiver reads what follows from the wrong "
                "place",
            )
        else:
            what = f"entry {first + number} with {size} bytes"
            after = ", no multiple of 8: with another one behind it the receiver would read that from the wrong place"
            self._find(ALIGNMENT, step, what, after, severity="warning", about="last")

    def _payload(self, step: Step, what: str) -> None:
        size = step.message.payload_length
        if size is None:
            self.judge.skip(PAYLOAD, "cut_short")
        elif self._too_much(step.line, what, size, step.place):
            pass
        elif not size and step.type == table.APPEND_ENTRIES:
            after = ", of which none has data: most releases free memory then that they never set"
            self._find(PAYLOAD, step, what, after, severity="warning", about="empty")
        else:
            self.judge.hold(PAYLOAD)

    def _too_much(self, line: Line, what: str, size: int, place: Place) -> bool:
        if size <= _MAX_PAYLOAD:
            return False
        self.judge.find(
            PAYLOAD,
            place,
            f"{capital(sender_of(line))} sends {what} of {size} bytes to {receiver_of(line)}; dqlite closes the "
            f"connection for more than {_MAX_PAYLOAD}.",
            Subject(line.sender, line.receiver),
            severity="warning",
            about="long",
        )
        return True

    def _barrier(self, step: Step, index: int, size: int) -> None:
        if size == _BARRIER_SIZE:
            self.judge.hold(CONTENT)
        else:
            self._find(CONTENT, step, f"entry {index}, a barrier, with {size} bytes", "; all releases write 8")

    def _change(self, step: Step, number: int, index: int, size: int) -> None:
        data = step.message.changes.get(number, b"" if not size else None)
        if data is None:
            for rule in (CONTENT, CONFIGURATION):
                self.judge.skip(rule, "cut_short")
            return
        servers = step.message.change(number)
        if servers is None:
            self._find(CONTENT, step, f"entry {index}, a change", f": its {size} bytes are no configuration")
            return
        self.judge.hold(CONTENT)
        padding = wire.configuration_padding(data)
        self._configuration(step, f"configuration {index}", servers, len(data), len(padding))
        self._leaked(step.sender, step.message.stream, "configuration", padding, step.place)

    # InstallSnapshot

    def _snapshot(self, step: Step) -> None:
        self._payload(step, "a snapshot")
        if not step.whole:
            for rule in (SNAPSHOT, CONFIGURATION):
                self.judge.skip(rule, "cut_short")
            return
        header = step.message.header
        length = int.from_bytes(header[_HEAD - 8 : _HEAD], "little")
        left = len(header) - _HEAD - 8 - length
        if left in (0, _TRAILER):
            self.judge.hold(SNAPSHOT)
        elif _is_length(step.type, len(header)):
            what = f"InstallSnapshot with a configuration of {length} bytes"
            self._find(SNAPSHOT, step, what, f" in a header of {len(header)}; {left} more stand behind it")
        data = header[_HEAD : _HEAD + length]
        try:
            servers = wire.decode_configuration(data)
        except wire.MalformedError as error:
            self._find(CONFIGURATION, step, "a snapshot", f" whose configuration does not decode: {error.detail}")
            return
        padding = wire.configuration_padding(data)
        what = f"configuration {step.fields['conf_index']} in a snapshot"
        self._configuration(step, what, servers, len(data), len(padding))

    def _configuration(self, step: Step, what: str, servers: Sequence[wire.Server], size: int, padding: int) -> None:
        wrong = _wrong_servers(servers)
        if wrong is not None:
            self._find(CONFIGURATION, step, what, wrong)
        elif all(server.role != table.VOTER for server in servers):
            self._find(CONFIGURATION, step, what, ", in which nobody votes", severity="warning", about="voters")
        elif size % 8 or padding >= 8:
            after = f" with {padding} bytes behind its last server; all releases fill it up to a multiple of 8"
            self._find(CONFIGURATION, step, what, after, severity="warning", about="size")
        else:
            self.judge.hold(CONFIGURATION)

    # All others

    def _words(self, step: Step) -> None:
        preamble = step.message.preamble
        limited = _LIMITED.get(preamble[:3])
        if limited is None:
            if preamble.version not in _VERSIONS:
                self.judge.skip(FLAGS, "unknown_release")
            return
        if not limited:
            return
        if not step.whole:
            self.judge.skip(FLAGS, "cut_short")
            return
        header = step.message.header
        for name, start, end, most in limited:
            value = int.from_bytes(header[start:end], "little")
            if value > most:
                self._find(FLAGS, step, f"{step.message.name}", f" with {name} {value}", about=name)
                return
        self.judge.hold(FLAGS)

    # Unused bytes

    def _unused(self, step: Step) -> None:
        clean = True
        for unused in wire.unused_bytes(step.message.preamble, step.message.header):
            if any(unused.data):
                clean = False
                self._leaked(step.sender, step.message.stream, unused.kind, unused.data, step.place)
        if clean:
            self.judge.hold(UNUSED)

    def passed_leaks(self, step: Step, kind: UnusedKind, leaked: Mapping[int, int], last: Place) -> None:
        """In messages that were not told stood bytes that should be zero, each so many times."""
        for unused, times in leaked.items():
            data = unused.to_bytes(8, "little")
            self._leaked(step.sender, step.message.stream, kind, data, last, times)

    def _leaked(
        self, sender: int | None, stream: Stream, kind: LeakKind, data: bytes, place: Place, times: int = 1
    ) -> None:
        if not any(data):
            return
        server = stream.source.host if sender is None else sender
        leaks = self._leaks.get(server)
        if leaks is None:
            leaks = self._leaks[server] = Leaks(place)
        leaks.add(kind, data, place, times)

    def _carries(self, step: Step) -> None:
        """Remember the last message of a stream as long as what follows it says whether its length was right."""
        message = step.message
        if message.payload_length:
            self._carriers[message.stream.number] = (step.place, message.name, message.payload_length)
        else:
            self._carriers.pop(message.stream.number, None)
        if step.sender is not None and step.receiver is not None:
            self._firsts.setdefault((step.sender, step.receiver, message.name), step.place)

    # Releases

    def _readable(self, facts: ClusterFacts) -> None:
        told = {server.name for server in facts.servers if server.releases}
        broken = {(pair.writer, pair.reader) for pair in facts.incompatible}
        for flow in facts.traffic:
            if (flow.sender, flow.receiver) in broken:
                continue
            if flow.sender in told and flow.receiver in told:
                self.judge.hold(READABLE)
            else:
                self.judge.skip(READABLE, "unknown_release")
        for pair in facts.incompatible:
            self._unreadable(pair)

    def _unreadable(self, pair: Incompatibility) -> None:
        known = (self._firsts.get((pair.writer, pair.reader, name)) for name in pair.messages)
        places = sorted(place for place in known if place is not None) or [pair.place]
        self.judge.find(
            READABLE,
            places[0],
            f"{capital(named(pair.reader))} {'cannot' if pair.certain else 'perhaps cannot'} decode "
            f"{' and '.join(pair.messages)} of {named(pair.writer)}: {_CONSEQUENCES[pair.consequence]}.",
            Subject(
                pair.writer if isinstance(pair.writer, int) else None,
                pair.reader if isinstance(pair.reader, int) else None,
            ),
            severity=None if pair.certain else "note",
            evidence=places,
            about=pair.messages,
        )

    def _find(
        self,
        rule: Rule,
        step: Step,
        what: str,
        after: str = "",
        *,
        severity: Severity | None = None,
        about: object = None,
    ) -> None:
        """Tell that a server sends something to another, and what is wrong with it."""
        if (severity or rule.severity) == "error":
            self._doubtful.add(step.message.stream.number)
        self.judge.find(
            rule,
            step.place,
            f"{capital(sender_of(step.line))} sends {what} to {receiver_of(step.line)}{after}.",
            step.subject(),
            sure=step.sure,
            severity=severity,
            about=about,
        )


def _is_length(type_: int, length: int) -> bool:
    """Whether some release writes headers of this length for this type; whatever their version."""
    if type_ in _VARIABLE:
        return wire.is_plausible(type_, 0, length)
    return any(length in lengths for lengths in _LENGTHS.get(type_, {}).values())


def _lengths(type_: int) -> str:
    if type_ == table.APPEND_ENTRIES:
        return "48, and 16 for each entry"
    if type_ == table.INSTALL_SNAPSHOT:
        return "56 or 48, and the configuration"
    return _words({length for lengths in _LENGTHS.get(type_, {}).values() for length in lengths})


def _words(numbers: set[int]) -> str:
    return " or ".join(map(str, sorted(numbers)))


def _broken_rule(malformed: Malformed, preamble: wire.Preamble) -> Rule:
    """The rule that bytes break which are no message."""
    if preamble.type not in table.MESSAGE_NAMES:
        return TYPE
    if malformed.part == "preamble" or not _is_length(preamble.type, preamble.header_length):
        return LENGTH
    return COUNT if preamble.type == table.APPEND_ENTRIES else SNAPSHOT


def _broken_words(detail: str) -> str:
    """The engine's words for bytes that are no message, in the middle of a sentence."""
    return f"what is {detail}" if detail.startswith("no message") else f"a message that contradicts itself: {detail}"


def _is_sane(preamble: wire.Preamble) -> bool:
    """Whether all of a preamble but its type could be right."""
    return preamble.reserved_zero and 0 < preamble.header_length <= _MAX_HEADER and not preamble.header_length % 8


def _wrong_servers(servers: Sequence[wire.Server]) -> str | None:
    """Why servers refuse a configuration of these."""
    if not servers:
        return ", which has no servers"
    for name, counts in (("id", Counter(s.id for s in servers)), ("address", Counter(s.address for s in servers))):
        value, times = counts.most_common(1)[0]
        if times > 1:
            return f", in which {times} servers have the {name} {value}"
    for server in servers:
        if not server.id:
            return ", in which a server has the id 0"
        if server.role not in table.ROLES:
            return f", in which server {server.id} has the role {server.role}"
    return None
