# C types of the packing kernel; packing.py holds the code and runs without this file.
cimport cython
from libc.string cimport memcpy

cdef inline int _copy(
    const unsigned char[::1] source, long long at, unsigned char[::1] target, long long to, long long length
) except -1 nogil
cdef long long _pack(
    const int[::1] offsets, const unsigned char[::1] data, unsigned char[::1] out
) except -1
cdef int _sum(
    const int[::1] offsets, const unsigned char[::1] data, const unsigned int[::1] table, unsigned int[::1] sums
) except -1
