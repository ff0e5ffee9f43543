# The types of what recent.py defines, for its compiled form. Indexes and terms stay objects: they have 64 bits and more.


cdef class Recent:
    cdef Py_ssize_t _size
    cdef dict _new
    cdef dict _old
    cdef object _first
    cdef object _last
    cdef object _run

    cpdef remember(self, index, term)
    cdef _end_run(self)
    cpdef term(self, index)
