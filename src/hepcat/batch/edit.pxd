# C types of the edit kernel; edit.py holds the code and runs without this file.
cimport cython

from hepcat.batch.gather cimport _copy

cdef int _scatter(
    const unsigned char[::1] source, const long long[::1] at, const long long[::1] length,
    unsigned char[::1] target, const long long[::1] to
) except -1
