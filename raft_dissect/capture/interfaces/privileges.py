"""Gives up the privileges of root, which only opening interfaces needs."""

from __future__ import annotations

import ctypes
import os
import pwd
import struct
from typing import NamedTuple

from raft_dissect.capture.errors import UnavailableError

_NOBODY = "nobody"
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3 of linux/capability.h: two sets of 32 capabilities, each with three masks."""


class Identity(NamedTuple):
    """As whom a process runs."""

    user: str
    uid: int
    gid: int


def user_name(uid: int) -> str:
    """The name of a user, or its number as text if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def drop_privileges(user: str | None = None, *, is_loaded: bool = False) -> Identity | None:
    """Run from now on as an ordinary user, with the groups of that user, without any capability, and for good.

    What root runs becomes `user`; without one the user who called sudo, and `nobody` when nobody did. With the user
    `root` nothing changes, and None is given, as it is where the process is not root's; then it only loses its
    capabilities. Interfaces that are open stay open. Raises UnavailableError for an unknown user, when anything of root
    is left, and when that user may not read the program, which is loaded as it is needed, unless `is_loaded` says that
    all of it has been imported.
    """
    if user == "root":
        return None
    identity = _wanted(user) if os.geteuid() == 0 else None
    if identity is not None:
        _become(identity)
    _lose_capabilities()
    if identity is not None:
        _verify(identity)
        if not is_loaded:
            _check_program(identity)
    return identity


def _wanted(user: str | None) -> Identity:
    try:
        if user is not None:
            entry = pwd.getpwnam(user)
        elif int(os.environ.get("SUDO_UID", "0")) != 0:
            entry = pwd.getpwuid(int(os.environ["SUDO_UID"]))
        else:
            entry = pwd.getpwnam(_NOBODY)
    except (KeyError, ValueError) as error:
        name = user or os.environ.get("SUDO_UID", _NOBODY)
        raise UnavailableError(name, "there is no such user, as whom to go on without root") from error
    return Identity(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _become(identity: Identity) -> None:
    try:
        os.initgroups(identity.user, identity.gid)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        problem = f"the privileges of root cannot be given up: {error.strerror}"
        raise UnavailableError(identity.user, problem) from error


def _lose_capabilities() -> None:
    """Leave no capability, whatever gave it, and no way to get one from a program that is executed."""
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header, nothing = struct.pack("=Ii", _CAPABILITY_VERSION, 0), bytes(24)
    library.capset(header, nothing)


def _verify(identity: Identity) -> None:
    """Try to become root again, which must fail."""
    for become_root in (_take_user, _take_group, _take_groups):
        try:
            become_root()
        except PermissionError:
            continue
        raise UnavailableError(identity.user, "the privileges of root could not be given up for good")
    if os.getresuid() != (identity.uid,) * 3 or os.getresgid() != (identity.gid,) * 3:
        raise UnavailableError(identity.user, "the privileges of root could not be given up")


def _check_program(identity: Identity) -> None:
    for path in (__file__, os.__file__):
        if not os.access(path, os.R_OK):
            raise UnavailableError(
                path,
                f"user {identity.user}, as whom to go on without root, may not read the program",
                ("name a user who may, or root to stay root", "or install it where everybody may read it"),
            )


def _take_user() -> None:
    os.setresuid(0, 0, 0)


def _take_group() -> None:
    os.setresgid(0, 0, 0)


def _take_groups() -> None:
    os.setgroups([0])
