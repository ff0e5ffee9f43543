"""The timeline for Perfetto: well-formed by the rules of the Trace Event Format, and saying what the report says."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from raft_dissect.report import Report
from raft_dissect.report.as_trace import report_trace
from raft_dissect.report.times import Clock
from tests import made
from tests.captures import FILES, PCAPS
from tests.command import run

if TYPE_CHECKING:
    from pathlib import Path

Event = dict[str, Any]
PHASES = {"X", "i", "C", "M"}


@cache
def trace(*files: str) -> dict[str, Any]:
    done = run("report", "--trace", "-", *files)
    assert (done.code, done.err) == (0, "")
    loaded: dict[str, Any] = json.loads(done.out)
    return loaded


def check_form(trace: dict[str, Any]) -> None:
    """The rules of the format: known phases, times, threads with names, and slices of one thread that nest.

    Perfetto before 2022 took `displayTimeUnit` for the unit of all times, which are microseconds without it.
    """
    assert trace.keys() == {"traceEvents", "otherData"}
    threads: dict[tuple[int, int], list[Event]] = defaultdict(list)
    named = set()
    for event in trace["traceEvents"]:
        assert event["ph"] in PHASES
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] == "M":
            named.add((event["pid"], event["tid"], event["name"]))
            continue
        assert event["ts"] >= 0
        if event["ph"] == "i":
            assert event["s"] in ("g", "p", "t")
        if event["ph"] == "C":
            assert all(isinstance(value, (int, float)) for value in event["args"].values())
        else:
            assert event["args"]["frame"]
            assert (event["pid"], event["tid"], "thread_name") in named
        if event["ph"] == "X":
            threads[event["pid"], event["tid"]].append(event)
    for slices in threads.values():
        # No two of them overlap, so they nest; times have three decimals, so that floats must be rounded.
        ends = [round((event["ts"] + event["dur"]) * 1000) for event in slices]
        begins = [round(event["ts"] * 1000) for event in slices]
        assert all(begin >= end for begin, end in zip(begins[1:], ends, strict=False))


@pytest.mark.parametrize("file", FILES)
def test_traces_of_real_captures_are_well_formed(file: str) -> None:
    check_form(trace(file))


def of_thread(trace: dict[str, Any], name: str) -> list[Event]:
    (thread,) = (
        event["tid"]
        for event in trace["traceEvents"]
        if event["name"] == "thread_name" and event["args"]["name"] == name
    )
    return [event for event in trace["traceEvents"] if event["tid"] == thread and event["ph"] != "M"]


def test_servers_are_leaders_in_the_terms_that_they_led() -> None:
    """Leaders 2, 1, 3, 1, 2 in terms 2 to 6, as the description of the capture says."""
    found = {}
    for server in (1, 2, 3):
        for event in of_thread(trace("s5-canon-0.18.1.pcap"), f"server {server}"):
            if event["ph"] == "X" and event["name"].startswith("leader"):
                found[event["args"]["term"]] = server
    assert found == {2: 2, 3: 1, 4: 3, 5: 1, 6: 2}


def test_slices_and_instants_name_the_frames_of_the_report() -> None:
    file = "s4-64k-canon-0.18.1.pcap"
    cluster = json.loads(run("report", "--json", file).out)["clusters"][0]
    events = trace(file)["traceEvents"]
    begin = json.loads(run("report", "--json", file).out)["capture"]["first"]
    assert trace(file)["otherData"]["begin"] == begin
    for prefix, items in (
        ("leader", cluster["leaders"]),
        ("no leader", cluster["leaderless"]),
        ("vote for", cluster["elections"]),
        ("snapshot", cluster["snapshots"]),
        ("term", cluster["term_changes"]),
        ("rejects", cluster["rejections"]),
    ):
        frames = [event["args"]["frame"] for event in events if event["ph"] != "M" and event["name"].startswith(prefix)]
        assert sorted(frames) == sorted(item["frame"] for item in items), prefix


def test_times_count_from_the_begin_of_the_capture_in_microseconds() -> None:
    """The first vote request, frame 13, is 5.379 ms behind the first packet, as tshark's frame.time_relative says."""
    (vote,) = (event for event in trace("s4-64k-canon-0.18.1.pcap")["traceEvents"] if event["name"].startswith("vote"))
    assert vote["args"]["frame"] == 13
    assert vote["ts"] == 5379


def test_frames_of_several_files_say_which_file() -> None:
    files = sorted(path.name for path in PCAPS.glob("s1-5n-cowsql-0.22.1.node*.pcap"))
    check_form(trace(*files))
    frames = [event["args"]["frame"] for event in trace(*files)["traceEvents"] if event["ph"] == "X"]
    assert all(1 <= int(frame.split(":")[0]) <= 5 for frame in frames)


def test_lag_repairs_and_restarts_are_on_the_timeline() -> None:
    servers = (made.SERVERS[0]._replace(restarts=(made.at(6, 66),)), *made.SERVERS[1:])
    facts = made.NOTHING._replace(
        servers=servers,
        replication=(made.REPLICATION,),
        catch_ups=(made.CATCH_UP, made.CATCH_UP._replace(follower=3)),
        truncations=(made.TRUNCATION,),
    )
    made_up = report_trace(Report(made.CAPTURE, (facts,)), Clock())
    check_form(made_up)
    events = made_up["traceEvents"]
    counters = [(event["name"], event["ts"], event["args"]) for event in events if event["ph"] == "C"]
    assert ("lag 1 > 2", 11_000_000, {"entries": 800}) in counters
    assert [event["dur"] for event in events if event["name"] == "catch-up 1 > 2"] == [750_000]
    assert [event["args"]["frame"] for event in events if event["name"] == "started anew"] == [66]
    assert [event["args"]["first_index"] for event in events if event["name"] == "gives up 12 entries"] == [107]


def test_a_trace_is_written_beside_the_report(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    done = run("report", "--trace", str(path), "s5-canon-0.18.1.pcap")
    assert done == run("report", "s5-canon-0.18.1.pcap")
    assert json.loads(path.read_text()) == trace("s5-canon-0.18.1.pcap")
