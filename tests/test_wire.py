"""The wire table against the golden vectors: every byte that a real encoder wrote, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_dissect import wire
from raft_dissect.wire import dqlite, table
from raft_dissect.wire.codec import ENTRY_STRUCT, PREAMBLE_STRUCT
from tests import vectors

if TYPE_CHECKING:
    from tests.vectors import Vector

MESSAGES = vectors.load("raft_message")
NOT_OWN_FIELDS = {"type", "header_length", "version", "entries", "configuration", "data"}


def by_name(vector: Vector) -> str:
    return vector.name


def own_fields(vector: Vector) -> dict[str, int]:
    return {key: value for key, value in vector.fields.items() if key not in NOT_OWN_FIELDS}


def entry_data(message: wire.DecodedMessage) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    offset = 0
    for entry in message.header.entries:
        content = message.payload[offset : offset + entry.size]
        found.append({"term": entry.term, "type": entry.type, "data": content.hex()})
        offset += entry.size
    return found


@pytest.mark.parametrize("vector", MESSAGES, ids=by_name)
def test_message_decodes_to_the_fields_that_were_encoded(vector: Vector) -> None:
    message = wire.decode_message(vector.data, layout=vector.layout)
    assert message is not None
    assert message.length == len(vector.data)
    assert message.preamble.type == vector.fields["type"]
    assert message.preamble.header_length == vector.fields["header_length"]
    assert message.preamble.version == vector.fields.get("version", 0)
    decoded = dict(message.header.fields)
    if "n_entries" in decoded:
        assert decoded.pop("n_entries") == len(vector.fields["entries"])
        assert entry_data(message) == vector.fields["entries"]
    if message.header.configuration is not None:
        assert [list(server) for server in message.header.configuration] == vector.fields["configuration"]
        assert message.payload.hex() == vector.fields["data"]
    assert decoded == own_fields(vector)


@pytest.mark.parametrize("vector", MESSAGES, ids=by_name)
def test_message_encodes_to_the_bytes_of_the_real_encoder(vector: Vector) -> None:
    encoded = wire.encode_message(
        vector.fields["type"],
        own_fields(vector),
        layout=vector.layout,
        entries=[(e["term"], e["type"], bytes.fromhex(e["data"])) for e in vector.fields.get("entries", [])],
        configuration=[wire.Server(*server) for server in vector.fields.get("configuration", [])],
        data=bytes.fromhex(vector.fields.get("data", "")),
    )
    # The 0xff bytes of barriers and configurations inside entries are payload, which is given, not encoded.
    assert vector.blank(encoded) == vector.blank(vector.data)


@pytest.mark.parametrize("vector", MESSAGES, ids=by_name)
def test_dialect_is_named_only_where_the_bytes_show_it(vector: Vector) -> None:
    message = wire.decode_message(vector.data)
    assert message is not None
    shown = message.header.dialect
    name = wire.MESSAGE_NAMES[message.preamble.type]
    if name in ("RequestVote", "RequestVoteResult", "AppendEntriesResult"):
        assert shown == ("cowsql" if message.preamble.version == 2 else "canonical")
    elif vector.layout == "c-main" and name == "InstallSnapshot":
        assert shown == "canonical"
    else:
        assert shown is None


@pytest.mark.parametrize("vector", MESSAGES, ids=by_name)
def test_every_real_message_is_consistent_and_none_is_when_shifted(vector: Vector) -> None:
    preamble = wire.decode_preamble(vector.data)
    assert preamble is not None
    header = vector.data[16 : 16 + preamble.header_length]
    largest = "max" in vector.name or "features_max" in vector.name
    if not largest:
        assert wire.is_consistent(preamble, header)
    for shift in range(1, 16):
        shifted = wire.decode_preamble(vector.data, shift)
        assert shifted is not None
        assert not wire.is_consistent(shifted, vector.data[16 + shift : 16 + shift + shifted.header_length])


@pytest.mark.parametrize("vector", MESSAGES, ids=by_name)
def test_a_cut_message_needs_more_bytes_and_is_never_malformed(vector: Vector) -> None:
    for size in range(len(vector.data)):
        assert wire.decode_message(vector.data[:size]) is None


@pytest.mark.parametrize("vector", MESSAGES, ids=by_name)
def test_a_cut_header_gives_the_fields_that_are_there(vector: Vector) -> None:
    message = wire.decode_message(vector.data)
    assert message is not None
    whole = message.header.fields
    preamble = message.preamble
    for size in range(preamble.header_length):
        part = wire.decode_header(preamble.type, preamble.version, vector.data[16 : 16 + size], preamble.header_length)
        assert part.fields.items() <= whole.items()
        assert ("term" in part.fields) == (size >= 8)
        assert part.entries == message.header.entries[: len(part.entries)]
        assert part.payload_length in (None, message.header.payload_length)


@pytest.mark.parametrize("vector", vectors.load("configuration"), ids=by_name)
def test_configuration(vector: Vector) -> None:
    servers = wire.decode_configuration(vector.data)
    assert [list(server) for server in servers] == vector.fields["configuration"]
    assert vector.blank(wire.encode_configuration(servers)) == vector.data


@pytest.mark.parametrize("vector", vectors.load("uv_tcp_handshake", "dqlite_connect"), ids=by_name)
def test_handshake(vector: Vector) -> None:
    opening = wire.recognise(vector.data)
    assert opening.handshake is not None
    kind, protocol, id_, address, length, _ = opening.handshake
    assert (protocol, id_, address) == (
        vector.fields["protocol"],
        vector.fields["id"],
        vector.fields["address"],
    )
    assert kind == ("raft" if vector.kind == "uv_tcp_handshake" else "dqlite")
    assert length == opening.length == len(vector.data)
    assert vector.blank(wire.encode_handshake(kind, id_, address, protocol)) == vector.data


@pytest.mark.parametrize("vector", vectors.load("uv_tcp_handshake", "dqlite_connect", "dqlite_client"), ids=by_name)
def test_opening_needs_more_bytes_until_it_is_sure(vector: Vector) -> None:
    sure = wire.recognise(vector.data)
    for size in range(len(vector.data)):
        assert wire.recognise(vector.data[:size]) in (wire.Opening("more"), sure)


def test_dqlite_client_is_not_a_raft_server() -> None:
    (leader,) = vectors.load("dqlite_client")
    assert wire.recognise(leader.data).kind == "dqlite_client"
    # Request CLIENT with id 16, then LEADER: in its first 24 bytes a raft handshake with id 0x100000001, length 16.
    client = bytes.fromhex("0100000000000000 0100000001000000 1000000000000000 0100000000000000 0000000000000000")
    assert wire.recognise(client).kind == "dqlite_client"


@pytest.mark.parametrize(
    ("data", "kind", "length"),
    [
        (b"GET /internal/database HTTP/1.1\r\nUpgrade: dqlite\r\n\r\n", "http", 52),
        (table.HTTP_UPGRADE_RESPONSE, "upgrade", 53),
        (bytes.fromhex("16030100c8010000c4"), "tls", 0),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "unknown", 0),
        (bytes(32), "unknown", 0),
        (b"", "more", 0),
    ],
)
def test_other_openings(data: bytes, kind: str, length: int) -> None:
    opening = wire.recognise(data)
    assert (opening.kind, opening.handshake, opening.length) == (kind, None, length)


@pytest.mark.parametrize("vector", vectors.load("dqlite_command"), ids=by_name)
def test_dqlite_command(vector: Vector) -> None:
    command = dqlite.decode_command(vector.data)
    fields = dict(vector.fields)
    if "n_pages" in fields:
        assert len(command.pages) == fields.pop("n_pages")
        fields["page_numbers"] = tuple(fields["page_numbers"])
    assert {name: getattr(command, name) for name in fields} == fields
    assert dqlite.encode_command(command) == vector.data


@pytest.mark.parametrize("vector", vectors.load("dqlite_snapshot"), ids=by_name)
def test_dqlite_snapshot(vector: Vector) -> None:
    databases = dqlite.decode_snapshot(vector.data)
    sizes = [{"filename": d.filename, "main_size": len(d.main), "wal_size": len(d.wal)} for d in databases]
    assert sizes == vector.fields["databases"]
    assert all(d.main.startswith(b"SQLite format 3\0") for d in databases)
    assert dqlite.encode_snapshot(databases) == vector.data


@pytest.mark.parametrize("vector", vectors.load("dqlite_command", "dqlite_snapshot"), ids=by_name)
def test_cut_dqlite_content_is_malformed_and_nothing_else(vector: Vector) -> None:
    decode = dqlite.decode_command if vector.kind == "dqlite_command" else dqlite.decode_snapshot
    for size in range(len(vector.data) - 8):
        with pytest.raises(wire.MalformedError):
            decode(vector.data[:size])


@pytest.mark.parametrize("vector", vectors.load("stream"), ids=by_name)
def test_stream_is_its_parts(vector: Vector) -> None:
    parts = {v.name: v for v in vectors.load("raft_message", "uv_tcp_handshake", "dqlite_connect")}
    offset = wire.recognise(vector.data).length
    assert vector.data[:offset] == parts[vector.fields["parts"][0]].data
    for name in vector.fields["parts"][1:]:
        message = wire.decode_message(vector.data, offset)
        assert message is not None
        assert vector.data[offset : offset + message.length] == parts[name].data
        offset += message.length
    assert offset == len(vector.data)


def test_one_shape_of_several_layouts_is_the_newest_unless_a_layout_is_asked_for() -> None:
    # A 40-byte RequestVote with a flags word of 3: two bits since v0.9.21, one boolean word before.
    header = bytes(8 * 4) + (3).to_bytes(8, "little")
    assert wire.decode_header(3, 0, header).fields["pre_vote"] is True
    old = wire.decode_header(3, 0, header, layout="c-0.9.15").fields
    assert old["disrupt_leader"] is True
    assert "pre_vote" not in old


def test_a_header_longer_than_any_release_writes_is_read_like_the_longest_of_its_version() -> None:
    # RequestVote of 48 bytes: the flags are bits, as in the newest layout of version 0.
    words = [3, 1, 5, 2, 2, 0]
    longer = wire.decode_header(3, 0, b"".join(word.to_bytes(8, "little") for word in words)).fields
    assert (longer["disrupt_leader"], longer["pre_vote"]) == (False, True)
    # AppendEntriesResult of 40 bytes, version 2: 16-bit features and capacity, not one 64-bit word.
    words = [3, 0, 5, 1 | 24576 << 16, 0]
    result = wire.decode_header(2, 2, b"".join(word.to_bytes(8, "little") for word in words)).fields
    assert (result["features"], result["capacity"]) == (1, 24576)


@pytest.mark.parametrize("number", range(7, 14))
def test_reserved_types_have_a_name(number: int) -> None:
    message = wire.decode_message(wire.encode_preamble(number, 0, 8) + bytes(8))
    assert message is not None
    assert (message.header.fields, message.header.payload_length) == ({}, None)
    assert wire.MESSAGE_NAMES[number] in {
        "Signature", "SignatureResult", "InstallSnapshotResult", "Mv", "MvResult", "Cp", "CpResult"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("type_", "header", "place"),
    [
        (3, bytes(8), 0),  # RequestVote of 8 bytes
        (1, bytes(32), 0),  # AppendEntries without room for n_entries
        (1, bytes(32) + (2).to_bytes(8, "little") + bytes(24), 32),  # two entries in the room of one
        (
            1,
            bytes(32) + (1 << 32).to_bytes(8, "little") + bytes(8),
            32,
        ),  # 2**32 entries: not 0 as real servers think
        (5, bytes(40), 32),  # InstallSnapshot without room for the data length
        (5, bytes(32) + (1 << 63).to_bytes(8, "little") + bytes(16), 32),  # a configuration of 2**63 bytes
        (6, bytes(16), 0),  # TimeoutNow of 16 bytes
    ],
)
def test_header_that_contradicts_itself_is_malformed(type_: int, header: bytes, place: int) -> None:
    with pytest.raises(wire.MalformedError) as caught:
        wire.decode_header(type_, 0, header)
    assert caught.value.offset == place
    with pytest.raises(wire.MalformedError):
        wire.payload_length(type_, header)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02" + bytes(8),  # format 2
        b"\x01" + (1 << 40).to_bytes(8, "little") + bytes(20),  # 2**40 servers
        b"\x01" + (1).to_bytes(8, "little") + bytes(8) + b"127.0.0.1:9001",  # an address without an end
        b"\x01" + (1).to_bytes(8, "little") + bytes(8) + b"127.0.0.1:9001\0",  # no role
    ],
)
def test_configuration_that_cannot_be_one_is_malformed(data: bytes) -> None:
    with pytest.raises(wire.MalformedError):
        wire.decode_configuration(data)


def test_control_characters_of_an_address_never_reach_a_terminal() -> None:
    servers = [wire.Server(1, "a\x1b[31m\n", 1)]
    (server,) = wire.decode_configuration(wire.encode_configuration(servers))
    assert server.address == r"a\x1b[31m\n"


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_malformed(data: bytes) -> None:
    wire.recognise(data)
    for decode in (
        wire.decode_message,
        wire.decode_configuration,
        dqlite.decode_command,
        dqlite.decode_snapshot,
    ):
        try:
            decode(data)
        except wire.MalformedError as error:
            place = error.offset
        else:
            place = 0
        assert 0 <= place <= len(data)


@given(st.integers(1, 6), st.sampled_from([0, 2]), st.binary(max_size=200))
def test_any_header_decodes_or_is_malformed_and_measures_the_same(type_: int, version: int, header: bytes) -> None:
    try:
        decoded = wire.decode_header(type_, version, header)
    except wire.MalformedError:
        with pytest.raises(wire.MalformedError):
            wire.payload_length(type_, header)
    else:
        assert wire.payload_length(type_, header) == decoded.payload_length


uint64 = st.integers(0, (1 << 64) - 1)


@given(
    st.sampled_from([layout.label for layout in wire.LAYOUTS]),
    st.lists(st.tuples(uint64, st.integers(0, 255), st.binary(max_size=40)), max_size=5),
    st.lists(uint64, min_size=4, max_size=4),
)
def test_append_entries_round_trip(layout: str, entries: list[tuple[int, int, bytes]], values: list[int]) -> None:
    fields = dict(zip(("term", "prev_log_index", "prev_log_term", "leader_commit"), values, strict=True))
    message = wire.decode_message(wire.encode_message(1, fields, layout=layout, entries=entries))
    assert message is not None
    assert message.header.fields == {**fields, "n_entries": len(entries)}
    assert [(e.term, e.type, e.size) for e in message.header.entries] == [(t, k, len(d)) for t, k, d in entries]
    assert message.payload == b"".join(data for _, _, data in entries)


def test_the_structs_are_those_of_the_table() -> None:
    assert PREAMBLE_STRUCT.size == sum(field.size for field in table.PREAMBLE) == 16
    assert ENTRY_STRUCT.size == sum(field.size for field in table.ENTRY) == 16
    one = wire.encode_configuration([wire.Server(1, "1", 1)])
    fixed = sum(field.size for field in (*table.CONFIGURATION, *table.SERVER))
    assert len(one) == 24 == (fixed + len("1") + 1 + 7) // 8 * 8


@pytest.mark.parametrize("vector", vectors.load("raft_message"), ids=by_name)
def test_unused_bytes_are_those_that_the_encoders_do_not_write(vector: Vector) -> None:
    """Every byte that real encoders leave as it was is one of them, apart from the data of barriers."""
    preamble = wire.decode_preamble(vector.data)
    assert preamble is not None
    marked = bytearray(vector.data)
    end = 16 + preamble.header_length
    stale = 0
    for offset, size in vector.uninitialised:
        inside = range(offset, min(offset + size, end))
        stale += len(inside)
        for place in inside:
            marked[place] = 0xAA
    unused = b"".join(part.data for part in wire.unused_bytes(preamble, bytes(marked[16:end])))
    assert unused.count(0xAA) == stale
