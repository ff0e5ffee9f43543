# The types of what log.py defines, for its compiled form. Whatever becomes a column is below 2**63.

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

    cpdef copy(self, Py_ssize_t slot, _Entries other, Py_ssize_t to)

    @cython.locals(kind="long long", digest="long long")
    cpdef entry(self, Py_ssize_t slot)


cdef class Log:
    cdef _Entries _sent
    cdef _Entries _committed
    cdef dict _replaced
    cdef dict _highest
    cdef public object forgotten
    cdef public object committed_forgotten
    cdef public object highest_committed

    @cython.locals(slot=Py_ssize_t)
    cpdef entry(self, index, term)

    @cython.locals(ring=_Entries, slot=Py_ssize_t)
    cpdef committed(self, index)

    @cython.locals(slot=Py_ssize_t, ring=_Entries)
    cpdef learn(self, entry)

    @cython.locals(ring=_Entries)
    cdef _complete(self, Py_ssize_t slot, entry)

    @cython.locals(ring=_Entries, slot=Py_ssize_t)
    cdef Py_ssize_t _slot(self, long long index) except -1

    @cython.locals(ring=_Entries, slot=Py_ssize_t, known="long long")
    cpdef bint append(
        self, long long index, long long term, long long kind, long long digest,
        long long leader, long long leader_term, long long time_ns, long long frame, long long file,
    ) except -1

    @cython.locals(ring=_Entries, slot=Py_ssize_t)
    cpdef bint holds(self, long long index, long long term, long long kind, long long digest) except -1

    @cython.locals(
        ring=_Entries, slot=Py_ssize_t, index="long long", known="long long", time_ns="long long", frame="long long",
        file="long long",
    )
    cpdef commit_run(self, long long first, long long last, long long term, long long leader, long long leader_term, place)

    @cython.locals(ring=_Entries, slot=Py_ssize_t, known="long long")
    cpdef commit(self, committed)


@cython.locals(grown=_Entries, slot=Py_ssize_t)
cdef _Entries _grown(_Entries ring)
