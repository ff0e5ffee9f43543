"""Dissect, analyze and report the RPC traffic between C-Raft servers."""

__version__ = "0.1.0"
