# The types of what columns.py defines, for its compiled form: a column is an array of 64-bit integers.

import cython

from raft_dissect.values cimport Message, Stream

cdef bint COMPILED


cdef class PacketColumns:
    cdef public Py_ssize_t room
    cdef public long long[::1] starts
    cdef public long long[::1] captured
    cdef public long long[::1] originals
    cdef public long long[::1] times

    @cython.locals(row=Py_ssize_t, longest="long long")
    cpdef long long longest(self, Py_ssize_t begin, Py_ssize_t end) except -1

    @cython.locals(row=Py_ssize_t, size="long long")
    cpdef long long size(self, Py_ssize_t begin, Py_ssize_t end) except -1

    cpdef grow(self)


cdef class PacketBlock:
    cdef public PacketColumns columns
    cdef public Py_ssize_t begin
    cdef public Py_ssize_t end
    cdef public bytes buffer
    cdef public long link_type
    cdef public long long frame
    cdef public long file
    cdef public bint losing


cdef class MessageBatch:
    cdef object _layout
    cdef readonly bint digest_entries
    cdef dict _kept
    cdef list _others
    cdef public bytes buffer
    cdef readonly const unsigned char[::1] view
    cdef public long file
    cdef public Py_ssize_t rows
    cdef public Py_ssize_t partial
    cdef public Py_ssize_t room
    cdef public list streams
    cdef public long long[::1] shapes
    cdef public long long[::1] headers
    cdef public long long[::1] offsets
    cdef public long long[::1] frames
    cdef public long long[::1] times
    cdef public long long[::1] payloads
    cdef public unsigned long long[::1] word0
    cdef public unsigned long long[::1] word1
    cdef public unsigned long long[::1] word2
    cdef public unsigned long long[::1] word3
    cdef public unsigned long long[::1] word4

    cpdef begin(self, bytes buffer, long file)
    cpdef grow(self)
    cpdef add(self, event)
    cpdef bint is_whole(self, Py_ssize_t row) except -1
    cpdef Message message(self, Py_ssize_t row)
