"""Which messages a user asks for: options of `messages` alone and together, and the forms of a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from raft_dissect.selection import Moment
from tests.command import run

FILE = "s9-canon0.18.1+cowsql0.22.1.pcap"
GAPS = "s8-reorder10-canon-0.18.1.pcap"
Record = dict[str, Any]
Rule = Callable[[Record], bool]
SECOND = 10**9


@cache
def everything(file: str) -> list[Record]:
    return run("messages", "--json", file).records


def between(record: Record, one: int, other: int) -> bool:
    return {record.get("sender_id"), record.get("receiver_id")} == {one, other}


def at_end(record: Record, one: int) -> bool:
    return one in (record.get("sender_id"), record.get("receiver_id"))


# The capture begins at 02:47:05.887 UTC on 2026-11-23, which is 1795402025 seconds after the epoch.
RULES: dict[str, tuple[list[str], Rule]] = {
    "server by id": (["--server", "2"], lambda r: at_end(r, 2)),
    "server by advertised address": (["--server", "10.77.77.2:9001"], lambda r: at_end(r, 2)),
    "server by host": (["--server", "10.77.77.2"], lambda r: at_end(r, 2)),
    "one of two servers": (
        ["--server", "2", "--server", "3", "--peer", "1"],
        lambda r: between(r, 1, 2) or between(r, 1, 3),
    ),
    "server and peer": (["--server", "1", "--peer", "3"], lambda r: between(r, 1, 3)),
    "peer and server": (["--peer", "10.77.77.1", "--server", "3"], lambda r: between(r, 1, 3)),
    "term": (["--term", "3"], lambda r: r["term"] == 3),
    "terms": (["--term", "3-4"], lambda r: r["term"] in (3, 4)),
    "type": (["--type", "RequestVote"], lambda r: r["message"] == "RequestVote"),
    "types in any case": (
        ["--type", "requestvote,TimeoutNow"],
        lambda r: r["message"] in ("RequestVote", "TimeoutNow"),
    ),
    "from a time of day": (["--from", "02:47:15"], lambda r: r["time_ns"] >= 1795402035 * SECOND),
    "to a date and time": (
        ["--to", "2026-11-23T02:47:15.5"],
        lambda r: r["time_ns"] < 1795402035 * SECOND + SECOND // 2,
    ),
    "seconds since the epoch": (
        ["--from", "1795402030", "--to", "1795402031.25"],
        lambda r: 1795402030 * SECOND <= r["time_ns"] < 1795402031 * SECOND + SECOND // 4,
    ),
    "time of day in another zone": (
        ["--tz", "Europe/Rome", "--from", "03:47:15"],
        lambda r: r["time_ns"] >= 1795402035 * SECOND,
    ),
    "time with its own zone": (
        ["--tz", "Europe/Rome", "--from", "2026-11-23T02:47:15Z"],
        lambda r: r["time_ns"] >= 1795402035 * SECOND,
    ),
    "all together": (
        [
            "--server",
            "2",
            "--peer",
            "1",
            "--term",
            "2-4",
            "--type",
            "AppendEntries",
            "--from",
            "02:47:08",
            "--to",
            "02:47:16",
        ],
        lambda r: (
            between(r, 1, 2)
            and 2 <= r["term"] <= 4
            and r["message"] == "AppendEntries"
            and 1795402028 * SECOND <= r["time_ns"] < 1795402036 * SECOND
        ),
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_options_select_what_they_say(rule: str) -> None:
    options, wanted = RULES[rule]
    done = run("messages", "--json", *options, FILE)
    assert (done.code, done.err) == (0, "")
    expected = [(r["frame"], r["stream"], r["offset"]) for r in everything(FILE) if wanted(r)]
    assert [(r["frame"], r["stream"], r["offset"]) for r in done.records] == expected
    assert 0 < len(expected) < len(everything(FILE))


def test_begin_is_inclusive_and_end_exclusive_to_the_nanosecond() -> None:
    times = sorted({record["time_ns"] for record in everything(FILE)})
    begin, end = times[100], times[200]
    options = [
        word for name, ns in (("--from", begin), ("--to", end)) for word in (name, f"{ns // SECOND}.{ns % SECOND:09d}")
    ]
    found = {record["time_ns"] for record in run("messages", "--json", *options, FILE).records}
    assert found == set(times[100:200])


def test_text_selects_the_same_as_json() -> None:
    frames = [str(record["frame"]) for record in everything(FILE) if record["term"] == 3]
    assert [line.split()[0] for line in run("messages", "--term", "3", FILE).lines[1:]] == frames


def test_diagnostics_are_a_type_and_of_a_server_but_of_no_term() -> None:
    (found,) = run("messages", "--json", "--type", "unfinished,gap", GAPS).records
    assert found["diagnostic"] == "unfinished"
    assert run("messages", "--json", "--type", "unfinished", "--server", "3", GAPS).records == [found]
    assert run("messages", "--json", "--type", "unfinished", "--server", "2", GAPS).records == []
    assert run("messages", "--json", "--type", "unfinished", "--term", "2", GAPS).records == []


@pytest.mark.parametrize(
    "options", [["--server", "99"], ["--term", "77"], ["--to", "2020-01-01 00:00"], ["--type", "gap"]]
)
def test_nothing_that_fits_is_fine_and_said(options: list[str]) -> None:
    said = "raft-dissect: none of 739 messages is what was asked for\n"  # the servers' logs: 739 on the wire
    assert run("messages", *options, FILE) == ("", said, 0)
    assert run("messages", "--json", *options, FILE) == ("", said, 0)


# Times

BEGIN = 1795402025 * SECOND
"""2026-11-23 02:47:05 UTC."""


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("0", UTC, 0),
        ("1795402025", UTC, BEGIN),
        ("1795402025.000000001", UTC, BEGIN + 1),
        ("1795402025.5", UTC, BEGIN + SECOND // 2),
        ("02:47", UTC, BEGIN - 5 * SECOND),
        ("2:47:05", UTC, BEGIN),
        ("02:47:05.123456789", UTC, BEGIN + 123456789),
        ("00:00:00", UTC, BEGIN - (2 * 3600 + 47 * 60 + 5) * SECOND),
        ("2026-11-23T02:47:05", UTC, BEGIN),
        ("2026-11-23 02:47:05.000000007", UTC, BEGIN + 7),
        ("2026-11-23T02:47:05Z", ZoneInfo("Asia/Tokyo"), BEGIN),
        ("2026-11-23T04:47:05+02:00", UTC, BEGIN),
        ("2026-11-23T11:47:05", ZoneInfo("Asia/Tokyo"), BEGIN),
        ("11:47:05", ZoneInfo("Asia/Tokyo"), BEGIN),
    ],
)
def test_time_is_understood_to_the_nanosecond(text: str, zone: Any, expected: int) -> None:
    assert Moment(text, zone).nanoseconds(BEGIN) == expected


def test_time_of_day_is_right_on_a_day_on_which_clocks_change() -> None:
    """In Rome, 2026-10-25 has 25 hours: 00:30 is 22:30 UTC the day before, 04:00 is 03:00 UTC."""
    begin = 1792881000  # 2026-10-24 22:30:00 UTC
    moment = Moment("04:00", ZoneInfo("Europe/Rome"))
    assert moment.nanoseconds(begin * SECOND) == (begin + 4 * 3600 + 1800) * SECOND


@pytest.mark.parametrize(
    "text", ["", "noon", "24:00", "12:60", "12:30:61", "-5", "1.5.5", "2026-13-01T00:00", "2026-11-23"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no time|month"):
        Moment(text, UTC)
