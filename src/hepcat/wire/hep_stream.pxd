# C types of the HEP stream framer; hep_stream.py holds the code and runs without this file.
cimport cython

cdef int _candidate(const unsigned char[::1] data, Py_ssize_t pos, Py_ssize_t end) except -1 nogil
cdef Py_ssize_t _next(const unsigned char[::1] data, Py_ssize_t pos, Py_ssize_t end) except -1 nogil

cdef class Framer:
    cdef const unsigned char[::1] data
    cdef long long[::1] offsets
    cdef long long[::1] lengths
    cdef Py_ssize_t garbage
    cdef Py_ssize_t consumed
    cpdef Py_ssize_t run(self, Py_ssize_t start, Py_ssize_t end) except -1
