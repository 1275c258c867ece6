# C types of the ordering kernel; order.py holds the code and runs without this file.
cimport cython
from libc.string cimport memcpy

cdef extern from *:
    void prefetch "__builtin_prefetch" (const void *) noexcept nogil

# The number of schema.py (tests/batch/test_order.py holds them alike).
cdef enum:
    CALL_ID = 14

cdef inline unsigned long long _word(
    const unsigned char[::1] buffer, Py_ssize_t at, Py_ssize_t size
) except? 7 nogil
cdef inline unsigned long long _hash(
    const unsigned char[::1] buffer, Py_ssize_t at, Py_ssize_t size
) except? 7 nogil
cdef inline int _soon(const unsigned char[::1] buffer, Py_ssize_t at) noexcept nogil
cdef Py_ssize_t _number(
    const unsigned char[::1] buffer,
    const long long[::1] start,
    const unsigned short[:, :, ::1] fields,
    const long long[::1] rows,
    unsigned long long[::1] hashes, int[::1] groups, int[::1] of, long long[::1] counts
) except -1
cdef int _place(const long long[::1] rows, const int[::1] of, long long[::1] at, long long[::1] out) except -1
