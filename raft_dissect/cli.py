"""The command line: from its arguments to an exit code; the commands are in `commands/`."""

from __future__ import annotations

import argparse
import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

from raft_dissect.capture import CaptureError
from raft_dissect.capture.errors import UnavailableError
from raft_dissect.commands import audit, events, ladder, live, messages, report, wireshark
from raft_dissect.commands.arguments import Version
from raft_dissect.commands.exits import FINE, MISSING, complain, unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = (messages, events, report, audit, ladder, live, wireshark)
"""In the order in which the help lists them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    options = _parser().parse_args(arguments)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - it is there until the end
    if sys.stdout is None:
        return complain("standard output is closed", MISSING)
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, TextIOWrapper):
            output.reconfigure(errors="backslashreplace")  # names of files may hold what the encoding cannot
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except UnavailableError as error:
        return unavailable(error)
    except CaptureError as error:
        return complain(str(error))
    except BrokenPipeError:
        _drop_output()  # whoever reads it has seen enough
        return FINE
    except OSError as error:
        _drop_output()
        name = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return complain(f"the output cannot be written: {name}{error.strerror or error}", MISSING)
    except KeyboardInterrupt:
        return 130
    return code


def _drop_output() -> None:
    """Throw away what is still to be written: Python would try it once more at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="raft-dissect",
        description="Read the Raft traffic between servers of dqlite, cowsql, LXD, Incus, MicroK8s or Juju clusters.",
    )
    parser.add_argument("--version", action=Version, nargs=0, help="show the version and the form, and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser
