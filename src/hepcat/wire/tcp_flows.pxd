# C types of the flows of TCP; tcp_flows.py holds the code and runs without this file.
cimport cython

from hepcat.wire.held cimport AgeList, BLOCK
from hepcat.wire.tcp_pieces cimport Pieces

# The numbers of tcp_flows.py.
cdef enum:
    NONE = 0
    OPENED = 1
    DATA = 2
    CLOSED = 3
    FIN = 1
    SYN = 2
    RST = 4
    PSH = 8
    KEPT = -1
    MOST_STRETCHES = 8192

cdef class TcpFlows(Pieces):
    # bounds
    cdef long long gap_us
    cdef long long ahead
    cdef long long far
    # flows
    cdef AgeList waiting
    cdef unsigned char[::1] is_waiting
    cdef unsigned char[::1] state
    cdef long long[::1] isn
    cdef long long[::1] fin_at
    cdef long long[::1] since
    cdef int[::1] flow_peer

    cdef int take_segment(self, int flow, int flags, long long seq, long long offset, long long length) except -1 nogil
    cdef int open_flow(self, int flow, long long isn) except -1 nogil
    cdef int begin(self, int flow, long long isn, int marks) except -1 nogil
    cdef bint may_take(self, int flow, long long seq, long long length) except -1 nogil
    cdef int reset(self, int flow, long long seq) except -1 nogil
    cdef int end_flow(self, int flow) except -1 nogil
    cdef int close(self, int flow) except -1 nogil
    cdef int forget(self, int flow) except -1 nogil
    cdef int settle(self, int flow) except -1 nogil
    cdef int add_data(self, int flow, long long seq, long long offset, long long length) except -1 nogil
    cdef int make_room(self, int flow, long long length) except -1 nogil
    cdef int skip_hole(self, int flow) except -1 nogil
    cdef int release(self, int flow) except -1 nogil
    cdef int give_up(self, int flow, bint old) except -1 nogil
    cdef int give_up_overdue(self) except -1 nogil
