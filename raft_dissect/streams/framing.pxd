# The types of what framing.py defines, for its compiled form.

from raft_dissect.values cimport Message, Stream


cdef class FramerOptions:
    cdef public object layout
    cdef public bint keep_payload
    cdef public bint hash_payload
    cdef public bint digest_data


cdef class Framer:
    cdef public Stream stream
    cdef public str kind
    cdef FramerOptions _options
    cdef list _events
    cdef bytearray _buffer
    cdef public long long origin
    cdef long long _position
    cdef object _marks
    cdef public int state
    cdef public Message message
    cdef public unsigned long long remaining
    cdef public object sink
    cdef long long _last_order
    cdef bint _held
    cdef Py_ssize_t _searched
    cdef Py_ssize_t _judged
    cdef long long _cut_end
    cdef long long _hint
    cdef bytes _hint_term
    cdef object _gaps
    cdef long long _skipped
    cdef bint _quiet
