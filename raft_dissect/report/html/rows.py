"""Parts of the columns of a batch as lists, which Python goes through at the speed of C."""

from __future__ import annotations


def values(column: list[int], begin: int, end: int) -> list[int]:
    """The values of a column from a row on, before another."""
    if isinstance(column, list):
        return column[begin:end]
    return memoryview(column)[begin:end].tolist()  # where columns are compiled they are arrays
