"""The exit codes, and how a command says on standard error that something is wrong."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from raft_dissect.report.escape import visible

if TYPE_CHECKING:
    from raft_dissect.capture.errors import UnavailableError

FINE, FAILED, USAGE, DAMAGED, MISSING = 0, 1, 2, 3, 4
"""Exit codes; USAGE is also what argparse uses."""


def complain(line: str, code: int = DAMAGED) -> int:
    """Print a line on standard error, and give the exit code."""
    print(f"raft-dissect: {visible(line)}", file=sys.stderr)
    return code


def unavailable(error: UnavailableError) -> int:
    """Say what outside is missing and what to do about it, and give the exit code."""
    complain(str(error))
    for advice in error.advice:
        print(f"  {advice}", file=sys.stderr)
    return MISSING


def usage(line: str) -> NoReturn:
    """Print a line on standard error, and end the run with exit code 2."""
    raise SystemExit(complain(line, USAGE))
