# The types of what times.py defines, for its compiled form. Times stay objects: hostile ones have 64 bits.


cdef class Clock:
    cdef object _zone
    cdef object _second
    cdef object _moment
    cdef tuple _iso

    cpdef str iso(self, time_ns)
