"""Compile every module that has a .pxd beside it, where Cython and a C compiler are there; all else is in setup.cfg."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).resolve().parent))

from raft_dissect.form import module_names

DIRECTIVES = {
    "language_level": "3",
    "annotation_typing": False,  # C types come from the .pxd alone: an annotation means the same in both forms
    "boundscheck": True,  # captures are hostile
    "wraparound": True,
    "nonecheck": True,  # a C type that is None would be read as memory
    "initializedcheck": True,
    "overflowcheck": True,  # an error instead of a wrong number, where Python's integer would have grown
    "cdivision": False,
}
"""What the compiled form does as Python does it."""


def wanted_form() -> str:
    """What the environment asks for: `compiled`, `uncompiled`, or an empty string for what suits the installation."""
    form = os.environ.get("RAFT_DISSECT_FORM", "")
    if form not in ("", "compiled", "uncompiled"):
        raise SystemExit(f"RAFT_DISSECT_FORM must be compiled or uncompiled, not {form}")
    return form


class BuildModules(build_ext):
    """Builds all modules or none, since compiled modules call one another without going through Python."""

    def run(self) -> None:
        """Compile where it makes sense."""
        form = wanted_form()
        if form == "uncompiled":
            self._leave_plain("RAFT_DISSECT_FORM asks for it")
        elif self.editable_mode and form != "compiled":
            self._leave_plain("this is an editable installation, whose sources may change")
        else:
            self._compile(form)

    def _compile(self, form: str) -> None:
        """Compile; without success leave the plain modules, unless the compiled form was asked for."""
        try:
            self._translate()
            super().run()
        except Exception as error:
            if form == "compiled":
                raise
            self._leave_plain(" ".join(str(error).split()) or type(error).__name__)

    def _translate(self) -> None:
        """Let the extensions be made of C files, which are written outside of the source tree."""
        from Cython.Build import cythonize

        copies = [Extension(extension.name, extension.sources) for extension in self.extensions]
        translated = cythonize(
            copies, build_dir=self.build_temp, compiler_directives=DIRECTIVES, force=True, quiet=True
        )
        sources = {extension.name: extension.sources for extension in translated}
        for extension in self.extensions:
            extension.sources = sources[extension.name]

    def _leave_plain(self, reason: str) -> None:
        for output in (*self.get_outputs(), *self.get_output_mapping().values()):
            Path(output).unlink(missing_ok=True)  # also what a compiled editable installation left beside the sources
        self.extensions = []
        print(f"raft_dissect: not compiled, the plain Python modules are installed: {reason}", flush=True)


def extensions() -> list[Extension]:
    """One for each module to compile; none makes a wheel for any platform."""
    if wanted_form() == "uncompiled" and "editable_wheel" not in sys.argv:
        return []
    # Symbols for a debugger would make the files five times as large.
    return [Extension(n, [f"{n.replace('.', '/')}.py"], extra_compile_args=["-g0"]) for n in module_names()]


with tempfile.TemporaryDirectory() as build_base:  # so that neither C files nor former builds lie in the checkout
    setup(
        ext_modules=extensions(),
        cmdclass={"build_ext": BuildModules},
        options={"build": {"build_base": build_base}, "build_ext": {"parallel": str(os.cpu_count() or 1)}},
    )
