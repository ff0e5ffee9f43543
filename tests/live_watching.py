"""What `live` told of a cluster, with what its servers logged, and all that must hold of the two."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.command import run
from tests.live_truth import (
    SECOND,
    Truth,
    assert_connections_told_as_captured,
    assert_told_as_logged,
    happenings,
    is_settled,
    late,
    of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.rig import Rig
    from tests.cluster.servers import Record
    from tests.live_process import Line, Live


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder of the user as whom root's `live` goes on."""
    folder = Path(tempfile.mkdtemp(prefix="raft-live-"))
    try:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder)


class Watched(NamedTuple):
    """A cluster that is over, and what was told of it."""

    lines: list[Line]
    too_late: list[tuple[float, Line]]
    code: int | None
    errors: str
    file: Path
    logs: dict[int, list[Record]]
    hosts: dict[int, list[str]]


def wait_until_told(cluster: Rig[Any], live: Live) -> None:
    """Wait for what silence proves: how elections without a winner ended, and that former leaders lead no more."""
    term, _ = max(Truth({id_: cluster.log(id_) for id_ in cluster.servers}).leaders)
    live.wait_for("the last leader", lambda lines: any(line["term"] == term for line in of(lines, "leader")))
    live.wait_for("all that is to be told", is_settled)


def watched(cluster: Rig[Any], live: Live, file: Path, bound_ns: int = SECOND) -> Watched:
    """End it, and collect what it told and what servers logged; `bound_ns` is when lines are too late."""
    live.end()
    hosts = {id_: [cluster.network.ip(id_), cluster.network.ip(id_, 6)] for id_ in cluster.servers}
    logs = {id_: cluster.log(id_) for id_ in cluster.servers}
    return Watched(live.lines, late(live, bound_ns), live.code, live.errors, file, logs, hosts)


def assert_well_told(seen: Watched, since_ns: int = 0) -> None:
    """It ended well, told what was logged and what TCP did and nothing else, soon, and the file tells the same.

    `since_ns` is when the capture was there, in nanoseconds since the epoch, if servers ran before that.
    """
    assert (seen.code, seen.errors) == (0, "")
    assert_told_as_logged(seen.lines, seen.logs, seen.hosts, since_ns)
    assert_connections_told_as_captured(seen.lines, seen.file, seen.hosts)
    assert not seen.too_late, seen.too_late[0]
    assert run("events", "--json", str(seen.file)).records == happenings(seen.lines)
