"""Decode every message of a capture, header fields included, and print how many were whole: what is timed."""

import sys

from raft_dissect import messages

count = 0
for message in messages(sys.argv[1], ports=[9001]):
    count += bool(message.fields) and not message.partial
print(count)
