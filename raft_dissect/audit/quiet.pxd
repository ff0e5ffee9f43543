# The types of what quiet.py defines, for its compiled form. Indexes, terms and ids of quiet messages are below 2**62.

import cython

from raft_dissect cimport octets
from raft_dissect.audit.knowledge.log cimport Log
from raft_dissect.columns cimport MessageBatch

cdef bint COMPILED
cdef long long _LONGEST_NS, _PAUSE_NS, _LEAST, _FIRST_ENTRY, _RESULT, _WORD, _ENTRY, _PREAMBLE
cdef unsigned long long _UNUSED
cdef bytes _NOTHING
cdef long _COMMAND, _NONE, _STALE, _KINDS
cdef object _unpack_entry, _unpack_word


cdef class Follower:
    cdef public long long sent
    cdef public long long acknowledged


cdef class Lead:
    cdef public object reign
    cdef public object configurations
    cdef public Log log
    cdef public long long leader
    cdef public long long term
    cdef public long long end
    cdef public long long commit
    cdef dict _followers
    cdef list _voters
    cdef public long needed
    cdef public bint known

    cpdef Follower follower(self, id_)

    @cython.locals(follower=Follower, count=long)
    cpdef bint may_commit(self, long long index) except -1


cdef class Talk:
    cdef public object step
    cdef public object line
    cdef public Lead lead
    cdef public long long shape
    cdef public long long term
    cdef public long long told_ns
    cdef public long long patience_ns
    cdef public long long last_ns
    cdef public dict samples
    cdef public long kinds
    cdef public long long[::1] counts
    cdef public long kind
    cdef public Py_ssize_t row
    cdef public Py_ssize_t before
    cdef public long long passed
    cdef public dict leaked
    cdef public dict padded
    cdef public Py_ssize_t leaked_row

    cpdef bint takes(self, MessageBatch batch, Py_ssize_t row) except -1

    @cython.locals(pause_ns="long long")
    cpdef bint is_soon(self, long long time_ns) except -1

    cpdef next(self, Py_ssize_t row, long kind, long long time_ns)
    cpdef learn(self, MessageBatch batch)
    cpdef tell(self, MessageBatch batch, Py_ssize_t row, place)


cdef class Appends(Talk):
    cdef public object sent
    cdef public object pair
    cdef public Follower follower
    cdef public long long ends
    cdef public long long begun
    cdef public long long last_term
    cdef public long long commit
    cdef public unsigned long long trailer
    cdef public unsigned long long padding

    @cython.locals(time_ns="long long", lead=Lead, entries="unsigned long long", index="long long", kind=long)
    cpdef bint takes(self, MessageBatch batch, Py_ssize_t row) except -1

    cdef _leak(self)

    @cython.locals(
        lead=Lead, commit="unsigned long long", entries="unsigned long long", size="long long",
        index="long long", rises=bint, stale=long,
    )
    cdef long _kind(self, MessageBatch batch, Py_ssize_t row) except -2

    @cython.locals(end=Py_ssize_t, term="unsigned long long", type_="unsigned long", size="unsigned long",
                   kind="long long", digest="long long", lead=Lead)
    cdef bint _has(self, MessageBatch batch, Py_ssize_t row, long long index) except -1


cdef class Results(Talk):
    cdef public object sent
    cdef public object pair
    cdef public Follower follower
    cdef public long long last
    cdef public bint has_features

    @cython.locals(time_ns="long long", last="unsigned long long", most="long long", kind=long)
    cpdef bint takes(self, MessageBatch batch, Py_ssize_t row) except -1


cdef class Quiet:
    cdef object _knowledge
    cdef object _judge
    cdef object _groups
    cdef object _told
    cdef dict _talks
    cdef dict _leads
    cdef bint _waiting
    cdef object _expected

    @cython.locals(talks=dict, due_ns="long long", talk=Talk)
    cpdef Py_ssize_t take_rows(self, MessageBatch batch, Py_ssize_t row, Py_ssize_t end) except -1


@cython.locals(at=Py_ssize_t, word="unsigned long long")
cdef unsigned long long _word(MessageBatch batch, Py_ssize_t row, long long offset) except? 0xFFFFFFFFFFFFFFFF

cdef unsigned long long _padding(MessageBatch batch, Py_ssize_t row) except? 0xFFFFFFFFFFFFFFFF
