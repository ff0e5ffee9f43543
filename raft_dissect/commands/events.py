"""The command `events`: what happened in a capture, one line for each thing, as `live` tells it while it happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from raft_dissect.commands.arguments import add_command, add_json
from raft_dissect.commands.run import Run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from raft_dissect.commands.arguments import Commands
    from raft_dissect.watch import Happening


def add(commands: Commands) -> None:
    """Add the command and its options."""
    command = add_command(commands, "events", "what happened, one line for each thing", run)
    add_json(command)


def run(options: argparse.Namespace) -> int:
    """Run the command and give its exit code."""
    from raft_dissect.cluster import Analysis, Clusters  # start-up counts: each command imports what it needs
    from raft_dissect.watch import Watch
    from raft_dissect.watch.watch import BEAT_NS

    run = Run(options, prints_lines=True)
    clusters = Clusters(Analysis)
    watch = Watch(clusters)
    lines = line_maker(options, run)
    for batch, beat_ns in run.beats(BEAT_NS):
        clusters.feed_batch(batch)
        watch.note(batch)
        if beat_ns is not None:
            _print(lines, watch.look(beat_ns, run.dissection.arriving()), flush=not run.reads_files)
    _print(lines, watch.look(run.end_ns), flush=True)
    if not clusters.present():
        run.say_nothing_found(0)
    return run.finish()


def line_maker(options: argparse.Namespace, run: Run) -> Callable[[Happening], list[str]]:
    """What makes the lines of a happening, as the options ask for it."""
    if options.json:
        from raft_dissect.report.happenings.records import HappeningRecords

        records = HappeningRecords(run.files, run.clock)
        return lambda happening: [json.dumps(records.record(happening))]
    from raft_dissect.report.happenings.text import HappeningText

    return HappeningText(run.clock, run.style, run.width, len(run.files) > 1).lines


def _print(lines: Callable[[Happening], list[str]], happenings: Sequence[Happening], *, flush: bool) -> None:
    for happening in happenings:
        for line in lines(happening):
            print(line, flush=flush)
