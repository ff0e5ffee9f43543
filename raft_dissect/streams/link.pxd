# C types of link.py; offsets are sizes of Python's bytes, two-byte numbers fit an int.
cimport cython

cpdef object network_layer(object link_type, bytes data)
cpdef object ethernet(bytes data, Py_ssize_t offset)

@cython.locals(version=int)
cpdef object ip_by_version(bytes data, Py_ssize_t offset)

cpdef object below_network(bytes data, Py_ssize_t offset, object ethertype)

@cython.locals(ethertype=int)
cdef object _after_tags(bytes data, Py_ssize_t offset)

@cython.locals(bottom=int)
cdef object _after_labels(bytes data, Py_ssize_t offset)
