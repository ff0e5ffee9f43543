# The types of what reassembly.py defines, for its compiled form.


cdef class Reassembly:
    cdef object _sink
    cdef long long _reference
    cdef list _pending
    cdef dict _headers
    cdef object _before
    cdef long long _longest
    cdef public long long pending_bytes
    cdef public long long origin
    cdef public long long next
    cdef public long long acknowledged
    cdef public bint limit_reached

    cpdef long long position(self, long long sequence)
