# C types of the scattered copy; scatter.py holds the code and runs without this file.
cimport cython

from hepcat.wire.hep cimport copy_octets

cdef int scatter_all(
    const unsigned char[::1] data, const long long[::1] offset, const long long[::1] length,
    unsigned char[::1] out, const long long[::1] to
) except -1 nogil
