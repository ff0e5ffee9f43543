# The types of what commits.py defines, for its compiled form. Indexes and terms stay objects: they have 64 bits and more.

import cython

from raft_dissect.cluster.extents cimport Extent
from raft_dissect.cluster.servers cimport Server
from raft_dissect.spread cimport Histogram

cdef bint COMPILED


cdef class Voters:
    cdef list _known
    cdef readonly object last
    cdef readonly object covered

    cpdef entries(self, index, words)
    cpdef at(self, end)


cdef class LeaderLog:
    cdef readonly Server leader
    cdef readonly Extent holding
    cdef readonly Voters voters
    cdef readonly object decisions
    cdef readonly list followers
    cdef readonly Histogram seconds
    cdef readonly object term
    cdef readonly object end
    cdef readonly object committed
    cdef readonly object told
    cdef Py_ssize_t _mask
    cdef long long[::1] _times
    cdef long long[::1] _sizes
    cdef object _base
    cdef object _own
    cdef long long _count
    cdef long long _done
    cdef long long _sum
    cdef object _ids
    cdef Py_ssize_t _asked
    cdef Py_ssize_t _needed
    cdef list _voting

    cpdef begin(self, term)

    @cython.locals(news=bint)
    cpdef sent(self, index, term, commit, words, long long time_ns, long long frame, long file)

    @cython.locals(slot=Py_ssize_t, count="long long")
    cdef _extend(self, words, long long time_ns)

    @cython.locals(room=Py_ssize_t, number="long long", times="long long[::1]", sizes="long long[::1]")
    cdef _grow(self, needed)

    cpdef bytes_after(self, index)
    cdef _prepare(self, ids)
    cpdef acknowledged(self, index, long long time_ns)

    @cython.locals(elapsed="long long", last="long long", number="long long")
    cdef _commit(self, index, long long time_ns)
