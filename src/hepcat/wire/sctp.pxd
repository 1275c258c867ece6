# C types of the SCTP assembler; sctp.py holds the code and runs without this file.
cimport cython

from hepcat.wire.held cimport AgeList, BlockPool, KeyTable, LentRows, hash_octets

# The numbers of sctp.py.
cdef enum:
    BLOCK = 512
    WINDOW = 256

cdef class SctpAssembler(LentRows):
    cdef KeyTable table
    cdef KeyTable directions
    cdef BlockPool pool
    cdef AgeList ages
    cdef AgeList direction_ages
    cdef long long timeout
    cdef int max_messages
    cdef int runs
    cdef unsigned long long print_seed
    # by chunk held
    cdef long long[::1] since
    cdef int[::1] size
    cdef int[::1] block
    cdef unsigned char[::1] flags
    cdef unsigned char[::1] cut
    cdef int[::1] run_length
    cdef long long[::1] run_octets
    # by direction
    cdef unsigned int[::1] top
    cdef long long[::1] touched
    cdef unsigned int[::1] prints
    # figures
    cdef readonly long long held
    cdef readonly long long held_octets
    cdef readonly long long used
    cdef readonly long long whole
    # one run: in
    cdef const unsigned int[::1] row_tsn
    cdef const unsigned short[::1] row_flags
    cdef const unsigned int[::1] row_ppid
    # one run: out
    cdef long long[::1] out_source
    cdef long long[::1] out_offset
    cdef long long[::1] out_length
    cdef unsigned char[::1] out_cut
    cdef long long[::1] drops
    cdef long long arena_used
    cdef Py_ssize_t made

    cpdef Py_ssize_t run(self, Py_ssize_t count, long long arena_used) except -1
    cdef int take_row(self, Py_ssize_t i) except -1 nogil
    cdef int write_key(self, Py_ssize_t i) except -1 nogil
    cdef bint seen_before(self, Py_ssize_t i) except -1 nogil
    cdef int fill_prints(self, int slot, unsigned int tsn, int count) except -1 nogil
    cdef int new_direction(self, Py_ssize_t i) except -1 nogil
    cdef unsigned int fingerprint(self, Py_ssize_t i) except? 7 nogil
    cdef int neighbour(self, unsigned int tsn) except -2 nogil
    cdef int hold(self, Py_ssize_t i, int flags) except -1 nogil
    cdef int write_octets(self, int slot, Py_ssize_t i, Py_ssize_t length) except -1 nogil
    cdef int join(self, int slot, unsigned int tsn, Py_ssize_t i) except -1 nogil
    cdef int hand_out(self, unsigned int tsn, int first, Py_ssize_t i) except -1 nogil
    cdef int remove(self, int slot) except -1 nogil
    cdef int push_out(self, int slot) except -1 nogil
    cdef int give_up(self, int slot) except -1 nogil
    cdef int drop_late(self, long long now) except -1 nogil
