"""The Wireshark dissector shows what the stream engine finds: every message, in its frame, field by field."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from raft_dissect import wire, wireshark
from raft_dissect.pipeline import analyze
from raft_dissect.wire import table
from tests import captures, transformations, vectors
from tests.captures import CLEAR, PCAPS, truth
from tests.golden_streams import HANDSHAKES, GoldenStream
from tests.packets import MILLISECOND, Address, Connection, capture
from tests.wireshark import (
    Shown,
    assert_same,
    dissected,
    messages,
    needs_tshark,
    ordered,
    ours,
    tshark,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from raft_dissect.values import Packet

pytestmark = needs_tshark

GOLDEN = [vector for vector in vectors.load("raft_message") if vector.fields["header_length"]]


def experts(shown: Iterable[Shown]) -> Counter[str]:
    """How often each expert info is there, by its name in filters."""
    found: Counter[str] = Counter()
    for each in shown:
        infos = (info for expert in each.item.all("_ws.expert") for info in expert.children)
        found.update(info.name for info in infos if info.name.startswith("craft"))
    return found


# --- The same messages as ours ---


@pytest.mark.parametrize("file", CLEAR)
def test_a_real_capture_shows_every_message_field_by_field(file: str) -> None:
    if "snaplen96" in file:
        found, expected = messages(dissected(PCAPS / file)), ours(captures.packets(file))
        # What is cut off is nowhere; of a payload that was cut tshark has the beginning.
        for record in chain(found, expected):
            for entry in record["entries"]:
                del entry["data"], entry["configuration"]
            del record["data"]
        assert ordered(found) == ordered(expected)
    else:
        assert_same(PCAPS / file, captures.packets(file))


@pytest.mark.parametrize("file", ["s1-canon-0.9.0.pcap", "s4-ipv6-cowsql-0.22.1.pcap", "dq1-dqlite-1.18.6.pcap"])
@pytest.mark.parametrize("options", [("-2",), ("-2", "-Y", "craft")], ids=["alone", "with a filter"])
def test_two_passes_show_the_same_as_one(file: str, options: tuple[str, ...]) -> None:
    once, twice = dissected(PCAPS / file), dissected(PCAPS / file, *options)
    assert messages(once) == messages(twice)
    assert len(once) == len(twice)


def late_data(packets: Sequence[Packet], most_ms: int) -> list[Packet]:
    """Segments with data are captured late, each by some time of its own, but for the first of a direction.

    Wireshark does not know where a direction begins whose SYN comes behind its data.
    """
    chance = random.Random(2)
    begun = set()
    found = []
    for packet in packets:
        segment = transformations.tcp_of(packet)
        if segment is not None and segment.data:
            if segment.key in begun:
                packet = packet._replace(time_ns=packet.time_ns + chance.randrange(most_ms * MILLISECOND))
            begun.add(segment.key)
        elif segment is not None and segment.opens:
            begun.discard(segment.key)
        found.append(packet)
    return transformations.by_time(found)


TRANSFORMATIONS: dict[str, Callable[[Sequence[Packet]], list[Packet]]] = {
    "twice": transformations.twice,
    "seen at two points": transformations.seen_at_two_points,
    "late by up to 5 ms": lambda packets: late_data(packets, 5),
    "small segments": lambda packets: transformations.cut(packets, 37),
    "large segments": transformations.joined,
    "wrapping": transformations.wrapping,
    "sent again": transformations.retransmitted,
    "IP in Geneve": lambda packets: transformations.wrapped(packets, "IP in Geneve"),
}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_a_changed_capture_shows_the_same_messages(tmp_path: Path, name: str) -> None:
    changed = TRANSFORMATIONS[name](captures.packets("s4-64k-canon-0.18.1.pcap"))
    assert_same(write(tmp_path / "changed.pcap", changed), changed)


# --- Golden vectors ---


def golden_packets(sizes: Iterable[Sequence[int]]) -> tuple[list[Packet], list[GoldenStream]]:
    """Connections that carry all golden vectors, once for each way to cut them, and each handshake."""
    frames: list[bytes] = []
    streams = []
    for number, size in enumerate(sizes):
        for other, handshake in enumerate(HANDSHAKES):
            stream = GoldenStream(handshake, GOLDEN)
            client = Address(f"10.0.{number}.{other + 1}", 40000)
            frames += Connection(client, Address("10.1.0.1", 9001)).whole(stream.data, size)
            streams.append(stream)
            if max(size) < 1000:
                break  # one handshake is enough where a few bytes take a packet
    return capture(frames, step_ns=1000), streams


SIZES = ([1], [3, 1], [7, 16], [16, 24, 40], [100, 1], [1448], [60000])


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Packet], list[GoldenStream], list[Shown]]:
    packets, streams = golden_packets(SIZES)
    path = write(tmp_path_factory.mktemp("golden") / "golden.pcap", packets)
    # The first segments are too short to be recognised on any port.
    return packets, streams, assert_same(path, packets, "-o", "craft.tcp_ports:9001")


def test_golden_vectors_show_the_fields_that_were_encoded(
    golden: tuple[list[Packet], list[GoldenStream], list[Shown]],
) -> None:
    _, streams, shown = golden
    found = messages(shown)
    for number, stream in enumerate(streams):
        records = [record for record in found if record["stream"] == number]
        assert len(records) == len(stream.parts)
        for record, part in zip(records, stream.parts, strict=True):
            assert_encoded(record, part.vector)


def assert_encoded(record: dict[str, Any], vector: vectors.Vector) -> None:
    """A record has the fields that went into a vector."""
    fields = vector.fields
    assert (record["type"], record["header_length"]) == (fields["type"], fields["header_length"])
    assert record["version"] == fields.get("version", 0)
    assert vector.layout in record["layouts"]
    if "entries" in fields:
        wanted = [(entry["term"], entry["type"], entry["data"]) for entry in fields["entries"]]
        assert [(entry["term"], entry["type"], entry["data"].hex()) for entry in record["entries"]] == wanted
    if "configuration" in fields:
        assert [list(server) for server in record["configuration"]] == fields["configuration"]
        assert record["data"].hex() == fields["data"]
    not_own = {"type", "header_length", "version", "entries", "configuration", "data"}
    own = {name: int(value) for name, value in fields.items() if name not in not_own}
    if vector.layout == "c-0.9.15" and "disrupt_leader" in own:
        own["pre_vote"] = 0  # the same bytes belong to later layouts, of which the newest is assumed
    assert {name: value for name, value in record["fields"].items() if name != "n_entries"} == own


def test_handshakes_show_id_and_address(golden: tuple[list[Packet], list[GoldenStream], list[Shown]]) -> None:
    _, streams, shown = golden
    items = [each.item for each in shown if each.item.text("craft.handshake") is not None]
    assert len(items) == len(streams)
    for item, stream in zip(items, streams, strict=True):
        fields = stream.handshake.fields
        assert item.number("craft.handshake.id") == fields["id"]
        assert item.text("craft.handshake.address") == fields["address"]


def test_a_layout_can_be_preferred(tmp_path: Path) -> None:
    ask = wire.encode_message(
        table.REQUEST_VOTE, {"term": 2, "candidate_id": 1, "disrupt_leader": 1}, layout="c-0.9.15"
    )
    data = wire.encode_handshake("raft", 1, "10.0.0.1:9001") + ask
    path = write(tmp_path / "one.pcap", capture(Connection().whole(data)))
    (newest,) = messages(dissected(path))
    (old,) = messages(dissected(path, "-o", "craft.layout:c-0.9.15"))
    assert "pre_vote" in newest["fields"]
    assert "pre_vote" not in old["fields"]
    assert newest["fields"]["disrupt_leader"] == old["fields"]["disrupt_leader"] == 1


# --- How a connection is recognised ---


def test_nothing_is_recognised_when_the_preference_says_so() -> None:
    off = ("-o", "craft.heuristic:FALSE")
    path = PCAPS / "s1-canon-0.18.1.pcap"
    count = len(messages(dissected(path)))
    assert not dissected(path, *off)
    assert len(messages(dissected(path, *off, "-o", "craft.tcp_ports:9000-9001"))) == count
    assert len(messages(dissected(path, *off, "-d", "tcp.port==9001,craft"))) == count


@pytest.mark.parametrize(
    "options",
    [(), ("-o", "craft.heuristic:FALSE", "-o", "craft.tls_ports:9443")],
    ids=["by its content", "by its port"],
)
def test_what_is_inside_tls_is_what_the_servers_received(options: tuple[str, ...]) -> None:
    keys = ("-o", f"tls.keylog_file:{PCAPS / 'tls13-cowsql-0.22.1.keys'}")
    found = messages(dissected(PCAPS / "tls13-cowsql-0.22.1.pcap", *keys, *options))
    received = {name: totals["received"] for name, totals in truth("tls13-cowsql-0.22.1")["message_totals"].items()}
    assert Counter(table.MESSAGE_NAMES[record["type"]] for record in found) == received


def test_without_keys_tls_stays_tls() -> None:
    assert not dissected(PCAPS / "tls13-cowsql-0.22.1.pcap")


def test_clients_of_dqlite_are_no_raft() -> None:
    shown = dissected(PCAPS / "dq1-dqlite-1.18.6.node4.pcap", "-o", "craft.tcp_ports:9000")
    assert not messages(shown)
    assert {each.item.title.rpartition(" ")[2] for each in shown} <= set(table.DQLITE_REQUESTS.values())
    assert len(shown) > 5


def test_raft_behind_an_http_upgrade_is_found(tmp_path: Path) -> None:
    vote = wire.encode_message(table.REQUEST_VOTE, {"term": 2, "candidate_id": 1})
    request = b"GET /internal/database HTTP/1.1\r\nHost: a\r\nUpgrade: dqlite\r\n\r\n"
    behind = wire.encode_handshake("dqlite", 1, "10.0.0.1:9001") + vote
    for port in (9001, 80):  # one that Wireshark knows as HTTP
        connection = Connection(server=Address("10.0.0.2", port))
        frames = [
            *connection.opening(),
            connection.data(0, request),
            connection.reply(0, table.HTTP_UPGRADE_RESPONSE, received=len(request)),
            connection.data(len(request), behind),
        ]
        packets = capture(frames)
        options = () if port == 80 else ("-o", f"craft.tcp_ports:{port}")
        shown = assert_same(write(tmp_path / f"{port}.pcap", packets), packets, *options)
        assert [record["type"] for record in messages(shown)] == [table.REQUEST_VOTE]


# --- What is missing or wrong ---


def test_a_capture_without_its_beginning_is_understood_from_the_next_message_on(tmp_path: Path) -> None:
    middle = captures.packets("s4-64k-canon-0.18.1.pcap")[355:]  # inside the snapshot
    packets = transformations.numbered(middle)
    path = write(tmp_path / "middle.pcap", packets)
    assert_same(path, packets, "-o", "craft.tcp_ports:9001")


def test_behind_a_hole_messages_are_found_again(tmp_path: Path) -> None:
    packets = captures.packets("s3-cowsql-0.22.1.pcap")
    chance = random.Random(7)
    thin = transformations.numbered(packet for packet in packets if chance.random() > 0.01)
    path = write(tmp_path / "thin.pcap", thin)
    shown = dissected(path)

    def said(records: Sequence[dict[str, Any]]) -> Counter[str]:
        return Counter(repr((record["type"], sorted(record["fields"].items()))) for record in records)

    sent, found = said(ours(packets)), said(messages(shown))
    assert not found - sent  # nothing that nobody sent
    assert found.total() > sent.total() * 0.9
    assert experts(shown)["craft.gap.note"] > 5


def broken_connections() -> list[Packet]:
    """Connections whose messages are damaged in every way that one byte, or the end, can be."""
    chance = random.Random(11)
    frames: list[bytes] = []
    for number in range(80):
        stream = GoldenStream(chance.choice(HANDSHAKES), chance.sample(GOLDEN, 6))
        data = bytearray(stream.data[chance.choice((0, 0, len(stream.handshake.data), 3)) :])
        for _ in range(chance.randrange(1, 5)):
            data[chance.randrange(len(data))] = chance.choice((0, 1, 2, 3, 5, 7, 13, 0x7F, 0x80, 0xFF))
        if number % 3 == 0:
            del data[chance.randrange(len(data)) :]
        client = Address(f"10.0.0.{number + 1}", 40000)
        sizes = [chance.choice((5, 40, 300, 1448))]
        frames += Connection(client, Address("10.1.0.1", 9001)).whole(bytes(data), sizes)
    return capture(frames, step_ns=1000)


@pytest.mark.parametrize("snaplen", [262144, 90])
def test_damaged_messages_are_no_error_of_the_dissector(tmp_path: Path, snaplen: int) -> None:
    packets = [packet._replace(data=packet.data[:snaplen]) for packet in broken_connections()]
    path = write(tmp_path / "broken.pcap", packets)
    shown = dissected(path, "-o", "craft.tcp_ports:9001")
    assert len(messages(shown)) > 30
    if snaplen > 1000:
        assert {"craft.malformed", "craft.odd_value", "craft.stale"} <= set(experts(shown))


def test_huge_lengths_wait_for_nothing(tmp_path: Path) -> None:
    snapshot = wire.encode_message(
        table.INSTALL_SNAPSHOT, {"term": 2, "last_index": 5, "last_term": 1}, configuration=[wire.Server(1, "a:1", 1)]
    )
    for size in (2**27, 2**31, 2**40, 2**64 - 1):
        data = bytearray(snapshot)
        data[16 + 40 + 24 + 8 - 8 : 16 + 40 + 24 + 8] = size.to_bytes(8, "little")
        whole = wire.encode_handshake("raft", 1, "10.0.0.1:9001") + bytes(data) + bytes(5000)
        packets = capture(Connection().whole(whole))
        (shown,) = (
            each for each in dissected(write(tmp_path / "huge.pcap", packets)) if each.item.text("craft.payload_length")
        )
        assert shown.item.number("craft.payload_length") == size
        assert shown.frame == 4


def test_of_a_message_that_is_too_large_the_beginning_is_shown_and_what_follows_it(tmp_path: Path) -> None:
    server = wire.Server(1, "10.0.0.1:9001", table.VOTER)
    fields = {"term": 2, "last_index": 5, "last_term": 1}
    snapshot = wire.encode_message(table.INSTALL_SNAPSHOT, fields, configuration=[server], data=bytes(3 << 20))
    vote = wire.encode_message(table.REQUEST_VOTE, {"term": 3, "candidate_id": 1})
    data = wire.encode_handshake("raft", 1, "10.0.0.1:9001") + snapshot + vote + vote
    packets = capture(Connection().whole(data, [40000]))
    path = write(tmp_path / "large.pcap", packets)
    shown = dissected(path, "-o", "craft.largest:1")
    found = messages(shown)
    assert [record["type"] for record in found] == [table.INSTALL_SNAPSHOT, table.REQUEST_VOTE, table.REQUEST_VOTE]
    assert [record["frame"] for record in found] == [4, *[ours(packets)[-1]["frame"]] * 2]
    assert experts(shown)["craft.partial.note"] == 1
    payload = [each for each in shown if each.item.text("craft.payload_of")]
    assert {each.item.number("craft.payload_of") for each in payload} == {4}
    assert [each.frame for each in payload] == list(range(5, found[-1]["frame"] + 1))
    (whole, *_) = messages(dissected(path))
    assert len(whole["data"]) == 3 << 20


def test_many_entries_do_not_exhaust_the_tree(tmp_path: Path) -> None:
    entries = [(1, table.COMMAND, b"")] * 20000
    append = wire.encode_message(table.APPEND_ENTRIES, {"term": 1}, entries=entries)
    packets = capture(Connection().whole(wire.encode_handshake("raft", 1, "10.0.0.1:9001") + append, [60000]))
    shown = dissected(write(tmp_path / "many.pcap", packets))
    assert experts(shown)["craft.many"] == 1


# --- What is said beside the fields ---


def test_expert_infos_name_what_is_odd(tmp_path: Path) -> None:
    vote = wire.encode_message(table.REQUEST_VOTE, {"term": 2, "candidate_id": 1})
    result = wire.encode_message(table.APPEND_ENTRIES_RESULT, {"term": 2, "rejected": 7, "last_log_index": 3})
    success = wire.encode_message(table.APPEND_ENTRIES_RESULT, {"term": 2, "last_log_index": 3})
    refusal = wire.encode_message(table.REQUEST_VOTE_RESULT, {"term": 2})
    transfer = wire.encode_message(table.TIMEOUT_NOW, {"term": 2})
    cases = {
        result: "craft.rejection",
        refusal: "craft.refusal",
        transfer: "craft.transfer",
        vote[:1] + b"\1" + vote[2:]: "craft.reserved",
        vote[:-8] + b"\4" + bytes(7): "craft.odd_value",
        success[:-4] + b"heap": "craft.stale",
        vote[:8] + b"\x30" + vote[9:] + bytes(8): "craft.odd_length",
        b"\7" + bytes(7) + b"\x08" + bytes(15): "craft.reserved_type",
        vote[:8] + b"\xff" * 8 + vote[16:]: "craft.malformed",
        wire.encode_message(
            table.APPEND_ENTRIES, {"term": 1}, entries=[(1, 1, b"odd"), (1, 1, b"12345678")]
        ): "craft.unaligned",
    }
    frames: list[bytes] = []
    for number, message in enumerate(cases):
        client = Address(f"10.0.1.{number + 1}", 40000)
        frames += Connection(client).whole(wire.encode_handshake("raft", 1, "10.0.0.1:9001") + message + vote)
    shown = dissected(write(tmp_path / "odd.pcap", capture(frames)))
    for number, expected in enumerate(cases.values()):
        assert experts(each for each in shown if each.stream == number) == {expected: 1}


def test_results_are_linked_with_their_requests() -> None:
    shown = dissected(PCAPS / "s1-canon-0.18.1.pcap", "-2")
    results = {(each.frame, each.item.number("craft.response_to")): each.item for each in shown
               if each.item.text("craft.response_to")}  # fmt: skip
    requests = [each for each in shown if each.item.text("craft.response_in")]
    answers = {table.APPEND_ENTRIES: table.APPEND_ENTRIES_RESULT, table.REQUEST_VOTE: table.REQUEST_VOTE_RESULT}
    # Two votes, and all appends were answered: the servers logged as many results as requests.
    assert len(requests) == sum(each.item.text("craft.type") in {str(kind) for kind in answers} for each in shown)
    for request in requests:
        result = results[request.item.number("craft.response_in"), request.frame]
        assert result.number("craft.type") == answers[request.item.number("craft.type")]
        assert result.number("craft.sender_id") == request.item.number("craft.receiver_id")
        assert result.number("craft.receiver_id") == request.item.number("craft.sender_id")


@pytest.mark.parametrize(
    "file", ["lo-cowsql-0.22.1.pcap", "s4-ipv6-cowsql-0.22.1.pcap", "s9-canon0.18.1+cowsql0.22.1.pcap"]
)
def test_response_times_are_those_of_the_analysis(file: str) -> None:
    times: dict[tuple[object, object], list[float]] = {}
    snapshots: Counter[tuple[object, object]] = Counter()
    for each in dissected(PCAPS / file, "-2"):
        item, kind = each.item, each.item.text("craft.type")
        if kind == str(table.APPEND_ENTRIES_RESULT) and item.text("craft.response_time"):
            pair = item.number("craft.receiver_id"), item.number("craft.sender_id")
            times.setdefault(pair, []).append(float(item.text("craft.response_time") or "nan"))
        elif kind == str(table.INSTALL_SNAPSHOT) and item.text("craft.response_in"):
            snapshots[item.number("craft.sender_id"), item.number("craft.receiver_id")] += 1
    (cluster,) = analyze(PCAPS / file).clusters
    assert len(cluster.replication) >= 2
    for fact in cluster.replication:
        pair_of, expected = (fact.leader, fact.follower), fact.ack_seconds
        measured = times.pop(pair_of)
        assert expected is not None
        # The analysis times snapshots for themselves.
        assert len(measured) == expected.samples + snapshots[pair_of]
        assert (min(measured), max(measured)) == pytest.approx((expected.min, expected.max), abs=1e-8)
    assert not times
    assert snapshots


def test_the_packet_list_names_every_message_of_a_frame(tmp_path: Path) -> None:
    parts = [wire.encode_message(table.TIMEOUT_NOW, {"term": term}) for term in (2, 3, 4)]
    data = wire.encode_handshake("raft", 1, "10.0.0.1:9001") + b"".join(parts)
    path = write(tmp_path / "one.pcap", capture(Connection().whole(data)))
    output = tshark(
        "-X", f"lua_script:{wireshark.path()}", "-r", str(path), "-T", "fields", "-e", "_ws.col.Info", "-Y", "craft"
    )
    assert output.strip() == (
        "Handshake (raft) server 1 at 10.0.0.1:9001; TimeoutNow term 2 last 0/0; TimeoutNow term 3 last 0/0; "
        "TimeoutNow term 4 last 0/0"
    )


def test_the_filters_of_the_documentation_are_filters() -> None:
    page = (PCAPS.parent / "docs" / "wireshark.md").read_text()
    rows = re.findall(r"^\| `([^`]*craft[^`]*)` \| ", page, re.MULTILINE)
    filters = [
        row
        for row in rows
        if row not in {f"craft.{name}" for name in ("tcp_ports", "tls_ports", "heuristic", "largest", "layout")}
    ]
    assert len(filters) > 60
    # One that tshark does not know is an error.
    either = " or ".join(f"({each})" for each in filters)
    found = tshark("-X", f"lua_script:{wireshark.path()}", "-r", str(PCAPS / "odd100-canon-0.9.0.pcap"), "-Y", either)
    assert len(found.splitlines()) > 10
