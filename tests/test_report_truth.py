"""What the report says of real clusters, against what their servers logged while the packets were captured."""

from __future__ import annotations

from collections import Counter
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from raft_dissect.cluster.questions import leader_at
from raft_dissect.dissection import Dissection
from raft_dissect.pipeline import ReportBuilder, analyze
from raft_dissect.values import Message
from tests.captures import PCAPS, RUNS, truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.cluster.facts import Rejection, ServerName
    from raft_dissect.report import Report
    from raft_dissect.values import Place

CLEAR = sorted(
    run for run in RUNS if (PCAPS / f"{run}.pcap").exists() and not run.startswith("tls") and "snaplen" not in run
)
"""Runs whose main capture has all packets, whole and in clear text."""
OTHER_FILES = {
    "nodes merged": tuple(f"s1-5n-cowsql-0.22.1.node{number}.pcap" for number in range(1, 6)),
    "pcapng": ("s5-canon-0.18.1.pcapng",),
}
"""Captures that hold all that the main capture of their run holds."""
PARTIAL_FILES = {
    "midway": ("s1-mid-cowsql-0.22.1.mid.pcap",),
    "any": ("s1-hostnames-cowsql-0.22.1.any1.pcap",),
    "node": ("s1-5n-cowsql-0.22.1.node3.pcap",),
    "behind TLS": ("tls13-cowsql-0.22.1.plain1.pcap",),
    "snaplen": ("s1-snaplen96-canon-0.18.1.pcap",),
}
"""Captures that hold only a part of what happened."""
FROM_LEADERS = ("AppendEntries", "InstallSnapshot", "TimeoutNow")
IN_ORDER = 0.001
"""Seconds by which a packet's time may be before the server's: they come from the same clock, but not of one thread."""

Log = dict[str, Any]


class Run:
    """A capture, the report of it, and what its servers logged with server numbers replaced by Raft ids."""

    def __init__(self, name: str, files: tuple[str, ...]) -> None:
        self.name = name
        self.truth = truth(name)
        nodes = {int(number): int(number) for number in self.truth["nodes"]}
        self.ids = {int(number): id_ for number, id_ in self.truth.get("raft_ids", nodes).items()}
        dissection = Dissection([str(PCAPS / file) for file in files])
        builder = ReportBuilder()
        self.messages: list[Message] = []
        for batch in dissection.batches():
            builder.feed(batch)
            self.messages += [event for event in batch if isinstance(event, Message)]
        self.report: Report = builder.report(dissection)

    @property
    def facts(self) -> ClusterFacts:
        (facts,) = self.report.clusters
        return facts

    def logged(self, key: str) -> list[Log]:
        """Records of the log with `id`, the Raft id of the server that logged them."""
        return [{**record, "server": self.ids[record["node"]]} for record in self.truth.get(key, [])]

    @cached_property
    def leaders(self) -> dict[tuple[int, ServerName], float]:
        """When each (term, server) began to lead."""
        return {
            (int(term), self.ids[record["node"]]): record["t"]
            for term, records in self.truth["leaders_by_term"].items()
            for record in records
        }

    @cached_property
    def terms(self) -> set[tuple[ServerName, int]]:
        """Every (server, term) that a server was in."""
        starts = [record for record in self.logged("state_changes") if record["why"] == "start"]
        logged = {(record["server"], record["term"]) for record in (*starts, *self.logged("term_changes"))}
        return logged | {(server, term) for term, server in self.leaders}

    @cached_property
    def carried(self) -> dict[tuple[ServerName, int], Place]:
        """The first packet in which each server itself shows a term: in anything but a pre-vote."""
        first: dict[tuple[ServerName, int], Place] = {}
        for message in self.messages:
            assert message.stream.handshake is not None
            if not message.fields.get("pre_vote"):
                key = (message.stream.handshake.id, message.fields["term"])
                first[key] = min(message.place, first.get(key, message.place))
        return first

    @property
    def start(self) -> float:
        """Seconds since the epoch when the first server was started."""
        time: float = self.truth["orchestrator_events"][0]["t"]
        return time

    def at(self, host: str, port: int) -> ServerName | None:
        """The server that packets to a host and port reach."""
        nodes = self.truth["nodes"]
        hosts = self.truth.get("ips") or {number: address.rpartition(":")[0] for number, address in nodes.items()}
        there = [number for number, own in hosts.items() if own == host]
        if len(there) > 1:
            there = [number for number in there if nodes[number].endswith(f":{port}")]
        return self.ids[int(there[0])] if there else None

    def ends(self) -> list[tuple[float, ServerName]]:
        """When servers were killed, aborted or exited."""
        killed = [e for e in self.truth["orchestrator_events"] if e["what"] in ("kill", "node_exited_early")]
        return [(e["t"], self.ids[e["node"]]) for e in killed] + [(e["t"], e["server"]) for e in self.logged("exits")]


@cache
def load(name: str, *files: str) -> Run:
    return Run(name, files or (f"{name}.pcap",))


@pytest.fixture(params=CLEAR)
def run(request: pytest.FixtureRequest) -> Run:
    return load(request.param)


def seconds(place: Place) -> float:
    return place.time_ns / 1e9


def in_order(message: Message) -> tuple[Place, int]:
    assert message.offset is not None
    return message.place, message.offset


def is_within(some: Counter[Any], least: Iterable[Any], most: Iterable[Any]) -> bool:
    """Whether a bag holds all of one and nothing beyond another: what was received, and what was sent."""
    return not Counter(least) - some and not some - Counter(most)


# Terms and leaders


def test_term_changes_are_those_that_packets_carry_and_servers_logged(run: Run) -> None:
    changes = run.facts.term_changes
    assert {(change.server, change.new): change.place for change in changes} == run.carried
    assert set(run.carried) <= run.terms
    assert [change.place for change in changes] == sorted(change.place for change in changes)
    for server in run.ids.values():
        own = sorted((change.new, change.old) for change in changes if change.server == server)
        assert [old for _, old in own] == [None, *(new for new, _ in own)][: len(own)]


def test_leaders_are_those_that_servers_logged(run: Run) -> None:
    found = {(leadership.term, leadership.leader): leadership for leadership in run.facts.leaders}
    assert set(found) == set(run.leaders)
    assert len(found) == len(run.facts.leaders)
    others = min((event["t"] for event in run.truth["orchestrator_events"] if event.get("what") == "client"), default=0)
    impaired = 0.1 if run.truth.get("impair") else 0
    for key, logged in run.leaders.items():
        late = seconds(found[key].first) - max(logged, others)
        # dqlite's first server leads alone until a client has added others, up to a second after its first request.
        alone = 2 if logged < others else 0
        assert seconds(found[key].first) > logged - IN_ORDER
        assert late < 0.01 + impaired + alone


def test_leader_speaks_as_leader_until_it_shows_that_it_is_none(run: Run) -> None:
    for leadership in run.facts.leaders:
        own = [m for m in run.messages if m.stream.handshake is not None and m.stream.handshake.id == leadership.leader]
        later = [m for m in own if m.fields["term"] > leadership.term and m.name != "RequestVoteResult"]
        later += [m for m in own if m.fields["term"] > leadership.term and m.fields.get("pre_vote") is False]
        over = min(map(in_order, later), default=None)
        led = [m for m in own if m.name in FROM_LEADERS and m.fields["term"] == leadership.term]
        assert leadership.first == min(m.place for m in led)
        assert leadership.last == max(m.place for m in led if over is None or in_order(m) < over)


def test_a_leaders_connections_closed_if_and_only_if_it_ended(run: Run) -> None:
    impaired = 0.1 if run.truth.get("impair") else 0
    for leadership in run.facts.leaders:
        successors = [other.first for other in run.facts.leaders if other.term > leadership.term]
        stepped = [
            change["t"]
            for change in run.logged("state_changes")
            if change["server"] == leadership.leader
            and change["state"] != "leader"
            and change["why"] != "start"
            and change["t"] > seconds(leadership.first)
        ]
        replaced = min([seconds(place) for place in successors] + stepped, default=float("inf"))
        ends = [
            t
            for t, server in run.ends()
            if server == leadership.leader and seconds(leadership.last) - IN_ORDER - impaired <= t < replaced
        ]
        assert (leadership.ended_by == "connection_lost") == bool(ends), leadership
        if leadership.ended_by == "step_down":
            assert stepped


def test_nobody_is_heard_as_leader_while_there_is_none(run: Run) -> None:
    from_leaders = [message.place for message in run.messages if message.name in FROM_LEADERS]
    for gap in run.facts.leaderless:
        assert gap.first <= gap.last
        inside = [place for place in from_leaders if gap.first < place < gap.last]
        # Only what a former leader still had in its queue.
        terms = {leadership.term for leadership in run.facts.leaders if leadership.first < gap.first}
        late = [m for m in run.messages if m.place in inside and m.fields["term"] not in terms]
        assert not [message for message in late if message.name in FROM_LEADERS]


def test_term_changes_have_the_cause_that_the_server_logged(run: Run) -> None:
    named = {
        "request_votes_received": "vote_request",
        "vote_results_received": "result",
        "rejections_received": "result",
        "install_snapshot_received": "snapshot",
    }
    received = [(record, cause) for key, cause in named.items() for record in run.logged(key)]
    campaigns = {(r["server"], r["term"]) for r in run.logged("request_votes_sent") if not r["prevote"]}
    changed = {(r["server"], r["term"]): r["t"] for r in run.logged("term_changes")}
    for change in run.facts.term_changes:
        key = (change.server, change.new)
        possible = {
            cause
            for record, cause in received
            if (record["server"], record["term"]) == key
            and record.get("prevote") != 1
            and record["t"] <= changed.get(key, 0)
        }
        if key in campaigns:
            possible = {"election"}
        elif any(term == change.new for term, _ in run.leaders):
            possible.add("append_entries")
        assert change.cause == "unknown" or change.cause in possible, change
    known = [change for change in run.facts.term_changes if change.old is not None and change.cause != "unknown"]
    assert len(known) >= 0.8 * sum(change.old is not None for change in run.facts.term_changes)


# Elections and votes


def flagged(run: Run) -> bool:
    """Whether the answers to votes say in this run's releases whether they answer a pre-vote."""
    return not any(f"raft v0.{minor}" in text for text in run.truth["software"].values() for minor in ("9.", "10."))


def test_refused_votes_are_those_that_servers_logged(run: Run) -> None:
    def bag(key: str, sent: bool) -> Counter[Any]:
        return Counter(
            (
                record["server"] if sent else record["peer"],
                record["peer"] if sent else record["server"],
                record["term"],
                record.get("prevote") == 1 if flagged(run) else None,
            )
            for record in run.logged(key)
            if not record["granted"]
        )

    found = Counter(
        (r.by, r.of, r.term, r.kind == "pre_vote" if flagged(run) else None)
        for r in run.facts.rejections
        if r.kind in ("pre_vote", "request_vote")
    )
    assert is_within(found, bag("vote_results_received", False), bag("vote_results_sent", True))


def test_elections_are_those_that_candidates_logged(run: Run) -> None:
    sent = {(r["server"], r["peer"], r["term"], bool(r["prevote"])) for r in run.logged("request_votes_sent")}
    asked = {
        (election.candidate, voter, election.term, election.pre_vote)
        for election in run.facts.elections
        for voter in election.requests
    }
    received = {(r["peer"], r["server"], r["term"], bool(r["prevote"])) for r in run.logged("request_votes_received")}
    assert received <= asked <= sent
    granted = {
        (election.candidate, voter, election.term) for election in run.facts.elections for voter in election.granted
    }
    logged = {(r["peer"], r["server"], r["term"]) for r in run.logged("vote_results_sent") if r["granted"]}
    heard = {(r["server"], r["peer"], r["term"]) for r in run.logged("vote_results_received") if r["granted"]}
    assert granted <= logged
    # A round that is over may have been forgotten; but whoever granted a real vote was asked for one.
    assert {key for key in heard if (key[2], key[0]) in run.leaders} <= granted


def test_elections_are_won_by_the_leaders_that_servers_logged(run: Run) -> None:
    real = [election for election in run.facts.elections if not election.pre_vote]
    won = Counter((election.term, election.candidate) for election in real if election.outcome == "won")
    alone = {(1, run.ids[1])} if "raft_ids" in run.truth else set()  # dqlite's first server needs nobody's vote
    assert won == Counter(set(run.leaders) - alone)
    for election in real:
        if election.outcome in ("split", "lost"):
            assert (election.term, election.candidate) not in run.leaders
        if election.outcome == "split":
            assert not any(term == election.term for term, _ in run.leaders)
    disrupting = {(r["server"], r["term"]) for r in run.logged("request_votes_sent") if r["disrupt"]}
    transferred = {(e.candidate, e.term) for e in run.facts.elections if e.cause == "transfer"}
    assert transferred == disrupting


def test_election_causes_agree_with_what_was_done_to_the_cluster(run: Run) -> None:
    events = run.truth["orchestrator_events"]
    disturbed = [e["t"] for e in events if e["what"] in ("link_down", "cut", "sigstop") or "remove" in e.get("cmd", "")]
    for election in run.facts.elections:
        time = seconds(election.place)
        ended = [t for t, server in run.ends() if t < time and server != election.candidate]
        if election.cause == "start":
            assert not [t for t in run.leaders.values() if t < time]
        elif election.cause == "connection_lost":
            assert ended
        elif election.cause == "heartbeats_absent":
            assert ended or min(disturbed) < time


class Voter(NamedTuple):
    """What a voter knew when a request came."""

    state: str
    term: int
    leader: int
    voted: tuple[int, int] | None


def refusals(run: Run) -> dict[tuple[int, int], list[tuple[Log, Log, Voter]]]:
    """By voter and candidate: refusals in the order in which they were sent, with their requests."""
    keys = ("state_changes", "term_changes", "votes_persisted", "request_votes_received", "vote_results_sent")
    records = sorted(((record["t"], key, record) for key in keys for record in run.logged(key)), key=lambda r: r[0])
    voters: dict[int, Voter] = {}
    waiting: dict[tuple[int, int], list[tuple[Log, Voter]]] = {}
    found: dict[tuple[int, int], list[tuple[Log, Log, Voter]]] = {}
    for _, key, record in records:
        server = record["server"]
        voter = voters.get(server, Voter("", 0, 0, None))
        if key == "state_changes":
            voters[server] = Voter(record["state"], record["term"], record["leader"], voter.voted)
        elif key == "term_changes":
            voters[server] = voter._replace(term=record["term"], leader=0)
        elif key == "votes_persisted":
            voters[server] = voter._replace(voted=(record["term"], record["id"]))
        elif key == "request_votes_received":
            waiting.setdefault((server, record["peer"]), []).append((record, voter))
        else:
            request, knew = waiting[server, record["peer"]].pop(0)
            if not record["granted"]:
                found.setdefault((server, record["peer"]), []).append((record, request, knew))
    return found


def holds(reason: str, request: Log, voter: Voter) -> bool:
    """Whether what a refusal is said to be for was so."""
    if reason == "stale_term":
        return voter.term > int(request["term"])
    if reason == "has_leader":
        leads = voter.state == "leader" or (voter.state == "follower" and voter.leader != 0)
        return leads and not request["disrupt"]
    if reason == "already_voted":
        return voter.voted is not None and voter.voted[0] == request["term"] and voter.voted[1] != request["cand"]
    return reason in ("log_behind", "unknown")


def test_votes_are_refused_for_reasons_that_held_when_the_voter_was_asked(run: Run) -> None:
    logged = refusals(run)
    found: dict[tuple[ServerName, ServerName], list[Rejection]] = {}
    for rejection in run.facts.rejections:
        if rejection.kind in ("pre_vote", "request_vote"):
            found.setdefault((rejection.by, rejection.of), []).append(rejection)
    for pair, rejections in found.items():
        sent = iter(logged[pair])  # type: ignore[index]  # all have ids here
        for rejection in rejections:
            # Some that were sent never got on the wire.
            match = next(
                (request, voter)
                for answer, request, voter in sent
                if answer["term"] == rejection.term and bool(request["prevote"]) == (rejection.kind == "pre_vote")
            )
            assert holds(rejection.reason, *match), (rejection, match)


# Replication


def test_rejections_are_those_that_servers_logged(run: Run) -> None:
    found = [r for r in run.facts.rejections if r.kind in ("append_entries", "install_snapshot")]
    assert run.truth["n_rejections_received"] <= len(found) <= run.truth["n_rejections_sent"]
    # A canonical receiver of cowsql's answers logs other features, but the same indexes.
    received = [(r["peer"], r["server"], r["rejected"], r["last"]) for r in run.logged("rejections_received")]
    sent = [(r["server"], r["peer"], r["rejected"], r["last"]) for r in run.logged("rejections_sent")]
    assert is_within(Counter((r.by, r.of, r.rejected, r.last_log_index) for r in found), received, sent)
    for rejection in found:
        stale = (rejection.term, rejection.of) not in run.leaders
        assert (rejection.reason == "stale_term") == stale
        if rejection.reason == "term_mismatch" and rejection.last_log_index is not None and rejection.rejected:
            assert rejection.last_log_index >= rejection.rejected - 1
        if rejection.reason == "no_such_entry" and rejection.last_log_index is not None and rejection.rejected:
            assert rejection.last_log_index < rejection.rejected


def test_snapshots_are_those_that_servers_logged(run: Run) -> None:
    snapshots = run.facts.snapshots
    totals = run.truth["message_totals"].get("InstallSnapshot", {"received": 0, "write_ok": 0})
    finished = [snapshot for snapshot in snapshots if snapshot.finished is not None]
    assert totals["received"] <= len(finished) <= totals["write_ok"]

    def logged(key: str, sender: str, receiver: str) -> list[Any]:
        return [(r[sender], r[receiver], r["last_idx"], r["last_term"], r["data"]) for r in run.logged(key)]

    whole = Counter((s.leader, s.follower, s.last_index, s.last_term, s.bytes) for s in finished)
    sent = logged("install_snapshot_sent", "server", "peer")
    assert is_within(whole, logged("install_snapshot_received", "peer", "server"), sent)
    installed = Counter((s.follower, s.last_index) for s in snapshots if s.outcome == "installed")
    if any("kind" in record for record in run.logged("snapshot_put")):
        put = [(r["server"], r["index"]) for r in run.logged("snapshot_put") if r["kind"] == "install"]
        assert installed == Counter(put)
    elif snapshots:  # canonical 0.9.0 does not log the kind, but that it restored one
        assert sum(installed.values()) == len(run.logged("fsm_restore"))


def test_snapshot_cut_by_a_kill_is_reported_as_cut() -> None:
    """Server 3 was killed while it sent entries, not a snapshot: that AppendEntries is unfinished."""
    run = load("s8-reorder10-canon-0.18.1")
    unfinished = [d for d in run.report.capture.diagnostics if d.kind == "unfinished"]
    assert [d.message.name for d in unfinished if d.message is not None] == ["AppendEntries"]
    assert [snapshot.outcome for snapshot in run.facts.snapshots] == ["installed", "installed"]


def test_transfers_are_those_that_servers_logged(run: Run) -> None:
    transfers = run.facts.transfers
    found = [(t.leader, t.target, t.term) for t in transfers]
    sent = [(r["server"], r["peer"], r["term"]) for r in run.logged("timeout_now_sent")]
    received = [(r["peer"], r["server"], r["term"]) for r in run.logged("timeout_now_received")]
    assert is_within(Counter(found), received, sent)
    done = [r for r in run.logged("control") if r["ev"] == "transfer_done"]
    assert len(done) == len(transfers)
    for transfer, record in zip(transfers, done, strict=True):
        assert (record["server"], record["leader"]) == (transfer.leader, transfer.target)
        assert transfer.outcome == "done"
        assert transfer.seconds is not None
        assert abs(seconds(transfer.place) + transfer.seconds - record["t"]) < 0.01


def test_configurations_are_those_that_servers_logged(run: Run) -> None:
    snapshots = [record for key in ("sent", "received") for record in run.logged(f"install_snapshot_{key}")]
    in_snapshots = {(r["conf_idx"], tuple(map(tuple, r["conf"]))) for r in snapshots}
    in_entries = {
        (record["prev_idx"] + 1, record["l1"])
        for key in ("sent", "received")
        for record in run.logged(f"config_entries_{key}")
        if record["ty1"] == 3
    }
    commands = [e.get("cmd", "").split() for e in run.truth["orchestrator_events"] if e["what"] in ("ctl", "client")]
    changes = [words[0] for words in commands if words and words[0] in ("add", "assign", "remove")]
    found = {fact.conf_index: fact for fact in run.facts.configurations}
    assert len(found) == len(run.facts.configurations)
    for index, servers in in_snapshots:
        if index in found:
            assert tuple(map(tuple, found[index].servers)) == servers
    assert {index for index, _ in in_entries} <= set(found)
    assert set(found) <= {index for index, _ in in_entries | in_snapshots} | {
        index for index, fact in found.items() if fact.term is not None and in_entries
    }
    words = {"add": {"added"}, "assign": {"promoted", "demoted"}, "remove": {"removed"}}
    named = [fact for _, fact in sorted(found.items()) if fact.change not in (None, "bootstrap")]
    assert len(named) == len(changes)
    for fact, change in zip(named, changes, strict=True):
        assert fact.change in words[change]


def test_traffic_is_what_servers_counted(run: Run) -> None:
    found = {(traffic.sender, traffic.receiver): traffic.messages for traffic in run.facts.traffic}
    for pair, counts in run.truth["message_counts"].items():
        sender, receiver = (run.ids[int(number)] for number in pair.split("->"))
        messages = found.pop((sender, receiver), {})
        for name, count in counts.items():
            assert count["received"] <= messages.get(name, 0) <= count["write_ok"], (pair, name)
        assert set(messages) <= set(counts)
    assert not found


# Order and time


class Kind(NamedTuple):
    """One kind of things that happen, as the report tells of them and as servers logged them."""

    found: list[tuple[Any, Place]]
    """In the order of the report, each with what it is and its evidence."""
    logged: list[tuple[Any, ServerName, float]]
    """What it is, who logged it, when."""
    proves: Callable[[Message, ServerName | None], list[Any]]
    """What a message proves, which its sender wrote to another server."""


def of_leaders(run: Run) -> Kind:
    found = [((fact.term, fact.leader), fact.first) for fact in run.facts.leaders]

    def proves(message: Message, _: object) -> list[Any]:
        return [(message.fields["term"], sender(message))] if message.name in FROM_LEADERS else []

    return Kind(found, [(key, key[1], t) for key, t in run.leaders.items()], proves)


def of_term_changes(run: Run) -> Kind:
    found = [((fact.server, fact.new), fact.place) for fact in run.facts.term_changes]
    records = [*run.logged("term_changes"), *run.logged("state_changes")]
    first: dict[Any, tuple[Any, ServerName, float]] = {}
    for record in sorted(records, key=lambda record: record["t"]):
        key = (record["server"], record["term"])
        first.setdefault(key, (key, record["server"], record["t"]))

    def proves(message: Message, _: object) -> list[Any]:
        return [] if message.fields.get("pre_vote") else [(sender(message), message.fields["term"])]

    return Kind(found, list(first.values()), proves)


def of_elections(run: Run) -> Kind:
    """Each first request of a candidate in a term."""
    found: dict[Any, Place] = {}
    for fact in run.facts.elections:
        found.setdefault((fact.candidate, fact.term, fact.pre_vote), fact.place)
    logged: dict[Any, float] = {}
    for record in run.logged("request_votes_sent"):
        key = (record["server"], record["term"], bool(record["prevote"]))
        logged[key] = min(record["t"], logged.get(key, record["t"]))

    def proves(message: Message, _: object) -> list[Any]:
        fields = message.fields
        asks = message.name == "RequestVote"
        return [(sender(message), fields["term"], bool(fields.get("pre_vote")))] if asks else []

    return Kind(list(found.items()), [(key, key[0], t) for key, t in logged.items()], proves)


def of_refused_votes(run: Run) -> Kind:
    kinds = ("request_vote", "pre_vote")
    found = [((r.by, r.of, r.term), r.place) for r in run.facts.rejections if r.kind in kinds]
    logged = [
        ((r["server"], r["peer"], r["term"]), r["server"], r["t"])
        for r in run.logged("vote_results_sent")
        if not r["granted"]
    ]

    def proves(message: Message, receiver: ServerName | None) -> list[Any]:
        refuses = message.name == "RequestVoteResult" and not message.fields["vote_granted"]
        return [(sender(message), receiver, message.fields["term"])] if refuses else []

    return Kind(found, logged, proves)


def of_rejections(run: Run) -> Kind:
    kinds = ("append_entries", "install_snapshot")
    found = [((r.by, r.of, r.rejected, r.last_log_index), r.place) for r in run.facts.rejections if r.kind in kinds]
    logged = [
        ((r["server"], r["peer"], r["rejected"], r["last"]), r["server"], r["t"]) for r in run.logged("rejections_sent")
    ]

    def proves(message: Message, receiver: ServerName | None) -> list[Any]:
        fields = message.fields
        rejects = message.name == "AppendEntriesResult" and fields["rejected"]
        return [(sender(message), receiver, fields["rejected"], fields["last_log_index"])] if rejects else []

    return Kind(found, logged, proves)


def of_snapshots(run: Run) -> Kind:
    found = [((s.leader, s.follower, s.last_index, s.last_term), s.started) for s in run.facts.snapshots]
    logged = [
        ((r["server"], r["peer"], r["last_idx"], r["last_term"]), r["server"], r["t"])
        for r in run.logged("install_snapshot_sent")
    ]

    def proves(message: Message, receiver: ServerName | None) -> list[Any]:
        fields = message.fields
        installs = message.name == "InstallSnapshot"
        return [(sender(message), receiver, fields["last_index"], fields["last_term"])] if installs else []

    return Kind(found, logged, proves)


def of_transfers(run: Run) -> Kind:
    found = [((t.leader, t.target, t.term), t.place) for t in run.facts.transfers]
    logged = [((r["server"], r["peer"], r["term"]), r["server"], r["t"]) for r in run.logged("timeout_now_sent")]

    def proves(message: Message, receiver: ServerName | None) -> list[Any]:
        hands_over = message.name == "TimeoutNow"
        return [(sender(message), receiver, message.fields["term"])] if hands_over else []

    return Kind(found, logged, proves)


def of_configurations(run: Run) -> Kind:
    """Each configuration by its index, from the first message that holds it."""
    found = [(fact.conf_index, fact.place) for fact in sorted(run.facts.configurations, key=lambda fact: fact.place)]
    logged: dict[int, tuple[int, ServerName, float]] = {}
    records = [(r["conf_idx"], r) for r in run.logged("install_snapshot_sent")]
    for record in run.logged("config_entries_sent"):
        # The log says where a message with changes begins and ends, and of the first entry what it is.
        first = record["prev_idx"] + 1
        records += [(index, record) for index, _ in found if first <= index <= record["prev_idx"] + record["n"]]
    for index, record in sorted(records, key=lambda item: item[1]["t"]):
        logged.setdefault(index, (index, record["server"], record["t"]))

    def proves(message: Message, _: object) -> list[Any]:
        if message.name == "InstallSnapshot":
            return [message.fields["conf_index"]]
        return [message.fields["prev_log_index"] + 1 + number for number in message.changes]

    return Kind(found, list(logged.values()), proves)


KINDS: dict[str, Callable[[Run], Kind]] = {
    "leaders": of_leaders,
    "term changes": of_term_changes,
    "elections": of_elections,
    "refused votes": of_refused_votes,
    "rejections": of_rejections,
    "snapshots": of_snapshots,
    "transfers": of_transfers,
    "configurations": of_configurations,
}
SOON = 0.05
"""Seconds in which what a server logged stands in a packet, if it writes one of that kind at all."""


@pytest.mark.parametrize("name", KINDS)
def test_everything_stands_in_the_report_in_order_and_when_its_server_logged_it(run: Run, name: str) -> None:
    kind = KINDS[name](run)
    impaired = 0.1 if run.truth.get("impair") else 0
    places = [place for _, place in kind.found]
    assert places == sorted(places)
    seen: dict[Any, list[float]] = {}
    for key, place in kind.found:
        seen.setdefault(key, []).append(seconds(place))
    logged: dict[Any, list[float]] = {}
    for key, _, t in sorted(kind.logged, key=lambda item: item[2]):
        logged.setdefault(key, []).append(t)
    unlogged = [(key, times) for key, times in seen.items() if len(times) > len(logged.get(key, []))]
    assert not unlogged, f"in the report, but not in the log: {unlogged}"
    # The first of several was logged first; of some that were logged no packet was written.
    early = [
        (key, at, t)
        for key, times in seen.items()
        for at, t in zip(times, logged[key], strict=False)
        if at < t - IN_ORDER
    ]
    assert not early, f"told before the server logged it (what, told, logged): {early}"
    written: dict[Any, list[float]] = {}
    for message in run.messages:
        stream = message.stream
        for key in kind.proves(message, run.at(stream.destination.host, stream.destination.port)):
            place = message.first if name == "snapshots" else message.place
            written.setdefault((sender(message), key), []).append(seconds(place))
    missing = [
        (key, t, seen.get(key, []))
        for key, server, t in kind.logged
        if any(t - IN_ORDER <= at <= t + SOON for at in written.get((server, key), ()))
        and not any(t - IN_ORDER <= at <= t + SOON + impaired for at in seen.get(key, []))
    ]
    assert not missing, f"not told within {SOON} s (what, logged, told): {missing}"


def sender(message: Message) -> ServerName:
    assert message.stream.handshake is not None
    return message.stream.handshake.id


# Servers


def test_restarts_are_those_of_the_processes(run: Run) -> None:
    """A forwarder between the servers ends connections of its own, so that nothing is proven there."""
    started: dict[ServerName, list[float]] = {}
    for event in run.truth["orchestrator_events"]:
        if event["what"] == "start":
            started.setdefault(run.ids[event["node"]], []).append(event["t"])
    for server in run.facts.servers:
        begun = [seconds(place) for place in server.restarts]
        again = [] if "ipv6" in run.name else started[server.name][1:]
        assert len(begun) == len(again), (server.name, begun, again)
        for place, start in zip(begun, again, strict=True):
            assert start < place < start + 2


def test_leader_at_a_time_is_the_one_that_was_leader_then(run: Run) -> None:
    """In the middle of each leadership; and after a leader was killed nobody leads, until there is another."""
    for leadership in run.facts.leaders:
        middle = (leadership.first.time_ns + leadership.last.time_ns) // 2
        later = [t for (term, _), t in run.leaders.items() if term > leadership.term and t < middle / 1e9]
        if not later:
            gone = any(gap.first.time_ns < middle < gap.last.time_ns for gap in run.facts.leaderless)
            assert leader_at(run.facts, middle) == (None if gone else leadership)
    for t, server in run.ends():
        soon = round((t + 0.2) * 1e9)
        leader = leader_at(run.facts, soon)
        assert leader is None or leader.leader != server


def test_silence_of_a_leader_is_since_its_last_message_to_the_candidate(run: Run) -> None:
    """Counted again from all messages; and nobody asks for votes before its election timeout, but for a transfer."""
    for election in run.facts.elections:
        assert (election.leader is None) == (election.silent_seconds is None)
        if election.leader is None or election.silent_seconds is None:
            continue
        last = max(
            message.place.time_ns
            for message in run.messages
            if message.name in FROM_LEADERS
            and sender(message) == election.leader
            and run.at(message.stream.destination.host, message.stream.destination.port) == election.candidate
            and message.place < election.place
        )
        assert election.silent_seconds == (election.place.time_ns - last) / 1e9


def version_of(text: str) -> tuple[int, ...]:
    return (10**6,) if text == "main" else tuple(map(int, text.removeprefix("v").split(".")))


def includes(releases: str, software: str) -> bool:
    """Whether ranges such as "canonical/raft v0.9.0..v0.11.2, dqlite v1.16.3..main" hold a release."""
    name, version = software.split(" (")[0].split(" v")
    name = name.removeprefix("canonical/") if "dqlite" in name else name
    wanted = version_of(version)
    for part in releases.split(", "):
        label, _, span = part.rpartition(" ")
        first, _, last = span.partition("..")
        low, high = version_of(first), version_of(last or first)
        if label == name and low <= wanted <= high:
            return True
    return False


def test_servers_are_those_of_the_cluster(run: Run) -> None:
    spoke = {run.ids[int(pair.split("->")[0])] for pair in run.truth["message_counts"]}
    assert {server.name for server in run.facts.servers} == spoke
    for server in run.facts.servers:
        number = next(str(number) for number, id_ in run.ids.items() if id_ == server.name)
        software = run.truth["software"][number]
        assert server.addresses == (run.truth["nodes"][number],)
        assert server.family in (software.split("/")[0], "dqlite" if "dqlite" in software else "unknown", "unknown")
        assert includes(server.releases, software), server
        own = [m.place for m in run.messages if m.stream.handshake and m.stream.handshake.id == server.name]
        assert (server.first_seen, server.last_seen) == (min(own), max(own))


def test_capture_without_trouble_has_nothing_to_tell_of(run: Run) -> None:
    capture = run.report.capture
    kinds = {diagnostic.kind for diagnostic in capture.diagnostics}
    assert kinds <= ({"unfinished"} if run.name.startswith("s8") else set())
    assert (capture.partial, capture.cut_packets) == (0, 0)
    (wire,) = (record for file, record in run.truth["wire"].items() if file == f"{run.name}.pcap")
    assert capture.packets - sum(capture.skipped.values()) == wire["packets"]


# Other captures of the same runs


@pytest.mark.parametrize("files", OTHER_FILES.values(), ids=OTHER_FILES)
def test_another_capture_of_the_same_traffic_gives_the_same_report(files: tuple[str, ...]) -> None:
    name = files[0].split(".node")[0].removesuffix(".pcapng")
    main, other = load(name).facts, load(name, *files).facts

    def said(facts: ClusterFacts) -> list[object]:
        return [
            [(server.name, server.addresses, server.family, server.releases) for server in facts.servers],
            [(leadership.term, leadership.leader, leadership.ended_by) for leadership in facts.leaders],
            sorted((change.server, change.old or 0, change.new, change.cause) for change in facts.term_changes),
            sorted((e.term, e.candidate, e.pre_vote, sorted(e.granted), e.outcome, e.cause) for e in facts.elections),
            Counter((r.kind, r.by, r.of, r.term, r.reason, r.rejected) for r in facts.rejections),
            [(t.leader, t.target, t.outcome) for t in facts.transfers],
            {(traffic.sender, traffic.receiver, traffic.bytes): traffic.messages for traffic in facts.traffic},
        ]

    assert said(other) == said(main)


@pytest.mark.parametrize("files", PARTIAL_FILES.values(), ids=PARTIAL_FILES)
def test_part_of_the_traffic_gives_a_part_of_the_story_and_no_lies(files: tuple[str, ...]) -> None:
    name = next(run for run in RUNS if files[0].startswith(f"{run}."))
    run = load(name, *files)
    facts = run.facts
    hosts = {run.truth["nodes"][str(number)].rpartition(":")[0]: id_ for number, id_ in run.ids.items()}

    def id_of(server: ServerName) -> ServerName:
        return hosts.get(server, server) if isinstance(server, str) else server

    assert {id_of(server.name) for server in facts.servers} <= set(run.ids.values())
    assert {(leadership.term, id_of(leadership.leader)) for leadership in facts.leaders} <= set(run.leaders)
    assert {(id_of(change.server), change.new) for change in facts.term_changes} <= run.terms
    for leadership in facts.leaders:
        assert seconds(leadership.first) > run.leaders[leadership.term, id_of(leadership.leader)] - IN_ORDER
    for server in facts.servers:
        number = next(str(number) for number, id_ in run.ids.items() if id_ == id_of(server.name))
        assert not server.releases or includes(server.releases, run.truth["software"][number])
    won = {(e.term, id_of(e.candidate)) for e in facts.elections if e.outcome == "won" and not e.pre_vote}
    assert won <= set(run.leaders)
    sent = [(r["server"], r["peer"], r["rejected"], r["last"]) for r in run.logged("rejections_sent")]
    found = [r for r in facts.rejections if r.kind in ("append_entries", "install_snapshot")]
    assert is_within(Counter((id_of(r.by), id_of(r.of), r.rejected, r.last_log_index) for r in found), (), sent)
    assert sum(snapshot.outcome == "installed" for snapshot in facts.snapshots) <= len(run.logged("fsm_restore"))


def test_midway_capture_tells_of_all_that_happened_since() -> None:
    run = load("s1-mid-cowsql-0.22.1", "s1-mid-cowsql-0.22.1.mid.pcap")
    begin = (run.report.capture.first_ns or 0) / 1e9
    later = {key for key, t in run.leaders.items() if t > begin}
    assert later
    assert later < {(leadership.term, leadership.leader) for leadership in run.facts.leaders}
    elected = {(e.term, e.candidate) for e in run.facts.elections if e.outcome == "won"}
    assert elected == later
    logged = {(r["server"], r["term"]) for r in run.logged("term_changes") if r["t"] > begin}
    assert {(c.server, c.new) for c in run.facts.term_changes if c.old is not None} <= logged


def test_capture_without_raft_has_no_cluster() -> None:
    for file in ("dq1-dqlite-1.18.6.node4.pcap", "tls13-cowsql-0.22.1.pcap"):
        report = analyze(str(PCAPS / file))
        assert report.clusters == ()
        assert report.capture.messages == 0
