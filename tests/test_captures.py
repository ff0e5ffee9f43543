"""Captures of real clusters: the messages in them are those that their servers logged, and the frames are tshark's."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests import captures
from tests.captures import run_file, truth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raft_dissect.values import Message

TLS = "tls13-cowsql-0.22.1"
SNAPLEN = "s1-snaplen96-canon-0.18.1"
MID = "s1-mid-cowsql-0.22.1"
MID_FILE = f"{MID}.mid.pcap"

WHOLE = sorted({f"{run}.pcap" for run in captures.RUNS} & set(captures.FILES) - {f"{TLS}.pcap", f"{SNAPLEN}.pcap"})
"""The main file of each run that is in clear text and holds whole packets."""
COUNTED = [
    file
    for file in captures.FILES
    if file in truth(captures.run_of(file))["wire"] and file not in (f"{TLS}.pcap", f"{SNAPLEN}.pcap", MID_FILE)
]
"""Files of which an independent decoder counted the messages."""


class Logged(NamedTuple):
    """What servers logged of messages of one type: how many were received, how many written."""

    received: int
    written: int


def logged(counts: Mapping[str, Mapping[str, int]]) -> dict[str, Logged]:
    return {name: Logged(count["received"], count["write_ok"]) for name, count in counts.items()}


def assert_within(found: Mapping[str, int], expected: Mapping[str, Logged]) -> None:
    assert set(found) <= set(expected)
    for name, (received, written) in expected.items():
        assert received <= found.get(name, 0) <= written, name


def servers_of(run: str) -> dict[str, str]:
    """Host to server number."""
    known = truth(run)
    hosts = known.get("ips") or {number: address.rpartition(":")[0] for number, address in known["nodes"].items()}
    return {host: number for number, host in hosts.items()}


def by_handshake(run: str, message: Message) -> str | None:
    """Number of the server that its handshake says the sender is."""
    handshake = message.stream.handshake
    if handshake is None:
        return None
    ids: dict[str, int] = truth(run).get("raft_ids") or {number: int(number) for number in truth(run)["nodes"]}
    return next(number for number, id_ in ids.items() if id_ == handshake.id)


def directions(file: str) -> dict[str, Counter[str]]:
    """Messages by "A->B" and name: A as its handshake says where there is one, else by address; B by address."""
    run = captures.run_of(file)
    servers = servers_of(run)
    found: dict[str, Counter[str]] = {}
    for message in run_file(file).messages:
        sender = by_handshake(run, message) or servers[message.stream.source.host]
        receiver = message.stream.destination.host
        found.setdefault(f"{sender}->{servers.get(receiver, receiver)}", Counter())[message.name] += 1
    return found


@pytest.mark.parametrize("file", WHOLE)
def test_as_many_messages_of_each_type_as_the_servers_wrote_and_received(file: str) -> None:
    assert_within(run_file(file).counts, logged(truth(captures.run_of(file))["message_totals"]))


@pytest.mark.parametrize("file", [file for file in WHOLE if not file.startswith("lo-")])
def test_each_direction_has_as_many_messages_as_its_servers_logged(file: str) -> None:
    expected = truth(captures.run_of(file))["message_counts"]
    found = directions(file)
    assert set(found) <= set(expected)
    for direction, counts in expected.items():
        assert_within(found.get(direction, {}), logged(counts))


def test_on_loopback_the_handshake_and_the_port_tell_servers_apart() -> None:
    run = "lo-cowsql-0.22.1"
    ports = {int(address.rpartition(":")[2]): number for number, address in truth(run)["nodes"].items()}
    found: dict[str, Counter[str]] = {}
    for message in run_file(f"{run}.pcap").messages:
        direction = f"{by_handshake(run, message)}->{ports[message.stream.destination.port]}"
        found.setdefault(direction, Counter())[message.name] += 1
    expected = truth(run)["message_counts"]
    assert set(found) <= set(expected)
    for direction, counts in expected.items():
        assert_within(found.get(direction, {}), logged(counts))


@pytest.mark.parametrize("file", COUNTED)
def test_an_independent_decoder_counted_the_same(file: str) -> None:
    wire = truth(captures.run_of(file))["wire"][file]
    assert run_file(file).counts == wire["messages"]
    if wire["messages_per_direction"]:
        assert directions(file) == wire["messages_per_direction"]


@pytest.mark.parametrize("file", COUNTED)
def test_whole_captures_have_neither_gaps_nor_partial_nor_malformed_messages(file: str) -> None:
    result = run_file(file)
    assert not any(message.partial for message in result.messages)
    # The bytes of that one message never came: its server was killed while it sent.
    cut = [
        entry for entry in truth(captures.run_of(file))["wire"][file]["not_raft_or_cut_streams"] if "TRUNCPL" in entry
    ]
    assert [diagnostic.kind for diagnostic in result.diagnostics] == ["unfinished"] * len(cut)
    statistics = result.statistics
    assert (statistics.gaps, statistics.malformed, statistics.unfinished) == (0, 0, len(cut))


def test_the_message_that_a_killed_server_left_unfinished() -> None:
    file = "s8-reorder10-canon-0.18.1.pcap"
    ((connection, _, name, start, end),) = truth(captures.run_of(file))["wire"][file]["not_raft_or_cut_streams"]
    (unfinished,) = run_file(file).of_kind("unfinished")
    message, stream = unfinished.message, unfinished.stream
    assert message is not None
    assert stream is not None
    assert connection == repr((*stream.source, *stream.destination))
    assert message.name == name
    assert message.offset == int(start)
    assert message.missing == int(start) + captures.length(message) - int(end)
    assert unfinished.size == message.missing


@pytest.mark.parametrize("file", [f"{TLS}.pcap", f"{TLS}.dsb.pcapng"])
def test_tls_is_tls_and_gives_no_message(file: str) -> None:
    result = run_file(file)
    assert result.events == []
    assert set(result.statistics.streams) == {"tls"}


def test_http_and_junk_on_a_raft_port_are_not_raft() -> None:
    """The run's noise: HTTP on port 8000; on a Raft port a GET, 400 random bytes and an empty connection."""
    packets = captures.packets("noise-canon-0.18.1.pcap")
    assert captures.run(packets).statistics.streams == {"raft": 4, "http": 11, "unknown": 1, "empty": 1}
    on_port = captures.run(packets, [9001])
    assert on_port.statistics.streams == {"raft": 4, "http": 1, "unknown": 1, "empty": 1}
    assert sorted(diagnostic.detail for diagnostic in on_port.of_kind("not_raft")) == [
        "a connection on a Raft port carries HTTP",
        "a connection on a Raft port carries something that is not Raft",
    ]


def test_dqlite_clients_on_the_raft_port_are_no_raft_servers() -> None:
    """At the interface of the SQL client (10.77.77.4) there are 9 connections, none of them Raft's."""
    result = run_file("dq1-dqlite-1.18.6.node4.pcap")
    assert result.events == []
    assert result.statistics.streams == {"dqlite_client": 9}


def test_captures_of_several_points_give_each_message_once() -> None:
    run = "s1-5n-cowsql-0.22.1"
    merged = run_file(*(f"{run}.node{number}.pcap" for number in range(1, 6)))
    assert captures.contents(merged.messages) == captures.contents(run_file(f"{run}.pcap").messages)
    assert merged.diagnostics == []


def test_pcapng_gives_what_pcap_gives() -> None:
    pcap, pcapng = run_file("s5-canon-0.18.1.pcap"), run_file("s5-canon-0.18.1.pcapng")
    assert captures.contents(pcapng.messages) == captures.contents(pcap.messages)
    assert [message.place for message in pcapng.messages] == [message.place for message in pcap.messages]


# --- Captures of which something is missing ---


def test_connections_opened_after_the_start_of_the_capture_are_whole() -> None:
    messages = [message for message in run_file(MID_FILE).messages if message.stream.handshake]
    assert Counter(message.name for message in messages) == truth(MID)["wire"][MID_FILE]["messages"]


def test_connections_that_were_open_before_give_all_the_messages_that_are_there() -> None:
    """Leader 1 sends AppendEntries to 2 and 3 on two connections and is answered on two others, all older.

    The capture starts between an answer and the next AppendEntries, so each AppendEntries in it is answered in it.
    """
    result = run_file(MID_FILE)
    before = [message for message in result.messages if message.stream.handshake is None]
    assert {message.offset for message in before} == {None}
    assert not any(message.partial for message in before)
    found = Counter((message.stream.source.host, message.stream.destination.host, message.name) for message in before)
    assert len({message.stream.number for message in before}) == 4
    for follower in ("10.77.77.2", "10.77.77.3"):
        sent = found["10.77.77.1", follower, "AppendEntries"]
        # 264880 and 4128 are the bytes of these streams that the independent decoder saw and did not decode.
        assert sent == found[follower, "10.77.77.1", "AppendEntriesResult"] == 4128 // 48
        appends = [message for message in before if message.stream.destination.host == follower]
        assert sum(captures.length(message) for message in appends) == 264880


def test_a_snaplen_of_96_leaves_the_start_of_each_header() -> None:
    """66 bytes of Ethernet, IPv4 and TCP headers leave 30: the preamble, the term and part of the next word."""
    file = f"{SNAPLEN}.pcap"
    result = run_file(file)
    run = captures.run_of(file)
    assert_within(result.counts, logged(truth(run)["message_totals"]))
    for direction, counts in directions(file).items():
        assert_within(counts, logged(truth(run)["message_counts"][direction]))
    for message in result.messages:
        assert message.partial
        assert message.header
        assert ("term" in message.fields) == (len(message.header) >= 8)
    terms = {message.fields["term"] for message in result.messages if len(message.header) >= 8}
    assert terms == set(range(min(terms), truth(run)["max_term"] + 1))
    assert result.diagnostics == []


# --- tshark ---

TSHARK = shutil.which("tshark")


class Line(NamedTuple):
    """What tshark says of one TCP segment."""

    stream: int
    source: str
    start: int
    end: int


def tshark(file: str) -> dict[int, Line]:
    """By frame: stream number and which bytes of the stream, from 0, the frame holds."""
    fields = ["frame.number", "tcp.stream", "ip.src", "tcp.srcport", "tcp.seq", "tcp.len"]
    command = ["tshark", "-n", "-r", str(captures.PCAPS / file), "-Y", "tcp", "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = {}
    for line in output.splitlines():
        frame, stream, source, port, sequence, size = line.split("\t")
        start = int(sequence) - 1
        lines[int(frame)] = Line(int(stream), f"{source}:{port}", start, start + int(size))
    return lines


@pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")
@pytest.mark.parametrize(
    "file",
    [
        "s1-canon-0.18.1.pcap",
        "s2-cowsql-0.22.1.pcap",
        "s1-gso-cowsql-0.22.1.pcap",
        "s8-reorder10-canon-0.18.1.pcap",
        "dq4-dqlite-1.18.6.pcap",
        "lo-cowsql-0.22.1.pcap",
        "noise-canon-0.18.1.pcap",
        "s1-hostnames-cowsql-0.22.1.any1.pcap",
    ],
)
def test_stream_numbers_and_frames_are_those_of_tshark(file: str) -> None:
    lines = tshark(file)
    arrivals: dict[tuple[int, str], list[tuple[int, int, int]]] = {}
    for frame, line in lines.items():
        if line.end > line.start:
            arrivals.setdefault((line.stream, line.source), []).append((frame, line.start, line.end))
    for message in run_file(file).messages:
        source, start = str(message.stream.source), message.offset
        assert start is not None
        end = start + captures.length(message)
        number = message.stream.number // 2
        assert lines[message.place.frame].stream == lines[message.first.frame].stream == number
        # Each byte is there from the first frame on that holds it; the message when the last of its bytes is.
        frames = arrivals[number, source]
        assert message.first.frame == next(frame for frame, first, last in frames if first <= start < last)
        assert message.place.frame == complete_at(frames, start, end)


def complete_at(frames: list[tuple[int, int, int]], start: int, end: int) -> int:
    """The frame with which the last of the bytes from `start` to `end` has arrived."""
    last = 0
    place = start
    while place < end:
        frame, place = next((frame, min(after, end)) for frame, first, after in frames if first <= place < after)
        last = max(last, frame)
    return last
