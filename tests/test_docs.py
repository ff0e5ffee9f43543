"""The documentation says what the program does: generated parts are fresh, examples run, links lead somewhere."""

from __future__ import annotations

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


def test_python_examples_of_the_readme_run() -> None:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-c", "".join(examples)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    # The capture's servers logged four transfers by TimeoutNow, and leaders of the terms 2 to 6.
    assert len(re.findall(r"'last_log_index'", run.stdout)) == 4
    assert re.findall(r"^(\d) \d ", run.stdout, re.MULTILINE) == ["2", "3", "4", "5", "6"]
