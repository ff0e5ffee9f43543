"""The command `report`: what happened in the cluster."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from raft_dissect.commands.arguments import add_command, add_json, moment_of
from raft_dissect.commands.exits import usage
from raft_dissect.commands.outputs import Output, check_target, path_of
from raft_dissect.commands.run import Run
from raft_dissect.report.tables import TABLES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import TextIO

    from raft_dissect.commands.arguments import Commands
    from raft_dissect.report import Report
    from raft_dissect.report.html import Watcher
    from raft_dissect.report.times import Clock


def add(commands: Commands) -> None:
    """Add the command and its options."""
    command = add_command(commands, "report", "what happened in the cluster", run)
    add_json(command)
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


def run(options: argparse.Namespace) -> int:
    """Run the command and give its exit code."""
    from raft_dissect.pipeline import ReportBuilder  # start-up counts: each command imports what it needs

    watcher = _watcher(options)
    outputs = _outputs(options, watcher)
    at = moment_of(options.at, options) if options.at else None
    run = Run(options, watch_sealed=True)
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


def _print_report(report: Report, as_json: bool, run: Run) -> None:
    if as_json:
        from raft_dissect.report.as_json import report_record

        print(json.dumps(report_record(report, run.clock), indent=2))
        return
    from raft_dissect.report.as_text import report_text

    for line in report_text(report, run.clock, run.style, run.width):
        print(line)


def _print_leader(report: Report, time_ns: int, as_json: bool, run: Run) -> None:
    from raft_dissect.report.moment import leader_record, leader_sentence
    from raft_dissect.report.terminal import wrapped

    if as_json:
        print(json.dumps(leader_record(report, time_ns, run.clock)))
    else:
        print("\n".join(wrapped(leader_sentence(report, time_ns, run.clock), run.width, "")))


def _watcher(options: argparse.Namespace) -> Watcher | None:
    """What collects the messages for the HTML page that the options ask for."""
    begin, end = options.ladder_from, options.ladder_to
    if options.html is None:
        if begin or end:
            usage("--ladder-from and --ladder-to belong to the page that --html FILE writes")
        return None
    from raft_dissect.report.html import Watcher  # start-up counts: only this option needs it

    return Watcher(*(moment_of(text, options) if text else None for text in (begin, end)))


def _outputs(options: argparse.Namespace, watcher: Watcher | None) -> list[Output[Report]]:
    """What is to be written where; wrong usage ends the run before the capture is read."""
    outputs = []
    if options.trace is not None:
        outputs.append(Output(_write_trace, path_of(options.trace)))
    if options.csv is not None:
        outputs += _tables(options.csv)
    if watcher is not None:
        outputs.append(Output(_page_writer(watcher), path_of(options.html)))
    printed = sum(output.path is None for output in outputs)
    if printed + bool(printed and (options.json or options.at)) > 1:
        usage("only one result can go to standard output: choose of --json, --at, --html -, --trace - and --csv TABLE")
    for output in outputs:
        if output.path is not None:
            check_target(output.path, options.files)
    return outputs


def _tables(where: str) -> list[Output[Report]]:
    from raft_dissect.report.as_csv import write_table

    def writer(name: str) -> Callable[[Report, Clock, TextIO], None]:
        return lambda report, clock, file: write_table(report, clock, name, file)

    if where in TABLES:
        return [Output(writer(where), None)]
    if not os.path.isdir(where):
        if os.sep not in where:
            usage(f"--csv {where}: no such folder (./{where} makes it), and no table: {', '.join(TABLES)}")
        os.mkdir(where)
    return [Output(writer(name), os.path.join(where, f"{name}.csv")) for name in TABLES]


def _page_writer(watcher: Watcher) -> Callable[[Report, Clock, TextIO], None]:
    def write(report: Report, clock: Clock, file: TextIO) -> None:
        from raft_dissect.report.html import html_page

        file.writelines(html_page(report, clock, watcher.watched(report)))

    return write


def _write_trace(report: Report, clock: Clock, file: TextIO) -> None:
    from raft_dissect.report.as_trace import report_trace

    json.dump(report_trace(report, clock), file)
    file.write("\n")
