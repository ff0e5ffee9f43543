"""Let the loop of live capture go through days of capture time, and print what it takes: a JSON object each few hours.

    python benchmarks/live_days.py DAYS

The cluster is that of `tests/days.py`, in which there is an election each minute.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).resolve().parent.parent))

from raft_dissect.dissection import Dissection
from raft_dissect.live.loop import Loop
from raft_dissect.live.view import View
from tests.days import days

if TYPE_CHECKING:
    from raft_dissect.live.view import Snapshot

_SAMPLES = 12
_MINUTES = 24 * 60
_BEATS_A_MINUTE = 600


class _Watcher(View):
    """Says at each of some equal parts of the time what has been taken so far."""

    def __init__(self, beats: int) -> None:
        self._part = beats
        self._beats = 0
        self._cpu = time.process_time()

    def beat(self, snapshot: Snapshot) -> None:
        """Count."""
        self._beats += 1
        if self._beats % self._part:
            return
        cpu = time.process_time()
        gc.collect()
        status = Path("/proc/self/status").read_text()
        (resident,) = (line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))
        record = {
            "hours": self._beats / _BEATS_A_MINUTE / 60,
            "bytes": int(resident) << 10,
            "blocks": sys.getallocatedblocks(),
            "beat_seconds": (cpu - self._cpu) / self._part,
            "packets": snapshot.packets,
            "happened": snapshot.happened.total(),
        }
        print(json.dumps(record), flush=True)
        self._cpu = time.process_time()


def main() -> None:
    """Go through the days."""
    minutes = round(float(sys.argv[1]) * _MINUTES)
    packets = days(minutes)
    watcher = _Watcher((minutes - 1) * _BEATS_A_MINUTE // _SAMPLES)
    Loop(Dissection(packets, digest_data=True), [watcher]).run()


if __name__ == "__main__":
    main()
