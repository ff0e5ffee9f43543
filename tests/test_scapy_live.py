"""The example of live capture with Scapy does what its page says, beside a real cluster."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.cluster import Cluster, needs_clusters
from tests.cluster.waiting import wait_for
from tests.command import ROOT, environment

pytestmark = needs_clusters()

NAMES = {"request_vote": "RequestVote", "request_vote_result": "RequestVoteResult"}


def captures(pid: int) -> bool:
    """Whether a process has bound a packet socket to a device; only those of its namespace are listed."""
    rows = Path(f"/proc/{pid}/net/packet").read_text().splitlines()[1:]
    return any(int(row.split()[4]) for row in rows)


def test_async_sniffer_gives_the_votes_that_servers_logged() -> None:
    page = (ROOT / "docs" / "scapy.md").read_text()
    (example,) = re.findall(r"<!-- example: live -->\n```python\n(.*?)```", page, re.DOTALL)
    with Cluster() as cluster:
        command = [*cluster.network.command(0), sys.executable, "-c", example]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as script:
            wait_for("Scapy", lambda: captures(script.pid))
            first = cluster.start(3)
            cluster.kill(first)
            cluster.wait_for_leader()
            printed, _ = script.communicate()
        logs = [record for id_ in cluster.servers for record in cluster.log(id_, "received")]
    *lines, last = printed.splitlines()
    found = Counter(re.findall(r"\b(RequestVote(?:Result)?)\b", printed))
    logged = Counter(NAMES[record["type"]] for record in logs if record["type"] in NAMES)
    assert len(lines) == found.total()
    assert logged["RequestVote"] >= 2
    # What was on its way to the server that was killed is on the wire and in nobody's log.
    assert logged <= found <= logged + Counter(dict.fromkeys(logged, 2))
    assert last == "0 messages were not complete"
