# The types of what elections.py defines, for its compiled form.


cdef class Elections:
    cdef object _terms
    cdef object _leaders
    cdef object _logs
    cdef list _rounds
    cdef dict _latest
    cdef dict _open
    cdef dict _votes
    cdef dict _candidates
    cdef dict _campaigned
    cdef dict _following
    cdef object _membership
    cdef dict _heard
    cdef dict _snapshots
    cdef dict _lost
    cdef public list rejections

    cpdef heard(self, follower, leader, place)

    cpdef followed(self, follower, leader, place)
