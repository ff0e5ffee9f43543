"""Numbers as a person reads them: sizes, durations, counts with their nouns."""

from __future__ import annotations


def size(count: int) -> str:
    """A size in bytes, such as 64 KiB."""
    if count < 1024:
        return f"{count} B"
    amount, unit = count / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if amount >= 1024:
            amount, unit = amount / 1024, larger
    return f"{amount:.3g} {unit}" if amount < 1000 else f"{amount:.0f} {unit}"


def duration(seconds: float) -> str:
    """A duration, such as 1.3 ms."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def counted(count: int, noun: str) -> str:
    """A number with its noun, such as 1 gap or 2,048 gaps."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
