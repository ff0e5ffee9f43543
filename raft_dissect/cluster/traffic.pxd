# The types of what traffic.py defines, for its compiled form. Sizes stay objects: hostile ones have 64 bits.

import cython


cdef object _PREAMBLE_LENGTH


cdef class Flow:
    cdef public dict messages
    cdef public object bytes
    cdef public object first

    @cython.locals(messages=dict)
    cpdef count(self, str name, header_length, payload_length)

    cpdef add(self, str name, messages, size)
