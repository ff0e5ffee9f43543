"""Compile the servers of the clusters, once for each version of their sources."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra")


class BuildError(Exception):
    """A server that could not be compiled."""


@cache
def built(source: str, *libraries: str) -> Path:
    """The program made of a C file of this folder and of libraries that pkg-config knows.

    Raises BuildError with what the compiler said.
    """
    text = [path.read_bytes() for path in (HERE / source, *sorted(HERE.glob("*.h")))]
    libraries_flags = _output("pkg-config", "--cflags", "--libs", *libraries).split()
    versions = _output("pkg-config", "--modversion", *libraries)
    key = hashlib.sha256(repr((text, FLAGS, libraries_flags, versions)).encode()).hexdigest()[:16]
    program = _folder() / f"{Path(source).stem}-{key}"
    if not program.exists():
        # Under a name of its own first: another process may build the same at this moment.
        with tempfile.TemporaryDirectory(dir=program.parent) as folder:
            made = Path(folder) / "program"
            _output("gcc", *FLAGS, "-o", str(made), str(HERE / source), *libraries_flags)
            made.replace(program)
    return program


def _folder() -> Path:
    """Where programs are kept: a folder that belongs to this user, since they are run."""
    folder = Path(tempfile.gettempdir()) / f"raft_dissect-clusters-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise BuildError(f"{folder} belongs to somebody else, or others may write into it")
    return folder


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)}:\n{done.stderr}")
    return done.stdout
