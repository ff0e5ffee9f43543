"""Read every packet with dpkt, down to TCP, and print how many there are; it knows neither streams nor messages."""

import sys
from pathlib import Path

import dpkt  # type: ignore[import-untyped, import-not-found, unused-ignore]  # it has no types, and may be missing

count = 0
with Path(sys.argv[1]).open("rb") as file:
    for _, data in dpkt.pcap.Reader(file):
        count += isinstance(dpkt.ethernet.Ethernet(data).data.data, dpkt.tcp.TCP)
print(count)
