"""`raft-dissect audit` as a user meets it: findings, exit codes, which rules are asked, and what is said of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from raft_dissect.audit import REASONS, RULES
from raft_dissect.cli import main
from tests.audit_captures import cluster, falling_term, write
from tests.command import run, run_on_terminal
from tests.scripts import Script
from tests.test_cli import one_line
from tests.test_cli_follow import following

if TYPE_CHECKING:
    from raft_dissect.audit import Rule
    from tests.command import Outcome

HEALTHY = "s1-5n-cowsql-0.22.1.pcap"
TLS = "tls13-cowsql-0.22.1.pcap"
DOCS = Path(__file__).parent.parent / "docs"
UNSURE = Script(handshakes=False).ask(2, 1, 5).result(2, 1, 4, 2).ask(1, 2, 6)
"""Server 2 shows term 5 and then term 4; only its own vote request says that it is server 2."""


def frames(file: str, server: int) -> list[int]:
    """The frames of the results of a server, as `messages` numbers them."""
    records = run("messages", "--json", file).records
    return [r["frame"] for r in records if r["message"] == "AppendEntriesResult" and r["sender_id"] == server]


def words(outcome: Outcome) -> str:
    """What was printed, without its line ends."""
    return " ".join(outcome.out.split())


# Findings


def test_violation_is_told_with_rule_servers_time_and_both_frames(tmp_path: Path) -> None:
    file = write(falling_term(), tmp_path)
    done = run("audit", file)
    _, before, after = frames(file, 2)
    assert (done.code, done.err) == (1, "")
    assert done.lines[0] == "Findings"
    assert re.fullmatch(r"  violation +MON-01 A server's term never falls", done.lines[1])
    assert "Server 2 shows term 4 after it has shown term 5" in words(done)
    assert f"at 22:13:20.009, frames {before}, {after} " in words(done)
    assert done.lines[-1].startswith("1 violation: ")


def test_repeats_are_counted_with_the_last_frame(tmp_path: Path) -> None:
    file = write(falling_term(times=3), tmp_path)
    done = run("audit", file)
    _, before, first, _, last = frames(file, 2)
    assert f"frames {before}, {first}; 3 times, the last time at 22:13:20.011, frame {last}" in words(done)
    assert done.lines[-1].startswith("1 violation: ")


def test_nothing_found_is_one_line_with_how_much_was_checked() -> None:
    done = run("audit", HEALTHY)
    messages = sum("message" in record for record in run("messages", "--json", HEALTHY).records)
    assert (done.code, done.err) == (0, "")
    assert "Findings" not in done.lines
    assert re.fullmatch(
        rf"Nothing found: \d+ of {len(RULES)} rules evaluated [\d,]+ times in {messages:,} messages\.",
        done.lines[-1],
    )


def test_server_that_is_not_known_for_sure_is_only_suspect(tmp_path: Path) -> None:
    """Without handshakes only the candidate's own vote requests say who it is."""
    done = run("audit", "--only", "MON-01", write(UNSURE, tmp_path))
    assert done.code == 0
    assert re.match(r"  suspect +MON-01 ", done.lines[1])


def test_each_cluster_is_judged_by_itself(tmp_path: Path) -> None:
    """Two captures with the same servers, one a year later, are one cluster: the same finding is not told twice."""
    file = write(falling_term(), tmp_path)
    *findings, summary = run("audit", "--json", file, file).records
    assert [finding["rule"] for finding in findings] == ["MON-01"]
    assert findings[0]["file"] == file
    assert (summary["clusters"], summary["files"]) == (1, [file, file])


# JSON


def test_json_findings_have_what_the_documentation_says(tmp_path: Path) -> None:
    file = write(falling_term(times=2), tmp_path)
    finding, summary = run("audit", "--json", file).records
    _, before, first, last = frames(file, 2)
    assert (finding["rule"], finding["severity"], finding["verdict"]) == ("MON-01", "error", "violation")
    assert (finding["frame"], finding["frames"], finding["last_frame"]) == (first, [before, first], last)
    assert [evidence["frame"] for evidence in finding["evidence"]] == [before, first]
    assert finding["time"] == "2023-11-14T22:13:20.009000000Z"
    assert finding["time_ns"] == 1_700_000_000_009_000_000
    assert (finding["server"], finding["peer"], finding["term"], finding["index"]) == (2, 1, 4, None)
    assert (finding["count"], finding["cluster"]) == (2, 0)
    (tally,) = (rule for rule in summary["rules"] if rule["rule"] == "MON-01")
    assert (tally["violations"], tally["suspects"], tally["observations"]) == (2, 0, 0)
    page = (DOCS / "json.md").read_text()
    section = page[page.index("## `audit --json`") : page.index("## Words")]
    described = set(re.findall(r"\w+", section))
    assert set(finding) | set(summary) | set(summary["rules"][0]) <= described


def test_json_reasons_are_words_of_the_documentation() -> None:
    page = (DOCS / "json.md").read_text()
    (row,) = re.findall(r"^\| reasons in `not_evaluated` \| (.*) \|$", page, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == list(REASONS)


def test_times_are_in_the_zone_that_was_asked_for(tmp_path: Path) -> None:
    file = write(falling_term(), tmp_path)
    assert "at 23:13:20.009, " in run("audit", "--tz", "Europe/Rome", file).out
    finding, _ = run("audit", "--json", "--tz", "Europe/Rome", file).records
    assert finding["time"] == "2023-11-14T23:13:20.009000000+01:00"


# Exit codes


@pytest.mark.parametrize(("fail_on", "code"), [("error", 1), ("warning", 1), ("note", 1), ("never", 0)])
def test_violation_fails_unless_nothing_does(fail_on: str, code: int, tmp_path: Path) -> None:
    assert run("audit", "--fail-on", fail_on, write(falling_term(), tmp_path)).code == code


@pytest.mark.parametrize(("fail_on", "code"), [("error", 0), ("warning", 1), ("note", 1), ("never", 0)])
def test_suspect_fails_from_warning_on(fail_on: str, code: int, tmp_path: Path) -> None:
    assert run("audit", "--only", "MON-01", "--fail-on", fail_on, write(UNSURE, tmp_path)).code == code


def damaged(file: str) -> str:
    """The capture with half a record at its end."""
    path = Path(file)
    path.write_bytes(path.read_bytes() + bytes(7))
    return file


def test_damaged_capture_is_audited_as_far_as_it_goes(tmp_path: Path) -> None:
    done = run("audit", damaged(write(cluster(), tmp_path)))
    assert done.code == 3
    assert "Nothing found" in done.out
    assert "after frame " in one_line(done.err)


def test_violation_wins_over_damage(tmp_path: Path) -> None:
    file = damaged(write(falling_term(), tmp_path))
    done = run("audit", file)
    assert done.code == 1
    assert "after frame " in one_line(done.err)
    assert run("audit", "--fail-on", "never", file).code == 3


def test_capture_without_raft_is_fine_and_said_in_one_line() -> None:
    done = run("audit", TLS)
    assert (done.code, done.out) == (0, "")
    assert "no Raft traffic found" in one_line(done.err)
    (summary,) = run("audit", "--json", TLS).records
    assert summary["messages"] == 0
    assert {rule["held"] for rule in summary["rules"]} == {0}


def test_missing_file_is_named() -> None:
    done = run("audit", "nowhere.pcap")
    assert (done.code, done.out) == (3, "")
    assert "nowhere.pcap" in one_line(done.err)


WRONG = {
    "no file": ([], "needs a FILE"),
    "no such rule": (["--off", "XX-99", HEALTHY], "XX-99"),
    "no such rule among others": (["--only", "MON-01,MON-99", HEALTHY], "MON-99"),
    "an empty rule": (["--off", "MON-01,", HEALTHY], "no rule is called nothing"),
    "no rule left": (["--only", "MON", "--off", "MON", HEALTHY], "no rule"),
    "no such rule to explain": (["--explain", "EL-99"], "EL-99"),
    "a group to explain": (["--explain", "MON"], "MON-01"),
    "two results": (["--json", "--sarif", "-", HEALTHY], "standard output"),
    "two files as results": (["--junit", "-", "--sarif", "-", HEALTHY], "standard output"),
    "the capture as output": (["--sarif", HEALTHY, HEALTHY], "not written over"),
    "the capture as trace": (["--trace", HEALTHY, HEALTHY], "not written over"),
    "two files to follow": (["--follow", HEALTHY, TLS], "--follow"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_one_clear_line(case: str) -> None:
    arguments, word = WRONG[case]
    done = run("audit", *arguments)
    assert (done.code, done.out) == (2, "")
    assert word in one_line(done.err)


def test_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    for option in ("--sarif", "--junit", "--trace"):
        done = run("audit", option, str(tmp_path / "nowhere" / "file"), HEALTHY)
        assert done.code == 4
        assert "nowhere" in one_line(done.err)


# Which rules


def asked(*options: str) -> list[str]:
    *_, summary = run("audit", "--json", *options, HEALTHY).records
    return [rule["rule"] for rule in summary["rules"]]


def test_rules_are_chosen_by_id_and_group() -> None:
    every = [rule.id for rule in RULES]
    of_group = [id_ for id_ in every if id_.startswith("MON-")]
    assert asked() == every
    assert asked("--only", "mon-02,MON-01") == ["MON-01", "MON-02"]
    assert asked("--only", "MON") == of_group
    assert asked("--only", "MON", "--off", "MON-02", "--off", "MON-03") == [
        id_ for id_ in of_group if id_ not in ("MON-02", "MON-03")
    ]
    assert asked("--off", of_group[0]) == [id_ for id_ in every if id_ != of_group[0]]


def test_rule_that_is_off_finds_nothing(tmp_path: Path) -> None:
    done = run("audit", "--only", "MON", "--off", "MON-01", write(falling_term(), tmp_path))
    assert done.code == 0
    assert "MON-01" not in done.out


def test_rules_lists_every_rule() -> None:
    done = run("audit", "--rules")
    assert (done.code, done.err) == (0, "")
    rows = {line.split()[0]: line for line in done.lines if line.startswith("  ")}
    assert [id_ for id_ in rows if id_ != "rule"] == [rule.id for rule in RULES]
    for rule in RULES:
        assert rule.title in rows[rule.id]
        assert rule.severity in rows[rule.id]
    assert [record["rule"] for record in run("audit", "--rules", "--json").records] == [rule.id for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_explain_says_all_about_every_rule(rule: Rule, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--explain", rule.id.lower()]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80
    for text in (rule.id, rule.title, rule.statement, rule.source, rule.needs, rule.avoids, rule.example):
        assert " ".join(text.split()) in " ".join(out.split())


def test_explain_names_the_known_defects() -> None:
    assert "B19: a leader that has no vote any more goes on" in words(run("audit", "--explain", "MEM-04"))
    (record,) = run("audit", "--explain", "MEM-04", "--json").records
    assert record["statement"] == next(rule.statement for rule in RULES if rule.id == "MEM-04")
    assert [defect["id"] for defect in record["defects"]] == ["B19"]


def test_every_rule_is_in_the_reference() -> None:
    page = (DOCS / "rules.md").read_text()
    assert re.findall(r"^### (\S+) ", page, re.MULTILINE) == [rule.id for rule in RULES]


# On a terminal


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_text_fits_the_terminal(columns: int, tmp_path: Path) -> None:
    file = write(falling_term(times=3), tmp_path)
    calls: list[tuple[str, ...]] = [(file,), (HEALTHY,), ("--rules",), ("--explain", "MON-01")]
    for arguments in calls:
        done = run_on_terminal("audit", *arguments, columns=columns, env={"NO_COLOR": "1"})
        assert done.lines
        assert [line for line in done.lines if len(line) > columns or line != line.rstrip()] == []


def test_colours_are_for_terminals_only(tmp_path: Path) -> None:
    file = write(falling_term(), tmp_path)
    assert "\x1b[31mviolation" in run_on_terminal("audit", file).out
    assert "\x1b" not in run("audit", file).out


# Files beside the text


def test_files_are_written_beside_the_text(tmp_path: Path) -> None:
    file = write(falling_term(), tmp_path)
    names = {option: tmp_path / f"out.{option}" for option in ("sarif", "junit", "trace")}
    done = run("audit", file, *(word for option, path in names.items() for word in (f"--{option}", str(path))))
    assert (done.code, done.out) == (1, run("audit", file).out)
    for option, path in names.items():
        assert path.read_text() == run("audit", file, f"--{option}", "-").out
    assert json.loads(names["sarif"].read_text())["version"] == "2.1.0"
    assert names["junit"].read_text().startswith("<?xml")


# While it is written


def test_findings_are_printed_as_they_are_made(tmp_path: Path) -> None:
    """The capture goes on for long after the finding; the line is there while the file is still written to."""
    script = falling_term().at(60_000).result(2, 1, 4, 2)
    whole = Path(write(script, tmp_path)).read_bytes()
    path = tmp_path / "growing.pcap"
    path.write_bytes(whole)
    with following("audit", "--follow", "--json", "--no-progress", str(path)) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        path.unlink()
        again, summary = map(json.loads, process.stdout)
        assert process.wait() == 1
    assert (first["rule"], first["count"], first["frame"]) == ("MON-01", 1, again["frame"])
    assert (again["count"], again["fingerprint"]) == (2, first["fingerprint"])
    assert summary["summary"] is True


def test_followed_text_ends_with_what_came_again(tmp_path: Path) -> None:
    path = Path(write(falling_term(times=3), tmp_path))
    with following("audit", "--follow", "--no-progress", str(path)) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        path.unlink()
        lines += process.stdout.readlines()
    assert "violation" in lines[0]
    assert sum("Server 2 shows term 4" in line for line in lines) == 1
    assert "came 3 times" in " ".join(" ".join(lines).split())
    assert lines[-1].startswith("1 violation: ")
