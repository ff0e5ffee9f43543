# The types of what pipeline.py defines, for its compiled form.

from raft_dissect.cluster cimport analysis


cdef class ReportBuilder:
    cdef analysis.Analysis _analysis
    cdef object _messages
    cdef object _partial
    cdef object _diagnosed
    cdef list _diagnostics

    cpdef feed(self, event)
