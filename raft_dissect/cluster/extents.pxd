# The types of what extents.py defines, for its compiled form. Indexes and terms stay objects: they have 64 bits and more.


cdef class Extent:
    cdef object _first
    cdef list _starts
    cdef list _terms
    cdef readonly object end
    cdef readonly object term
    cdef public object replaced

    cpdef put(self, index, words)
    cpdef holds(self, index, term)
    cdef _put(self, index, words)
    cpdef term_at(self, index)
    cdef _begin(self, first, words)
    cdef _prepend(self, first, words)
    cdef _cut(self, first)
    cdef _run(self, index, term)
