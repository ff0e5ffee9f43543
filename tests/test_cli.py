"""The command line as a user meets it: exit codes, one clear line for what is wrong, and never a traceback."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

import pytest

import raft_dissect
from raft_dissect import wire
from raft_dissect.cluster import facts
from raft_dissect.form import describe, module_names
from raft_dissect.values import DiagnosticKind
from tests import golden_streams
from tests.capture_files import pcap
from tests.captures import FILES, PCAPS, truth
from tests.command import COMMAND, environment, run, run_on_terminal
from tests.packets import Connection, capture

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = ["messages", "report"]
FILE = "s5-canon-0.18.1.pcap"
TLS = "tls13-cowsql-0.22.1.pcap"
NOISE = "noise-canon-0.18.1.pcap"
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452")


def one_line(text: str) -> str:
    """The only line of what was said on standard error."""
    (line,) = text.splitlines()
    assert line.startswith("raft-dissect: ")
    return line


# What cannot be read


UNREADABLE: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "no such file"),
    "empty": (b"", "empty"),
    "text": (b"12:00:01 IP 10.0.0.1.40000 > 10.0.0.2.9001: Flags [S]\n" * 20, "text"),
    "png": (PNG, "no capture"),
    "zeros": (bytes(1000), "no capture"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", UNREADABLE)
def test_file_that_is_no_capture_is_named_with_the_reason(command: str, kind: str, tmp_path: Path) -> None:
    content, word = UNREADABLE[kind]
    file = tmp_path / "file.pcap"
    if content is not None:
        file.write_bytes(content)
    done = run(command, str(file))
    assert (done.code, done.out) == (3, "")
    assert str(file) in one_line(done.err)
    assert word in done.err


@pytest.mark.parametrize("command", COMMANDS)
def test_folder_is_no_capture(command: str, tmp_path: Path) -> None:
    done = run(command, str(tmp_path))
    assert (done.code, done.out) == (3, "")
    assert "directory" in one_line(done.err)


@pytest.mark.parametrize("command", COMMANDS)
def test_one_bad_file_of_several_is_named(command: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(PNG)
    done = run(command, FILE, str(bad))
    assert (done.code, done.out) == (3, run(command, FILE).out)
    assert str(bad) in one_line(done.err)


@pytest.mark.parametrize("command", COMMANDS)
def test_cut_capture_gives_what_is_there_and_says_what_is_wrong(command: str, tmp_path: Path) -> None:
    file = tmp_path / "cut.pcap"
    file.write_bytes((PCAPS / FILE).read_bytes()[:100_000])
    done = run(command, "--json", str(file))
    assert done.code == 3
    assert "ends inside a record" in one_line(done.err)
    assert f"{file}: after frame " in done.err
    if command == "messages":
        whole = run(command, "--json", FILE).records
        found = done.records
        (damage,) = (record for record in found if "diagnostic" in record)
        assert damage["diagnostic"] == "file_truncated"
        found.remove(damage)
        keys = [(record["frame"], record["stream"], record["offset"]) for record in found]
        assert keys == [(record["frame"], record["stream"], record["offset"]) for record in whole][: len(keys)]
        assert len(keys) > 100
    else:
        report = json.loads(done.out)
        assert [d["diagnostic"] for d in report["capture"]["diagnostics"]] == ["file_truncated"]
        assert report["clusters"][0]["leaders"]


@pytest.mark.parametrize("command", COMMANDS)
def test_damaged_capture_gives_what_came_before(command: str, tmp_path: Path) -> None:
    """A record header in the middle is overwritten: no length of a packet can be believed from there on."""
    data = bytearray((PCAPS / FILE).read_bytes())
    place = 24
    for _ in range(500):
        place += 16 + int.from_bytes(data[place + 8 : place + 12], "little")
    data[place : place + 16] = b"\xff" * 16
    file = tmp_path / "damaged.pcap"
    file.write_bytes(data)
    done = run(command, str(file))
    assert done.code == 3
    assert "after frame 500," in one_line(done.err)
    assert len(done.lines) > 20


# Where captures come from


def test_several_files_are_one_capture() -> None:
    nodes = [f"s1-5n-cowsql-0.22.1.node{number}.pcap" for number in range(1, 6)]
    done = run("report", "--json", *nodes)
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    assert report["capture"]["files"] == nodes
    (cluster,) = report["clusters"]
    counted: Counter[str] = Counter()
    for traffic in cluster["traffic"]:
        counted.update(traffic["messages"])
    assert counted == truth("s1-5n-cowsql-0.22.1")["wire"]["s1-5n-cowsql-0.22.1.pcap"]["messages"]
    assert all(item["file"] in nodes for item in cluster["leaders"])


@pytest.mark.parametrize("command", COMMANDS)
def test_standard_input_is_read_like_a_file(command: str) -> None:
    piped = run(command, "--json", "-", stdin=(PCAPS / FILE).read_bytes())
    assert (piped.code, piped.err) == (0, "")
    whole = run(command, "--json", FILE)
    if command == "report":
        assert json.loads(piped.out)["clusters"] == json.loads(whole.out)["clusters"]
    else:
        assert [r["frame"] for r in piped.records] == [r["frame"] for r in whole.records]


@pytest.mark.parametrize("command", COMMANDS)
def test_closed_standard_input_is_an_error_in_one_line(command: str) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, command, "-"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "")
    one_line(done.stderr)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_reader_that_has_seen_enough_is_no_error(command: str, options: list[str]) -> None:
    with subprocess.Popen(
        [*COMMAND, command, *options, "s7-cowsql-0.22.1-nopv.pcap"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PCAPS,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_reader_that_is_gone_from_the_start_is_no_error() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [*COMMAND, "report", FILE], stdout=theirs, stderr=subprocess.PIPE, cwd=PCAPS, env=environment(), check=False
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, b"")


def test_full_disk_is_said_in_one_line() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "messages", FILE], stdout=full, stderr=subprocess.PIPE, cwd=PCAPS, env=environment(), check=False
        )
    assert done.returncode == 4
    assert "No space left" in one_line(done.stderr.decode())


# Wrong usage

WRONG = {
    "no command": [],
    "unknown command": ["dissolve", FILE],
    "no file": ["report"],
    "unknown option": ["report", "--colour", FILE],
    "no port": ["report", "--port", "raft", FILE],
    "port zero": ["report", "--port", "0", FILE],
    "port too high": ["report", "--port", "9001,65536", FILE],
    "unknown layout": ["report", "--layout", "x-1", FILE],
    "unknown zone": ["report", "--tz", "Mars/Olympus", FILE],
    "zone outside": ["report", "--tz", "../../etc/passwd", FILE],
    "folder of zones": ["report", "--tz", "Europe", FILE],
    "no time": ["messages", "--from", "tomorrow", FILE],
    "no end": ["messages", "--to", "25:00", FILE],
    "no term": ["messages", "--term", "two", FILE],
    "no range of terms": ["messages", "--term", "5-3", FILE],
    "no type": ["messages", "--type", "Heartbeat", FILE],
    "no ladder of a time": ["ladder", "--to", "noon", FILE],
    "no number of messages": ["ladder", "--limit", "few", FILE],
    "no leader at a time": ["report", "--at", "noon", FILE],
    "no table": ["report", "--csv", "ballots", FILE],
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_usage_is_exit_code_2_and_says_what_is_wrong(wrong: str) -> None:
    done = run(*WRONG[wrong])
    assert (done.code, done.out) == (2, "")
    *usage, last = done.err.splitlines()
    assert last.startswith("raft-dissect")
    assert not usage or usage[0].startswith("usage:")
    assert "Traceback" not in done.err
    if len(WRONG[wrong]) == 4:
        assert WRONG[wrong][2].split(",")[-1] in last


def test_version_is_the_packages_with_its_form() -> None:
    assert run("--version") == (f"raft-dissect {raft_dissect.__version__} ({describe(module_names())})\n", "", 0)


@pytest.mark.parametrize("command", [[], *([command] for command in (*COMMANDS, "audit", "ladder"))])
def test_help_fits_the_terminal(command: list[str]) -> None:
    done = run_on_terminal(*command, "--help")
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.lines)) <= 80


# Captures without Raft


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("file", "options", "seen"),
    [
        (TLS, [], "33 with TLS"),
        (TLS, ["--port", "9443"], "33 with TLS"),
        ("dq1-dqlite-1.18.6.node4.pcap", [], "9 with dqlite's client protocol"),
        (NOISE, ["--port", "8000"], "10 with HTTP"),
        (NOISE, ["--port", "1"], "no Raft"),
    ],
)
def test_no_raft_is_fine_and_said_in_one_line(command: str, file: str, options: list[str], seen: str) -> None:
    done = run(command, *options, file)
    assert done.code == 0
    if command == "report":
        (line,) = (line for line in done.out.splitlines() if "No Raft traffic found" in line)
        assert (seen.removeprefix("no Raft") in line, done.err) == (True, "")
    else:
        assert "no Raft traffic found" in one_line(done.err)
        assert seen in done.err
    assert run(command, "--quiet", *options, file) == (done.out, "", 0)


def test_tls_is_answered_with_what_to_do_about_it() -> None:
    assert "to be captured in clear text" in one_line(run("messages", TLS).err)


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_closed_stream_is_no_traceback(closed: str) -> None:
    shell = f"{sys.executable} -m raft_dissect report pcaps/{FILE} {closed}"
    done = subprocess.run(shell, shell=True, cwd=PCAPS.parent, capture_output=True, text=True, check=False)
    expected = ("", "raft-dissect: standard output is closed\n", 4)
    assert (done.stdout, done.stderr, done.returncode) == (
        expected if closed == ">&-" else (run("report", FILE).out.replace(FILE, f"pcaps/{FILE}", 1), "", 0)
    )


def test_frames_of_several_files_say_which_file() -> None:
    files = sorted(path.name for path in PCAPS.glob("s1-5n-cowsql-0.22.1.node*.pcap"))
    done = run("report", *files)
    assert f"\n  1 {files[0]}\n  2 {files[1]}\n" in done.out
    frames = [line.split()[-1] for line in done.out.splitlines() if "first seen" in line]
    assert frames
    assert all(1 <= int(frame.split(":")[0]) <= len(files) for frame in frames)


def test_ports_choose_what_is_taken_for_raft() -> None:
    by_content = run("messages", "--json", NOISE)
    by_port = run("messages", "--json", "--port", "9001", NOISE)
    assert [r for r in by_port.records if "message" in r] == [r for r in by_content.records if "message" in r]
    noise = Counter(record["diagnostic"] for record in by_port.records if "diagnostic" in record)
    assert noise["not_raft"] == 2  # a GET and random bytes
    both = run("messages", "--json", "--port", "9001,8000", NOISE).records
    assert Counter(r.get("diagnostic") for r in both)["not_raft"] == 12


# Times and terminals


@pytest.mark.parametrize("command", COMMANDS)
def test_times_are_utc_unless_another_zone_is_asked_for(command: str) -> None:
    utc, rome = (run(command, "--json", *options, FILE) for options in ([], ["--tz", "Europe/Rome"]))

    first, second = (re.findall(r'"time": "([^"]+)"', done.out)[0] for done in (utc, rome))
    assert first.endswith("Z")
    assert second.endswith("+01:00")
    assert datetime.fromisoformat(second) == datetime.fromisoformat(first)
    assert first[:11] + second[13:29] == first[:11] + first[13:29]


@pytest.mark.parametrize("file", FILES)
def test_report_fits_a_terminal_of_80_columns(file: str) -> None:
    done = run_on_terminal("report", file, env={"NO_COLOR": "1"})
    assert done.code == 0
    assert "\x1b" not in done.out
    for line in done.lines:
        assert len(line) <= 80
        assert line == line.rstrip()


def test_report_is_coloured_on_terminals_only() -> None:
    assert "\x1b[" in run_on_terminal("report", FILE).out
    assert "\x1b" not in run("report", FILE).out


def test_progress_is_shown_only_to_somebody_who_watches() -> None:
    """Standard error is a pipe here, so there is none, whatever the size of the capture."""
    assert run("report", *[file for file in FILES if file.startswith("s1-5n")]).err == ""


# Gaps


def test_a_gap_names_the_packets_around_it_and_their_files(tmp_path: Path) -> None:
    """The second of three messages is lost; the first ends a file, and the third begins the next one."""
    handshake, heartbeat = golden_streams.HANDSHAKES[0].data, wire.encode_message(1, {"term": 5, "prev_log_index": 7})
    connection = Connection()
    start = len(handshake)
    ends = [start, start + len(heartbeat), start + 2 * len(heartbeat)]
    frames = [*connection.opening(), connection.data(0, handshake), connection.data(start, heartbeat)]
    packets = capture([*frames, connection.data(ends[2], heartbeat)])
    paths = [tmp_path / "a.pcap", tmp_path / "b.pcap"]
    paths[0].write_bytes(pcap(*packets[:-1]))
    paths[1].write_bytes(pcap(packets[-1]))
    files = list(map(str, paths))
    (gap,) = run("messages", "--json", "--type", "gap", *files).records
    assert (gap["previous_file"], gap["previous_frame"], gap["file"], gap["frame"]) == (files[0], 5, files[1], 1)
    assert (gap["offset"], gap["size"], gap["stream"]) == (ends[1], len(heartbeat), 0)
    assert (gap["cost"], gap["passed_over"]) == ("framing", 0)
    assert "cut_message" not in gap
    assert "between frames 1:5 and 2:1" in gap["detail"]
    page = (PCAPS.parent / "docs" / "json.md").read_text()
    assert all(f"`{key}`" in page for key in gap)


# The report as JSON

WORDS: dict[str, dict[str, Any]] = {
    "term_changes": {"cause": facts.TermCause},
    "elections": {"cause": facts.ElectionCause, "outcome": facts.ElectionOutcome},
    "rejections": {"kind": facts.RejectionKind, "reason": facts.RefusalReason},
    "snapshots": {"outcome": facts.SnapshotOutcome},
    "transfers": {"outcome": facts.TransferOutcome},
    "leaders": {"ended_by": facts.LeaderEnd},
    "configurations": {"change": facts.ConfigurationChange},
}
KEYS = {
    "servers": {"id", "addresses", "roles", "implementation", "first_seen", "last_seen"},
    "terms": {"term", "leaders"},
    "leaders": {"term", "leader", "from", "to", "ended_by"},
    "leaderless": {"from", "to", "seconds"},
    "elections": {"term", "candidate", "pre_vote", "requests", "granted", "refused", "outcome", "seconds", "cause"},
    "term_changes": {"server", "old", "new", "cause"},
    "rejections": {"kind", "by", "of", "term", "reason", "rejected", "last_log_index"},
    "snapshots": {
        "leader",
        "follower",
        "last_index",
        "last_term",
        "bytes",
        "started",
        "finished",
        "answered",
        "seconds",
        "bytes_per_second",
        "outcome",
    },
    "transfers": {"leader", "target", "outcome", "seconds"},
    "configurations": {"index", "term", "servers", "change"},
    "traffic": {"sender", "receiver", "messages", "bytes"},
}


@pytest.mark.parametrize("file", FILES)
def test_report_has_the_documented_keys_and_words(file: str) -> None:
    done = run("report", "--json", "--quiet", file)
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    assert report["schema"] == 1
    capture = report["capture"]
    documented = {"files", "packets", "bytes", "first", "last", "raft_streams", "other_streams", "gaps", "malformed"}
    assert documented | {"unfinished", "skipped"} <= set(capture)
    assert {diagnostic["diagnostic"] for diagnostic in capture["diagnostics"]} <= set(get_args(DiagnosticKind))
    for cluster in report["clusters"]:
        assert set(KEYS) <= set(cluster)
        for section, keys in KEYS.items():
            for item in cluster[section]:
                assert keys | {"frame", "time"} <= set(item), section
                if section == "servers" and item["first_seen"] is None:
                    assert (item["frame"], item["time"]) == (None, None)
                    continue
                assert isinstance(item["frame"], int)
                assert item["time"].endswith("Z")
                for key, words in WORDS.get(section, {}).items():
                    assert item[key] in get_args(words) or (item[key] is None and key == "change")
                for refusal in item.get("refused", ()):
                    assert refusal["reason"] in get_args(facts.RefusalReason)
        for server in cluster["servers"]:
            assert set(server["implementation"]) == {"family", "releases"}
            assert server["implementation"]["family"] in ("canonical", "cowsql", "dqlite", "unknown")


def test_report_text_has_what_the_json_has() -> None:
    """Every frame that the text shows stands in the JSON report, and the other way round for short sections."""
    file = "s6-canon-0.18.1.pcap"
    cluster = json.loads(run("report", "--json", file).out)["clusters"][0]
    text = run("report", file).out
    sections = {"Leaders": "leaders", "Term changes": "term_changes", "Elections": "elections"}
    for title, key in {**sections, "Configurations": "configurations"}.items():
        lines = text.split(f"\n{title}\n")[1].split("\n\n")[0].splitlines()[1:]
        lines = [line for line in lines if not re.match(" {4}[^ ]", line)]  # notes name no frame
        assert [int(line.split()[-1]) for line in lines] == [item["frame"] for item in cluster[key]]


# Imports, and hostile input


def test_module_and_program_are_the_same() -> None:
    """The entry point of the package is the function that `python -m` calls."""
    code = "import sys; from raft_dissect.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "report", FILE],
        capture_output=True,
        text=True,
        cwd=PCAPS,
        env=environment(),
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == run("report", FILE)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_start_without_heavy_imports(command: str) -> None:
    heavy = "{'scapy', 'numpy', 'pyshark', 'dataclasses', 'importlib.metadata'}"
    code = (
        "import sys; from raft_dissect.cli import main; main(sys.argv[1:]);"
        f"print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command, FILE],
        capture_output=True,
        text=True,
        cwd=PCAPS,
        env=environment(),
        check=False,
    )
    assert done.stderr == "[]\n"


MUTATED = [
    "s5-canon-0.18.1.pcapng",
    "s1-mid-cowsql-0.22.1.mid.pcap",
    "dq7-dqlite-1.18.6.pcap",
    "s4-64k-canon-0.18.1.pcap",
]


@pytest.mark.parametrize("seed", range(6))
def test_no_input_ends_in_a_traceback(seed: int, tmp_path: Path) -> None:
    """Random bytes behind a proper begin, and real captures with bytes changed, dropped or doubled."""
    chance = random.Random(seed)
    data = bytearray((PCAPS / chance.choice(MUTATED)).read_bytes())
    for _ in range(chance.choice([1, 10, 1000])):
        place = chance.randrange(24, len(data))
        kind = chance.randrange(3)
        if kind == 0:
            data[place] = chance.randrange(256)
        elif kind == 1:
            del data[place : place + chance.randrange(64)]
        else:
            data[place:place] = data[place : place + chance.randrange(64)]
    mutated, noise = tmp_path / "mutated.pcap", tmp_path / "noise.pcap"
    mutated.write_bytes(data)
    noise.write_bytes(data[: chance.choice([0, 4, 24, 40])] + chance.randbytes(20_000))
    for file in (mutated, noise):
        for command in COMMANDS:
            for options in ([], ["--json", "--port", "9001,9000"]):
                done = run(command, *options, str(file))
                assert done.code in (0, 3)
                assert "Traceback" not in done.err
                assert all(line.startswith("raft-dissect: ") for line in done.err.splitlines())
                if "--json" in options and done.out:
                    assert done.records if command == "messages" else json.loads(done.out)
        for arguments in (["ladder"], ["report", "--trace", "-"], ["report", "--csv", "traffic"]):
            done = run(*arguments, str(file))
            assert done.code in (0, 3)
            assert all(line.startswith("raft-dissect: ") for line in done.err.splitlines())


def test_payload_bytes_flipped_in_every_message_end_in_no_traceback(tmp_path: Path) -> None:
    """Only Raft bytes are changed: framing, decoding and analysis see impossible values."""
    original = (PCAPS / "s6-canon-0.18.1.pcap").read_bytes()
    for seed in range(8):
        chance = random.Random(seed)
        data = bytearray(original)
        place = 24
        while place < len(data):
            size = int.from_bytes(data[place + 8 : place + 12], "little")
            for _ in range(2):
                if size > 70 and chance.random() < 0.2:
                    data[place + 16 + chance.randrange(66, size)] ^= 1 << chance.randrange(8)
            place += 16 + size
        file = tmp_path / f"{seed}.pcap"
        file.write_bytes(data)
        for command in COMMANDS:
            for options in ([], ["--json"]):
                done = run(command, *options, str(file))
                assert (done.code, done.err) == (0, "")
