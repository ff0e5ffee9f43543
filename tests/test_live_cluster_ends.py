"""How `live` ends beside a cluster, and what it says when packets are lost: nothing that servers did not do."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cluster import Cluster, needs_clusters
from tests.cluster.waiting import wait_for
from tests.command import COMMAND, environment, run
from tests.live_process import Live
from tests.live_truth import Truth, assert_told_as_logged, happenings, of
from tests.live_watching import shared_folder, wait_until_told, watched

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live_process import Line

pytestmark = needs_clusters()


def packets_in(path: Path) -> int:
    """How many packets capinfos counts in a file, which must be whole."""
    done = subprocess.run(["capinfos", "-Mc", str(path)], capture_output=True, text=True, check=True)
    assert "cut short" not in done.stderr
    return int(done.stdout.split("Number of packets:")[1].split()[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("suffix", ["pcap", "pcapng"])
def test_signal_in_the_midst_of_traffic_ends_it_with_all_packets(number: signal.Signals, suffix: str) -> None:
    with shared_folder() as folder, Cluster() as cluster:
        file = folder / f"live.{suffix}"
        with Live(cluster.network, "-i", "br0", "--write", str(file)) as live:
            cluster.start(3)
            cluster.load(1000, 200)
            live.wait_for("the leader", lambda lines: of(lines, "leader"))
            live.end(number)
            cluster.load_off()
        assert (live.code, live.errors) == (0, "")
        summary = live.lines[-1]
        assert summary["event"] == "summary"
        assert [line["event"] for line in live.lines].count("summary") == 1
        assert packets_in(file) == summary["packets"] == summary["sources"][0]["received"]
        assert summary["sources"][0]["dropped"] == 0
        assert run("events", "--json", str(file)).records == happenings(live.lines)


@pytest.mark.parametrize("gone", ["interface", "namespace"])
def test_interface_that_goes_away_ends_it(gone: str) -> None:
    with shared_folder() as folder, Cluster() as cluster:
        network, file = cluster.network, folder / "live.pcapng"
        network.add(1)
        host, interface = (1, "eth0") if gone == "namespace" else (0, network.port(1))
        with Live(network, "-i", interface, "--write", str(file), host=host) as live:
            cluster.start(3)
            live.wait_for("the leader", lambda lines: of(lines, "leader"))
            if gone == "interface":
                subprocess.run([*network.command(0), "ip", "link", "delete", interface], check=True)
            else:
                # The namespace is there as long as somebody is in it: its interface goes with its other end.
                subprocess.run(["ip", "netns", "delete", network.hub], check=True)
                subprocess.run(["ip", "netns", "add", network.hub], check=True)
            live.wait()
        assert live.code == 0
        assert f"{interface} is gone" in json.dumps(of(live.lines, "diagnostic"))
        assert live.lines[-1]["event"] == "summary"
        assert packets_in(file) == live.lines[-1]["packets"]


def test_lost_and_reordered_packets_make_no_events() -> None:
    """At one port of a switch segments come twice, late, or never: TCP makes up for it, and servers see nothing."""
    with shared_folder() as folder, Cluster(switched=True, election_ms=1000, seed=3) as cluster:
        network, file = cluster.network, folder / "live.pcapng"
        assert network.switch is not None
        for host in (1, 2, 3):
            network.add(host)
        with Live(network, "-i", "veth*", "--write", str(file)) as live:
            leader = cluster.start(3)
            network.switch.set_all(loss=0.05, delay=0.002, jitter=0.004, reorder=0.05)
            cluster.load(500, 2000)
            wait_for("200 entries", lambda: cluster.state(leader)["commands"] >= 200)
            cluster.load_off()
            network.switch.heal()
            cluster.wait_until_applied()
            live.wait_for("all terms", lambda lines: len(of(lines, "term_change")) >= 3)
            ways = itertools.permutations((1, 2, 3), 2)
            assert sum(network.switch.statistics(*way)["lost"] for way in ways) > 0
            seen = watched(cluster, live, file)
        assert (seen.code, seen.errors) == (0, "")
        assert_told_as_logged(seen.lines, seen.logs, seen.hosts)
        assert not seen.too_late
        assert run("events", "--json", str(file)).records == happenings(seen.lines)


def test_dropped_packets_are_said_and_make_no_events_and_no_accusations() -> None:
    """Its ring has room for little, and it is stopped for a while."""
    with shared_folder() as folder, Cluster() as cluster:
        file = folder / "live.pcapng"
        with Live(cluster.network, "-i", "br0", "--write", str(file), "--ring-size", "1M") as live:
            leader = cluster.start(3)
            cluster.apply(1)
            live.wait_for("the leader", lambda lines: of(lines, "leader"))
            live.pause()
            cluster.load(None, 4000)
            wait_for("many entries", lambda: cluster.state(leader)["commands"] >= 3000)
            live.resume()
            live.wait_for("what was dropped", lambda lines: any(x.get("diagnostic") == "dropped" for x in lines))
            cluster.load_off()
            cluster.wait_until_applied()
            cluster.kill(leader)
            cluster.wait_for_leader()
            wait_until_told(cluster, live)
            seen = watched(cluster, live, file)
        assert live.code == 0
        dropped = [line for line in of(live.lines, "diagnostic") if line["diagnostic"] == "dropped"]
        assert sum(line["size"] for line in dropped) == live.lines[-1]["sources"][0]["dropped"] > 0
        assert_told_as_logged(seen.lines, seen.logs, seen.hosts, complete=False)
        told = {(line["term"], line["leader"]) for line in of(seen.lines, "leader")}
        assert told == Truth(seen.logs).leaders


def test_files_of_a_rotation_together_tell_the_same() -> None:
    with shared_folder() as folder, Cluster() as cluster:
        options = ["--write", str(folder / "live.pcapng"), "--rotate-size", "100k"]
        with Live(cluster.network, "-i", "br0", *options) as live:
            cluster.start(3)
            cluster.load(None, 1000)
            wait_for("four files", lambda: len(list(folder.iterdir())) >= 4)
            cluster.load_off()
            cluster.wait_until_applied()
            live.end()
        assert (live.code, live.errors) == (0, "")
        files = sorted(folder.iterdir())
        assert sum(map(packets_in, files)) == live.lines[-1]["packets"]
        told = run("events", "--json", *map(str, files)).records
        # Frames are numbered in each file.
        assert [without_places(line) for line in told] == [without_places(line) for line in happenings(live.lines)]


def without_places(line: Line) -> Line:
    return {key: value for key, value in line.items() if key not in ("frame", "file", "decided_at")}


def test_folder_that_nobody_may_write_to_is_said_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with Cluster() as cluster:
        command = [*cluster.network.command(0), *COMMAND, "live", "-i", "br0", "--write", str(tmp_path / "a.pcapng")]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, check=False)
    assert done.returncode == 4
    assert "nobody" in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
