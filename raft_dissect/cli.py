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
from typing import TYPE_CHECKING, Generic, NamedTuple, NoReturn, TypeVar

from raft_dissect import __version__
from raft_dissect.capture import CaptureError
from raft_dissect.capture.formats import HEAD_SIZE, reader_class
from raft_dissect.dissection import Dissection
from raft_dissect.report.escape import visible
from raft_dissect.report.tables import TABLES
from raft_dissect.report.terminal import Style, can_write_blocks
from raft_dissect.report.times import Clock
from raft_dissect.report.words import other_connections
from raft_dissect.selection import KINDS, Moment, Selection
from raft_dissect.units import counted
from raft_dissect.values import Diagnostic, Message
from raft_dissect.wire import LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO

    from raft_dissect.audit import Finding, Rule
    from raft_dissect.columns import MessageBatch
    from raft_dissect.report import Report
    from raft_dissect.report.audit.trace import StateTrace
    from raft_dissect.report.audit.words import Audited
    from raft_dissect.report.html import Watcher
    from raft_dissect.report.records import Records
    from raft_dissect.values import Event

FINE, FAILED, USAGE, DAMAGED, MISSING = 0, 1, 2, 3, 4
"""Exit codes; USAGE is also what argparse uses."""
_PROGRESS_SECONDS = 0.2
_AHEAD = 1000
"""Events that are looked ahead in files, to know who is who before a line is printed."""
_STEPS = 100
"""Messages that a ladder shows unless it is told how many."""
_BLOCK = 500
"""Lines that are printed at once where nobody waits for the next one."""
_FILES = """\
FILE is a pcap or pcapng file, plain or compressed (gzip, xz, bzip2, zstd, lz4); "-" is standard input. Several files
are one capture: parts of a rotation, or several capture points of one cluster."""
_EPILOG = f"""\
{_FILES} Exit codes: 0 fine, 2 wrong usage, 3 a
capture could not be read or is damaged (what could be decoded is printed), 4 the output cannot be written."""
_AUDIT_EPILOG = f"""\
{_FILES} Exit codes: 0 nothing found that --fail-on names,
also where there is no Raft; 1 something was found that it names, whatever else is wrong; 2 wrong usage; 3 a capture
could not be read or is damaged (what could be decoded is audited), and in that nothing was found that it names; 4 the
output cannot be written."""
R = TypeVar("R")


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
        name = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return _complain(f"the output cannot be written: {name}{error.strerror or error}", MISSING)
    except KeyboardInterrupt:
        return 130
    return code


def _drop_output() -> None:
    """Throw away what is still to be written: Python would try it once more at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(line: str, code: int = DAMAGED) -> int:
    print(f"raft-dissect: {visible(line)}", file=sys.stderr)
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
    _add_audit(commands)
    _add_ladder(commands)
    return parser


def _add_messages(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add_command(commands, "messages", "one line for each RPC message", _messages)
    _add_json(command)
    command.add_argument("--hash", action="store_true", help="with --json: the SHA-256 of each payload")
    _add_selection(command)


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON instead of text")


def _add_selection(command: argparse.ArgumentParser) -> None:
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
    _add_json(command)
    command.add_argument("--at", metavar="TIME", help="print who led at this time; times are those of messages --from")
    writing = command.add_argument_group(
        "written beside what is printed", 'FILE is "-" for standard output, where it then stands instead of the report.'
    )
    writing.add_argument("--html", metavar="FILE", help="a page with all of it, a timeline and plots")
    writing.add_argument("--ladder-from", metavar="TIME", help="the page shows each message from this time on")
    writing.add_argument("--ladder-to", metavar="TIME", help="and before this time; without both, telling ones")
    writing.add_argument("--trace", metavar="FILE", help="a timeline for ui.perfetto.dev")
    writing.add_argument(
        "--csv",
        metavar="WHERE",
        help="a folder, which gets a file for each table; or the name of one table, which is printed: "
        f"{', '.join(TABLES)}",
    )


def _add_audit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add_command(commands, "audit", "where the rules of Raft and of its protocol do not hold", _audit)
    command.epilog = _AUDIT_EPILOG
    _add_json(command)
    command.add_argument(
        "--fail-on",
        choices=["error", "warning", "note", "never"],
        default="error",
        help="exit with 1 at: error, the default: a violation, which is proven; warning: also a suspect, which is an "
        "error that is not proven, or a warning; note: also a note; never: nothing",
    )
    asking = command.add_argument_group("which rules", "RULE is an id such as EL-02, or that of a group such as EL.")
    for option, text in (("--only", "ask these rules and no others"), ("--off", "do not ask these rules")):
        asking.add_argument(option, action="append", default=[], metavar="RULE[,RULE]", help=text)
    asking.add_argument("--rules", action="store_true", help="list all rules; needs no FILE")
    asking.add_argument("--explain", metavar="RULE", help="say all about one rule; needs no FILE")
    writing = command.add_argument_group(
        "written beside what is printed", 'FILE is "-" for standard output, where it then stands instead of the text.'
    )
    writing.add_argument("--sarif", metavar="FILE", help="a SARIF 2.1.0 log, for code hosts and editors")
    writing.add_argument("--junit", metavar="FILE", help="JUnit XML with a test case for each rule, for CI servers")
    writing.add_argument("--trace", metavar="FILE", help="the servers' states as NDJSON, for formal checking")


def _add_ladder(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add_command(commands, "ladder", "the messages as arrows between the servers", _ladder)
    command.add_argument("--mermaid", action="store_true", help="print a Mermaid sequence diagram")
    command.add_argument(
        "--limit",
        type=_count,
        default=_STEPS,
        metavar="N",
        help=f"show the first N messages, {_STEPS} by default; 0 shows them all",
    )
    command.add_argument("--all", action="store_true", help="show heartbeats that say nothing new as well")
    _add_selection(command)


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, run: object
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=summary, description=f"Print {summary}.", epilog=_EPILOG)
    command.set_defaults(run=run)
    nargs = "*" if run is _audit else "+"  # the rules can be looked at without a capture
    command.add_argument("files", nargs=nargs, metavar="FILE", help='capture files; "-" is standard input')
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


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = -1
    if count < 0:
        raise argparse.ArgumentTypeError(f"no number of messages: {text}")
    return count


def _zone(text: str) -> tzinfo:
    if text.upper() in ("UTC", "Z"):
        return UTC
    import zoneinfo  # here because most runs do without it

    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise argparse.ArgumentTypeError(f"no time zone is called {text}") from None


def _selection(options: argparse.Namespace) -> Selection:
    begin = _moment(options.begin, options) if options.begin else None
    end = _moment(options.end, options) if options.end else None
    return Selection(options.server, options.peer, options.term, begin, end, options.type)


def _moment(text: str, options: argparse.Namespace) -> Moment:
    try:
        return Moment(text, options.tz)
    except ValueError as error:
        _usage(str(error))


def _usage(line: str) -> NoReturn:
    raise SystemExit(_complain(line, USAGE))


# Commands


def _messages(options: argparse.Namespace) -> int:
    from raft_dissect.report.lines import Lines  # start-up counts: each command imports its own output
    from raft_dissect.report.records import Records

    selection = _selection(options)
    run = _Run(options, hash_payload=options.hash and options.json, prints_lines=True)
    records = Records(run.files, run.clock)
    lines = Lines(records.identities, run.clock, run.style, run.width, several=len(run.files) > 1)
    line = records.line if options.json else lines.line
    choice = _Choice(selection, run, records)
    with _Printer(_BLOCK if run.reads_files else 1) as printer:
        for event in choice.events():
            if choice.chosen == 1 and not options.json:
                printer.print(lines.head())
            printer.print(line(event))
    choice.say_nothing_found()
    return run.finish()


def _ladder(options: argparse.Namespace) -> int:
    from raft_dissect.report.ladder import Ladder, ladder_mermaid, ladder_text
    from raft_dissect.report.records import Records

    selection = _selection(options)
    run = _Run(options)
    records = Records(run.files, run.clock)
    choice = _Choice(selection, run, records)
    ladder = Ladder(records.identities, options.limit, options.all)
    for event in choice.events():
        ladder.add(event)
    several = len(run.files) > 1
    if ladder.steps or ladder.folded:
        if options.mermaid:
            lines = ladder_mermaid(ladder, run.clock, several)
        else:
            lines = ladder_text(ladder, run.clock, run.style, run.width, several)
        for line in lines:
            print(line)
    choice.say_nothing_found()
    return run.finish()


class _Choice:
    """The messages and diagnostics that were asked for."""

    def __init__(self, selection: Selection, run: _Run, records: Records) -> None:
        self._selection = selection
        self._run = run
        self._records = records
        self._messages = 0
        self.chosen = 0
        """How many there were so far."""

    def events(self) -> Iterator[Message | Diagnostic]:
        """Go through the capture once."""
        selection, run, identities = self._selection, self._run, self._records.identities
        selective = any(selection)
        for event in _learning(run, self._records):
            if isinstance(event, Message):
                self._messages += 1
            elif not isinstance(event, Diagnostic):
                continue
            if selective and not selection.wants(event, identities, run.begin_ns):
                continue
            self.chosen += 1
            yield event

    def say_nothing_found(self) -> None:
        """Say why there is nothing to show, if there is not."""
        if not self.chosen or not self._messages:
            self._run.say_nothing_found(self._messages)


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

    watcher = _watcher(options)
    outputs = _outputs(options, watcher)
    at = _moment(options.at, options) if options.at else None
    run = _Run(options)
    builder = ReportBuilder()
    for batch in run.batches():
        builder.feed(batch)
        if watcher is not None:
            watcher.feed(batch, run.begin_ns)
    report = builder.report(run.dissection)
    if at is not None:
        _print_leader(report, at.nanoseconds(run.begin_ns), options.json, run)
    elif all(output.path is not None for output in outputs):
        _print_report(report, options.json, run)
    sys.stdout.flush()  # it is there even if a file cannot be written
    for output in outputs:
        output.write(report, run.clock)
    return run.finish()


def _print_report(report: Report, as_json: bool, run: _Run) -> None:
    if as_json:
        from raft_dissect.report.as_json import report_record

        print(json.dumps(report_record(report, run.clock), indent=2))
        return
    from raft_dissect.report.as_text import report_text

    for line in report_text(report, run.clock, run.style, run.width):
        print(line)


def _print_leader(report: Report, time_ns: int, as_json: bool, run: _Run) -> None:
    from raft_dissect.report.moment import leader_record, leader_sentence
    from raft_dissect.report.terminal import wrapped

    if as_json:
        print(json.dumps(leader_record(report, time_ns, run.clock)))
    else:
        print("\n".join(wrapped(leader_sentence(report, time_ns, run.clock), run.width, "")))


class _Output(NamedTuple, Generic[R]):
    """Something that is written beside the result of a command, or instead of it."""

    writer: Callable[[R, Clock, TextIO], None]
    path: str | None
    """None is standard output."""

    def write(self, result: R, clock: Clock) -> None:
        """Write it, all at once."""
        if self.path is None:
            self.writer(result, clock, sys.stdout)
            return
        with open(self.path, "w", encoding="utf-8", newline="") as file:
            self.writer(result, clock, file)


def _watcher(options: argparse.Namespace) -> Watcher | None:
    """What collects the messages for the HTML page that the options ask for."""
    begin, end = options.ladder_from, options.ladder_to
    if options.html is None:
        if begin or end:
            _usage("--ladder-from and --ladder-to belong to the page that --html FILE writes")
        return None
    from raft_dissect.report.html import Watcher  # start-up counts: only this option needs it

    return Watcher(*(_moment(text, options) if text else None for text in (begin, end)))


def _outputs(options: argparse.Namespace, watcher: Watcher | None) -> list[_Output[Report]]:
    """What is to be written where; wrong usage ends the run before the capture is read."""
    outputs = []
    if options.trace is not None:
        outputs.append(_Output(_write_trace, _path(options.trace)))
    if options.csv is not None:
        outputs += _tables(options.csv)
    if watcher is not None:
        outputs.append(_Output(_page_writer(watcher), _path(options.html)))
    printed = sum(output.path is None for output in outputs)
    if printed + bool(printed and (options.json or options.at)) > 1:
        _usage("only one result can go to standard output: choose of --json, --at, --html -, --trace - and --csv TABLE")
    for output in outputs:
        if output.path is not None:
            _check_target(output.path, options.files)
    return outputs


def _tables(where: str) -> list[_Output[Report]]:
    from raft_dissect.report.as_csv import write_table

    def writer(name: str) -> Callable[[Report, Clock, TextIO], None]:
        return lambda report, clock, file: write_table(report, clock, name, file)

    if where in TABLES:
        return [_Output(writer(where), None)]
    if not os.path.isdir(where):
        if os.sep not in where:
            _usage(f"--csv {where}: no such folder (./{where} makes it), and no table: {', '.join(TABLES)}")
        os.mkdir(where)
    return [_Output(writer(name), os.path.join(where, f"{name}.csv")) for name in TABLES]


def _page_writer(watcher: Watcher) -> Callable[[Report, Clock, TextIO], None]:
    def write(report: Report, clock: Clock, file: TextIO) -> None:
        from raft_dissect.report.html import html_page

        file.writelines(html_page(report, clock, watcher.watched(report)))

    return write


def _write_trace(report: Report, clock: Clock, file: TextIO) -> None:
    from raft_dissect.report.as_trace import report_trace

    json.dump(report_trace(report, clock), file)
    file.write("\n")


def _path(file: str) -> str | None:
    """The path of a file that an option names; None for standard output."""
    return None if file == "-" else file


def _check_target(path: str, captures: Sequence[str]) -> None:
    """Refuse to write over a capture: one more file name on the line is easily taken for the one to read.

    Raises OSError for a folder that does not exist, so that nobody waits for the analysis to be told of it.
    """
    os.stat(os.path.dirname(path) or os.curdir)
    if not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        is_capture = reader_class(file.read(HEAD_SIZE)) is not None
    if is_capture or any(os.path.exists(name) and os.path.samefile(path, name) for name in captures):
        _usage(f"{path} is a capture; it is not written over")


def _audit(options: argparse.Namespace) -> int:
    from raft_dissect.auditing import AuditBuilder  # start-up counts: each command imports what it needs
    from raft_dissect.report.audit.words import Audited, fails

    if options.rules or options.explain is not None:
        return _print_rules(options)
    if not options.files:
        _usage("audit needs a FILE; only --rules and --explain RULE do without")
    off = _rules_off(options)
    outputs = _audit_outputs(options)
    run = _Run(options, digest_entries=True)
    printer = _AuditPrinter(options, run, printed=all(path is not None for path in _audit_paths(options)))
    builder = AuditBuilder(off, printer.told if options.follow else None)
    with _state_trace(options, run) as trace:
        for batch in run.batches():
            builder.feed(batch)
            if trace is not None:
                trace.feed(batch)
    statistics = run.dissection.statistics
    audited = Audited(
        builder.verdicts(run.dissection), tuple(run.files), statistics.packets, statistics.first_ns, statistics.last_ns
    )
    printer.finish(audited)
    sys.stdout.flush()  # it is there even if a file cannot be written
    for output in outputs:
        output.write(audited, run.clock)
    code = run.finish()
    if not audited.verdicts.messages:
        run.say_nothing_found(0)
    return FAILED if fails(audited.verdicts.findings, options.fail_on) else code


def _print_rules(options: argparse.Namespace) -> int:
    """Print what there is to know of all rules, or of one."""
    from raft_dissect.audit import RULES
    from raft_dissect.audit.defects import known_defects
    from raft_dissect.report.audit.catalogue import rule_text, rules_text
    from raft_dissect.report.audit.records import rule_record

    asked = RULES if options.explain is None else _rules_called(options.explain)
    if options.explain is not None and [rule.id for rule in asked] != [options.explain.upper()]:
        _usage(f"--explain {options.explain}: that is a group; choose one of {', '.join(rule.id for rule in asked)}")
    style, width = _screen()
    lines: Iterator[str]
    if options.json:
        lines = (json.dumps(rule_record(rule, known_defects(rule.id))) for rule in asked)
    elif options.explain is None:
        lines = rules_text(asked, style, width)
    else:
        lines = rule_text(asked[0], style, width)
    for line in lines:
        print(line)
    return FINE


def _rules_off(options: argparse.Namespace) -> frozenset[str]:
    """The rules that are not asked, by their ids."""
    from raft_dissect.audit import RULES

    only = {rule.id for text in options.only for rule in _rules_called(text)}
    off = {rule.id for text in options.off for rule in _rules_called(text)}
    asked = (only or {rule.id for rule in RULES}) - off
    if not asked:
        _usage("--only and --off leave no rule to ask")
    return frozenset(rule.id for rule in RULES if rule.id not in asked)


def _rules_called(text: str) -> list[Rule]:
    """The rules with these ids, or of these groups."""
    from raft_dissect.audit import RULES
    from raft_dissect.report.audit.words import group

    found: list[Rule] = []
    for name in text.split(","):
        called = [rule for rule in RULES if name.strip().upper() in (rule.id, group(rule.id))]
        if not called:
            _usage(f"no rule is called {name.strip() or 'nothing'}; raft-dissect audit --rules lists them all")
        found += called
    return found


def _audit_paths(options: argparse.Namespace) -> list[str | None]:
    """Where the files are written that the options ask for."""
    return [_path(file) for file in (options.sarif, options.junit, options.trace) if file is not None]


def _audit_outputs(options: argparse.Namespace) -> list[_Output[Audited]]:
    """What is to be written where; wrong usage ends the run before the capture is read."""
    paths = _audit_paths(options)
    if paths.count(None) + bool(None in paths and options.json) > 1:
        _usage("only one result can go to standard output: choose of --json, --sarif -, --junit - and --trace -")
    for path in paths:
        if path is not None:
            _check_target(path, options.files)
    outputs = []
    if options.sarif is not None:
        outputs.append(_Output(_write_sarif, _path(options.sarif)))
    if options.junit is not None:
        outputs.append(_Output(_junit_writer(options), _path(options.junit)))
    return outputs


def _write_sarif(audited: Audited, clock: Clock, file: TextIO) -> None:
    from raft_dissect.report.audit.sarif import audit_sarif

    json.dump(audit_sarif(audited, clock), file, indent=2)
    file.write("\n")


def _junit_writer(options: argparse.Namespace) -> Callable[[Audited, Clock, TextIO], None]:
    def write(audited: Audited, clock: Clock, file: TextIO) -> None:
        from raft_dissect.report.audit.junit import audit_junit

        file.write(audit_junit(audited, clock, options.fail_on))

    return write


@contextmanager
def _state_trace(options: argparse.Namespace, run: _Run) -> Iterator[StateTrace | None]:
    """What writes the trace that the options ask for, while the capture is read."""
    if options.trace is None:
        yield None
        return
    from raft_dissect.report.audit.trace import StateTrace

    path = _path(options.trace)
    with nullcontext(sys.stdout) if path is None else open(path, "w", encoding="utf-8") as file:
        trace = StateTrace(file, run.clock, run.files)
        yield trace
        trace.finish()


class _AuditPrinter:
    """Prints an audit as text or as JSON: at its end, or each finding as it is made."""

    def __init__(self, options: argparse.Namespace, run: _Run, printed: bool) -> None:
        """`printed` says whether it goes to standard output at all."""
        from raft_dissect.report.audit.records import AuditRecords
        from raft_dissect.report.audit.text import FindingText

        self._json = options.json
        self._follow = options.follow
        self._printed = printed
        self._run = run
        self._records = AuditRecords(run.files, run.clock)
        self._text = FindingText(run.clock, run.style, run.width, len(run.files) > 1)
        self._told: set[tuple[object, ...]] = set()

    def told(self, finding: Finding) -> None:
        """A finding was made; of a cluster that turned out to be part of another one they are made again."""
        key = (finding.rule.id, finding.verdict, finding.place, finding.message)
        if key in self._told or not self._printed:
            return
        self._told.add(key)
        if self._json:
            print(json.dumps(self._records.finding(finding)), flush=True)
        else:
            print("\n".join(self._text.one(finding)), flush=True)

    def finish(self, audited: Audited) -> None:
        """The capture is over."""
        if self._printed and self._json:
            self._finish_json(audited)
        elif self._printed and audited.verdicts.messages:
            self._finish_text(audited)

    def _finish_json(self, audited: Audited) -> None:
        for finding in audited.verdicts.findings:
            if not self._follow or finding.last is not None:
                print(json.dumps(self._records.finding(finding)))
        print(json.dumps(self._records.summary(audited)))

    def _finish_text(self, audited: Audited) -> None:
        from raft_dissect.report.audit.text import audit_text, closing

        run = self._run
        lines: Iterator[str]
        if self._follow:
            lines = chain(self._text.again(audited.verdicts.findings), closing(audited, run.style, run.width))
        else:
            lines = audit_text(audited, run.clock, run.style, run.width)
        for line in lines:
            print(line)


def _screen() -> tuple[Style, int | None]:
    """What whoever reads standard output can see, and where its lines end; None for no end."""
    terminal = sys.stdout.isatty()
    colours = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size().columns if terminal else None
    return Style(colours, can_write_blocks(sys.stdout.encoding)), width


class _Run:
    """One pass over the capture that the options name, with what every command shows beside its result."""

    def __init__(
        self,
        options: argparse.Namespace,
        *,
        hash_payload: bool = False,
        digest_entries: bool = False,
        prints_lines: bool = False,
    ) -> None:
        if options.follow and len(options.files) > 1:
            _usage("only one file can be followed: --follow takes one FILE")
        self.clock = Clock(options.tz)
        self.style, self.width = _screen()
        self.files: list[str] = list(options.files)
        self._unreadable: list[CaptureError] = []
        self.dissection = self._open(options, hash_payload, digest_entries)
        self._quiet = options.quiet
        self._follow = options.follow
        watched = sys.stderr.isatty() and not (
            sys.stdout.isatty() and prints_lines
        )  # there the lines themselves are progress
        self._progress = watched and not (options.quiet or options.no_progress)
        self._damage: list[Diagnostic] = []

    def _open(self, options: argparse.Namespace, hash_payload: bool, digest_entries: bool) -> Dissection:
        """Open all files; of several, one that cannot be read does not keep the others from being read."""
        while True:
            try:
                return Dissection(
                    self.files,
                    ports=options.port,
                    layout=options.layout,
                    hash_payload=hash_payload,
                    digest_entries=digest_entries,
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

    def remark(self, line: str) -> None:
        """Say something on standard error that is no error."""
        if not self._quiet:
            _complain(line)

    def say_nothing_found(self, messages: int) -> None:
        """Say why there is no line at all: no Raft, or nothing of what was asked for."""
        statistics = self.dissection.statistics
        if statistics.streams["raft"]:
            line = f"none of {counted(messages, 'message')} is what was asked for"
        else:
            others = other_connections(statistics.streams)
            line = f"no Raft traffic found in {counted(statistics.packets, 'packet')}{others}"
        self.remark(line)
