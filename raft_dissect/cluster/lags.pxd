# The types of what lags.py defines, for its compiled form.

import cython

from raft_dissect.cluster.commits cimport LeaderLog


cdef class Lags:
    cdef readonly long long _width_ns
    cdef readonly dict _found
    cdef long long _from_ns
    cdef long long _until_ns
    cdef object _most

    cpdef note(self, LeaderLog log, match, long long time_ns, long long frame, long file)

    @cython.locals(number="long long")
    cdef _turn(self, long long time_ns)
