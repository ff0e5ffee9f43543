"""Where packets come from: capture files and pipes, pcap or pcapng, plain or compressed."""

from raft_dissect.capture.errors import CaptureError, UnavailableError
from raft_dissect.capture.pcap import PcapReader
from raft_dissect.capture.pcapng import PcapngReader
from raft_dissect.capture.reader import Capture, open_capture

__all__ = ["Capture", "CaptureError", "PcapReader", "PcapngReader", "UnavailableError", "open_capture"]
