# The types of what pcapng_scan.py defines, for its compiled form.

import cython

from raft_dissect cimport octets
from raft_dissect.columns cimport PacketColumns

cdef bint COMPILED
cdef long long _ENHANCED_PACKET, _HEAD_SIZE, _AROUND, _LARGEST, _MOST_NS, _HIGHEST


@cython.locals(
    little=bint, starts="long long[::1]", lengths="long long[::1]", originals="long long[::1]", times="long long[::1]",
    view="const unsigned char[::1]", end=Py_ssize_t, known="long long", multiplier="long long",
    offset_ns="long long", most_ticks="long long", longest="long long", kind="long long", length="long long", number="long long", high="long long",
    low="long long", captured="long long", original="long long", stop=Py_ssize_t, again="long long",
)
cpdef tuple scan_blocks(
    layout, interfaces, long link_type, PacketColumns columns, Py_ssize_t row, bytes buffer, Py_ssize_t position
)
