# C types of what reassembly holds; held.py holds the code and runs without this file.
cimport cython
from libc.string cimport memcmp, memcpy

from hepcat.wire.hep cimport copy_octets

cdef extern from *:
    """
    #include <string.h>
    static inline Py_ssize_t octet_at(const unsigned char *octets, int octet, Py_ssize_t n) {
        const void *place = memchr(octets, octet, (size_t)n);
        return place ? (const unsigned char *)place - octets : n;
    }
    """
    Py_ssize_t octet_at(const unsigned char *octets, int octet, Py_ssize_t n) noexcept nogil

# The numbers of held.py.
cdef enum:
    WORDS = 11
    PROBES = 32
    BLOCK = 512

cdef int same_octets(
    const unsigned char[::1] a, Py_ssize_t at, const unsigned char[::1] b, Py_ssize_t bt, Py_ssize_t n
) except -1 nogil
cdef Py_ssize_t find_octet(
    const unsigned char[::1] a, Py_ssize_t at, Py_ssize_t end, int octet
) except -1 nogil
cdef unsigned int hash_octets(
    const unsigned char[::1] a, Py_ssize_t at, Py_ssize_t n, unsigned long long seed
) except? 7 nogil

cdef class AgeList:
    cdef int[::1] older
    cdef int[::1] newer
    cdef int oldest
    cdef int newest

    cdef int push(self, int slot) except -1 nogil
    cdef int remove(self, int slot) except -1 nogil

cdef class KeyTable:
    cdef const unsigned long long[::1] factor
    cdef unsigned int[::1] key
    cdef unsigned int[::1] keys
    cdef int[::1] heads
    cdef int[::1] chain
    cdef long long[::1] bucket_of
    cdef long long mask
    cdef long long bucket
    cdef readonly int slots
    cdef readonly int count
    cdef int fresh
    cdef int free
    cdef int crowded

    cdef long long hash_key(self) except -1 nogil
    cdef bint same_key(self, int slot) except -1 nogil
    cdef int find(self) except -2 nogil
    cdef int add(self) except -1 nogil
    cdef int remove(self, int slot) except -1 nogil

cdef class LentRows:
    cdef const unsigned char[::1] data
    cdef const unsigned char[::1] arena_read
    cdef unsigned char[::1] arena
    cdef const long long[::1] rows
    cdef const long long[::1] row_packet
    cdef const long long[::1] row_ts
    cdef const long long[::1] row_offset
    cdef const long long[::1] row_length
    cdef const unsigned char[::1] row_area
    cdef const unsigned char[::1] row_truncated
    cdef const unsigned char[::1] row_family
    cdef const unsigned char[::1] row_proto
    cdef const unsigned short[::1] row_src_port
    cdef const unsigned short[::1] row_dst_port
    cdef const unsigned short[::1] row_vlan
    cdef const unsigned int[::1] row_src_words
    cdef const unsigned int[::1] row_dst_words

    cdef int write_direction(self, KeyTable table, Py_ssize_t i) except -1 nogil

cdef class BlockPool:
    cdef unsigned char[::1] octets
    cdef const unsigned char[::1] const_octets
    cdef int[::1] next
    cdef readonly int blocks
    cdef readonly int left
    cdef int fresh
    cdef int free
    cdef int first

    cdef int take(self) except -2 nogil
    cdef int give(self, int block) except -1 nogil
    cdef int give_chain(self, int block) except -1 nogil
    cdef int append(
        self, int last, Py_ssize_t used, const unsigned char[::1] data, Py_ssize_t at, Py_ssize_t n
    ) except -2 nogil
    cdef long long need(self, Py_ssize_t used, Py_ssize_t n) except -1 nogil
    cdef int copy_out(self, int block, Py_ssize_t n, unsigned char[::1] out, Py_ssize_t at) except -1 nogil
