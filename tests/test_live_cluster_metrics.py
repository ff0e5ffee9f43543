"""`live --metrics` beside a real cluster: Prometheus reads what the lines tell, and what the servers logged."""

from __future__ import annotations

import http.client
import socket
from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from tests.cluster import Cluster, needs_clusters
from tests.cluster.waiting import wait_for
from tests.live_process import Live
from tests.live_truth import happenings, of

if TYPE_CHECKING:
    from tests.cluster import Network

pytestmark = needs_clusters()

PORT = 9290
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(network: Network) -> Samples:
    """All samples, by name and labels; the endpoint listens in the namespace of the hub."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    connection.sock = network.socket(0, socket.AF_INET, socket.SOCK_STREAM)
    connection.sock.connect(("127.0.0.1", PORT))
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    families = text_string_to_metric_families(text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def value(samples: Samples, name: str, **labels: object) -> float:
    """The sum of all samples of a name that have these labels."""
    wanted = {(label, str(text)) for label, text in labels.items()}
    return sum(number for (called, has), number in samples.items() if called == name and wanted <= has)


def test_metrics_say_what_lines_tell_and_servers_logged() -> None:
    with Cluster() as cluster:
        network = cluster.network
        with Live(network, "-i", "br0", "--metrics", f":{PORT}", "--user", "root") as live:
            first = cluster.start(3)
            cluster.apply(20)
            cluster.wait_until_applied()
            cluster.kill(first)
            second = cluster.wait_for_leader()
            cluster.apply(10)
            last = cluster.wait_until_applied()
            live.wait_for("the second leader", lambda lines: len(of(lines, "leader")) == 2)
            before = Counter(line["event"] for line in happenings(live.lines))
            samples = wait_for("all entries", lambda: _with(scraped(network), second, last))
            live.end()
        terms = {id_: max(one["term"] for one in cluster.log(id_, "state")) for id_ in cluster.servers}
    name = "raft_dissect_server_term"
    assert {id_: value(samples, name, server=id_) for id_ in terms} == {**terms, first: terms[first]}
    for id_ in terms:
        leads = value(samples, "raft_dissect_server_state", server=id_, state="leader")
        assert leads == (id_ == second)
    after = Counter(line["event"] for line in happenings(live.lines))
    counted = Counter({kind: value(samples, "raft_dissect_events_total", kind=kind) for kind in after})
    assert before <= counted <= after
    assert before["leader_ended"] == 1
    assert value(samples, "raft_dissect_leaderships_total") == len(of(live.lines, "leader")) == 2
    assert value(samples, "raft_dissect_rejections_total") == len(of(live.lines, "rejection"))
    assert value(samples, "raft_dissect_dropped_packets_total") == 0


def _with(samples: Samples, leader: int, last: int) -> Samples | None:
    return samples if value(samples, "raft_dissect_server_last_index", server=leader) == last else None
