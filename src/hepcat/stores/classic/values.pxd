# C types of the value kernel; values.py holds the code and runs without this file.
cimport cython
from libc.string cimport memcpy

from hepcat.batch.gather cimport _sequence

# The numbers of plan.py and values.py (tests/stores/test_rows_kernel.py holds them alike).
cdef enum:
    OCTETS = 0
    LATIN1 = 1
    UTF8MB3 = 2
    UTF8MB4 = 3
    NO_NUL = 4
    BYTEA = 5
    QUOTE = 39
    BACKSLASH = 92
    MARK = 63

@cython.final
cdef class Values:
    # the plan
    cdef const long long[::1] width
    cdef const int[::1] charset
    cdef const unsigned char[::1] opening
    cdef const unsigned char[::1] separator
    cdef const unsigned char[::1] closing
    cdef const unsigned char[::1] escape
    cdef const unsigned char[::1] binary
    cdef bint quoted
    cdef int also
    # what is read, and what is written
    cdef const unsigned char[::1] text
    cdef unsigned char[::1] out
    cdef public long long to
    cdef public long long cut
    cdef public long long replaced
    cdef bint hurt
    # the date that stands in `out` already and may come again
    cdef long long date_second
    cdef long long date_at

    cdef int put(self, int octet) except -1 nogil
    cdef int copy(self, const unsigned char[::1] octets) except -1 nogil
    cdef int again(self, long long at, long long size) except -1 nogil
    cdef int begin_row(self) except -1 nogil
    cdef int separate(self) except -1 nogil
    cdef int end_row(self) except -1 nogil
    cdef int measure(self, long long at) except -1 nogil
    cdef int write_null(self, long long at) except -1 nogil
    cdef Py_ssize_t _clean(self, long long at, long long end) except -1 nogil
    cdef Py_ssize_t _fitting(self, long long at, long long end, Py_ssize_t column) except -1 nogil
    cdef int _escaped(self, int octet, int charset) except -1 nogil
    cdef int _octal(self, int octet) except -1 nogil
    cdef Py_ssize_t _special(self, long long at, long long end, int charset) except -1 nogil
    cdef int write_characters(self, long long at, long long end, int charset) except -1 nogil
    cdef int write_text(self, long long at, long long size, Py_ssize_t column) except -1 nogil
    cdef int write_number(self, long long value) except -1 nogil
    cdef int write_padded(self, long long value, int digits) except -1 nogil
    cdef int write_date(self, long long second) except -1 nogil
