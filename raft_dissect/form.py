"""Which modules Cython may compile, and whether it did: the package works the same in both forms."""

from __future__ import annotations

from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PACKAGE = Path(__file__).parent
_INLINED = ("raft_dissect.octets",)
"""Modules whose .pxd holds their compiled form, which is inlined where it is used."""


def module_names() -> list[str]:
    """The modules that are meant to be compiled: those with a .pxd beside them, which gives their C types."""
    paths = (path.relative_to(_PACKAGE.parent) for path in _PACKAGE.rglob("*.pxd") if path.with_suffix(".py").exists())
    names = {".".join(path.with_suffix("").parts) for path in paths}
    return sorted(names.difference(_INLINED))


def is_compiled(name: str) -> bool:
    """Whether this module is machine code."""
    return str(import_module(name).__file__).endswith(tuple(EXTENSION_SUFFIXES))


def describe(names: Sequence[str]) -> str:
    """`compiled` when all of these modules are, `uncompiled` when none is, else with those that are not."""
    plain = [name for name in names if not is_compiled(name)]
    if len(plain) == len(names):
        return "uncompiled"
    return f"compiled except {', '.join(plain)}" if plain else "compiled"
