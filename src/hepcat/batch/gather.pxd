# C types of the gather kernel; gather.py holds the code and runs without this file.
cimport cython
from libc.string cimport memcpy

cdef extern from *:
    void prefetch "__builtin_prefetch" (const void *) noexcept nogil

# The numbers of schema.py (tests/batch/test_gather.py holds them alike).
cdef enum:
    FIRST_SIP = 3
    FOLDED = 4
    BODY = 29
    TAGS = 30

# How far ahead memory is asked, as in gather.py.
cdef enum:
    FAR = 20
    NEAR = 8
    LINE = 64
    LINE_SLICES = 16
    HEADERS = 640

cdef inline int _copy(
    const unsigned char[::1] source, long long at, unsigned char[::1] target, long long to, long long length
) except -1 nogil
cdef long long _unfold(
    const unsigned char[::1] source, long long at, long long length, unsigned char[::1] target, long long to, bint write
) except -2 nogil
cdef inline int _soon(const unsigned short[:, :, ::1] fields, Py_ssize_t row) noexcept nogil
cdef inline int _soon_slice(const unsigned short[:, :, ::1] fields, Py_ssize_t row, Py_ssize_t column) noexcept nogil
cdef inline int _soon_octet(const unsigned char[::1] buffer, long long at) noexcept nogil
cdef inline int _soon_address(const unsigned char[:, ::1] address, Py_ssize_t row) noexcept nogil
cdef inline int _soon_octets(
    const unsigned char[::1] buffer, const long long[::1] start, const unsigned short[:, :, ::1] fields, Py_ssize_t row
) except -1 nogil
cdef inline bint _is_unfolded(bint folded, int column) noexcept nogil
cdef int _measure(
    const unsigned char[::1] buffer,
    const long long[::1] start,
    const unsigned short[:, :, ::1] fields,
    const unsigned char[::1] flags,
    const long long[::1] rows,
    const int[::1] columns, int[:, ::1] offsets, unsigned char[:, ::1] valid, long long[::1] totals,
    unsigned char[::1] nothing
) except -1
cdef int _fill(
    const unsigned char[::1] buffer,
    const long long[::1] start,
    const unsigned short[:, :, ::1] fields,
    const unsigned char[::1] flags,
    const long long[::1] rows,
    const int[::1] columns,
    const int[:, ::1] offsets,
    const long long[::1] base, unsigned char[::1] data
) except -1
cdef int _sequence(const unsigned char[::1] data, long long at, long long end) except -1 nogil
cdef long long _decimal(int value, unsigned char[::1] out, long long to) except -1 nogil
cdef long long _dotted(
    const unsigned char[:, ::1] address, Py_ssize_t row, unsigned char[::1] out, long long to
) except -1 nogil
cdef long long _group(int value, unsigned char[::1] out, long long to) except -1 nogil
cdef long long _ipv6(
    const unsigned char[:, ::1] address, Py_ssize_t row, unsigned char[::1] out, long long to
) except -1 nogil
cdef int _views(
    const unsigned char[::1] buffer,
    const long long[::1] start,
    const unsigned short[:, :, ::1] fields, Py_ssize_t column,
    const long long[::1] rows, unsigned char[:, ::1] views, unsigned char[::1] valid
) except -1
cdef long long _replace(unsigned char[::1] data, const int[::1] offsets) except -1
cdef long long _addresses(
    const unsigned char[:, ::1] address,
    const unsigned char[::1] family,
    const long long[::1] rows, int[::1] offsets, unsigned char[::1] out
) except -1
cdef int _pack(
    const unsigned char[::1] buffer,
    const long long[::1] start,
    const long long[::1] rows,
    const long long[::1] out_start, unsigned char[::1] out
) except -1
