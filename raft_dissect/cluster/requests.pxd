# The types of what requests.py defines, for its compiled form. Indexes and terms stay objects: they have 64 bits and more.

import cython

cdef Py_ssize_t _MAX_WAITING, _MAX_SEARCHED, _MAX_LEFT


cdef class Request:
    cdef public long long number
    cdef public object term
    cdef public object index
    cdef public object index_term
    cdef public tuple words
    cdef public object end
    cdef public bint due
    cdef public long long time_ns
    cdef public long long frame
    cdef public long file


cdef class Queue:
    cdef list _requests
    cdef Py_ssize_t _begin

    cpdef Request at(self, Py_ssize_t number)
    cpdef add(self, Request request)
    cpdef pop(self)


cdef class Waiting:
    cdef Queue _quick
    cdef Queue _writes
    cdef readonly long long number
    cdef long long _excused
    cdef readonly long long overdue

    @cython.locals(request=Request, waiting=Queue)
    cpdef add(
        self, term, index, index_term, tuple words, bint writes, bint due, long long time_ns, long long frame, long file
    )

    cpdef excuse(self)
    @cython.locals(quick=Request, write=Request)
    cpdef Request answered(self, term, index)

    @cython.locals(request=Request)
    cdef Request _first(self, Queue waiting, term)

    cdef bint _wrote(self, Request write, Request quick, index) except -1

    @cython.locals(number=Py_ssize_t, request=Request)
    cdef bint _waits_for(self, index) except -1

    @cython.locals(request=Request, overtaken=Request, writes=Queue, quick=Queue)
    cdef Request _written(self, index)

    @cython.locals(request=Request)
    cdef _pass(self, Queue waiting)
