# C types of the header editing kernel; header_edit.py holds the code and runs without this file.
cimport cython
from libc.string cimport memcpy
from hepcat.plans.match cimport _find, _named

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
