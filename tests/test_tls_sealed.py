"""TLS without secrets: what sizes and times of records alone say of Raft servers, against what the servers logged."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import TYPE_CHECKING

import pytest

from raft_dissect import analyze
from raft_dissect.dissection import Dissection
from raft_dissect.pipeline import ReportBuilder
from raft_dissect.sealed.estimates import estimate
from raft_dissect.sealed.traffic import SealedTraffic
from raft_dissect.values import Packet
from tests import captures
from tests.captures import PCAPS, truth
from tests.command import run
from tests.packets import FIN, PSH, SECOND, START, Address, Connection
from tests.tls_captures import TLS_1_2, TLS_1_3, Exchange, Sealing, sealed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ssl import TLSVersion

    from raft_dissect.sealed import SealedFacts

RUN = "tls13-cowsql-0.22.1"
HEARTBEAT = {
    f"{RUN}.pcap": 0.1,
    "s1-canon-0.18.1.pcap": 0.1,
    "s2-cowsql-0.22.1.pcap": 0.05,
    "s3-cowsql-0.22.1.pcap": 0.04,
    "s5-canon-0.18.1.pcap": 0.05,
}
"""Seconds between the heartbeats that the servers of a run were told to send."""


def estimates(packets: Iterable[Packet]) -> tuple[SealedFacts, ...]:
    traffic = SealedTraffic()
    for packet in packets:
        traffic.feed(packet)
    return estimate(traffic)


@lru_cache
def of_run(file: str, version: TLSVersion = TLS_1_3) -> SealedFacts:
    packets = captures.packets(file)
    (facts,) = estimates(packets if file.startswith(RUN) else sealed(packets, None, Sealing(version)))
    return facts


@pytest.mark.parametrize("file", HEARTBEAT)
def test_the_interval_of_heartbeats_is_within_a_tenth_of_that_of_the_servers(file: str) -> None:
    for version in (TLS_1_2, TLS_1_3):
        assert of_run(file, version).heartbeat_seconds == pytest.approx(HEARTBEAT[file], rel=0.1)


@pytest.mark.parametrize("file", HEARTBEAT)
def test_whoever_seems_to_lead_does(file: str) -> None:
    run_ = truth(file.removesuffix(".pcap"))
    facts = of_run(file)
    elected = sorted((each["t"], each["node"]) for leaders in run_["leaders_by_term"].values() for each in leaders)
    hosts = run_.get("ips") or {node: address.partition(":")[0] for node, address in run_["nodes"].items()}
    assert {leader.leader.host for leader in facts.leaders} == {hosts[str(node)] for _, node in elected}
    for leader in facts.leaders:
        middle = (leader.first.time_ns + leader.last.time_ns) / 2 / SECOND
        assert leader.leader.host == hosts[str([node for time, node in elected if time <= middle][-1])]


def test_a_snapshot_looks_like_one_and_goes_to_the_server_that_logged_it() -> None:
    facts = of_run(f"{RUN}.pcap")
    (snapshot,) = [burst for burst in facts.bursts if burst.looks_like == "snapshot"]
    hosts = truth(RUN)["ips"]
    (sent,) = {(each["node"], each["peer"]) for each in truth(RUN)["install_snapshot_received"]}
    assert snapshot.receiver.host == hosts[str(sent[0])]
    assert snapshot.sender.host == hosts[str(sent[1])]
    assert snapshot.bytes >= 64 * 1024


def test_a_killed_server_is_silent_until_it_is_started_again() -> None:
    """Server 1 was killed 3.0 s after the start of the run, and started again 2 s later."""
    events = truth(RUN)["orchestrator_events"]
    killed, started = (next(e["t"] for e in events if e["what"] == what and e["node"] == 1 and e["t"] > after)
                       for what, after in (("kill", 0), ("start", events[3]["t"])))  # fmt: skip
    silence = max(
        (each for each in of_run(f"{RUN}.pcap").silences if each.server and each.server.host == truth(RUN)["ips"]["1"]),
        key=lambda each: each.last.time_ns - each.first.time_ns,
    )
    assert silence.first.time_ns / SECOND <= killed < started <= silence.last.time_ns / SECOND


def browsing(seconds: int, keep_alive: bool) -> list[Packet]:
    """Three hosts whose browsers ask the others' web servers again and again; requests are small, answers large."""
    choice = random.Random(7)
    hosts = [f"10.1.0.{number}" for number in (1, 2, 3)]
    timed: list[tuple[int, bytes]] = []
    port = 40_000
    for client in hosts:
        for server in hosts:
            if client == server:
                continue
            for begin in range(0, seconds, seconds if keep_alive else 1):
                port += 1
                timed += _visit(
                    Address(client, port), Address(server, 443), begin, seconds if keep_alive else 1, choice
                )
    timed.sort()
    return [Packet(data, START + time, 1, len(data), frame) for frame, (time, data) in enumerate(timed, 1)]


def _visit(
    client: Address, server: Address, begin: int, seconds: int, choice: random.Random
) -> list[tuple[int, bytes]]:
    connection, exchange = Connection(client, server), Exchange(TLS_1_3, None)
    now = begin * SECOND + choice.randrange(SECOND // 10)
    timed = [(now + step, data) for step, data in enumerate(connection.opening())]
    sent = [0, 0]

    def say(side: int, data: bytes, flags: int) -> None:
        nonlocal now
        now += choice.randrange(500_000, 3_000_000)
        packet = (connection.data, connection.reply)[side](sent[side], data, flags)
        sent[side] += len(data)
        timed.append((now, packet))

    for side, data in exchange.handshake():
        say(side, data, PSH)
    for _ in range(10 * seconds):
        say(0, exchange.write(0, bytes(200)), PSH)
        say(1, exchange.write(1, bytes(choice.randrange(500, 4000))), PSH)
        now += SECOND // 10 - 4_000_000
    say(0, b"", FIN)
    return timed


@pytest.mark.parametrize("keep_alive", [False, True])
def test_browsers_are_no_raft_cluster(keep_alive: bool) -> None:
    packets = browsing(5, keep_alive)
    traffic = SealedTraffic()
    for packet in packets:
        traffic.feed(packet)
    assert sum(connection.is_tls for connection in traffic.connections) == (6 if keep_alive else 30)
    assert estimate(traffic) == ()


def test_nothing_is_claimed_of_a_second_of_traffic() -> None:
    packets = captures.packets(f"{RUN}.pcap")
    assert estimates(packet for packet in packets if packet.time_ns < packets[0].time_ns + SECOND) == ()


def test_the_report_has_it_from_a_file_and_from_a_pipe() -> None:
    (from_file,) = analyze(PCAPS / f"{RUN}.pcap").sealed
    assert from_file == of_run(f"{RUN}.pcap")
    dissection = Dissection(captures.packets(f"{RUN}.pcap"), watch_sealed=True)
    builder = ReportBuilder()
    for batch in dissection.batches():
        builder.feed(batch)
    assert builder.report(dissection).sealed == (from_file,)
    piped = run("report", "--json", "-", stdin=(PCAPS / f"{RUN}.pcap").read_bytes())
    named = run("report", "--json", f"{RUN}.pcap")
    assert piped.out.replace('"-"', f'"{RUN}.pcap"') == named.out


def test_every_figure_is_marked_as_an_estimate() -> None:
    import json

    (facts,) = json.loads(run("report", "--json", f"{RUN}.pcap").out)["sealed"]
    assert facts["estimate"] is True
    assert facts["heartbeat"]["estimate"] is True
    assert all(each["estimate"] for name in ("servers", "leaders", "bursts", "silences") for each in facts[name])
    text = run("report", f"{RUN}.pcap").out
    inside = text[text.index("Inside TLS") :]
    titles = [line for line in inside.splitlines() if line.startswith("Inside TLS")]
    assert len(titles) == 4
    assert all("by estimate" in title for title in titles)
    assert "a heartbeat every ~100 ms" in inside


def test_with_the_secrets_nothing_is_estimated() -> None:
    report = analyze(PCAPS / f"{RUN}.dsb.pcapng")
    assert report.clusters
    assert not report.sealed
