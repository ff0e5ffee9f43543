# The types of what replication.py defines, for its compiled form.

from raft_dissect.cluster.progress cimport Progress
from raft_dissect.cluster.recent cimport Recent


cdef class Pair:
    cdef public Recent sent
    cdef public list pending
    cdef readonly Progress progress
