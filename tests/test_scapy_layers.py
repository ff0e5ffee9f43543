"""The Scapy layers against the golden vectors, both ways, and against bytes that nobody would send."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scapy.config import conf
from scapy.packet import Packet, Raw

from raft_dissect import layers, wire
from raft_dissect.layers import Configuration, DqliteClient, DqliteHandshake, Entry, Raft, RaftHandshake, Server
from raft_dissect.wire import table
from tests import vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.vectors import Vector

MESSAGES = vectors.load("raft_message")
EVERYTHING = vectors.load("raft_message", "configuration", "uv_tcp_handshake", "dqlite_connect", "stream")
CLASSES = [getattr(layers, name) for name in layers.__all__ if isinstance(getattr(layers, name), type)]
FLAGS = ("disrupt_leader", "pre_vote")
NOT_OWN = {"type", "header_length", "version", "entries", "configuration", "data", *FLAGS}


def by_name(vector: Vector) -> str:
    return vector.name


@pytest.fixture(autouse=True)
def strict_scapy() -> Iterator[None]:
    """Let Scapy raise what it otherwise swallows."""
    before, conf.debug_dissector = conf.debug_dissector, True
    yield
    conf.debug_dissector = before


def shown(packet: Packet) -> str:
    return str(packet.show(dump=True))


def class_of(vector: Vector) -> type[Packet]:
    found: type[Packet] = getattr(layers, wire.MESSAGE_NAMES[vector.fields["type"]])
    return found


def servers(rows: list[list[Any]]) -> list[Server]:
    return [Server(id=id_, address=address, role=role) for id_, address, role in rows]


def crafted(vector: Vector) -> Packet:
    given_fields: dict[str, Any] = {k: v for k, v in vector.fields.items() if k not in NOT_OWN}
    flags = [flag for flag in FLAGS if vector.fields.get(flag)]
    if vector.layout == "c-0.9.15" and "disrupt_leader" in vector.fields:
        given_fields["disrupt_leader"] = vector.fields["disrupt_leader"]
    elif flags:
        given_fields["flags"] = "+".join(flags)
    if "entries" in vector.fields:
        given_fields["entries"] = [
            Entry(term=e["term"], type=e["type"], data=bytes.fromhex(e["data"])) for e in vector.fields["entries"]
        ]
    if "configuration" in vector.fields:
        given_fields["configuration"] = Configuration(servers=servers(vector.fields["configuration"]))
        given_fields["data"] = bytes.fromhex(vector.fields["data"])
    return class_of(vector)(layout=vector.layout, **given_fields)


@pytest.mark.parametrize("vector", MESSAGES, ids=by_name)
def test_message_dissects_to_the_fields_that_were_encoded(vector: Vector) -> None:
    packet = class_of(vector)(vector.data, layout=vector.layout)
    assert isinstance(packet.payload, type(Packet().payload))
    assert packet.type == vector.fields["type"]
    assert packet.header_length == vector.fields["header_length"]
    assert packet.version == vector.fields.get("version", 0)
    for name, value in vector.fields.items():
        if name in FLAGS and vector.layout != "c-0.9.15":
            assert getattr(packet.flags, name) == value
        elif name == "entries":
            assert [(e.term, e.type, e.content().hex()) for e in packet.entries] == [
                (e["term"], e["type"], e["data"]) for e in value
            ]
        elif name == "configuration":
            assert [[s.id, s.address.decode(), s.role] for s in packet.configuration.servers] == value
        elif name == "data":
            assert packet.data.hex() == value
        elif name in NOT_OWN:
            assert name in ("type", "header_length", "version", *FLAGS)
        else:
            assert getattr(packet, name) == value


@pytest.mark.parametrize("vector", MESSAGES, ids=by_name)
def test_message_builds_to_the_bytes_of_the_real_encoder(vector: Vector) -> None:
    assert vector.blank(bytes(crafted(vector))) == vector.blank(vector.data)


@pytest.mark.parametrize("vector", MESSAGES, ids=by_name)
def test_raft_finds_the_layer_of_a_message(vector: Vector) -> None:
    largest = "max" in vector.name
    assert type(layers.RaftMessage(vector.data)) is class_of(vector)
    if not largest:
        assert type(Raft(vector.data)) is class_of(vector)


@pytest.mark.parametrize("vector", EVERYTHING, ids=by_name)
@pytest.mark.parametrize("stale", [0x00, 0xFF])
def test_bytes_stay_the_same_through_a_packet(vector: Vector, stale: int) -> None:
    data = bytearray(vector.data)
    for offset, size in vector.uninitialised:
        data[offset : offset + size] = bytes([stale]) * size
    whole = bytes(data)
    for packet in (Raft(whole), layers.RaftMessage(whole), Configuration(whole)):
        assert bytes(packet) == whole
        assert bytes(packet.copy()) == whole
        assert bytes(copy.deepcopy(packet)) == whole
        assert bytes(pickle.loads(pickle.dumps(packet))) == whole


@pytest.mark.parametrize("vector", EVERYTHING, ids=by_name)
def test_command_is_how_to_type_the_packet(vector: Vector) -> None:
    namespace = {name: getattr(layers, name) for name in layers.__all__} | {"Raw": Raw}
    packet = Raft(vector.data)
    typed = eval(packet.command(), namespace)
    assert typed == packet
    assert bytes(typed) == vector.data


@pytest.mark.parametrize("vector", MESSAGES, ids=by_name)
def test_a_changed_field_is_in_the_bytes(vector: Vector) -> None:
    packet = class_of(vector)(vector.data)
    packet.term = 77
    changed = vector.data[:16] + (77).to_bytes(8, "little") + vector.data[24:]
    assert bytes(packet) == changed


@pytest.mark.parametrize("vector", vectors.load("configuration"), ids=by_name)
def test_configuration(vector: Vector) -> None:
    packet = Configuration(vector.data)
    assert [[s.id, s.address.decode(), s.role] for s in packet.servers] == vector.fields["configuration"]
    built = bytes(Configuration(servers=servers(vector.fields["configuration"])))
    assert built == vector.blank(vector.data)


@pytest.mark.parametrize("vector", vectors.load("uv_tcp_handshake"), ids=by_name)
def test_raft_handshake(vector: Vector) -> None:
    packet = Raft(vector.data)
    assert type(packet) is RaftHandshake
    assert (packet.protocol, packet.id) == (vector.fields["protocol"], vector.fields["id"])
    assert packet.address_length == vector.fields["address_len"]
    assert packet.address.decode() == vector.fields["address"]
    built = bytes(RaftHandshake(id=vector.fields["id"], address=vector.fields["address"]))
    assert built == vector.blank(vector.data)


@pytest.mark.parametrize("vector", vectors.load("dqlite_connect"), ids=by_name)
def test_dqlite_handshake(vector: Vector) -> None:
    packet = Raft(vector.data)
    assert type(packet) is DqliteHandshake
    assert (packet.protocol, packet.id) == (vector.fields["protocol"], vector.fields["id"])
    assert (packet.words, packet.type) == (vector.fields["words"], 11)
    assert packet.address.decode() == vector.fields["address"]
    built = DqliteHandshake(
        protocol=vector.fields["protocol"], id=vector.fields["id"], address=vector.fields["address"]
    )
    assert bytes(built) == vector.blank(vector.data)


def test_a_dqlite_client_is_told_from_a_server() -> None:
    (vector,) = vectors.load("dqlite_client")
    packet = Raft(vector.data)
    assert type(packet) is DqliteClient
    assert "type      = LEADER" in shown(packet)
    assert bytes(DqliteClient(type="LEADER", body=bytes(8))) == vector.data


@pytest.mark.parametrize("vector", vectors.load("stream"), ids=by_name)
def test_what_follows_one_another_in_a_segment_becomes_layers(vector: Vector) -> None:
    parts = {v.name: v for v in EVERYTHING}
    expected = []
    for name in vector.fields["parts"]:
        part = parts[name]
        kind = {"uv_tcp_handshake": RaftHandshake, "dqlite_connect": DqliteHandshake}.get(part.kind)
        expected.append(kind or class_of(part))
    assert Raft(vector.data).layers() == expected


@pytest.mark.parametrize("number", range(7, 14))
def test_a_reserved_type_is_shown_by_name_with_its_bytes(number: int) -> None:
    data = wire.encode_preamble(number, 0, 3) + b"abc"
    packet = layers.RaftMessage(data)
    assert f"type      = {wire.MESSAGE_NAMES[number]}" in shown(packet)
    assert packet.extra == b"abc"
    assert packet.summary() == f"{wire.MESSAGE_NAMES[number]}, header of 3 bytes"
    assert bytes(packet) == data


def test_names_instead_of_numbers() -> None:
    vector = next(v for v in MESSAGES if v.name == "ae_3_mixed__c-0.18.0")
    text = shown(Raft(vector.data))
    for line in (
        "type      = AppendEntries",
        "type      = command",
        "type      = barrier",
        "type      = change",
        "role      = voter",
        "role      = standby",
        "role      = spare",
        "address   = b'127.0.0.1:9001'",
    ):
        assert line in text
    vote = next(v for v in MESSAGES if v.name == "rvr_prevote_cap__w-0.22.1")
    text = shown(Raft(vote.data))
    assert "vote_granted= yes" in text
    assert "flags     = pre_vote" in text
    assert "layout    = w-0.20.0..w-0.22.1" in text


@pytest.mark.parametrize(
    ("name", "summary"),
    [
        ("rv_prevote__c-0.18.0", "RequestVote term 8 candidate 1 last 77/7 pre-vote"),
        ("rv_disrupt__c-0.9.15", "RequestVote term 5 candidate 3 last 1000/4 disrupt-leader"),
        ("rvr_granted_old__c-0.9.0", "RequestVoteResult term 3 granted"),
        ("rvr_prevote_denied__c-0.11.3", "RequestVoteResult term 4 denied pre-vote"),
        ("ae_heartbeat__c-main", "AppendEntries term 3 prev 100/2 commit 99 heartbeat"),
        ("ae_1_barrier__w-0.22.1", "AppendEntries term 3 prev 100/2 commit 100 1 entry (barrier)"),
        ("aer_ok__c-main", "AppendEntriesResult term 3 last 101"),
        ("aer_rejected__c-0.18.0", "AppendEntriesResult term 3 rejected 100 last 42"),
        ("is_odd_data__c-0.18.0", "InstallSnapshot term 6 last 10/1 2 servers 5 bytes"),
        ("tn_basic__c-main", "TimeoutNow term 7 last 512/7"),
        ("hs_dqlite_v1", "DqliteHandshake server 3 at 127.0.0.1:9001"),
    ],
)
def test_one_line_says_what_a_message_is(name: str, summary: str) -> None:
    (vector,) = (v for v in EVERYTHING if v.name == name)
    assert Raft(vector.data).summary() == summary


def test_a_layout_says_which_fields_there_are() -> None:
    vector = next(v for v in MESSAGES if v.name == "aer_ok__c-0.18.0")
    canonical, cowsql = Raft(vector.data), layers.AppendEntriesResult(capacity=5)
    assert canonical.features == 0
    assert canonical.capacity is None
    assert "capacity" not in shown(canonical)
    assert cowsql.capacity == 5
    assert layers.InstallSnapshot(bytes(layers.InstallSnapshot(layout="c-main"))).trailer is None


def test_a_header_that_is_too_long_is_read_like_the_longest_of_its_version() -> None:
    canonical = layers.AppendEntriesResult(
        bytes(layers.AppendEntriesResult(layout="c-0.18.0", features=1, extra=b"12345678"))
    )
    cowsql = layers.AppendEntriesResult(bytes(layers.AppendEntriesResult(features=1, capacity=2, extra=b"12345678")))
    assert (canonical.features, canonical.capacity, canonical.extra) == (1, None, b"12345678")
    assert (cowsql.features, cowsql.capacity, cowsql.extra) == (1, 2, b"12345678")


def test_a_cut_message_shows_what_is_there() -> None:
    vector = next(v for v in MESSAGES if v.name == "ae_3_mixed__c-0.18.0")
    for size in range(1, len(vector.data)):
        part = layers.AppendEntries(vector.data[:size])
        whole = layers.AppendEntries(vector.data)
        assert bytes(part) == vector.data[:size]
        assert part.term == (whole.term if size >= 24 else None)
        assert part.trailer == (whole.trailer if size >= 16 + 96 else None)
        assert b"".join(e.content() for e in part.entries) == vector.data[112:size]


def nothing_raises(packet: Packet, data: bytes) -> None:
    assert bytes(packet) == data
    packet.show(dump=True)
    packet.show2(dump=True)
    packet.summary()
    packet.command()
    repr(packet)
    packet.json()
    assert packet == packet.copy()


def damaged(vector: Vector) -> st.SearchStrategy[bytes]:
    """A vector, with a few of its bytes replaced and perhaps its end cut off."""

    def damage(places: list[tuple[int, int]], size: int) -> bytes:
        data = bytearray(vector.data)
        for place, value in places:
            data[place % len(data)] = value
        return bytes(data[: size + 1])

    places = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4)
    return st.builds(damage, places, st.integers(0, len(vector.data)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_bytes_make_a_layer_raise(data: st.DataObject) -> None:
    some = data.draw(st.binary(min_size=1, max_size=200) | st.sampled_from(EVERYTHING).flatmap(damaged))
    for cls in CLASSES:
        nothing_raises(cls(some), some)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MESSAGES).flatmap(lambda v: st.tuples(st.just(v), damaged(v))))
def test_the_layers_read_what_the_decoder_of_the_wire_table_reads(drawn: tuple[Vector, bytes]) -> None:
    vector, data = drawn
    preamble = wire.decode_preamble(data)
    assume(preamble is not None and preamble.type == vector.fields["type"])
    assert preamble is not None
    # For a length that no release writes it is a matter of taste which form to take.
    assume(wire.is_plausible(preamble.type, preamble.version, preamble.header_length))
    header = data[16 : 16 + preamble.header_length]
    try:
        decoded = wire.decode_header(preamble.type, preamble.version, header, preamble.header_length)
    except wire.MalformedError:
        return
    packet = class_of(vector)(data)
    for name, value in decoded.fields.items():
        if name in FLAGS:
            assert getattr(packet.flags, name) == value
        elif isinstance(value, bool):
            assert bool(packet.value(name)) == value
        else:
            assert packet.value(name) == value
    assert [(e.term, e.type, e.size) for e in packet.value("entries") or []] == [tuple(e) for e in decoded.entries]


def test_a_long_row_of_messages_in_one_segment_does_not_exhaust_the_stack() -> None:
    data = bytes(layers.AppendEntries()) * 1000
    packet = Raft(data)
    nothing_raises(packet, data)
    assert len(packet.layers()) > 20
    assert isinstance(packet.lastlayer(), Raw)


def test_entries_without_end_do_not_become_packets_without_end() -> None:
    n_entries = (1 << 16) + 10
    data = wire.encode_message(table.APPEND_ENTRIES, {"term": 1}, entries=[(1, 1, b"x")] * n_entries)
    packet = Raft(data)
    assert len(packet.entries) == 1 << 16
    assert packet.n_entries == n_entries
    assert bytes(packet) == data
