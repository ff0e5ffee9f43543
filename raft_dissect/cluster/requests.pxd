# The types of what requests.py defines, for its compiled form. Indexes and terms stay objects: they have 64 bits and more.

import cython

cdef Py_ssize_t _MAX_WAITING, _MAX_SEARCHED


cdef class Request:
    cdef readonly long long number
    cdef readonly object term
    cdef readonly object index
    cdef readonly object index_term
    cdef readonly tuple words
    cdef readonly object end
    cdef readonly bint due
    cdef readonly long long time_ns
    cdef readonly long long frame
    cdef readonly long file


cdef class Waiting:
    cdef object _quick
    cdef object _writes
    cdef public long long excused
    cdef readonly long long overdue

    cpdef add(self, Request request, bint writes)
    cpdef Request answered(self, term, index)

    @cython.locals(request=Request)
    cdef Request _first(self, waiting, term)

    cdef bint _wrote(self, Request write, Request quick, index) except -1

    @cython.locals(at=Py_ssize_t, request=Request)
    cdef bint _waits_for(self, index) except -1

    @cython.locals(request=Request)
    cdef Request _written(self, index)

    @cython.locals(request=Request)
    cdef _pass(self, waiting)
