# The types of what analysis.py defines, for its compiled form.

from raft_dissect.cluster.elections cimport Elections
from raft_dissect.cluster.logs cimport Logs
from raft_dissect.cluster.steady cimport Steady


cdef class Analysis:
    cdef readonly object servers
    cdef object _terms
    cdef Logs _logs
    cdef object _leaders
    cdef Elections _elections
    cdef object _replication
    cdef object _membership
    cdef object _transfers
    cdef object _flows
    cdef object _paths
    cdef object _present
    cdef Steady _steady
    cdef public long long asked

    cpdef feed(self, event)
