# The types of what connections.py defines, for its compiled form.

from raft_dissect.streams.framing cimport Framer
from raft_dissect.streams.reassembly cimport Reassembly
from raft_dissect.values cimport Stream


cdef long long _PAUSE_NS, _NEVER


cdef class Direction:
    cdef public bytes key
    cdef public unsigned long long hosts
    cdef public unsigned long long ports
    cdef public Stream stream
    cdef public Framer framer
    cdef public Reassembly reassembly
    cdef public Direction peer
    cdef public Connection connection
    cdef public int ease
    cdef public long long fin
    cdef public object fin_place
    cdef public long long last_ns
    cdef public long long last_frame
    cdef public long last_file
    cdef public bint passed
    cdef public bint ended
    cdef public bint limited
    cdef public long long held
    cdef public bint waiting
    cdef public long long acknowledged
    cdef public object stray
    cdef public object stray_place
    cdef public long long former
    cdef public int identification
    cdef public long long stamp
    cdef public long long sent
    cdef public long long sent_end
    cdef public object shut
    cdef public object shut_place
    cdef public long long timed
    cdef public long long timed_ns
    cdef public long long timed_from

    cpdef begin_timing(self, long long end, long long time_ns)
    cpdef end_timing(self, long long time_ns)
    cpdef give_up_timing(self)


cdef class Connection:
    cdef public Direction there
    cdef public Direction back
    cdef public bint ignored
    cdef public object first
    cdef public object reset
    cdef public bint closed
    cdef public Direction client
    cdef public object asked
    cdef public object again
    cdef public long long attempts
    cdef public bint awaited
    cdef public bint answered
    cdef public bint given_up
    cdef public bint ending
    cdef public bint lingers
