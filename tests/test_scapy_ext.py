"""Scapy's extension mechanism: `conf.exts.load` and `load_contrib`, in a Scapy of its own."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import raft_dissect

ROOT = Path(__file__).parent.parent


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return done.stdout


def is_this_tree_installed() -> bool:
    """Whether it is found from everywhere; the metadata that a build leaves in the checkout do not say so."""
    code = "import raft_dissect; print(raft_dissect.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/")
    return done.stdout.strip() == str(raft_dissect.__file__)


needs_installation = pytest.mark.skipif(
    not is_this_tree_installed(), reason="needs the package installed: pip install -e ."
)


@needs_installation
def test_scapy_loads_the_extension_and_its_layers() -> None:
    out = run(
        """
from scapy.all import *
conf.exts.load("raft_dissect")
print([(ext.name, list(ext.specs)) for ext in conf.exts.exts])
load_contrib("raft_dissect")
print(RequestVote(term=3, candidate_id=1).summary(), bind.__module__, RaftSession.__name__)
import raft_dissect.layers
print(RequestVote is raft_dissect.layers.RequestVote)
bind(9001)
print(IP(bytes(IP() / TCP(dport=9001) / TimeoutNow(term=7))).summary())
"""
    )
    assert out.splitlines() == [
        "[('raft_dissect', ['scapy.contrib.raft_dissect'])]",
        "RequestVote term 3 candidate 1 last 0/0 raft_dissect.layers.ports RaftSession",
        "True",
        "IP / TCP 127.0.0.1:ftp_data > 127.0.0.1:9001 S / TimeoutNow term 7 last 0/0",
    ]


@needs_installation
def test_the_first_example_of_the_documentation_works_in_the_scapy_shell() -> None:
    example = (ROOT / "docs" / "scapy.md").read_text().split("```python\n")[1].split("```")[0]
    code = f"""
import builtins, doctest
from scapy.all import *
session = scapy.main.init_session(ret=True)
test = doctest.DocTestParser().get_doctest({example!r}, session, "shell", None, 0)
results = doctest.DocTestRunner().run(test)
print(results.failed, results.attempted)
"""
    assert run(code) == "0 3\n"


@needs_installation
def test_the_metadata_is_what_scapy_asks_for() -> None:
    distribution = importlib.metadata.distribution("raft_dissect")
    assert distribution.metadata["License-Expression"] == "GPL-2.0-or-later"
    assert (distribution.read_text("top_level.txt") or "").split() == ["raft_dissect"]


def test_the_package_does_not_import_scapy_before_it_is_needed() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import raft_dissect
print(any(name.partition(".")[0] == "scapy" for name in sys.modules))
raft_dissect.bind(9001)
print("scapy.packet" in sys.modules)
"""
    assert run(code) == "False\nTrue\n"
