"""Every example of the documentation of pyshark does what it shows."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.command import ROOT, environment
from tests.networks import needs_root, new_namespace
from tests.pysharks import Votes, needs_pyshark, skip_where_pyshark_cannot_be

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

skip_where_pyshark_cannot_be()
pytestmark = needs_pyshark

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "pyshark.md").read_text(), re.DOTALL)
SHOWN = [example for example in EXAMPLES if example.startswith(">>>")]


def test_the_examples_give_what_they_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    test = doctest.DocTestParser().get_doctest("\n".join(SHOWN), {}, "pyshark.md", "pyshark.md", 0)
    said: list[str] = []
    results = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=said.append)
    assert results.failed == 0, "".join(said)
    assert results.attempted == 9


@needs_root
def test_the_live_example_prints_messages(tmp_path: Path) -> None:
    (live,) = (example for example in EXAMPLES if example not in SHOWN)
    with new_namespace(), Votes(9001):
        run = subprocess.run(
            [sys.executable, "-c", live], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment()
        )
    lines = run.stdout.splitlines()
    assert len(lines) == 10
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+ RequestVote \d+", line) for line in lines)
