"""tshark as a source: what only Wireshark's dissectors make of packets, asked of a process that runs beside ours."""

from raft_dissect.capture.tshark.process import Answer, Tshark, TsharkError

__all__ = ["Answer", "Tshark", "TsharkError"]
