# C types of the TCP kernel; tcp.py holds the code and runs without this file.
cimport cython

from hepcat.wire.held cimport AgeList, BLOCK, KeyTable
from hepcat.wire.tcp_pieces cimport Pieces

# The numbers of tcp.py.
cdef enum:
    NONE = 0
    OPENED = 1
    DATA = 2
    CLOSED = 3
    ENDED_LIST = 0
    OPENED_LIST = 1
    DATA_LIST = 2

@cython.final
cdef class Streams(Pieces):
    # in
    cdef const long long[::1] rows
    cdef const long long[::1] packet
    cdef const long long[::1] ts
    cdef const long long[::1] offset
    cdef const long long[::1] length
    cdef const unsigned char[::1] area
    cdef const unsigned char[::1] family
    cdef const unsigned short[::1] vlan
    cdef const unsigned short[::1] src_port
    cdef const unsigned short[::1] dst_port
    cdef const unsigned int[::1] seq
    cdef const unsigned short[::1] bits
    cdef const unsigned int[::1] src_ip
    cdef const unsigned int[::1] dst_ip
    # out
    # bounds
    cdef long long idle_us
    cdef long long gap_us
    cdef long long ahead
    cdef long long far
    # streams
    cdef readonly KeyTable table
    cdef AgeList ended
    cdef AgeList opened
    cdef AgeList carrying
    cdef unsigned char[::1] list_of
    cdef long long[::1] last
    # flows
    cdef AgeList waiting
    cdef unsigned char[::1] is_waiting
    cdef unsigned char[::1] state
    cdef long long[::1] isn
    cdef long long[::1] fin_at
    cdef long long[::1] since
    cdef unsigned char[::1] flow_family
    cdef unsigned int[::1] flow_src
    cdef unsigned int[::1] flow_dst
    cdef unsigned short[::1] flow_src_port
    cdef unsigned short[::1] flow_dst_port
    cdef unsigned short[::1] flow_vlan
    cdef int[::1] flow_peer
    # the segment being read
    cdef int way

    cpdef Py_ssize_t run(self, Py_ssize_t first, Py_ssize_t n) except -1
    cpdef bint run_expire(self, long long now_us) except -1
    cdef int add_segment(self, long long row) except -1 nogil
    cdef int find_stream(self, long long row) except -2 nogil
    cdef int admit(self, long long row) except -2 nogil
    cdef int write_addresses(self, int flow, long long row, bint turned) except -1 nogil
    cdef int sort_stream(self, int slot) except -1 nogil
    cdef int unlist(self, int slot) except -1 nogil
    cdef int evict(self, int slot) except -1 nogil
    cdef bint expire_list(self, AgeList streams) except -1 nogil
    cdef int take_segment(self, int flow, int flags, long long seq, long long offset, long long length) except -1 nogil
    cdef int open_flow(self, int flow, long long isn) except -1 nogil
    cdef int begin(self, int flow, long long isn, int marks) except -1 nogil
    cdef bint may_take(self, int flow, long long seq, long long length) except -1 nogil
    cdef int reset(self, int flow, long long seq) except -1 nogil
    cdef int end_flow(self, int flow) except -1 nogil
    cdef int close(self, int flow) except -1 nogil
    cdef int settle(self, int flow) except -1 nogil
    cdef int add_data(self, int flow, long long seq, long long offset, long long length) except -1 nogil
    cdef int make_room(self, int flow, long long length) except -1 nogil
    cdef int skip_hole(self, int flow) except -1 nogil
    cdef int release(self, int flow) except -1 nogil
    cdef int give_up(self, int flow, bint old) except -1 nogil
    cdef int give_up_overdue(self) except -1 nogil
