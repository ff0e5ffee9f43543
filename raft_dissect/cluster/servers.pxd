# The types of what servers.py defines, for its compiled form.


cdef class Server:
    cdef public object host
    cdef public object id
    cdef public Server merged
    cdef public list addresses
    cdef public list roles
    cdef public object handshake
    cdef public object known_by
    cdef public object first_seen
    cdef public object last_seen
    cdef public set _shapes
    cdef public object _layouts
