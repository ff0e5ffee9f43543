# The types of what progress.py defines, for its compiled form. Indexes and terms stay objects: they have 64 bits and more.

import cython

from raft_dissect.cluster.commits cimport LeaderLog
from raft_dissect.cluster.extents cimport Extent
from raft_dissect.cluster.lags cimport Lags
from raft_dissect.cluster.requests cimport Request, Waiting
from raft_dissect.cluster.servers cimport Server
from raft_dissect.spread cimport Histogram

cdef long _COMMAND


cdef class Progress:
    cdef readonly Server leader
    cdef readonly Server follower
    cdef readonly LeaderLog log
    cdef readonly Extent holding
    cdef readonly list pending
    cdef readonly object term
    cdef readonly object match
    cdef readonly long long requests
    cdef readonly long long heartbeats
    cdef readonly long long answered
    cdef readonly long long entries
    cdef readonly long long bytes
    cdef readonly long long again
    cdef readonly long long commands
    cdef readonly dict other_types
    cdef readonly Histogram sizes
    cdef readonly Histogram intervals
    cdef readonly Histogram times
    cdef readonly Lags lags
    cdef readonly list catching
    cdef readonly list replaced
    cdef readonly Waiting waiting
    cdef readonly long long unread
    cdef readonly dict unrequested
    cdef public bint hears
    cdef readonly long long first_ns
    cdef readonly long long first_frame
    cdef readonly long first_file
    cdef readonly long long last_ns
    cdef readonly long long last_frame
    cdef readonly long last_file
    cdef Extent _sent
    cdef readonly long long sent_ns
    cdef long long _heard_ns
    cdef bint _sure
    cdef list _early

    @cython.locals(log=LeaderLog, waiting=Waiting, again="long long", due=bint, writes=bint)
    cpdef append(
        self, term, index, index_term, commit, words, long long time_ns, long long frame, long file
    )

    @cython.locals(size="long long", kind=long)
    cpdef count(self, words, long long time_ns, long long frame, long file)

    cdef _begin(self, term)

    @cython.locals(request=Request)
    cpdef success(self, term, index, long long first_ns, long long time_ns, long long frame, long file)

    @cython.locals(holding=Extent)
    cdef _has(self, Request request)

    @cython.locals(log=LeaderLog)
    cdef _reached(self, Request request, index, long long time_ns, long long frame, long file)

    cdef _unmatched(self, term, index, long long first_ns, place)
    @cython.locals(request=Request)
    cdef _answered_early(self, long long time_ns)
    cpdef forget(self)
    cpdef lost(self)
