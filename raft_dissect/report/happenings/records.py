"""Happenings as JSON objects, one per line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raft_dissect.cluster.facts import (
    CatchUp,
    ConfigurationFact,
    Election,
    Leadership,
    Rejection,
    ServerFact,
    Snapshot,
    TermChange,
    Transfer,
    Truncation,
)
from raft_dissect.report.fact_records import FactRecords
from raft_dissect.report.records import Records
from raft_dissect.watch.happenings import Connection, Restart

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from raft_dissect.report.fact_records import Record
    from raft_dissect.report.times import Clock
    from raft_dissect.watch import Happening

_PLACED = ("frame", "time", "file")


class HappeningRecords:
    """Makes the records of happenings: the kind, the packet that proves it, and the fact as `report --json` has it."""

    def __init__(self, files: Sequence[str], clock: Clock) -> None:
        self._facts = FactRecords(files, clock)
        self._records = Records(files, clock)
        facts = self._facts
        self._makers: dict[type, Callable[[Any], Record]] = {
            CatchUp: facts.catch_up,
            ConfigurationFact: facts.configuration,
            Election: facts.election,
            Leadership: facts.leadership,
            Rejection: facts.rejection,
            ServerFact: facts.server,
            Snapshot: facts.snapshot,
            TermChange: facts.term_change,
            Transfer: facts.transfer,
            Truncation: facts.truncation,
            Restart: _restart,
            Connection: _connection,
        }

    def record(self, happening: Happening) -> Record:
        """The record of a happening; `time_ns` is its time as an integer, `cluster` counts from 0."""
        fact = happening.fact
        maker = self._makers.get(type(fact), self._records.diagnostic)
        told = {key: value for key, value in maker(fact).items() if key not in (*_PLACED, "time_ns")}
        return {
            "event": happening.kind,
            **self._facts.place(happening.place),
            "time_ns": happening.place.time_ns,
            "cluster": happening.cluster,
            **told,
        }


def _restart(restart: Restart) -> Record:
    return {"server": restart.server}


def _connection(connection: Connection) -> Record:
    return {"sender": connection.sender, "receiver": connection.receiver, "stream": connection.event.stream}
