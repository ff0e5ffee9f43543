# The types of what record_writing.py defines, for its compiled form.

import cython

from raft_dissect.capture.interfaces.ring_scan cimport RingColumns

cdef bint COMPILED
cdef long long _ENHANCED_PACKET, _RECORD_HEADER, _BLOCK_HEADER, _BLOCK_TRAILER, _MOST_PADDING, _SECOND


@cython.locals(lengths="long long[::1]", times="long long[::1]", left="long long")
cpdef Py_ssize_t rows_before(
    RingColumns columns, Py_ssize_t row, Py_ssize_t end, long long around, long long room, long long until_ns
) except -1

@cython.locals(
    starts="long long[::1]", lengths="long long[::1]", originals="long long[::1]", times="long long[::1]",
    view="const unsigned char[::1]", out=bytearray, room="unsigned char[::1]", place=Py_ssize_t, start="long long",
    captured="long long", original="long long", seconds="long long", nanoseconds="long long",
)
cpdef bytes pcap_records(RingColumns columns, Py_ssize_t row, Py_ssize_t end, bytes data)

@cython.locals(
    starts="long long[::1]", lengths="long long[::1]", originals="long long[::1]", times="long long[::1]",
    interfaces="long long[::1]", view="const unsigned char[::1]", out=bytearray, room="unsigned char[::1]",
    place=Py_ssize_t, before="long long", number="long long", interface="long long", start="long long",
    captured="long long", original="long long", time_ns="long long", padding="long long", length="long long",
)
cpdef tuple enhanced_packets(RingColumns columns, Py_ssize_t row, Py_ssize_t end, bytes data, dict ids)

cdef _put(unsigned char[::1] room, Py_ssize_t place, long long value)

cdef Py_ssize_t _copy(
    unsigned char[::1] room, Py_ssize_t place, const unsigned char[::1] data, Py_ssize_t start, Py_ssize_t size
) except -1
