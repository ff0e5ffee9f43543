# The types of what ring_scan.py defines, for its compiled form.

import cython

from raft_dissect cimport octets
from raft_dissect.columns cimport PacketColumns

cdef bint COMPILED, _LITTLE
cdef long long _TAG_IS_THERE, _TAG_TYPE_IS_THERE, _TAG_TYPE, _ETHERNET, _LOOPBACK, _PROTOCOL, _TAG_SIZE, _ADDRESSES
cdef long long _SECOND


cdef class RingColumns(PacketColumns):
    cdef public long long[::1] interfaces

    cpdef grow(self)


cdef class RingScan:
    cdef public object ring
    cdef public dict numbers
    cdef public dict received
    cdef public RingColumns columns
    cdef public Py_ssize_t rows
    cdef public Py_ssize_t place
    cdef public Py_ssize_t left
    cdef public long link_type

    @cython.locals(
        columns=RingColumns, row=Py_ssize_t, starts="long long[::1]", lengths="long long[::1]",
        originals="long long[::1]", times="long long[::1]", interfaces="long long[::1]", at=Py_ssize_t,
        left=Py_ssize_t, view="unsigned char[::1]", index_before="long long", interface="long long", known=bint,
        counted=Py_ssize_t, link_type="long long", size="long long", seconds="long long", nanoseconds="long long",
        captured="long long", original="long long", status="long long", link="long long", network="long long",
        tag="long long", tag_type="long long", index="long long", hardware="long long", start="long long",
        more="long long", kind="long long",
    )
    cpdef run(self, Py_ssize_t begin)

    cdef _count(self, long long interface, Py_ssize_t packets)


cdef long long _u16(const unsigned char[::1] view, Py_ssize_t at) except -1
cdef long long _u32(const unsigned char[::1] view, Py_ssize_t at) except -1

@cython.locals(place=Py_ssize_t)
cdef _put_tag(unsigned char[::1] view, Py_ssize_t start, long long tag_type, long long tag)

@cython.locals(index="long long", hardware="long long", place=Py_ssize_t)
cdef _put_cooked(unsigned char[::1] view, Py_ssize_t address, Py_ssize_t start)
