# The types of what identity.py defines, for its compiled form.

from raft_dissect.values cimport Message


cdef class Identities:
    cdef dict _by_address
    cdef dict _by_host
    cdef dict _addresses
    cdef dict _candidates
    cdef dict _cache
    cdef public object changes

    cpdef message(self, Message message)
