"""Every example of the documentation of the Scapy layers does what it shows."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "scapy.md").read_text(), re.DOTALL)


def test_the_examples_give_what_they_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    # The first is for the Scapy shell with the package installed: it has a test of its own.
    assert "conf.exts" in EXAMPLES[0]
    text = "\n".join(EXAMPLES[1:])
    test = doctest.DocTestParser().get_doctest(text, {}, "scapy.md", "scapy.md", 0)
    shown: list[str] = []
    options = doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    results = doctest.DocTestRunner(optionflags=options).run(test, out=shown.append)
    assert results.failed == 0, "".join(shown)
    assert results.attempted > 30
