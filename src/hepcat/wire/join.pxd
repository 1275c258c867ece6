# C types of the joiner; join.py holds the code and runs without this file.
cimport cython

from hepcat.wire.held cimport AgeList, BlockPool, KeyTable, LentRows, find_octet

# The numbers of join.py: steps of the machine that reads headers.
cdef enum:
    BLOCK = 512
    LINE = 0
    SKIP = 1
    NAME = 2
    COLON = 3
    VALUE = 4
    BLANK = 5
    BODY = 6

cdef class DatagramJoiner(LentRows):
    cdef KeyTable table
    cdef BlockPool pool
    cdef AgeList ages
    cdef long long timeout
    cdef const unsigned char[::1] name
    cdef const unsigned char[::1] version
    cdef object kept
    cdef object row_of_array
    # by message held
    cdef long long[::1] row_of
    cdef long long[::1] since
    cdef int[::1] first
    cdef int[::1] last
    cdef long long[::1] size
    cdef int[::1] parts
    cdef int[::1] step
    cdef int[::1] matched
    cdef long long[::1] header
    cdef long long[::1] content
    # the headers being read
    cdef int now_step
    cdef int now_matched
    cdef long long now_header
    cdef long long now_content
    # figures
    cdef readonly long long held
    cdef readonly long long waiting
    cdef readonly long long held_octets
    cdef readonly long long joined
    cdef readonly long long partial
    cdef readonly bint changed
    # one run: in
    # one run: out
    cdef long long[::1] out_source
    cdef long long[::1] out_packet
    cdef long long[::1] out_offset
    cdef long long[::1] out_length
    cdef long long rows_fed
    cdef long long packet_now
    cdef long long arena_used
    cdef Py_ssize_t made

    cpdef Py_ssize_t run(self, Py_ssize_t count, long long arena_used) except -1
    cdef int take_row(self, Py_ssize_t i) except -1 nogil
    cdef int take_octets(self, const unsigned char[::1] octets, Py_ssize_t i) except -1 nogil
    cdef int pass_by(self, Py_ssize_t i) except -1 nogil
    cdef int find_slot(self, Py_ssize_t i) except -2 nogil
    cdef bint begins_sip(self, const unsigned char[::1] octets, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef bint is_version(self, const unsigned char[::1] octets, Py_ssize_t at) except -1 nogil
    cdef bint is_stun(self, const unsigned char[::1] octets, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef int start_reading(self) except -1 nogil
    cdef int read_headers(self, const unsigned char[::1] octets, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef int read_octet(self, int octet) except -1 nogil
    cdef bint wants_more(self, long long size) except -1 nogil
    cdef int hold(self, const unsigned char[::1] octets, Py_ssize_t i) except -1 nogil
    cdef int append(self, int slot, const unsigned char[::1] octets, Py_ssize_t i) except -1 nogil
    cdef int write_octets(self, int slot, const unsigned char[::1] octets, Py_ssize_t i) except -1 nogil
    cdef int hand_out(self, int slot, Py_ssize_t i) except -1 nogil
    cdef int push_out(self, int slot, Py_ssize_t i) except -1 nogil
    cdef int drop_late(self, long long now) except -1 nogil
