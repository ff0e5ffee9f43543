# The types of what recent.py defines, for its compiled form. Indexes and terms stay objects: they have 64 bits and more.


cdef class Recent:
    cdef Py_ssize_t _size
    cdef dict _new
    cdef dict _old

    cpdef remember(self, index, term)
    cpdef term(self, index)
