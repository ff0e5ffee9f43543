"""Messages and diagnostics as JSON records, one flat dictionary each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raft_dissect.cluster import Identities
from raft_dissect.values import Diagnostic, Message, StreamOpened
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect import wire
    from raft_dissect.report.times import Clock
    from raft_dissect.values import Event, Gap, Place

Record = dict[str, Any]


class Records:
    """Makes the records of `messages --json`; `files` are named in them when there are several.

    It must be given every event, also those that are not shown, because handshakes and configurations say who is who.
    """

    def __init__(self, files: Sequence[str], clock: Clock) -> None:
        self.identities = Identities()
        self._files = files if len(files) > 1 else ()
        self._clock = clock

    def learn(self, event: Event) -> None:
        """Learn from an event who is at which end of a stream."""
        if isinstance(event, StreamOpened):
            self.identities.opened(event.stream)
        elif isinstance(event, Message):
            self.identities.message(event)
            if event.type == table.APPEND_ENTRIES:
                for number, entry in enumerate(event.entries):
                    if entry.type == table.CHANGE:
                        self.identities.configuration(event.change(number) or ())

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


def _entries(message: Message) -> list[Record]:
    index = message.fields["prev_log_index"]
    records = []
    for number, entry in enumerate(message.entries):
        record: Record = {
            "index": index + 1 + number,
            "term": entry.term,
            "type": entry.type_name,
            "size": entry.size,
        }
        configuration = message.change(number) if entry.type == table.CHANGE else None
        if configuration is not None:
            record["configuration"] = configuration_record(configuration)
        records.append(record)
    return records


def configuration_record(servers: Sequence[wire.Server]) -> list[Record]:
    """A configuration as a list of servers."""
    return [{"id": server.id, "address": server.address, "role": server.role_name} for server in servers]
