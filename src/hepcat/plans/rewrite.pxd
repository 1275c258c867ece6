# C types of the rewriting kernel; rewrite.py holds the code and runs without this file.
cimport cython
from libc.string cimport memcpy
from hepcat.plans.match cimport _find, _named

cdef bint _named_before(const unsigned char[::1] data, Py_ssize_t end, const unsigned char[::1] name) except -1 nogil

@cython.final
cdef class HeaderEditor:
    cdef const unsigned char[::1] data
    cdef const unsigned char[::1] name
    cdef const unsigned char[::1] compact
    cdef const unsigned char[::1] line
    cdef unsigned char[::1] out
    cdef Py_ssize_t used
    cdef bint placed, found
    cpdef int run(
        self, const long long[::1] at, const long long[::1] size, const unsigned char[::1] mask,
        long long[::1] out_at, long long[::1] out_size
    ) except -1
    cdef int copy(self, const unsigned char[::1] source, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int edit(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil

@cython.final
cdef class Scrambler:
    cdef unsigned char[::1] data
    cdef const unsigned char[::1] kept
    cdef const unsigned char[::1] names
    cdef const long long[::1] name_at
    cdef const unsigned char[::1] username
    cdef unsigned long long key0, key1, v0, v1, v2, v3, state
    cdef long long[::1] group_at, group_digits, group_value
    cdef unsigned char[::1] octets
    cdef Py_ssize_t after
    cdef bint loose
    cpdef int run(
        self, const long long[::1] at, const long long[::1] size, const unsigned char[::1] mask, int what
    ) except -1
    cpdef int run_text(
        self, const long long[::1] at, const long long[::1] size, const unsigned char[::1] mask
    ) except -1
    cpdef int run_columns(self, unsigned char[:, ::1] address, const unsigned char[::1] mask) except -1
    cdef int message(self, Py_ssize_t lo, Py_ssize_t hi, int what) except -1 nogil
    cdef Py_ssize_t body_of(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int hash_round(self) noexcept nogil
    cdef int hash_begin(self) noexcept nogil
    cdef int hash_word(self, unsigned long long word) noexcept nogil
    cdef int hash_end(self, unsigned long long word) noexcept nogil
    cdef int hash_token(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int hash_octets(self, Py_ssize_t count) except -1 nogil
    cdef unsigned long long draw(self, unsigned long long bound) noexcept nogil
    cdef bint is_kept(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int scramble(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int digit_runs(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int numbers(self, Py_ssize_t lo, Py_ssize_t body, Py_ssize_t hi) except -1 nogil
    cdef int uris(self, Py_ssize_t lo, Py_ssize_t hi, bint whole) except -1 nogil
    cdef int scheme(self, Py_ssize_t lo, Py_ssize_t colon) except -1 nogil
    cdef Py_ssize_t sip_uri(self, Py_ssize_t at, Py_ssize_t hi, bint bracketed) except -1 nogil
    cdef Py_ssize_t tel_uri(self, Py_ssize_t at, Py_ssize_t hi) except -1 nogil
    cdef int header(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int display(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef Py_ssize_t quoted(self, Py_ssize_t at, Py_ssize_t hi) except -1 nogil
    cdef int credentials(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int sdp(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int sdp_line(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef bint begins(self, Py_ssize_t lo, Py_ssize_t hi, Py_ssize_t name) except -1 nogil
    cdef int addresses(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef Py_ssize_t last_octet(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef bint ipv4(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int put_ipv4(self) except -1 nogil
    cdef int new_ipv4(self) except -1 nogil
    cdef bint ipv6(self, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
    cdef int put_ipv6(self, Py_ssize_t count, Py_ssize_t gap) except -1 nogil
    cdef int new_ipv6(self) except -1 nogil
    cdef bint mapped_address(self, Py_ssize_t lo, Py_ssize_t hi, Py_ssize_t count, Py_ssize_t gap) except -1 nogil
    cdef int hex_value(self, int octet) noexcept nogil
    cdef bint is_digit(self, int octet) noexcept nogil
    cdef bint is_alnum(self, int octet) noexcept nogil
