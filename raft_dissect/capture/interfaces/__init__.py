"""Where packets come from when they are captured now: network interfaces of Linux."""

from raft_dissect.capture.interfaces.live import LiveCapture, SourceStatistics, open_interfaces

__all__ = ["LiveCapture", "SourceStatistics", "open_interfaces"]
