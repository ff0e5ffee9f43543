"""Count the messages that Scapy's own TCPSession finds with the layers of raft_dissect."""

import sys

from scapy.packet import Packet
from scapy.sendrecv import sniff
from scapy.sessions import TCPSession

import raft_dissect
from raft_dissect.layers import RaftMessage

raft_dissect.bind(9001)
count = 0


def take(packet: Packet) -> None:
    """Count the messages of one packet, which may follow one another."""
    global count
    layer = packet.getlayer(RaftMessage)
    while layer:
        count += 1
        layer = layer.payload.getlayer(RaftMessage)


sniff(offline=sys.argv[1], session=TCPSession, prn=take, store=False)
print(count)
