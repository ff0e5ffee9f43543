"""Wait for what a cluster does in its own time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")
TIMEOUT = 10.0
"""Seconds after which a cluster is taken not to do what it should: many times what it needs."""


def wait_for(what: str, ask: Callable[[], Value | None], timeout: float = TIMEOUT) -> Value:
    """The first answer that is neither None nor False, asked for again and again.

    Raises TimeoutError that says what did not happen.
    """
    end = time.monotonic() + timeout
    while True:
        value = ask()
        if value is not None and value is not False:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(0.005)
