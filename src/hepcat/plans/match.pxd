# C types of the matching kernel; match.py holds the code and runs without this file.
cimport cython
from libc.string cimport memchr, memcpy

cdef enum:
    PREFIX = 0
    SUFFIX = 1
    EQUAL = 2

cdef bint _same(
    const unsigned char[::1] buffer, Py_ssize_t at, const unsigned char[::1] text, Py_ssize_t size, bint fold
) except -1 nogil
cdef int _compare(
    const unsigned char[::1] buffer,
    const long long[::1] at, const long long[::1] size,
    const unsigned char[::1] text, int how, bint fold,
    const unsigned char[::1] mask, unsigned char[::1] out
) except -1
cdef int _compare_field(
    const unsigned char[::1] buffer,
    const long long[::1] start,
    const unsigned short[:, :, ::1] fields, Py_ssize_t field,
    const unsigned char[::1] text, int how, bint fold,
    const unsigned char[::1] mask, unsigned char[::1] out
) except -1
cdef int _ranges(
    const unsigned char[:, ::1] address,
    const unsigned char[:, ::1] low, const unsigned char[:, ::1] high,
    const unsigned char[::1] mask, unsigned char[::1] out
) except -1
cdef bint _within(
    const unsigned char[:, ::1] address, Py_ssize_t row,
    const unsigned char[:, ::1] low, const unsigned char[:, ::1] high, Py_ssize_t i
) except -1 nogil
cdef unsigned long long _word(const unsigned char[::1] buffer, Py_ssize_t at, Py_ssize_t size) except? 7 nogil
cdef unsigned long long _stir(unsigned long long value, unsigned long long word) noexcept nogil
cdef unsigned long long _finish(unsigned long long value) noexcept nogil
cdef unsigned long long _hash(
    const unsigned char[::1] buffer, Py_ssize_t at, Py_ssize_t size, unsigned long long seed
) except? 7 nogil
cdef int _hash_all(
    const unsigned char[::1] buffer, const long long[::1] at, const long long[::1] size,
    unsigned long long seed, const unsigned char[::1] mask, unsigned long long[::1] out
) except -1
cdef Py_ssize_t _find(const unsigned char[::1] buffer, int octet, Py_ssize_t lo, Py_ssize_t hi) except -1 nogil
cdef Py_ssize_t _named(
    const unsigned char[::1] buffer, Py_ssize_t lo, Py_ssize_t hi, const unsigned char[::1] name
) except -1 nogil
cdef int _find_header(
    const unsigned char[::1] buffer, Py_ssize_t row, Py_ssize_t lo, Py_ssize_t hi,
    const unsigned char[::1] name, const unsigned char[::1] compact,
    long long[::1] out_at, long long[::1] out_size
) except -1 nogil
cdef int _find_headers(
    const unsigned char[::1] buffer, const long long[::1] at, const long long[::1] size,
    const unsigned char[::1] name, const unsigned char[::1] compact,
    const unsigned char[::1] mask, long long[::1] out_at, long long[::1] out_size
) except -1
