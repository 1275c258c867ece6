# C types of the ring walker; tpacket.py holds the code and runs without this file.
cimport cython
from libc.stdint cimport int64_t

cdef extern from *:
    void synchronize "__sync_synchronize" () noexcept nogil

cdef int fence() noexcept nogil

@cython.final
cdef class BlockWalker:
    cdef const unsigned char[::1] octets
    cdef const unsigned short[::1] halves
    cdef unsigned int[::1] words
    cdef long long size
    cdef long long block_octets
    cdef bint cooked
    cdef readonly long long left
    cdef long long at
    cdef long long end
    # what the current call writes
    cdef Py_ssize_t row
    cdef long long[::1] offset
    cdef long long[::1] captured
    cdef long long[::1] original
    cdef long long[::1] ts
    cdef long long[::1] link
    cdef long long[::1] vlan
    cdef long long[::1] drops

    cdef int64_t checked(self, long long block) except -1 nogil
    cdef int walk(self, Py_ssize_t room) except -1 nogil
    cdef int give_up(self) except -1 nogil
    cdef inline int add(self, long long at) except -2 nogil
    cdef inline int64_t link_of(self, long long at, long long frame, int hatype) except -1 nogil
    cdef bint is_tagged(self, long long word, long long frame, long long kind) except -1 nogil
    cdef inline int64_t vlan_of(self, long long word) except -1 nogil
