# The types of what leaders.py defines, for its compiled form.


cdef class Reign:
    cdef public object term
    cdef public object leader
    cdef public object first
    cdef public object last
    cdef public object longest_ns
    cdef public object closed
    cdef public object over

    cpdef heard(self, place)
