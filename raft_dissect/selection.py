"""Which messages a user asked for: by server, peer, term, time and type."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, get_args

from raft_dissect.values import DiagnosticKind, Message
from raft_dissect.wire import table

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import tzinfo

    from raft_dissect.cluster import Identities, Identity
    from raft_dissect.values import Diagnostic, Endpoint, Stream

_SECOND = 1_000_000_000
_NUMBER = re.compile(r"(\d+)(?:\.(\d{1,9}))?")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?")
_ISO = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?")
KINDS: dict[str, str] = {name.lower(): name for name in (*table.MESSAGE_NUMBERS, *get_args(DiagnosticKind))}
"""What can be asked for as a type, in lower case: message names and kinds of diagnostics."""


class Moment:
    """A time that a user gave; a time of day alone means the day on which the capture begins."""

    def __init__(self, text: str, zone: tzinfo) -> None:
        """Understand `text`: ISO 8601, HH:MM[:SS[.fraction]], or seconds since the epoch; raises ValueError."""
        self._time_of_day: int | None = None
        self._time_ns = 0
        self._zone = zone
        if found := _NUMBER.fullmatch(text):
            self._time_ns = int(found[1]) * _SECOND + _nanoseconds(found[2])
        elif found := _CLOCK.fullmatch(text):
            hours, minutes, seconds = int(found[1]), int(found[2]), int(found[3] or 0)
            if hours > 23 or minutes > 59 or seconds > 59:
                raise ValueError(f"no time of day: {text}")
            self._time_of_day = (hours * 3600 + minutes * 60 + seconds) * _SECOND + _nanoseconds(found[4])
        elif found := _ISO.fullmatch(text):
            moment = datetime.fromisoformat(found[1] + (found[3] or "").replace("Z", "+00:00"))
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=zone)
            self._time_ns = round(moment.timestamp()) * _SECOND + _nanoseconds(found[2])
        else:
            raise ValueError(f"no time: {text} (give 2026-11-23T04:46:26.2, 04:46:26.2, or seconds since the epoch)")

    def nanoseconds(self, begin_ns: int) -> int:
        """Nanoseconds since the Unix epoch, for a capture that begins at `begin_ns`."""
        if self._time_of_day is None:
            return self._time_ns
        begin = datetime.fromtimestamp(begin_ns // _SECOND, self._zone)
        midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
        moment = midnight + timedelta(seconds=self._time_of_day // _SECOND)
        return round(moment.timestamp()) * _SECOND + self._time_of_day % _SECOND


def _nanoseconds(fraction: str | None) -> int:
    return int((fraction or "").ljust(9, "0"))


class Selection(NamedTuple):
    """What a user asked for; what is None or empty selects everything."""

    servers: Collection[str] = ()
    """Ids or addresses, at either end."""
    peers: Collection[str] = ()
    """Ids or addresses at the other end."""
    terms: range | None = None
    begin: Moment | None = None
    """Inclusive."""
    end: Moment | None = None
    """Exclusive."""
    kinds: Collection[str] = ()
    """Message names and kinds of diagnostics."""

    def wants(self, event: Message | Diagnostic, identities: Identities, begin_ns: int) -> bool:
        """Whether an event is asked for, in a capture that begins at `begin_ns`."""
        message = event if isinstance(event, Message) else None
        kind = event.name if isinstance(event, Message) else event.kind
        if self.kinds and kind not in self.kinds:
            return False
        if self.terms is not None and (message is None or message.fields.get("term") not in self.terms):
            return False
        return self._in_time(event.place.time_ns, begin_ns) and self._between(event.stream, identities)

    def _in_time(self, time_ns: int, begin_ns: int) -> bool:
        if self.begin is not None and time_ns < self.begin.nanoseconds(begin_ns):
            return False
        return self.end is None or time_ns < self.end.nanoseconds(begin_ns)

    def _between(self, stream: Stream | None, identities: Identities) -> bool:
        if not self.servers and not self.peers:
            return True
        if stream is None:
            return False
        sender = _names(identities.sender(stream), stream.source)
        receiver = _names(identities.receiver(stream), stream.destination)
        return (_any(self.servers, sender) and _any(self.peers, receiver)) or (
            _any(self.servers, receiver) and _any(self.peers, sender)
        )


def _names(identity: Identity, end: Endpoint) -> set[str]:
    return {str(name) for name in (identity.id, identity.address, end, end.host) if name is not None}


def _any(wanted: Collection[str], names: set[str]) -> bool:
    return not wanted or not names.isdisjoint(wanted)
