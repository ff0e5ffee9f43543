"""Several clusters in one capture: each is told of as if it were alone, though ids, ports or hosts are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from raft_dissect import wire
from raft_dissect.cluster.facts import PathEvent
from raft_dissect.pipeline import analyze
from raft_dissect.values import Packet, Place
from tests.captures import packets
from tests.packets import MILLISECOND, START, Address, Connection
from tests.scripts import VOTER, Script, change
from tests.test_cluster_scenarios import beat, elect
from tests.transformations import by_time, tcp_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.cluster import ClusterFacts

Captured = list[Packet]


def moved(capture: Sequence[Packet], hosts: tuple[str, str], ports: dict[int, int] | None = None) -> Captured:
    """The same cluster elsewhere: on other hosts, by the begin of their addresses (equally long), or other ports."""
    old, new = hosts
    names = {old.encode(): new.encode()}
    raw = {_start(old): _start(new)}
    for before, after in (ports or {}).items():
        names[f":{before}\0".encode()] = f":{after}\0".encode()
    return [_moved(packet, names, raw, ports or {}) for packet in capture]


def _start(host: str) -> bytes:
    return bytes(int(part) for part in host.strip(".").split("."))


def _moved(packet: Packet, names: dict[bytes, bytes], raw: dict[bytes, bytes], ports: dict[int, int]) -> Packet:
    segment = tcp_of(packet)
    if segment is None:
        return packet
    ends, data = packet.data[26:34], packet.data[34:]
    for before, after in raw.items():
        ends = b"".join(after + end[len(before) :] if end.startswith(before) else end for end in (ends[:4], ends[4:]))
    for old, new in names.items():
        data = data.replace(old, new)
    numbers = [int.from_bytes(data[at : at + 2], "big") for at in (0, 2)]
    data = b"".join(ports.get(number, number).to_bytes(2, "big") for number in numbers) + data[4:]
    return packet._replace(data=packet.data[:26] + ends + data)


def begun_at(capture: Sequence[Packet], time_ns: int) -> Captured:
    """The same capture at another time."""
    late = time_ns - capture[0].time_ns
    return [packet._replace(time_ns=packet.time_ns + late) for packet in capture]


def told(facts: ClusterFacts) -> Any:
    """All that is told, without the numbers of frames and streams."""
    return _timed(facts._replace(end=None))


def _timed(value: Any) -> Any:
    if isinstance(value, Place):
        return value.time_ns
    if isinstance(value, PathEvent):
        value = value._replace(stream=None)
    if isinstance(value, tuple):
        return tuple(_timed(part) for part in value)
    return value


def alone(capture: Sequence[Packet], end_ns: int) -> Any:
    """What is told of a cluster whose capture goes on until the other one ends."""
    quiet = capture[-1]._replace(data=b"\0" * 60, original_length=60, time_ns=end_ns)
    (facts,) = analyze([*capture, quiet]).clusters
    return told(facts)


FIRST = "s2-cowsql-0.22.1.pcap"
OTHERS = {
    "other hosts": ("s5-canon-0.18.1.pcap", ("10.77.77.", "10.88.88."), {}),
    "other ports": ("s5-canon-0.18.1.pcap", ("10.77.77.", "10.77.77."), {9001: 9101}),
    "restarts": ("s9-upgrade-canon0.9.25-to-0.18.1.pcap", ("10.77.77.", "10.77.77."), {9001: 9101}),
    "members": ("s6-canon-0.18.1.pcap", ("10.77.77.", "10.77.77."), {9001: 9101}),
    "names": ("s1-hostnames-cowsql-0.22.1.pcap", ("10.77.77.", "10.77.88."), {}),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_two_clusters_with_the_same_ids_are_told_of_as_if_each_were_alone(kind: str) -> None:
    file, hosts, ports = OTHERS[kind]
    first = packets(FIRST)
    second = begun_at(moved(packets(file), hosts, ports), first[0].time_ns + 1_000_003)
    both = by_time([*first, *second])
    report = analyze(both)
    end = both[-1].time_ns
    assert [told(facts) for facts in report.clusters] == [alone(first, end), alone(second, end)]


MIDWAY = "s1-mid-cowsql-0.22.1.mid.pcap"


@pytest.mark.parametrize("ports", [{}, {9001: 9101}], ids=["other hosts", "other ports"])
def test_clusters_are_kept_apart_although_no_handshake_was_captured(ports: dict[int, int]) -> None:
    first = packets(MIDWAY)
    hosts = ("10.77.77.", "10.77.77." if ports else "10.88.88.")
    second = begun_at(moved(first, hosts, ports), first[0].time_ns + 7_000_003)
    both = by_time([*first, *second])
    end = both[-1].time_ns
    assert [told(facts) for facts in analyze(both).clusters] == [alone(first, end), alone(second, end)]


def midway_on_one_machine(term: int) -> Captured:
    """Three servers at ports 9001 to 9003 of one machine, whose leader goes on sending heartbeats; no handshakes."""
    script = Script(handshakes=False, host="127.0.0.1")
    for step in range(20):
        beat(script.at(100 * step), 1, term)
    return script.packets()


@pytest.mark.parametrize("term", [2, 5])
def test_clusters_on_one_machine_are_told_apart_by_who_answers_whom(term: int) -> None:
    """Midway nothing says who sends; the second cluster may even be in the same term, with the same log."""
    first = midway_on_one_machine(2)
    ports = {9001: 9101, 9002: 9102, 9003: 9103}
    second = begun_at(moved(midway_on_one_machine(term), ("127.", "127."), ports), START + 37 * MILLISECOND)
    clusters = analyze(by_time([*first, *second])).clusters
    assert [{change.new for change in facts.term_changes} for facts in clusters] == [{2}, {term}]
    names = [{str(server.name) for server in facts.servers} for facts in clusters]
    for number, found in enumerate(names):
        listening = {name for name in found if "sender" not in name}
        assert listening == {f"127.0.0.1:{9001 + 100 * number + server}" for server in range(3)}


def test_halves_that_turn_out_to_be_one_cluster_are_told_of_as_one() -> None:
    """1 and 2 talk, and so do 3 and 4, before anybody speaks to the other two."""
    script = Script().ask(1, 2, 2).ask(3, 4, 2).vote(2, 1, 2, 1).vote(4, 3, 2, 1).at(500)
    facts = elect(script, 1, 3, voters=(1, 2, 3, 4)).facts()
    assert [server.name for server in facts.servers] == [1, 2, 3, 4]
    assert [(e.term, e.candidate, e.outcome) for e in facts.elections] == [
        (2, 1, "split"),
        (2, 3, "split"),
        (3, 1, "won"),
    ]
    assert [(c.server, c.old, c.new) for c in facts.term_changes if c.server == 4] == [(4, None, 2), (4, 2, 3)]
    sent = {(traffic.sender, traffic.receiver): traffic.messages for traffic in facts.traffic}
    assert sent[1, 2] == {"RequestVote": 2, "AppendEntries": 1}
    assert sent[4, 3] == {"RequestVoteResult": 1}


def test_configuration_says_who_belongs_together() -> None:
    """Of two pairs that never speak to each other in the capture, one names all four servers."""
    everybody = dict.fromkeys((1, 2, 3, 4), VOTER)
    script = Script().append(3, 4, 2, (1, 1)).result(4, 3, 2, 1)
    script.append(1, 2, 2, (1, 1), change(2, everybody)).result(2, 1, 2, 2)
    assert [server.name for server in script.facts().servers] == [1, 2, 3, 4]


def test_pairs_that_nothing_joins_are_two_clusters() -> None:
    script = Script().append(3, 4, 2, (1, 1)).result(4, 3, 2, 1).append(1, 2, 2, (1, 1)).result(2, 1, 2, 1)
    clusters = analyze(script.packets()).clusters
    assert [[server.name for server in facts.servers] for facts in clusters] == [[3, 4], [1, 2]]


def test_server_that_comes_back_at_another_address_is_the_same_server_of_the_same_cluster() -> None:
    script = elect(Script(), 1, 2).at(400).kill(3)
    moved_to = Connection(Address("10.0.0.33", 41234), Address("10.0.0.1", 9001))
    data = wire.encode_handshake("raft", 3, "10.0.0.33:9001") + wire.encode_message(
        wire.table.APPEND_ENTRIES_RESULT, {"term": 2, "last_log_index": 1}, layout="w-0.22.1"
    )
    opened = [Packet(p, START + 900 * MILLISECOND, 1, len(p), 0) for p in (*moved_to.opening(), moved_to.data(0, data))]
    (facts,) = analyze(by_time([*script.packets(), *opened])).clusters
    assert [server.name for server in facts.servers] == [1, 2, 3]
    assert facts.servers[2].addresses == ("10.0.0.3:9001", "10.0.0.33:9001")


def test_clusters_that_have_gone_on_for_long_are_kept_apart_whatever_comes() -> None:
    """What was told of each can no longer be taken together, and one of them is not told with gaps for it."""
    script = Script()
    for step in range(3000):
        script.at(10 * step).append(1, 2, 2, (1, 1)).result(2, 1, 2, 1).append(3, 4, 5, (1, 1)).result(4, 3, 5, 1)
    clusters = analyze(script.append(1, 3, 2, (1, 1)).packets()).clusters
    assert [[server.name for server in facts.servers] for facts in clusters] == [[1, 2, "10.0.0.3"], [3, 4]]
    assert [facts.traffic[0].messages for facts in clusters] == [{"AppendEntries": 3000}, {"AppendEntries": 3000}]
