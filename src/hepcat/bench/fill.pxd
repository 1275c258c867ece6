# C types of the load generator's kernel; fill.py holds the code and runs without this file.
from libc.string cimport memcpy

cdef unsigned long long mix(
    unsigned long long seed, unsigned long long dialog, unsigned long long key
) noexcept nogil
cdef int digits_of(unsigned long long value) noexcept nogil

cdef class Writer:
    cdef const int[::1] ops
    cdef const int[::1] template_start
    cdef const unsigned char[::1] pool
    cdef const int[::1] entries
    cdef const int[::1] table_start
    cdef const unsigned char[::1] letters
    cdef long long[::1] places
    cdef unsigned char[::1] out
    cdef Py_ssize_t at
    cdef unsigned long long seed
    cdef unsigned long long dialog

    cdef inline int _copy(self, Py_ssize_t begin, Py_ssize_t n) except -1 nogil
    cdef inline int _decimal(self, unsigned long long value) except -1 nogil
    cdef inline int _integer(
        self, Py_ssize_t at, unsigned long long value, int width, bint little
    ) except -1 nogil
    cdef inline int _hex8(self, Py_ssize_t at, unsigned long long value) except -1 nogil
    cdef int _random(self, unsigned long long key, int n, int alphabet) except -1 nogil
    cdef inline int _room(self, Py_ssize_t n) except -1 nogil
    cdef inline Py_ssize_t _pick(self, int table, unsigned long long key) except -1 nogil
    cdef Py_ssize_t _length(self, Py_ssize_t row, Py_ssize_t stop) except -1 nogil
    cdef int _finish(self, Py_ssize_t row, Py_ssize_t stop) except -1 nogil
    cdef int _message(self, Py_ssize_t row, Py_ssize_t stop, long long ts) except -1 nogil
    cpdef Py_ssize_t run(
        self, const int[::1] template, const long long[::1] dialog, const long long[::1] ts, long long[::1] offsets
    ) except -1
