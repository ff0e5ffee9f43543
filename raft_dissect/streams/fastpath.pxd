# The types of what fastpath.py defines, for its compiled form.

import cython

from raft_dissect cimport octets
from raft_dissect.columns cimport MessageBatch, PacketBlock, PacketColumns
from raft_dissect.streams.connections cimport Direction
from raft_dissect.streams.framing cimport Framer
from raft_dissect.values cimport Message

cdef bint COMPILED
cdef int _NOTHING, _NO_DATA, _IN_ORDER, _IGNORED, _MESSAGES, _PAYLOAD, _OTHER, _PLAIN_IPV4, _TCP, _ENDS, _SYN, _ACK
cdef int _STAMPED_WORDS
cdef long long _STAMP_OPTION, _NO_STAMP
cdef long long _UNKNOWN, _MASK, _HALF, _ALWAYS_ZERO
cdef int _IPV4, _IPV6
cdef Py_ssize_t _BY_VERSION, _IPV4_HEADER, _IPV6_HEADER, _TCP_HEADER, _PREAMBLE, _PREAMBLE_AND_WORDS, _LAST_SLOT, _ENTRY
cdef unsigned long long _FIXED_WORDS, _MOST_ENTRIES, _WORD
cdef int _APPEND_ENTRIES, _CHANGE
cdef const unsigned char[::1] _ORDINARY


cdef class FastPath:
    cdef object _layout
    cdef bint _digest_entries
    cdef object _closer
    cdef object _framed
    cdef MessageBatch _batch
    cdef bytes _data
    cdef const unsigned char[::1] _view
    cdef list _slots
    cdef public dict directions
    cdef public long long due
    cdef public long long now
    cdef public long long order

    @cython.locals(
        index=Py_ssize_t, begin=Py_ssize_t, end=Py_ssize_t, network=Py_ssize_t, type_at=Py_ssize_t, least="long long",
        view="const unsigned char[::1]", data=bytes, frame="long long", columns=PacketColumns, file=long,
        starts="long long[::1]", lengths="long long[::1]", originals="long long[::1]", times="long long[::1]",
        now="long long", time_ns="long long", length="long long", start=Py_ssize_t, at=Py_ssize_t, stop=Py_ssize_t,
        ethertype=int, plain=bint, transport=Py_ssize_t, version=int, total=int, fragment=int, protocol=int, key=bytes,
        sequence="long long", acknowledgement="long long",
        words=int, flags=int, direction=Direction, hosts="unsigned long long", ease=int, payload=Py_ssize_t, expected="long long",
        known="long long", peer=Direction, window=int, identification=int, head="long long",
    )
    cpdef run(self, PacketBlock block, MessageBatch batch)

    @cython.locals(slot=Py_ssize_t, direction=Direction)
    cdef Direction _find(self, unsigned long long hosts, unsigned long long ports, Py_ssize_t at)

    @cython.locals(option="long long", stamp="long long")
    cdef long long _stamp(self, Py_ssize_t transport, int words) except -2

    @cython.locals(framer=Framer, remaining="unsigned long long")
    cdef _payload(self, Direction direction, Py_ssize_t at, Py_ssize_t stop)

    @cython.locals(framer=Framer)
    cdef _complete(self, Direction direction)

    @cython.locals(
        data=bytes, batch=MessageBatch, before="long long", largest=Py_ssize_t,
        head="long long", reserved="long long", size="unsigned long long", header=Py_ssize_t,
        term="unsigned long long", first="unsigned long long", second="unsigned long long",
        third="unsigned long long", fourth="unsigned long long", payload="long long", end="long long", row=Py_ssize_t,
    )
    cdef Py_ssize_t _messages(self, Direction direction, Py_ssize_t at, Py_ssize_t stop) except -1

    @cython.locals(total="long long", entry=Py_ssize_t)
    cdef long long _sizes(self, Py_ssize_t at, Py_ssize_t entries) except -2

    cdef _begin(
        self, Direction direction, long long head, Py_ssize_t header, Py_ssize_t size, long long payload,
        long long remaining, long long offset,
    )
    cdef _rest(self, Direction direction, Py_ssize_t at, Py_ssize_t stop)
