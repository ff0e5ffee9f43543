"""The documentation says what the program does: generated parts are fresh, examples run, links lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "pcaps" / "README.md"]


def test_generated_parts_are_what_the_generator_writes() -> None:
    check = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    run = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (run.stdout, run.returncode) == ("", 0), run.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", ["s4-64k-canon-0.18.1.pcap", "s5-canon-0.18.1.pcapng", "s7-cowsql-0.22.1-nopv.pcap"])
def test_every_key_of_the_json_report_is_described(name: str) -> None:
    run = [sys.executable, "-m", "raft_dissect", "report", "--json", f"pcaps/{name}"]
    report = json.loads(subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    page = (ROOT / "docs" / "json.md").read_text()
    described = {
        row[1]: set(re.findall(r"\w+", row[2])) for row in re.finditer(r"^\| `(\w+)` \| (.*)$", page, re.MULTILINE)
    }
    evidence = {"frame", "time"}
    assert set(report) <= set(described)
    assert set(report["capture"]) <= described["capture"]
    for key, items in report["clusters"][0].items():
        for item in items:
            assert set(item) - evidence <= described[key], key


def test_python_examples_of_the_readme_run() -> None:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-c", "".join(examples)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    # The capture's servers logged four transfers by TimeoutNow, and leaders of the terms 2 to 6.
    assert len(re.findall(r"^\d.*'last_log_index'", run.stdout, re.MULTILINE)) == 4
    assert len(re.findall(r"^pushed .*'last_log_index'", run.stdout, re.MULTILINE)) == 4
    assert re.findall(r"^(\d) \d ", run.stdout, re.MULTILINE) == ["2", "3", "4", "5", "6"]
