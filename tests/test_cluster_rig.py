"""The clusters that tests run: what their servers log is what happened, as packets between them show it too."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from raft_dissect import Message, Packet, analyze, messages
from raft_dissect.capture import open_capture
from tests.cluster import Cluster, DqliteCluster, Network, ServerError, needs_clusters
from tests.cluster.dqlite_client import DqliteError
from tests.cluster.needs import has_iptables
from tests.cluster.network import namespaces
from tests.cluster.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.report import Report
    from tests.cluster.rig import Rig
    from tests.cluster.servers import Record

pytestmark = needs_clusters()

SLACK_NS = 50_000_000
"""What was under way when servers were parted has come by then, and no election is over."""
OURS = f"raft-{os.getpid()}-"
"""How the namespaces of this process's networks begin."""


class Run(NamedTuple):
    """What became of a cluster: the report of what was captured, and what its servers logged."""

    report: Report
    messages: list[Message]
    logs: dict[int, list[Record]]

    @property
    def facts(self) -> ClusterFacts:
        (facts,) = self.report.clusters
        return facts

    def logged(self, *events: str) -> list[Record]:
        """Records of all servers in the order of time, each with `server`."""
        found = [{**r, "server": server} for server, log in self.logs.items() for r in log if r["event"] in events]
        return sorted(found, key=lambda record: record["t"])

    def messages_logged(self, event: str) -> Counter[tuple[int, int, str]]:
        """How many messages each server logged, by sender, receiver and type: of `send`, `sent` or `received`."""
        found: Counter[tuple[int, int, str]] = Counter()
        for server, log in self.logs.items():
            for record in log:
                if record["event"] == event:
                    there = record["peer"], server
                    sender, receiver = there if event == "received" else there[::-1]
                    found[sender, receiver, name(record["type"])] += 1
        return found


def name(logged: str) -> str:
    """The name of a message type as reports have it."""
    return "".join(word.capitalize() for word in logged.split("_"))


def observed(rig: Rig[Any], path: Path) -> Run:
    """Read what was captured of a cluster, and what it logged."""
    found = [event for event in messages([str(path)]) if isinstance(event, Message)]
    return Run(analyze([str(path)]), found, {id_: rig.log(id_) for id_ in rig.servers})


def states(run: Run, state: str) -> set[tuple[int, int]]:
    """Each (term, server) in this state."""
    return {(record["term"], record["server"]) for record in run.logged("state") if record["state"] == state}


def terms(run: Run) -> set[tuple[int, int]]:
    """Each (server, term) that a server was in."""
    return {(record["server"], record["term"]) for record in run.logged("state")}


def assert_reported_as_logged(run: Run) -> None:
    """Terms, leaders, votes, rejections, snapshots and the number of messages are in the packets as in the logs."""
    facts = run.facts
    assert {(leader.term, leader.leader) for leader in facts.leaders} == states(run, "leader")
    assert {(change.server, change.new) for change in facts.term_changes} <= terms(run)
    on_the_wire = Counter({(t.sender, t.receiver, kind): n for t in facts.traffic for kind, n in t.messages.items()})
    assert run.messages_logged("received") <= on_the_wire <= run.messages_logged("send")
    refused = Counter((r.kind, r.by, r.of) for r in facts.rejections)
    assert refusals(run, "received", 1) <= refused <= refusals(run, "send", 0)
    restored = {(r["server"], r["index"]) for r in run.logged("snapshot_restored")}
    loaded = {(r["server"], r["snapshot_index"]) for r in run.logged("loaded") if r["snapshot_index"]}
    given = {(r["server"], r["last_index"]) for r in run.logged("received") if r["type"] == "install_snapshot"}
    assert {(snapshot.follower, snapshot.last_index) for snapshot in facts.snapshots} == given
    installed = {(s.follower, s.last_index) for s in facts.snapshots if s.outcome == "installed"}
    assert restored - loaded <= installed


def refusals(run: Run, event: str, at_peer: int) -> Counter[tuple[str, int, int]]:
    """The results that say no, by what they refuse, who refuses, and whom; `at_peer` when the others logged them."""
    found: Counter[tuple[str, int, int]] = Counter()
    for record in run.logged(event):
        pair = (record["server"], record["peer"])[:: -1 if at_peer else 1]
        if record["type"] == "append_entries_result" and record["rejected"]:
            found["append_entries", *pair] += 1
        elif record["type"] == "request_vote_result" and not record["vote_granted"]:
            found["pre_vote" if record["pre_vote"] else "request_vote", *pair] += 1
    return found


# What servers log, and what their packets show


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Load, a leader that is killed and comes back to a snapshot, a transfer, a server more, and one less."""
    path = tmp_path_factory.mktemp("lively") / "all.pcap"
    with Cluster(threshold=100, trailing=20, snapshot_size=100_000) as cluster:
        with cluster.network.capture(path):
            first = cluster.start(3)
            cluster.load(200, 100)
            cluster.apply(20)
            last = cluster.state(first)["last_index"] + 50  # the load goes on until it is killed
            cluster.kill(first)
            second = cluster.wait_for_leader()
            cluster.apply(300)
            wait_for("the need of a snapshot", lambda: cluster.is_left_behind(first, last, 20))
            cluster.restart(first)
            cluster.load_off()
            cluster.wait_until_applied()
            (third,) = {1, 2, 3} - {first, second}
            cluster.transfer(third)
            cluster.add(4)
            cluster.remove(second)
            cluster.stop(second)
            cluster.wait_until_applied()
            for server in cluster.running():
                cluster.stop(server)
        return observed(cluster, path)


def test_report_of_packets_tells_what_servers_logged(lively: Run) -> None:
    assert len(states(lively, "leader")) >= 3
    assert lively.logged("snapshot_restored")
    assert_reported_as_logged(lively)
    assert not lively.report.capture.diagnosed


def test_transfer_is_logged_as_packets_show_it(lively: Run) -> None:
    (asked,), (done,) = lively.logged("transfer_requested"), lively.logged("transfer_done")
    (transfer,) = lively.facts.transfers
    assert done["ok"]
    assert (transfer.leader, transfer.target, transfer.outcome) == (asked["server"], asked["to"], "done")
    assert asked["t"] < transfer.place.time_ns < done["t"]


def test_changes_of_the_configuration_are_logged_as_packets_show_them(lively: Run) -> None:
    done = lively.logged("change_done")
    assert [(change["kind"], change["ok"]) for change in done] == [("add", True), ("assign", True), ("remove", True)]
    changes = [configuration.change for configuration in lively.facts.configurations]
    assert changes == ["bootstrap", "added", "promoted", "removed"]
    last = lively.logs[4][-1 - [r["event"] for r in reversed(lively.logs[4])].index("configuration")]
    configuration = lively.facts.configuration
    assert configuration is not None
    assert {(s["id"], s["address"]) for s in last["servers"]} == {(s.id, s.address) for s in configuration.servers}


def test_messages_are_logged_between_the_packets_before_and_behind(lively: Run) -> None:
    """Each message is on the wire after its sender called for that, and before its receiver took it."""
    kinds = ("install_snapshot", "timeout_now")
    for kind in kinds:
        calls = [r for r in lively.logged("send") if r["type"] == kind]
        taken = [r for r in lively.logged("received") if r["type"] == kind]
        seen = [m for m in lively.messages if m.name == name(kind)]
        assert len(calls) == len(seen) == len(taken) > 0
        for call, message, receipt in zip(calls, seen, taken, strict=True):
            assert call["t"] < message.first.time_ns <= message.place.time_ns < receipt["t"]


def test_each_server_logs_its_beginning_and_its_end(lively: Run) -> None:
    for log in lively.logs.values():
        ends = [record["event"] for record in log if record["event"] in ("started", "stopped")]
        assert ends[0] == "started"
        assert ends[-1] == "stopped"
        assert ends in (["started", "stopped"], ["started", "started", "stopped"])  # the latter was killed once
        assert [record["t"] for record in log] == sorted(record["t"] for record in log)


def test_pre_votes_and_packets_of_ipv6(tmp_path: Path) -> None:
    path = tmp_path / "all.pcap"
    with Cluster(pre_vote=True, ip_version=6) as cluster:
        with cluster.network.capture(path):
            leader = cluster.start(3)
            cluster.apply(10)
            cluster.kill(leader)
            cluster.wait_for_leader()
            cluster.restart(leader)
            cluster.wait_until_applied()
            for server in cluster.running():
                cluster.stop(server)
        run = observed(cluster, path)
    assert_reported_as_logged(run)
    assert any(record["in_pre_vote"] for record in run.logged("state"))
    assert any(election.pre_vote for election in run.facts.elections)
    assert all(":" in message.stream.source.host for message in run.messages)


# What befalls clusters

WAYS = ["bridge", "link", *(["drop"] if has_iptables() else [])]


@pytest.mark.parametrize("way", [*WAYS, "switch"])
def test_parted_leader_is_heard_of_no_more(way: str) -> None:
    with Cluster(switched=way == "switch") as cluster:
        old = cluster.start(3)
        cluster.apply(5)
        cluster.wait_until_applied()
        rest = {1, 2, 3} - {old}
        cluster.partition([old], "" if way == "switch" else way)
        parted = time.time_ns()
        new = cluster.wait_for_leader(among=rest)
        cluster.servers[new].do("apply 5 64")
        wait_for("the end of its leadership", lambda: cluster.state(old)["state"] != "leader")
        assert cluster.state(old)["commands"] == 5
        assert not heard(cluster, old, parted + SLACK_NS)
        assert heard(cluster, new, parted + SLACK_NS) == rest - {new}
        cluster.heal()
        cluster.apply(1)
        cluster.wait_until_applied()
        assert {cluster.state(id_)["commands"] for id_ in (1, 2, 3)} == {11}
        assert len({cluster.state(id_)["digest"] for id_ in (1, 2, 3)}) == 1


def test_group_that_is_parted_goes_on_among_itself() -> None:
    with Cluster() as cluster:
        leader = cluster.start(5)
        friend = leader % 5 + 1
        rest = {1, 2, 3, 4, 5} - {leader, friend}
        cluster.partition([leader, friend])
        parted = time.time_ns()
        cluster.wait_for_leader(among=rest)
        wait_for("a word from the leader", lambda: leader in heard(cluster, friend, parted))
        assert heard(cluster, friend, parted + SLACK_NS) <= {leader}
        assert heard(cluster, leader, parted + SLACK_NS) <= {friend}


def heard(cluster: Cluster, id_: int, since_ns: int) -> set[int]:
    """Those whose messages a server received from then on."""
    return {record["peer"] for record in cluster.log(id_, "received") if record["t"] > since_ns}


def test_one_direction_is_cut_and_the_other_is_not() -> None:
    with Network() as network:
        network.add(1)
        network.add(2)
        with listening(network, 1) as one, listening(network, 2) as two:
            exchange(network, one, two)
            if not has_iptables():
                with pytest.raises(OSError, match="iptables"):
                    network.cut(1, 2)
                return
            network.cut(1, 2)
            one.sendto(b"lost", address(network, 2))
            two.sendto(b"there", address(network, 1))
            assert one.recv(100) == b"there"
            network.heal()
            one.sendto(b"healed", address(network, 2))
            assert two.recv(100) == b"healed"


def test_paused_leader_comes_back_as_a_follower() -> None:
    with Cluster() as cluster:
        old = cluster.start(3)
        cluster.pause(old)
        assert old not in cluster.running()
        new = cluster.wait_for_leader()
        assert new != old
        cluster.resume(old)
        cluster.apply(1)
        cluster.wait_until_applied()
        assert (cluster.state(old)["state"], cluster.state(old)["leader"]) == ("follower", cluster.leader())


def test_server_comes_back_at_another_port(tmp_path: Path) -> None:
    path = tmp_path / "all.pcap"
    with Cluster() as cluster:
        leader = cluster.start(3)
        cluster.apply(5)
        moved = leader % 3 + 1
        cluster.kill(moved)
        with cluster.network.capture(path):
            cluster.remove(moved)
            cluster.restart(moved, port=9100)
            cluster.add(moved)
            cluster.apply(5)
            cluster.wait_until_applied()
        servers = {server["id"]: server["address"] for server in cluster.state(moved)["servers"]}
        assert servers[moved] == f"{cluster.network.ip(moved)}:9100"
    ports = {message.stream.destination.port for message in messages([str(path)]) if isinstance(message, Message)}
    assert ports == {9000, 9100}


def test_load_is_applied_everywhere_in_the_same_order() -> None:
    with Cluster(threshold=500, trailing=100) as cluster:
        leader = cluster.start(3)
        cluster.load(None, 1001)
        wait_for("1000 entries", lambda: cluster.state(leader)["commands"] >= 1000)
        cluster.load_off()
        cluster.wait_until_applied()
        for state in (cluster.state(id_) for id_ in (1, 2, 3)):
            assert state["commands"] == cluster.state(leader)["load_applied"] >= 1000
            assert state["digest"] == cluster.state(leader)["digest"]
        sent = [r for r in cluster.log(leader, "send") if r["type"] == "append_entries" and r["n_entries"]]
        commands = [r["bytes"] / r["n_entries"] for r in sent if r["n_entries"] == 1]
        assert set(commands) == {1008}, "sizes are multiples of 8, as libraft's receivers need them"
        assert cluster.log(leader, "snapshot_taken")


def test_server_says_why_it_cannot_do_something() -> None:
    with Cluster() as cluster:
        leader = cluster.start(2)
        other = 3 - leader
        with pytest.raises(ServerError, match="not the leader"):
            cluster.servers[other].do("apply 1 8")
        with pytest.raises(ServerError, match="ID is not valid"):
            cluster.transfer(7)
        with pytest.raises(ServerError, match="no such command"):
            cluster.servers[leader].do("sing")
        (done,) = cluster.log(leader, "transfer_done")
        assert (done["to"], done["ok"]) == (7, False)


def test_server_that_does_not_start_says_why() -> None:
    with Cluster() as cluster, pytest.raises(ServerError, match=r"exit code 1.*--bootstrap"):
        cluster.spawn(1, bootstrap="nonsense")


# The switch


class Passed(NamedTuple):
    """Numbered datagrams from host 1 to host 2, at the switch's two ports, and what it says of them."""

    taken: list[tuple[int, int]]
    """Number and time in nanoseconds."""
    given: list[tuple[int, int]]
    back: list[tuple[int, int]]
    """Those from host 2 to host 1, which the switch was told nothing of."""
    counts: dict[str, int]

    @property
    def numbers(self) -> list[int]:
        return [number for number, _ in self.given]


def pass_through(folder: Path, seed: int = 1, datagrams: int = 200, **rule: float) -> Passed:
    """Send datagrams through a switch, one behind the other without a pause, in both directions."""
    with Network(switched=True, seed=seed) as network:
        network.add(1)
        network.add(2)
        assert network.switch is not None
        with listening(network, 1) as one, listening(network, 2) as two:
            exchange(network, one, two)
            before = network.switch.statistics(1, 2)
            network.switch.set(1, 2, **rule)
            first, second = folder / "first.pcap", folder / "second.pcap"
            with network.capture(first, network.port(1)), network.capture(second, network.port(2)):
                for number in range(datagrams):
                    one.sendto(b"number %d" % number, address(network, 2))
                    two.sendto(b"number %d" % number, address(network, 1))
                after = wait_for("all of them", lambda: settled(network, before, datagrams))
            there = numbered(first)
            return Passed(there[1], numbered(second)[1], there[2], {k: after[k] - before[k] for k in after})


def settled(network: Network, before: dict[str, int], datagrams: int) -> dict[str, int] | None:
    """The switch's counts, when it has no datagram left."""
    assert network.switch is not None
    counts = network.switch.statistics(1, 2)
    done = counts["forwarded"] + counts["lost"] - before["forwarded"] - before["lost"]
    return counts if done == datagrams else None


def listening(network: Network, host: int) -> socket.socket:
    opened = network.socket(host, socket.AF_INET, socket.SOCK_DGRAM)
    opened.settimeout(5)
    opened.bind(address(network, host))
    return opened


def address(network: Network, host: int) -> tuple[str, int]:
    return network.ip(host), 7777


def exchange(network: Network, one: socket.socket, two: socket.socket) -> None:
    """A datagram in each direction, so that both know the other's hardware address."""
    one.sendto(b"hello", address(network, 2))
    assert two.recv(100) == b"hello"
    two.sendto(b"hello", address(network, 1))
    assert one.recv(100) == b"hello"


def numbered(path: Path) -> dict[int, list[tuple[int, int]]]:
    """The numbers of datagrams and their times in nanoseconds, by the host that sent them, in the order captured."""
    found: dict[int, list[tuple[int, int]]] = {1: [], 2: []}
    with open_capture([str(path)]) as capture:
        for packet in capture:
            if isinstance(packet, Packet) and b"number " in packet.data:
                text = packet.data.partition(b"number ")[2]
                found[packet.data[11]].append((int(text), packet.time_ns))
    return found


def test_switch_forwards_everything_in_order(tmp_path: Path) -> None:
    passed = pass_through(tmp_path)
    assert passed.numbers == [number for number, _ in passed.taken] == list(range(200))
    assert passed.counts == {"taken": 200, "forwarded": 200, "lost": 0, "delayed": 0, "reordered": 0}


def test_switch_loses_what_it_was_told_to_in_one_direction(tmp_path: Path) -> None:
    passed = pass_through(tmp_path, loss=0.3)
    assert len(passed.taken) == 200
    assert passed.numbers == sorted(passed.numbers)
    assert passed.counts["lost"] == 200 - len(passed.given)
    assert 30 <= passed.counts["lost"] <= 90  # 60 are expected, with a standard deviation of 6.5
    assert len(passed.back) == 200


def test_same_seed_has_the_same_packets_lost(tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate((5, 5, 6)):
        folder = tmp_path / str(number)
        folder.mkdir()
        found.append(pass_through(folder, seed, loss=0.3).numbers)
    assert found[0] == found[1] != found[2]


def test_switch_delays_each_packet(tmp_path: Path) -> None:
    passed = pass_through(tmp_path, delay=0.05)
    assert passed.numbers == list(range(200))
    taken = dict(passed.taken)
    assert all(time_ns - taken[number] >= 50_000_000 for number, time_ns in passed.given)
    assert passed.counts["delayed"] == 200


def test_switch_lets_packets_be_overtaken_by_the_next_one(tmp_path: Path) -> None:
    passed = pass_through(tmp_path, reorder=0.2)
    assert sorted(passed.numbers) == list(range(200))
    overtaken = [b for a, b in zip(passed.numbers, passed.numbers[1:], strict=False) if b < a]
    assert 15 <= len(overtaken) <= passed.counts["reordered"] <= len(overtaken) + 1  # the last one has no next one
    for number in overtaken:
        assert passed.numbers[passed.numbers.index(number) - 1] == number + 1


def test_jitter_reorders_and_loses_nothing(tmp_path: Path) -> None:
    passed = pass_through(tmp_path, jitter=0.02)
    assert sorted(passed.numbers) == list(range(200)) != passed.numbers


def test_cluster_works_behind_a_bad_switch(tmp_path: Path) -> None:
    path = tmp_path / "port.pcap"
    with Cluster(switched=True, election_ms=1000, seed=3) as cluster:
        switch = cluster.network.switch
        assert switch is not None
        cluster.network.add(1)
        with cluster.network.capture(path, cluster.network.port(1)):
            if cluster.start(3) != 1:
                cluster.transfer(1)
            switch.set_all(loss=0.05, delay=0.002, jitter=0.004, reorder=0.05)
            cluster.load(500, 2000)
            wait_for("200 entries", lambda: cluster.state(1)["commands"] >= 200)
            cluster.load_off()
            switch.heal()
            cluster.wait_until_applied()
        assert len({cluster.state(id_)["digest"] for id_ in (1, 2, 3)}) == 1
        assert switch.statistics(1, 2)["lost"] > 0
    (facts,) = analyze([str(path)]).clusters
    assert sum(fact.retransmissions for fact in facts.paths if fact.sender == 1) > 0


# dqlite


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[int, list[tuple[object, ...]]]]:
    """Rows, a node that was killed and comes back to a snapshot, a transfer; and the rows that each node has."""
    path = tmp_path_factory.mktemp("dqlite") / "all.pcap"
    with DqliteCluster(latency_ms=40, threshold=20, trailing=20) as cluster:
        with cluster.network.capture(path):
            cluster.start(3)
            cluster.execute("CREATE TABLE numbers (n INTEGER, name TEXT)")
            with cluster.connect(1) as client:
                client.open("test.db")
                assert client.execute("INSERT INTO numbers VALUES (?, ?), (?, ?)", 1, "one", 2, None) == 2
                last = cluster.wait_until_applied()
                cluster.kill(3)
                for number in itertools.count(3):
                    assert client.execute("INSERT INTO numbers VALUES (?, 'x')", number) == 1
                    if number >= 60 and cluster.is_left_behind(3, last, 20):
                        break
                assert client.query("SELECT count(*), max(n) FROM numbers") == [(number, number)]
            cluster.restart(3)
            cluster.wait_until_applied()
            cluster.transfer(2)
            wait_for("the new leader", lambda: cluster.leader() == 2)
            cluster.execute("DELETE FROM numbers WHERE n > 50")
            cluster.wait_until_applied()
            rows = {id_: cluster.rows(id_, "SELECT n, name FROM numbers ORDER BY n") for id_ in (1, 2, 3)}
            for node in (1, 2, 3):
                cluster.stop(node)
        return observed(cluster, path), rows


Database = tuple[Run, dict[int, list[tuple[object, ...]]]]


def test_rows_are_on_all_dqlite_nodes(database: Database) -> None:
    _, rows = database
    assert rows[1] == rows[2] == rows[3] == [(1, "one"), (2, None), *((n, "x") for n in range(3, 51))]


def test_packets_of_dqlite_show_what_its_nodes_logged(database: Database) -> None:
    run, _ = database
    assert run.logged("snapshot_restored")
    assert_reported_as_logged(run)
    assert {handshake.kind for m in run.messages if (handshake := m.stream.handshake)} == {"dqlite"}
    assert [(t.leader, t.target, t.outcome) for t in run.facts.transfers] == [(1, 2, "done")]
    assert "dqlite_client" in run.report.capture.other_streams


def test_dqlite_nodes_take_roles_and_are_removed() -> None:
    with DqliteCluster() as cluster:
        cluster.start(2)
        cluster.add(3, "standby")
        with cluster.connect(1) as client:
            assert client.leader() == (1, cluster.address(1))
            roles = [(id_, role) for id_, _, role in client.nodes()]
            assert roles == [(1, "voter"), (2, "voter"), (3, "standby")]
            with pytest.raises(DqliteError):
                client.transfer(9)
        cluster.remove(3)
        with cluster.connect(1) as client:
            assert [id_ for id_, _, _ in client.nodes()] == [1, 2]


# Captures


def test_capture_has_all_of_a_burst(tmp_path: Path) -> None:
    path = tmp_path / "all.pcap"
    with Network() as network:
        network.add(1)
        network.add(2)
        with listening(network, 1) as one, listening(network, 2) as two:
            exchange(network, one, two)
            with network.capture(path):
                for number in range(3000):
                    one.sendto(b"number %d" % number, address(network, 2))
    assert [number for number, _ in numbered(path)[1]] == list(range(3000))


def test_capture_says_why_it_cannot_begin(tmp_path: Path) -> None:
    with Network() as network, pytest.raises(OSError, match=r"tcpdump on nowhere: .*nowhere"):
        network.capture(tmp_path / "none.pcap", "nowhere").__enter__()


def test_capture_that_misses_packets_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.cluster.capturing.BUFFER_KIB", 4)
    with Network() as network:
        network.add(1)
        with listening(network, 1) as one:
            capture = network.capture(tmp_path / "all.pcap").__enter__()
            for _ in range(20_000):
                one.sendto(bytes(1000), (network.ip(0), 9))
            with pytest.raises(OSError, match=r"\d+ packets were dropped"):
                capture.__exit__(None, None, None)


# Nothing is left behind


def descriptors() -> set[str]:
    """What this process has open, pipes and sockets by their numbers."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.add(link.readlink().name)
    return found


def left(pids: Iterable[int]) -> list[int]:
    """The processes of these that are there."""
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("failing", [False, True], ids=["well", "failing"])
@pytest.mark.parametrize("kind", [Cluster, DqliteCluster])
def test_nothing_is_left_of_a_cluster(kind: type[Rig[Any]], failing: bool, tmp_path: Path) -> None:
    before = descriptors()
    pids = []
    with suppress(ZeroDivisionError), kind() as cluster:
        assert isinstance(cluster, Cluster | DqliteCluster)
        with cluster.network.capture(tmp_path / "all.pcap"):
            cluster.start(2)
            cluster.pause(2)
            assert len(namespaces(OURS)) == 3
            pids = [server.pid for server in cluster.servers.values()]
            assert left(pids) == pids
            folder = cluster.folder
            if failing:
                _ = 1 / 0
    assert not left(pids)
    assert not namespaces(OURS)
    assert not folder.exists()
    assert descriptors() == before


def test_nothing_is_left_of_a_network_with_a_switch() -> None:
    before = descriptors()
    with Network(switched=True) as network:
        network.add(1)
        assert len(namespaces(OURS)) == 2
    assert not namespaces(OURS)
    assert descriptors() == before


@pytest.fixture
def orphan() -> Iterator[subprocess.Popen[str]]:
    """A process that runs a cluster, and prints the ids of its servers' processes."""
    program = """
        from tests.cluster import Cluster
        with Cluster(switched=True) as cluster:
            cluster.start(2)
            pids = [server.pid for server in cluster.servers.values()]
            print(cluster.folder, cluster.network.switch.pid, *pids, flush=True)
            input()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()
    for namespace in namespaces(f"raft-{process.pid}-"):
        subprocess.run(["ip", "netns", "delete", namespace], check=True)


def test_servers_end_with_the_process_that_started_them(orphan: subprocess.Popen[str]) -> None:
    assert orphan.stdout is not None
    folder, *numbers = orphan.stdout.readline().split()
    pids = [int(number) for number in numbers]
    assert left(pids) == pids
    orphan.send_signal(signal.SIGKILL)
    wait_for("the end of the servers", lambda: not left(pids))
    assert folder.startswith(tempfile.gettempdir())
    subprocess.run(["rm", "-r", folder], check=True)
