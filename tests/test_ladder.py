"""Ladders: arrows from server to server for the messages of an interval, folded where nothing new is said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests import hostile
from tests.capture_files import pcap
from tests.captures import FILES, PCAPS, truth
from tests.command import run, run_on_terminal
from tests.scripts import Script

if TYPE_CHECKING:
    from pathlib import Path

FILE = "s9-canon0.18.1+cowsql0.22.1.pcap"
ELECTION = ["--from", "02:47:05.895", "--to", "02:47:06.0387"]
VOTES = ["--type", "RequestVote,RequestVoteResult"]


def arrows(lines: list[str]) -> list[tuple[str, str, str]]:
    """Sender, receiver and name of every message, as the arrows under the names of the servers show them."""
    head = next(line for line in lines if line.split()[:2] == ["frame", "time"])
    start = 21
    columns = {start + found.start(): found[0] for found in re.finditer(r"\S+", head[start : head.index(" message")])}
    told = []
    for line in lines[lines.index(head) + 1 :]:
        drawn = line[start : max(columns) + 1]
        if ">" not in drawn and "<" not in drawn:
            continue
        name = line[max(columns) + 2 :].split()[0]
        stem = re.search(r"-*>|<-*", drawn)
        assert stem is not None
        ends = columns[start + stem.start() - 1], columns[start + stem.end()]
        sender, receiver = ends if stem[0].endswith(">") else ends[::-1]
        told.append((sender, receiver, name))
    return told


def test_arrows_go_from_sender_to_receiver() -> None:
    """Those of `messages --json`, which other tests hold against what the servers logged."""
    expected = [
        (str(record["sender_id"]), str(record["receiver_id"]), record["message"])
        for record in run("messages", "--json", *ELECTION, *VOTES, FILE).records
    ]
    done = run("ladder", *ELECTION, *VOTES, FILE)
    assert (done.code, done.err) == (0, "")
    assert arrows(done.lines) == expected
    assert len(expected) > 10


def test_lines_name_frame_time_term_and_what_is_said() -> None:
    """In frame 61 server 3 refuses its vote in term 2 to server 2: the packet's last eight bytes are 0."""
    lines = run("ladder", *ELECTION, FILE).lines
    (line,) = (line for line in lines if line.split()[0] == "61")
    assert line.split()[:2] == ["61", "02:47:06.036"]
    assert line.endswith("RequestVoteResult term 2, refused")
    (line,) = (line for line in lines if line.split()[0] == "13")
    assert line.endswith("RequestVote term 2, last 1/1, pre-vote")


@pytest.mark.parametrize("file", ["s1-canon-0.18.1.pcap", "s7-canon-0.18.1-pv.pcap"])
def test_every_message_is_shown_or_folded(file: str) -> None:
    messages = truth(file.removesuffix(".pcap"))["wire"][file]["messages"]
    folded_lines = run("ladder", "--limit", "0", file).lines
    shown = len(arrows(folded_lines))
    folded = sum(
        int(found) for found in re.findall(r"\.\.\. (\d+) heartbeat", "\n".join(folded_lines).replace(",", ""))
    )
    assert shown + folded == sum(messages.values())
    assert folded > 100
    assert len(arrows(run("ladder", "--limit", "0", "--all", file).lines)) == sum(messages.values())


def test_nothing_but_heartbeats_and_their_answers_is_folded() -> None:
    lines = run("ladder", "--limit", "0", FILE).lines
    names = [name for _, _, name in arrows(lines)]
    wire = truth(FILE.removesuffix(".pcap"))["wire"][FILE]["messages"]
    for name in ("RequestVote", "RequestVoteResult", "InstallSnapshot", "TimeoutNow"):
        assert names.count(name) == wire[name]
    records = run("messages", "--json", "--type", "AppendEntries", FILE).records
    with_entries = sum(record["n_entries"] > 0 for record in records)
    assert sum("AppendEntries " in line and " +" in line for line in lines) == with_entries


def test_a_heartbeat_that_says_something_new_is_shown(tmp_path: Path) -> None:
    """Of two equal heartbeats the second is folded; another place in the log, or another term, is news."""
    script = Script()
    for term, last in ((2, 1), (2, 1), (2, 2), (3, 2), (3, 2)):
        script.append(1, 2, term, (2, last)).result(2, 1, term, last)
    script.result(2, 1, 3, 2, rejected=2)
    file = tmp_path / "heartbeats.pcap"
    file.write_bytes(pcap(*script.packets()))
    lines = run("ladder", "--port", "9001", str(file)).lines[1:]
    said = [re.sub(r".*\| ", "", line).replace(", commit 0", "") for line in lines]
    assert said == [
        "AppendEntries term 2, prev 1/2",
        "AppendEntriesResult term 2, ok, last 1",
        "... 2 heartbeats and answers",
        "AppendEntries term 2, prev 2/2",
        "AppendEntriesResult term 2, ok, last 2",
        "AppendEntries term 3, prev 2/2",
        "AppendEntriesResult term 3, ok, last 2",
        "... 2 heartbeats and answers",
        "AppendEntriesResult term 3, rejected 2, last 2",
    ]


def test_the_first_messages_are_shown_and_the_others_counted() -> None:
    total = sum(truth(FILE.removesuffix(".pcap"))["wire"][FILE]["messages"].values())
    lines = run("ladder", "--limit", "20", "--all", FILE).lines
    assert len(arrows(lines)) == 20
    assert lines[-1].startswith(f"and {total - 20} more messages")


@pytest.mark.parametrize("file", FILES)
def test_ladders_fit_a_terminal_of_80_columns(file: str) -> None:
    done = run_on_terminal("ladder", file, env={"NO_COLOR": "1"})
    assert done.code == 0
    assert "\x1b" not in done.out
    assert [line for line in done.lines if len(line) > 80 or line != line.rstrip()] == []


def test_no_raft_and_nothing_that_fits_are_said_in_one_line() -> None:
    for options in ([], ["--mermaid"]):
        done = run("ladder", *options, "tls13-cowsql-0.22.1.pcap")
        assert (done.out, done.code) == ("", 0)
        assert "no Raft traffic found" in done.err
        done = run("ladder", *options, "--term", "77", FILE)
        assert (done.out, done.code) == ("", 0)
        assert "none of 739 messages is what was asked for" in done.err


@pytest.mark.parametrize("wrong", [["--limit", "-1"], ["--limit", "many"], ["--from", "tomorrow"]])
def test_wrong_usage_is_said(wrong: list[str]) -> None:
    done = run("ladder", *wrong, FILE)
    assert (done.code, done.out) == (2, "")
    assert wrong[1] in done.err.splitlines()[-1]


# Mermaid

STATEMENT = re.compile(
    r"sequenceDiagram|    participant S\d+ as [^#;\n]*(?:#\d+;[^#;\n]*)*|"
    r"    (?:S\d+--?>>S\d+|Note over S\d+(?:,S\d+)?): [^#;\n]*(?:#\d+;[^#;\n]*)*"
)
"""The statements that are used, as Mermaid's documentation of sequence diagrams gives them."""


def test_mermaid_has_the_same_messages() -> None:
    done = run("ladder", "--mermaid", *ELECTION, *VOTES, FILE)
    assert done.lines[0] == "sequenceDiagram"
    assert all(STATEMENT.fullmatch(line) for line in done.lines)
    participants = dict(re.findall(r"participant (S\d+) as (\S+)", done.out))
    told = [
        (participants[sender], participants[receiver], name)
        for sender, receiver, name in re.findall(r"(S\d+)--?>>(S\d+): (\w+)", done.out)
    ]
    assert told == arrows(run("ladder", *ELECTION, *VOTES, FILE).lines)
    assert "02:47:06.036442, frame 61" in done.out


def test_mermaid_is_made_of_its_statements(tmp_path: Path) -> None:
    several = sorted(path.name for path in PCAPS.glob("s1-5n-cowsql-0.22.1.node*.pcap"))
    for files in (["s8-reorder10-canon-0.18.1.pcap"], several, [hostile.write(tmp_path / "hostile.pcap")]):
        for line in run("ladder", "--mermaid", *files).lines:
            assert STATEMENT.fullmatch(line), line
