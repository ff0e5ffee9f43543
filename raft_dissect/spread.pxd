# The types of what spread.py defines, for its compiled form.

import cython

cdef bint COMPILED
cdef int _FINE, _EXACT, _BUCKETS


cdef class Histogram:
    cdef long long[::1] _counts
    cdef long long _highest
    cdef long long _lowest
    cdef readonly long long samples

    @cython.locals(bucket="long long", shift=int)
    cpdef add(self, long long value, long long times=*)

    @cython.locals(bucket=Py_ssize_t)
    cpdef merge(self, Histogram other)

    @cython.locals(bucket=Py_ssize_t, times="long long", place=Py_ssize_t, total=double)
    cpdef cumulated(self, bounds)


cdef object _no_counts()

@cython.locals(shift=int)
cdef int _shift(long long value) except -1
