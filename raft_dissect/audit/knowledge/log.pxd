# The types of what log.py defines, for its compiled form.

import cython

cdef bint COMPILED
cdef Py_ssize_t _FIRST_ROOM, _MOST_ROOM
cdef int _UNKNOWN


cdef class _Entries:
    cdef public Py_ssize_t room
    cdef public long long[::1] index
    cdef public long long[::1] term
    cdef public long long[::1] kind
    cdef public long long[::1] digest
    cdef public long long[::1] leader
    cdef public long long[::1] leader_term
    cdef public long long[::1] time_ns
    cdef public long long[::1] frame
    cdef public long long[::1] file


cdef class Log:
    cdef _Entries _sent
    cdef _Entries _committed
    cdef dict _replaced
    cdef dict _highest
    cdef public object forgotten
    cdef public object committed_forgotten
    cdef public object highest_committed

    @cython.locals(ring=_Entries, slot=Py_ssize_t, known="long long")
    cpdef bint append(
        self, long long index, long long term, long long kind, long long digest,
        long long leader, long long leader_term, long long time_ns, long long frame, long long file,
    ) except -1

    @cython.locals(ring=_Entries, slot=Py_ssize_t)
    cpdef bint holds(self, long long index, long long term, long long kind, long long digest) except -1
