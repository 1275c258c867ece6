# C types of the tables; tables.py holds the code and runs without this file.
cimport cython

cdef int _new_ones(
    const unsigned long long[::1] value, const long long[::1] ts, long long window,
    const unsigned char[::1] mask,
    unsigned long long[::1] seen, long long[::1] seen_at, unsigned char[::1] out
) except -1
cdef int _take(
    const unsigned long long[::1] value, const long long[::1] ts, double rate, double burst,
    const unsigned char[::1] mask,
    unsigned long long[::1] keys, double[::1] tokens, long long[::1] last, unsigned char[::1] out
) except -1
cdef Py_ssize_t _bucket(
    unsigned long long value, unsigned long long[::1] keys, double[::1] tokens, long long[::1] last, double burst,
    long long now
) except -1 nogil
