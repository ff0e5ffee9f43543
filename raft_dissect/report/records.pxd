# The types of what records.py defines, for its compiled form. Words of a header stay objects: they have 64 bits.

import cython

from raft_dissect.cluster cimport identity
from raft_dissect.report.times cimport Clock
from raft_dissect.values cimport Message

cdef dict _ENTRY_TEXTS


cdef class Template:
    cdef bint _entries
    cdef str _text
    cdef object _unpack
    cdef object _preamble

    cpdef bint fits(self, Message message) except -1

    @cython.locals(words=tuple)
    cpdef str line(self, Message message, frame, file, str time, time_ns)


cdef str _entry_text(type_)

@cython.locals(words=tuple, texts=list)
cdef str _entries_text(bytes header, tuple words)


cdef class Records:
    cdef public identity.Identities identities
    cdef object _files
    cdef list _encoded_files
    cdef Clock _clock
    cdef dict _templates
    cdef object _changes

    cpdef learn(self, event)

    cdef _learn_from(self, Message message)

    cpdef str line(self, event)

    @cython.locals(template=Template)
    cdef str _message_line(self, Message message)
