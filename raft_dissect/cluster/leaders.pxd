# The types of what leaders.py defines, for its compiled form.

import cython


cdef class Reign:
    cdef public object term
    cdef public object leader
    cdef public object first
    cdef public long long last_ns
    cdef public long long last_frame
    cdef public long last_file
    cdef public long long longest_ns
    cdef public object closed
    cdef public object over
    cdef public bint missed
    cdef public list pauses

    @cython.locals(silence="long long")
    cpdef heard(self, long long time_ns, long long frame, long file)
