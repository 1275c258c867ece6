# C types of the TCP kernel; tcp.py holds the code and runs without this file.
cimport cython

from hepcat.wire.held cimport AgeList, KeyTable
from hepcat.wire.tcp_flows cimport CLOSED, DATA, KEPT, MOST_STRETCHES, NONE, OPENED, PSH, RST, SYN, TcpFlows

# The numbers of tcp.py.
cdef enum:
    ENDED_LIST = 0
    OPENED_LIST = 1
    DATA_LIST = 2

@cython.final
cdef class Streams(TcpFlows):
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
    # bounds
    cdef long long idle_us
    # streams
    cdef readonly KeyTable table
    cdef AgeList ended
    cdef AgeList opened
    cdef AgeList carrying
    cdef unsigned char[::1] list_of
    cdef long long[::1] last
    # flows
    cdef unsigned char[::1] flow_family
    cdef unsigned int[::1] flow_src
    cdef unsigned int[::1] flow_dst
    cdef unsigned short[::1] flow_src_port
    cdef unsigned short[::1] flow_dst_port
    cdef unsigned short[::1] flow_vlan
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
