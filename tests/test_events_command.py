"""The command `events`: lines for people, objects for programs, checked against what the servers logged."""

from __future__ import annotations

import re
from typing import Any

import pytest

from raft_dissect.watch import KINDS
from tests import captures
from tests.command import run

S2, S5, S6 = "s2-cowsql-0.22.1.pcap", "s5-canon-0.18.1.pcap", "s6-canon-0.18.1.pcap"


def objects(file: str) -> list[dict[str, Any]]:
    done = run("events", "--json", str(captures.PCAPS / file))
    assert done.code == 0
    return done.records


@pytest.mark.parametrize("file", [S2, S5, S6])
def test_leaders_are_those_that_the_servers_logged(file: str) -> None:
    logged = captures.truth(captures.run_of(file))["leaders_by_term"]
    expected = [(int(term), one["node"]) for term, ones in logged.items() for one in ones]
    told = [(one["term"], one["leader"]) for one in objects(file) if one["event"] == "leader"]
    assert sorted(told) == sorted(expected)


def test_every_kind_is_documented_and_says_where_it_is_proven() -> None:
    for file in (
        S2,
        S5,
        S6,
        "s4-64k-canon-0.18.1.pcap",
        "s7-cowsql-0.22.1-nopv.pcap",
        "s1-snaplen96-canon-0.18.1.pcap",
    ):
        for one in objects(file):
            assert one["event"] in KINDS
            assert {"frame", "time", "time_ns", "cluster"} <= one.keys()


def test_a_transfer_is_told_with_its_end() -> None:
    logged = captures.truth(captures.run_of(S5))["timeout_now_sent"]
    told = [one for one in objects(S5) if one["event"].startswith("transfer")]
    assert [one["event"] for one in told].count("transfer_begun") == len(logged)
    begun = {(one["leader"], one["target"], one["term"]) for one in told if one["event"] == "transfer_begun"}
    ended = {(one["leader"], one["target"], one["term"]) for one in told if one["event"] == "transfer_ended"}
    assert ended <= begun


def test_text_names_servers_and_frames() -> None:
    done = run("events", str(captures.PCAPS / S2))
    lines = done.lines
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}  .* \(frame \d+\)", line) for line in lines)
    led = [re.search(r"server (\d) leads term (\d)", line) for line in lines]
    logged = captures.truth(captures.run_of(S2))["leaders_by_term"]
    assert {(one[2], int(one[1])) for one in led if one} == {
        (term, one["node"]) for term, ones in logged.items() for one in ones
    }


def test_a_capture_without_raft_is_said_in_one_line() -> None:
    done = run("events", str(captures.PCAPS / "tls13-cowsql-0.22.1.pcap"))
    assert (done.code, done.out) == (0, "")
    assert "no Raft traffic found" in done.err
