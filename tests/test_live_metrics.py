"""Metrics over HTTP while a loop goes through real captures: what Prometheus reads is what the servers logged."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from raft_dissect.audit import RULES
from raft_dissect.auditing import audit
from raft_dissect.cluster.present import ClusterState, ServerState
from raft_dissect.dissection import Dissection
from raft_dissect.live.loop import Loop
from raft_dissect.live.metrics import Address, MetricsError, MetricsView, parse_address
from raft_dissect.live.metrics.counts import Counts
from raft_dissect.live.metrics.known import GONE_NS, MOST_CLUSTERS, MOST_SERVERS
from raft_dissect.live.metrics.table import BUCKETS, METRICS
from raft_dissect.live.view import Snapshot, SourceState, View
from raft_dissect.watch import KINDS, Happening
from raft_dissect.wire import table
from tests import captures
from tests.test_clusters import begun_at, moved
from tests.test_watch import happenings
from tests.transformations import numbered, tcp_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raft_dissect.dissection import Source
    from raft_dissect.values import Message

ANYWHERE = Address("127.0.0.1", 0)
FILES = ["s2-cowsql-0.22.1.pcap", "s4-64k-canon-0.18.1.pcap", "s5-canon-0.18.1.pcap", "s7-cowsql-0.22.1-nopv.pcap"]
SECOND = 1_000_000_000

Series = tuple[str, frozenset[tuple[str, str]]]


class Scrape:
    """What one request to the endpoint gave."""

    def __init__(self, view: MetricsView, parameters: str = "", accept: str = "text/plain") -> None:
        with urlopen(Request(view.url + parameters, headers={"Accept": accept})) as answer:
            self.content_type = answer.headers["Content-Type"]
            self.text = answer.read().decode()
        parse = openmetrics if "openmetrics" in self.content_type else prometheus
        self.families = {family.name: family for family in parse(self.text)}
        samples = [sample for family in self.families.values() for sample in family.samples]
        self.values: dict[Series, float] = {(one.name, frozenset(one.labels.items())): one.value for one in samples}
        assert len(self.values) == len(samples), "no series is given twice"

    def get(self, name: str, **labels: str) -> dict[tuple[str, ...], float]:
        """The series of a metric that have these labels, by the values of their other labels in alphabetic order."""
        wanted = set(labels.items())
        return {
            tuple(value for _, value in sorted(has - wanted)): number
            for (of, has), number in self.values.items()
            if of == name and wanted <= has
        }

    def one(self, name: str, **labels: str) -> float:
        (value,) = self.get(name, **labels).values()
        return value

    def sum(self, name: str, **labels: str) -> float:
        return sum(self.get(name, **labels).values())


class Scraper(View):
    """Asks for the metrics at every so many beats."""

    def __init__(self, metrics: MetricsView, every: int) -> None:
        self._metrics, self._every, self._beats = metrics, every, 0
        self.scrapes: list[Scrape] = []

    def beat(self, snapshot: Snapshot) -> None:
        self._beats += 1
        if self._beats % self._every == 0:
            assert snapshot.now_ns
            self.scrapes.append(Scrape(self._metrics))


@pytest.fixture
def view() -> Iterator[MetricsView]:
    with MetricsView(ANYWHERE) as metrics:
        yield metrics


def scraped(source: Source, **options: Any) -> Scrape:
    """The metrics at the end of a capture."""
    with MetricsView(ANYWHERE, **options) as metrics:
        Loop(Dissection(source, digest_data=True), [metrics]).run()
        return Scrape(metrics)


@lru_cache
def of_file(file: str) -> Scrape:
    """The metrics at the end of a capture file."""
    return scraped(captures.PCAPS / file)


def snapshot(*clusters: ClusterState, now_ns: int = 0, **others: Any) -> Snapshot:
    empty = Snapshot(now_ns, 0, clusters, (), 0, 0, Counter(), Counter(), 0, 0.0, ())
    return empty._replace(**others)


def cluster(*servers: ServerState, number: int = 0) -> ClusterState:
    return ClusterState(None, None, servers, (), (), (), number)


def server(name: int | str, **known: Any) -> ServerState:
    state = ServerState(name, f"10.0.0.{name}:9000", "unknown", None, None, None, None, None, None, None)
    return state._replace(**known)


# What the servers logged


@pytest.mark.parametrize("file", FILES)
def test_elections_and_leaders_are_those_that_the_servers_logged(file: str) -> None:
    truth, found = captures.truth(captures.run_of(file)), of_file(file)
    asked = Counter("pre_vote" if prevote else "vote" for _, _, prevote in asked_for_votes(truth))
    assert found.get("raft_dissect_elections_total", cluster="1") == {(kind,): asked[kind] for kind in VOTES}
    led = sum(map(len, truth["leaders_by_term"].values()))
    assert found.one("raft_dissect_leaderships_total", cluster="1") == led
    assert found.one("raft_dissect_elections_ended_total", cluster="1", kind="vote", outcome="won") == led
    assert found.one("raft_dissect_cluster_term", cluster="1") == truth["max_term"]


VOTES = ("vote", "pre_vote")


def asked_for_votes(truth: dict[str, Any]) -> set[tuple[int, int, int]]:
    return {(one["node"], one["term"], one["prevote"]) for one in truth["request_votes_sent"]}


@pytest.mark.parametrize("file", ["s2-cowsql-0.22.1.pcap", "s4-64k-canon-0.18.1.pcap", "s3-cowsql-0.22.1.pcap"])
def test_rejections_are_those_that_the_servers_logged(file: str) -> None:
    truth, found = captures.truth(captures.run_of(file)), of_file(file)
    assert found.sum("raft_dissect_rejections_total", kind="append_entries") == truth["n_rejections_sent"]
    refused = sum(not one["granted"] for one in truth["vote_results_sent"])
    assert found.sum("raft_dissect_rejections_total", kind="request_vote") == refused


@pytest.mark.parametrize("file", FILES)
def test_messages_are_those_on_the_wire(file: str) -> None:
    wire, found = captures.truth(captures.run_of(file))["wire"][file], of_file(file)
    sent = {
        (message, receiver, sender): number
        for direction, messages in wire["messages_per_direction"].items()
        for sender, receiver in [direction.split("->")]
        for message, number in messages.items()
    }
    assert found.get("raft_dissect_messages_total", cluster="1") == sent
    assert found.one("raft_dissect_packets_total") == len(captures.packets(file))


def test_snapshots_are_those_that_the_servers_logged() -> None:
    run = "s4-64k-canon-0.18.1"
    received, found = captures.truth(run)["install_snapshot_received"], of_file(f"{run}.pcap")
    assert found.one("raft_dissect_snapshots_total") == len(received)
    assert found.one("raft_dissect_snapshot_bytes_total") == sum(one["data"] for one in received)
    outcomes = found.get("raft_dissect_snapshots_ended_total", cluster="1")
    assert outcomes == {
        (one,): one == "installed" for one in ("installed", "already_had", "refused", "cut", "unanswered")
    }


def test_servers_reach_what_they_logged_at_their_end() -> None:
    run = "s2-cowsql-0.22.1"
    found = of_file(f"{run}.pcap")
    (last, *_) = captures.truth(run)["leaders_by_term"]["8"]
    for exit_ in captures.truth(run)["exits"]:
        name = str(exit_["node"])
        assert found.one("raft_dissect_server_term", server=name) == 8
        assert found.one("raft_dissect_server_last_index", server=name) == exit_["last_index"]
        leads = exit_["node"] == last["node"]
        if not leads:  # the leader commits once more than it can tell the others
            assert found.one("raft_dissect_server_commit_index", server=name) == exit_["commit"]
        shown = {
            state
            for (state,), value in found.get("raft_dissect_server_state", server=name, cluster="1").items()
            if value
        }
        assert shown == {"leader" if leads else "follower"}


def test_a_server_that_is_down_lags_behind_the_present_leader() -> None:
    """Server 1 is killed with 303 entries, under another leader than the one whose log ends with 360."""
    found = of_file("lo-cowsql-0.22.1.pcap")
    assert [one["last_index"] for one in captures.truth("lo-cowsql-0.22.1")["exits"]] == [360, 360]
    assert found.get("raft_dissect_server_lag_entries", cluster="1") == {("1",): 360 - 303, ("2",): 0}


@pytest.mark.parametrize("file", FILES)
def test_findings_and_events_are_those_of_the_commands(file: str) -> None:
    path = captures.PCAPS / file
    found = of_file(file)
    told = Counter((one.rule.id, one.verdict) for one in audit(path).findings)
    assert +Counter(found.get("raft_dissect_audit_findings_total")) == told
    events = Counter(one.kind for one in happenings(path))
    assert found.get("raft_dissect_events_total") == {(kind,): events[kind] for kind in KINDS}


def test_rules_that_are_not_asked_have_no_series() -> None:
    found = scraped(captures.PCAPS / "s2-cowsql-0.22.1.pcap", rules_off=["EL-01"])
    rules = {rule for rule, _ in found.get("raft_dissect_audit_findings_total")}
    assert rules == {rule.id for rule in RULES} - {"EL-01"}


# Times


def requests_and_answers(file: str) -> dict[tuple[str, str], list[tuple[Message, Message]]]:
    """By hosts of leader and follower: each AppendEntries with its answer, where all are answered in their order."""
    requests: dict[tuple[str, str], list[Message]] = {}
    answers: dict[tuple[str, str], list[Message]] = {}
    for message in captures.run_file(file).messages:
        ends = message.stream.source.host, message.stream.destination.host
        if message.type == table.APPEND_ENTRIES:
            requests.setdefault(ends, []).append(message)
        elif message.type == table.APPEND_ENTRIES_RESULT:
            answers.setdefault((ends[1], ends[0]), []).append(message)
    return {ends: list(zip(found, answers[ends], strict=True)) for ends, found in requests.items()}


def near(bounds: tuple[float, ...], counts: list[float], exact: list[float]) -> bool:
    """Whether so many of the exact values are not above each bound, if they may be 2 % off."""
    return all(
        sum(one <= 0.98 * bound for one in exact) <= count <= sum(0.98 * one <= bound for one in exact)
        for bound, count in zip(bounds, counts, strict=True)
    )


def buckets(found: Scrape, name: str, **labels: str) -> list[float]:
    """The counts of the buckets in their order, without the last one."""
    by_bound = {float(bound): count for (bound,), count in found.get(f"{name}_bucket", **labels).items()}
    assert by_bound.pop(float("inf")) == found.one(f"{name}_count", **labels)
    return [by_bound[bound] for bound in BUCKETS]


def test_times_until_answers_are_those_between_packets() -> None:
    file, name = "noise-canon-0.18.1.pcap", "raft_dissect_acknowledge_seconds"
    found = of_file(file)
    pairs = requests_and_answers(file)
    assert set(pairs) == {("10.77.77.3", "10.77.77.1"), ("10.77.77.3", "10.77.77.2")}
    for (_, follower), answered in pairs.items():
        labels = {"cluster": "1", "leader": "3", "follower": follower[-1]}
        exact = [(answer.first.time_ns - request.place.time_ns) / 1e9 for request, answer in answered]
        assert found.one(f"{name}_count", **labels) == len(exact)
        assert near(BUCKETS, buckets(found, name, **labels), exact)
        assert found.one(f"{name}_sum", **labels) == pytest.approx(sum(exact), rel=0.02)


def test_every_answered_request_is_in_the_histogram() -> None:
    received = captures.truth("s2-cowsql-0.22.1")["message_totals"]["AppendEntriesResult"]["received"]
    found = of_file("s2-cowsql-0.22.1.pcap")
    assert found.sum("raft_dissect_acknowledge_seconds_count") == received


def test_every_entry_that_is_committed_is_in_the_histogram() -> None:
    """The first entry is the bootstrapped configuration, the last one is sent and not committed any more."""
    file = "noise-canon-0.18.1.pcap"
    indexes = {
        message.fields["prev_log_index"] + 1 + number
        for message in captures.run_file(file).messages
        if message.type == table.APPEND_ENTRIES
        for number in range(len(message.entries))
    }
    assert indexes == set(range(2, 54))
    found = of_file(file)
    assert found.get("raft_dissect_commit_seconds_count") == {("1", "3"): len(indexes) - 1}


def last_requests(file: str) -> dict[str, int]:
    """By the last digit of the follower's address, which is its id: when a leader last sent it AppendEntries."""
    return {
        message.stream.destination.host[-1]: message.place.time_ns
        for message in captures.run_file(file).messages
        if message.type == table.APPEND_ENTRIES
    }


def test_ages_of_heartbeats_in_a_file_end_where_it_ends() -> None:
    file = "noise-canon-0.18.1.pcap"
    found = of_file(file)
    end_ns, sent = captures.packets(file)[-1].time_ns, last_requests(file)
    ages = {(follower,): (end_ns - time_ns) / 1e9 for follower, time_ns in sent.items()}
    ages["3",] = (end_ns - max(sent.values())) / 1e9
    assert found.get("raft_dissect_server_heartbeat_age_seconds", cluster="1") == pytest.approx(ages)
    assert found.one("raft_dissect_late_seconds") == 0


def test_ages_of_heartbeats_grow_while_nothing_comes_from_an_interface() -> None:
    file = "noise-canon-0.18.1.pcap"
    end_ns = captures.packets(file)[-1].time_ns
    found = scraped(captures.PCAPS / file, clock=lambda: end_ns + 5 * SECOND)
    sent = last_requests(file)
    age = (end_ns + 5 * SECOND - sent["1"]) / 1e9
    assert found.one("raft_dissect_server_heartbeat_age_seconds", server="1") == pytest.approx(age)
    assert found.one("raft_dissect_server_seen_age_seconds", server="1") > 5
    assert found.one("raft_dissect_late_seconds") == pytest.approx(5)
    assert found.one("raft_dissect_last_update_timestamp_seconds") == pytest.approx(end_ns / 1e9)


# While the loop goes on


@pytest.mark.parametrize("file", ["s2-cowsql-0.22.1.pcap", "s1-mid-cowsql-0.22.1.mid.pcap", "s4-64k-canon-0.9.0.pcap"])
def test_counters_never_go_back(view: MetricsView, file: str) -> None:
    scraper = Scraper(view, every=6)
    Loop(Dissection(captures.PCAPS / file), [view, scraper]).run()
    before: dict[Series, float] = {}
    assert len(scraper.scrapes) > 10
    for scrape in scraper.scrapes:
        counters = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in scrape.families.values()
            if family.type in ("counter", "histogram")
            for sample in family.samples
        }
        assert all(value >= before.get(series, 0) for series, value in counters.items())
        before |= counters


def test_the_first_election_shows_as_an_increase(view: MetricsView) -> None:
    """A counter that begins with 1 has not increased, as Prometheus sees it."""
    view.beat(snapshot(cluster(server(1))))
    found = Scrape(view)
    for name in ("elections", "elections_ended", "leaderships", "rejections", "snapshots", "snapshots_ended"):
        values = found.get(f"raft_dissect_{name}_total")
        assert values
        assert not any(values.values())


def test_a_server_is_shown_by_its_host_until_its_id_is_known(view: MetricsView) -> None:
    scraper = Scraper(view, every=1)
    Loop(Dissection(captures.PCAPS / "s1-mid-cowsql-0.22.1.mid.pcap"), [view, scraper]).run()
    names = [{name for _, name in scrape.get("raft_dissect_server_term")} for scrape in scraper.scrapes]
    assert {"10.77.77.1", "10.77.77.2", "10.77.77.3"} in names
    assert names[-1] == {"1", "2", "3"}


def test_before_the_first_packet_the_endpoint_says_that_it_waits(view: MetricsView) -> None:
    found = Scrape(view)
    assert found.one("raft_dissect_capturing") == 1
    assert found.one("raft_dissect_packets_total") == 0
    assert not found.get("raft_dissect_last_update_timestamp_seconds")


def test_the_end_of_the_capture_shows(view: MetricsView) -> None:
    view.beat(snapshot())
    assert Scrape(view).one("raft_dissect_capturing") == 1
    view.finish(snapshot())
    assert Scrape(view).one("raft_dissect_capturing") == 0


# What there can be much of


def test_two_clusters_with_the_same_ids_are_told_apart() -> None:
    one, other = captures.packets("s2-cowsql-0.22.1.pcap"), captures.packets("s4-64k-canon-0.18.1.pcap")
    later = begun_at(moved(other, ("10.77.77.", "10.88.88.")), one[-1].time_ns + SECOND)
    found = scraped(numbered([*one, *later]))
    first, second = (captures.truth(run) for run in ("s2-cowsql-0.22.1", "s4-64k-canon-0.18.1"))
    assert found.get("raft_dissect_elections_total", kind="vote") == {
        ("1",): len(asked_for_votes(first)),
        ("2",): len(asked_for_votes(second)),
    }
    assert found.get("raft_dissect_cluster_term") == {("1",): first["max_term"], ("2",): second["max_term"]}
    assert found.one("raft_dissect_clusters") == 2


def test_servers_that_have_left_are_dropped_after_ten_minutes() -> None:
    one, other = captures.packets("s2-cowsql-0.22.1.pcap"), captures.packets("s4-64k-canon-0.18.1.pcap")
    later = begun_at(moved(other, ("10.77.77.", "10.88.88.")), one[-1].time_ns + GONE_NS)
    found = scraped(numbered([*one, *later]))
    assert set(found.get("raft_dissect_server_term")) == {("2", "1"), ("2", "2"), ("2", "3")}
    assert not found.get("raft_dissect_messages_total", cluster="1")
    assert not found.get("raft_dissect_acknowledge_seconds_count", cluster="1")
    assert not found.get("raft_dissect_commit_seconds_count", cluster="1")
    assert found.one("raft_dissect_cluster_servers", cluster="1") == 3


def test_a_server_of_the_configuration_is_never_dropped(view: MetricsView) -> None:
    gone = server(1, role="voter", seen_ns=1, term=2)
    view.beat(snapshot(cluster(gone, server(2, seen_ns=1, term=2)), now_ns=2 * GONE_NS))
    assert Scrape(view).get("raft_dissect_server_term") == {("1", "1"): 2}


def test_too_many_servers_and_clusters_are_counted_and_not_shown(view: MetricsView) -> None:
    strangers = [server(f"10.1.1.1:{port} (sender)", seen_ns=port, term=1) for port in range(1, 2000)]
    members = [server(number, role="voter", term=1) for number in range(3)]
    known = [server(3, seen_ns=0, term=1)]
    more = [cluster(server(1), number=number) for number in range(1, 100)]
    view.beat(snapshot(cluster(*strangers, *members, *known), *more, now_ns=2000))
    found = Scrape(view)
    names = {name for _, name in found.get("raft_dissect_server_term")}
    assert len(names) == MOST_SERVERS
    assert {"0", "1", "2", "3", "10.1.1.1:1999 (sender)"} <= names
    assert found.one("raft_dissect_cluster_servers", cluster="1") == 2003
    assert len(found.get("raft_dissect_cluster_servers")) == MOST_CLUSTERS
    assert found.one("raft_dissect_clusters") == 100


def test_what_one_cluster_did_counts_for_the_one_that_it_turns_out_to_be_a_part_of() -> None:
    """Of three clusters the first two are one: what was the third is the second now."""
    counts = Counts()
    apart = [cluster(server(number), number=number) for number in range(3)]
    counts.note(snapshot_begun(number) for number in range(3))
    counts.note([snapshot_begun(2)])
    counts.present(apart)
    counts.note([snapshot_begun(1)])
    found = counts.present([cluster(server(0), server(1)), cluster(server(2), number=1)])
    assert {number: times for (_, number, _), times in found.items()} == {0: 2, 1: 3}


def snapshot_begun(number: int) -> Happening:
    (found,) = (one for one in happenings(captures.PCAPS / "s4-64k-canon-0.18.1.pcap") if one.kind == "snapshot_begun")
    return found._replace(cluster=number)


def test_text_from_the_wire_is_harmless(view: MetricsView) -> None:
    address = 'a"b\\\n\x1b[2J\u202e' + "x" * 1000
    view.beat(snapshot(cluster(server(1, address=address)), sources=(SourceState('e"\n\x1b0', 1, 0),)))
    found = Scrape(view)
    (labels,) = found.get("raft_dissect_server_info", cluster="1")
    assert labels[0].startswith('a"b\\\\n\\x1b[2J\\u202e'), labels
    assert len(labels[0]) == 200
    assert found.one("raft_dissect_received_packets_total", interface='e"\\n\\x1b0') == 1


# The capture itself


def test_what_the_kernel_dropped_is_told_of_each_interface(view: MetricsView) -> None:
    sources = (SourceState("eth0", 1000, 7), SourceState("eth1", 20, 0))
    view.beat(snapshot(sources=sources, packets=1020, bytes=99))
    found = Scrape(view)
    assert found.get("raft_dissect_received_packets_total") == {("eth0",): 1000, ("eth1",): 20}
    assert found.get("raft_dissect_dropped_packets_total") == {("eth0",): 7, ("eth1",): 0}
    assert (found.one("raft_dissect_packets_total"), found.one("raft_dissect_packet_bytes_total")) == (1020, 99)


def test_a_packet_that_is_missing_is_a_gap() -> None:
    """One AppendEntries is taken out, in the middle of its stream."""
    file = "noise-canon-0.18.1.pcap"
    sent = [one for one in captures.run_file(file).messages if one.type == table.APPEND_ENTRIES]
    lost = sent[len(sent) // 2].place.frame
    there = captures.packets(file)
    segment = tcp_of(there[lost - 1])
    assert segment is not None
    found = scraped([packet for packet in there if packet.frame != lost])
    assert found.one("raft_dissect_gaps_total") == 1
    assert scraped(there).one("raft_dissect_gaps_total") == 0


# The endpoint


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9290", Address("127.0.0.1", 9290)),
        ("127.0.0.1:9290", Address("127.0.0.1", 9290)),
        ("[::1]:9290", Address("::1", 9290)),
        ("0.0.0.0:80", Address("0.0.0.0", 80)),
        ("[::]:80", Address("::", 80)),
        ("[fe80::1%eth0]:80", Address("fe80::1%eth0", 80)),
        ("localhost:0", Address("localhost", 0)),
        ("metrics.example.org:9290", Address("metrics.example.org", 9290)),
    ],
)
def test_addresses_are_read(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "9290",
        "localhost",
        "127.0.0.1",
        "::1:9290",
        "[::1]",
        "[::1]9290",
        "[127.0.0.1]:1",
        "[name]:1",
        ":65536",
        ":-1",
        ":+1",
        ": 1",
        ":1 ",
        ":\u0661",
        ":1.5",
        "256.0.0.1:1",
        "1.2.3:1",
        "*:1",
        "a b:1",
        "-a:1",
        "http://a:1",
        "a:1/x",
    ],
)
def test_what_is_no_address_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        parse_address(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("example.org", False),
    ],
)
def test_it_is_known_who_can_connect(host: str, loopback: bool) -> None:
    assert Address(host, 1).is_loopback is loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_metrics_are_served_on_loopback(host: str) -> None:
    if ":" in host and not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback address")
    with MetricsView(Address(host, 0)) as view:
        assert view.address.port
        assert Scrape(view).one("raft_dissect_capturing") == 1


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_both_formats_give_the_same_series(view: MetricsView) -> None:
    Loop(Dissection(captures.PCAPS / "s4-64k-canon-0.18.1.pcap"), [view]).run()
    plain, other = Scrape(view), Scrape(view, accept="application/openmetrics-text; version=1.0.0")
    assert plain.content_type.startswith("text/plain")
    assert other.content_type.startswith("application/openmetrics-text; version=1.0.0")
    ours = [
        {one: value for one, value in found.values.items() if one[0].startswith("raft_")} for found in (plain, other)
    ]
    assert ours[0] == ours[1]


def test_one_metric_can_be_asked_for(view: MetricsView) -> None:
    view.beat(snapshot(packets=5))
    assert Scrape(view, "?name[]=raft_dissect_packets_total").values == {("raft_dissect_packets_total", frozenset()): 5}


def test_a_port_that_is_taken_is_told(view: MetricsView) -> None:
    with pytest.raises(MetricsError) as error:
        MetricsView(view.address)
    assert str(error.value) == f"metrics cannot be served at {view.address}: Address already in use"


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(MetricsError, match=r"at 192\.0\.2\.1:9290: Cannot assign requested address"):
        MetricsView(Address("192.0.2.1", 9290))


def test_what_to_install_is_told() -> None:
    """An installation without the extra has no prometheus_client."""
    program = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from raft_dissect.live.metrics import MetricsView, parse_address\n"
        "MetricsView(parse_address(':0'))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    error = "raft_dissect.live.metrics.view.MetricsError"
    assert run.stderr.splitlines()[-1] == f"{error}: metrics need a package more: pip install 'raft_dissect[live]'"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint waits a minute for its clients, so that whatever ends before that has another cause."""
    monkeypatch.setattr("raft_dissect.live.metrics.endpoint._SLOW_SECONDS", 60)


@pytest.mark.usefixtures("patient")
def test_nothing_is_left_when_it_is_closed() -> None:
    """Also with a client that has connected and says nothing."""
    threads = threading.active_count()
    view = MetricsView(ANYWHERE)
    with socket.create_connection(view.address) as silent:
        assert Scrape(view).values
        assert threading.active_count() > threads
        closing = threading.Thread(target=view.close)
        closing.start()
        closing.join(30)
        assert not closing.is_alive()
        assert silent.recv(1) == b""
    assert threading.active_count() == threads
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(view.address)
    view.close()


def test_an_error_of_the_loop_ends_the_endpoint() -> None:
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt), MetricsView(ANYWHERE):
        raise KeyboardInterrupt
    assert threading.active_count() == threads


def test_clients_that_speak_no_http_or_go_away_do_no_harm(view: MetricsView, capfd: pytest.CaptureFixture[str]) -> None:
    for said in (b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"DELETE / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n", b""):
        with socket.create_connection(view.address) as client:
            client.sendall(said)
    assert Scrape(view).one("raft_dissect_capturing") == 1
    view.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("patient")
def test_more_connections_than_anybody_needs_are_closed_at_once() -> None:
    with MetricsView(ANYWHERE) as view:
        clients = [socket.create_connection(view.address, timeout=30) for _ in range(33)]
        assert clients[-1].recv(1) == b""
        clients.pop().close()
        clients.pop().close()
        while True:  # the place is free as soon as the server has seen that
            with suppress(OSError):
                assert Scrape(view).one("raft_dissect_capturing") == 1
                break
        for client in clients:
            client.close()


# The table


def test_names_keep_to_the_conventions_of_prometheus() -> None:
    """See "Metric and label naming" in Prometheus's documentation."""
    for metric in METRICS:
        assert metric.name.startswith("raft_dissect_")
        assert metric.name.endswith("_total") == (metric.type == "counter")
        assert not metric.name.endswith(("_bucket", "_sum", "_count", "_created"))
        assert not {"job", "instance", "le", "quantile"} & set(metric.labels)
        assert metric.help.endswith(".")
        assert metric.type != "histogram" or metric.name.endswith("_seconds")
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@pytest.mark.parametrize("file", FILES)
def test_series_have_the_labels_of_the_table(file: str) -> None:
    found = of_file(file)
    labels = {metric.name: {*metric.labels} for metric in METRICS}
    for name, has in found.values:
        if not name.startswith("process_"):
            base = name if name in labels else name.rpartition("_")[0]
            assert {label for label, _ in has} - {"le"} == labels[base]


# The dashboard


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((captures.PCAPS.parent / "docs" / "grafana.json").read_text())
    return loaded


def queries() -> list[str]:
    """What the dashboard asks Prometheus, in its panels, its variables and its annotations."""
    found = dashboard()
    panels = [target["expr"] for panel in found["panels"] for target in panel.get("targets", ())]
    variables = [one["definition"] for one in found["templating"]["list"] if one["type"] == "query"]
    return panels + variables + [one["expr"] for one in found["annotations"]["list"] if "expr" in one]


def series_of_the_table() -> dict[str, set[str]]:
    """The labels of every name that a query can ask for."""
    found = {metric.name: {*metric.labels, "instance"} for metric in METRICS if metric.type != "histogram"}
    for metric in METRICS:
        if metric.type == "histogram":
            found |= {f"{metric.name}_{part}": {*metric.labels, "instance"} for part in ("sum", "count")}
            found[f"{metric.name}_bucket"] = {*metric.labels, "instance", "le"}
    return found


def test_the_dashboard_asks_for_what_there_is() -> None:
    known = series_of_the_table()
    for query in queries():
        asked = re.findall(r"(raft_dissect_\w+)(?:\{([^}]*)\})?", query)
        assert asked, query
        for name, labels in asked:
            assert name in known, query
            assert set(re.findall(r"(\w+)=~?\"", labels)) <= known[name], query


def test_the_dashboard_groups_and_names_series_by_labels_that_there_are() -> None:
    known = series_of_the_table()
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            there = set.intersection(*(known[name] for name in re.findall(r"raft_dissect_\w+", target["expr"])))
            grouped = {label for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in by.split(", ")}
            assert grouped <= there, target["expr"]
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= grouped, target["expr"]


def test_the_dashboard_shows_what_an_operator_asks_for() -> None:
    asked = {name for query in queries() for name in re.findall(r"raft_dissect_(\w+)", query)}
    assert asked >= {
        *("server_state", "cluster_term", "cluster_has_leader", "server_lag_entries", "server_heartbeat_age_seconds"),
        *("commit_seconds_count", "commit_seconds_bucket", "acknowledge_seconds_bucket"),
        *("elections_total", "rejections_total", "snapshots_total", "audit_findings_total"),
        *("packets_total", "dropped_packets_total", "gaps_total", "late_seconds"),
    }


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    """The parts of Grafana's dashboard model that a dashboard needs; panels lie beside each other on 24 columns."""
    found = dashboard()
    assert (found["id"], found["schemaVersion"]) == (None, 38)
    assert found["title"]
    places: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        at_ = panel["gridPos"]
        covered = set(product(range(at_["x"], at_["x"] + at_["w"]), range(at_["y"], at_["y"] + at_["h"])))
        assert at_["x"] + at_["w"] <= 24
        assert not covered & places, panel["title"]
        places |= covered
        if panel["type"] != "row":
            assert panel["targets"], panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert panel["description"], panel["title"]
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])
    assert {one["name"] for one in found["templating"]["list"]} == {"datasource", "instance", "cluster"}
