"""What servers logged and what TCP did, compared with what `live` told of it: nothing missing, nothing invented."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.cluster.servers import Record
    from tests.live_process import Line, Live

SECOND = 1_000_000_000
NEVER = 1 << 63
LISTENING = 9999
"""Servers listen on ports up to this one, and connect from others."""
BEYOND_HAPPENINGS = ("finding", "snapshot_progress", "late", "on_time", "summary")
"""Lines that `live` has and `events` has not."""
Key = tuple[Any, ...]
Hosts = Mapping[int, Iterable[str]]
"""By server: its addresses without ports."""
Message = tuple[int, int, int, "Record"]
"""Time, sender, receiver, and what was logged."""


def happenings(lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if line["event"] not in BEYOND_HAPPENINGS]


def violations(lines: Iterable[Line]) -> list[Line]:
    """What the audit accuses servers of, but for a defect that libraft 0.15 has.

    Its leaders commit entries of former terms by counting who has them (rule CM-03, known defect B5).
    """
    found = [line for line in lines if line["event"] == "finding" and line["verdict"] == "violation"]
    return [line for line in found if line["rule"] != "CM-03"]


def late(live: Live, bound_ns: int = SECOND) -> list[tuple[float, Line]]:
    """The lines that came more than `bound_ns` nanoseconds after the packet that proves them, with the seconds.

    For as long as the machine had no processor for `live`, or for the test that takes its lines, they may be later.
    What silence proves has no such packet, and that the id of a server was learnt is told with its first packet.
    """
    found = []
    unnamed: set[int] = set()
    for told, line in zip(live.told, live.lines, strict=True):
        if line["event"] == "server" and line["id"] is None:
            unnamed.add(line["time_ns"])
        elif line["event"] == "server" and line["time_ns"] in unnamed:
            continue
        if line["event"] not in BEYOND_HAPPENINGS and proven_by_packet(line):
            late_ns = told.came_ns - line["time_ns"]
            if late_ns > bound_ns + live.allowed_ns(line["time_ns"], told.came_ns):
                found.append((late_ns / SECOND, line))
    return found


def proven_by_packet(line: Line) -> bool:
    """Whether a packet proves it, and not that none came."""
    kind = line["event"]
    if kind == "election_ended":
        return bool(line["outcome"] == "won")
    if kind == "leader_ended":
        return line["ended_by"] in ("new_leader", "step_down")
    if kind == "snapshot_ended":
        return bool(line["outcome"] != "unanswered")
    if kind == "transfer_ended":
        return bool(line["outcome"] == "done")
    return kind not in ("connection_unanswered", "diagnostic")


def is_settled(lines: Sequence[Line]) -> bool:
    """Whether it was told how every election ended, and that each leader but the last leads no more."""
    kinds = Counter(line["event"] for line in lines)
    over = kinds["leader_ended"] - kinds["leader_returned"] >= kinds["leader"] - 1
    return over and kinds["election_begun"] == kinds["election_ended"] > 0


def is_committed(lines: Sequence[Line], index: int) -> bool:
    """Whether the configuration at an index was told to be committed."""
    return any(line["index"] == index for line in of(lines, "configuration_committed"))


class Truth:
    """What servers logged, as far as packets show it."""

    def __init__(self, logs: Mapping[int, Iterable[Record]], since_ns: int = 0) -> None:
        """What was received before a time, in nanoseconds since the epoch, was not captured."""
        self._records = [{**record, "server": server} for server, log in logs.items() for record in log]
        self.since_ns = since_ns
        self.is_midway = since_ns > 0

    def records(self, *events: str) -> list[Record]:
        found = [record for record in self._records if record["event"] in events]
        return sorted(found, key=lambda record: record["t"])

    def messages(self, logged: str, *types: str) -> list[Message]:
        """Messages that were given to the network (`send`), or that came (`received`)."""
        found = []
        for record in self.records(logged):
            ends = record["server"], record["peer"]
            if record["type"] in types and (logged == "send" or record["t"] >= self.since_ns):
                sender, receiver = ends if logged == "send" else ends[::-1]
                found.append((record["t"], sender, receiver, record))
        return found

    @cached_property
    def leaders(self) -> set[tuple[int, int]]:
        """Each (term, server)."""
        return {(r["term"], r["server"]) for r in self.records("state") if r["state"] == "leader"}


TERM_PROVING = ("append_entries", "append_entries_result", "install_snapshot", "timeout_now")
VOTES = ("request_vote", "request_vote_result")


def assert_told_as_logged(
    lines: Sequence[Line],
    logs: Mapping[int, Iterable[Record]],
    hosts: Hosts,
    since_ns: int = 0,
    *,
    complete: bool = True,
) -> None:
    """Everything that messages show which came was told, and nothing that no message shows which was sent.

    Each at a packet behind the first message that shows it was sent, and before any was received. `since_ns` is when
    the capture was there, in nanoseconds since the epoch, if servers ran before that. A capture that is not `complete`
    may lack anything, but nothing may be told that was not.
    """
    told, truth = happenings(_with_ids(lines, hosts)), Truth(logs, since_ns if complete else NEVER)
    for check in (
        _terms,
        _leaders,
        _elections,
        _rejections,
        _snapshots,
        _transfers,
        _configurations,
        _servers,
        _others,
    ):
        check([line for line in told if line["event"] != "diagnostic"], truth)
    assert not (complete and of(told, "diagnostic"))
    assert not violations(lines)


def _with_ids(told: Any, hosts: Hosts) -> Any:
    """The same with ids in the place of hosts, by which servers are called before their ids are known."""
    names = {host: server for server, known in hosts.items() for host in known}
    if isinstance(told, dict):
        return {key: value if key == "addresses" else _with_ids(value, hosts) for key, value in told.items()}
    if isinstance(told, list):
        return [_with_ids(value, hosts) for value in told]
    return names.get(told, told) if isinstance(told, str) else told


def of(told: Sequence[Line], *kinds: str) -> list[Line]:
    return [line for line in told if line["event"] in kinds]


def _assert_placed(
    told: Iterable[tuple[Key, int]],
    sent: Iterable[tuple[Key, int]],
    received: Iterable[tuple[Key, int]],
    is_midway: bool,
) -> None:
    """Each key that was received is told once, none that was not sent, and with a time between the first of both.

    In a capture that began midway a stream is held back for a second, so that another may prove the same before.
    """
    times = list(told)
    first_sent, first_received = _first(sent), _first(received)
    keys = Counter(key for key, _ in times)
    assert max(keys.values(), default=1) == 1, f"told twice: {keys.most_common(1)}"
    assert keys.keys() <= first_sent.keys(), f"invented: {keys.keys() - first_sent.keys()}"
    assert first_received.keys() <= keys.keys(), f"missing: {first_received.keys() - keys.keys()}"
    for key, time_ns in times:
        assert first_sent[key] <= time_ns, key
        assert is_midway or time_ns <= first_received.get(key, time_ns), key


def _first(found: Iterable[tuple[Key, int]]) -> dict[Key, int]:
    first: dict[Key, int] = {}
    for key, time_ns in found:
        first[key] = min(time_ns, first.get(key, time_ns))
    return first


def _terms(told: Sequence[Line], truth: Truth) -> None:
    def proven(logged: str) -> list[tuple[Key, int]]:
        found = truth.messages(logged, *TERM_PROVING, *VOTES)
        return [((sender, m["term"]), t) for t, sender, _, m in found if not m.get("pre_vote")]

    changes = of(told, "term_change")
    _assert_placed(
        [((c["server"], c["new"]), c["time_ns"]) for c in changes], proven("send"), proven("received"), truth.is_midway
    )
    shown = {(change["server"], change["new"]) for change in changes}
    was: dict[int, set[int]] = {}
    for change in changes:
        # What waited for a lost connection can show a term when a later one was told, or in a packet behind that one's.
        earlier = was.setdefault(change["server"], set())
        lower = max((term for term in earlier if term < change["new"]), default=None)
        assert change["old"] == lower or ((lower or 0) < change["old"] < change["new"])
        assert change["old"] == lower or (change["server"], change["old"]) in shown
        earlier.add(change["new"])


def _leaders(told: Sequence[Line], truth: Truth) -> None:
    def leading(logged: str) -> list[tuple[Key, int]]:
        found = truth.messages(logged, "append_entries", "install_snapshot")
        return [((m["term"], sender), t) for t, sender, _, m in found]

    lines = of(told, "leader")
    _assert_placed(
        [((x["term"], x["leader"]), x["time_ns"]) for x in lines], leading("send"), leading("received"), truth.is_midway
    )
    led = {(x["term"], x["leader"]): x["time_ns"] for x in lines}
    assert led.keys() <= truth.leaders
    silent: set[Key] = set()
    for line in of(told, "leader_ended", "leader_returned"):
        key = line["term"], line["leader"]
        assert key in led
        assert (key in silent) == (line["event"] == "leader_returned") or line["ended_by"] in (
            "new_leader",
            "step_down",
        )
        if line["event"] == "leader_returned":
            silent.remove(key)
        else:
            silent.add(key)
            if not proven_by_packet(line):
                heard = [
                    t for t, sender, _, m in truth.messages("received", "append_entries") if (m["term"], sender) == key
                ]
                assert not [t for t in heard if SECOND // 20 < t - line["time_ns"] < SECOND]
    newest = max(led, default=None)
    assert {key for key in led if key != newest} <= silent, "not said that it leads no more"


def _elections(told: Sequence[Line], truth: Truth) -> None:
    def asked(logged: str) -> list[tuple[Key, int]]:
        found = truth.messages(logged, "request_vote")
        return [((m["term"], candidate, m["pre_vote"]), t) for t, candidate, _, m in found]

    rounds: dict[Key, list[Line]] = {}
    for line in of(told, "election_begun"):
        rounds.setdefault(_round(line), []).append(line)
    first = [(key, lines[0]["time_ns"]) for key, lines in rounds.items()]
    _assert_placed(first, asked("send"), asked("received"), truth.is_midway)
    for key, lines in rounds.items():
        sent = Counter(
            r for _, c, r, m in truth.messages("send", "request_vote") if (m["term"], c, m["pre_vote"]) == key
        )
        assert len(lines) <= max(sent.values())
    ended = Counter(_round(line) for line in of(told, "election_ended"))
    assert ended == Counter({key: len(lines) for key, lines in rounds.items()})
    for line in of(told, "election_ended"):
        begun = rounds[_round(line)]
        _assert_counted(line, truth, begun[0]["time_ns"], only_round=len(begun) == 1)


def _round(line: Line) -> Key:
    return line["term"], line["candidate"], line["pre_vote"]


def _assert_counted(line: Line, truth: Truth, begun_ns: int, *, only_round: bool) -> None:
    """Votes are those that voters gave, all that had come by then, and who won is who went on as the winner.

    What came before the round began answered another one: voters answer with a term of their own, if that is higher.
    """
    term, candidate, pre_vote = _round(line)
    if pre_vote:
        requests = [
            (m["term"], c)
            for _, c, _, m in truth.messages("send", "request_vote")
            if not m["pre_vote"] and not m["disrupt_leader"]
        ]
        won = (term, candidate) in requests
    else:
        won = (term, candidate) in truth.leaders
    if only_round or line["outcome"] == "won":
        assert (line["outcome"] == "won") == won, line

    def answers(logged: str) -> list[tuple[int, int, Record]]:
        found = truth.messages(logged, "request_vote_result")
        return [(t, voter, m) for t, voter, to, m in found if to == candidate and bool(m["pre_vote"]) == pre_vote]

    given = {(voter, m["vote_granted"]) for _, voter, m in answers("send")}
    came = {
        (voter, m["vote_granted"])
        for t, voter, m in answers("received")
        if begun_ns <= t <= line["time_ns"] and m["term"] == term
    }
    votes = {(voter, True) for voter in line["granted"]} | {(refusal["voter"], False) for refusal in line["refused"]}
    assert votes <= given, line
    if only_round and not truth.is_midway:
        assert came <= votes, line


def _rejections(told: Sequence[Line], truth: Truth) -> None:
    refused = Counter(
        (x["kind"], x["by"], x["of"], x["term"], x["rejected"], x["last_log_index"]) for x in of(told, "rejection")
    )
    sent, received = _refusals(truth, "send"), _refusals(truth, "received")
    assert refused <= sent, f"invented: {refused - sent}"
    assert received <= refused, f"missing: {received - refused}"
    places = {(x["time_ns"], x["by"], x["of"]) for x in of(told, "rejection") if x["kind"] == "append_entries"}
    for line in of(told, "catch_up_begun"):
        assert (line["time_ns"], line["follower"], line["leader"]) in places
    truncated = {(r["server"], r["from"]) for r in truth.records("truncated")}
    assert {(x["follower"], x["first_index"]) for x in of(told, "truncation")} <= truncated


def _refusals(truth: Truth, logged: str) -> Counter[Key]:
    found: Counter[Key] = Counter()
    for _, by, whom, m in truth.messages(logged, "append_entries_result"):
        if m["rejected"]:
            found["append_entries", by, whom, m["term"], m["rejected"], m["last_log_index"]] += 1
    for _, by, whom, m in truth.messages(logged, "request_vote_result"):
        if not m["vote_granted"]:
            found["pre_vote" if m["pre_vote"] else "request_vote", by, whom, m["term"], None, None] += 1
    return found


def _snapshots(told: Sequence[Line], truth: Truth) -> None:
    def given(logged: str) -> Counter[Key]:
        found = truth.messages(logged, "install_snapshot")
        return Counter((leader, to, m["term"], m["last_index"], m["bytes"]) for _, leader, to, m in found)

    for kind in ("snapshot_begun", "snapshot_sent"):
        lines = of(told, kind)
        counts = Counter((x["leader"], x["follower"], x["term"], x["last_index"], x["bytes"]) for x in lines)
        assert counts <= given("send"), f"invented: {counts - given('send')}"
        assert given("received") <= counts, f"missing: {given('received') - counts}"
    restored: set[Key] = set()
    came: set[Key] = set()
    for record in truth.records("started", "received", "snapshot_restored"):
        key = record["server"], record.get("last_index", record.get("index"))
        if record["event"] == "started":
            came = {(server, index) for server, index in came if server != record["server"]}
        elif record.get("type") == "install_snapshot":
            came.add(key)
        elif record["event"] == "snapshot_restored" and key in came:  # and not loaded at its start
            restored.add(key)
    ended = of(told, "snapshot_ended")
    assert {(x["follower"], x["last_index"]) for x in ended if x["outcome"] == "installed"} == restored


def _transfers(told: Sequence[Line], truth: Truth) -> None:
    def asked(logged: str) -> list[tuple[Key, int]]:
        return [((leader, to, m["term"]), t) for t, leader, to, m in truth.messages(logged, "timeout_now")]

    lines = of(told, "transfer_begun")
    keys = [((x["leader"], x["target"], x["term"]), x["time_ns"]) for x in lines]
    _assert_placed(keys, asked("send"), asked("received"), truth.is_midway)
    done = {key[:2] for key, _ in asked("received") if (key[2] + 1, key[1]) in truth.leaders}
    assert {(x["leader"], x["target"]) for x in of(told, "transfer_ended") if x["outcome"] == "done"} == done


def _configurations(told: Sequence[Line], truth: Truth) -> None:
    """A change that a leader says is done was sent to a majority; it is told with its commit, as snapshots' are."""
    known: dict[int, set[Key]] = {}
    needed: set[Key] = set()
    for record in truth.records("configuration", "install_snapshot", "change_requested", "change_done"):
        if record["event"] == "configuration":
            for index in (record["index"], record["uncommitted_index"]):
                known.setdefault(index, set()).add(_members(record["servers"]))
    for _, _, _, message in truth.messages("received", "install_snapshot"):
        needed.add((message["conf_index"], _members(message["servers"])))
    lines = {(x["index"], _members(x["servers"])): x for x in of(told, "configuration")}
    assert len(lines) == len(of(told, "configuration")), "told twice"
    assert needed <= lines.keys()
    for index, members in lines:
        assert members in known[index]
    committed = {x["index"]: x["time_ns"] for x in of(told, "configuration_committed")}
    assert committed.keys() >= {index for index, _ in needed} | _changed(truth)
    assert {index for index, _ in lines} >= _changed(truth)
    highest = max((r["index"] for r in truth.records("committed")), default=0)
    assert max(committed, default=0) <= highest
    assert not of(told, "configuration_rolled_back")
    for index, time_ns in committed.items():
        commits = [t for t, _, _, m in truth.messages("received", "append_entries") if m["leader_commit"] >= index]
        seen = next(line["time_ns"] for line in lines.values() if line["index"] == index)
        assert time_ns <= max(min(commits, default=time_ns), seen), index


def _changed(truth: Truth) -> set[int]:
    """The indexes of the configurations that a leader made and said to be committed."""
    found = set()
    for done in truth.records("change_done"):
        asked = [r for r in truth.records("change_requested") if r["server"] == done["server"] and r["t"] < done["t"]]
        if done["ok"]:
            found |= {
                r["uncommitted_index"]
                for r in truth.records("configuration")
                if r["server"] == done["server"] and asked[-1]["t"] <= r["t"] <= done["t"] and r["uncommitted_index"]
            }
    return found


def _members(servers: Iterable[Mapping[str, Any]]) -> Key:
    return tuple(sorted((s["id"], s["address"], s["role"]) for s in servers))


def _servers(told: Sequence[Line], truth: Truth) -> None:
    types = (*TERM_PROVING, *VOTES)
    sent = [((sender,), t) for t, sender, _, _ in truth.messages("send", *types)]
    received = [((sender,), t) for t, sender, _, _ in truth.messages("received", *types)]
    learnt = [x for x in of(told, "server") if x["id"] is not None]
    if not truth.since_ns:
        assert learnt == of(told, "server")
    _assert_placed([((x["name"],), x["time_ns"]) for x in learnt], sent, received, truth.is_midway)
    addresses = {(r["server"], r["address"]) for r in truth.records("started")}
    if truth.is_midway:  # an id can be learnt before the port
        addresses |= {(server, address.rpartition(":")[0]) for server, address in addresses}
    assert {(x["id"], address) for x in learnt for address in x["addresses"]} <= addresses
    starts: dict[int, list[int]] = {}
    for record in truth.records("started"):
        starts.setdefault(record["server"], []).append(record["t"])
    for server, times in starts.items():
        restarts = [x["time_ns"] for x in of(told, "restart") if x["server"] == server]
        runs = [sum(start <= time_ns for start in times) for time_ns in restarts]
        assert runs == sorted(set(runs)), f"server {server} was started at {times}, not anew at {restarts}"
        assert 1 not in runs


def _others(told: Sequence[Line], truth: Truth) -> None:
    known = {record["server"] for record in truth.records("started")}
    assert all({line.get("sender"), line.get("receiver")} <= {*known, None} for line in told)


# Connections, as tshark sees them

FIN, SYN, RST, ACK = 1, 2, 4, 16


class Segment(NamedTuple):
    """What tshark says of a segment."""

    stream: int
    source: int
    destination: int
    source_port: int
    flags: int
    length: int


def assert_connections_told_as_captured(lines: Sequence[Line], path: Path, hosts: Hosts) -> None:
    """Connections between servers open, close, are reset and are refused as the flags of TCP say."""
    opened: set[Key] = set()
    refused: set[Key] = set()
    ended: dict[Key, set[str]] = {}
    for number, segments in _streams(path, hosts).items():
        first = segments[0]
        is_client = (first.flags & SYN and not first.flags & ACK) or first.source_port > LISTENING
        client, server = (first.source, first.destination) if is_client else (first.destination, first.source)
        key = 2 * number + (not is_client), client, server
        if not any(segment.length for segment in segments if segment.source == client):
            if first.flags & SYN and any(segment.flags & RST for segment in segments):
                refused.add((client, server))
            continue
        if first.flags & SYN:
            opened.add(key)
        kinds = {
            "connection_reset" if x.flags & RST else "connection_closed" for x in segments if x.flags & (FIN | RST)
        }
        if kinds:
            ended[key] = kinds
    told = _with_ids(happenings(lines), hosts)
    assert {_connection(x) for x in of(told, "connection_opened")} == opened
    over = {_connection(x): x["event"] for x in of(told, "connection_closed", "connection_reset")}
    assert over.keys() == ended.keys()
    assert all(kind in ended[connection] for connection, kind in over.items())
    assert {_connection(x)[1:] for x in of(told, "connection_refused")} == refused


def _connection(line: Line) -> Key:
    return line["stream"], line["sender"], line["receiver"]


def _streams(path: Path, hosts: Hosts) -> dict[int, list[Segment]]:
    """The segments between servers, by the number of their connection."""
    servers = {host: server for server, known in hosts.items() for host in known}
    fields = ["ip.src", "ipv6.src", "ip.dst", "ipv6.dst", "tcp.stream", "tcp.srcport", "tcp.flags", "tcp.len"]
    command = ["tshark", "-r", str(path), "-Y", "tcp", "-T", "fields", *(x for name in fields for x in ("-e", name))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[int, list[Segment]] = {}
    for row in done.stdout.splitlines():
        source4, source6, target4, target6, stream, port, flags, length = row.split("\t")
        ends = servers.get(source4 or source6), servers.get(target4 or target6)
        if ends[0] is not None and ends[1] is not None:
            segment = Segment(int(stream), ends[0], ends[1], int(port), int(flags, 16), int(length))
            found.setdefault(segment.stream, []).append(segment)
    return found
