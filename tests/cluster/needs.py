"""What real clusters need of the machine that the tests run on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

PROGRAMS = ("ip", "tcpdump", "gcc", "pkg-config")
LIBRARIES = ("raft", "libuv", "dqlite")
DEBIAN_PACKAGES = ("gcc", "libc6-dev", "pkg-config", "iproute2", "iptables", "tcpdump")
"""What has the programs, and `LIBRARY_PACKAGES` what has the libraries."""
LIBRARY_PACKAGES = ("libraft-dev", "libuv1-dev", "libdqlite-dev")


@cache
def missing() -> str:
    """Why no cluster can run here, in one line; empty when one can."""
    if sys.platform != "linux":
        return "real clusters need Linux's network namespaces"
    programs = [name for name in PROGRAMS if shutil.which(name) is None]
    if programs:
        return f"not installed: {', '.join(programs)}"
    libraries = [name for name in LIBRARIES if not _has_library(name)]
    if libraries:
        return f"pkg-config does not know: {', '.join(libraries)} (Debian: {' '.join(LIBRARY_PACKAGES)})"
    if not _may_make_namespaces():
        return "making network namespaces is not permitted here (it takes root, or CAP_SYS_ADMIN and CAP_NET_ADMIN)"
    return ""


def needs_clusters() -> pytest.MarkDecorator:
    """The mark of tests that run real clusters."""
    return pytest.mark.skipif(bool(missing()), reason=missing())


@cache
def has_iptables() -> bool:
    """Whether packets can be dropped by iptables, which not every kernel can that has namespaces."""
    return shutil.which("iptables") is not None and _runs(
        ["unshare", "--net", "iptables", "-A", "INPUT", "-s", "192.0.2.1", "-j", "DROP"]
    )


def _has_library(name: str) -> bool:
    return _runs(["pkg-config", "--exists", name])


def _runs(command: Iterable[str]) -> bool:
    return subprocess.run(list(command), capture_output=True, check=False).returncode == 0


def _may_make_namespaces() -> bool:
    return _runs(["unshare", "--net", "--mount", "ip", "link", "add", "type", "bridge"])
