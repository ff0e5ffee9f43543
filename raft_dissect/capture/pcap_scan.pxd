# The types of what pcap_scan.py defines, for its compiled form.

import cython

from raft_dissect cimport octets
from raft_dissect.columns cimport PacketColumns

cdef bint COMPILED
cdef Py_ssize_t _HEADER_SIZE
cdef long long _DAY, _SECOND


@cython.locals(
    little=bint, swapped=bint, fraction_ns="long long", fractions="long long", largest="long long",
    starts="long long[::1]", lengths="long long[::1]", originals="long long[::1]", times="long long[::1]",
    view="const unsigned char[::1]", last="long long", end=Py_ssize_t, seconds="long long", fraction="long long",
    captured="long long", original="long long",
)
cpdef Py_ssize_t scan_records(
    records, PacketColumns columns, Py_ssize_t row, bytes buffer, Py_ssize_t position, long long seconds_before
) except -1
