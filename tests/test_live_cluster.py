"""`live` beside a real cluster: it tells what the servers logged, nothing else, soon, and as the written file does."""

from __future__ import annotations

import pwd
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import raft_dissect
from tests.cluster import Cluster, needs_clusters
from tests.cluster.waiting import wait_for
from tests.command import run
from tests.live_process import Live
from tests.live_truth import (
    assert_connections_told_as_captured,
    assert_told_as_logged,
    happenings,
    is_committed,
    of,
)
from tests.live_watching import Watched, shared_folder, wait_until_told, watched

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_clusters()


class Lively(NamedTuple):
    """Everything that befalls a cluster, as it was told, and the lines of text of another `live`, with its file."""

    seen: Watched
    text: list[str]
    text_file: Path


@pytest.fixture(scope="module")
def lively() -> Iterator[Lively]:
    """A killed leader that comes back to a snapshot, a partition, a transfer, servers that join, move and leave."""
    with shared_folder() as folder, Cluster(threshold=100, trailing=20, snapshot_size=100_000) as cluster:
        network, file, text_file = cluster.network, folder / "live.pcapng", folder / "text.pcapng"
        with (
            Live(network, "-i", "br0", "--write", str(file)) as live,
            Live(network, "-i", "br0", "--write", str(text_file), json_lines=False) as text,
        ):
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
            others = {1, 2, 3} - {second}
            cluster.partition([second])
            cluster.servers[cluster.wait_for_leader(among=others)].do("apply 3 64")
            cluster.heal()
            cluster.wait_until_applied()
            cluster.transfer((others - {cluster.wait_for_leader()}).pop())
            cluster.wait_until_applied()
            cluster.add(4)
            leader = cluster.wait_for_leader()
            moved, removed = sorted({1, 2, 3} - {leader})
            cluster.kill(moved)
            cluster.remove(moved)
            cluster.restart(moved, port=9100)
            cluster.add(moved)
            cluster.remove(removed)
            cluster.stop(removed)  # it does not learn of that, and would ask for votes again and again
            cluster.wait_until_applied(among={leader, 4, moved})
            index = cluster.state(leader)["configuration_index"]
            live.wait_for("the commit of the last change", lambda lines: is_committed(lines, index))
            wait_until_told(cluster, live)
            seen = watched(cluster, live, file)
            text.end()
        assert text.code == 0
        yield Lively(seen, [line.text for line in text.told], text_file)


def test_live_tells_what_servers_logged_and_nothing_else(lively: Lively) -> None:
    assert_told_as_logged(lively.seen.lines, lively.seen.logs, lively.seen.hosts)
    assert (lively.seen.code, lively.seen.errors) == (0, "")


def test_what_a_packet_proves_is_told_within_a_second(lively: Lively) -> None:
    assert not lively.seen.too_late


def test_connections_are_told_as_tcp_opened_and_ended_them(lively: Lively) -> None:
    assert_connections_told_as_captured(lively.seen.lines, lively.seen.file, lively.seen.hosts)


def test_the_written_file_tells_the_same(lively: Lively) -> None:
    assert run("events", "--json", str(lively.seen.file)).records == happenings(lively.seen.lines)


def test_text_tells_the_same(lively: Lively) -> None:
    """Beside what `events` prints there are findings of the audit, and the summary behind an empty line."""
    printed = run("events", str(lively.text_file)).lines
    told = lively.text[: lively.text.index("")]
    assert [line for line in told if line in printed] == printed
    assert all(line.startswith("  ") for line in told if line not in printed)
    assert " packets with " in lively.text[len(told) + 1]


# Privileges


def test_program_may_be_where_only_root_may_read(tmp_path: Path) -> None:
    """Whom root becomes may not read root's own folders, where virtual environments often are."""
    shutil.copytree(Path(raft_dissect.__file__).parent, tmp_path / "code" / "raft_dissect")
    (tmp_path / "code").chmod(0o700)
    with Cluster() as cluster, Live(cluster.network, "-i", "br0", code=tmp_path / "code") as live:
        leader = cluster.start(2)
        live.wait_for("the leader", lambda lines: of(lines, "leader"))
        live.end()
    assert (live.code, live.errors) == (0, "")
    assert [line["leader"] for line in of(live.lines, "leader")] == [leader]


def test_root_is_given_up() -> None:
    with Cluster() as cluster, Live(cluster.network, "-i", "br0") as live:
        status = live.status
        live.end()
    nobody = pwd.getpwnam("nobody")
    assert status["Uid"].split() == [str(nobody.pw_uid)] * 4
    assert status["Gid"].split() == [str(nobody.pw_gid)] * 4
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
