"""Dictionaries that hostile captures cannot make grow without end."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def put(known: dict[K, V], key: K, value: V, most: int) -> None:
    """Remember a value; when there are more than `most`, the one that was put in first is forgotten."""
    known[key] = value
    if len(known) > most:
        del known[next(iter(known))]
