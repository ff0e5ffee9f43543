"""Decode every message of a capture, header fields included, and print how many were whole: what is timed."""

import sys

from raft_dissect import Dissection

print(sum(len(batch) - batch.partial for batch in Dissection(sys.argv[1], ports=[9001]).batches()))
