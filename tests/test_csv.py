"""Tables of the report as CSV, read back with a CSV reader."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from raft_dissect.report import Report
from raft_dissect.report.as_csv import write_table
from raft_dissect.report.tables import TABLES
from raft_dissect.report.times import Clock
from tests import made
from tests.captures import PCAPS, truth
from tests.command import run

if TYPE_CHECKING:
    from pathlib import Path

FILE = "s7-cowsql-0.22.1-nopv.pcap"


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def table(name: str, *files: str) -> list[dict[str, str]]:
    done = run("report", "--csv", name, *files)
    assert (done.code, done.err) == (0, "")
    return rows(done.out)


def test_a_table_is_printed_by_its_name() -> None:
    found = {(int(row["term"]), int(row["leader"])) for row in table("leaders", "s5-canon-0.18.1.pcap")}
    assert found == {(2, 2), (3, 1), (4, 3), (5, 1), (6, 2)}  # as the description of the capture says


@pytest.mark.parametrize("name", ["elections", "term_changes", "rejections", "leaderless", "leaders"])
def test_tables_have_the_items_of_the_json_report(name: str) -> None:
    items = json.loads(run("report", "--json", FILE).out)["clusters"][0][name]
    found = table(name, FILE)
    assert [(row["time"], int(row["frame"])) for row in found] == [(item["time"], item["frame"]) for item in items]
    for row, item in zip(found, items, strict=True):
        for key in set(row) & set(item) & {"term", "old", "new", "rejected", "seconds", "candidate", "server"}:
            assert (float(row[key]) if row[key] else None) == item[key]


def test_messages_are_counted_as_on_the_wire() -> None:
    counted: dict[str, int] = {}
    for row in table("traffic", FILE):
        counted[row["message"]] = counted.get(row["message"], 0) + int(row["messages"])
    assert counted == truth(FILE.removesuffix(".pcap"))["wire"][FILE]["messages"]


def test_every_refusal_is_a_row() -> None:
    elections = json.loads(run("report", "--json", FILE).out)["clusters"][0]["elections"]
    expected = [(item["frame"], one["voter"], one["reason"]) for item in elections for one in item["refused"]]
    assert [(int(row["frame"]), int(row["voter"]), row["reason"]) for row in table("refusals", FILE)] == expected


def test_a_folder_gets_a_file_for_each_table_beside_the_report(tmp_path: Path) -> None:
    printed = {name: run("report", "--csv", name, FILE).out for name in TABLES}
    for folder in (tmp_path, tmp_path / "new"):
        done = run("report", "--csv", str(folder), FILE)
        assert done == run("report", FILE)
        assert {path.stem: path.read_text() for path in folder.glob("*.csv")} == printed


def test_an_empty_table_has_its_head() -> None:
    assert run("report", "--csv", "transfers", FILE).out.startswith("cluster,time,frame,leader,target,")


def test_several_files_are_named_in_rows() -> None:
    files = sorted(path.name for path in PCAPS.glob("s1-5n-cowsql-0.22.1.node*.pcap"))
    assert {row["file"] for row in table("leaders", *files)} <= set(files)


def test_facts_that_are_made_by_hand_are_in_their_tables() -> None:
    event = made.PATH._replace(events=())
    facts = made.NOTHING._replace(
        elections=(made.ELECTION,),
        replication=(made.REPLICATION,),
        paths=(event,),
        catch_ups=(made.CATCH_UP._replace(seconds=None, finished=None),),
        truncations=(made.TRUNCATION,),
    )
    report = Report(made.CAPTURE, (facts,), (made.FINDING._replace(text="=1+1"),))
    written = {}
    for name in TABLES:
        file = io.StringIO()
        write_table(report, Clock(), name, file)
        written[name] = rows(file.getvalue())
    (finding,) = written["findings"]
    assert (finding["text"], finding["severity"], finding["frames"]) == ("'=1+1", "problem", "11 12 13 14 15 16 17 18")
    (replication,) = written["replication"]
    assert (replication["ack_seconds_p99"], replication["sizes_p50"]) == ("0.25", "")
    assert [(row["entries"], row["bytes"], row["time"][17:19]) for row in written["lag"]] == [
        ("0", "0", "00"),
        ("800", "", "11"),
        ("100", "", "23"),
    ]
    (catch_up,) = written["catch_ups"]
    assert (catch_up["snapshot"], catch_up["seconds"], catch_up["finished"]) == ("true", "", "")
    assert [row["reason"] for row in written["refusals"]] == ["log_behind"]
    assert [row["round_trip_seconds_p50"] for row in written["paths"]] == ["0.0004"]


# Wrong usage


def test_a_name_that_is_no_table_is_no_folder_by_mistake(tmp_path: Path) -> None:
    done = run("report", "--csv", "elecitons", FILE)
    assert (done.code, done.out) == (2, "")
    assert "elections" in done.err
    assert not (PCAPS / "elecitons").exists()
    done = run("report", "--csv", str(tmp_path / "none" / "none"), FILE)
    assert (done.code, done.out) == (4, "")
    assert "cannot be written" in done.err


def test_one_result_goes_to_standard_output() -> None:
    for options in (["--json"], ["--trace", "-"], ["--at", "02:53:40"]):
        done = run("report", "--csv", "leaders", *options, FILE)
        assert (done.code, done.out) == (2, "")


def test_captures_are_not_written_over(tmp_path: Path) -> None:
    copy = tmp_path / "copy.pcap"
    shutil.copy(PCAPS / FILE, copy)
    done = run("report", "--trace", str(copy), FILE)
    assert (done.code, done.out) == (2, "")
    assert "is a capture" in done.err
    assert copy.read_bytes() == (PCAPS / FILE).read_bytes()


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "trace.json", tmp_path):
        done = run("report", "--trace", str(path), FILE)
        assert done.code == 4
        assert str(tmp_path) in done.err
        assert len(done.err.splitlines()) == 1
    if os.path.exists("/dev/full"):
        assert run("report", "--trace", "/dev/full", FILE).code == 4
