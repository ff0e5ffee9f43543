# The types of what spread.py defines, for its compiled form. Sums and percentiles stay objects, since they are rare.

import cython


cdef int _FINE
cdef long long _EXACT


cdef class Histogram:
    cdef dict _buckets
    cdef long long _lowest
    cdef long long _highest
    cdef public long long samples

    @cython.locals(bucket="long long", shift=int)
    cpdef add(self, long long value, long long times=*)

    cpdef merge(self, Histogram other)
