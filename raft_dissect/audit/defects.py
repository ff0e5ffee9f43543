"""Known defects of real releases that a capture shows, and which findings they explain."""

from __future__ import annotations

from typing import NamedTuple


class Defect(NamedTuple):
    """A known defect."""

    id: str
    title: str
    releases: str
    """In which it is, in words."""
    fixed: str
    """The first releases without it, in words."""
