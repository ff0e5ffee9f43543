"""The paths between servers: connections, failed attempts and retransmissions are put down to the right servers."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import pytest

from raft_dissect import analyze, wire
from raft_dissect.cluster import Analysis
from raft_dissect.cluster.paths import MAX_EVENTS, Paths
from raft_dissect.cluster.servers import Servers
from raft_dissect.report.as_json import report_record
from raft_dissect.report.times import Clock
from raft_dissect.values import Endpoint, Opening, Place, Stream, StreamClosed, TransportEvent
from tests import captures
from tests.packets import MILLISECOND, SECOND, START

if TYPE_CHECKING:
    from raft_dissect.cluster.facts import PathFact
    from raft_dissect.values import TransportEventKind

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
KILLED = "s3-cowsql-0.22.1.pcap"
PARTITIONED = "s7-canon-0.18.1-pv.pcap"
MIDWAY = "s1-mid-cowsql-0.22.1.mid.pcap"
END = Place(START + 100 * SECOND, 0)


def paths_of(*files: str) -> dict[tuple[object, object], PathFact]:
    report = analyze([captures.PCAPS / file for file in files])
    (cluster,) = report.clusters
    return {(path.sender, path.receiver): path for path in cluster.paths}


class Row(NamedTuple):
    """A packet as tshark has it: the servers that it comes from and goes to, its place, its time in ns."""

    pair: tuple[object, object]
    frame: int
    time_ns: int


def rows(file: str, condition: str) -> list[Row]:
    """The packets that fulfil a condition."""
    fields = ["-e", "ip.src", "-e", "ip.dst", "-e", "frame.number", "-e", "frame.time_epoch"]
    command = ["tshark", "-n", "-r", str(captures.PCAPS / file), "-Y", condition, "-T", "fields", *fields]
    output = subprocess.run(command, capture_output=True, text=True, check=True)
    servers = {host: int(number) for number, host in captures.truth(captures.run_of(file))["ips"].items()}
    found = []
    for line in output.stdout.splitlines():
        source, destination, frame, time = line.split("\t")
        pair = servers[source], servers[destination]
        found.append(Row(pair, int(frame), int(Decimal(time) * SECOND)))
    return found


def tshark(file: str, condition: str) -> Counter[tuple[object, object]]:
    """How many packets fulfil a condition, by the servers that they come from and go to."""
    return Counter(row.pair for row in rows(file, condition))


# --- Real captures ---


@needs_tshark
@pytest.mark.parametrize("file", [KILLED, PARTITIONED, MIDWAY])
def test_attempts_are_those_of_tshark_from_server_to_server(file: str) -> None:
    """In these captures every SYN was answered at once, if it was by RST."""
    paths = paths_of(file)
    answered = tshark(file, "tcp.flags.syn == 1 && tcp.flags.ack == 1")
    refused = tshark(
        file, "tcp.flags.reset == 1 && tcp.seq == 1 && tcp.ack == 1 && tcp.len == 0 && tcp.window_size == 0"
    )
    for (sender, receiver), path in paths.items():
        assert path.opened == answered[receiver, sender]
        if path.refused or file == KILLED:
            assert path.refused == refused[receiver, sender]
    assert sum(path.opened for path in paths.values()) == sum(answered.values())


@needs_tshark
def test_elections_name_the_retransmissions_of_tshark_while_the_leader_was_silent() -> None:
    """The retransmissions begin after the last message that came through: none of them stands at its packet."""
    (cluster,) = analyze(captures.PCAPS / PARTITIONED).clusters
    silences = [election for election in cluster.elections if election.silent_seconds is not None]
    again = rows(PARTITIONED, "tcp.analysis.retransmission && tcp.len > 0")
    for election in silences:
        begin = election.place.time_ns - round((election.silent_seconds or 0) * SECOND)
        within = [row.pair for row in again if row.time_ns > begin and row.frame < election.place.frame]
        assert election.retransmissions == within.count((election.leader, election.candidate))
    assert sum(election.retransmissions > 0 for election in silences) > 5


@needs_tshark
def test_retransmissions_and_segments_are_those_of_tshark_from_server_to_server() -> None:
    again = tshark(PARTITIONED, "tcp.analysis.retransmission && tcp.len > 0")
    segments = tshark(PARTITIONED, "tcp.len > 0")
    paths = paths_of(PARTITIONED)
    assert {pair: path.retransmissions for pair, path in paths.items() if path.retransmissions} == again
    assert {pair: path.segments for pair, path in paths.items()} == segments


def test_servers_that_were_killed_refuse_connections_until_they_are_back() -> None:
    """The script killed server 2 and later server 1; each was started again."""
    events = captures.truth(captures.run_of(KILLED))["orchestrator_events"]
    paths = paths_of(KILLED)
    refusing = {pair: path.events for pair, path in paths.items() if path.refused}
    assert {receiver for _, receiver in refusing} == {e["node"] for e in events if e["what"] == "kill"}
    for (_, receiver), found in refusing.items():
        killed = max(e["t"] for e in events if e["what"] == "kill" and e["node"] == receiver)
        started = min(e["t"] for e in events if e["what"] == "start" and e["node"] == receiver and e["t"] > killed)
        (refused,) = [number for number, event in enumerate(found) if event.kind == "refused"]
        assert killed < found[refused].place.time_ns / 1e9 < started < found[refused + 1].place.time_ns / 1e9
        assert found[refused + 1].kind == "opened"


def test_captures_of_several_points_give_the_paths_of_the_whole() -> None:
    def counted(paths: dict[tuple[object, object], PathFact]) -> dict[object, object]:
        return {pair: (p.opened, p.closed, p.segments, p.retransmissions, p.refused) for pair, p in paths.items()}

    merged = paths_of(*(f"s1-5n-cowsql-0.22.1.node{node}.pcap" for node in range(1, 6)))
    assert counted(merged) == counted(paths_of("s1-5n-cowsql-0.22.1.pcap"))


def test_who_tried_to_connect_on_one_machine_is_not_known() -> None:
    """A server of this capture was killed, but all of them are on 127.0.0.1."""
    result = captures.run_file("lo-cowsql-0.22.1.pcap")
    assert any(isinstance(event, TransportEvent) and event.kind == "refused" for event in result.events)
    assert [path.refused for path in paths_of("lo-cowsql-0.22.1.pcap").values() if path.refused] == []


# --- Made by hand ---


def place(milliseconds: float, frame: int = 1) -> Place:
    return Place(START + int(milliseconds * MILLISECOND), frame)


class Scene:
    """Servers 1, 2, 3 at 10.0.0.1, ... with port 9001, and what TCP does between them."""

    def __init__(self) -> None:
        self.servers = Servers()
        self.paths = Paths(self.servers)
        self._streams = 0

    def stream(self, sender: int, receiver: str, host: str = "") -> Stream:
        source = Endpoint(host or f"10.0.0.{sender}", 40000 + self._streams)
        stream = Stream(self._streams * 2, source, Endpoint(*_parted(receiver)))
        self._streams += 1
        return stream

    def open(self, sender: int, receiver: int, at: float = 0) -> Stream:
        stream = self.stream(sender, f"10.0.0.{receiver}:9001")
        stream.handshake = wire.Handshake("raft", 1, sender, f"10.0.0.{sender}:9001", 40)
        stream.opening = Opening(place(at), place(at + 1), 1)
        self.servers.identities.opened(stream)
        self.paths.stream(stream, place(at + 2))
        return stream

    def tell(self, stream: Stream, kind: TransportEventKind, *at: float) -> None:
        for time in at:
            self.paths.event(TransportEvent(stream, kind, place(time), place(time)))

    def fact(self, sender: int, receiver: int) -> PathFact:
        (found,) = [p for p in self.paths.facts(END) if (p.sender, p.receiver) == (sender, receiver)]
        return found


def _parted(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def test_retransmissions_within_a_second_are_one_event() -> None:
    scene = Scene()
    stream = scene.open(1, 2)
    scene.open(2, 1)
    scene.tell(stream, "retransmission", 1000, 1200, 2200, 3201)
    scene.tell(stream, "zero_window", 3300)
    scene.tell(stream, "retransmission", 3400)
    fact = scene.fact(1, 2)
    assert (fact.retransmissions, fact.zero_windows, fact.place) == (5, 1, place(0))
    assert [(e.kind, e.times, e.place, e.last) for e in fact.events] == [
        ("opened", 1, place(0), place(1)),
        ("retransmissions", 3, place(1000), place(2200)),
        ("retransmissions", 1, place(3201), place(3201)),
        ("zero_window", 1, place(3300), place(3300)),
        ("retransmissions", 1, place(3400), place(3400)),
    ]


def test_retransmissions_are_counted_in_any_time() -> None:
    scene = Scene()
    stream = scene.open(1, 2)
    scene.open(2, 1)
    scene.tell(stream, "retransmission", 1000, 1200, 1400)
    one, two = scene.servers.sender(stream), scene.servers.receiver(stream)
    ask = scene.paths.retransmissions
    assert ask(one, two, place(1000).time_ns, place(1200).time_ns) == 2
    assert ask(one, two, place(1201).time_ns, place(9000).time_ns) == 1
    assert ask(two, one, place(0).time_ns, place(9000).time_ns) == 0


def test_round_trips_of_all_connections_count_also_of_those_that_go_on() -> None:
    scene = Scene()
    first = scene.open(1, 2)
    scene.open(2, 1)
    one, two = scene.servers.sender(first), scene.servers.receiver(first)
    assert scene.paths.round_trip(one, two) is None
    first.count_round_trip(2 * MILLISECOND)
    first.segments = 3
    scene.paths.closed(first, place(10))
    second = scene.open(1, 2, 20)
    second.count_round_trip(4 * MILLISECOND)
    second.segments = 4
    spread = scene.paths.round_trip(one, two)
    assert spread is not None
    assert (spread.samples, spread.min, spread.max) == (2, 0.002, 0.004)
    fact = scene.fact(1, 2)
    assert (fact.round_trip_seconds, fact.segments, fact.opened) == (spread, 7, 2)


def test_failed_attempts_follow_one_another_until_one_succeeds() -> None:
    scene = Scene()
    scene.open(2, 1)
    for number in range(3):
        scene.tell(scene.stream(1, "10.0.0.2:9001"), "refused", 1000 * number)
    scene.tell(scene.stream(1, "10.0.0.2:9001"), "unanswered", 3000)
    scene.open(1, 2, 4000)
    scene.tell(scene.stream(1, "10.0.0.2:9001"), "unanswered", 5000)
    fact = scene.fact(1, 2)
    assert (fact.refused, fact.unanswered, fact.opened) == (3, 2, 1)
    assert [(event.kind, event.times) for event in fact.events] == [
        ("refused", 3),
        ("unanswered", 1),
        ("opened", 1),
        ("unanswered", 1),
    ]


def test_attempts_count_only_between_servers() -> None:
    """Port 22 of a server, its own address, an address of nobody, and a client that is no server."""
    scene = Scene()
    scene.open(1, 2)
    scene.open(2, 1)
    for receiver in ("10.0.0.2:22", "10.0.0.1:9001", "10.0.0.9:9001"):
        scene.tell(scene.stream(1, receiver), "refused", 10)
    scene.tell(scene.stream(0, "10.0.0.2:9001", host="10.0.0.77"), "refused", 10)
    assert [(path.sender, path.receiver, path.refused) for path in scene.paths.facts(END)] == [(1, 2, 0), (2, 1, 0)]


def test_a_server_that_never_answers_is_known_by_its_configured_address() -> None:
    scene = Scene()
    scene.open(1, 2)
    scene.tell(scene.stream(1, "10.0.0.3:9001"), "unanswered", 10)
    assert scene.paths.facts(END)[1:] == ()
    scene.servers.role(wire.Server(3, "10.0.0.3:9001", 1))
    assert (scene.fact(1, 3).unanswered, scene.fact(1, 3).opened) == (1, 0)


def test_a_scan_of_ports_does_not_hide_the_failures_between_servers() -> None:
    scene = Scene()
    scene.open(1, 2)
    scene.open(2, 1)
    scene.tell(scene.stream(1, "10.0.0.2:9001"), "refused", 10)
    for port in range(1, 5000):
        scene.tell(scene.stream(0, f"10.0.0.2:{port}", host="10.0.0.66"), "refused", 20)
    assert scene.fact(1, 2).refused == 1
    assert len(scene.paths._failures) <= 1000


def test_the_first_thousand_events_are_given() -> None:
    scene = Scene()
    stream = scene.open(1, 2)
    scene.open(2, 1)
    scene.tell(stream, "retransmission", *range(2000, 2000 * 1500, 2000))
    fact = scene.fact(1, 2)
    assert len(fact.events) == MAX_EVENTS
    assert fact.events[-1].place == place(2000 * (MAX_EVENTS - 1))
    assert fact.retransmissions == 1499


def test_what_happens_after_the_end_of_a_stream_is_counted_with_it() -> None:
    scene = Scene()
    stream = scene.open(1, 2)
    scene.open(2, 1)
    stream.segments = 5
    scene.paths.closed(stream, place(10))
    scene.tell(stream, "retransmission", 20)
    fact = scene.fact(1, 2)
    assert (fact.segments, fact.retransmissions, fact.opened) == (5, 1, 1)


def test_a_capture_that_has_no_messages_has_no_facts() -> None:
    analysis = Analysis()
    stream = Stream(0, Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 9001))
    analysis.feed(TransportEvent(stream, "refused", place(0), place(1)))
    analysis.feed(StreamClosed(stream, place(2), "capture_end"))
    assert analysis.facts(START) is None


def test_paths_are_in_the_json_report() -> None:
    report = analyze(captures.PCAPS / KILLED)
    (cluster,) = json.loads(json.dumps(report_record(report, Clock())))["clusters"]
    path = next(path for path in cluster["paths"] if (path["sender"], path["receiver"]) == (3, 1))
    counts = ("opened", "refused", "unanswered", "resets", "closed", "zero_windows")
    assert [path[name] for name in counts] == [2, 2, 0, 1, 1, 0]
    assert path["frame"] == 32
    assert set(path["round_trip_seconds"]) == {"samples", "min", "p50", "p95", "p99", "max"}
    refused = next(event for event in path["events"] if event["kind"] == "refused")
    assert (refused["times"], refused["frame"], refused["stream"]) == (2, 1681, 22)
