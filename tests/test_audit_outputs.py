"""The formats of the audit: valid by their schemas, complete, and harmless whatever the wire brought."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import jsonschema
import pytest
import xmlschema

from raft_dissect.audit import RULES, Finding, Rule, Tally, Verdicts
from raft_dissect.audit.defects import Explanation, known_defects
from raft_dissect.report.audit.junit import audit_junit
from raft_dissect.report.audit.records import AuditRecords
from raft_dissect.report.audit.sarif import audit_sarif
from raft_dissect.report.audit.text import audit_text
from raft_dissect.report.audit.words import Audited, FailOn, fails
from raft_dissect.report.terminal import Style
from raft_dissect.report.times import Clock
from tests.captures import FILES, PCAPS
from tests.command import run
from tests.made import SECOND, at

if TYPE_CHECKING:
    from raft_dissect.audit.verdicts import Reason

DATA = Path(__file__).parent / "data"
SARIF = json.loads((DATA / "sarif-2.1.0.json").read_text())
JUNIT = xmlschema.XMLSchema(str(DATA / "junit-10.xsd"))

TERM, COMMIT, APPEND, LEADS = (
    next(rule for rule in RULES if rule.id == id_) for id_ in ("MON-01", "MON-02", "MON-03", "MON-06")
)
WARNS = Rule("LIVE-02", "Somebody leads", "warning", "A", "B", "C", "D", "E")
SNAPSHOTS = Rule("SN-01", "Snapshots are committed", "error", "A", "B", "C", "D", "E")

VIOLATION = Finding(
    LEADS,
    "error",
    "violation",
    at(12.5, 902),
    (at(11, 881), at(12.5, 902)),
    2,
    1,
    9,
    None,
    "Server 2 sends AppendEntries of term 9 after it has shown term 10 (frame 881).",
    times=3,
    last=at(20, 990),
    defects=(Explanation(known_defects("CM-03")[0], True),),
)
SUSPECT = VIOLATION._replace(rule=COMMIT, verdict="suspect", times=1, last=None, defects=(), message="It seems so.")
WARNING = SUSPECT._replace(rule=WARNS, severity="warning", verdict="observation", message="Nobody led for 3 s.")
NOTE = WARNING._replace(severity="note", message="Nobody led for 1 s.")
HOSTILE = "<b>&\x00\x1b[2J\u202e\ud800\uffff]](http://x) {0} %s é \" ' `a` | --> ]]>"

NAME = HOSTILE.replace("\ud800", "\udcff")
"""As a name of a file, in which Python writes a byte that is no text like that."""


def tally(rule: Rule, held: int = 0, violations: int = 0, suspects: int = 0, observations: int = 0) -> Tally:
    return Tally(rule, held, violations, suspects, observations, {})


def skipped(rule: Rule, held: int = 0, **reasons: int) -> Tally:
    by_reason: dict[Reason, int] = reasons  # type: ignore[assignment] # the names of arguments are reasons
    return Tally(rule, held, 0, 0, 0, by_reason)


TALLIES = (
    tally(TERM, 250),
    tally(COMMIT, 244, 0, 1),
    skipped(APPEND, 12, gap=3, cut_short=1),
    tally(LEADS, 10, 3),
    skipped(SNAPSHOTS, unknown_voters=7),
    tally(WARNS, 1, 0, 0, 2),
)


def audited(*findings: Finding, tallies: tuple[Tally, ...] = TALLIES, clusters: int = 1, files: int = 1) -> Audited:
    names = tuple(f"capture {number}.pcap" for number in range(1, files + 1))
    return Audited(Verdicts(findings, tallies, clusters, 500), names, 1000, 0, 20 * SECOND)


def sarif(result: Audited) -> dict[str, Any]:
    """The SARIF log, after its way through a file and through the schema."""
    log: dict[str, Any] = json.loads(json.dumps(audit_sarif(result, Clock())))
    jsonschema.validate(log, SARIF, cls=jsonschema.Draft4Validator)
    return log


def junit(result: Audited, fail_on: FailOn = "error") -> ElementTree.Element:
    """The JUnit document, after its way through a parser and through the schema."""
    text = audit_junit(result, Clock(), fail_on)
    JUNIT.validate(text)
    return ElementTree.fromstring(text)


def case(root: ElementTree.Element, rule: Rule) -> ElementTree.Element:
    (found,) = (case for case in root.iter("testcase") if case.attrib["name"].startswith(f"{rule.id} "))
    return found


def lines(result: Audited, width: int | None = 80) -> list[str]:
    told = list(audit_text(result, Clock(), Style(), width))
    assert all(len(line) <= (width or 80) and line == line.rstrip() for line in told)
    return told


# Text


def test_most_severe_comes_first_and_one_rule_stays_together() -> None:
    told = lines(audited(NOTE, WARNING, SUSPECT, VIOLATION, VIOLATION._replace(peer=3)))
    heads = [line.split()[:2] for line in told if line.startswith("  ") and not line.startswith("   ")]
    assert heads[:4] == [["violation", "MON-06"], ["suspect", "MON-02"], ["warning", "LIVE-02"], ["note", "LIVE-02"]]


def test_finding_names_the_defect_with_the_release_that_fixed_it() -> None:
    words = " ".join(" ".join(lines(audited(VIOLATION))).split())
    assert "at 00:00:12.500, frames 881, 902; 3 times, the last time at 00:00:20.000, frame 990" in words
    assert "Known defect B5: " in words
    assert "in canonical/raft before v0.17.1; fixed in canonical/raft v0.17.1. Rules" in words
    unsure = VIOLATION._replace(defects=(Explanation(known_defects("CM-03")[0], False),))
    assert "v0.17.1. The server may run a release without it." in " ".join(" ".join(lines(audited(unsure))).split())


def test_many_findings_of_one_rule_are_counted() -> None:
    told = lines(audited(*(VIOLATION._replace(peer=peer) for peer in range(20))))
    assert sum("Server 2 sends" in line for line in told) == 5
    assert any("and 15 more findings of this rule; --json has them all" in line for line in told)


def test_rules_are_told_by_what_became_of_them() -> None:
    told = lines(audited(VIOLATION))
    assert told[told.index("  held, with how often:") + 1] == "    MON-01 250  MON-03 12"
    assert told[told.index("  not evaluated every time:") + 1].split(": ") == [
        "    packets that would tell are missing from the capture",
        "MON-03 4",
    ]
    assert told[told.index("  never evaluated:") + 1].strip() == (
        "the capture does not show who the voters are: SN-01 7"
    )
    failed = told.index("  did not always hold:") + 1
    assert told[failed : failed + 3] == [
        "    MON-02: 1 suspect, held 244 times",
        "    MON-06: 3 violations, held 10 times",
        "    LIVE-02: 2 observations, held 1 time",
    ]


def test_rule_that_never_came_up_does_not_look_like_one_that_held() -> None:
    told = lines(audited(tallies=(tally(TERM), tally(COMMIT, 3))))
    assert "    nothing in the capture to apply it to: MON-01" in told
    assert told[-1] == "Nothing found: 1 of 2 rules evaluated 3 times in 500 messages."


def test_frames_of_several_files_have_the_number_of_their_file() -> None:
    finding = VIOLATION._replace(evidence=(at(11, 881), at(12.5, 902, file=1)))
    assert "frames 1:881, 2:902" in " ".join(lines(audited(finding, files=2)))


@pytest.mark.parametrize("width", [20, 40, 80, None])
def test_hostile_text_is_harmless_in_text(width: int | None) -> None:
    told = "\n".join(audit_text(audited(VIOLATION._replace(message=HOSTILE)), Clock(), Style(), width))
    assert all(line.isascii() and line.isprintable() for line in told.split("\n"))
    assert "\\x1b" in told


def test_endless_text_is_cut() -> None:
    assert len("".join(lines(audited(VIOLATION._replace(message="x" * 100_000))))) < 3000


# SARIF


def test_sarif_results_have_level_place_and_evidence() -> None:
    (log_run,) = sarif(audited(VIOLATION, SUSPECT, WARNING, NOTE))["runs"]
    results = log_run["results"]
    assert [result["level"] for result in results] == ["error", "warning", "warning", "note"]
    first = results[0]
    (location,) = first["locations"]
    assert location["physicalLocation"]["artifactLocation"] == {"uri": "capture%201.pcap", "index": 0}
    assert location["logicalLocations"][0]["name"] == "frame 902"
    assert location["properties"] == {"frame": 902, "time": "1970-01-01T00:00:12.500000000Z"}
    (related,) = first["relatedLocations"]
    assert related["logicalLocations"][0]["name"] == "frame 881"
    assert first["occurrenceCount"] == 3
    rules = log_run["tool"]["driver"]["rules"]
    assert [rules[result["ruleIndex"]]["id"] for result in results] == [result["ruleId"] for result in results]
    assert LEADS.avoids in rules[3]["help"]["text"]
    assert "B5" in first["message"]["text"]


def test_sarif_fingerprint_does_not_depend_on_when_something_was_found() -> None:
    later = VIOLATION._replace(place=at(99, 7000), evidence=(at(99, 7000),), times=1, last=None)
    other = VIOLATION._replace(peer=3)
    (log_run,) = sarif(audited(VIOLATION, later, other))["runs"]
    one, two, three = (result["partialFingerprints"] for result in log_run["results"])
    assert one == two != three


def test_sarif_says_how_often_rules_were_evaluated() -> None:
    (log_run,) = sarif(audited())["runs"]
    by_rule = {tally["rule"]: tally for tally in log_run["properties"]["evaluations"]}
    assert by_rule["MON-01"]["held"] == 250
    assert [reason["reason"] for reason in by_rule["MON-03"]["notEvaluated"]] == ["gap", "cut_short"]


def test_hostile_text_is_no_link_and_no_placeholder_in_sarif() -> None:
    result = audited(VIOLATION._replace(message=HOSTILE))._replace(files=(NAME, "-", "/tmp/a b:c.pcap", "a:b"))
    (log_run,) = sarif(result)["runs"]
    text = log_run["results"][0]["message"]["text"]
    assert text.isascii()
    assert text.isprintable()
    assert "]\\](http" in text
    assert "{{0}}" in text
    uris = [artifact["location"]["uri"] for artifact in log_run["artifacts"]]
    assert uris[1:] == ["-", "file:///tmp/a%20b%3Ac.pcap", "a%3Ab"]


# JUnit


def test_junit_has_a_case_for_each_rule() -> None:
    root = junit(audited(VIOLATION, SUSPECT, WARNING))
    assert [case.attrib["name"].split()[0] for case in root.iter("testcase")] == [t.rule.id for t in TALLIES]
    assert [suite.attrib["name"].split()[0] for suite in root] == ["MON", "SN", "LIVE"]
    assert (root.attrib["tests"], root.attrib["failures"]) == ("6", "1")
    failure = case(root, LEADS).find("failure")
    assert failure is not None
    assert failure.text is not None
    assert VIOLATION.message in failure.text
    assert "frames 881, 902; 3 times, the last in frame 990" in failure.text
    assert "Known defect B5" in failure.text
    assert case(root, TERM).find("failure") is None


def test_junit_skips_what_was_never_evaluated_and_says_why() -> None:
    root = junit(audited())
    marks = {rule.id: case(root, rule).find("skipped") for rule in (SNAPSHOTS, TERM, APPEND)}
    skip = marks["SN-01"]
    assert skip is not None
    assert skip.attrib["message"] == "the capture does not show who the voters are (7)"
    assert (marks["MON-01"], marks["MON-03"]) == (None, None)
    assert [suite.attrib["skipped"] for suite in root] == ["0", "1", "0"]


@pytest.mark.parametrize(
    ("fail_on", "failing"),
    [
        ("error", {"MON-06"}),
        ("warning", {"MON-06", "MON-02", "LIVE-02"}),
        ("note", {"MON-06", "MON-02", "LIVE-02"}),
        ("never", set()),
    ],
)
def test_junit_fails_where_the_run_does(fail_on: FailOn, failing: set[str]) -> None:
    findings = (VIOLATION, SUSPECT, WARNING)
    root = junit(audited(*findings), fail_on)
    failed = [one for one in root.iter("testcase") if one.find("failure") is not None]
    assert {one.attrib["name"].split()[0] for one in failed} == failing
    for finding in findings:
        assert fails([finding], fail_on) == (finding.rule.id in failing)


def test_notes_fail_only_where_they_are_named() -> None:
    assert [fails([NOTE], fail_on) for fail_on in ("error", "warning", "note", "never")] == [False, False, True, False]


def test_hostile_text_is_no_markup_in_junit() -> None:
    result = audited(VIOLATION._replace(message=HOSTILE))._replace(files=(NAME,))
    text = audit_junit(result, Clock(), "error")
    JUNIT.validate(text)
    assert text.isascii() or "é" in text
    assert {element.tag for element in ElementTree.fromstring(text).iter()} == {
        *("testsuites", "testsuite", "testcase", "properties", "property", "failure", "skipped", "system-out"),
    }


# JSON


def test_hostile_text_is_one_line_of_json() -> None:
    record = AuditRecords(("a.pcap",), Clock()).finding(VIOLATION._replace(message=HOSTILE))
    line = json.dumps(record)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == HOSTILE


# Real captures


@pytest.mark.parametrize("name", [FILES[0], "s9-canon0.18.1+cowsql0.22.1.pcap", "tls13-cowsql-0.22.1.pcap"])
def test_files_about_real_captures_are_valid(name: str, tmp_path: Path) -> None:
    paths = [tmp_path / "audit.sarif", tmp_path / "audit.xml"]
    done = run("audit", str(PCAPS / name), "--sarif", str(paths[0]), "--junit", str(paths[1]), "--fail-on", "never")
    assert done.code == 0
    log = json.loads(paths[0].read_text())
    jsonschema.validate(log, SARIF, cls=jsonschema.Draft4Validator)
    assert [rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]] == [rule.id for rule in RULES]
    JUNIT.validate(str(paths[1]))
    root = ElementTree.parse(paths[1]).getroot()
    assert root.attrib["tests"] == str(len(RULES))
