"""The wire table: every structure of the C-Raft protocol, field by field, and which releases write it how.

This is the only place where a field's name, size and meaning are written down. The decoder and encoder
(`codec`, `handshake`, `configuration`), the Scapy layers and the field reference of the documentation derive from it.
All integers are little-endian and unsigned.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["uint", "boolean", "bits", "count", "length", "unused", "entries", "configuration", "address"]
"""What the bytes of a field are.

`uint` an integer; `boolean` an integer of which any non-zero value is true; `bits` one boolean per named bit;
`count` the number of entries or servers that follow; `length` the size in bytes of what another part holds;
`unused` bytes without a meaning, which may carry stale memory of the sender; `entries` 16 bytes per entry;
`configuration` and `address` structures of their own, of variable size.
"""

Dialect = Literal["canonical", "cowsql"]


class Releases(NamedTuple):
    """Consecutive releases of one lineage."""

    lineage: str
    first: str
    last: str

    def __str__(self) -> str:
        return f"{self.lineage} {self.first}..{self.last}"


class Layout(NamedTuple):
    """One of the nine encodings that releases of the three lineages put on the wire."""

    label: str
    dialect: Dialect
    """Which of the two preambles it uses; cowsql/raft before v0.20.0 writes the canonical one."""
    releases: tuple[Releases, ...]
    change: str
    """What differs from the layout before it."""
    zeroed: Literal["nothing", "trailers", "all"] = "nothing"
    """Which unused bytes it writes as zero; the others carry stale memory."""


class Field(NamedTuple):
    """One field of a structure, in wire order."""

    name: str
    size: int
    """Bytes; 0 for parts of variable size, which say in `meaning` what their size is."""
    meaning: str
    kind: Kind = "uint"
    bits: tuple[str, ...] = ()
    """For `bits`: the name of each bit, from bit 0 on."""


class Form(NamedTuple):
    """One shape of a message header: the layouts that write it, their version byte and its fields."""

    layouts: tuple[str, ...]
    version: int
    fields: tuple[Field, ...]


class MessageType(NamedTuple):
    """One RPC message: its number in the preamble, its name and its header's forms, oldest first."""

    number: int
    name: str
    meaning: str
    forms: tuple[Form, ...]
    payload: str = ""
    """What follows the header, or nothing."""


_C, _W, _D = "canonical/raft", "cowsql/raft", "dqlite"
LAYOUTS: tuple[Layout, ...] = (
    Layout("c-0.9.0", "canonical", (Releases(_C, "v0.9.0", "v0.9.14"),), "the first; no TimeoutNow"),
    Layout(
        "c-0.9.15",
        "canonical",
        (Releases(_C, "v0.9.15", "v0.9.20"),),
        "TimeoutNow; RequestVote gains a word that holds disrupt_leader",
    ),
    Layout(
        "c-0.9.21",
        "canonical",
        (Releases(_C, "v0.9.21", "v0.11.2"),),
        "that word of RequestVote becomes bits: disrupt_leader and pre_vote",
    ),
    Layout(
        "c-0.11.3",
        "canonical",
        (Releases(_C, "v0.11.3", "v0.17.1"),),
        "RequestVoteResult gains flags: pre_vote",
    ),
    Layout(
        "c-0.18.0",
        "canonical",
        (
            Releases(_C, "v0.18.0", "v0.18.1"),
            Releases(_D, "v1.16.3", "v1.18.6"),
            Releases(_W, "v0.17.2", "v0.17.3"),
        ),
        "AppendEntriesResult gains features",
    ),
    Layout(
        "c-main",
        "canonical",
        (Releases(_D, "main (2026-06)", "main"),),
        "InstallSnapshot loses its unused trailer",
    ),
    Layout(
        "w-0.17.4",
        "canonical",
        (Releases(_W, "v0.17.4", "v0.19.1"),),
        "c-0.18.0 with zeroed trailers",
        "trailers",
    ),
    Layout(
        "w-0.20.0",
        "cowsql",
        (Releases(_W, "v0.20.0", "v0.22.0"),),
        "version byte in the preamble; 16-bit features and capacity in both results",
        "trailers",
    ),
    Layout("w-0.22.1", "cowsql", (Releases(_W, "v0.22.1", "main"),), "all unused bytes are zero", "all"),
)

PREAMBLE: tuple[Field, ...] = (
    Field("type", 1, "message type"),
    Field("reserved1", 1, "always 0", "unused"),
    Field("version", 1, "version of the header; 0 in the canonical dialect, which writes type as a 64-bit word"),
    Field("reserved2", 5, "always 0", "unused"),
    Field("header_length", 8, "size in bytes of the header that follows", "length"),
)

ENTRY: tuple[Field, ...] = (
    Field("term", 8, "term in which the leader created the entry"),
    Field("type", 1, "1 command, 2 barrier, 3 change (a new configuration)"),
    Field("unused", 3, "stale memory before cowsql/raft v0.22.1", "unused"),
    Field("size", 4, "size in bytes of the entry's data in the payload", "length"),
)

CONFIGURATION: tuple[Field, ...] = (
    Field("format", 1, "always 1"),
    Field("n_servers", 8, "number of servers that follow; not aligned", "count"),
)

SERVER: tuple[Field, ...] = (
    Field("id", 8, "the server's id, never 0; not aligned"),
    Field("address", 0, "text that ends with a NUL byte", "address"),
    Field("role", 1, "0 standby (replicates, no vote), 1 voter, 2 spare (neither)"),
)

RAFT_HANDSHAKE: tuple[Field, ...] = (
    Field("protocol", 8, "always 1"),
    Field("id", 8, "the connecting server's id"),
    Field(
        "address_length",
        8,
        "size in bytes of the address with its NUL and padding, a multiple of 8",
        "length",
    ),
    Field(
        "address",
        0,
        "the connecting server's own address, NUL, padding (stale before cowsql/raft v0.22.1)",
        "address",
    ),
)

DQLITE_HANDSHAKE: tuple[Field, ...] = (
    Field("protocol", 8, "1, or 0x86104dd760433fe5 from dqlite v1.0.0..v1.5.0"),
    Field("words", 4, "size of what follows type, schema and extra, in words of 8 bytes", "length"),
    Field("type", 1, "11, CONNECT"),
    Field("schema", 1, "0; stale before dqlite v1.12.0"),
    Field("extra", 2, "0; stale before dqlite v1.12.0"),
    Field("id", 8, "the connecting server's id"),
    Field(
        "address",
        0,
        "the connecting server's own address, NUL, padded with zeros to a multiple of 8",
        "address",
    ),
)

DQLITE_PROTOCOL = 1
DQLITE_PROTOCOL_LEGACY = 0x86104DD760433FE5
DQLITE_CONNECT = 11
DQLITE_REQUESTS: dict[int, str] = {
    0: "LEADER",
    1: "CLIENT",
    2: "HEARTBEAT",
    3: "OPEN",
    4: "PREPARE",
    5: "EXEC",
    6: "QUERY",
    7: "FINALIZE",
    8: "EXEC_SQL",
    9: "QUERY_SQL",
    10: "INTERRUPT",
    11: "CONNECT",
    12: "ADD",
    13: "PROMOTE_OR_ASSIGN",
    14: "REMOVE",
    15: "DUMP",
    16: "CLUSTER",
    17: "TRANSFER",
    18: "DESCRIBE",
    19: "WEIGHT",
}
"""Request types of dqlite's client protocol, which shares the port; only CONNECT starts Raft traffic."""

HTTP_UPGRADE_RESPONSE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: dqlite\r\n\r\n"
"""What go-dqlite writes before the dqlite protocol when the embedding daemon took the connection over from HTTP."""

ENTRY_TYPES: dict[int, str] = {1: "command", 2: "barrier", 3: "change"}
ROLES: dict[int, str] = {0: "standby", 1: "voter", 2: "spare"}
COMMAND, BARRIER, CHANGE = 1, 2, 3
STANDBY, VOTER, SPARE = 0, 1, 2
CONFIGURATION_FORMAT = 1
RAFT_PROTOCOL = 1

_SINCE_VERSION_BYTE = ("w-0.20.0", "w-0.22.1")
_ALL = tuple(layout.label for layout in LAYOUTS)


def _layouts(first: str, last: str) -> tuple[str, ...]:
    return _ALL[_ALL.index(first) : _ALL.index(last) + 1]


_TERM = Field("term", 8, "the sender's current term")
_UNUSED_TRAILER = Field(
    "trailer", 8, "never written by canonical releases, so stale memory; receivers ignore it", "unused"
)

_REQUEST_VOTE = (
    Field("term", 8, "the candidate's term; in a pre-vote its current term + 1, which changes no term"),
    Field("candidate_id", 8, "id of the server that asks for the vote"),
    Field("last_log_index", 8, "index of the candidate's last log entry (the last persisted one since v0.18.0)"),
    Field("last_log_term", 8, "term of that entry"),
)
_REQUEST_VOTE_FLAGS = Field(
    "flags",
    8,
    "disrupt_leader: the vote is asked for in a leadership transfer, voters answer although they know a leader; "
    "pre_vote: only a question whether a vote would be granted",
    "bits",
    ("disrupt_leader", "pre_vote"),
)
_REQUEST_VOTE_RESULT = (
    Field("term", 8, "the voter's current term; in a pre-vote since v0.14.0 the term of the request"),
    Field("vote_granted", 8, "1 if the vote is granted", "boolean"),
)
_VOTE_RESULT_FLAGS = "pre_vote: the answer to a pre-vote"
_APPEND_RESULT = (
    _TERM,
    Field("rejected", 8, "0 on success, otherwise the index that is refused"),
    Field("last_log_index", 8, "on success the last index that the follower stored; on rejection a hint"),
)
_FEATURES = "bit 0: capacity is meaningful; canonical releases always send 0"
_CAPACITY = "free preallocated log space on disk in KiB, modulo 65536"
_APPEND_ENTRIES = (
    Field("term", 8, "the leader's term"),
    Field("prev_log_index", 8, "index of the entry just before the ones that are sent"),
    Field("prev_log_term", 8, "term of that entry"),
    Field("leader_commit", 8, "the leader's commit index"),
    Field("n_entries", 8, "number of entries; 0 in a heartbeat", "count"),
    Field("entries", 0, "16 bytes per entry", "entries"),
    _UNUSED_TRAILER,
)
_INSTALL_SNAPSHOT = (
    Field("term", 8, "the leader's term"),
    Field("last_index", 8, "index of the last log entry that the snapshot covers"),
    Field("last_term", 8, "term of that entry"),
    Field("conf_index", 8, "index of the log entry that holds the configuration"),
    Field("conf_length", 8, "size of the configuration in bytes, with its padding", "length"),
    Field("configuration", 0, "conf_length bytes", "configuration"),
    Field("data_length", 8, "size of the whole snapshot in bytes", "length"),
)

MESSAGES: tuple[MessageType, ...] = (
    MessageType(
        1,
        "AppendEntries",
        "the leader replicates entries, or says that it is alive",
        (Form(_ALL, 0, _APPEND_ENTRIES),),
        "the data of each entry, one after the other without padding",
    ),
    MessageType(
        2,
        "AppendEntriesResult",
        "the answer to AppendEntries and to InstallSnapshot",
        (
            Form(_layouts("c-0.9.0", "c-0.11.3"), 0, _APPEND_RESULT),
            Form(_layouts("c-0.18.0", "w-0.17.4"), 0, (*_APPEND_RESULT, Field("features", 8, _FEATURES))),
            Form(
                _SINCE_VERSION_BYTE,
                2,
                (
                    *_APPEND_RESULT,
                    Field("features", 2, _FEATURES),
                    Field("capacity", 2, _CAPACITY),
                    Field("reserved", 4, "always 0", "unused"),
                ),
            ),
        ),
    ),
    MessageType(
        3,
        "RequestVote",
        "a candidate asks for a vote",
        (
            Form(("c-0.9.0",), 0, _REQUEST_VOTE),
            Form(
                ("c-0.9.15",),
                0,
                (*_REQUEST_VOTE, Field("disrupt_leader", 8, "1 in a leadership transfer", "boolean")),
            ),
            Form(_layouts("c-0.9.21", "w-0.17.4"), 0, (*_REQUEST_VOTE, _REQUEST_VOTE_FLAGS)),
            Form(_SINCE_VERSION_BYTE, 2, (*_REQUEST_VOTE, _REQUEST_VOTE_FLAGS)),
        ),
    ),
    MessageType(
        4,
        "RequestVoteResult",
        "the answer to RequestVote",
        (
            Form(_layouts("c-0.9.0", "c-0.9.21"), 0, _REQUEST_VOTE_RESULT),
            Form(
                _layouts("c-0.11.3", "w-0.17.4"),
                0,
                (*_REQUEST_VOTE_RESULT, Field("flags", 8, _VOTE_RESULT_FLAGS, "bits", ("pre_vote",))),
            ),
            Form(
                _SINCE_VERSION_BYTE,
                2,
                (
                    *_REQUEST_VOTE_RESULT,
                    Field("flags", 1, _VOTE_RESULT_FLAGS, "bits", ("pre_vote",)),
                    Field("reserved1", 1, "always 0", "unused"),
                    Field("features", 2, _FEATURES),
                    Field("capacity", 2, _CAPACITY),
                    Field("reserved2", 2, "always 0", "unused"),
                ),
            ),
        ),
    ),
    MessageType(
        5,
        "InstallSnapshot",
        "the leader sends a whole snapshot in one message",
        (
            Form(("c-main",), 0, _INSTALL_SNAPSHOT),
            Form(tuple(label for label in _ALL if label != "c-main"), 0, (*_INSTALL_SNAPSHOT, _UNUSED_TRAILER)),
        ),
        "the snapshot's bytes, never compressed",
    ),
    MessageType(
        6,
        "TimeoutNow",
        "the leader hands its leadership to the receiver, which starts an election at once",
        (
            Form(
                _layouts("c-0.9.15", "w-0.22.1"),
                0,
                (
                    Field("term", 8, "the leader's term"),
                    Field("last_log_index", 8, "index of the leader's last log entry"),
                    Field("last_log_term", 8, "term of that entry"),
                ),
            ),
        ),
    ),
    *(
        MessageType(number, name, "reserved in dqlite main, encoded by no release; layout unknown", ())
        for number, name in (
            (7, "Signature"),
            (8, "SignatureResult"),
            (9, "InstallSnapshotResult"),
            (10, "Mv"),
            (11, "MvResult"),
            (12, "Cp"),
            (13, "CpResult"),
        )
    ),
)

MESSAGE_NAMES: dict[int, str] = {message.number: message.name for message in MESSAGES}
MESSAGE_NUMBERS: dict[str, int] = {message.name: message.number for message in MESSAGES}
RESERVED: frozenset[int] = frozenset(message.number for message in MESSAGES if not message.forms)
APPEND_ENTRIES = 1
APPEND_ENTRIES_RESULT = 2
REQUEST_VOTE = 3
REQUEST_VOTE_RESULT = 4
INSTALL_SNAPSHOT = 5
TIMEOUT_NOW = 6

PREAMBLE_LENGTH = sum(field.size for field in PREAMBLE)
ENTRY_LENGTH = sum(field.size for field in ENTRY)
MAX_HEADER_LENGTH = 16 * 1024 * 1024
"""No decoder before dqlite main limits a header; ours does, at four times dqlite main's 4 MiB."""
