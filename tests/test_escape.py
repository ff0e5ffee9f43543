"""Text from the wire is harmless wherever it is shown: on terminals, in spreadsheets, in diagrams, in timelines."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_dissect.report.escape import cell, mermaid_text, visible, wire_text
from tests import hostile
from tests.command import run, run_on_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Escapes


@given(st.text())
def test_what_is_visible_is_one_line_that_acts_on_nothing(text: str) -> None:
    shown = visible(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Mn", "Me", "Mc"}
    assert wire_text(text).isascii()
    assert wire_text(text).isprintable()
    assert len(wire_text(text)) <= 200


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=200))
def test_plain_text_is_shown_as_it_is(text: str) -> None:
    assert visible(text) == wire_text(text) == text


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_a_text_that_would_be_a_formula_has_an_apostrophe(first: str) -> None:
    assert str(cell(f"{first}1+1")).startswith("'")


@given(st.text(min_size=1))
def test_no_text_begins_a_formula_and_numbers_stay_numbers(text: str) -> None:
    shown = cell(text)
    assert isinstance(shown, str)
    assert shown[0] not in "=+-@\t\r"
    assert cell(-5) == -5
    assert cell(1e-9) == 1e-9


@given(st.text())
def test_mermaid_reads_the_same_text_back(text: str) -> None:
    """An entity code is `#`, a number and `;`, which stands for the character of that number."""
    written = mermaid_text(text)
    assert re.fullmatch(r"(?:[A-Za-z0-9 ,.:()\[\]/_+-]|#\d+;)*", written)
    assert re.sub(r"#(\d+);", lambda code: chr(int(code[1])), written) == text


# The whole way, from a capture


@pytest.fixture
def file(tmp_path: Path) -> str:
    return hostile.write(tmp_path / "hostile.pcap")


COMMANDS = [
    ["report"],
    ["report", "--json"],
    ["report", "--csv", "configurations"],
    ["report", "--csv", "servers"],
    ["report", "--trace", "-"],
    ["report", "--at", "2023-11-14T22:13:20.004"],
    ["ladder"],
    ["ladder", "--mermaid"],
    ["messages"],
    ["messages", "--json"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_output_holds_a_character_that_acts(command: list[str], file: str) -> None:
    done = run(*command, file)
    assert (done.code, done.err) == (0, "")
    assert done.out
    assert done.out.replace("\n", "").isprintable()


@pytest.mark.parametrize("command", [["report"], ["ladder"], ["messages"]], ids=" ".join)
def test_hostile_addresses_fit_the_terminal(command: list[str], file: str) -> None:
    done = run_on_terminal(*command, file, env={"NO_COLOR": "1"})
    assert done.out.replace("\n", "").isprintable()
    assert max(map(len, done.lines)) <= 80


def test_addresses_are_seen_as_what_they_are(file: str) -> None:
    out = run("report", file).out
    assert r"\x1b[2J\x1b]0;owned\x07" in out
    assert r"10.0.0.\u202e1\u2066:9001\u200b" in out


def rows(text: str) -> Iterator[dict[str, str]]:
    return csv.DictReader(io.StringIO(text))


def test_addresses_are_no_formulas_in_a_table(file: str) -> None:
    found = {row["server"]: row["address"] for row in rows(run("report", "--csv", "configurations", file).out)}
    assert found["1"] == "10.0.0.1:9001"
    assert found["2"] == "'" + hostile.FORMULA
    assert all(address[0] not in "=+-@\t\r" for address in found.values())


def test_a_file_name_acts_no_more_than_an_address(tmp_path: Path) -> None:
    name = "a\x1b[31m\n\u202eb.pcap"
    hostile.write(tmp_path / name)
    for command in (["report"], ["report", "--trace", "-"]):
        done = run(*command, str(tmp_path / name))
        assert done.code == 0
        assert done.out.replace("\n", "").isprintable()
    done = run("report", str(tmp_path / (name + "2")))
    assert done.code == 3
    assert done.err.removesuffix("\n").isprintable()


def test_an_output_that_can_hold_ascii_only_gets_ascii(tmp_path: Path) -> None:
    hostile.write(tmp_path / "\u65e5\u672c\u00e9.pcap")
    done = run("report", str(tmp_path / "\u65e5\u672c\u00e9.pcap"), env={"PYTHONIOENCODING": "ascii"})
    assert (done.code, done.err) == (0, "")
    assert r"\u65e5\u672c\xe9.pcap" in "".join(done.out.split())  # a long path goes on in the next line


def test_a_trace_is_json_with_no_markup_of_its_own(file: str) -> None:
    trace = json.loads(run("report", "--trace", "-", file).out)
    names = [event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "thread_name"]
    assert {"server 1", "server 2", "server 7"} <= set(names)
