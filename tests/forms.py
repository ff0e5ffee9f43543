"""The uncompiled form of any module, beside the form that is in use."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_UNCOMPILED: dict[str, ModuleType] = {}


class _SourceFinder:
    """Finds modules of the package by their .py alone."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not _is_ours(name):
            return None
        finders = (FileFinder(place, (SourceFileLoader, SOURCE_SUFFIXES)) for place in path or sys.path)
        return next((spec for finder in finders if (spec := finder.find_spec(name, target)) is not None), None)


def uncompiled(name: str) -> Any:
    """A module as its .py has it, and so every module of the package that it imports."""
    in_use = _taken()
    sys.modules.update(_UNCOMPILED)
    sys.meta_path.insert(0, _SourceFinder)
    try:
        return import_module(name)
    finally:
        sys.meta_path.remove(_SourceFinder)
        _UNCOMPILED.update(_taken())
        sys.modules.update(in_use)


def _taken() -> dict[str, ModuleType]:
    """The modules of the package, which are imported no more."""
    return {name: sys.modules.pop(name) for name in [*sys.modules] if _is_ours(name)}


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == "raft_dissect"
