"""What sizes and times of TLS records alone say about Raft servers; all of it is an estimate."""

from raft_dissect.sealed.facts import SealedFacts

__all__ = ["SealedFacts"]
