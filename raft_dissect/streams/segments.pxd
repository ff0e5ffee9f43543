# C types of segments.py; offsets are sizes of Python's bytes, the numbers read here have at most two bytes.
cimport cython

from raft_dissect.streams.link cimport below_network, network_layer

@cython.locals(data=bytes, offset=Py_ssize_t, end=Py_ssize_t)
cpdef object decode_segment(object packet)

@cython.locals(header_length=Py_ssize_t, total=Py_ssize_t, end=Py_ssize_t, identification=int)
cdef object _ipv4(bytes data, Py_ssize_t offset, Py_ssize_t original_length)

@cython.locals(length=Py_ssize_t, end=Py_ssize_t, protocol=int)
cdef object _ipv6(bytes data, Py_ssize_t offset, Py_ssize_t original_length)

@cython.locals(words=int, start=Py_ssize_t)
cdef object _tcp(bytes data, Py_ssize_t offset, Py_ssize_t end, bytes hosts, int identification)
