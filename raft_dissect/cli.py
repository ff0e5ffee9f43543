"""The command line: arguments, exit codes and progress; the work is done elsewhere."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections import deque
from contextlib import contextmanager, nullcontext
from datetime import UTC, tzinfo
from io import TextIOWrapper
from itertools import chain
from typing import TYPE_CHECKING, NoReturn

from raft_dissect import __version__
from raft_dissect.capture import CaptureError
from raft_dissect.dissection import Dissection
from raft_dissect.report.terminal import Style, can_write_blocks
from raft_dissect.report.times import Clock
from raft_dissect.report.words import counted, other_connections
from raft_dissect.selection import KINDS, Moment, Selection
from raft_dissect.values import Diagnostic, Message
from raft_dissect.wire import LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raft_dissect.columns import MessageBatch
    from raft_dissect.report.html import Watcher
    from raft_dissect.report.model import Report
    from raft_dissect.report.records import Records
    from raft_dissect.values import Event

FINE, USAGE, DAMAGED, MISSING = 0, 2, 3, 4
"""Exit codes; USAGE is also what argparse uses."""
_PROGRESS_SECONDS = 0.2
_AHEAD = 1000
"""Events that are looked ahead in files, to know who is who before a line is printed."""
_BLOCK = 500
"""Lines that are printed at once where nobody waits for the next one."""
_EPILOG = """\
FILE is a pcap or pcapng file, plain or compressed (gzip, xz, bzip2, zstd, lz4); "-" is standard input. Several files
are one capture: parts of a rotation, or several capture points of one cluster. Exit codes: 0 fine, 2 wrong usage, 3 a
capture could not be read or is damaged (what could be decoded is printed), 4 the output cannot be written."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    options = _parser().parse_args(arguments)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - it is there until the end
    if sys.stdout is None:
        return _complain("standard output is closed", MISSING)
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, TextIOWrapper):
            output.reconfigure(errors="backslashreplace")  # names of files may hold what the encoding cannot
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except CaptureError as error:
        return _complain(str(error))
    except BrokenPipeError:
        _drop_output()  # whoever reads it has seen enough
        return FINE
    except OSError as error:
        _drop_output()
        return _complain(f"the output cannot be written: {error.strerror or error}", MISSING)
    except KeyboardInterrupt:
        return 130
    return code


def _drop_output() -> None:
    """Throw away what is still to be written: Python would try it once more at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(line: str, code: int = DAMAGED) -> int:
    print(f"raft-dissect: {line}", file=sys.stderr)
    return code


# Arguments


class _Version(argparse.Action):
    """Prints the version and whether the hot path is compiled, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from raft_dissect.form import describe, module_names  # start-up counts: nothing else needs it

        print(f"raft-dissect {__version__} ({describe(module_names())})")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="raft-dissect",
        description="Read the Raft traffic between servers of dqlite, cowsql, LXD, Incus, MicroK8s or Juju clusters.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and the form, and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_messages(commands)
    _add_report(commands)
    return parser


def _add_messages(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add_command(commands, "messages", "one line for each RPC message", _messages)
    command.add_argument("--hash", action="store_true", help="with --json: the SHA-256 of each payload")
    selecting = command.add_argument_group("which messages")
    selecting.add_argument(
        "--server", action="append", default=[], metavar="ID", help="sent or received by this server: id or address"
    )
    selecting.add_argument("--peer", action="append", default=[], metavar="ID", help="and this server at the other end")
    selecting.add_argument("--term", type=_terms, metavar="N[-M]", help="of this term or these terms")
    selecting.add_argument(
        "--from",
        dest="begin",
        metavar="TIME",
        help="at or after this time: 2026-11-23T04:46:26.2, 04:46:26.2, or seconds since the epoch",
    )
    selecting.add_argument("--to", dest="end", metavar="TIME", help="before this time")
    selecting.add_argument(
        "--type",
        type=_kinds,
        default=[],
        metavar="NAME[,NAME]",
        help="these messages or diagnostics, such as RequestVote or gap",
    )


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add_command(commands, "report", "what happened in the cluster", _report)
    page = command.add_argument_group("an HTML page")
    page.add_argument("--html", metavar="FILE", help="write all of it to FILE as well, with a timeline and plots")
    page.add_argument("--ladder-from", metavar="TIME", help="its messages one by one from this time on")
    page.add_argument("--ladder-to", metavar="TIME", help="and before this time; without both, the most telling ones")


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, run: object
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=summary, description=f"Print {summary}.", epilog=_EPILOG)
    command.set_defaults(run=run)
    command.add_argument("files", nargs="+", metavar="FILE", help='capture files; "-" is standard input')
    command.add_argument("--json", action="store_true", help="print JSON instead of text")
    command.add_argument(
        "--port",
        type=_ports,
        metavar="N[,N]",
        help="the TCP ports that carry Raft; without it Raft is recognised by its content",
    )
    command.add_argument(
        "--layout",
        choices=[layout.label for layout in LAYOUTS],
        metavar="LABEL",
        help="prefer this layout where the same bytes belong to several",
    )
    command.add_argument(
        "--tz",
        type=_zone,
        default=UTC,
        metavar="ZONE",
        help="time zone of all times, such as Europe/Rome; UTC by default",
    )
    command.add_argument(
        "--follow",
        action="store_true",
        help="wait at the end of FILE, one plain file, for what is still being written to it, until it is removed or "
        "Ctrl-C is pressed",
    )
    command.add_argument("--no-progress", action="store_true", help="show no progress on standard error")
    command.add_argument("--quiet", action="store_true", help="say nothing on standard error but errors")
    return command


def _ports(text: str) -> list[int]:
    try:
        ports = [int(port) for port in text.split(",")]
    except ValueError:
        ports = []
    if not ports or not all(0 < port < 65536 for port in ports):
        raise argparse.ArgumentTypeError(f"no TCP ports: {text}")
    return ports


def _terms(text: str) -> range:
    first, _, last = text.partition("-")
    try:
        terms = range(int(first), int(last or first) + 1)
    except ValueError:
        terms = range(0)
    if not terms:
        raise argparse.ArgumentTypeError(f"no term or range of terms: {text}")
    return terms


def _kinds(text: str) -> list[str]:
    kinds = []
    for name in text.split(","):
        if name.strip().lower() not in KINDS:
            raise argparse.ArgumentTypeError(f"no such type: {name}; there are {', '.join(KINDS.values())}")
        kinds.append(KINDS[name.strip().lower()])
    return kinds


def _zone(text: str) -> tzinfo:
    if text.upper() in ("UTC", "Z"):
        return UTC
    import zoneinfo  # here because most runs do without it

    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise argparse.ArgumentTypeError(f"no time zone is called {text}") from None


def _selection(options: argparse.Namespace) -> Selection:
    try:
        begin = Moment(options.begin, options.tz) if options.begin else None
        end = Moment(options.end, options.tz) if options.end else None
    except ValueError as error:
        _usage(str(error))
    return Selection(options.server, options.peer, options.term, begin, end, options.type)


def _usage(line: str) -> NoReturn:
    print(f"raft-dissect: {line}", file=sys.stderr)
    raise SystemExit(USAGE)


# Commands


def _messages(options: argparse.Namespace) -> int:
    from raft_dissect.report.lines import Lines  # start-up counts: each command imports its own output
    from raft_dissect.report.records import Records

    selection = _selection(options)
    run = _Run(options, hash_payload=options.hash and options.json, prints_lines=True)
    records = Records(run.files, run.clock)
    lines = Lines(records.identities, run.clock, run.style, run.width, several=len(run.files) > 1)
    line = records.line if options.json else lines.line
    selective = any(selection)
    shown = messages = 0
    with _Printer(_BLOCK if run.reads_files else 1) as printer:
        for event in _learning(run, records):
            if isinstance(event, Message):
                messages += 1
            elif not isinstance(event, Diagnostic):
                continue
            if selective and not selection.wants(event, records.identities, run.begin_ns):
                continue
            if not shown and not options.json:
                printer.print(lines.head())
            shown += 1
            printer.print(line(event))
    if not shown or not messages:
        run.say_nothing_found(messages)
    return run.finish()


class _Printer:
    """Prints lines, so many at a time; the last ones when the `with` statement is left, in whatever way."""

    def __init__(self, block: int) -> None:
        self._block = block
        self._lines: list[str] = []

    def __enter__(self) -> _Printer:
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    def print(self, line: str) -> None:
        """Print a line, perhaps later."""
        self._lines.append(line)
        if len(self._lines) >= self._block:
            self._write()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            lines.append("")
            sys.stdout.write("\n".join(lines))
            if self._block == 1:
                sys.stdout.flush()  # somebody waits for it


def _learning(run: _Run, records: Records) -> Iterator[Event]:
    """The events of a run, some time after it was learnt from them who is who: a receiver may speak later."""
    waiting: deque[Event] = deque()
    ahead = _AHEAD if run.reads_files else 0
    for event in run.events():
        records.learn(event)
        waiting.append(event)
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting


def _report(options: argparse.Namespace) -> int:
    from raft_dissect.pipeline import ReportBuilder  # start-up counts: each command imports what it needs
    from raft_dissect.report.as_json import report_record
    from raft_dissect.report.as_text import report_text

    watcher = _watcher(options)
    run = _Run(options)
    builder = ReportBuilder()
    for batch in run.batches():
        builder.feed(batch)
        if watcher is not None:
            watcher.feed(batch, run.begin_ns)
    report = builder.report(run.dissection)
    written = watcher is None or _write_page(options.html, report, run.clock, watcher)
    if options.json:
        print(json.dumps(report_record(report, run.clock), indent=2))
    else:
        for line in report_text(report, run.clock, run.style, run.width):
            print(line)
    code = run.finish()
    return code if written else MISSING


def _watcher(options: argparse.Namespace) -> Watcher | None:
    """What collects the messages for the HTML page that the options ask for."""
    path = options.html
    begin, end = options.ladder_from, options.ladder_to
    if path is None:
        if begin or end:
            _usage("--ladder-from and --ladder-to belong to the page that --html FILE writes")
        return None
    from raft_dissect.report.html import Watcher  # start-up counts: only this option needs it

    if path in ("", "-") or (os.path.isfile(path) and not _is_page(path)):
        _usage(f"--html takes the name of a new file, or of a page to replace; {path or 'nothing'} is neither")
    try:
        moments = [Moment(text, options.tz) if text else None for text in (begin, end)]
    except ValueError as error:
        _usage(str(error))
    return Watcher(*moments)


def _is_page(path: str) -> bool:
    """Whether a file may be replaced by a page: a capture, above all, may not."""
    try:
        with open(path, "rb") as file:
            return file.read(15) in (b"", b"<!DOCTYPE html>")
    except OSError:
        return True  # writing it will say what is wrong


def _write_page(path: str, report: Report, clock: Clock, watcher: Watcher) -> bool:
    """Write the HTML page; where that is not possible say so and give False."""
    from raft_dissect.report.html import html_page

    try:
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(html_page(report, clock, watcher.watched(report)))
    except OSError as error:
        _complain(f"{path} cannot be written: {error.strerror or error}")
        return False
    return True


class _Run:
    """One pass over the capture that the options name, with what every command shows beside its result."""

    def __init__(self, options: argparse.Namespace, *, hash_payload: bool = False, prints_lines: bool = False) -> None:
        if options.follow and len(options.files) > 1:
            _usage("only one file can be followed: --follow takes one FILE")
        self.clock = Clock(options.tz)
        terminal = sys.stdout.isatty()
        colours = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self.style = Style(colours, can_write_blocks(sys.stdout.encoding))
        self.width = shutil.get_terminal_size().columns if terminal else None
        self.files: list[str] = list(options.files)
        self._unreadable: list[CaptureError] = []
        self.dissection = self._open(options, hash_payload)
        self._quiet = options.quiet
        self._follow = options.follow
        watched = sys.stderr.isatty() and not (terminal and prints_lines)  # there the lines themselves are progress
        self._progress = watched and not (options.quiet or options.no_progress)
        self._damage: list[Diagnostic] = []

    def _open(self, options: argparse.Namespace, hash_payload: bool) -> Dissection:
        """Open all files; of several, one that cannot be read does not keep the others from being read."""
        while True:
            try:
                return Dissection(
                    self.files,
                    ports=options.port,
                    layout=options.layout,
                    hash_payload=hash_payload,
                    follow=options.follow,
                )
            except CaptureError as error:
                if len(self.files) == 1 or error.path not in self.files:
                    raise
                self._unreadable.append(error)
                self.files.remove(error.path)

    @property
    def reads_files(self) -> bool:
        """Whether all of the capture is there already, so that nobody waits for the next line."""
        capture = self.dissection.capture
        return capture is not None and capture.size is not None

    @property
    def begin_ns(self) -> int:
        """Time of the first packet."""
        return self.dissection.statistics.first_ns or 0

    def events(self) -> Iterator[Event]:
        """Every event, while progress is shown and damaged files are remembered."""
        return chain.from_iterable(self.batches())

    def batches(self) -> Iterator[MessageBatch]:
        """The same in batches."""
        with self._ended_by_interrupt() if self._follow else nullcontext():
            for batch in self._with_progress() if self._progress else self.dissection.batches():
                for _, event in batch.others:
                    if isinstance(event, Diagnostic) and event.kind in ("file_damaged", "file_truncated"):
                        self._damage.append(event)
                yield batch

    @contextmanager
    def _ended_by_interrupt(self) -> Iterator[None]:
        """The first Ctrl-C ends the capture, so that what is known by then is printed; the second one ends the run.

        A pipe ends with the program that writes into it, which the same Ctrl-C ends as well.
        """
        import signal  # here because most runs do without it

        def stop(*_: object) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if self.dissection.capture is not None:
                self.dissection.capture.stop_following()

        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield  # whoever started this run wants no such interrupts
            return
        signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _with_progress(self) -> Iterator[MessageBatch]:
        capture = self.dissection.capture
        due = time.monotonic() + _PROGRESS_SECONDS
        shown = False
        for batch in self.dissection.batches():
            yield batch
            if time.monotonic() < due:
                continue
            due = time.monotonic() + _PROGRESS_SECONDS
            packets = self.dissection.statistics.packets
            percent = ""
            if capture is not None and capture.size:
                percent = f" {100 * capture.bytes_read // capture.size}%"
            print(f"\rreading:{percent} {packets:,} packets", end="", file=sys.stderr, flush=True)
            shown = True
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def finish(self) -> int:
        """Say what a reader of the result must know, and give the exit code."""
        sys.stdout.flush()
        for damage in self._damage:
            where = f"after frame {damage.place.frame}, at byte {damage.offset}"
            _complain(f"{self.files[damage.place.file]}: {where}: {damage.detail}")
        for error in self._unreadable:
            _complain(str(error))
        return DAMAGED if self._damage or self._unreadable else FINE

    def say_nothing_found(self, messages: int) -> None:
        """Say why there is no line at all: no Raft, or nothing of what was asked for."""
        if self._quiet:
            return
        statistics = self.dissection.statistics
        if statistics.streams["raft"]:
            line = f"none of {counted(messages, 'message')} is what was asked for"
        else:
            others = other_connections(statistics.streams)
            line = f"no Raft traffic found in {counted(statistics.packets, 'packet')}{others}"
        print(f"raft-dissect: {line}", file=sys.stderr)
