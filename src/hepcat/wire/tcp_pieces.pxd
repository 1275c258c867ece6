# C types of the pieces that TCP streams hold; tcp_pieces.py holds the code and runs without this file.
cimport cython

from hepcat.wire.held cimport BLOCK, BlockPool
from hepcat.wire.hep cimport copy_octets

cdef class Pieces:
    cdef const unsigned char[::1] data
    cdef unsigned char[::1] arena
    cdef const unsigned char[::1] arena_in
    cdef public long long used
    cdef public Py_ssize_t row
    cdef Py_ssize_t room
    cdef int[::1] out_flow
    cdef unsigned char[::1] out_marks
    cdef long long[::1] out_packet
    cdef long long[::1] out_ts
    cdef unsigned char[::1] out_area
    cdef long long[::1] out_offset
    cdef long long[::1] out_length
    cdef long long[::1] drops
    cdef BlockPool pool
    cdef long long[::1] fed
    cdef long long[::1] next_seq
    cdef unsigned char[::1] pending
    cdef unsigned char[::1] begun
    cdef int[::1] head
    cdef int[::1] tail
    cdef int[::1] pieces
    cdef long long[::1] flow_held
    cdef long long[::1] flow_segments
    cdef long long[::1] piece_seq
    cdef long long[::1] piece_size
    cdef long long[::1] piece_ts
    cdef int[::1] piece_segments
    cdef readonly long long held
    cdef readonly long long held_segments
    cdef readonly long long passed
    cdef public long long feeds
    cdef long long now
    cdef long long stamp
    cdef long long this_packet
    cdef int this_area
    cdef int outcome
    cdef inline long long distance(self, long long a, long long b) noexcept nogil
    cdef int emit(self, int flow, int area, long long offset, long long length) except -1 nogil
    cdef int hold(self, int flow, long long seq, long long offset, long long length) except -1 nogil
    cdef inline Py_ssize_t past(self, int piece, long long seq) except? -77 nogil
    cdef int insert_piece(self, int flow, int before, int after, long long seq) except -2 nogil
    cdef int fill_piece(self, int flow, int piece, long long offset, long long size) except -1 nogil
    cdef int drain(self, int flow, bint late) except -1 nogil
