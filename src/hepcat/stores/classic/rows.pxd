# C types of the row kernel; rows.py holds the code and runs without this file.
cimport cython

from hepcat.stores.classic.cells cimport FAMILY, Cells
from hepcat.stores.classic.values cimport Values

@cython.final
cdef class RowKernel:
    cdef readonly Values values
    cdef Cells cells
    cdef Py_ssize_t columns
    cdef bint measured
    cdef const long long[::1] rows
    cdef long long[::1] ends
    cdef bint wants_ends

    cdef int _measured(self, Py_ssize_t i, Py_ssize_t row, Py_ssize_t column) except -1 nogil
    cdef int _row(self, Py_ssize_t i, Py_ssize_t row) except -1 nogil
    cpdef Py_ssize_t run(self, Py_ssize_t first) except -1
