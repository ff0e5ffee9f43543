"""Live capture that goes on for days: what is kept of the past stops growing."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

from raft_dissect.audit.knowledge import bounded
from raft_dissect.dissection import Dissection
from raft_dissect.live.loop import Loop
from raft_dissect.live.view import View
from tests.days import MINUTE_NS, days
from tests.packets import START

if TYPE_CHECKING:
    import pytest

    from raft_dissect.live.view import Snapshot

_FORGOTTEN = 12
"""Minutes after which all of the first one is forgotten: the history has ten, and connections that are over four."""
_TERMS = 4
"""Of which something is remembered here."""
_MINUTES = 20
_BLOCKS = 280
"""Of memory, about 100 bytes each, that are kept of a minute until hundreds of configurations and entries are known."""


class Growth(View):
    """Looks at the end of some minutes how much memory is in use."""

    def __init__(self, *minutes: int) -> None:
        self._times = [START + minute * MINUTE_NS for minute in minutes]
        self.blocks: list[int] = []
        """Of Python's allocator."""

    def beat(self, snapshot: Snapshot) -> None:
        if self._times and snapshot.now_ns >= self._times[0]:
            del self._times[0]
            gc.collect()
            self.blocks.append(sys.getallocatedblocks())


def test_memory_hardly_grows_when_the_past_begins_to_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each minute has an election, connections that end and begin, strangers, a snapshot and a configuration."""
    monkeypatch.setattr(bounded, "MOST_TERMS", _TERMS)
    begin = _FORGOTTEN + _TERMS
    growth = Growth(begin, begin + _MINUTES)
    minutes = begin + _MINUTES + 1
    last = Loop(Dissection(days(minutes, busy=False), digest_data=True), [growth]).run()
    assert {last.happened[kind] for kind in ("leader", "configuration", "snapshot_ended")} == {minutes}
    assert last.happened["connection_reset"] > minutes
    first, then = growth.blocks
    assert then - first < _BLOCKS * _MINUTES
