# C types of the messages of streams; messages.py holds the code and runs without this file.
cimport cython

from hepcat.wire.held cimport AgeList, BlockPool
from hepcat.wire.hep cimport copy_octets

# Octets of a flow that can wait until they tell what it carries.
cdef enum:
    PREFIX = 32

cdef class Messages:
    # in
    cdef const unsigned char[::1] data
    cdef const long long[::1] rows
    cdef const int[::1] in_flow
    cdef const unsigned char[::1] marks
    cdef const long long[::1] packet
    cdef const long long[::1] ts
    cdef const unsigned char[::1] in_area
    cdef const long long[::1] offset
    cdef const long long[::1] length
    cdef const unsigned char[::1] flow_family
    cdef const unsigned short[::1] flow_vlan
    cdef const unsigned long long[::1] flow_src
    cdef const unsigned long long[::1] flow_dst
    cdef const unsigned short[::1] flow_src_port
    cdef const unsigned short[::1] flow_dst_port
    cdef const int[::1] peer
    cdef unsigned char[::1] protocol
    # out
    cdef unsigned char[::1] arena
    cdef const unsigned char[::1] arena_in
    cdef public long long used
    cdef public Py_ssize_t row
    cdef Py_ssize_t room
    cdef long long[::1] out_packet
    cdef long long[::1] out_ts
    cdef long long[::1] out_offset
    cdef long long[::1] out_length
    cdef unsigned char[::1] out_area
    cdef unsigned char[::1] out_kind
    cdef unsigned char[::1] out_depth
    cdef unsigned char[::1] out_truncated
    cdef unsigned char[::1] out_family
    cdef unsigned char[::1] out_proto
    cdef unsigned short[::1] out_vlan
    cdef unsigned short[::1] out_src_port
    cdef unsigned short[::1] out_dst_port
    cdef unsigned int[::1] out_seq
    cdef unsigned short[::1] out_bits
    cdef unsigned int[::1] out_aux
    cdef unsigned long long[::1] out_src
    cdef unsigned long long[::1] out_dst
    cdef long long[::1] drops
    # flows
    cdef BlockPool pool
    cdef long long longest
    cdef AgeList holders
    cdef int[::1] head
    cdef int[::1] tail
    cdef long long[::1] held_of
    cdef unsigned char[::1] lost
    cdef unsigned char[::1] prefix
    cdef const unsigned char[::1] prefix_in
    cdef unsigned char[::1] prefix_size
    cdef readonly long long held
    # compressed messages, for the wrapper: row, then flow with marks
    cdef readonly long long[::1] deflated
    cdef readonly Py_ssize_t noted
    # the stretch being read
    cdef const unsigned char[::1] buf
    cdef int area
    cdef int flow
    cdef long long this_packet
    cdef long long this_ts

    cdef int read_from(self, int area) except -1 nogil
    cdef bint keep(self, long long lo, long long hi) except -1 nogil
    cdef int drop_partial(self, int flow) except -1 nogil
    cdef int discard(self, int flow) except -1 nogil
    cdef Py_ssize_t copy_held(self) except -1 nogil
    cdef int emit_slice(self, long long lo, long long hi) except -1 nogil
    cdef int emit(self, int area, long long offset, long long length) except -1 nogil
