# C types of the row writer; rows.py holds the code and runs without this file.
cimport cython
from libc.string cimport memcpy, memset

from hepcat.wire.hep cimport copy_octets

cdef class RowWriter:
    cdef const unsigned char[::1] data
    # out
    cdef Py_ssize_t row
    cdef Py_ssize_t room
    cdef long long[::1] packet
    cdef long long[::1] ts
    cdef long long[::1] offset
    cdef long long[::1] length
    cdef unsigned char[::1] area
    cdef unsigned char[::1] kind
    cdef unsigned char[::1] depth
    cdef unsigned char[::1] truncated
    cdef unsigned char[::1] family
    cdef unsigned char[::1] ip_proto
    cdef unsigned char[::1] src_ip
    cdef unsigned char[::1] dst_ip
    cdef unsigned short[::1] src_port
    cdef unsigned short[::1] dst_port
    cdef unsigned short[::1] vlan
    cdef unsigned int[::1] seq
    cdef unsigned short[::1] bits
    cdef unsigned int[::1] aux
    # the frame being read
    cdef long long end
    cdef long long number
    cdef long long time
    cdef int where
    cdef int frame_vlan
    cdef int tunnels
    cdef int ip_family
    cdef long long src_at
    cdef long long dst_at

    @cython.final
    cdef int port_at(self, long long at) except -1 nogil
    cdef int add_row(
        self, int kind, int protocol, long long ports, long long payload, long long payload_end
    ) except -1 nogil
    @cython.final
    cdef int write_addresses(self) except -1 nogil

cdef int copy_all(
    const unsigned char[::1] data, const long long[::1] offset, const long long[::1] length,
    unsigned char[::1] out, long long[::1] start
) except -1 nogil

cdef int mark_ports(
    const unsigned short[::1] src, const unsigned short[::1] dst, Py_ssize_t n,
    const unsigned short[::1] ranges, unsigned char[::1] out
) except -1 nogil
