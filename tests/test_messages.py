"""The command `messages`: its JSON records key by key, and its lines of text."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections import Counter
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from raft_dissect import wire
from raft_dissect.dissection import messages
from tests.captures import PCAPS, packets, run_file, truth
from tests.command import run, run_on_terminal
from tests.packets import Connection, capture
from tests.scripts import VOTER, Script, change, command

if TYPE_CHECKING:
    from pathlib import Path

    from raft_dissect.values import Packet

FILES = [
    "dq4-dqlite-1.18.6.pcap",
    "lo-cowsql-0.22.1.pcap",
    "s1-canon-0.9.0.pcap",
    "s1-mid-cowsql-0.22.1.mid.pcap",
    "s1-snaplen96-canon-0.18.1.pcap",
    "s4-ipv6-cowsql-0.22.1.pcap",
    "s5-canon-0.18.1.pcapng",
    "s6-canon-0.18.1.pcap",
    "s8-reorder10-canon-0.18.1.pcap",
    "s9-canon0.18.1+cowsql0.22.1.pcap",
]
Record = dict[str, Any]
Kind = type | tuple[type, ...]
ALWAYS: dict[str, Kind] = {
    "frame": int,
    "time": str,
    "time_ns": int,
    "src": str,
    "dst": str,
    "stream": int,
    "offset": (int, type(None)),
    "sender_id": (int, type(None)),
    "sender_address": (str, type(None)),
    "receiver_id": (int, type(None)),
    "sender_known_by": (str, type(None)),
    "handshake": (str, type(None)),
    "message": str,
    "dialect": (str, type(None)),
    "version": int,
    "header_length": int,
    "payload_length": (int, type(None)),
}
TERM: dict[str, Kind] = {"term": int}
OWN: dict[str, dict[str, Kind]] = {
    "RequestVote": {"candidate_id": int, "last_log_index": int, "last_log_term": int},
    "RequestVoteResult": {"vote_granted": bool},
    "AppendEntries": {
        "prev_log_index": int,
        "prev_log_term": int,
        "leader_commit": int,
        "n_entries": int,
        "entries": list,
    },
    "AppendEntriesResult": {"rejected": int, "last_log_index": int},
    "InstallSnapshot": {"last_index": int, "last_term": int, "conf_index": int, "configuration": list},
    "TimeoutNow": {"last_log_index": int, "last_log_term": int},
}
LATER: dict[str, dict[str, Kind]] = {
    "RequestVote": {"disrupt_leader": bool, "pre_vote": bool},
    "RequestVoteResult": {"pre_vote": bool, "features": int, "capacity": int},
    "AppendEntriesResult": {"features": int, "capacity": int},
}
"""Fields that only newer layouts carry."""


@cache
def records(*files: str) -> list[Record]:
    done = run("messages", "--json", "--hash", *files)
    assert (done.code, done.err) == (0, "")
    return done.records


@cache
def said(file: str) -> list[Record]:
    return [record for record in records(file) if "message" in record]


# Records


@pytest.mark.parametrize("file", FILES)
def test_records_have_the_documented_keys_and_types(file: str) -> None:
    for record in said(file):
        name = record["message"]
        documented = {**ALWAYS, **TERM, **OWN[name]}
        possible: dict[str, Kind] = {
            **documented,
            **LATER.get(name, {}),
            "payload_sha256": str,
            "partial": bool,
            "missing": (int, type(None)),
        }
        assert set(record) <= set(possible)
        required = {**ALWAYS, **TERM} if record.get("partial") else documented
        assert set(required) <= set(record)
        for key, value in record.items():
            kind = possible[key]
            assert isinstance(value, kind), (key, value)
            assert isinstance(value, bool) == (kind is bool), (key, value)
        assert record["sender_known_by"] in (None, "handshake", "configuration", "inferred")
        assert record["handshake"] in (None, "raft", "dqlite")
        assert record["dialect"] in (None, "canonical", "cowsql")
        assert ("partial" in record) == ("missing" in record)
        assert record.get("partial", True) is True


@pytest.mark.parametrize("file", FILES)
def test_time_and_nanoseconds_are_the_same_moment(file: str) -> None:
    for record in records(file):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", record["time"])
        whole, nanoseconds = record["time"][:-1].split(".")
        moment = datetime.fromisoformat(whole + "+00:00")
        assert record["time_ns"] == int(moment.timestamp()) * 10**9 + int(nanoseconds)


@pytest.mark.parametrize("file", FILES)
def test_frames_are_those_that_tshark_shows(file: str) -> None:
    if shutil.which("tshark") is None:
        pytest.skip("no tshark")
    fields = [
        "frame.number",
        "frame.time_epoch",
        "ip.src",
        "ip.dst",
        "ipv6.src",
        "ipv6.dst",
        "tcp.srcport",
        "tcp.dstport",
    ]
    options = [word for field in [*fields, "tcp.stream"] for word in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-n", "-r", str(PCAPS / file), "-T", "fields", *options], capture_output=True, text=True, check=True
    )
    shown = {}
    for line in done.stdout.splitlines():
        number, time, src4, dst4, src6, dst6, sport, dport, stream = line.split("\t")
        shown[int(number)] = (time, src4 or f"[{src6}]", dst4 or f"[{dst6}]", sport, dport, stream)
    for record in said(file):
        time, src, dst, sport, dport, stream = shown[record["frame"]]
        seconds, _, fraction = time.partition(".")
        assert record["time_ns"] == int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
        assert (record["src"], record["dst"]) == (f"{src}:{sport}", f"{dst}:{dport}")
        assert record["stream"] // 2 == int(stream)


@pytest.mark.parametrize("file", ["s9-canon0.18.1+cowsql0.22.1.pcap", "dq4-dqlite-1.18.6.pcap", "s1-canon-0.9.0.pcap"])
def test_servers_at_both_ends_are_those_that_the_truth_counts(file: str) -> None:
    run_truth = truth(file.removesuffix(".pcap"))
    ids = run_truth.get("raft_ids", {number: int(number) for number in run_truth["nodes"]})
    counted = Counter((record["sender_id"], record["receiver_id"], record["message"]) for record in said(file))
    for pair, counts in run_truth["message_counts"].items():
        sender, receiver = (ids[number] for number in pair.split("->"))
        for name, count in counts.items():
            assert count["received"] <= counted.pop((sender, receiver, name), 0) <= count["write_ok"]
    assert not counted
    addresses = {ids[number]: address for number, address in run_truth["nodes"].items()}
    for record in said(file):
        assert record["sender_address"] == addresses[record["sender_id"]]
        assert record["sender_known_by"] == "handshake"
        assert record["handshake"] == ("dqlite" if "dqlite" in file else "raft")


def test_dialect_is_what_the_bytes_show() -> None:
    """Server 2 runs cowsql: its votes and results have a version byte, which nothing of the others has."""
    for record in said("s9-canon0.18.1+cowsql0.22.1.pcap"):
        versioned = record["sender_id"] == 2 and record["message"] in (
            "RequestVote",
            "RequestVoteResult",
            "AppendEntriesResult",
        )
        assert record["version"] == (2 if versioned else 0)
        assert ("capacity" in record) == (versioned and record["message"] != "RequestVote")
        if record["message"] in ("RequestVote", "RequestVoteResult", "AppendEntriesResult"):
            assert record["dialect"] == ("cowsql" if versioned else "canonical")


def test_entries_are_numbered_from_the_one_before_them() -> None:
    appends = [record for record in said("s6-canon-0.18.1.pcap") if record["message"] == "AppendEntries"]
    kinds = set()
    for record in appends:
        assert len(record["entries"]) == record["n_entries"]
        assert sum(entry["size"] for entry in record["entries"]) == record["payload_length"]
        for number, entry in enumerate(record["entries"], record["prev_log_index"] + 1):
            assert (entry["index"], set(entry) - {"configuration"}) == (number, {"index", "term", "type", "size"})
            assert ("configuration" in entry) == (entry["type"] == "change")
            kinds.add(entry["type"])
    assert kinds == {"command", "barrier", "change"}
    added = next(e for r in appends for e in r["entries"] if e["type"] == "change" and e["index"] == 32)
    assert added["configuration"] == [
        {"id": 1, "address": "10.77.77.1:9001", "role": "voter"},
        {"id": 2, "address": "10.77.77.2:9001", "role": "voter"},
        {"id": 3, "address": "10.77.77.3:9001", "role": "voter"},
        {"id": 4, "address": "10.77.77.4:9001", "role": "spare"},
    ]


def test_snapshot_has_its_configuration() -> None:
    (snapshot,) = (record for record in said("dq4-dqlite-1.18.6.pcap") if record["message"] == "InstallSnapshot")
    run_truth = truth("dq4-dqlite-1.18.6")
    (logged,) = run_truth["install_snapshot_received"]
    assert (snapshot["last_index"], snapshot["last_term"]) == (logged["last_idx"], logged["last_term"])
    assert (snapshot["conf_index"], snapshot["payload_length"]) == (logged["conf_idx"], logged["data"])
    roles = {0: "standby", 1: "voter", 2: "spare"}
    assert [(s["id"], s["address"], s["role"]) for s in snapshot["configuration"]] == [
        (id_, address, roles[role]) for id_, address, role in logged["conf"]
    ]


def test_payload_hash_is_that_of_the_payload() -> None:
    sizes = (8, 100, 5000)
    entries = [command(2, size) for size in sizes]
    script = Script().append(1, 2, 2, (1, 1), *entries, change(2, {1: VOTER})).append(1, 2, 2, (2, 5))
    data = bytes(range(256)) * 10
    script.say(1, 2, "InstallSnapshot", {"term": 2, "last_index": 1}, roles={1: VOTER}, data=data)
    payload = bytes(sum(sizes)) + wire.encode_configuration([wire.Server(1, "10.0.0.1:9001", VOTER)])
    found = [m.payload_sha256 for m in messages(script.packets(), hash_payload=True)]
    assert found[0] == hashlib.sha256(payload).hexdigest()
    assert found[2] == hashlib.sha256(data).hexdigest()
    assert found[1] in (None, hashlib.sha256(b"").hexdigest())


def test_hash_is_given_only_when_asked_for_and_only_of_what_is_whole() -> None:
    file = "s4-ipv6-cowsql-0.22.1.pcap"
    assert all(record.get("payload_sha256") for record in said(file) if record["payload_length"])
    assert not any("payload_sha256" in record for record in run("messages", "--json", file).records)
    assert not any("payload_sha256" in record for record in said("s1-snaplen96-canon-0.18.1.pcap"))
    for record in said(file):
        if record["message"] == "InstallSnapshot":
            assert re.fullmatch("[0-9a-f]{64}", record["payload_sha256"])


def test_message_cut_by_the_snaplen_has_the_fields_that_were_captured() -> None:
    """96 bytes of a packet are 30 of its message: the preamble, the term and 6 bytes more."""
    for record in said("s1-snaplen96-canon-0.18.1.pcap"):
        assert record["partial"] is True
        own = set(record) - set(ALWAYS) - {"partial", "missing"}
        assert own == {"term"}
        if record["message"] in ("RequestVote", "RequestVoteResult", "AppendEntriesResult"):
            assert record["missing"] == 16 + record["header_length"] - 30
            assert record["payload_length"] == 0


def test_file_is_named_only_when_there_are_several() -> None:
    assert not any("file" in record for record in records(FILES[0]))
    nodes = [f"s1-5n-cowsql-0.22.1.node{number}.pcap" for number in (1, 2, 3)]
    merged = records(*nodes)
    assert {record["file"] for record in merged} == set(nodes)
    whole = Counter(record["message"] for record in said("s1-5n-cowsql-0.22.1.node1.pcap"))
    assert Counter(record["message"] for record in merged)["AppendEntries"] == whole["AppendEntries"]
    frames = {(r["file"], r["frame"]): r["time_ns"] for r in merged}
    for index, node in enumerate(nodes):
        times = {packet.frame: packet.time_ns for packet in packets(node)}
        own = {frame: time for (name, frame), time in frames.items() if name == node}
        assert own.items() <= times.items(), index


def test_records_come_with_all_that_the_engine_found() -> None:
    file = "s8-reorder10-canon-0.18.1.pcap"
    assert Counter(record["message"] for record in said(file)) == run_file(file).counts
    kinds = [record["diagnostic"] for record in records(file) if "diagnostic" in record]
    assert kinds == [diagnostic.kind for diagnostic in run_file(file).diagnostics]
    unfinished = next(record for record in records(file) if "diagnostic" in record)
    assert {"frame", "time", "time_ns", "src", "dst", "stream", "offset", "size", "detail"} <= set(unfinished)
    assert isinstance(unfinished["detail"], str)


def test_field_that_a_layout_does_not_carry_is_absent() -> None:
    for record in said("s1-canon-0.9.0.pcap"):
        assert not set(record) & {"pre_vote", "disrupt_leader", "features", "capacity"}


# Lines


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("file", FILES)
def test_there_is_one_line_for_each_message_and_diagnostic(file: str) -> None:
    done = run("messages", file)
    head, *lines = done.lines
    assert head.split() == ["frame", "time", "who", "message", "term", "details"]
    assert "\x1b" not in done.out
    assert len(lines) == len(records(file))
    for line, record in zip(lines, records(file), strict=True):
        assert line.split()[0] == str(record["frame"])
        assert line.split()[1] == record["time"][11:26]
        assert str(record.get("message", record.get("diagnostic"))) in line
        assert line == line.rstrip()


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("file", ["dq4-dqlite-1.18.6.pcap", "s8-reorder10-canon-0.18.1.pcap", FILES[4]])
def test_lines_fit_the_terminal_and_are_aligned(file: str, columns: int) -> None:
    lines = plain(run_on_terminal("messages", file, columns=columns).out).splitlines()
    assert len(lines) == len(records(file)) + 1
    assert max(map(len, lines)) <= columns
    name = lines[0].index("message ")
    details = lines[0].find("details")
    for line, record in zip(lines[1:], records(file), strict=True):
        if "message" in record:
            assert line[name:].startswith(record["message"][: columns - name - 1])
            if 0 < details < columns - 10:
                assert line[details - 1] == " "
                assert line[details : details + 1] != " "


def test_line_that_does_not_fit_says_that_there_is_more() -> None:
    wide = plain(run_on_terminal("messages", "dq4-dqlite-1.18.6.pcap", columns=200).out).splitlines()
    assert not any(line.endswith(">") for line in wide)
    narrow = plain(run_on_terminal("messages", "dq4-dqlite-1.18.6.pcap", columns=80).out).splitlines()
    cut = [line for line in narrow if line.endswith(">")]
    assert cut
    assert {len(line) for line in cut} == {80}


def test_colours_are_for_terminals_only_and_not_with_no_color() -> None:
    file = "s5-canon-0.18.1.pcap"
    assert "\x1b[" in run_on_terminal("messages", file).out
    assert "\x1b" not in run_on_terminal("messages", file, env={"NO_COLOR": "1"}).out
    assert "\x1b" not in run("messages", file).out
    assert "\x1b" not in run_on_terminal("messages", "--json", file).out


def test_refusals_and_rejections_are_red() -> None:
    out = run_on_terminal("messages", "--type", "RequestVoteResult", "s1-canon-0.11.3.pcap", columns=120).out
    lines = out.splitlines()[1:]
    assert {("refused" in line, "\x1b[31m" in line) for line in lines} == {(True, True), (False, False)}


def test_line_says_what_the_message_says(tmp_path: Path) -> None:
    script = Script().ask(2, 1, 3, (2, 7), pre=1).ask(2, 1, 3, (2, 7), disrupt=1).vote(1, 2, 3, 0)
    script.append(2, 1, 3, (2, 7), command(3, 100), command(3, 2000)).result(1, 2, 3, 5, rejected=7)
    fields = {"term": 3, "last_index": 7, "last_term": 2}
    script.say(2, 1, "InstallSnapshot", fields, roles={1: VOTER, 2: 0}, data=bytes(65536))
    script.say(2, 1, "TimeoutNow", {"term": 3, "last_log_index": 9, "last_log_term": 3})
    file = tmp_path / "all.pcap"
    file.write_bytes(pcap(script.packets()))
    done = run("messages", str(file))
    assert (done.code, done.err) == (0, "")
    assert [" ".join(line.split()[6:]) for line in done.lines[1:]] == [
        "3 last 7/2, pre-vote",
        "3 last 7/2, transfer",
        "3 refused",
        "3 +2 2.05 KiB, prev 7/2, commit 0",
        "3 rejected 7, last 5",
        "3 up to 7/2, 64 KiB, servers 1:voter 2:standby",
        "3 last 9/3",
    ]
    assert [line.split()[2:6] for line in done.lines[1:3]] == [["2", ">", "1", "RequestVote"]] * 2


def test_pipe_is_read_without_waiting_to_learn_who_is_who() -> None:
    """Server 1 has not spoken yet when the first line is printed: its host stands for it."""
    script = Script().ask(2, 1, 3).vote(1, 2, 3, 1).ask(2, 1, 4)
    done = run("messages", "-", stdin=pcap(script.packets()))
    assert [line.split()[2:5] for line in done.lines[1:]] == [
        ["2", ">", "10.0.0.1"],
        ["1", ">", "2"],
        ["2", ">", "1"],
    ]


def pcap(captured: list[Packet]) -> bytes:
    """A capture file with nanosecond timestamps."""
    head = bytes.fromhex("4d3cb2a1 0200 0400 00000000 00000000") + (262144).to_bytes(4, "little") + bytes([1, 0, 0, 0])
    parts = [head]
    for packet in captured:
        seconds, nanoseconds = divmod(packet.time_ns, 10**9)
        numbers = (seconds, nanoseconds, len(packet.data), packet.original_length)
        parts += [*(number.to_bytes(4, "little") for number in numbers), packet.data]
    return b"".join(parts)


def test_hole_is_a_line_of_its_own(tmp_path: Path) -> None:
    """The second of ten messages is lost: it is a gap in the text, and a record with its place and size."""
    message = wire.encode_message(2, {"term": 2, "last_log_index": 1}, layout="c-0.18.0")
    handshake = wire.encode_handshake("raft", 1, "10.0.0.1:9001")
    connection = Connection()
    sent = [handshake, *[message] * 10]
    offsets = [sum(map(len, sent[:number])) for number in range(len(sent))]
    frames = [connection.data(offset, data) for offset, data in zip(offsets, sent, strict=True)]
    lost = [*connection.opening(), *frames[:2], *frames[3:], connection.ack(offsets[-1] + len(message))]
    file = tmp_path / "lost.pcap"
    file.write_bytes(pcap(capture(lost)))
    found = run("messages", "--json", str(file)).records
    (gap,) = (record for record in found if record.get("diagnostic") == "gap")
    assert (gap["offset"], gap["size"]) == (offsets[2], len(message))
    assert sum("message" in record for record in found) == 9
    assert sum("gap: 48 bytes" in line for line in run("messages", str(file)).lines) == 1


def test_json_lines_are_plain_ascii_json() -> None:
    for line in run("messages", "--json", "s1-hostnames-cowsql-0.22.1.pcap").lines:
        assert line.isascii()
        assert isinstance(json.loads(line), dict)
