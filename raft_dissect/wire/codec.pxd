# C types of codec.py. Versions, lengths and terms come from the wire with up to 64 bits without a sign: they stay Python's.
cimport cython


cdef class _Plan:
    cdef readonly tuple bits
    cdef readonly tuple booleans
    cdef readonly object dialect
    cdef readonly Py_ssize_t fixed
    cdef readonly object form
    cdef readonly object head
    cdef readonly tuple head_fields
    cdef readonly tuple head_names
    cdef readonly object tail
    cdef readonly tuple tail_fields
    cdef readonly str variable


cpdef object decode_preamble(object data, Py_ssize_t offset=*)
cpdef object decode_header(
    object type_, object version, bytes header, object header_length=*, object layout=*
)

@cython.locals(start=Py_ssize_t)
cdef object _count_entries(bytes header)

@cython.locals(start=Py_ssize_t)
cdef object _data_length(bytes header)

@cython.locals(plans=tuple, plan=_Plan)
cdef object _select(object type_, object version, object header_length, bytes header, object layout)

@cython.locals(head=Py_ssize_t, plan=_Plan)
cdef object _select_variable(tuple plans, bytes header)

@cython.locals(fields=dict, bit=Py_ssize_t)
cdef dict _decode_head(_Plan plan, bytes header)

cdef object _decode_part(_Plan plan, bytes header, object header_length)

@cython.locals(plan=_Plan, fields=dict)
cpdef bint is_consistent(object preamble, bytes header) except -1

cpdef bint is_plausible(object type_, object version, object header_length) except -1
cdef bint _flags_known(_Plan plan, bytes header) except -1
