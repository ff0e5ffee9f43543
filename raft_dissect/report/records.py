"""Messages and diagnostics as JSON records, one flat dictionary or one line each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from raft_dissect.cluster import Identities
from raft_dissect.values import Diagnostic, Message, StreamOpened
from raft_dissect.wire import Entry, table
from raft_dissect.wire.codec import entry_words, plain_head

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from raft_dissect import wire
    from raft_dissect.report.times import Clock
    from raft_dissect.values import Event, Gap, Place, Stream

Record = dict[str, Any]
_encode = json.JSONEncoder().encode


class Records:
    """Makes the records of `messages --json`; `files` are named in them when there are several.

    It must be given every event, also those that are not shown, because handshakes and configurations say who is who.
    """

    def __init__(self, files: Sequence[str], clock: Clock) -> None:
        self.identities = Identities()
        self._files = files if len(files) > 1 else ()
        self._encoded_files = [_encode(file) for file in self._files]
        self._clock = clock
        self._templates: dict[Stream, Template] = {}
        self._changes = 0

    def learn(self, event: Event) -> None:
        """Learn from an event who is at which end of a stream."""
        if isinstance(event, Message):
            self._learn_from(event)
        elif isinstance(event, StreamOpened):
            self.identities.opened(event.stream)

    def _learn_from(self, message: Message) -> None:
        self.identities.message(message)
        if message.changes:
            for number in message.changes:
                self.identities.configuration(message.change(number) or ())

    def line(self, event: Message | Diagnostic) -> str:
        """The record of a message or diagnostic as a line of JSON, without its end."""
        return self._message_line(event) if isinstance(event, Message) else _encode(self.diagnostic(event))

    def _message_line(self, message: Message) -> str:
        if self._changes != self.identities.changes:
            self._changes = self.identities.changes
            self._templates.clear()
        template = self._templates.get(message.stream)
        if template is None or not template.fits(message):
            record = self.message(message)
            if _is_plain(message):
                self._templates[message.stream] = Template(message, record)
            return _encode(record)
        place = message.place
        time_ns = place.time_ns
        file = self._encoded_files[place.file] if self._encoded_files else None
        return template.line(message, place.frame, file, self._clock.iso(time_ns), time_ns)

    def message(self, message: Message) -> Record:
        """The record of a message."""
        stream = message.stream
        sender, receiver = self.identities.sender(stream), self.identities.receiver(stream)
        record = self._place(message.place)
        record.update(
            src=str(stream.source),
            dst=str(stream.destination),
            stream=stream.number,
            offset=message.offset,
            sender_id=sender.id,
            sender_address=sender.address,
            receiver_id=receiver.id,
            sender_known_by=sender.known_by,
            handshake=stream.handshake.kind if stream.handshake is not None else None,
            message=message.name,
            dialect=message.decoded.dialect,
            version=message.preamble.version,
            header_length=message.preamble.header_length,
            payload_length=message.payload_length,
        )
        record.update(message.fields)
        if message.type == table.APPEND_ENTRIES and "n_entries" in message.fields:
            record["entries"] = _entries(message)
        if message.configuration is not None:
            record["configuration"] = configuration_record(message.configuration)
        if message.payload_sha256 is not None:
            record["payload_sha256"] = message.payload_sha256
        if message.partial:
            record.update(partial=True, missing=message.missing)
        return record

    def diagnostic(self, diagnostic: Diagnostic) -> Record:
        """The record of a diagnostic."""
        stream = diagnostic.stream
        record = self._place(diagnostic.place)
        record["diagnostic"] = diagnostic.kind
        if stream is not None:
            record.update(src=str(stream.source), dst=str(stream.destination), stream=stream.number)
        record.update(offset=diagnostic.offset, size=diagnostic.size, detail=diagnostic.detail)
        if diagnostic.gap is not None:
            record.update(self._gap(diagnostic.gap))
        return {key: value for key, value in record.items() if value is not None}

    def _gap(self, gap: Gap) -> Record:
        return {
            "previous_frame": gap.before.frame,
            "previous_file": self._files[gap.before.file] if self._files else None,
            "cost": gap.cost,
            "cut_message": gap.message,
            "cut_message_offset": gap.message_offset,
            "passed_over": gap.passed_over,
        }

    def _place(self, place: Place) -> Record:
        record: Record = {"frame": place.frame}
        if self._files:
            record["file"] = self._files[place.file]
        record.update(time=self._clock.iso(place.time_ns), time_ns=place.time_ns)
        return record


def _is_plain(message: Message) -> bool:
    """Whether a message is whole, and so are all its fields integers: then its record differs from others in these."""
    preamble = message.preamble
    if message.missing != 0 or message.changes or message.payload_sha256 is not None:
        return False
    return plain_head(preamble.type, preamble.version, preamble.header_length) is not None


class Template:
    """The line of one plain message, with what differs in others of the same stream and kind left open."""

    __slots__ = ("_entries", "_preamble", "_text", "_unpack")

    def __init__(self, message: Message, record: Record) -> None:
        """`record` is that of `message`."""
        preamble = message.preamble
        head = plain_head(preamble.type, preamble.version, preamble.header_length)
        assert head is not None, "the message must be plain"
        self._unpack = head.unpack_from
        self._preamble = preamble
        self._entries = preamble.type == table.APPEND_ENTRIES
        self._text = _left_open(record, {**_OPEN, **dict.fromkeys(message.fields, "%d")})

    def fits(self, message: Message) -> bool:
        """Whether the line of a message of this stream differs only in what is open."""
        if message.missing != 0 or message.changes or message.payload_sha256 is not None:
            return False
        preamble = message.preamble
        if preamble == self._preamble:
            return True
        return self._entries and preamble.type == table.APPEND_ENTRIES and preamble.version == self._preamble.version

    def line(self, message: Message, frame: int, file: str | None, time: str, time_ns: int) -> str:
        """The line of a message that fits; `file` is the name of its file in JSON, if it is to be there."""
        header = message.header
        words: tuple[Any, ...] = self._unpack(header)
        if self._entries:
            words = (message.preamble.header_length, message.payload_length, *words, _entries_text(header, words))
        else:
            words = (message.preamble.header_length, message.payload_length, *words)
        offset = "null" if message.offset is None else message.offset
        if file is None:
            return self._text % (frame, time, time_ns, offset, *words)
        return self._text % (frame, file, time, time_ns, offset, *words)


_OPEN: Final = {
    "frame": "%d",
    "file": "%s",
    "time": '"%s"',
    "time_ns": "%d",
    "offset": "%s",
    "header_length": "%d",
    "payload_length": "%d",
    "entries": "[%s]",
}
"""What is left open beside a message's own fields, and how it is written; in the order in which `line` fills it in."""
_OPEN_ENTRY: Final = {"index": "%d", "term": "%d", "size": "%d"}


def _left_open(record: Record, opened: Mapping[str, str]) -> str:
    """The line of a record for the operator %, to which what stands under the keys of `opened` is left."""
    items = [f"{_encode(key)}: {opened.get(key) or _encode(value).replace('%', '%%')}" for key, value in record.items()]
    return "{" + ", ".join(items) + "}"


_ENTRY_TEXTS: Final[dict[int, str]] = {}
"""By type of an entry: its record with what is in `_OPEN_ENTRY` left open."""


def _entry_text(type_: int) -> str:
    text = _ENTRY_TEXTS.get(type_)
    if text is None:
        text = _ENTRY_TEXTS[type_] = _left_open(_entry_record(0, Entry(0, type_, 0)), _OPEN_ENTRY)
    return text


def _entries_text(header: bytes, words: tuple[int, ...]) -> str:
    """The entries of a header as JSON, without the brackets around them."""
    _, index, _, _, n_entries = words
    if not n_entries:
        return ""
    texts = []
    for term, type_, size in entry_words(header, n_entries):
        index += 1
        texts.append(_entry_text(type_) % (index, term, size))
    return ", ".join(texts)


def _entry_record(index: int, entry: Entry) -> Record:
    return {"index": index, "term": entry.term, "type": entry.type_name, "size": entry.size}


def _entries(message: Message) -> list[Record]:
    index = message.fields["prev_log_index"]
    records = []
    for number, entry in enumerate(message.entries):
        record = _entry_record(index + 1 + number, entry)
        configuration = message.change(number) if entry.type == table.CHANGE else None
        if configuration is not None:
            record["configuration"] = configuration_record(configuration)
        records.append(record)
    return records


def configuration_record(servers: Sequence[wire.Server]) -> list[Record]:
    """A configuration as a list of servers."""
    return [{"id": server.id, "address": server.address, "role": server.role_name} for server in servers]
