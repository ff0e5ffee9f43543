"""The report as text: what is said of facts that are made by hand, and that it fits where it is read."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess

import pytest

from raft_dissect.cluster.facts import ClusterFacts, Leaderless, Leadership, Rejection
from raft_dissect.diagnosis.findings import SEVERITIES, Finding
from raft_dissect.report import CaptureFacts, Report
from raft_dissect.report.as_text import report_text
from raft_dissect.report.terminal import Style, can_write_blocks, table
from raft_dissect.report.times import Clock
from raft_dissect.spread import Spread
from tests.captures import FILES, PCAPS
from tests.command import run, run_on_terminal
from tests.made import CAPTURE, CATCH_UP, ELECTION, FINDING, NOTHING, PATH, REPLICATION, SERVERS, TRUNCATION, at


def text(
    facts: ClusterFacts = NOTHING,
    findings: tuple[Finding, ...] = (),
    *,
    width: int | None = 80,
    style: Style | None = None,
    capture: CaptureFacts = CAPTURE,
) -> list[str]:
    """The lines of a report; none of them is wider than the terminal, and none ends in blanks."""
    lines = list(report_text(Report(capture, (facts,), findings), Clock(), style or Style(), width))
    assert all(len(line) <= (width or 80) for line in lines)
    assert [line for line in lines if line != line.rstrip()] == []
    return lines


def section(lines: list[str], title: str) -> list[str]:
    """The lines below a title, without the title."""
    begin = lines.index(title) + 1
    return lines[begin : lines.index("", begin) if "" in lines[begin:] else None]


def words(line: str) -> list[str]:
    return line.split()


# Findings


def test_findings_come_first_with_what_to_do_and_where_to_look() -> None:
    lines = text(findings=(FINDING, FINDING._replace(severity="note", evidence=(), text="Short.")))
    told = " ".join(line.strip() for line in section(lines, "Findings"))
    assert lines[0] == "Findings"
    assert told.startswith("problem  Server 2 was silent for 3.2 s, after which 1 and 3 elected")
    assert "at that time. at 00:00:01.000, frames 11, 12, 13, 14, 15, 16 and 2 more note     Short. Look at" in told
    assert lines.index("a.pcap: 100 packets, 4.88 KiB") > len(section(lines, "Findings"))


def test_nothing_to_say_is_one_line() -> None:
    assert text()[0] == "Nothing went wrong that packets could show."


def test_many_findings_are_counted() -> None:
    lines = text(findings=tuple(FINDING._replace(text=f"Finding {number}.") for number in range(30)))
    assert sum("Finding " in line for line in lines) == 12
    assert "  and 18 more; --json and --csv have them all" in lines


def test_findings_of_each_severity_have_a_colour() -> None:
    lines = report_text(
        Report(CAPTURE, (NOTHING,), tuple(FINDING._replace(severity=each) for each in SEVERITIES)),
        Clock(),
        Style(colours=True),
        80,
    )
    coloured = [line for line in lines if "Server 2 was" in line]
    assert len({line.split("m")[0] for line in coloured}) == 3


# Elections, and times without a leader


def test_an_election_says_who_was_asked_and_answered_what() -> None:
    row, *note = section(text(NOTHING._replace(elections=(ELECTION,))), "Elections")[1:]
    assert words(row) == ["00:00:02.000", "3", "7", "vote", "no", "heartbeats", "1", "of", "2", "won", "40"]
    assert " ".join(map(str.strip, note)) == (
        "asked 1 2; granted by 1; refused by 2 (log is behind); 1.25 s after the last message of leader 1, which sent "
        "3 segments again"
    )


def test_votes_that_are_told_with_their_election_are_no_rejections_of_their_own() -> None:
    vote = Rejection("request_vote", 2, 3, 7, "log_behind", None, 9, at(2, 41))
    entries = Rejection("append_entries", 2, 3, 7, "no_such_entry", 12, 9, at(3, 50))
    lines = text(NOTHING._replace(elections=(ELECTION,), rejections=(vote, entries)))
    assert [words(line)[-1] for line in section(lines, "Rejections")[1:]] == ["50"]
    lines = text(NOTHING._replace(rejections=(vote, entries)))
    assert [words(line)[-1] for line in section(lines, "Rejections")[1:]] == ["41", "50"]


def test_silence_of_voters_is_told() -> None:
    silent = ELECTION._replace(granted=(), refused=(), unread=(1,), leader=None, silent_seconds=None, outcome="unknown")
    notes = section(text(NOTHING._replace(elections=(silent,))), "Elections")[2:]
    assert " ".join(map(str.strip, notes)) == "asked 1 2; no answer from 2; the answer of 1 was not captured whole"


def test_times_without_a_leader_have_a_cause_and_an_end() -> None:
    interval = Leaderless(at(3, 30), at(4.5, 44), "connection_lost", "elected", 2)
    (row,) = section(text(NOTHING._replace(leaderless=(interval,))), "Without a leader")[1:]
    assert row.split() == ["00:00:03.000", "1.5", "s", "connections", "closed", "2", "an", "election", "30"]


# Replication


def test_replication_shows_lag_over_time() -> None:
    """20 characters for 24 seconds: 0 at first, the most after 11 s, little of it at the end."""
    lines = text(NOTHING._replace(replication=(REPLICATION,)), style=Style(blocks=True))
    row = section(lines, "Replication")[1]
    spark = "▁" + " " * 8 + "█" + " " * 9 + "▂"
    before, after = row.split("800")
    assert words(before) == ["1", ">", "2", "1,200", "50", "2", "KiB", "85", "B", "7"]
    assert after.strip().removesuffix("5").rstrip() == spark


def test_entries_and_bytes_are_told_per_second_that_the_leader_led() -> None:
    """From second 0 to 24 it led for 4 and 2 seconds: 1,200 / 6 = 200 entries and 2,048 / 6 = 341 bytes a second."""
    leaders = (
        Leadership(1, 1, at(0), at(4), "new_leader"),
        Leadership(2, 2, at(4), at(22), "new_leader"),
        Leadership(3, 1, at(22), at(30), "capture_end"),
    )
    row = section(text(NOTHING._replace(replication=(REPLICATION,), leaders=leaders)), "Replication")[1]
    assert words(row)[3:9] == ["1,200", "200", "2", "KiB", "341", "B"]
    slow = REPLICATION._replace(entries=3, bytes=300)
    row = section(text(NOTHING._replace(replication=(slow,))), "Replication")[1]
    assert words(row)[3:9] == ["3", "0.125", "300", "B", "12", "B"]  # in 24 seconds


@pytest.mark.parametrize("nanoseconds", [0, 275_000])
def test_what_was_sent_at_one_moment_has_no_rate(nanoseconds: int) -> None:
    """1,200 entries in 275 us would be 4,363,636 a second, which nobody sent."""
    place = REPLICATION.place
    once = REPLICATION._replace(last=place._replace(time_ns=place.time_ns + nanoseconds))
    row = section(text(NOTHING._replace(replication=(once,))), "Replication")[1]
    assert words(row)[3:8] == ["1,200", "-", "2", "KiB", "-"]


def test_data_that_was_not_captured_is_not_told_as_none() -> None:
    """Of a capture with a snaplen of 96 bytes: entries are counted in headers, their data is cut off."""
    lines = run("report", "s1-snaplen96-canon-0.18.1.pcap").lines
    assert [words(row)[5:7] for row in section(lines, "Replication")[1:4]] == [["-", "-"]] * 3


def test_heartbeats_show_how_regular_they_are() -> None:
    spread = Spread(499, 0.098, 0.1, 0.102, 0.25, 2.5)
    row = section(text(NOTHING._replace(replication=(REPLICATION._replace(heartbeat_seconds=spread),))), "Heartbeats")
    assert words(row[0]) == ["who", "sent", "empty", "p50", "p95", "p99", "longest", "frame"]
    assert words(row[1]) == ["1", ">", "2", "500", "400", "100", "ms", "102", "ms", "250", "ms", "2.5", "s", "5"]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_heartbeats_of_a_real_leader_are_those_that_tshark_times() -> None:
    """From one packet that begins with the preamble of AppendEntries, whose type is 1, to the next."""
    file, leader, follower = "noise-canon-0.18.1.pcap", "10.77.77.3", "10.77.77.1"
    sent = f"ip.src == {leader} && ip.dst == {follower} && tcp.dstport == 9001 && tcp.len > 0"
    command = ["tshark", "-n", "-r", str(PCAPS / file), "-Y", sent, "-T", "fields"]
    output = subprocess.run(
        [*command, "-e", "frame.time_epoch", "-e", "tcp.payload"], capture_output=True, text=True, check=True
    ).stdout
    _handshake, *packets = (line.split("\t") for line in output.splitlines())
    times = [float(time) for time, payload in packets if payload.startswith("01")]
    waits = sorted(after - before for before, after in itertools.pairwise(times))
    row = next(line for line in section(run("report", file).lines, "Heartbeats") if line.startswith("  3 > 1 "))
    shown = words(row)
    assert int(shown[3]) == len(times)
    assert shown[6::2] == ["ms"] * 4
    for said, share in zip(shown[5:11:2], (50, 95, 99), strict=True):
        nearest = waits[-(-share * len(waits) // 100) - 1]
        assert float(said) == pytest.approx(1000 * nearest, rel=0.02)
    assert float(shown[11]) == pytest.approx(1000 * waits[-1], rel=0.005)


@pytest.mark.parametrize("host", ["10.177.177.11", "fd00:77::77:1"])
def test_hosts_in_place_of_ids_leave_room_for_all_numbers(host: str) -> None:
    """The sparkline gives way, then is left out; names and numbers stay whole."""
    fact = REPLICATION._replace(leader=f"{host}1", follower=f"{host}2")
    lines = text(NOTHING._replace(replication=(fact,)))
    for title in ("Replication", "Heartbeats"):
        head, row, *_ = section(lines, title)
        assert row.startswith(f"  {host}1 > {host}2 ")
        assert row.endswith(" 5")
        assert len(words(head)) >= 8
    assert "1,200" in section(lines, "Replication")[1]


def test_two_long_names_are_both_told_by_their_ends() -> None:
    names = "rack-7-node-0001.example.org", "rack-7-node-0002.example.net"
    fact = REPLICATION._replace(leader=names[0], follower=names[1])
    for title in ("Replication", "Heartbeats"):
        row = section(text(NOTHING._replace(replication=(fact,)), width=70), title)[1]
        one, other = words(row)[0], words(row)[2]
        assert one.startswith("~")
        assert names[0].endswith(one[1:])
        assert names[1].endswith(other[1:])
        assert min(len(one), len(other)) > 5


def test_a_small_lag_is_told_from_none() -> None:
    assert Style(blocks=True).sparkline([0, 1, 1000, None, 500]) == "▁▂█ ▅"


def test_sparklines_are_ascii_where_the_output_cannot_have_blocks() -> None:
    assert not can_write_blocks("ascii")
    assert not can_write_blocks("latin-1")
    assert not can_write_blocks(None)
    assert can_write_blocks("utf-8")
    lines = text(NOTHING._replace(replication=(REPLICATION,)))
    assert "\n".join(lines).isascii()
    assert "#" in section(lines, "Replication")[1]


def test_answer_times_are_split_into_network_and_follower() -> None:
    row = section(text(NOTHING._replace(replication=(REPLICATION,))), "Answer times")[1]
    times = ["12", "ms", "250", "ms", "2", "ms", "10", "ms", "248", "ms", "15", "ms"]
    assert words(row) == ["1", ">", "2", "498", "2", *times]


def test_repairs_of_logs_are_told() -> None:
    unseen = CATCH_UP._replace(seconds=None)
    lines = text(NOTHING._replace(catch_ups=(CATCH_UP, unseen), truncations=(TRUNCATION,)))
    rows = section(lines, "Catch-ups")[1:]
    assert words(rows[0])[1:] == ["1", ">", "2", "7", "13", "104", "88", "snapshot", "750", "ms", "60"]
    assert "not seen" in rows[1]
    (row,) = section(lines, "Entries given up")[1:]
    assert words(row)[1:] == ["1", ">", "2", "7", "107-118", "12", "80"]


def test_paths_with_trouble_are_shown_of_many() -> None:
    calm = PATH._replace(refused=0, resets=0, retransmissions=0)
    few = section(text(NOTHING._replace(paths=(PATH, calm))), "TCP connections")
    assert sum(" > " in line for line in few) == 2
    assert words(few[1])[3:] == ["3", "1", "-", "2", "-", "10", "5%", "-", "400", "us", "9", "ms", "7"]
    many = section(text(NOTHING._replace(paths=(PATH, *[calm] * 9))), "TCP connections")
    assert sum(" > " in line for line in many) == 1
    assert "  and 9 without trouble" in many
    calmest = section(text(NOTHING._replace(paths=(calm,) * 10)), "TCP connections")
    assert "  all 10 without trouble" in calmest


# Widths


@pytest.mark.parametrize("width", [60, 80, 200])
def test_long_names_and_numbers_fit(width: int) -> None:
    far = SERVERS[0]._replace(name="x" * 150, addresses=("y" * 300,), restarts=(at(1, 10**7), at(2, 10**7)))
    big = REPLICATION._replace(leader=far.name, entries=10**12, bytes=2**60, again=10**9)
    facts = NOTHING._replace(
        servers=(far,),
        leaders=(Leadership(2**63, far.name, at(0, 10**7), at(1), "connection_lost"),),
        elections=(ELECTION._replace(candidate=far.name, term=2**63, requests=tuple(range(10**6, 10**6 + 40))),),
        replication=(big,),
        paths=(PATH._replace(sender=far.name, segments=10**9, retransmissions=10**8),),
    )
    for line in report_text(Report(CAPTURE, (facts,), (FINDING,)), Clock(), Style(), width):
        assert len(line) <= width


def test_numbers_are_left_out_where_there_is_no_room_rather_than_cut() -> None:
    """Names, a text and the frame need 11, 4 and 5 characters, and each number 7; the mark of what is missing 2."""
    head = ("who", "first", "because", "second", "third", "frame")
    row = ("server-a > server-b", "1.25 ms", "of no reason", "2.5 MiB", "3.75 ms", "12345")
    right = frozenset({1, 3, 4, 5})
    assert table(head, [row], Style(), right, width=80)[1].split() == " ".join(row).split()
    whole, without_third, without_second = (table(head, [row], Style(), right, width=width) for width in (48, 42, 34))
    assert whole[1] == "  ~r-a > ~r-b 1.25 ms of > 2.5 MiB 3.75 ms 12345"
    assert without_third == [
        "  who           first bec>  second frame >",
        "  ~r-a > ~r-b 1.25 ms of > 2.5 MiB 12345",
    ]
    assert without_second == [
        "  who           first bec> frame >",
        "  ~r-a > ~r-b 1.25 ms of > 12345",
    ]


@pytest.mark.parametrize("file", FILES)
def test_report_in_a_pipe_fits_80_columns_too(file: str) -> None:
    done = run("report", file)
    assert done.code == 0
    assert [line for line in done.lines if len(line) > 80] == []


def test_terminals_without_blocks_get_ascii() -> None:
    out = run_on_terminal("report", "s3-cowsql-0.22.1.pcap", env={"PYTHONIOENCODING": "ascii", "NO_COLOR": "1"}).out
    assert out.isascii()


# Who led


def test_the_leader_of_a_time_is_the_one_whose_servers_logged_it() -> None:
    """Leaders 2, 1, 3, 1, 2 in the terms 2 to 6, as the run is described; the times are those of the JSON report."""
    file = "s5-canon-0.18.1.pcap"
    leaders = json.loads(run("report", "--json", file).out)["clusters"][0]["leaders"]
    for item, expected in zip(leaders, [(2, 2), (3, 1), (4, 3), (5, 1), (6, 2)], strict=True):
        for time in (item["from"], item["to"]):
            found = json.loads(run("report", "--json", "--at", time, file).out)
            assert (found["term"], found["leader"]) == expected
    line = run("report", "--at", leaders[1]["from"], file).out
    assert "1 led, in term 3: from " in line
    assert f"(frame {leaders[1]['frame']})" in line.replace("\n  ", " ")


def test_a_leader_that_is_cut_off_does_not_lead_beside_its_successor() -> None:
    """Leader 1 of term 5 is cut off, and goes on alone while 3 leads in term 7, as the capture's description says."""
    found = json.loads(run("report", "--json", "--at", "02:41:42", "s3-cowsql-0.22.1.pcap").out)
    assert (found["leader"], found["term"]) == (3, 7)


def test_a_time_without_a_leader_names_the_ones_around_it() -> None:
    """The leader of term 2 is cut off at 02:41:38; the next one speaks in term 5."""
    out = " ".join(run("report", "--at", "02:41:38.9", "s3-cowsql-0.22.1.pcap").out.split())
    assert "no leader was heard of; the last one was 1, in term 2, until " in out
    assert "the next one was 1, in term 5, from " in out
    assert json.loads(run("report", "--json", "--at", "02:41:38.9", "s3-cowsql-0.22.1.pcap").out)["leader"] is None


def test_a_time_outside_the_capture_is_said_to_be_that() -> None:
    done = run("report", "--at", "2020-01-01T00:00", "s3-cowsql-0.22.1.pcap")
    assert "nothing was captured: the capture is from 2026-11-23 02:41:34 UTC" in " ".join(done.out.split())
    assert done.code == 0
