# The types of what values.py defines, for its compiled form.

from raft_dissect.spread cimport Histogram


cdef class Stream:
    cdef public object number
    cdef public object source
    cdef public object destination
    cdef public object handshake
    cdef public object opening
    cdef public long long segments
    cdef public Histogram round_trips

    cpdef count_round_trip(self, long long elapsed_ns)


cdef class Message:
    cdef public Stream stream
    cdef public object offset
    cdef public object first
    cdef public object place
    cdef public object preamble
    cdef public object layout
    cdef public bytes header
    cdef public object payload_length
    cdef public object missing
    cdef public object payload
    cdef public object payload_sha256
    cdef public dict changes
    cdef public object digests
    cdef public object _decoded
