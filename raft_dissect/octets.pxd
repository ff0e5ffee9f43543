# The compiled form of octets.py, to be inlined where it is used. One check of the bounds stands for those of all bytes,
# so that a compiler can make a single load of them.

cimport cython


cdef inline int _check(const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t size) except -1:
    if at < 0 or at > data.shape[0] - size:
        raise IndexError("beyond the end of the bytes")
    return 0


@cython.boundscheck(False)
@cython.wraparound(False)
cdef inline unsigned int u16be(const unsigned char[::1] data, Py_ssize_t at) except? 0xFFFF:
    _check(data, at, 2)
    return <unsigned int>data[at] << 8 | <unsigned int>data[at + 1]


@cython.boundscheck(False)
@cython.wraparound(False)
cdef inline unsigned int u32be(const unsigned char[::1] data, Py_ssize_t at) except? 0xFFFFFFFF:
    _check(data, at, 4)
    return (
        <unsigned int>data[at] << 24
        | <unsigned int>data[at + 1] << 16
        | <unsigned int>data[at + 2] << 8
        | <unsigned int>data[at + 3]
    )


@cython.boundscheck(False)
@cython.wraparound(False)
cdef inline unsigned int u32le(const unsigned char[::1] data, Py_ssize_t at) except? 0xFFFFFFFF:
    _check(data, at, 4)
    return (
        <unsigned int>data[at]
        | <unsigned int>data[at + 1] << 8
        | <unsigned int>data[at + 2] << 16
        | <unsigned int>data[at + 3] << 24
    )


@cython.boundscheck(False)
@cython.wraparound(False)
cdef inline unsigned long long u64le(const unsigned char[::1] data, Py_ssize_t at) except? 0xFFFFFFFFFFFFFFFF:
    _check(data, at, 8)
    return (
        <unsigned long long>data[at]
        | <unsigned long long>data[at + 1] << 8
        | <unsigned long long>data[at + 2] << 16
        | <unsigned long long>data[at + 3] << 24
        | <unsigned long long>data[at + 4] << 32
        | <unsigned long long>data[at + 5] << 40
        | <unsigned long long>data[at + 6] << 48
        | <unsigned long long>data[at + 7] << 56
    )
