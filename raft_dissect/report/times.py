"""Times as text: UTC or another time zone, with nanoseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo

_SECOND = 1_000_000_000


class Clock:
    """Formats nanoseconds since the Unix epoch for one time zone; consecutive times share most of their work."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self._zone = zone
        self._second = -1
        self._moment = datetime.fromtimestamp(0, zone)
        self._iso = ("", "")

    def iso(self, time_ns: int) -> str:
        """ISO 8601 with nanoseconds, such as 2026-11-23T04:46:26.214704000Z."""
        self._turn(time_ns)
        before, after = self._iso
        return f"{before}.{time_ns % _SECOND:09d}{after}"

    def day(self, time_ns: int) -> str:
        """Date, time to the second and zone, such as 2026-11-23 04:46:26 UTC."""
        self._turn(time_ns)
        return f"{self._moment:%Y-%m-%d %H:%M:%S %Z}"

    def time(self, time_ns: int, digits: int = 6) -> str:
        """Time of day with `digits` digits of the second, such as 04:46:26.214704."""
        self._turn(time_ns)
        fraction = f"{time_ns % _SECOND:09d}"[:digits]
        return f"{self._moment:%H:%M:%S}.{fraction}"

    def _turn(self, time_ns: int) -> None:
        second = time_ns // _SECOND
        if second == self._second:
            return
        self._second = second
        self._moment = datetime.fromtimestamp(second, self._zone)
        text = self._moment.isoformat()
        self._iso = (text[:19], "Z" if self._zone is UTC else text[19:])
