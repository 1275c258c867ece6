# C types of the frame decoder; frames.py holds the code and runs without this file.
cimport cython

from hepcat.wire.hep cimport copy_octets

@cython.final
cdef class FrameDecoder:
    # in
    cdef const unsigned char[::1] data
    cdef const long long[::1] frame_offset
    cdef const long long[::1] frame_captured
    cdef const long long[::1] frame_original
    cdef const long long[::1] frame_link
    # out
    cdef Py_ssize_t row
    cdef Py_ssize_t room
    cdef long long[::1] packet
    cdef long long[::1] offset
    cdef long long[::1] length
    cdef unsigned char[::1] truncated
    cdef unsigned char[::1] family
    cdef unsigned char[::1] ip_proto
    cdef unsigned char[::1] src_ip
    cdef unsigned char[::1] dst_ip
    cdef unsigned short[::1] src_port
    cdef unsigned short[::1] dst_port
    cdef unsigned short[::1] vlan
    cdef long long[::1] drops
    # the frame being read
    cdef long long end
    cdef long long wire_end
    cdef int frame_vlan
    cdef int ip_family
    cdef long long src_at
    cdef long long dst_at

    cdef inline int be16(self, long long at) except -1 nogil
    cdef int parse_all(self, Py_ssize_t count) except -1 nogil
    cdef int parse_frame(self, Py_ssize_t i) except -1 nogil
    cdef int parse_link(self, long long link, long long at) except -1 nogil
    cdef int parse_ethertype(self, int kind, long long at) except -1 nogil
    cdef int parse_loopback(self, long long at) except -1 nogil
    cdef int parse_ip(self, long long at) except -1 nogil
    cdef int parse_ipv4(self, long long at) except -1 nogil
    cdef int parse_ipv6(self, long long at) except -1 nogil
    cdef int parse_extensions(self, int kind, long long at, long long ip_end) except -1 nogil
    cdef int parse_transport(self, int protocol, long long at, long long ip_end) except -1 nogil
    cdef int parse_udp(self, long long at, long long ip_end) except -1 nogil
    cdef int add_datagram(
        self, int protocol, long long at, long long payload, long long payload_end
    ) except -1 nogil
    cdef int write_address(self, unsigned char[::1] out, long long at) except -1 nogil

cdef int copy_all(
    const unsigned char[::1] data, const long long[::1] offset, const long long[::1] length,
    unsigned char[::1] out, long long[::1] start
) except -1 nogil
