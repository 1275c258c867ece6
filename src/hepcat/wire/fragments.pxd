# C types of the defragmenter; fragments.py holds the code and runs without this file.
cimport cython

from hepcat.wire.held cimport AgeList, BlockPool, KeyTable, LentRows, same_octets
from hepcat.wire.hep cimport copy_octets

cdef extern from *:
    int popcount "__builtin_popcountll" (unsigned long long units) noexcept nogil

# The numbers of fragments.py.
cdef enum:
    BLOCK = 512
    PAGES = 128
    OPEN = 0
    DONE = 1
    GIVEN_UP = 2

cdef class Defragmenter(LentRows):
    cdef KeyTable table
    cdef BlockPool pool
    cdef AgeList open
    cdef AgeList done
    cdef long long timeout
    # by block: which units of eight octets are there
    cdef unsigned long long[::1] units
    # by slot
    cdef unsigned char[::1] state
    cdef unsigned char[::1] protocol
    cdef long long[::1] since
    cdef int[::1] total
    cdef int[::1] more_end
    cdef int[::1] have
    cdef int[::1] top
    cdef int[::1] pieces
    cdef long long[::1] octets
    cdef int[::1] reason
    cdef int[::1] pages
    # figures and results
    cdef readonly long long held
    cdef readonly long long held_octets
    cdef readonly long long used
    cdef readonly object packet_of
    cdef readonly object depth_of
    # one run: in
    cdef const unsigned char[::1] row_depth
    cdef const unsigned int[::1] row_id
    cdef const unsigned short[::1] row_bits
    cdef const unsigned char[::1] row_src
    cdef const unsigned char[::1] row_dst
    # one run: out
    cdef long long[::1] out_offset
    cdef long long[::1] out_captured
    cdef long long[::1] out_original
    cdef long long[::1] out_ts
    cdef long long[::1] out_link
    cdef long long[::1] out_vlan
    cdef long long[::1] out_packet
    cdef long long[::1] out_depth
    cdef long long[::1] drops
    cdef long long arena_used
    cdef Py_ssize_t first
    cdef Py_ssize_t row

    cpdef run(self, Py_ssize_t count, long long arena_used, Py_ssize_t first)
    cdef int take_row(self, Py_ssize_t i) except -1 nogil
    cdef int write_key(self, Py_ssize_t i) except -1 nogil
    cdef int find_slot(self, Py_ssize_t i, int begin, int length, bint more) except -2 nogil
    cdef bint repeats(self, int slot, Py_ssize_t i, int begin, int length, bint more) except -1 nogil
    cdef int hold(self, int slot, Py_ssize_t i, int begin, int length, bint more) except -1 nogil
    cdef inline unsigned long long units_of(self, int page, int begin, int end) noexcept nogil
    cdef int compare(self, int slot, Py_ssize_t i, int begin, int length) except -2 nogil
    cdef bint same_units(
        self, int block, int page, unsigned long long units, Py_ssize_t i, int begin, int end
    ) except -1 nogil
    cdef bint make_room(self, int slot, int begin, int end) except -1 nogil
    cdef int write_octets(self, int slot, Py_ssize_t i, int begin, int length) except -1 nogil
    cdef int hand_out(self, int slot, Py_ssize_t i) except -1 nogil
    cdef inline int put16(self, long long at, int value) except -1 nogil
    cdef int write_ipv4(self, int slot, Py_ssize_t i, long long at) except -1 nogil
    cdef int write_ipv6(self, int slot, Py_ssize_t i, long long at) except -1 nogil
    cdef int let_go(self, int slot) except -1 nogil
    cdef int free_blocks(self, int slot) except -1 nogil
    cdef int give_up(self, int slot, int reason) except -1 nogil
    cdef int remove(self, int slot) except -1 nogil
    cdef int push_out(self, int slot) except -2 nogil
    cdef int push_oldest(self) except -2 nogil
    cdef int drop_late(self, long long now) except -1 nogil
