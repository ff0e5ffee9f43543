"""Who may capture, what those are told who may not, and how root is given up."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import raft_dissect
from raft_dissect.capture import open_capture
from tests import networks
from tests.networks import needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = needs_root

OLDEST = (3, 11)
"""The oldest Python that runs the package; its modules are there uncompiled, too."""
NOBODY = pwd.getpwnam("nobody")
PACKAGE = Path(raft_dissect.__file__).parent


def public_python() -> str | None:
    """A Python that an ordinary user may run, at best like this one; None if there is none."""
    script = (
        f"import os, sys; os.setuid({NOBODY.pw_uid}); print(os.access(os.__file__, os.R_OK), *sys.version_info[:2])"
    )
    names = (f"python3.{sys.version_info.minor}", "python3")
    for python in (sys.executable, *(shutil.which(name, path="/usr/bin:/usr/local/bin") for name in names)):
        if python is not None:
            found = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False).stdout.split()
            if found[:1] == ["True"] and tuple(map(int, found[1:])) >= OLDEST:
                return python
    return None


PUBLIC_PYTHON = public_python() if os.geteuid() == 0 else None
PYTHON = PUBLIC_PYTHON or sys.executable
needs_public_python = pytest.mark.skipif(
    PUBLIC_PYTHON is None, reason="an ordinary user must be able to run this Python"
)


@pytest.fixture(autouse=True)
def _namespace() -> Iterator[None]:
    with networks.new_namespace():
        yield


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that everybody may enter, with the package in it, which nobody else's files are needed for."""
    directory = Path(tempfile.mkdtemp())
    try:
        directory.chmod(0o755)
        shutil.copytree(PACKAGE, directory / "raft_dissect")
        yield directory
    finally:
        shutil.rmtree(directory)


AS_NOBODY = ["setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups", "--inh-caps=-all"]


def run(
    script: str,
    directory: Path,
    *arguments: str,
    before: Sequence[str] = (),
    sudo: str | None = None,
    python: str = PYTHON,
) -> Any:
    """What a script prints last, as JSON, when a Python runs it that finds the package in a directory."""
    environment = {**os.environ, "PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("SUDO_UID", "SUDO_GID"):
        environment.pop(name, None)
    if sudo is not None:
        environment["SUDO_UID"] = str(pwd.getpwnam(sudo).pw_uid)
    command = [*before, python, "-c", PROLOGUE + script, *arguments]
    done = subprocess.run(command, env=environment, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


PROLOGUE = """
import json, os, socket, sys
from raft_dissect.capture import CaptureError
from raft_dissect.capture.errors import UnavailableError
from raft_dissect.capture.interfaces import open_interfaces
from raft_dissect.capture.interfaces.privileges import drop_privileges
from raft_dissect.capture.writer import CaptureWriter, Rotation
from raft_dissect.columns import PacketBlock

def refused(action):
    try:
        action()
    except CaptureError as error:
        return [type(error).__name__, str(error), list(getattr(error, "advice", ()))]
    return None
"""


# --- Without permission ---


@needs_public_python
@pytest.mark.parametrize("given", ["lo", "l*", "any"])
def test_who_may_not_capture_is_told_how_to_be_allowed_to(given: str, public: Path) -> None:
    kind, message, advice = run(
        "print(json.dumps(refused(lambda: open_interfaces([sys.argv[1]]))))", public, given, before=AS_NOBODY
    )
    assert kind == "UnavailableError"
    assert message == f"{given}: no permission to capture: it needs the capability CAP_NET_RAW"
    assert advice[0].startswith("once, with root given up as soon as the interface is open: sudo ")
    assert advice[0].endswith(f" {shlex.quote(given)}"), "the command that was given, again"
    assert any("sudo setcap cap_net_raw+eip " in line for line in advice)
    assert any("sudo chgrp GROUP " in line for line in advice)
    assert advice[-1] == "in a systemd unit: AmbientCapabilities=CAP_NET_RAW beside User="


@needs_public_python
def test_no_python_that_others_use_too_is_given_the_capability(public: Path) -> None:
    """Otherwise every script that anybody runs could capture."""
    script = "print(json.dumps([os.path.realpath(sys.executable), refused(lambda: open_interfaces(['lo']))[2]]))"
    interpreter, advice = run(script, public, before=AS_NOBODY)
    setcap = next(line for line in advice if "setcap cap_net_raw+eip " in line)
    assert f"{interpreter} -m venv --copies raft-capture" in setcap
    assert "sudo setcap cap_net_raw+eip $(readlink -f raft-capture/bin/python3) " in setcap
    assert f"not for {interpreter}" in setcap


@needs_public_python
def test_a_python_of_its_own_may_capture_once_what_is_advised_is_done(public: Path) -> None:
    subprocess.run([PYTHON, "-m", "venv", "--copies", "--without-pip", public / "raft-capture"], check=True)
    own = str(public / "raft-capture/bin/python3")
    _kind, _message, advice = run(
        "print(json.dumps(refused(lambda: open_interfaces(['lo']))))", public, before=AS_NOBODY, python=own
    )
    setcap = next(line for line in advice if "setcap cap_net_raw+eip " in line)
    assert setcap == f"always, for whatever this Python runs: sudo setcap cap_net_raw+eip {own}"
    subprocess.run(setcap.split(": sudo ")[1].split(), check=True)
    script = "with open_interfaces(['lo']) as capture: print(json.dumps([os.getuid(), capture.files]))"
    assert run(script, public, before=AS_NOBODY, python=own) == [NOBODY.pw_uid, ["lo"]]


def test_root_without_the_capability_is_told_so(public: Path) -> None:
    script = "print(json.dumps(refused(lambda: open_interfaces(['lo']))))"
    assert run(script, public, before=["setpriv", "--bounding-set=-net_raw"]) == [
        "UnavailableError",
        "lo: no permission to capture: root lacks the capability CAP_NET_RAW here",
        ["start the container or the service with it (--cap-add NET_RAW)"],
    ]


# --- Root is given up ---


STATE = """
def state():
    lines = open("/proc/self/status").read().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    capabilities = {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
    return [os.getresuid(), os.getresgid(), os.getgroups(), sorted(capabilities), fields["NoNewPrivs"].strip()]

def gained():
    ways = (lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]),
            lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0), lambda: open("/etc/shadow"))
    worked = []
    for number, way in enumerate(ways):
        try:
            way()
            worked.append(number)
        except PermissionError:
            pass
    return worked
"""


@needs_public_python
@pytest.mark.parametrize(
    ("sudo", "asked", "expected"),
    [(None, None, "nobody"), ("daemon", None, "daemon"), ("daemon", "bin", "bin"), ("root", None, "nobody")],
)
def test_root_is_given_up_for_good(sudo: str | None, asked: str | None, expected: str, public: Path) -> None:
    script = f"""{STATE}
with open_interfaces(["lo"]) as capture:
    identity = drop_privileges({asked!r})
    print(json.dumps([identity, state(), gained()]))
"""
    identity, state, gained = run(script, public, sudo=sudo)
    entry = pwd.getpwnam(expected)
    groups = sorted(set(os.getgrouplist(expected, entry.pw_gid)))
    assert identity == [expected, entry.pw_uid, entry.pw_gid]
    assert state == [[entry.pw_uid] * 3, [entry.pw_gid] * 3, groups, [0], "1"]
    assert gained == []


def test_root_is_kept_when_that_is_asked_for(public: Path) -> None:
    script = f"{STATE}\nprint(json.dumps([drop_privileges('root'), state()[0]]))"
    assert run(script, public, sudo="daemon") == [None, [0, 0, 0]]


def test_a_user_who_does_not_exist(public: Path) -> None:
    script = "print(json.dumps([refused(lambda: drop_privileges('no-such-user')), os.getuid()]))"
    message = "no-such-user: there is no such user, as whom to go on without root"
    assert run(script, public) == [["UnavailableError", message, []], 0]


def test_a_program_that_the_other_user_may_not_read_is_said_before_it_fails(public: Path) -> None:
    """What it needs is loaded when it needs it, which would fail then."""
    (public / "raft_dissect").chmod(0o700)
    kind, message, _advice = run("print(json.dumps(refused(drop_privileges)))", public)
    assert kind == "UnavailableError"
    assert message.endswith("user nobody, as whom to go on without root, may not read the program")
    assert message.startswith(str(public))


@needs_public_python
def test_who_is_not_root_loses_the_capability_once_it_captures(public: Path) -> None:
    script = f"""{STATE}
with open_interfaces(["lo"]) as capture:
    print(json.dumps([drop_privileges(), state(), gained()]))
"""
    with_capability = [*AS_NOBODY[:-1], "--inh-caps=+net_raw", "--ambient-caps=+net_raw"]
    identity, state, gained = run(script, public, before=with_capability)
    assert identity is None
    assert state == [[NOBODY.pw_uid] * 3, [NOBODY.pw_gid] * 3, [], [0], "1"]
    assert gained == []


CAPTURES = """
import subprocess
from tests_send import burst

def capture(given, path, rotation, before=lambda: None):
    with open_interfaces([given]) as capture:
        identity = drop_privileges()
        writer = CaptureWriter(path, capture, rotation)
        before()
        burst(3000)
        packets = 0
        for item in capture.blocks():
            if isinstance(item, PacketBlock):
                assert writer.write(item) is None
                packets += len(item)
            if packets == 6000:
                capture.stop()
        assert writer.close() is None
    return packets
"""
SENDING = """
import socket
from threading import Thread

sending = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sending.bind(("lo", 0))

def burst(number):
    header = bytes(12) + bytes.fromhex("0800 45000028000000004006 0000 0a000001 0a000002")
    for sequence in range(2 * number):
        ports = bytes.fromhex("9c402329")
        sending.send(header + ports + sequence.to_bytes(4) + bytes.fromhex("0000000050100000 00000000"))
"""


@needs_public_python
@pytest.mark.parametrize("given", ["lo", "l*"])
def test_files_are_written_and_rotated_without_root(given: str, public: Path) -> None:
    (public / "tests_send.py").write_text(SENDING)
    own = public / "captures"
    own.mkdir()
    os.chown(own, NOBODY.pw_uid, NOBODY.pw_gid)
    script = f"{CAPTURES}\nprint(capture(sys.argv[1], sys.argv[2], Rotation(size=20_000, files=5)))"
    assert run(script, public, given, str(own / "live.pcapng")) == 6000
    files = sorted(own.iterdir())
    assert len(files) == 5
    assert {file.stat().st_uid for file in files} == {NOBODY.pw_uid}
    with open_capture([str(file) for file in files]) as capture:
        assert len(list(capture)) > 500


@needs_public_python
def test_a_directory_that_the_other_user_may_not_write_to_is_refused(public: Path) -> None:
    roots = public / "captures"
    roots.mkdir()
    script = """
with open_interfaces(["lo"]) as capture:
    drop_privileges()
    print(json.dumps(refused(lambda: CaptureWriter(sys.argv[1], capture))))
"""
    path = roots / "live.pcapng"
    assert run(script, public, str(path)) == [
        "UnavailableError",
        f"{path}: user nobody may not write to the directory {roots}",
        ["give a directory that nobody may write to", "or make one: sudo install -d -o nobody DIRECTORY"],
    ]
    assert list(roots.iterdir()) == []
