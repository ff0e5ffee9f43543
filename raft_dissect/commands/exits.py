"""The exit codes, and how a command says on standard error that something is wrong."""

from __future__ import annotations

import sys
from typing import NoReturn

from raft_dissect.report.escape import visible

FINE, FAILED, USAGE, DAMAGED, MISSING = 0, 1, 2, 3, 4
"""Exit codes; USAGE is also what argparse uses."""


def complain(line: str, code: int = DAMAGED) -> int:
    """Print a line on standard error, and give the exit code."""
    print(f"raft-dissect: {visible(line)}", file=sys.stderr)
    return code


def usage(line: str) -> NoReturn:
    """Print a line on standard error, and end the run with exit code 2."""
    raise SystemExit(complain(line, USAGE))
