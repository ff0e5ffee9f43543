"""What is remembered is bounded: neither days of live capture nor hostile captures make it grow without end."""

from __future__ import annotations

from typing import TypeVar

MOST_TERMS = 256
"""Terms of which something is remembered, of one server or of all of them.

A message of an older one is not judged by what was known of it then.
"""
K = TypeVar("K")
V = TypeVar("V")


def put(known: dict[K, V], key: K, value: V, most: int) -> None:
    """Remember a value; when there are more than `most`, the one that was put in first is forgotten."""
    known[key] = value
    if len(known) > most:
        del known[next(iter(known))]


def put_latest(known: dict[K, V], key: K, value: V) -> None:
    """Remember a value of one term; when there are more than `MOST_TERMS`, the first one is forgotten."""
    put(known, key, value, MOST_TERMS)


def put_highest(known: dict[int, V], term: int, value: V) -> int | None:
    """Remember the value of a term; when there are more than `MOST_TERMS`, the lowest is forgotten, and returned."""
    known[term] = value
    if len(known) <= MOST_TERMS:
        return None
    lowest = min(known)
    del known[lowest]
    return lowest


def of_term(known: dict[int, dict[K, V]], term: int) -> tuple[dict[K, V], int]:
    """What is remembered of a term, to be added to, and the term that was forgotten for it, -1 if none was.

    Where `MOST_TERMS` higher ones are known it is that term itself.
    """
    found = known.get(term)
    if found is not None:
        return found, -1
    found = {}
    forgotten = put_highest(known, term, found)
    return found, -1 if forgotten is None else forgotten
