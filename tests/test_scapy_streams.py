"""Raft on TCP in Scapy: bound ports, what a segment is taken for, and sessions that put messages together."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.config import conf
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import CookedLinux, Ether
from scapy.main import load_layer
from scapy.packet import Packet, Raw
from scapy.sendrecv import AsyncSniffer, sniff
from scapy.sessions import TCPSession
from scapy.utils import EDecimal

import raft_dissect
from raft_dissect import RaftSession, values, wire
from raft_dissect.layers import (
    AppendEntries,
    Configuration,
    DqliteClient,
    DqliteHandshake,
    Entry,
    InstallSnapshot,
    Raft,
    RaftHandshake,
    RaftMessage,
    RequestVote,
    Server,
    TimeoutNow,
    from_message,
)
from tests import vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

PCAPS = Path(__file__).parent.parent / "pcaps"
ORIGIN = 1_700_000_000
PORT = 9001
PORTS = (9000, PORT, 9002, 9003, 8081, 17000)
TRUTH = {
    name: seen["messages"]
    for path in sorted(PCAPS.glob("*.truth.json"))
    for name, seen in json.loads(path.read_text())["wire"].items()
    if (PCAPS / name).exists()
}


@pytest.fixture
def bound() -> Iterator[None]:
    raft_dissect.bind(PORT)
    yield
    raft_dissect.unbind(PORT)


def on_wire(payload: Packet | bytes, **tcp: Any) -> Packet:
    """What Scapy makes of a segment with this payload."""
    ports = {"sport": 40000, "dport": PORT} | tcp
    return Ether(
        bytes(
            Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
            / IP(src="10.0.0.1", dst="10.0.0.2")
            / TCP(**ports)
            / payload
        )
    )


def messages_in(packets: Any) -> list[RaftMessage]:
    return [layer for packet in packets for layer in packet.iterpayloads() if isinstance(layer, RaftMessage)]


def counted(packets: Any) -> dict[str, int]:
    return dict(Counter(type(packet).__name__ for packet in messages_in(packets)))


def test_binding_a_port_lasts_until_it_is_unbound() -> None:
    payload = bytes(RequestVote())
    assert Raft not in on_wire(payload)
    raft_dissect.bind(PORT, 9002)
    before = len(TCP.payload_guess)
    raft_dissect.bind(PORT)
    assert len(TCP.payload_guess) == before
    assert on_wire(payload)[TCP].payload.layers() == [RequestVote]
    assert on_wire(payload, sport=9002, dport=1)[TCP].payload.layers() == [RequestVote]
    assert on_wire(payload, dport=9003)[TCP].payload.layers() == [Raw]
    raft_dissect.unbind(PORT)
    assert Raft not in on_wire(payload)
    assert Raft in on_wire(payload, dport=9002)
    raft_dissect.unbind(PORT, 9002)
    assert Raft not in on_wire(payload, dport=9002)


def test_a_bound_port_is_raft_even_where_scapy_expects_something_else() -> None:
    load_layer("http")
    assert on_wire(bytes(RequestVote()), dport=8080)[TCP].payload.layers() != [RequestVote]
    raft_dissect.bind(8080)
    assert on_wire(bytes(RequestVote()), dport=8080)[TCP].payload.layers() == [RequestVote]
    raft_dissect.unbind(8080)
    assert [layer.__name__ for layer in on_wire(b"GET / HTTP/1.1\r\n\r\n", dport=8080).layers()][3] == "HTTP"


@pytest.mark.parametrize("port", [0, 65536, -1])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match=f"{port} is no TCP port"):
        raft_dissect.bind(PORT, port)
    assert Raft not in on_wire(bytes(RequestVote()))


JUNK = {
    "http request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "http upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: dqlite\r\n\r\n",
    "tls hello": bytes.fromhex("1603010200010001fc0303") + bytes(64),
    "zeros": bytes(1448),
    "ones": b"\x01" * 1448,
    "counting words": b"".join(i.to_bytes(8, "little") for i in range(2, 100)),
    "sqlite page": b"SQLite format 3\0" + bytes.fromhex("1000010100402020") + bytes(500),
    "preamble alone": bytes(RequestVote())[:16],
    "reserved type out of nowhere": (7).to_bytes(8, "little") + (24).to_bytes(8, "little") + bytes(24),
    "term 0": bytes(RequestVote(term=0)),
    "unknown flags": bytes(RequestVote(flags=4)),
    "wrong length for its type": bytes(TimeoutNow(extra=b"12345678")),
    "too many entries": bytes(AppendEntries(n_entries=9)),
}


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_junk_on_a_bound_port_stays_raw(junk: bytes) -> None:
    assert on_wire(junk)[TCP].payload.layers() == [Raw]


@pytest.mark.usefixtures("bound")
@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_random_bytes_on_a_bound_port_never_raise_and_stay_the_same(data: bytes) -> None:
    before, conf.debug_dissector = conf.debug_dissector, True
    assert bytes(on_wire(data)[TCP].payload) == data
    conf.debug_dissector = before


@pytest.mark.usefixtures("bound")
def test_what_a_segment_begins_with_is_told_apart() -> None:
    (client,) = vectors.load("dqlite_client")
    assert on_wire(RaftHandshake(id=1, address="10.0.0.1:9001"))[TCP].payload.layers() == [RaftHandshake]
    assert on_wire(DqliteHandshake(id=1, address="10.0.0.1:9001"))[TCP].payload.layers() == [DqliteHandshake]
    assert on_wire(client.data)[TCP].payload.layers() == [DqliteClient]


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("server", [1, 40, 48, 64, 1008, 1 << 40, (1 << 64) - 1])
def test_a_handshake_is_one_whatever_the_id_of_the_server(server: int) -> None:
    # 1008 is 48 + 16 * 60: the same bytes begin an AppendEntries with 60 entries.
    segment = RaftHandshake(id=server, address="10.0.0.1:9001") / RequestVote() / TimeoutNow()
    assert on_wire(segment)[TCP].payload.layers() == [RaftHandshake, RequestVote, TimeoutNow]


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("term", [8, 16, 24])
def test_a_heartbeat_that_could_be_a_handshake_is_a_heartbeat(term: int) -> None:
    # Term 8 in the place of an address length, and index 100 is the letter d and seven zeros.
    assert on_wire(AppendEntries(term=term, prev_log_index=100, prev_log_term=2))[TCP].payload.layers() == [
        AppendEntries
    ]


@pytest.mark.usefixtures("bound")
def test_a_message_that_goes_on_in_the_next_segment_shows_its_beginning() -> None:
    data = bytes(AppendEntries(entries=[Entry(data=b"x" * 100), Entry(data=b"y" * 100)]))
    packet = on_wire(data[:-50])
    assert [len(entry.data) for entry in packet[AppendEntries].entries] == [100, 50]


@pytest.mark.usefixtures("bound")
def test_the_summary_of_a_segment_names_every_message_and_the_ports() -> None:
    assert on_wire(AppendEntries(term=2) / TimeoutNow(term=2)).summary() == (
        "Ether / IP / TCP 10.0.0.1:40000 > 10.0.0.2:9001 S / "
        "AppendEntries term 2 prev 0/0 commit 0 heartbeat / TimeoutNow term 2 last 0/0"
    )


@pytest.mark.parametrize("capture", TRUTH)
def test_raft_session_finds_every_message_of_a_real_capture(capture: str) -> None:
    packets = sniff(offline=str(PCAPS / capture), session=RaftSession)
    # The truth knows only whole messages, and those of streams whose handshake the capture holds.
    known = [p for p in packets if not p.evidence.partial and p.evidence.stream.handshake]
    assert counted(known) == TRUTH[capture]


@pytest.mark.parametrize("capture", ["s1-canon-0.18.1.pcap", "lo-cowsql-0.22.1.pcap", "s2-cowsql-0.22.1.pcap"])
def test_real_messages_stay_the_same_through_a_packet(capture: str) -> None:
    for packet in sniff(offline=str(PCAPS / capture), session=RaftSession):
        message = packet.evidence
        assert bytes(packet)[16:] == message.header + message.payload
        assert isinstance(packet.payload, type(Packet().payload))


WITH_SNAPSHOTS = [
    name
    for name in TRUTH
    if name.startswith(("dq1", "lo-", "noise", "s1-mid", "s1-snaplen96", "s3", "s4-64k", "s7-stall", "s8"))
]


def heads(packets: Any) -> set[bytes]:
    """Preamble and header of all messages."""
    return {bytes(packet)[: 16 + len(packet.header())] for packet in messages_in(packets)}


@pytest.mark.parametrize("capture", WITH_SNAPSHOTS)
def test_single_segments_never_show_a_message_that_was_not_sent(capture: str) -> None:
    events: list[values.Event] = []
    sent = heads(sniff(offline=str(PCAPS / capture), session=RaftSession(on_event=events.append)))
    sent |= heads(from_message(e.message) for e in events if isinstance(e, values.Diagnostic) and e.message)
    raft_dissect.bind(*PORTS)
    try:
        shown = heads(sniff(offline=str(PCAPS / capture), lfilter=lambda packet: RaftMessage in packet))
    finally:
        raft_dissect.unbind(*PORTS)
    whole = {head for head in shown if len(head) == 16 + int.from_bytes(head[8:16], "little")}
    assert whole <= sent
    assert all(any(head.startswith(part) for head in sent) for part in shown - whole)


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("capture", ["s1-canon-0.11.3.pcap", "s1-canon-0.18.1.pcap", "s1-gso-cowsql-0.22.1.pcap"])
def test_tcp_session_finds_the_messages_of_a_tidy_capture(capture: str) -> None:
    assert counted(sniff(offline=str(PCAPS / capture), session=TCPSession)) == TRUTH[capture]


def reassembled(data: bytes, metadata: dict[str, Any] | None = None) -> Any:
    return Raft.tcp_reassemble(data, {} if metadata is None else metadata, {})


def test_tcp_session_is_given_a_message_when_it_is_whole() -> None:
    whole = bytes(AppendEntries(entries=[Entry(data=b"x" * 100)]))
    stream = bytes(RaftHandshake(id=1, address="10.0.0.1:9001")) + whole
    for size in range(40):
        assert reassembled(stream[:size]) is None
    assert reassembled(stream)[RaftHandshake].id == 1
    for size in range(16 + 48, len(whole)):
        metadata: dict[str, Any] = {}
        assert reassembled(whole[:size], metadata) is None
        assert metadata["tcp_min_len"] == (80 if size < 80 else 180)
    packet = reassembled(whole + b"next")
    assert packet.entries[0].data == b"x" * 100
    assert packet[conf.padding_layer].load == b"next"
    assert isinstance(reassembled(b"junk that is no message"), Raw)


def segmented(stream: bytes, cuts: list[int], link: Packet | None = None) -> list[Packet]:
    """A connection whose data is cut into segments at these places, a second apart."""
    link = link or Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="10.0.0.1", dst="10.0.0.2")
    places = [0, *sorted({cut % len(stream) for cut in cuts} - {0}), len(stream)]
    packets = [link / TCP(sport=40000, dport=PORT, flags="S", seq=999)]
    for start, end in pairwise(places):
        packets.append(link / TCP(sport=40000, dport=PORT, flags="PA", seq=1000 + start, ack=1) / stream[start:end])
    for i, packet in enumerate(packets):
        packet.time = EDecimal(ORIGIN + i)
    return packets


STREAM = (
    RaftHandshake(id=1, address="10.0.0.1:9001")
    / RequestVote(term=2)
    / AppendEntries(term=2, entries=[Entry(term=2, data=b"x" * 300), Entry(term=2, data=b"y" * 8)])
    / InstallSnapshot(term=2, configuration=Configuration(servers=[Server(id=1, address="a:1")]), data=b"z" * 500)
    / TimeoutNow(term=2)
)
EXPECTED = ["RequestVote", "AppendEntries", "InstallSnapshot", "TimeoutNow"]


def evidence(packet: RaftMessage) -> values.Message:
    assert packet.evidence is not None
    return packet.evidence


def fed(packets: list[Packet], **options: Any) -> list[RaftMessage]:
    session = RaftSession(**options)
    return [message for packet in packets for message in session.feed(packet)] + session.close()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 10_000), max_size=12))
def test_raft_session_does_not_mind_how_messages_are_segmented(cuts: list[int]) -> None:
    found = fed(segmented(bytes(STREAM), cuts))
    assert [type(packet).__name__ for packet in found] == EXPECTED
    assert b"".join(bytes(packet) for packet in found) == bytes(STREAM)[40:]


@pytest.mark.parametrize(
    "link",
    [
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(),
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IPv6(),
        CookedLinux(proto=0x800) / IP(),
        IP(),
        IPv6(),
    ],
    ids=["ethernet", "ethernet, ipv6", "cooked", "raw ipv4", "raw ipv6"],
)
def test_raft_session_reads_whatever_scapy_captures_from(link: Packet) -> None:
    assert [type(p).__name__ for p in fed(segmented(bytes(STREAM), [100], link))] == EXPECTED


def test_a_message_says_where_and_when_it_was_seen() -> None:
    vote_end = 40 + len(bytes(RequestVote()))
    vote, append, *_ = fed(segmented(bytes(STREAM), [vote_end, vote_end + 70]))
    assert (vote.frame, vote.stream, vote.src, vote.dst) == (2, 0, "10.0.0.1:40000", "10.0.0.2:9001")
    assert (vote.time, append.time, append.frame) == (ORIGIN + 1, ORIGIN + 3, 4)
    assert evidence(append).first.frame == 3
    assert evidence(append).stream.handshake == wire.Handshake("raft", 1, 1, "10.0.0.1:9001", 40)
    assert append.copy().frame == 4
    assert vote.summary() == "10.0.0.1:40000 > 10.0.0.2:9001 RequestVote term 2 candidate 1 last 0/0"
    crafted = RequestVote()
    assert (crafted.frame, crafted.stream, crafted.src, crafted.dst) == (None, None, None, None)


def test_the_clock_of_a_capture_is_kept_to_the_nanosecond() -> None:
    packets = segmented(bytes(STREAM), [])
    packets[1].time = EDecimal("1700000000.123456789")
    assert fed(packets)[0].time == EDecimal("1700000000.123456789")


def test_what_is_not_a_message_is_told_to_who_asks() -> None:
    packets = segmented(bytes(STREAM), [200, 400])
    del packets[2]
    events: list[values.Event] = []
    found = fed(packets, on_event=events.append)
    assert [type(p).__name__ for p in found] == EXPECTED
    assert [evidence(p).partial for p in found] == [False, True, False, False]
    assert {e.kind for e in events if isinstance(e, values.Diagnostic)} == {"gap"}
    assert isinstance(events[0], values.StreamOpened)


def test_payloads_can_be_left_out() -> None:
    found = fed(segmented(bytes(STREAM), [100]), keep_payload=False)
    assert [entry.size for entry in found[1].entries] == [300, 8]
    assert [entry.data for entry in found[1].entries] == [b"", b""]


def test_a_layout_can_be_preferred_where_the_same_bytes_have_two_meanings() -> None:
    vote = RequestVote(layout="c-0.9.15", disrupt_leader=True)
    packets = segmented(bytes(RaftHandshake(id=1, address="10.0.0.1:9001") / vote), [])
    assert fed(packets)[0].flags.disrupt_leader
    (preferred,) = fed(packets, layout="c-0.9.15")
    assert (preferred.disrupt_leader, preferred.flags) == (1, None)


def test_only_the_ports_that_were_asked_for() -> None:
    packets = segmented(bytes(STREAM), [])
    assert fed(packets, ports=[9002]) == []
    assert len(fed(packets, ports=[PORT])) == len(EXPECTED)


@pytest.mark.parametrize("capture", ["s1-canon-0.18.1.pcap", "s5-canon-0.18.1.pcapng"])
def test_scapy_sniffs_with_a_session_again_and_again(capture: str) -> None:
    source = str(PCAPS / capture)
    expected = TRUTH[capture.replace("pcapng", "pcap")]
    session = RaftSession()
    assert counted(sniff(offline=source, session=session)) == expected
    assert counted(sniff(offline=source, session=session)) == expected
    sniffer = AsyncSniffer(offline=source, session=RaftSession)
    sniffer.start()
    sniffer.join()
    assert counted(sniffer.results) == expected


def test_scapy_options_apply_to_messages() -> None:
    source = str(PCAPS / "s1-canon-0.18.1.pcap")
    votes = sniff(offline=source, session=RaftSession, lfilter=lambda packet: RequestVote in packet)
    assert len(votes) == TRUTH["s1-canon-0.18.1.pcap"]["RequestVote"]
    assert len(sniff(offline=source, session=RaftSession, count=5)) == 5
    assert len(sniff(offline=source, session=RaftSession, stop_filter=lambda p: AppendEntries in p)) == 4


def test_captures_of_two_servers_are_read_side_by_side() -> None:
    files = [str(PCAPS / f"s1-5n-cowsql-0.22.1.node{number}.pcap") for number in (2, 3)]
    found = sniff(offline=files, session=RaftSession)
    assert {packet.evidence.place.file for packet in found} == {0, 1}
