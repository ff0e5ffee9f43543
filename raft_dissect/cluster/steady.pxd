# The types of what steady.py defines, for its compiled form. Terms and indexes stay objects: they have 64 bits and more.

import cython

from raft_dissect.cluster.elections cimport Elections
from raft_dissect.cluster.leaders cimport Reign
from raft_dissect.cluster.logs cimport Log, Logs
from raft_dissect.cluster.replication cimport Pair
from raft_dissect.cluster.servers cimport Server
from raft_dissect.cluster.traffic cimport Flow
from raft_dissect.values cimport Message

cdef bytes _NOT_STALE
cdef str _APPEND, _RESULT
cdef Py_ssize_t _APPEND_LENGTH, _RESULT_LENGTH
cdef object _ENTRY_LENGTH, _unpack_append, _unpack_result


cdef class Conversation:
    cdef public Server sender
    cdef public object term
    cdef public object since
    cdef public Flow flow
    cdef public Logs logs
    cdef public Log log
    cdef public Pair pair

    cpdef bint takes(self, Message message) except -1

    @cython.locals(sender=Server)
    cpdef seen(self, place)


cdef class Appends(Conversation):
    cdef public Reign reign
    cdef public object preamble
    cdef public object version
    cdef public object header_length
    cdef public object room
    cdef public list trailers

    @cython.locals(header=bytes)
    cpdef bint takes(self, Message message) except -1


cdef class Results(Conversation):
    cdef public Server leader
    cdef public bint led
    cdef public Elections elections
    cdef public object replication
    cdef public object preamble
    cdef public object header_length

    @cython.locals(header=bytes)
    cpdef bint takes(self, Message message) except -1


cdef class Steady:
    cdef public object servers
    cdef public object terms
    cdef public Logs logs
    cdef public object leaders
    cdef public Elections elections
    cdef public object replication
    cdef public object flows
    cdef dict _conversations

    @cython.locals(conversation=Conversation)
    cpdef bint takes(self, Message message) except -1

    cpdef end(self)
