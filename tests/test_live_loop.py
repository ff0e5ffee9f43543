"""The loop of live traffic, run over captures: its views are told what `events` and `audit` say of the same packets."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from raft_dissect.auditing import audit
from raft_dissect.dissection import Dissection
from raft_dissect.live.loop import Loop
from raft_dissect.live.view import View
from tests import captures
from tests.test_clusters import begun_at, moved
from tests.test_watch import happenings
from tests.transformations import by_time, numbered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.audit import Finding
    from raft_dissect.dissection import Source
    from raft_dissect.live.view import Snapshot
    from raft_dissect.watch import Happening

FILES = ["s2-cowsql-0.22.1.pcap", "s4-64k-canon-0.18.1.pcap", "s5-canon-0.10.0.pcap", "s7-cowsql-0.22.1-nopv.pcap"]


class Recorder(View):
    """A view that keeps all that it is told."""

    def __init__(self) -> None:
        self.happenings: list[Happening] = []
        self.findings: list[Finding] = []
        self.snapshots: list[Snapshot] = []
        self.last: Snapshot | None = None

    def happened(self, happenings: Sequence[Happening]) -> None:
        self.happenings += happenings

    def found(self, finding: Finding) -> None:
        self.findings.append(finding)

    def beat(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    def finish(self, snapshot: Snapshot) -> None:
        self.last = snapshot


def recorded(source: Source) -> Recorder:
    recorder = Recorder()
    Loop(Dissection(source, digest_data=True), [recorder]).run()
    return recorder


def record(file: str) -> Recorder:
    return recorded(captures.PCAPS / file)


@pytest.mark.parametrize("file", FILES)
def test_views_are_told_what_events_and_audit_say(file: str) -> None:
    recorder = record(file)
    assert [(one.kind, one.place) for one in recorder.happenings] == [
        (one.kind, one.place) for one in happenings(captures.PCAPS / file)
    ]
    told = Counter((one.rule.id, one.verdict, one.place) for one in recorder.findings)
    assert told == Counter((one.rule.id, one.verdict, one.place) for one in audit(captures.PCAPS / file).findings)


@pytest.mark.parametrize("file", FILES)
def test_the_leaders_are_those_that_the_servers_logged(file: str) -> None:
    logged = [one["node"] for term in captures.truth(captures.run_of(file))["leaders_by_term"].values() for one in term]
    shown = [cluster.leader for snapshot in record(file).snapshots for cluster in snapshot.clusters if cluster.leader]
    assert [leader for leader, _ in groupby(shown)] == [leader for leader, _ in groupby(logged)]


def test_counts_add_up() -> None:
    recorder = record("s2-cowsql-0.22.1.pcap")
    last = recorder.last
    assert last is not None
    assert last.packets == len(captures.packets("s2-cowsql-0.22.1.pcap"))
    assert last.happened == Counter(one.kind for one in recorder.happenings)
    assert last.messages == Counter(message.name for message in captures.run_file("s2-cowsql-0.22.1.pcap").messages)


def test_findings_name_the_cluster_that_they_are_about() -> None:
    """In s5-canon-0.10.0 leaders count entries of earlier terms, in s2-cowsql-0.22.1 none does."""
    healthy, other = captures.packets("s2-cowsql-0.22.1.pcap"), captures.packets("s5-canon-0.10.0.pcap")
    other = begun_at(moved(other, ("10.77.77.", "10.88.88.")), healthy[0].time_ns + 500_000_000)
    packets = numbered(by_time([*healthy, *other]))
    found = [one.cluster for one in recorded(packets).findings if one.rule.id == "CM-03"]
    alone = [one for one in audit(captures.PCAPS / "s5-canon-0.10.0.pcap").findings if one.rule.id == "CM-03"]
    assert found == [1] * len(alone) != []
