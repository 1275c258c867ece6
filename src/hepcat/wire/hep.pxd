# C types of the HEP decoder; hep.py holds the code and runs without this file.
cimport cython
from libc.stdint cimport int64_t
from libc.string cimport memcpy

cdef int copy_octets(
    unsigned char[::1] dst, Py_ssize_t d, const unsigned char[::1] src, Py_ssize_t s, Py_ssize_t n
) except -1 nogil

cdef class Decoder:
    # in
    cdef const unsigned char[::1] data
    cdef const long long[::1] offsets
    cdef const long long[::1] lengths
    cdef long long received
    cdef const unsigned char[::1] key_octets
    cdef const long long[::1] key_starts
    cdef const unsigned char[::1] name_octets
    cdef const long long[::1] name_starts
    cdef Py_ssize_t key_count
    cdef Py_ssize_t inflate_bound
    # out
    cdef unsigned char[::1] buffer
    cdef long long[::1] start
    cdef long long[::1] ts
    cdef unsigned char[::1] family
    cdef unsigned char[::1] ip_proto
    cdef unsigned char[::1] src_ip
    cdef unsigned char[::1] dst_ip
    cdef unsigned short[::1] src_port
    cdef unsigned short[::1] dst_port
    cdef unsigned short[::1] vlan
    cdef unsigned char[::1] hep_type
    cdef unsigned int[::1] node_id
    cdef unsigned short[::1] fields
    cdef long long[::1] drops
    cdef Py_ssize_t capacity
    cdef Py_ssize_t slots
    cdef Py_ssize_t row
    # the message being decoded
    cdef const unsigned char[::1] inflated
    cdef Py_ssize_t key_at
    cdef Py_ssize_t key_len
    cdef Py_ssize_t agent
    cdef Py_ssize_t payload_at
    cdef Py_ssize_t payload_len
    cdef bint compressed
    cdef Py_ssize_t corr_at
    cdef Py_ssize_t corr_len
    cdef Py_ssize_t name_at
    cdef Py_ssize_t name_len
    cdef Py_ssize_t tags_at
    cdef Py_ssize_t tags_len
    cdef int msg_family
    cdef Py_ssize_t addr_len
    cdef Py_ssize_t src4_at
    cdef Py_ssize_t dst4_at
    cdef Py_ssize_t src6_at
    cdef Py_ssize_t dst6_at
    cdef int msg_proto
    cdef int msg_src_port
    cdef int msg_dst_port
    cdef int msg_type
    cdef int msg_vlan
    cdef long long msg_node
    cdef long long msg_sec
    cdef long long msg_usec

    cdef inline int _be16(self, Py_ssize_t pos) except -1 nogil
    cdef inline int64_t _be32(self, Py_ssize_t pos) except -1 nogil
    cdef inline int64_t _le32(self, Py_ssize_t pos) except -1 nogil
    cdef inline void _reset(self) noexcept nogil
    cdef int _parse(self, Py_ssize_t pos, Py_ssize_t length) except -1 nogil
    cdef int _parse_hep12(self, Py_ssize_t pos, Py_ssize_t length) except -1 nogil
    cdef int _parse_hep2_time(self, Py_ssize_t pos) except -1 nogil
    cdef int _parse_hep3(self, Py_ssize_t pos, Py_ssize_t length) except -1 nogil
    cdef inline int _chunk(self, int kind, Py_ssize_t pos, Py_ssize_t n) except -1 nogil
    cdef inline int _check_addresses(self) except -1 nogil
    cdef int _match_key(self) except -1 nogil
    cdef int _inflate(self) except -1
    cdef int _append(self) except -1 nogil
    cdef int _address(
        self, unsigned char[::1] out, Py_ssize_t pos4, Py_ssize_t pos6
    ) except -1 nogil
    cpdef Py_ssize_t run(self, Py_ssize_t count) except -1
