# C types of the HEP encoder; hep_encode.py holds the code and runs without this file.
cimport cython
from libc.stdint cimport int64_t
from hepcat.wire.hep cimport copy_octets

@cython.final
cdef class Encoder:
    # in: the batch
    cdef const long long[::1] rows
    cdef const unsigned char[::1] buffer
    cdef const long long[::1] start
    cdef const long long[::1] ts
    cdef const unsigned char[::1] family
    cdef const unsigned char[::1] ip_proto
    cdef const unsigned char[::1] src_ip
    cdef const unsigned char[::1] dst_ip
    cdef const unsigned short[::1] src_port
    cdef const unsigned short[::1] dst_port
    cdef const unsigned short[::1] vlan
    cdef const unsigned char[::1] hep_type
    cdef const unsigned int[::1] node_id
    cdef const unsigned short[::1] fields
    cdef Py_ssize_t slots
    # in: what to write
    cdef const unsigned char[::1] heads
    cdef const unsigned char[::1] key
    cdef const unsigned char[::1] packed
    cdef const long long[::1] packed_at
    cdef bint compress
    cdef bint little
    cdef long long capture_id
    cdef long long default_id
    cdef const unsigned char[::1] name
    # out
    cdef unsigned char[::1] out
    cdef long long[::1] offsets
    cdef Py_ssize_t pos

    cdef inline int64_t _node(self, Py_ssize_t row) except -1 nogil
    cdef inline int _put8(self, int value) except -1 nogil
    cdef inline int _put16(self, int value) except -1 nogil
    cdef inline int _set16(self, Py_ssize_t at, int value) except -1 nogil
    cdef inline int _set32(self, Py_ssize_t at, long long value) except -1 nogil
    cdef inline int _put32(self, long long value) except -1 nogil
    cdef inline int _put16_in_order(self, int value) except -1 nogil
    cdef inline int _put32_in_order(self, long long value) except -1 nogil
    cdef inline int _head(self, int kind, Py_ssize_t size) except -1 nogil
    cdef inline int _copy(self, const unsigned char[::1] src, Py_ssize_t at, Py_ssize_t n) except -1 nogil
    cdef int _slice(self, int kind, Py_ssize_t row, Py_ssize_t index) except -1 nogil
    cdef Py_ssize_t _size3(self, Py_ssize_t i, Py_ssize_t row) except -1 nogil
    cdef int _encode3(self, Py_ssize_t i, Py_ssize_t row, Py_ssize_t total) except -1 nogil
    cdef int _encode12(self, Py_ssize_t row, int version) except -1 nogil
    cpdef int run(self, int version) except -1
