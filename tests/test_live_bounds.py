"""Live capture that goes on for days: what is kept of the past stops growing."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

from raft_dissect.dissection import Dissection
from raft_dissect.live.loop import Loop
from raft_dissect.live.view import View
from tests.days import MINUTE_NS, days
from tests.packets import START

if TYPE_CHECKING:
    from raft_dissect.live.view import Snapshot

FORGOTTEN = 12
"""Minutes after which all of the first one is forgotten: the history has ten, and connections that are over four."""
_BLOCKS = 500
"""Of memory, about 100 bytes each, that are kept of a term until there are very many, so that its votes are known."""


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


def test_memory_hardly_grows_when_the_past_begins_to_be_forgotten() -> None:
    """Each minute has an election, connections that end and begin, strangers, a snapshot and a configuration."""
    growth = Growth(FORGOTTEN, 2 * FORGOTTEN)
    minutes = 2 * FORGOTTEN + 1
    last = Loop(Dissection(days(minutes), digest_data=True), [growth]).run()
    assert {last.happened[kind] for kind in ("leader", "configuration", "snapshot_ended")} == {minutes}
    assert last.happened["connection_reset"] > minutes
    begin, end = growth.blocks
    assert end - begin < _BLOCKS * FORGOTTEN
