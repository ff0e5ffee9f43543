"""What to do when capturing is not allowed, with the exact commands."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from raft_dissect.capture.errors import UnavailableError


def not_permitted(name: str) -> UnavailableError:
    """The error of a process that may not capture on an interface."""
    if os.geteuid() == 0:
        problem = "no permission to capture: root lacks the capability CAP_NET_RAW here"
        advice: tuple[str, ...] = ("start the container or the service with it (--cap-add NET_RAW)",)
    else:
        problem = "no permission to capture: it needs the capability CAP_NET_RAW"
        advice = (_sudo(), *_file_capability(), _service())
    return UnavailableError(name, problem, advice)


def _sudo() -> str:
    command = shlex.join(["sudo", sys.executable or "python3", *sys.orig_argv[1:]])
    return f"once, with root given up as soon as the interface is open: {command}"


def _file_capability() -> tuple[str, ...]:
    """How to give the permission to an interpreter; never to one that others use, whose scripts would all have it."""
    interpreter = Path(sys.executable or "/usr/bin/python3").resolve()  # it is empty where its path cannot be read
    if interpreter.is_relative_to(Path(sys.prefix).resolve()) and sys.prefix != sys.base_prefix:
        path = shlex.quote(str(interpreter))
        return (
            f"always, for whatever this Python runs: sudo setcap cap_net_raw+eip {path}",
            f"and for one group alone, before that: sudo chgrp GROUP {path} && sudo chmod 750 {path}",
        )
    copy = "raft-capture/bin/python3"
    return (
        f"always, with a Python of its own: {shlex.quote(str(interpreter))} -m venv --copies raft-capture && "
        f"{copy} -m pip install raft_dissect && sudo setcap cap_net_raw+eip $(readlink -f {copy}) "
        f"(not for {interpreter}: every script that anybody runs with it could capture)",
        f"and for one group alone, before setcap: sudo chgrp GROUP $(readlink -f {copy}) && "
        f"sudo chmod 750 $(readlink -f {copy})",
    )


def _service() -> str:
    return "in a systemd unit: AmbientCapabilities=CAP_NET_RAW beside User="
