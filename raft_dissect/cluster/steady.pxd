# The types of what steady.py defines, for its compiled form. Terms and indexes stay objects: they have 64 bits and more.

import cython

from raft_dissect.cluster.elections cimport Elections
from raft_dissect.cluster.leaders cimport Reign
from raft_dissect.cluster.logs cimport Log, Logs
from raft_dissect.cluster.progress cimport Progress
from raft_dissect.cluster.replication cimport Pair
from raft_dissect.cluster.servers cimport Server
from raft_dissect.cluster.traffic cimport Flow
from raft_dissect.columns cimport MessageBatch
from raft_dissect.values cimport Message

cdef bytes _NOT_STALE
cdef str _APPEND, _RESULT
cdef long long _KIND
cdef int _LENGTH
cdef Py_ssize_t _APPEND_LENGTH, _RESULT_LENGTH, _PREAMBLE_LENGTH
cdef object _ENTRY_LENGTH, _unpack_append, _unpack_entry, _unpack_result


cdef class Conversation:
    cdef public Server sender
    cdef public unsigned long long term
    cdef public object since
    cdef public long long since_ns
    cdef public Flow flow
    cdef public Logs logs
    cdef public Log log
    cdef public Pair pair
    cdef public Progress progress
    cdef public long long order
    cdef public long long rows
    cdef public long long size
    cdef public long long seen_ns
    cdef public long long seen_frame
    cdef public long seen_file
    cdef public object preamble
    cdef public object header_length
    cdef public long long kind
    cdef public long long shape

    cpdef bint takes(self, Message message, long long order) except -1
    cpdef bint takes_row(self, MessageBatch batch, Py_ssize_t row, long long order) except -1

    @cython.locals(latest_ns="long long")
    cpdef seen(self, long long time_ns, long long frame, long file, long long order)


cdef class Appends(Conversation):
    cdef public Server follower
    cdef public Elections elections
    cdef public Reign reign
    cdef public object version
    cdef public bint fresh
    cdef public bint stale

    @cython.locals(header=bytes)
    cpdef bint takes(self, Message message, long long order) except -1

    @cython.locals(
        time_ns="long long", size=Py_ssize_t, end=Py_ssize_t, frame="long long", entries="unsigned long long",
    )
    cpdef bint takes_row(self, MessageBatch batch, Py_ssize_t row, long long order) except -1


cdef class Results(Conversation):
    cdef public Server leader
    cdef public bint led
    cdef public Elections elections
    cdef public object replication
    cdef public long long answered_ns
    cdef public long long answered_frame
    cdef public long answered_file

    @cython.locals(header=bytes)
    cpdef bint takes(self, Message message, long long order) except -1

    @cython.locals(time_ns="long long", frame="long long")
    cpdef bint takes_row(self, MessageBatch batch, Py_ssize_t row, long long order) except -1


cdef class Steady:
    cdef public object servers
    cdef public object terms
    cdef public Logs logs
    cdef public object leaders
    cdef public Elections elections
    cdef public object replication
    cdef public object flows
    cdef dict _conversations
    cdef long long _order

    @cython.locals(conversation=Conversation)
    cpdef bint takes(self, Message message) except -1

    @cython.locals(conversations=dict, order="long long", conversation=Conversation)
    cpdef Py_ssize_t take_rows(self, MessageBatch batch, Py_ssize_t row, Py_ssize_t end) except -1

    cpdef end(self)
