"""`live` beside real clusters: it tells what the servers logged, nothing else, soon, and as the written file does."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.cluster import Cluster, needs_clusters
from tests.cluster.waiting import wait_for
from tests.command import ROOT, run
from tests.live_process import Live
from tests.live_truth import (
    assert_connections_told_as_captured,
    assert_told_as_logged,
    happenings,
    late,
    of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.rig import Rig
    from tests.cluster.servers import Record
    from tests.live_process import Line

pytestmark = needs_clusters()


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """A folder of the user as whom root's `live` goes on."""
    folder = Path(tempfile.mkdtemp(prefix="raft-live-"))
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    yield folder
    shutil.rmtree(folder)


class Watched(NamedTuple):
    """A cluster that is over, and what was told of it."""

    lines: list[Line]
    text: list[str]
    too_late: list[tuple[float, Line]]
    errors: str
    codes: set[int | None]
    file: Path
    logs: dict[int, list[Record]]
    hosts: dict[int, list[str]]


def watched(cluster: Rig[Any], live: Live, text: Live, file: Path) -> Watched:
    """End both, and collect what they told."""
    live.end()
    text.end()
    hosts = {id_: [cluster.network.ip(id_), cluster.network.ip(id_, 6)] for id_ in cluster.servers}
    logs = {id_: cluster.log(id_) for id_ in cluster.servers}
    told = [line.text for line in text.told]
    return Watched(live.lines, told, late(live), live.errors, {live.code, text.code}, file, logs, hosts)


@pytest.fixture(scope="module")
def lively(shared: Path) -> Watched:
    """Everything that befalls a cluster: see the test of what it tells."""
    file, other = shared / "lively.pcapng", shared / "text.pcapng"
    with Cluster(threshold=100, trailing=20, snapshot_size=100_000) as cluster:
        network = cluster.network
        with (
            Live(network, "-i", "br0", "--write", str(file)) as live,
            Live(network, "-i", "br0", "--write", str(other), json_lines=False) as text,
        ):
            first = cluster.start(3)
            cluster.load(200, 100)
            cluster.apply(20)
            last = cluster.state(first)["last_index"] + 50
            cluster.kill(first)
            second = cluster.wait_for_leader()
            cluster.apply(300)
            wait_for("the need of a snapshot", lambda: cluster.is_left_behind(first, last, 20))
            cluster.restart(first)
            cluster.load_off()
            cluster.wait_until_applied()
            cluster.partition([second])
            others = {1, 2, 3} - {second}
            cluster.wait_for_leader(among=others)
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
            live.wait_for("all that is to be told", lambda lines: _is_settled(lines, index))
            return watched(cluster, live, text, file)


def _is_settled(lines: list[Line], index: int) -> bool:
    """Whether the configuration at an index was told to be committed, and how every election ended."""
    committed = {line["index"] for line in of(lines, "configuration_committed")}
    return index in committed and len(of(lines, "election_begun")) == len(of(lines, "election_ended"))


def test_live_tells_what_servers_logged_and_nothing_else(lively: Watched) -> None:
    assert_told_as_logged(lively.lines, lively.logs)


def test_what_a_packet_proves_is_told_within_a_second(lively: Watched) -> None:
    assert not lively.too_late


def test_connections_are_told_as_tcp_opened_and_ended_them(lively: Watched) -> None:
    assert_connections_told_as_captured(lively.lines, lively.file, lively.hosts)


def test_the_written_file_tells_the_same(lively: Watched) -> None:
    assert run("events", "--json", str(lively.file)).records == happenings(lively.lines)


def test_text_tells_the_same(lively: Watched) -> None:
    """Beside what `events` prints there are findings of the audit, and the summary behind an empty line."""
    printed = run("events", str(lively.file.with_name("text.pcapng"))).lines
    told = lively.text[: lively.text.index("")]
    assert [line for line in told if line in printed] == printed
    assert all(line.startswith("  ") for line in told if line not in printed)
    assert " packets with " in lively.text[len(told) + 1]


def test_live_ends_well(lively: Watched) -> None:
    assert lively.codes == {0}
    assert not lively.errors


def test_program_may_be_where_only_root_may_read(tmp_path: Path) -> None:
    """Whom root becomes may not read root's own folders, where virtual environments often are."""
    shutil.copytree(ROOT / "raft_dissect", tmp_path / "code" / "raft_dissect")
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
