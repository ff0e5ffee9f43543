"""The programs that are measured: ours in each form that is installed, and others that read the same captures."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).resolve().parent
_FEW = frozenset({"few"})
_SMALL = frozenset({"few", "small"})
_LUA = ("-X", f"lua_script:{HERE / 'baseline.lua'}", "-Y", "craft")

TSHARK, TSHARK_EK = "tshark with Lua", "tshark with Lua, -T ek"
DECODE, REPORT, AUDIT, LINES = "every message", "report", "audit", "messages --json"


class Ours(NamedTuple):
    """raft_dissect as one interpreter has it."""

    label: str
    python: str
    checkout: bool
    """Whether the interpreter finds it here, and not where it is installed."""
    compiled: bool


def environment(form: Ours | None) -> dict[str, str]:
    """The environment in which a form of ours is found, or where None is given this checkout."""
    # A Python that may keep no bytecode, or writes line by line, is not what users have.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONPATH": str(HERE.parent)} if form is None or form.checkout else kept


class Found(NamedTuple):
    """What a reader's output tells."""

    messages: int | None = None
    """Whole messages."""
    lines: int | None = None
    """Lines of JSON, one for each message or frame."""
    limits: tuple[str, ...] = ()
    """Bounds that were reached, in the reader's words."""


class Reader(NamedTuple):
    """A program that reads captures."""

    name: str
    command: Callable[[Path], list[str]]
    found: Callable[[Path], Found]
    """What its output tells."""
    needs: str = ""
    """A program, or a module if it begins with `import `."""
    only: frozenset[str] = frozenset()
    """The captures that it is run on; all when empty."""
    slow: bool = False
    """Whether it is run once only."""
    ours: Ours | None = None
    """Which of our forms it is."""

    @property
    def installed(self) -> bool:
        """Whether it can be run here."""
        if self.needs.startswith("import "):
            return importlib.util.find_spec(self.needs.removeprefix("import ")) is not None
        return not self.needs or shutil.which(self.needs) is not None


def ours_of(argument: str) -> Ours:
    """The form of ours that `LABEL=PYTHON` names; LABEL alone is this interpreter and this checkout.

    Raises ValueError when it does not run.
    """
    label, _, python = argument.partition("=")
    # Readers run in another folder; links are left alone, for they make a virtual environment what it is.
    path = os.path.abspath(python) if os.sep in python else python
    form = Ours(label, path or sys.executable, not path, False)
    try:
        run = subprocess.run(
            [form.python, "-m", "raft_dissect", "--version"],
            capture_output=True,
            text=True,
            check=True,
            cwd=os.sep,
            env=environment(form),
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(f"{form.python} has no raft_dissect that runs: {error}") from None
    compiled = "(compiled)" in run.stdout
    return form._replace(label=label or ("compiled" if compiled else "uncompiled"), compiled=compiled)


def _number(output: Path) -> Found:
    return Found(messages=int(output.read_text()))


def _nothing(_: Path) -> Found:
    return Found()


def _fields(output: Path) -> Found:
    """Tshark's lines: several messages of one frame stand in one line, with commas."""
    with output.open() as lines:
        return Found(messages=sum(line.split("\t")[2].count(",") + 1 for line in lines))


def _ek(output: Path) -> Found:
    """Of each two lines the first names an index and the second is the document."""
    with output.open() as lines:
        return Found(lines=sum(line.startswith('{"timestamp"') for line in lines))


def _json(output: Path) -> Found:
    messages = count = 0
    limits: dict[str, None] = {}
    with output.open() as lines:
        for line in lines:
            count += 1
            if '"message"' in line:
                messages += '"partial"' not in line
            elif '"limit"' in line:
                limits[json.loads(line)["detail"]] = None
    return Found(messages, count, tuple(limits))


def _ours(form: Ours) -> list[Reader]:
    def command(*words: str) -> Callable[[Path], list[str]]:
        return lambda path: [form.python, *words, str(path)]

    program = ("-m", "raft_dissect")
    ports = ("--json", "--port", "9001")
    return [
        Reader(DECODE, command(str(HERE / "count.py")), _number, ours=form),
        Reader(REPORT, command(*program, "report", *ports), _nothing, ours=form),
        Reader(AUDIT, command(*program, "audit", "--fail-on", "never", *ports), _nothing, ours=form),
        Reader(LINES, command(*program, "messages", *ports), _json, ours=form),
    ]


def _python(script: str) -> Callable[[Path], list[str]]:
    return lambda path: [sys.executable, str(HERE / "other" / script), str(path)]


def _tshark(*words: str) -> Callable[[Path], list[str]]:
    return lambda path: ["tshark", "-r", str(path), *_LUA, *words]


_FIELDS = ("frame.number", "frame.time_epoch", "craft.type", "craft.term")
_FIELD_OPTIONS = [word for field in _FIELDS for word in ("-e", field)]


def readers(forms: Sequence[Ours]) -> list[Reader]:
    """All readers, the baseline first."""
    return [
        Reader(TSHARK, _tshark("-T", "fields", *_FIELD_OPTIONS), _fields, "tshark"),
        *(reader for form in forms for reader in _ours(form)),
        Reader(TSHARK_EK, _tshark("-T", "ek"), _ek, "tshark", _SMALL),
        Reader("Scapy TCPSession", _python("scapy_session.py"), _number, "import scapy", _FEW, slow=True),
        Reader("pyshark, XML", _python("pyshark_xml.py"), _number, "import pyshark", _FEW, slow=True),
        Reader("dpkt, packets only", _python("dpkt_packets.py"), _nothing, "import dpkt"),
        Reader(
            "tcpflow, streams only",
            lambda path: ["tcpflow", "-q", "-r", str(path), "-o", "flows"],
            _nothing,
            "tcpflow",
        ),
        Reader(
            "ndpiReader, recognition only", lambda path: ["ndpiReader", "-q", "-i", str(path)], _nothing, "ndpiReader"
        ),
    ]


def our_name(what: str, label: str) -> str:
    """What a table calls a reader of ours: what it does, and the form's label."""
    return f"raft_dissect {what}, {label}"


def name_of(reader: Reader) -> str:
    """What a table calls a reader."""
    return reader.name if reader.ours is None else our_name(reader.name, reader.ours.label)
