"""The messages of pyshark's packets are those that the stream engine finds, field by field."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from raft_dissect import wire, wireshark
from raft_dissect.dissection import Dissection
from raft_dissect.values import Message
from raft_dissect.wire import table
from tests import captures
from tests.captures import PCAPS, truth
from tests.packets import Address, Connection, capture
from tests.pysharks import heartbeat, needs_pyshark, skip_where_pyshark_cannot_be
from tests.wireshark import Arrivals, our_record, write

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from raft_dissect.wireshark import ShownMessage

skip_where_pyshark_cannot_be()
pytestmark = needs_pyshark

IN_ORDER = {"tcp.reassemble_out_of_order": "TRUE"}
TLS = "tls13-cowsql-0.22.1"
SAMPLE = [
    "dq1-dqlite-1.18.6.pcap",
    "dq4-dqlite-1.18.6.pcap",
    "noise-canon-0.18.1.pcap",
    "odd100-canon-0.9.0.pcap",
    "s1-canon-0.9.0.pcap",
    "s1-cowsql-0.20.0.pcap",
    "s1-gso-cowsql-0.22.1.pcap",
    "s1-hostnames-cowsql-0.22.1.any1.pcap",
    "s1-mid-cowsql-0.22.1.mid.pcap",
    "s1-snaplen96-canon-0.18.1.pcap",
    "s4-64k-canon-0.18.1.pcap",
    "s4-ipv6-cowsql-0.22.1.pcap",
    "s5-canon-0.18.1.pcapng",
    "s6-canon-0.18.1.pcap",
    "s8-reorder10-canon-0.18.1.pcap",
    "s9-canon0.18.1+cowsql0.22.1.pcap",
]
"""One of each kind of capture: all of them take minutes, and test_wireshark.py compares what tshark shows of them."""


def shown(path: Path | str, **options: Any) -> list[ShownMessage]:
    with wireshark.file_capture(path, **options) as packets:
        return [message for packet in packets for message in wireshark.messages(packet)]


def record(message: Message, frame: int, sender: int | None) -> dict[str, Any]:
    """All that a message says, but for what needs other packets."""
    found = our_record(message) | {
        "frame": frame,
        "sender": sender,
        "source": message.stream.source,
        "destination": message.stream.destination,
        "changes": message.changes,
        "partial": message.partial,
    }
    del found["message"]
    return found


def expected(file: str) -> list[dict[str, Any]]:
    packets = captures.packets(file)
    arrivals = Arrivals(packets)
    found = []
    for event in Dissection(packets, keep_payload=True):
        if isinstance(event, Message):
            handshake = event.stream.handshake
            frame = arrivals.frame_of(event)
            found.append(record(event, frame, handshake.id if handshake else None))
            found[-1]["time_ns"] = packets[frame - 1].time_ns
    return found


def by_place(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(records, key=lambda each: (each["stream"], each["frame"]))


@pytest.mark.parametrize("file", SAMPLE)
def test_a_real_capture_gives_every_message_field_by_field(file: str) -> None:
    found = [
        record(each, each.place.frame, each.sender_id) | {"time_ns": each.place.time_ns}
        for each in shown(PCAPS / file, override_prefs=IN_ORDER)
    ]
    assert by_place(found) == by_place(expected(file))
    assert len(found) > 10


@pytest.mark.parametrize(
    ("file", "options"),
    [
        (f"{TLS}.pcap", {"tls_keys": PCAPS / f"{TLS}.keys"}),
        (f"{TLS}.pcap", {"tls_keys": PCAPS / f"{TLS}.keys", "tls_ports": [9443]}),
        (f"{TLS}.dsb.pcapng", {}),
    ],
    ids=["keys", "keys and port", "keys inside"],
)
def test_what_is_inside_tls_is_what_the_servers_received(file: str, options: dict[str, Any]) -> None:
    received = {name: totals["received"] for name, totals in truth(TLS)["message_totals"].items()}
    assert Counter(each.name for each in shown(PCAPS / file, **options)) == received


def test_without_keys_there_is_nothing_in_tls() -> None:
    assert shown(PCAPS / f"{TLS}.pcap") == []


def test_every_message_of_a_frame_is_given_in_its_order(tmp_path: Path) -> None:
    together = b"".join(map(heartbeat, range(1, 41)))
    frames = Connection().whole(wire.encode_handshake("raft", 1, "10.0.0.1:9001") + together, [60000])
    found = shown(write(tmp_path / "one.pcap", capture(frames)))
    assert {each.place.frame for each in found} == {4}
    assert [each.fields["prev_log_index"] for each in found] == list(range(1, 41))


def test_a_message_over_many_frames_is_given_whole_in_the_last(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8192  # 2 MiB
    servers = (wire.Server(1, "10.0.0.1:9001", 1), wire.Server(2, "10.0.0.2:9001", 2))
    fields = {"term": 3, "last_index": 9, "last_term": 3, "conf_index": 1}
    snapshot = wire.encode_message(table.INSTALL_SNAPSHOT, fields, configuration=servers, data=data)
    frames = Connection().whole(wire.encode_handshake("raft", 1, "10.0.0.1:9001") + snapshot)
    (found,) = shown(write(tmp_path / "many.pcap", capture(frames, step_ns=1000)))
    assert (found.payload, found.configuration, found.missing) == (data, servers, 0)
    assert found.place.frame == len(frames) - 2
    assert found.fields == fields


def test_more_entries_than_wireshark_shows_make_a_partial_message(tmp_path: Path) -> None:
    append = wire.encode_message(table.APPEND_ENTRIES, {"term": 2}, entries=[(2, table.COMMAND, bytes(8))] * 20000)
    frames = Connection().whole(wire.encode_handshake("raft", 1, "10.0.0.1:9001") + append)
    (found,) = shown(write(tmp_path / "entries.pcap", capture(frames, step_ns=1000)))
    assert found.fields["n_entries"] == 20000
    assert 12000 < len(found.entries) < 20000
    assert found.partial


def test_what_wireshark_knows_from_other_packets(tmp_path: Path) -> None:
    servers = Address("10.0.0.1", 9001), Address("10.0.0.2", 9001)
    there = Connection(Address(servers[0].host, 40001), servers[1])
    back = Connection(Address(servers[1].host, 40002), servers[0])
    handshakes = [wire.encode_handshake("raft", number, str(host)) for number, host in ((1, "a:1"), (2, "b:2"))]
    vote = wire.encode_message(table.REQUEST_VOTE, {"term": 2, "candidate_id": 1})
    granted = wire.encode_message(table.REQUEST_VOTE_RESULT, {"term": 2, "vote_granted": True})
    frames = [
        *there.opening(),
        *back.opening(),
        there.data(0, handshakes[0]),
        back.data(0, handshakes[1]),
        there.data(len(handshakes[0]), vote),
        back.data(len(handshakes[1]), granted),
    ]
    path = write(tmp_path / "vote.pcap", capture(frames))
    once = [(each.sender_id, each.receiver_id, each.response_to, each.response_time_ns) for each in shown(path)]
    assert once == [(1, 2, None, None), (2, 1, 9, 1_000_000)]
    twice = shown(path, custom_parameters=["-2"])
    assert [each.response_in for each in twice] == [10, None]
    # The directions of a connection have numbers of their own, and tcp.stream is the half of them.
    assert [each.stream.number for each in twice] == [0, 2]


def test_a_layout_can_be_asked_for(tmp_path: Path) -> None:
    # The same 40 bytes have no pre-votes in v0.9.15, and have them since v0.9.21.
    vote = wire.encode_message(table.REQUEST_VOTE, {"term": 2, "candidate_id": 1}, layout="c-0.9.15")
    frames = Connection().whole(wire.encode_handshake("raft", 1, "a:1") + vote)
    with wireshark.file_capture(write(tmp_path / "vote.pcap", capture(frames))) as packets:
        (packet,) = packets
    for layout, known in ((None, True), ("c-0.9.21", True), ("c-0.9.15", False)):
        (found,) = wireshark.messages(packet, layout=layout)
        assert ("pre_vote" in found.fields) is known


def test_a_packet_without_messages_gives_none() -> None:
    with wireshark.file_capture(PCAPS / "odd100-canon-0.9.0.pcap", display_filter=None) as packets:
        first = next(iter(packets))
    assert wireshark.messages(first) == []
    assert "arp" in first


def test_packets_of_other_modes_are_refused_instead_of_taken_for_empty() -> None:
    from pyshark.packet.layers.json_layer import JsonLayer
    from pyshark.packet.packet import Packet
    from pyshark.packet.packet_summary import PacketSummary

    for packet in (Packet(layers=[JsonLayer("craft", {"craft.type": "1"})]), PacketSummary([], [])):
        with pytest.raises(ValueError, match="XML mode"):
            wireshark.messages(packet)
