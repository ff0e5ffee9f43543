"""The command `ladder`: the messages as arrows between the servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.commands.arguments import add_command, add_selection, count, selection_of
from raft_dissect.commands.choice import Choice
from raft_dissect.commands.run import Run

if TYPE_CHECKING:
    import argparse

    from raft_dissect.commands.arguments import Commands

_STEPS = 100
"""Messages that a ladder shows unless it is told how many."""


def add(commands: Commands) -> None:
    """Add the command and its options."""
    command = add_command(commands, "ladder", "the messages as arrows between the servers", run)
    command.add_argument("--mermaid", action="store_true", help="print a Mermaid sequence diagram")
    command.add_argument(
        "--limit",
        type=count,
        default=_STEPS,
        metavar="N",
        help=f"show the first N messages, {_STEPS} by default; 0 shows them all",
    )
    command.add_argument("--all", action="store_true", help="show heartbeats that say nothing new as well")
    add_selection(command)


def run(options: argparse.Namespace) -> int:
    """Run the command and give its exit code."""
    from raft_dissect.report.ladder import Ladder, ladder_mermaid, ladder_text
    from raft_dissect.report.records import Records

    selection = selection_of(options)
    run = Run(options)
    records = Records(run.files, run.clock)
    choice = Choice(selection, run, records)
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
