"""The full-screen view of live packets; Textual is imported when it is run, and needed for nothing else."""

from raft_dissect.live.screen.needs import what_is_missing
from raft_dissect.live.screen.run import Ended, run_screen
from raft_dissect.live.screen.view import ScreenView

__all__ = ["Ended", "ScreenView", "run_screen", "what_is_missing"]
