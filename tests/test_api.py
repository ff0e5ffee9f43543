"""The public functions, as a script uses them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import raft_dissect
from tests.captures import PCAPS, packets, truth

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = "s5-canon-0.18.1.pcap"
NODES = sorted(PCAPS.glob("s1-5n-cowsql-0.22.1.node*.pcap"))


def on_the_wire(file: str) -> int:
    """How many messages an independent decoder found."""
    return sum(truth(file.split(".pcap")[0].split(".node")[0])["wire"][file]["messages"].values())


@pytest.mark.parametrize("form", [str, lambda path: path, lambda path: [path], lambda path: iter([str(path)])])
def test_a_source_is_a_path_in_any_form(form: Callable[[Any], Any]) -> None:
    assert sum(1 for _ in raft_dissect.messages(form(PCAPS / FILE))) == on_the_wire(FILE)


def test_several_paths_are_one_capture() -> None:
    found = sum(1 for _ in raft_dissect.messages(iter(NODES)))
    assert found == on_the_wire("s1-5n-cowsql-0.22.1.pcap")


def test_a_source_is_packets_from_anywhere() -> None:
    assert sum(1 for _ in raft_dissect.messages(iter(packets(FILE)))) == on_the_wire(FILE)
    assert [leader.term for leader in raft_dissect.analyze(packets(FILE)).clusters[0].leaders] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("source", "options"),
    [([], {}), (PCAPS / FILE, {"ports": [99999]}), (PCAPS / FILE, {"layout": "c-0.8"})],
    ids=["nothing", "no port", "no layout"],
)
def test_what_cannot_be_meant_is_refused(source: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no capture|99999|c-0\.8"):
        raft_dissect.messages(source, **options)
    with pytest.raises(ValueError, match=r"no capture|99999|c-0\.8"):
        raft_dissect.analyze(source, **options)


def test_a_missing_file_is_a_capture_error() -> None:
    with pytest.raises(raft_dissect.CaptureError, match="no such file"):
        raft_dissect.analyze("missing.pcap")


def test_a_dissection_runs_once() -> None:
    dissection = raft_dissect.Dissection(PCAPS / FILE)
    assert sum(isinstance(event, raft_dissect.Message) for event in dissection) == on_the_wire(FILE)
    with pytest.raises(RuntimeError, match="once"):
        list(dissection)


def test_every_public_name_is_there_and_importing_them_all_but_one_needs_no_scapy() -> None:
    script = (
        "import sys, raft_dissect\n"
        "for name in raft_dissect.__all__:\n"
        "    if name != 'RaftSession':\n"
        "        getattr(raft_dissect, name)\n"
        "print('scapy' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PCAPS.parent, check=False)
    assert (run.stdout, run.stderr) == ("False\n", "")
