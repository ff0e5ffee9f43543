"""A capture whose servers have addresses that were chosen to harm whoever reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect import wire
from raft_dissect.wire import table
from tests.capture_files import pcap
from tests.packets import Address, Connection, capture

if TYPE_CHECKING:
    from pathlib import Path

FORMULA = '=HYPERLINK("http://evil.example","x"):9001'
TERMINAL = "\x1b[2J\x1b]0;owned\x07\x9b31m:9001"
BIDI = "10.0.0.\u202e1\u2066:9001\u200b"
MARKUP = "<script>alert(1)</script>;end\n%%{init}%%#quot;:9001"
CELL = '\t@SUM(1+1),"\r\n:9001'
LONG = "a" * 5000 + ":9001"
ADDRESSES = {2: FORMULA, 3: TERMINAL, 4: BIDI, 5: MARKUP, 6: CELL, 7: LONG}
"""By id; server 1 is the leader and behaves."""


def write(path: Path) -> str:
    """Write the capture: leader 1 sends a snapshot whose configuration has the addresses."""
    servers = [wire.Server(1, "10.0.0.1:9001", 1)]
    servers += [wire.Server(id_, address, 1) for id_, address in ADDRESSES.items()]
    snapshot = wire.encode_message(
        table.INSTALL_SNAPSHOT,
        {"term": 3, "last_index": 10, "last_term": 3, "conf_index": 1},
        layout="w-0.22.1",
        configuration=servers,
        data=b"12345678",
    )
    connection = Connection(Address("10.0.0.1", 40000), Address("10.0.0.2", 9001))
    handshake = wire.encode_handshake("raft", 1, "10.0.0.1:9001")
    frames = [
        *connection.opening(),
        connection.data(0, handshake),
        *connection.segments(snapshot, start=len(handshake)),
    ]
    path.write_bytes(pcap(*capture(frames)))
    return str(path)
