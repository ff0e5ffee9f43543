"""`live` beside clusters of other kinds and from other places: what it tells is what their servers logged."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.cluster import Cluster, DqliteCluster, needs_clusters
from tests.cluster.waiting import wait_for
from tests.command import run
from tests.live_process import Live
from tests.live_truth import SECOND, assert_told_as_logged, happenings, of
from tests.live_watching import assert_well_told, shared_folder, wait_until_told, watched

if TYPE_CHECKING:
    from tests.cluster.servers import Server
    from tests.live_watching import Watched

pytestmark = needs_clusters()


def test_dqlite_nodes_with_a_snapshot_and_a_transfer() -> None:
    with shared_folder() as folder, DqliteCluster(latency_ms=40, threshold=20, trailing=20) as cluster:
        file = folder / "live.pcapng"
        with Live(cluster.network, "-i", "br0", "--write", str(file)) as live:
            cluster.start(3)
            cluster.execute("CREATE TABLE numbers (n INTEGER)")
            last = cluster.wait_until_applied()
            cluster.kill(3)
            with cluster.connect(1) as client:
                client.open("test.db")
                wait_for(
                    "the need of a snapshot",
                    lambda: client.execute("INSERT INTO numbers VALUES (1)") and cluster.is_left_behind(3, last, 20),
                )
            cluster.restart(3)
            cluster.wait_until_applied()
            cluster.transfer(2)
            wait_for("the new leader", lambda: cluster.leader() == 2)
            cluster.execute("DELETE FROM numbers")
            cluster.wait_until_applied()
            wait_until_told(cluster, live)
            seen = watched(cluster, live, file)
        assert_well_told(seen)
    assert of(seen.lines, "snapshot_ended")
    assert [line["outcome"] for line in of(seen.lines, "transfer_ended")] == ["done"]


def test_pre_votes_over_ipv6_on_all_ports_of_the_bridge() -> None:
    """Each packet passes two of the interfaces; nothing is told, or counted, twice."""
    with shared_folder() as folder, Cluster(pre_vote=True, ip_version=6) as cluster:
        file = folder / "live.pcapng"
        for host in (1, 2, 3):
            cluster.network.add(host)
        with Live(cluster.network, "-i", "veth*", "--write", str(file)) as live:
            leader = cluster.start(3)
            cluster.apply(10)
            cluster.wait_until_applied()
            cluster.kill(leader)
            cluster.wait_for_leader()
            cluster.restart(leader)
            cluster.wait_until_applied()
            wait_until_told(cluster, live)
            seen = watched(cluster, live, file)
        assert_well_told(seen)
    assert any(line["pre_vote"] for line in of(seen.lines, "election_begun"))
    summary = seen.lines[-1]
    assert count(seen, "received", summary["time_ns"]) <= sum(summary["messages"].values())
    assert sum(summary["messages"].values()) <= count(seen, "send", summary["time_ns"])


def count(seen: Watched, event: str, until_ns: int) -> int:
    return sum(record["event"] == event and record["t"] <= until_ns for log in seen.logs.values() for record in log)


class OneHost(Cluster):
    """A cluster in the namespace of the hub, where servers are at ports 9001, 9002 ... of the loopback interface."""

    def address(self, id_: int) -> str:
        return f"127.0.0.1:{9000 + id_}"

    def _start_in_namespace(self, id_: int, program: Server) -> None:
        program.command = [*self.network.command(0), *program.command[len(self.network.command(id_)) :]]
        (program.folder / "data").mkdir(parents=True)
        self.servers[id_] = program
        self._undo.callback(program.kill)
        program.start()


def test_servers_on_one_host_are_told_from_each_other() -> None:
    with shared_folder() as folder, OneHost() as cluster:
        file = folder / "live.pcapng"
        with Live(cluster.network, "-i", "lo", "--write", str(file)) as live:
            leader = cluster.start(3)
            cluster.apply(10)
            cluster.wait_until_applied()
            cluster.kill(leader)
            cluster.wait_for_leader()
            cluster.apply(1)
            wait_until_told(cluster, live)
            seen = watched(cluster, live, file)
        assert (seen.code, seen.errors) == (0, "")
        assert_told_as_logged(seen.lines, seen.logs, {id_: [cluster.address(id_)] for id_ in seen.logs})
        assert not seen.too_late
        assert run("events", "--json", str(file)).records == happenings(seen.lines)
    summary = seen.lines[-1]
    assert count(seen, "received", summary["time_ns"]) <= sum(summary["messages"].values())
    assert sum(summary["messages"].values()) <= count(seen, "send", summary["time_ns"])


def test_live_that_begins_while_a_cluster_works() -> None:
    """Servers are called by their hosts until packets tell their ids.

    A stream whose beginning was not captured is held back for a second, since its first packets may be out of order.
    """
    with shared_folder() as folder, Cluster() as cluster:
        file = folder / "live.pcapng"
        first = cluster.start(3)
        cluster.load(100, 64)
        with Live(cluster.network, "-i", "br0", "--write", str(file)) as live:
            since_ns = time.time_ns()
            live.wait_for("the leader", lambda lines: of(lines, "leader"))
            live.wait_for("all servers", lambda lines: len(of(lines, "server")) == 3)
            met = live.lines
            cluster.kill(first)
            cluster.wait_for_leader()
            cluster.load_off()
            cluster.restart(first)
            cluster.wait_until_applied()
            wait_until_told(cluster, live)
            seen = watched(cluster, live, file, 2 * SECOND)
        assert_well_told(seen, since_ns)
    hosts = {cluster.network.ip(id_) for id_ in (1, 2, 3)}
    assert {(line["id"], line["name"]) for line in of(met, "server")} == {(None, host) for host in hosts}
    assert [line["leader"] for line in of(met, "leader")] == [cluster.network.ip(first)]
    assert {line["id"] for line in of(seen.lines, "server")} == {None, 1, 2, 3}
    assert [line["server"] for line in of(seen.lines, "restart")] == [first]
