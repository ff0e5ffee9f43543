"""What is Raft and what is not: other protocols never give a message, and a Raft stream is found behind HTTP."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raft_dissect.values import StreamClosed, StreamOpened
from raft_dissect.wire.table import HTTP_UPGRADE_RESPONSE
from tests import captures, golden_streams, vectors
from tests.golden_streams import USUAL, GoldenStream
from tests.packets import Address, Connection, capture, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.captures import Result

RAFT_PORT = 9001
CLIENT_LEADER = vectors.load("dqlite_client")[0].data
CONNECT = next(vector for vector in golden_streams.HANDSHAKES if vector.name == "hs_dqlite_v1")


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def dns(name: bytes, number: int) -> bytes:
    """A DNS query as TCP carries it, with its length before it (RFC 1035, section 4.2.2)."""
    query = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0)
    query += b"".join(bytes([len(label)]) + label for label in name.split(b".")) + b"\0" + struct.pack(">HH", 1, 1)
    return struct.pack(">H", len(query)) + query


TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + random.Random(1).randbytes(505)
POSTGRES = struct.pack(">II", 8, 80877103) + struct.pack(">II", 41, 196608) + b"user\0postgres\0database\0postgres\0\0"
MYSQL = struct.pack("<I", 74) + b"\x0a8.0.36\0" + bytes(range(8, 74))
REDIS = b"*1\r\n$4\r\nPING\r\n" * 20
OTHERS: dict[str, bytes] = {
    "dqlite client": CLIENT_LEADER + words(1) + struct.pack("<IBBH", 1, 1, 0, 0) + words(77) * 3,
    "dqlite client, first CLIENT with id 16": bytes.fromhex(
        "0100000000000000 0100000001000000 1000000000000000 0100000000000000 0000000000000000"
    ),
    "http get": b"GET /1.0/cluster HTTP/1.1\r\nHost: 10.0.0.2:8443\r\n\r\n" * 5,
    "http answer": b"HTTP/1.1 200 OK\r\nContent-Length: 320\r\n\r\n" + bytes(320),
    "tls": TLS_HELLO + bytes.fromhex("1703030100") + random.Random(2).randbytes(256),
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n" + bytes.fromhex("000005dc0814") + random.Random(3).randbytes(1500),
    "zeros": bytes(5000),
    "ones": b"\1" * 5000,
    "dns": b"".join(dns(b"raft-node-1.example.org", number) for number in range(30)),
    "postgresql": POSTGRES + b"Q\0\0\0\x0dSELECT 1\0" * 10,
    "mysql": MYSQL,
    "redis": REDIS,
    "smtp": b"220 mail.example.org ESMTP\r\nEHLO x\r\n" * 9,
    "a sqlite file": next(v for v in vectors.load("dqlite_snapshot") if v.name == "snapshot_dqlite_new").data,
    "counters": words(*range(6, 3000, 7)),
    "page numbers": words(6, 24, 31, 40, 52, 61, 77, 80),
    "page numbers as in AppendEntriesResult": words(2, 24, 31, 40, 52, 3, 40, 41, 42, 43, 44, 45, 46),
    "page numbers as in RequestVote": words(3, 32, 40, 41, 42, 43),
    "page numbers as in AppendEntries": words(1, 48, 50, 51, 52, 53, 54, 55),
    "page numbers as in InstallSnapshot": words(5, 64, 65, 66, 67, 68, 69, 70, 71, 72),
}
"""What the client of some other protocol may send, or the server of one that speaks first."""
CARRIERS: dict[str, bytes] = {
    "http post": b"POST /x HTTP/1.1\r\nContent-Length: 320\r\n\r\n" + words(2, 24, 1, 0, 5) * 8,
    "http answer": b"HTTP/1.1 200 OK\r\nContent-Length: 320\r\n\r\n" + words(2, 24, 1, 0, 5) * 8,
    "tls": TLS_HELLO + words(2, 24, 1, 0, 5) * 8,
    "dqlite client": CLIENT_LEADER + words(2, 24, 1, 0, 5) * 8,
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n" + words(2, 24, 1, 0, 5) * 8,
    "a few zeros": bytes(40) + words(2, 24, 1, 0, 5) * 8,
}
"""Streams of other protocols that carry whole Raft messages: their start says what they are."""


def run(
    frames: Iterable[bytes], ports: Iterable[int] | None = None, snaplen: int = 262144, **options: object
) -> Result:
    engine_options: dict[str, object] = {"keep_payload": True, "hash_payload": True, **options}
    return captures.run(capture(frames, snaplen=snaplen), ports, **engine_options)


def assert_no_raft(result: Result) -> None:
    assert result.messages == []
    assert [event for event in result.events if isinstance(event, (StreamOpened, StreamClosed))] == []
    assert {diagnostic.kind for diagnostic in result.diagnostics} <= {"not_raft"}
    assert result.statistics.streams["raft"] == 0


def other_streams() -> st.SearchStrategy[bytes]:
    ascending = st.lists(st.integers(0, 5000), min_size=3, max_size=400, unique=True).map(sorted)
    starts = st.sampled_from([(1, 48), (1, 64), (2, 24), (2, 32), (3, 32), (3, 40), (4, 16), (4, 24), (5, 64), (6, 24)])
    like_a_preamble = st.builds(lambda start, rest: [*start, *(65 + n for n in rest)], starts, ascending)
    return st.one_of(
        st.sampled_from(sorted(OTHERS.values())),
        st.binary(max_size=2000),
        st.one_of(ascending, like_a_preamble).map(lambda numbers: words(*numbers)),
    )


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("ports", [None, [RAFT_PORT]], ids=["any port", "raft port"])
def test_other_protocols_give_no_message(name: str, ports: list[int] | None) -> None:
    data = OTHERS[name]
    connection = Connection()
    for sizes in ([len(data)], [1], [8], [40], [48], [64], [1448]):
        frames = [
            *connection.opening(),
            *connection.segments(data, sizes),
            connection.reply(0, data, received=len(data)),
        ]
        assert_no_raft(run(frames, ports))
        assert_no_raft(run(frames, ports, snaplen=96))
        assert_no_raft(run(connection.segments(data, sizes), ports))


@pytest.mark.parametrize("name", CARRIERS)
def test_messages_inside_of_another_protocol_are_none(name: str) -> None:
    data = CARRIERS[name]
    for sizes in ([len(data)], [1], [40], [1448]):
        assert_no_raft(run(Connection().whole(data, sizes)))
        assert_no_raft(run(Connection().whole(data, sizes), [RAFT_PORT]))


@given(other_streams(), golden_streams.sizes(), st.integers(0, 2000), st.booleans(), st.integers(54, 300))
@example(words(2, 24, 31, 40, 52), [40], 0, True, 300)
@example(words(6, 24, 31, 40, 52), [40], 0, False, 300)
@example(words(6, 24, 31, 40, 52), [40], 0, True, 84)
@settings(max_examples=300)
def test_other_streams_give_no_message_whole_or_midway_or_cut(
    data: bytes, sizes: list[int], start: int, midway: bool, snaplen: int
) -> None:
    connection = Connection()
    frames = [] if midway else connection.opening()
    frames += connection.segments(data[start % (len(data) + 1) :], sizes)
    assert_no_raft(run(frames))
    assert_no_raft(run(frames, [RAFT_PORT]))
    assert_no_raft(run(frames, snaplen=snaplen))


@given(other_streams(), golden_streams.sizes(), st.lists(st.booleans(), min_size=1))
@settings(max_examples=200)
def test_other_streams_with_lost_packets_give_no_message(data: bytes, sizes: list[int], lost: list[bool]) -> None:
    connection = Connection()
    segments = connection.segments(data, sizes)
    kept = [frame for number, frame in enumerate(segments) if not lost[number % len(lost)]]
    assert_no_raft(run([*connection.opening(), *kept, connection.fin(len(data))]))


@pytest.mark.parametrize(
    ("data", "kind", "words_"),
    [
        (OTHERS["http get"], "http", "HTTP"),
        (OTHERS["http answer"], "upgrade", "HTTP"),
        (OTHERS["tls"], "tls", "TLS"),
        (OTHERS["ssh"], "unknown", "something that is not Raft"),
        (b"\1", "unknown", "something that is not Raft"),
    ],
)
def test_what_is_on_a_raft_port_and_is_not_raft_is_said(data: bytes, kind: str, words_: str) -> None:
    frames = Connection().whole(data)
    result = run(frames, [RAFT_PORT])
    (diagnostic,) = result.diagnostics
    assert (diagnostic.kind, diagnostic.detail) == ("not_raft", f"a connection on a Raft port carries {words_}")
    assert diagnostic.place.frame == 1
    assert result.statistics.streams == {kind: 1}
    # Where Raft is looked for on all ports, all else is nothing to tell of.
    assert run(frames).diagnostics == []


def test_dqlite_clients_and_empty_connections_belong_on_a_raft_port() -> None:
    client = Connection().whole(OTHERS["dqlite client"])
    empty = Connection(Address("10.0.0.1", 40001)).whole(b"")
    result = run([*client, *empty], [RAFT_PORT])
    assert result.events == []
    assert result.statistics.streams == {"dqlite_client": 1, "empty": 1}


# --- HTTP before dqlite ---


REQUEST = b"GET /internal/database HTTP/1.1\r\nHost: x\r\nUpgrade: dqlite\r\n\r\n"


@given(golden_streams.sizes(100), st.booleans())
@settings(max_examples=60)
def test_an_http_upgrade_before_the_handshake_is_stepped_over(sizes: list[int], port_known: bool) -> None:
    stream = GoldenStream(CONNECT, USUAL[:5])
    connection = Connection()
    frames = [
        *connection.opening(),
        *connection.segments(REQUEST, sizes),
        connection.reply(0, HTTP_UPGRADE_RESPONSE, received=len(REQUEST)),
        *connection.segments(stream.data, sizes, len(REQUEST)),
    ]
    result = run(frames, [RAFT_PORT] if port_known else None)
    assert [message.offset for message in result.messages] == [len(REQUEST) + part.start for part in stream.parts]
    assert [message.type for message in result.messages] == [part.vector.fields["type"] for part in stream.parts]
    handshake = result.messages[0].stream.handshake
    assert handshake is not None
    assert (handshake.kind, handshake.id) == ("dqlite", CONNECT.fields["id"])
    assert result.diagnostics == []
    assert result.statistics.streams == {"raft": 1}


def test_the_answer_to_an_upgrade_alone_is_http() -> None:
    assert_no_raft(run(Connection().whole(HTTP_UPGRADE_RESPONSE)))


# --- Options ---


def test_only_the_ports_that_are_asked_for_are_looked_at() -> None:
    stream = GoldenStream(CONNECT, USUAL[:3])
    frames = []
    for port in (9001, 9002, 9003):
        frames += Connection(server=Address("10.0.0.2", port)).whole(stream.data)

    def found(ports: list[int] | None) -> list[int]:
        return [message.stream.destination.port for message in run(frames, ports).messages[::3]]

    assert found(None) == [9001, 9002, 9003]
    assert found([9002]) == [9002]
    assert found([9001, 9003]) == [9001, 9003]
    assert found([]) == []
    assert found([40000]) == [9001, 9002, 9003]  # the client's port is the same in all
    # The numbers of streams count the connections on other ports too, as Wireshark's do.
    assert {message.stream.number for message in run(frames, [9003]).messages} == {4}


def test_connections_on_other_ports_are_not_counted() -> None:
    frames = Connection().whole(OTHERS["ssh"])
    result = run(frames, [22])
    assert (result.events, result.statistics.streams) == ([], {})


def test_what_the_capture_holds_is_counted() -> None:
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    frames = [arp, *Connection().whole(REQUEST), arp]
    packets = capture(frames, snaplen=60)
    statistics = captures.run(packets).statistics
    assert statistics.packets == len(frames)
    assert statistics.bytes == sum(len(packet.data) for packet in packets)
    assert (statistics.first_ns, statistics.last_ns) == (packets[0].time_ns, packets[-1].time_ns)
    assert statistics.skipped == {"ethertype 0x0806": 2}
    assert statistics.cut_packets == 1


def test_pieces_cover_the_data() -> None:
    assert b"".join(piece for _, piece in pieces(REQUEST, [3, 1, 7])) == REQUEST
