# The types of what logs.py defines, for its compiled form.

import cython

from raft_dissect.cluster.recent cimport Recent


cdef class Log:
    cdef public object last
    cdef public object highest


cdef class Logs:
    cdef Recent _terms
    cdef dict _logs

    cpdef Log of(self, server)

    @cython.locals(known=Recent)
    cpdef extend(self, Log log, index, term, words)

    cpdef acknowledge(self, Log log, index)
