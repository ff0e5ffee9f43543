"""Runs tshark with a Lua script, gives it packets through a pipe, and takes what the script answers."""

from __future__ import annotations

import os
import selectors
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from raft_dissect.capture.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PROGRAM = "tshark"
_OLDEST = "3.0"
"""The first version that takes secrets from a pcapng file."""
_SCRIPT = "answers.lua"
_GREETING = "raft_dissect"
_MARKER_ANSWER = "M"
_SECTION, _INTERFACE, _ENHANCED, _SECRETS = 0x0A0D0D0A, 1, 6, 10
_PADDING = 0x80000001
"""A block of local use, over which readers step."""
_PAD = bytes(32 * 1024)
"""More than tshark reads from a pipe before it looks at what it has read."""
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_TLS_KEY_LOG = 0x544C534B
_IPV4 = 228
_MARKER = struct.pack(">BBHHHBBHIII", 0x45, 0, 24, 0, 0, 64, 253, 0, 0, 0, 0)
_READ = 1024 * 1024
_SECONDS = 60.0
"""For which tshark may be silent while it has something to do."""
_LONGEST_LINE = 4096
_ADVICE = (
    "Debian, Ubuntu: sudo apt install tshark",
    "Fedora: sudo dnf install wireshark-cli",
    "macOS: brew install wireshark",
)


class TsharkError(UnavailableError):
    """tshark is missing, too old, or does not do what it should."""

    def __init__(self, problem: str, advice: tuple[str, ...] = ()) -> None:
        super().__init__(_PROGRAM, problem, advice)


class Answer(NamedTuple):
    """One thing that a script wrote."""

    kind: str
    packet: int
    """Number of the packet that it is about."""
    words: list[str]
    data: bytes


class Tshark:
    """One process of tshark, which is asked in turns: packets go in, and what a script says of them comes out.

    `question` is one that the script beside this module knows, `preferences` are Wireshark's, as `name:value`. The
    user's own configuration of Wireshark is left aside, so that the answers depend on the packets alone. It keeps some
    memory for every packet.
    Raises TsharkError when there is no tshark, when it is older than 3.0 or was built without Lua, and whenever it ends
    before its time.
    """

    def __init__(self, question: str, preferences: Sequence[str] = ()) -> None:
        program = shutil.which(_PROGRAM)
        if program is None:
            raise TsharkError("it is not installed, and is needed for this", _ADVICE)
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - until `close`
        self._process = _started(program, question, preferences, self._errors)
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        self._stdin, self._stdout = stdin, stdout
        for pipe in (stdin, stdout):
            os.set_blocking(pipe.fileno(), False)
        self._out = bytearray(_block(_SECTION, struct.pack("<IHHq", _BYTE_ORDER_MAGIC, 1, 0, -1)) + _interface(_IPV4))
        self._in = bytearray()
        self._interfaces = {_IPV4: 0}
        self._packets = 0
        self._greet()

    def secrets(self, lines: Iterable[bytes]) -> None:
        """Let it know lines of a TLS key log, for the packets that follow."""
        content = b"\n".join(lines) + b"\n"
        self._out += _block(_SECRETS, struct.pack("<II", _TLS_KEY_LOG, len(content)) + content)

    def packet(self, data: bytes, length: int, link_type: int = _IPV4) -> int:
        """Give it a packet with so many bytes on the wire; returns the number by which answers name it."""
        number = self._interfaces.get(link_type)
        if number is None:
            number = self._interfaces[link_type] = len(self._interfaces)
            self._out += _interface(link_type)
        self._packets += 1
        self._out += _block(_ENHANCED, struct.pack("<IIIII", number, 0, 0, len(data), length) + data)
        return self._packets

    def ask(self) -> list[Answer]:
        """Wait for the answers about all packets since the last time."""
        marker = self.packet(_MARKER, len(_MARKER))
        self._out += _block(_PADDING, _PAD)
        answers: list[Answer] = []
        while not self._take(answers, _MARKER_ANSWER, marker):
            self._exchange()
        return answers

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for file in (self._stdin, self._stdout, self._errors):
            file.close()

    def _greet(self) -> None:
        """Wait until the script says that it runs."""
        try:
            while not self._take([], _GREETING, 0):
                self._exchange()
        except BaseException:
            self.close()
            raise

    def _take(self, answers: list[Answer], last: str, number: int) -> bool:
        """Take the answers that are there up to the one of a kind about a packet; whether that was there.

        A capture may hold packets that look like markers, so the number counts.
        """
        place = 0
        found = False
        while not found:
            end = self._in.find(b"\n", place, place + _LONGEST_LINE)
            if end < 0:
                if len(self._in) - place >= _LONGEST_LINE:
                    raise self._failed("it wrote something else than an answer")
                break
            kind, packet, size, *words = self._in[place:end].decode("latin-1").split()
            stop = end + 1 + int(size)
            if stop > len(self._in):
                break
            found = kind == last and int(packet) == number
            if not found:
                answers.append(Answer(kind, int(packet), words, bytes(self._in[end + 1 : stop])))
            place = stop
        del self._in[:place]
        return found

    def _exchange(self) -> None:
        """Write what waits to be written, and read what there is, as soon as one of the two can be done."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            if self._out:
                selector.register(self._stdin, selectors.EVENT_WRITE)
            ready = selector.select(_SECONDS)
        if not ready:
            raise self._failed(f"it has not answered for {_SECONDS:.0f} seconds")
        for key, _ in ready:
            if key.fileobj is self._stdin:
                self._write()
            else:
                self._read()

    def _write(self) -> None:
        try:
            written = os.write(self._stdin.fileno(), self._out)
        except BrokenPipeError:
            raise self._failed("it has ended") from None
        del self._out[:written]

    def _read(self) -> None:
        data = os.read(self._stdout.fileno(), _READ)
        if not data:
            raise self._failed("it has ended")
        self._in += data

    def _failed(self, problem: str) -> TsharkError:
        """What is wrong, with the last line of what it complained about."""
        self._errors.seek(0)
        lines = [line for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        lines = [line for line in lines if "Running as user" not in line]
        said = f" ({lines[-1].strip()})" if lines else ""
        advice = f"Wireshark {_OLDEST} or later is needed, with Lua; see what tshark --version says"
        return TsharkError(f"{problem}{said}; {advice}")


def _started(program: str, question: str, preferences: Sequence[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start it, with an empty place for its configuration."""
    place = Path(__file__).parent
    words = [program, "-q", "-n", "-r", "-"]
    words += ["-X", f"lua_script:{place / _SCRIPT}", "-X", f"lua_script1:{question}"]
    words += [word for preference in preferences for word in ("-o", preference)]
    nowhere = str(place / "configuration")
    environment = {**os.environ, "WIRESHARK_CONFIG_DIR": nowhere, "XDG_CONFIG_HOME": nowhere}
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            bufsize=0,
            start_new_session=True,  # so that Ctrl-C is ours alone
        )
    except OSError as error:
        errors.close()
        raise TsharkError(f"{program} cannot be started: {error.strerror or error}", _ADVICE) from error


def _interface(link_type: int) -> bytes:
    return _block(_INTERFACE, struct.pack("<HHI", link_type, 0, 0))


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length
