"""The RPC messages as Scapy layers, one class each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from scapy.volatile import VolatileValue

from raft_dissect.layers.base import PREAMBLE, RaftMessage
from raft_dissect.layers.fields import Blob, Content, Layout, Leftover, Part, Several, TypeNumber, Unused, part
from raft_dissect.layers.structure import Configuration, Entry, Structure, as_configuration, by_name
from raft_dissect.wire import table

if TYPE_CHECKING:
    from scapy.fields import AnyField


def _reserved(name: str) -> Part:
    return Leftover(Unused(PREAMBLE[name], name))


def _fields(number: int, *special: AnyField, payload: tuple[AnyField, ...] = ()) -> list[AnyField]:
    """The Scapy fields of a message: preamble, layout, those of all forms of the header, payload."""
    known = {field.name: field for field in special}
    found: dict[str, table.Field] = {}
    for form in (form for message in table.MESSAGES if message.number == number for form in message.forms):
        # The newest form's size comes last: it is the size of random values.
        found.update(by_name(form.fields))
    return [
        Part(TypeNumber(PREAMBLE["type"], names=table.MESSAGE_NAMES, default=number)),
        _reserved("preamble_reserved1"),
        part(PREAMBLE["version"], compute=lambda packet: packet.form.version),
        _reserved("preamble_reserved2"),
        part(PREAMBLE["header_length"], compute=lambda packet: len(packet.header())),
        Layout(),
        *(known.get(name) or part(field) for name, field in found.items()),
        Leftover(Blob("extra")),
        *payload,
    ]


class RequestVote(RaftMessage):
    """A candidate asks for a vote: `RequestVote(term=3, candidate_id=1, flags="pre_vote")`."""

    name = "RequestVote"
    numbers = (table.REQUEST_VOTE,)
    fields_desc: ClassVar[list[AnyField]] = _fields(table.REQUEST_VOTE)

    def line(self) -> str:
        """Term, candidate, its last entry, flags."""
        last = f"{self.shown('last_log_index')}/{self.shown('last_log_term')}"
        return f"{super().line()} candidate {self.shown('candidate_id')} last {last}{self.flagged()}"


class RequestVoteResult(RaftMessage):
    """The answer to RequestVote: `RequestVoteResult(term=3, vote_granted=True)`."""

    name = "RequestVoteResult"
    numbers = (table.REQUEST_VOTE_RESULT,)
    fields_desc: ClassVar[list[AnyField]] = _fields(table.REQUEST_VOTE_RESULT)

    def line(self) -> str:
        """Term, verdict, flags."""
        granted = self.value("vote_granted")
        verdict = "?" if granted is None else "granted" if granted else "denied"
        return f"{super().line()} {verdict}{self.flagged()}"


_HEARTBEAT = by_name(table.MESSAGES[table.APPEND_ENTRIES - 1].forms[-1].fields)


def _n_entries(packet: Structure) -> int:
    return len(packet.getfieldval("entries"))


def _is_random(entry: Any) -> bool:
    if not isinstance(entry, Entry):
        return False
    return any(isinstance(entry.getfieldval(field.name), VolatileValue) for field in entry.fields_desc)


def _contents(packet: Structure) -> bytes:
    return b"".join(entry.content() for entry in packet.getfieldval("entries") if isinstance(entry, Entry))


class AppendEntries(RaftMessage):
    """The leader replicates entries: `AppendEntries(term=3, entries=[Entry(term=3, data=b"...")])`.

    The data of the entries follows the header, one after the other; set `data` to send something else in its place.
    """

    name = "AppendEntries"
    numbers = (table.APPEND_ENTRIES,)
    fields_desc: ClassVar[list[AnyField]] = _fields(
        table.APPEND_ENTRIES,
        part(_HEARTBEAT["n_entries"], compute=_n_entries),
        Several("entries", Entry, lambda packet: packet.value("n_entries")),
        payload=(Leftover(Blob("data", None, _contents)),),
    )

    def self_build(self) -> bytes:
        """Scapy's hook: settle random entries first, because their bytes go to two places."""
        entries = self.getfieldval("entries")
        if any(_is_random(entry) for entry in entries):
            self.fields["entries"] = [next(iter(entry)) if _is_random(entry) else entry for entry in entries]
        return super().self_build()

    def ends_in(self, name: str) -> bool:
        """Whether some of the entries are missing."""
        return name == "entries" and len(self.value("entries")) != self.value("n_entries")

    def take(self, payload: bytes) -> None:
        """Give each entry its data."""
        start = 0
        for entry in self.value("entries"):
            end = start + entry.value("size")
            entry.take(payload[start:end])
            start = end
        if start < len(payload):
            self.fields["data"] = payload

    def line(self) -> str:
        """Term, previous entry, commit index, entries."""
        previous = f"{self.shown('prev_log_index')}/{self.shown('prev_log_term')}"
        return f"{super().line()} prev {previous} commit {self.shown('leader_commit')} {self._carried()}"

    def _carried(self) -> str:
        entries = self.value("entries")
        announced = self.value("n_entries")
        count = len(entries) if announced is None else announced
        if not count:
            return "heartbeat"
        types = sorted({entry.shown("type") for entry in entries if isinstance(entry, Entry)})
        return f"{count} {'entry' if count == 1 else 'entries'}" + (f" ({', '.join(types)})" if types else "")


class AppendEntriesResult(RaftMessage):
    """The answer to AppendEntries and InstallSnapshot: `AppendEntriesResult(term=3, last_log_index=101)`."""

    name = "AppendEntriesResult"
    numbers = (table.APPEND_ENTRIES_RESULT,)
    fields_desc: ClassVar[list[AnyField]] = _fields(table.APPEND_ENTRIES_RESULT)

    def line(self) -> str:
        """Term, what is refused, last entry."""
        rejected = f"rejected {self.shown('rejected')} " if self.value("rejected") else ""
        return f"{super().line()} {rejected}last {self.shown('last_log_index')}"


class _Configuration(Content):
    """A configuration of the length that another field says."""

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, Any]:
        """Take that many bytes, or those that there are."""
        length = pkt.value("conf_length")
        return s[length:], as_configuration(s[:length])


_SNAPSHOT = by_name(table.MESSAGES[table.INSTALL_SNAPSHOT - 1].forms[-1].fields)


class InstallSnapshot(RaftMessage):
    """The leader sends a whole snapshot: `InstallSnapshot(last_index=9, last_term=2, data=b"...")`.

    `configuration` is a Configuration, or bytes for one that is broken.
    """

    name = "InstallSnapshot"
    numbers = (table.INSTALL_SNAPSHOT,)
    fields_desc: ClassVar[list[AnyField]] = _fields(
        table.INSTALL_SNAPSHOT,
        part(_SNAPSHOT["conf_length"], compute=lambda packet: packet.built_length("configuration")),
        Part(_Configuration("configuration", Configuration())),
        part(_SNAPSHOT["data_length"], compute=lambda packet: packet.built_length("data")),
        payload=(Content("data", b""),),
    )

    def ends_in(self, name: str) -> bool:
        """Whether some of the configuration is missing."""
        return name == "configuration" and self.built_length(name) != self.value("conf_length")

    def take(self, payload: bytes) -> None:
        """Set the snapshot."""
        self.fields["data"] = payload

    def variable_length(self, header: bytes) -> int:
        """Bytes of the configuration: only what is left beside it shows the layout."""
        before = 0
        for name, field in _SNAPSHOT.items():
            if name == "conf_length":
                break
            before += field.size
        return int.from_bytes(header[before : before + _SNAPSHOT["conf_length"].size], "little")

    def line(self) -> str:
        """Term, last entry, servers, size."""
        last = f"{self.shown('last_index')}/{self.shown('last_term')}"
        configuration = self.value("configuration")
        servers = len(configuration.value("servers")) if isinstance(configuration, Configuration) else "?"
        return f"{super().line()} last {last} {servers} servers {len(self.value('data'))} bytes"


class TimeoutNow(RaftMessage):
    """The leader hands over its leadership: `TimeoutNow(term=7, last_log_index=512, last_log_term=7)`."""

    name = "TimeoutNow"
    numbers = (table.TIMEOUT_NOW,)
    fields_desc: ClassVar[list[AnyField]] = _fields(table.TIMEOUT_NOW)

    def line(self) -> str:
        """Term, last entry."""
        return f"{super().line()} last {self.shown('last_log_index')}/{self.shown('last_log_term')}"


class ReservedMessage(RaftMessage):
    """A message type that has a name in dqlite main but that no release sends; its header is in `extra`."""

    name = "ReservedMessage"
    numbers = tuple(message.number for message in table.MESSAGES if not message.forms)
    fields_desc: ClassVar[list[AnyField]] = _fields(min(numbers))

    def line(self) -> str:
        """Name, size."""
        return f"{self.shown('type')}, header of {self.shown('header_length')} bytes"
