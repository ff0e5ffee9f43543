"""The command `messages`: one line for each message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.commands.arguments import add_command, add_json, add_selection, selection_of
from raft_dissect.commands.choice import Choice, Printer
from raft_dissect.commands.run import Run

if TYPE_CHECKING:
    import argparse

    from raft_dissect.commands.arguments import Commands

_BLOCK = 500
"""Lines that are printed at once where nobody waits for the next one."""


def add(commands: Commands) -> None:
    """Add the command and its options."""
    command = add_command(commands, "messages", "one line for each RPC message", run)
    add_json(command)
    command.add_argument("--hash", action="store_true", help="with --json: the SHA-256 of each payload")
    add_selection(command)


def run(options: argparse.Namespace) -> int:
    """Run the command and give its exit code."""
    from raft_dissect.report.lines import Lines  # start-up counts: each command imports its own output
    from raft_dissect.report.records import Records

    selection = selection_of(options)
    run = Run(options, hash_payload=options.hash and options.json, prints_lines=True)
    records = Records(run.files, run.clock)
    lines = Lines(records.identities, run.clock, run.style, run.width, several=len(run.files) > 1)
    line = records.line if options.json else lines.line
    choice = Choice(selection, run, records)
    with Printer(_BLOCK if run.reads_files else 1) as printer:
        for event in choice.events():
            if choice.chosen == 1 and not options.json:
                printer.print(lines.head())
            printer.print(line(event))
    choice.say_nothing_found()
    return run.finish()
